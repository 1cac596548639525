//! The file system below a root for Operone: file tools and `file://` sources.
//!
//! [`FileRoot`] gives agents `file.read` and `file.list` in one folder. [`FileSource`] reads the files that
//! `file://` URIs name. Both open paths relative to a folder that is held open, so that neither `..` nor a
//! symbolic link leads out of it, and both read regular files only: no device, no pipe, no socket, nothing that
//! the kernel makes up as it is read.

mod blocking;
mod error;
mod regular;
mod root;
mod source;
mod tools;
mod uri;

pub use root::FileRoot;
pub use source::FileSource;
