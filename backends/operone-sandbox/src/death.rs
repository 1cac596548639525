//! Whether a process died of its limits.

use std::fmt;

use operone_core::error::{Error, ErrorKind};

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Memory.
    Ram,
}

/// A process wanted more than it was given, and died of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exceeded {
    /// What ran out.
    pub resource: Resource,
    /// What was given, in bytes.
    pub limit: u64,
    /// What was used when it was seen, in bytes; `None` where the system refused more instead.
    pub used: Option<u64>,
}

impl Exceeded {
    /// More memory than `limit` bytes was wanted.
    pub fn ram(limit: u64, used: Option<u64>) -> Self {
        Self { resource: Resource::Ram, limit, used }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resource::Ram = self.resource;
        write!(f, "the process needed more than its {} bytes of memory", self.limit)?;
        self.used.map_or(Ok(()), |used| write!(f, " (it held {used})"))
    }
}

impl std::error::Error for Exceeded {}

/// `Denied` with code `resource_exceeded`; not retryable, for the next attempt would end in the same way.
impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Error::new(ErrorKind::Denied, exceeded.to_string()).with_code("resource_exceeded")
    }
}

/// Whether a Rust program's last words say that it was refused memory: `stderr` is the end of its standard error.
pub fn allocation_failed(stderr: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stderr);
    text.split("memory allocation of ").skip(1).any(|rest| {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < rest.len() && digits.starts_with(" bytes failed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_program_without_memory_are_known() {
        assert!(allocation_failed(b"log\nmemory allocation of 1073741824 bytes failed\n"));
        assert!(!allocation_failed(b"memory allocation of many bytes failed"));
        assert!(!allocation_failed(b"thread 'main' panicked"));
    }

    #[test]
    fn what_ran_out_is_told_and_not_tried_again() {
        let error = Error::from(Exceeded::ram(64, Some(65)));
        assert_eq!((error.code(), error.is_retryable()), ("resource_exceeded", false));
        assert!(error.message().contains("64") && error.message().contains("65"), "{error}");
    }
}
