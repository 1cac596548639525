//! Backends that live and die with the process: real ones, and the ones to read before writing another.

mod bus;

pub use bus::InProcessBus;
