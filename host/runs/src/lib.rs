//! A run's life: it is accepted, waits for its turn, steps through its mode's host calls, and ends. Every answer that the
//! host gives to a mode goes into the run's log first; the log is the journal, and readers follow it by number. This crate
//! knows no HTTP.

mod accept;
mod approvals;
mod contexts;
mod conversations;
mod execute;
mod expiry;
mod history;
mod host;
mod ledger;
mod lists;
mod log;
mod queue;
mod request;
mod service;
mod sessions;
mod structured;
mod tenants;
mod tools;

pub use approvals::Decision;
pub use contexts::Contexts;
pub use conversations::{MAX_TITLE_CHARS, NewSession, SessionError};
pub use expiry::{DeletionError, Removed, Retention};
pub use log::{Item, LoggedEvent, Reader};
pub use request::{Attachment, Idempotency, RunRequest, StartError, Started, Webhook};
pub use service::{RecoveryReport, Runs, RunsConfig};
pub use tenants::{ClosedTenant, TenantError};
pub use tools::{ToolInfo, ToolTrial, TrialError};
