//! A run's life: it is accepted, waits for its turn, steps through its mode's host calls, and ends. Every answer that the
//! host gives to a mode goes into the run's log first; the log is the journal: a run that the host left is taken up again and
//! gets the same answers until they end, and readers follow it by number. This crate knows no HTTP.

mod accept;
mod accounts;
mod approvals;
mod calls;
mod contexts;
mod conversations;
mod cursor;
mod execute;
mod expiry;
mod fits;
mod found;
mod history;
mod host;
mod journal;
mod ledger;
mod lists;
mod log;
mod offline;
mod queue;
mod reader;
mod recording;
mod recover;
mod replay;
mod request;
mod service;
mod sessions;
mod spending;
mod structured;
mod subruns;
mod table;
mod tenants;
mod tools;
mod trace;
mod waiting;
mod waits;
mod weigher;

pub use approvals::Decision;
pub use contexts::Contexts;
pub use conversations::{MAX_TITLE_CHARS, NewSession, SessionError};
pub use cursor::{Cursor, NoCursor};
pub use expiry::{DeletionError, Removed, Retention};
pub use log::LoggedEvent;
pub use reader::{FollowError, Item, Reader};
pub use recording::{Recorder, Recording, RecordingError};
pub use recover::RecoveryReport;
pub use replay::{Asked, Difference, ReplayError, Replayed};
pub use request::{Attachment, Idempotency, RunRequest, StartError, Started, Webhook};
pub use service::{Runs, RunsConfig};
pub use table::Payer;
pub use tenants::{ClosedTenant, TenantError};
pub use tools::{ToolInfo, ToolTrial, TrialError};
pub use waiting::{Cancelled, Decided};
