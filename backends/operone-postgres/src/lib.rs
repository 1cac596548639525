//! Databases on Postgres that agents may read, for Operone.
//!
//! ```no_run
//! use operone_core::query::{QueryDatabase, QueryLimits};
//! use operone_postgres::PostgresQueryDatabase;
//!
//! # async fn ask() -> operone_core::Result<()> {
//! let sales = PostgresQueryDatabase::new("postgresql://agents:secret@localhost/sales")?;
//! sales.verify().await?;
//! let rows = sales.query("SELECT count(*) FROM orders", &[], QueryLimits::default()).await?;
//! # Ok(()) }
//! ```
//!
//! The role in the URL must be one that only reads. TLS is used where the server offers it; `?sslmode=verify-full` insists
//! on it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
mod error; // from the driver's errors to those of the contracts
mod query;

pub use query::PostgresQueryDatabase;
