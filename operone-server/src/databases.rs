//! The databases that agents may query: from what the configuration names to backends.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use operone_core::error::{Error, ErrorKind, Result};
use operone_core::query::QueryDatabase;
use operone_postgres::PostgresQueryDatabase;
use operone_sqlite::SqliteQueryDatabase;

use crate::config::DatabaseConfig;

/// A database that is ready, or was not there when it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// How agents name it.
    pub(crate) name: String,
    /// What it is and where, without secrets.
    pub(crate) shown: String,
    /// Why it cannot be asked now; it is tried again with each query.
    pub(crate) away: Option<String>,
    database: Arc<dyn QueryDatabase>,
}

/// Opens each database. One that does not answer is kept; one that agents could write to is refused, and so is a file
/// that does not exist or belongs to us.
pub(crate) async fn open(configured: &[DatabaseConfig]) -> Result<Vec<Opened>> {
    try_join_all(configured.iter().map(open_one)).await
}

/// The databases by name, for the tool.
pub(crate) fn by_name(opened: Vec<Opened>) -> BTreeMap<String, Arc<dyn QueryDatabase>> {
    opened.into_iter().map(|opened| (opened.name, opened.database)).collect()
}

async fn open_one(configured: &DatabaseConfig) -> Result<Opened> {
    let DatabaseConfig { name, url } = configured;
    let failed = |error: Error| {
        let detail = format!("the database '{name}': {}", error.message());
        Error::new(error.kind(), detail).with_code(error.code().to_owned()).with_source(error)
    };
    if let Some(path) = url.expose().strip_prefix("sqlite://") {
        if !path.starts_with('/') {
            return Err(failed(Error::invalid("a file is named as sqlite:///path/to.db, from the root")));
        }
        let database = SqliteQueryDatabase::open(path).map_err(failed)?;
        let shown = format!("SQLite {path}");
        return Ok(Opened { name: name.clone(), shown, away: None, database: Arc::new(database) });
    }
    if url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://") {
        let database = PostgresQueryDatabase::new(url.expose()).map_err(failed)?;
        let away = match database.verify().await {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::Unavailable => Some(error.with_causes().to_string()),
            Err(error) => return Err(failed(error)),
        };
        let shown = format!("Postgres {database}");
        return Ok(Opened { name: name.clone(), shown, away, database: Arc::new(database) });
    }
    Err(failed(Error::invalid("its URL begins with neither sqlite:/// nor postgresql://")))
}
