//! Documents leave: one, those whose sources are gone, or a whole collection.

use std::collections::HashSet;

use operone_core::cache::ContentHash;
use operone_core::chunk::{Collection, Document};
use operone_core::id::DocId;
use operone_core::{Error, Result};

use super::Ingestor;

/// How many documents are looked at or removed at once.
const PAGE: usize = 200;

impl Ingestor {
    /// Removes a document with its chunks, and the kept vectors of their texts. One that is not there is `NotFound`.
    ///
    /// - Another document with the same text has it embedded again when it is changed the next time.
    /// - Waits for an ingest of the same document that is under way in this process.
    /// - After an error the same call goes on where it was.
    pub async fn remove_document(&self, collection: &Collection, id: &DocId) -> Result<()> {
        let _turn = self.turns.take(id).await;
        if self.store.document(collection, id).await?.is_none() {
            return Err(Error::not_found(format!("there is no document {id}")));
        }
        self.remove(collection, std::slice::from_ref(id)).await
    }

    /// Removes every document of a collection, in the order of their ids and some at a time, and gives their number. A
    /// query meanwhile finds what is left. One without documents is `NotFound`. What is ingested meanwhile may stay.
    pub async fn remove_collection(&self, collection: &Collection) -> Result<u64> {
        let (mut removed, mut after) = (0, None);
        loop {
            let page = self.store.documents(collection, after.as_ref(), PAGE).await?;
            let ids: Vec<DocId> = page.into_iter().map(|document| document.id).collect();
            let Some(last) = ids.last().cloned() else { break };
            self.remove(collection, &ids).await?;
            removed += ids.len() as u64;
            after = Some(last);
        }
        if removed == 0 {
            let name = &collection.name;
            return Err(Error::not_found(format!("there is no collection {name}")));
        }
        Ok(removed)
    }

    /// Removes the documents below the folders `below` whose sources are gone, and calls `removed` for each.
    ///
    /// - A folder is a URI; the slash at its end may be left out. One that cannot be read is an error.
    /// - Gone is a source that answers `not_found`. One that does not answer, or may not be read, keeps its document.
    /// - `present` are sources that are known to be there: they are not asked.
    pub async fn prune<F: Future<Output = Result<()>>>(
        &self,
        collection: &Collection,
        below: &[String],
        present: &[String],
        mut removed: impl FnMut(Document) -> F,
    ) -> Result<()> {
        let mut folders = Vec::new();
        for folder in below {
            let (_, mut uri) = self.source(folder)?;
            if !uri.ends_with('/') {
                uri.push('/');
            }
            folders.push(uri);
        }
        if folders.is_empty() {
            return Ok(());
        }
        let present: HashSet<String> =
            present.iter().filter_map(|uri| self.source(uri).ok()).map(|(_, uri)| uri).collect();
        let mut after = None;
        loop {
            let page = self.store.documents(collection, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for document in page {
                let below = folders.iter().any(|folder| document.uri.starts_with(folder.as_str()));
                if !below || present.contains(&document.uri) || !self.is_gone(&document.uri).await {
                    continue;
                }
                match self.remove_document(collection, &document.id).await {
                    Ok(()) => removed(document).await?,
                    Err(error) if error.code() == "not_found" => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn is_gone(&self, uri: &str) -> bool {
        let Ok((source, uri)) = self.source(uri) else { return false };
        source.fetch(&uri).await.is_err_and(|error| error.code() == "not_found")
    }

    /// Forgets the vectors first: while the documents are there, the same call finds what is left to forget.
    async fn remove(&self, collection: &Collection, ids: &[DocId]) -> Result<()> {
        for id in ids {
            let chunks = self.store.document_chunks(collection, id).await?;
            let hashes: Vec<ContentHash> = chunks.iter().map(|chunk| chunk.hash).collect();
            self.vectors.forget(&hashes).await?;
        }
        self.store.remove(collection, ids).await.map(|_| ())
    }
}
