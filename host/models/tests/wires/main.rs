//! Each provider against a server that speaks its vendor's real format, on real sockets of this machine: what is sent,
//! what is understood, and what becomes of every way in which a server can fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may be blunt: a failed expectation is a failed test"
)]

mod anthropic;
mod conversation;
mod faults;
mod google;
mod openai;
mod options;
mod registry;
mod server;
