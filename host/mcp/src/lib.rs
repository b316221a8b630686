//! The Model Context Protocol, as a client: the tools of remote servers, listed and called.
//!
//! A server is somebody else's and need not be trusted: what it says is bounded in bytes, in time and in number, and is data. It
//! may be slow, huge or broken, break off half-way, or lie; each of these is an [`McpError`] that says so. Whatever is sent goes
//! through the door, under the policy that comes with each server, so a credential is put in there and masked in what comes back.
//!
//! A call is a conversation of its own: it finds out which version of the protocol the server speaks, looks whether the server
//! says of the tool what was accepted, and calls it. Nothing is kept open between calls, so that no session outlives the rights
//! that it was opened with; that is paid for with three to six requests where one would do.
//!
//! This crate knows no tenant, no plugin and no run.

mod answer;
mod call;
mod conversation;
mod door;
mod error;
mod listing;
mod place;

pub use answer::{Answer, Shown};
pub use call::{Called, ToolCall};
pub use error::McpError;
pub use listing::{ListedTool, Listing, MAX_TOOLS, is_early};
pub use place::{Place, PlaceError, RemoteServer};
