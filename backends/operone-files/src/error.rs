//! What a failure of the file system means to the caller.

use std::io;

use operone_core::{Error, ErrorKind};

/// A path that leads out of the folder.
pub(crate) fn outside(path: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("'{path}' is outside of the folder that may be used"))
        .with_code("outside_root")
}

/// A path that names nothing.
pub(crate) fn does_not_exist(path: &str) -> Error {
    Error::not_found(format!("'{path}' does not exist"))
}

/// A path that names something other than a regular file.
pub(crate) fn not_a_file(path: &str) -> Error {
    Error::invalid(format!("'{path}' is not a regular file")).with_code("not_a_file")
}

/// A path that names something other than a folder.
pub(crate) fn not_a_folder(path: &str) -> Error {
    Error::invalid(format!("'{path}' is not a folder")).with_code("not_a_folder")
}

/// A path at which nothing may be written.
pub(crate) fn unwritable(path: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("'{path}' may not be written")).with_code("unwritable")
}

/// A path that is none for a file to be written.
pub(crate) fn invalid_path(path: &str, why: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    Error::invalid(format!("'{}' {why}", shown.escape_debug())).with_code("invalid_path")
}

/// A failure of the file system while writing at `path`, as the caller wrote it.
pub(crate) fn from_write(path: &str, error: io::Error) -> Error {
    let (kind, code, what) = match error.kind() {
        // The system's own refusal has a number, that of cap-std has none.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => return outside(path),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            return unwritable(path).with_source(error);
        }
        io::ErrorKind::NotADirectory => {
            (ErrorKind::Invalid, "not_a_folder", "leads through something other than a folder")
        }
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "not_found", "leads through a folder that is gone"),
        io::ErrorKind::IsADirectory => return not_a_file(path),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            (ErrorKind::Invalid, "invalid_path", "is no path")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, "storage_full", "finds no room on the disk")
        }
        _ => (ErrorKind::Unavailable, "unwritable", "cannot be written"),
    };
    Error::new(kind, format!("'{path}' {what}")).with_code(code).with_source(error)
}

/// A failure of the file system at `path`, as the caller wrote it.
pub(crate) fn from_io(path: &str, error: io::Error) -> Error {
    let (kind, code, what) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (ErrorKind::NotFound, "not_found", "does not exist")
        }
        // The system's own refusal has a number, that of cap-std has none.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => return outside(path),
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "unreadable", "may not be read"),
        io::ErrorKind::IsADirectory => return not_a_file(path),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            (ErrorKind::Invalid, "invalid_path", "is no path")
        }
        _ => (ErrorKind::Unavailable, "unreadable", "cannot be read"),
    };
    Error::new(kind, format!("'{path}' {what}")).with_code(code).with_source(error)
}
