//! The embedding cache in a database file.

use std::path::Path;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::cache::{ContentHash, EmbeddingCache};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::Database;
use crate::error::Failure;
use crate::schema::Schema;

const SCHEMA: Schema = Schema {
    migrations: &[include_str!("../migrations/embeddings-1.sql")],
    page_size: 4096,
    durable: false,
    secure_delete: true,
};

/// An embedding cache in one file. Clones share it.
///
/// What was acknowledged survives the end of the process; a loss of power may take the last entries. It grows
/// with what is put and shrinks only by removals.
#[derive(Clone, Debug)]
pub struct SqliteEmbeddingCache {
    database: Database,
}

impl SqliteEmbeddingCache {
    /// Opens the file and creates it where it is missing.
    ///
    /// Blocks for a few writes to the disk; meant for the start of a program. A damaged file is `Internal` with
    /// code `corrupt`, and may be deleted; one of a newer version is `Unsupported` with code `newer_data`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { database: Database::open(path.as_ref(), SCHEMA, |_| Ok(()))? })
    }
}

#[async_trait]
impl EmbeddingCache for SqliteEmbeddingCache {
    async fn get_many(&self, embedder: &str, hashes: &[ContentHash]) -> Result<Vec<Option<Vec<f32>>>> {
        let (embedder, hashes) = (embedder.to_owned(), hashes.to_vec());
        self.database.read("embeddings.get_many", move |db| get_many(db, &embedder, &hashes)).await
    }

    async fn put_many(&self, embedder: &str, entries: &[(ContentHash, Vec<f32>)]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let bytes = |vector: &[f32]| vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let entries: Vec<(ContentHash, Vec<u8>)> =
            entries.iter().map(|(hash, vector)| (*hash, bytes(vector))).collect();
        let embedder = embedder.to_owned();
        self.database.write("embeddings.put_many", move |db| put_many(db, &embedder, &entries)).await
    }

    async fn remove(&self, hashes: &[ContentHash]) -> Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        let hashes = hashes.to_vec();
        self.database.write_and_purge("embeddings.remove", move |db| remove(db, &hashes)).await
    }
}

fn get_many(
    db: &Connection,
    embedder: &str,
    hashes: &[ContentHash],
) -> Result<Vec<Option<Vec<f32>>>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT vector FROM embeddings
         WHERE hash = ?1 AND embedder = (SELECT number FROM embedders WHERE id = ?2)",
    )?;
    let mut one = |hash: &ContentHash| {
        let vector = statement.query_row(params![hash.0.as_slice(), embedder], |row| {
            let numbers = row.get_ref(0)?.as_blob()?.as_chunks::<4>().0;
            Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
        });
        Ok(vector.optional()?)
    };
    hashes.iter().map(&mut one).collect()
}

fn put_many(db: &Connection, embedder: &str, entries: &[(ContentHash, Vec<u8>)]) -> Result<(), Failure> {
    db.prepare_cached("INSERT INTO embedders (id) VALUES (?1) ON CONFLICT (id) DO NOTHING")?
        .execute(params![embedder])?;
    let mut statement = db.prepare_cached(
        "INSERT INTO embeddings (hash, embedder, vector)
         VALUES (?1, (SELECT number FROM embedders WHERE id = ?2), ?3)
         ON CONFLICT (hash, embedder) DO NOTHING",
    )?;
    for (hash, vector) in entries {
        statement.execute(params![hash.0.as_slice(), embedder, vector])?;
    }
    Ok(())
}

fn remove(db: &Connection, hashes: &[ContentHash]) -> Result<(), Failure> {
    let mut statement = db.prepare_cached("DELETE FROM embeddings WHERE hash = ?1")?;
    for hash in hashes {
        statement.execute(params![hash.0.as_slice()])?;
    }
    Ok(())
}
