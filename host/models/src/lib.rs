//! Language models behind one trait. This crate knows no agent, no run and no tenant: it turns a
//! [`GenerateRequest`](vivarium_domain::GenerateRequest) into a vendor's wire format and the answer back.

mod answer;
mod anthropic;
mod catalog;
mod config;
mod embedded;
mod fault;
mod google;
mod measured;
mod openai;
mod prices;
mod provider;
mod registry;
mod request;
mod schema;
mod sse;
mod thinking;
mod untrusted;
mod wire;

pub use anthropic::Anthropic;
pub use config::{
    ConfigError, DefaultModel, EmbeddedConfig, Limits, ModelsConfig, ProviderConfig, ProviderKind, Retries, Timeouts,
};
pub use embedded::Embedded;
pub use google::Google;
pub use openai::OpenAi;
pub use prices::{LongPrice, Price, Prices};
pub use provider::{Call, Places, Provider};
pub use registry::Models;
pub use vivarium_domain::ModelError;
