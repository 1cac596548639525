//! Compiles the examples of the guides.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-backend.md")]
mod writing_a_backend {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/memory.md")]
mod memory {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/models.md")]
mod models {}
