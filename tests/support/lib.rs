//! Test support: the real server as a child process, a scripted model server that speaks a real vendor's format, and a strict reader of
//! server-sent events.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that can not go on ends the test, and says where"
)]

mod bad_input;
mod collection;
mod files;
pub mod guest;
mod host;
pub mod mcp;
mod model;
mod reader;
mod sse;

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

pub use crate::bad_input::{BadInput, Keys, Route, host_of_two, two_tenants, without_tools};
pub use crate::collection::{Collection, Fact, Question, Recall};
pub use crate::files::files_with;
pub use crate::host::{Cli, Host, HostBuilder, vivarium_binary};
pub use crate::model::{Answer, ScriptedModel, ToolRequest};
pub use crate::reader::reader;
pub use crate::sse::{SseEvent, SseStream, parse_events};

/// How long anything may take before a test gives up on it. Generous: the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The clone that the tests stand in.
#[must_use]
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// A client for servers on this machine.
#[must_use]
pub fn http_client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("no other provider is installed in tests");
    });
    reqwest::Client::builder().no_proxy().build().expect("a plain client can be made")
}

/// Waits for `future`, but not for ever.
///
/// # Panics
/// When it takes longer than [`PATIENCE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}
