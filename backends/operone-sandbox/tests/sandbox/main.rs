//! The fences from inside: escapes that are tried, limits that are broken, and what the probe says.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unsafe_code, reason = "an escape is a bare system call: no safe face offers most of them")]

mod attempts;
mod child;
mod escapes;
mod limits;
mod probe;
