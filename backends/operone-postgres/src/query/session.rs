//! A connection in a transaction that reads, under limits, for one query.

use std::time::Duration;

use operone_core::Result;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use crate::connect::Address;
use crate::error::refused;

/// How long the end of a transaction is waited for; what is then open is cut.
const CLOSE: Duration = Duration::from_millis(500);

/// Sets what the server has of these, for this transaction. A connection that is gone is noticed where the system of the
/// server can tell; `pg_temp` comes last, so that nothing in it stands for something else.
const SETTINGS: &str = "
    SELECT pg_catalog.set_config(s.name, v.value, true)
    FROM (VALUES
        ('statement_timeout', $1), ('transaction_timeout', $2), ('lock_timeout', '1000'),
        ('idle_in_transaction_session_timeout', '10000'), ('client_connection_check_interval', '500'),
        ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'iso_8601'), ('bytea_output', 'hex'),
        ('extra_float_digits', '1'), ('standard_conforming_strings', 'on'), ('work_mem', '16MB'), ('jit', 'off'),
        ('max_parallel_workers_per_gather', '0'),
        ('search_path', COALESCE(NULLIF(pg_catalog.current_setting('search_path'), '') || ', ', '') || 'pg_temp')
    ) AS v (name, value)
    JOIN pg_catalog.pg_settings s ON s.name = v.name
    WHERE v.name <> 'client_connection_check_interval' OR pg_catalog.version() ~ 'linux|darwin|bsd|illumos'";

/// A connection of its own for each query, so that nothing that one query sets or locks is there for the next, and no
/// pool can be left with a half-open transaction by a future that is dropped.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    time: Duration,
}

impl Session {
    /// Connects and begins a transaction that reads, in which a statement may take `time`.
    pub(super) async fn begin(address: &Address, time: Duration) -> Result<Self> {
        let mut session = Self { connection: address.connect().await?, time };
        session.set_up().await.map_err(|error| refused(error, time))?;
        Ok(session)
    }

    async fn set_up(&mut self) -> sqlx::Result<()> {
        self.connection.execute("BEGIN TRANSACTION READ ONLY").await?;
        let milliseconds = self.time.as_millis().max(1);
        sqlx::query(SETTINGS)
            .bind(milliseconds.to_string())
            .bind((milliseconds + 1000).to_string())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Ends the transaction without a trace, and the connection.
    pub(super) async fn end(mut self) {
        let end = async {
            self.connection.execute("ROLLBACK").await?;
            self.connection.close().await
        };
        // Where this fails the server ends both by itself: the connection is gone.
        let _ = tokio::time::timeout(CLOSE, end).await;
    }
}
