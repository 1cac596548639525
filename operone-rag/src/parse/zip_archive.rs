//! Zip archives, read with limits on entries, expanded size and ratio. An entry's name is never used as a path.

use std::io::{Cursor, Read};

use operone_core::{Error, Result};
use zip::ZipArchive;
use zip::result::ZipError;

use super::ParseLimits;

/// How many times its packed size an entry may expand to, beyond the first megabytes.
const MAX_RATIO: usize = 200;

/// What any entry may expand to, whatever its ratio.
const FREE: usize = 8 << 20;

/// An archive and how much of it may still be expanded.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    left: usize,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8], limits: &ParseLimits) -> Result<Self> {
        let too_many = || too_large(format!("the archive has more than {} entries", limits.entries));
        // Before each of them is looked at.
        if stated_entries(bytes) > limits.entries as u64 {
            return Err(too_many());
        }
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(corrupt)?;
        if zip.len() > limits.entries {
            return Err(too_many());
        }
        Ok(Self { zip, left: limits.expanded })
    }

    /// The names of the entries, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.zip.file_names().flatten().map(|name| name.into_owned()).collect()
    }

    /// The content of an entry; `None` if there is none of this name.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let entry = match self.zip.by_name(name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(corrupt(error)),
        };
        let packed = usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX);
        let most = self.left.min(FREE.max(packed.saturating_mul(MAX_RATIO)));
        let mut content = Vec::new();
        // What the entry says of its size is not believed.
        entry.take(most as u64 + 1).read_to_end(&mut content).map_err(|error| corrupt(error.into()))?;
        if content.len() > most {
            return Err(too_large(format!("the archive's entry {name} expands to more than {most} bytes")));
        }
        self.left -= content.len();
        Ok(Some(content))
    }
}

/// How many entries the end of the archive states, or the largest number of several ends.
fn stated_entries(bytes: &[u8]) -> u64 {
    // The end may be followed by a comment of 65,535 bytes, and is preceded by its long form.
    let tail = bytes.get(bytes.len().saturating_sub(128 << 10)..).unwrap_or(bytes);
    let number = |at: usize, length: usize| {
        let digits = tail.get(at..at + length).unwrap_or_default();
        digits.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let marks = tail.windows(4).enumerate().filter_map(|(at, mark)| match mark {
        b"PK\x05\x06" => Some(number(at + 10, 2)).filter(|entries| *entries != 0xFFFF),
        b"PK\x06\x06" => Some(number(at + 32, 8)),
        _ => None,
    });
    marks.max().unwrap_or_default()
}

fn too_large(detail: String) -> Error {
    Error::invalid(detail).with_code("too_large")
}

fn corrupt(error: ZipError) -> Error {
    match &error {
        ZipError::UnsupportedArchive(detail) if detail.to_lowercase().contains("password") => {
            Error::invalid("the document is encrypted and needs a password").with_code("encrypted")
        }
        _ => Error::invalid("the archive that holds the document is damaged")
            .with_code("corrupt")
            .with_source(error),
    }
}

/// An archive of these entries.
#[cfg(test)]
pub(super) fn pack(entries: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
