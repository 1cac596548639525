//! Opening regular files only, and nothing that waits or is made up by the kernel.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use cap_std::fs::{Dir, OpenOptions};
use operone_core::Result;

use crate::blocking::Stop;
use crate::error::{from_io, not_a_file};

/// How much is read at once, in bytes.
const BLOCK: u64 = 1024 * 1024;

/// Opens a regular file below `folder`. `shown` is the path in errors.
///
/// What stands there is looked at before opening, since opening a device can have effects, and again on the open
/// file, since it may have changed in between; a pipe that came in between does not block.
pub(crate) fn open(folder: &Dir, path: &Path, shown: &str) -> Result<File> {
    let there = folder.metadata(path).map_err(|error| from_io(shown, error))?;
    if !there.is_file() {
        return Err(not_a_file(shown));
    }
    let mut options = OpenOptions::new();
    options.read(true);
    do_not_wait(&mut options);
    let file = folder.open_with(path, &options).map_err(|error| from_io(shown, error))?.into_std();
    let is_file = file.metadata().map_err(|error| from_io(shown, error))?.is_file();
    if !is_file || is_made_up(&file).map_err(|error| from_io(shown, error))? {
        return Err(not_a_file(shown));
    }
    Ok(file)
}

/// Reads at most `limit` bytes from `offset`. `shown` is the path in errors.
pub(crate) fn read(mut file: File, offset: u64, limit: u64, shown: &str, stop: &Stop) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset)).map_err(|error| from_io(shown, error))?;
    let mut bytes = Vec::new();
    let mut left = limit;
    while left > 0 {
        stop.check()?;
        let block = (&mut file).take(left.min(BLOCK)).read_to_end(&mut bytes);
        match block.map_err(|error| from_io(shown, error))? {
            0 => break,
            read => left = left.saturating_sub(read as u64),
        }
    }
    Ok(bytes)
}

#[cfg(unix)]
fn do_not_wait(options: &mut OpenOptions) {
    use cap_std::fs::OpenOptionsExt;
    use rustix::fs::OFlags;

    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
}

#[cfg(not(unix))]
fn do_not_wait(_: &mut OpenOptions) {}

/// Whether the file or folder is in one of the file systems that the kernel makes up: proc, sys, control groups, debugging.
#[cfg(target_os = "linux")]
pub(crate) fn is_made_up(file: impl std::os::fd::AsFd) -> io::Result<bool> {
    const MADE_UP: [u64; 8] = [
        0x9fa0,      // proc
        0x6265_6572, // sys
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debug
        0x7472_6163, // trace
        0x7363_6673, // security
        0xcafe_4a11, // bpf
    ];
    let kind = u64::try_from(rustix::fs::fstatfs(file)?.f_type).unwrap_or_default();
    Ok(MADE_UP.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_made_up<T>(_: T) -> io::Result<bool> {
    Ok(false)
}
