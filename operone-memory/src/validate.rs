//! What a memory must look like to be written.

use operone_core::memory::NewMemory;
use operone_core::{Error, Result};

/// The most memories of one batch.
pub const MAX_BATCH: usize = 256;

/// The longest tag, in bytes.
pub const MAX_TAG: usize = 128;

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
/// [`NewMemory::MAX_CONTENT`] bytes long, and at most [`NewMemory::MAX_TAGS`] tags of at most [`MAX_TAG`] bytes.
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
    faults.truncate(MAX_FAULTS);
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
