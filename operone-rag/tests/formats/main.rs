//! The promises about formats: found by content, refused in time, and as good as other tools read them.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod archive;
mod bombs;
mod names;
#[cfg(feature = "pdf")]
mod pdf_quality;
