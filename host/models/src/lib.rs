//! Language models behind one trait. This crate knows no agent, no run and no tenant: it turns a
//! [`GenerateRequest`](vivarium_domain::GenerateRequest) into a vendor's wire format and the answer back.

mod provider;

pub use vivarium_domain::ModelError;
pub use provider::{Call, Provider};
