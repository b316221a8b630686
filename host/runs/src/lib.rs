//! A run's life: start, journal, follow, cancel. This crate knows no HTTP.

mod api_stub;
pub use api_stub::*;
