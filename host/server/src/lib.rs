//! The host as a whole: configuration, wiring, start and stop. The binary `vivarium` is a thin command line over this;
//! tests and benches can start a host in their own process with [`Host::build`] and [`Server::bind`].

mod archive;
mod audit;
mod backup;
mod components;
mod contexts;
mod corpus;
mod deliveries;
mod doctor;
mod health;
mod host;
mod keys;
mod library;
mod notify;
mod plugins;
mod programs;
mod recording;
mod restore;
mod server;
pub mod sight;
mod sweep;
mod tenants;
mod tls;

pub mod config;

pub use archive::{ArchiveError, Manifest, Part};
pub use audit::AuditLog;
pub use backup::{Aside, back_up};
pub use corpus::CorpusProgress;
pub use doctor::{Check, Level, examine};
pub use host::{Host, StartError, reseal};
pub use keys::{FirstKey, default_tenant, open_keyring};
pub use notify::{READY, STOPPING, notify};
pub use recording::{RecordError, record};
pub use restore::{RestoreError, restore};
pub use server::{Server, Stopped};
pub use tenants::delete_tenant;
