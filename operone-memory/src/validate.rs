//! What a memory must look like to be written.

use operone_core::memory::NewMemory;
use operone_core::metadata::MetadataValue;
use operone_core::{Error, Result};

use crate::filter::OWN_FIELDS;

/// The most memories of one batch.
pub const MAX_BATCH: usize = 256;

/// The longest tag, in bytes.
pub const MAX_TAG: usize = 128;

/// The longest kind, actor or thread, in bytes.
const MAX_NAME: usize = 256;

/// The longest key of metadata, and the longest text in it, in bytes.
const MAX_KEY: usize = 128;
const MAX_TEXT: usize = 4096;

/// The most faults that are told.
const MAX_FAULTS: usize = 100;

/// Something wrong with a batch of memories.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where it is, as a JSON pointer into `{"entries": [{"content", "tags"}]}`, for instance
    /// `/entries/3/content`.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

/// Everything wrong with a batch, at most 100 faults; none if it can be written.
///
/// A batch has at most [`MAX_BATCH`] memories, each with content that is not blank and at most
/// [`NewMemory::MAX_CONTENT`] bytes long, at most [`NewMemory::MAX_TAGS`] tags of at most [`MAX_TAG`] bytes, at most
/// [`NewMemory::MAX_METADATA`] keys of metadata of at most 128 bytes with texts of at most 4,096, a kind, an actor and
/// a thread of at most 256 bytes, an importance in [0, 1], and at most [`NewMemory::MAX_SOURCES`] sources.
pub fn faults(memories: &[NewMemory]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |pointer: String, detail: String| faults.push(Fault { pointer, detail });
    if memories.len() > MAX_BATCH {
        add("/entries".to_owned(), format!("a batch has at most {MAX_BATCH} entries"));
    }
    for (number, memory) in memories.iter().enumerate().take(MAX_BATCH) {
        if memory.content.trim().is_empty() {
            add(format!("/entries/{number}/content"), "the content is blank".to_owned());
        }
        if memory.content.len() > NewMemory::MAX_CONTENT {
            let detail = format!("the content is longer than {} bytes", NewMemory::MAX_CONTENT);
            add(format!("/entries/{number}/content"), detail);
        }
        if memory.tags.len() > NewMemory::MAX_TAGS {
            let detail = format!("an entry has at most {} tags", NewMemory::MAX_TAGS);
            add(format!("/entries/{number}/tags"), detail);
        }
        for (place, tag) in memory.tags.iter().enumerate().take(NewMemory::MAX_TAGS) {
            if tag.len() > MAX_TAG {
                let detail = format!("the tag is longer than {MAX_TAG} bytes");
                add(format!("/entries/{number}/tags/{place}"), detail);
            }
        }
    }
    for (number, memory) in memories.iter().enumerate().take(MAX_BATCH) {
        for (part, detail) in faults_of_fields(memory) {
            faults.push(Fault { pointer: format!("/entries/{number}/{part}"), detail });
        }
    }
    faults.truncate(MAX_FAULTS);
    faults
}

/// What is wrong with anything but content and tags, and where.
fn faults_of_fields(memory: &NewMemory) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut add = |part: &str, detail: String| faults.push((part.to_owned(), detail));
    for (part, name) in [("kind", &memory.kind), ("actor", &memory.actor), ("thread", &memory.thread)] {
        if let Some(name) = name.as_ref().filter(|name| name.trim().is_empty() || name.len() > MAX_NAME) {
            let detail = if name.len() > MAX_NAME {
                format!("longer than {MAX_NAME} bytes")
            } else {
                "blank: leave it out".to_owned()
            };
            add(part, detail);
        }
    }
    if memory.importance.is_some_and(|importance| !(0.0..=1.0).contains(&importance)) {
        add("importance", "between 0 and 1".to_owned());
    }
    if memory.expected_version.is_some() && memory.id.is_none() {
        add("expected_version", "needs the id of the memory that it is a version of".to_owned());
    }
    if memory.metadata.len() > NewMemory::MAX_METADATA {
        add("metadata", format!("at most {} keys", NewMemory::MAX_METADATA));
    }
    for (key, value) in &memory.metadata {
        if key.is_empty() || key.len() > MAX_KEY || OWN_FIELDS.contains(&key.as_str()) {
            let detail =
                format!("'{key}' is no key: 1 to {MAX_KEY} bytes, and none of {}", OWN_FIELDS.join(", "));
            add("metadata", detail);
        }
        let is_fine = match value {
            MetadataValue::Float(number) => number.is_finite(),
            MetadataValue::Text(text) => text.len() <= MAX_TEXT,
            MetadataValue::List(texts) => texts.iter().map(String::len).sum::<usize>() <= MAX_TEXT,
            _ => true,
        };
        if !is_fine {
            add("metadata", format!("'{key}' is no finite number, or longer than {MAX_TEXT} bytes"));
        }
    }
    for (part, ids) in [("derived_from", &memory.derived_from), ("supersedes", &memory.supersedes)] {
        if ids.len() > NewMemory::MAX_SOURCES {
            add(part, format!("at most {} ids", NewMemory::MAX_SOURCES));
        }
    }
    faults
}

/// The first fault as an error: `Invalid` with code `invalid_memory`.
pub(crate) fn check(memories: &[NewMemory]) -> Result<()> {
    match faults(memories).first() {
        Some(fault) => {
            let Fault { pointer, detail } = fault;
            Err(Error::invalid(format!("{pointer}: {detail}")).with_code("invalid_memory"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(memories: &[NewMemory]) -> Vec<String> {
        faults(memories).into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn every_fault_is_told_where_it_is() {
        let fine = NewMemory::new("fact").with_tags(vec!["t".repeat(MAX_TAG); NewMemory::MAX_TAGS]);
        let largest = NewMemory::new("x".repeat(NewMemory::MAX_CONTENT));
        assert_eq!(pointers(&[fine.clone(), largest]), Vec::<String>::new());
        let many = NewMemory::new("fact").with_tags(vec!["t".into(); NewMemory::MAX_TAGS + 1]);
        let long = NewMemory::new("fact").with_tags(vec!["t".into(), "ü".repeat(MAX_TAG)]);
        let large = NewMemory::new("x".repeat(NewMemory::MAX_CONTENT + 1));
        assert_eq!(
            pointers(&[fine, NewMemory::new(" \n"), large, many, long]),
            ["/entries/1/content", "/entries/2/content", "/entries/3/tags", "/entries/4/tags/1"]
        );
        assert_eq!(pointers(&vec![NewMemory::new("fact"); MAX_BATCH + 1]), ["/entries"]);
    }

    #[test]
    fn the_error_names_the_first_fault() {
        let error = check(&[NewMemory::new("fact"), NewMemory::new("")]).unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            ("invalid_memory", "/entries/1/content: the content is blank")
        );
    }
}
