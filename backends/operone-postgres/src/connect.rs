//! Where a database is, and a connection to it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use operone_core::{Error, ErrorKind, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use crate::error::not_connected;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a database is. `Debug` shows no password.
#[derive(Clone)]
pub(crate) struct Address(PgConnectOptions);

impl Address {
    /// Reads a URL such as `postgresql://user:password@host:5432/database?sslmode=require`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        // The driver's error may repeat parts of the URL, so it is not kept.
        let wrong = || {
            Error::invalid(
                "the URL of the database is not of the form postgresql://user:password@host/database",
            )
            .with_code("invalid_url")
        };
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(wrong());
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| wrong())?;
        // What is asked may hold what nobody should find in a log.
        Ok(Self(options.application_name("operone").disable_statement_logging()))
    }

    /// A connection of its own, which is closed when it is dropped.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        match tokio::time::timeout(CONNECT, PgConnection::connect_with(&self.0)).await {
            Ok(connection) => connection.map_err(not_connected),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the database did not answer in time")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(options) = self;
        write!(f, "{}@{}:{}", options.get_username(), options.get_host(), options.get_port())?;
        write!(f, "/{}", options.get_database().unwrap_or(options.get_username()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let address = Address::parse("postgresql://agents:canary@db.example:5433/sales").unwrap();
        assert_eq!(address.to_string(), "agents@db.example:5433/sales");
        assert!(!format!("{address:?}").contains("canary"));
        for url in [
            "postgresql://u:canary@host:port/db",
            "mysql://u:canary@host/db",
            "postgresql://u:canary@[::1/db",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.code(), "invalid_url");
            assert!(!format!("{error:?} {}", error.with_causes()).contains("canary"), "{url}");
        }
    }
}
