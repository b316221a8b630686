//! What a guest may be given: one file per capability. Each implements its interface of the contract for [`Guest`] and
//! checks for itself whether this call was granted it.

pub(crate) mod clocks;
pub(crate) mod corpus;
pub(crate) mod denial;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod mode;
pub(crate) mod programs;
pub(crate) mod progress;
pub(crate) mod secrets;
pub(crate) mod settings;
pub(crate) mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vivarium_domain::FileAccess;
use vivarium_egress::Redactor;
use wasmtime::component::{HasSelf, Linker};

pub use log::{LogLevel, LogSink, TracingLog};

use crate::bindings::vivarium::plugin;
use crate::capability::corpus::CorpusView;
use crate::capability::http::HttpDoor;
use crate::capability::state::StateView;
use crate::guest::Guest;

/// What an operator allows one plugin within one tenant. The default allows nothing.
#[derive(Clone, Default)]
pub struct Grant {
    /// What its requests go through.
    pub egress: Option<Arc<dyn HttpDoor>>,
    /// Settings that the plugin reads.
    pub settings: BTreeMap<String, String>,
    /// Names of secrets that the host puts into the plugin's requests.
    pub secrets: BTreeSet<String>,
    /// Full-text search over the tenant's documents.
    pub corpus: Option<Arc<dyn CorpusView>>,
    /// A key-value space.
    pub state: Option<Arc<dyn StateView>>,
    /// What it may do with the files of the session's workspace.
    pub files: Option<FileAccess>,
    /// It may run programs in the sandbox.
    pub programs: bool,
    /// Keeps the tenant's secrets out of all that leaves a call.
    pub redactor: Arc<Redactor>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("egress", &self.egress.is_some())
            .field("settings", &self.settings.keys())
            .field("secrets", &self.secrets)
            .field("corpus", &self.corpus.is_some())
            .field("state", &self.state.is_some())
            .field("files", &self.files)
            .field("programs", &self.programs)
            .finish_non_exhaustive()
    }
}

/// Links WASI, with our files in the place of wasmtime's: all that a program has.
pub(crate) fn add_wasi_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    files::add_to_linker(linker)
}

/// Links every capability. Linking grants nothing.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_wasi_to_linker(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    plugin::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::secrets::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::settings::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::state::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::programs::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::progress::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::corpus::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::model::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::tools::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::session::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::sources::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::steps::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    plugin::workspace::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}
