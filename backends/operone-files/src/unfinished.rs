//! The name under which a file is written before it takes the place of the earlier one.

use std::ffi::OsStr;

/// One per folder is enough: one writer at a time is in a root.
pub(crate) const NAME: &str = ".operone-unfinished";

/// Whether this is that name, also where the file system does not tell capitals from small letters.
pub(crate) fn is(name: &OsStr) -> bool {
    name.eq_ignore_ascii_case(NAME)
}
