//! The files of sessions, as people and the host itself work with them: listed, read and written one by one, taken out and put in as
//! archives, kept as snapshots, compared and brought back. Whatever changes a workspace happens under the lock and within the
//! quota that guests have, too ([`vivarium_sandbox::Workspace`]); whatever replaces one replaces all of it, in one step.
//!
//! This crate knows no HTTP, no plugin and no run: a run is an id that a snapshot carries.

mod archives;
mod aside;
mod diff;
mod error;
mod files;
mod pack;
mod path;
mod shelf;
mod snapshots;
mod swap;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;
mod workspaces;
mod zip_directory;

pub use archives::Existing;
pub use aside::{Incoming, Whole};
pub use diff::Bounds;
pub use error::FilesError;
pub use files::{Expected, FilesPage, OpenFile};
pub use path::FilePath;
pub use snapshots::{NewSnapshot, State};
pub use unpack::ArchiveFormat;
/// What the files of one session may be together, or are.
pub use vivarium_sandbox::FileQuota;
pub use workspaces::{Scratch, Workspaces, WorkspacesConfig};
