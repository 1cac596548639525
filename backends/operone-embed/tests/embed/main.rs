//! The embedders of this crate keep the promises of their contract.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a broken promise fails the test")]

mod bundled;
#[cfg(feature = "bert")]
mod model_folder;
#[cfg(feature = "bert")]
mod with_local_model;
