//! Working with words: what retrieval, memory and the in-process backends share.

mod analyser;
mod bm25;
mod boundary;
mod fusion;
mod language;
mod sentences;

pub use analyser::Analyser;
pub use bm25::Bm25;
pub use boundary::floor_char_boundary;
pub use fusion::{min_max, normalize};
pub use language::Language;
pub use sentences::sentences;
