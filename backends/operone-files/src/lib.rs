//! The file system below a root for Operone: file tools and `file://` sources.
//!
//! [`FileRoot`] gives agents `file.read`, `file.list` and `file.write` in one folder, up to a [`Quota`].
//! [`FileSource`] reads the files that `file://` URIs name. Both open paths relative to a folder that is held open, so
//! that neither `..` nor a symbolic link leads out of it, and both touch regular files only: no device, no pipe, no
//! socket, nothing that the kernel makes up as it is read. A file that was there before under two names, one of them
//! outside, can be read: whoever put it into the folder could as well have copied it. Writing leaves the other name's
//! content alone. What is mounted below the folder belongs to it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocking;
mod error;
#[cfg(unix)]
mod lock;
#[cfg(unix)]
mod place;
mod quota;
mod regular;
mod root;
mod source;
mod tools;
mod unfinished;
mod uri;

pub use quota::Quota;
pub use root::FileRoot;
pub use source::FileSource;
