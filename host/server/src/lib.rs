//! The host as a whole: configuration, wiring, start and stop. The binary `vivarium` is a thin command line over this;
//! tests and benches can start a host in their own process with [`Host::build`] and [`Server::bind`].

mod contexts;
mod corpus;
mod deliveries;
mod host;
mod keys;
mod plugins;
mod server;
mod sweep;
mod tenants;

pub mod config;

pub use corpus::CorpusProgress;
pub use host::{Host, StartError, reseal};
pub use keys::{FirstKey, Keys, default_tenant};
pub use server::{Server, Stopped};
pub use tenants::delete_tenant;
