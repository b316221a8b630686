//! What the house promises, tested on the real binary over real sockets: one file per topic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test, and what was left out is said"
)]

mod agent_hub;
mod agents;
mod architecture;
mod assisters;
mod attachments;
mod audit;
mod backup;
mod bad_day;
mod bad_input;
mod budgets;
mod clients;
mod coding;
mod conversations;
mod corpora;
mod crash;
mod dependencies;
mod doctor;
mod durable;
mod embedded_model;
mod examples;
mod exercises;
mod fallbacks;
mod fetch;
mod guide;
mod hostile;
mod idempotency;
mod isolation;
mod keys;
mod limits;
mod make;
mod mcp;
mod misbehaviour;
mod models;
mod native;
mod one_model;
mod openapi;
mod operations;
mod plugins;
mod replay;
mod research;
mod retention;
mod run_code;
mod sight;
mod soak;
mod streams;
mod subruns;
mod tenant_limits;
mod tls;
mod usage;
mod warm;
mod webhooks;
mod workspaces;
