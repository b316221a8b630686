//! Tool calls: those of runs, and those that a client makes to try a tool out. Both wait for one of the places that the
//! tenants share, and both get the workspace of their session if the plugin was granted files.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use vivarium_domain::{KeyId, SessionId, SpentBudget, TenantId, ToolManifest, ToolOutcome, ToolUsage, Used, UsedBy};
use vivarium_registry::{Registry, RegistryError, ToolEntry, ToolProvider};
use vivarium_sandbox::{Denial, LogLevel, LogSink, ToolCallContext, ToolReport, Workspace};
use vivarium_store::StoreError;

use vivarium_sight::{self as sight, Content, InSpan as _, Span, attribute, metric};

use crate::calls::end_tool_span;
use crate::queue::{FairQueue, NoPlace};
use crate::service::Shared;
use crate::spending::count;
use crate::weigher::Weigher;

/// What tool calls share.
pub(crate) struct Toolbox {
    pub(crate) registry: Registry,
    pub(crate) places: Arc<FairQueue>,
    pub(crate) weigher: Weigher,
    /// How long a call waits for a place.
    pub(crate) patience: Duration,
}

/// A call on its way into a tool.
pub(crate) struct IntoTool<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) entry: &'a ToolEntry,
    pub(crate) arguments_json: &'a str,
    pub(crate) context: ToolCallContext,
    pub(crate) session: &'a SessionId,
    pub(crate) log: Arc<dyn LogSink>,
}

impl Toolbox {
    /// Calls a tool when there is a place for it.
    pub(crate) async fn call(&self, call: IntoTool<'_>) -> Result<ToolReport, NoPlace> {
        let IntoTool { tenant, entry, arguments_json, mut context, session, log } = call;
        let payer = self.weigher.payer(tenant).await;
        let began = Instant::now();
        let place = self.places.place(tenant, payer.weight, self.patience).await;
        metric::QUEUE_WAIT.took(began.elapsed(), &[("queue", "tool_calls")]);
        let _place = place?;
        context.workspace = match self.workspace(tenant, entry, session).await {
            Ok(workspace) => workspace,
            Err(error) => return Ok(failed(error.to_string())),
        };
        let plugin = match &entry.provider {
            ToolProvider::Plugin(plugin) => plugin,
            ToolProvider::Mcp(server) => {
                return Ok(server.call(&entry.manifest, arguments_json, &context.idempotency_key).await);
            }
        };
        context.payer = payer;
        context.warm = Some(Arc::clone(&plugin.warm));
        let grant = Arc::clone(&plugin.grant);
        let name = entry.manifest.name.as_str();
        Ok(plugin.plugin.call_tool(name, arguments_json, context, grant, &plugin.tool_limits, log).await)
    }

    async fn workspace(
        &self,
        tenant: &TenantId,
        entry: &ToolEntry,
        session: &SessionId,
    ) -> Result<Option<Arc<Workspace>>, RegistryError> {
        let Some(quota) = entry.file_quota() else { return Ok(None) };
        self.registry.workspace(tenant, session, quota).await.map(Some)
    }
}

pub(crate) fn failed(message: String) -> ToolReport {
    ToolReport { result: Err(message), usage: ToolUsage::default(), denials: Vec::new() }
}

/// What came of trying a tool out.
#[derive(Debug, Clone)]
pub struct ToolTrial {
    /// The output or the error.
    pub outcome: ToolOutcome,
    /// What the tool read on the way.
    pub documents: Vec<vivarium_domain::Document>,
    /// What it used.
    pub usage: ToolUsage,
    /// What it wanted and was not granted: what of, and a sentence.
    pub denials: Vec<(&'static str, String)>,
    /// Its log: how much a line matters, and the line.
    pub log: Vec<(&'static str, String)>,
}

/// Why a tool was not tried out.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The tenant has no such tool.
    #[error("there is no tool {name:?}; there are: {available}")]
    UnknownTool {
        /// What was asked for.
        name: String,
        /// The tools that there are, in a sentence.
        available: String,
    },
    /// The tenant's own calls are in the way.
    #[error("this tenant has as many calls under way and waiting as it may; try again when some have ended")]
    TenantBusy,
    /// The host is full.
    #[error("the host has no free place for a call; try again later")]
    HostBusy,
    /// A budget has not the time left that the call may take.
    #[error("{0}")]
    Budget(Box<SpentBudget>),
    /// It could not be counted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No new calls are taken.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The tenant's plugins can not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<NoPlace> for TrialError {
    fn from(no_place: NoPlace) -> Self {
        match no_place {
            NoPlace::Tenant => Self::TenantBusy,
            NoPlace::Host => Self::HostBusy,
        }
    }
}

/// A tool that a tenant may use.
#[derive(Debug, Clone)]
pub struct ToolInfo {
    /// What it says of itself.
    pub manifest: Arc<ToolManifest>,
    /// The plugin that provides it; `mcp/` and a name: the remote server.
    pub plugin: vivarium_domain::PluginName,
    /// Whether a person is asked before a run calls it.
    pub approval: vivarium_domain::Approval,
}

impl From<&ToolEntry> for ToolInfo {
    fn from(entry: &ToolEntry) -> Self {
        Self { manifest: Arc::clone(&entry.manifest), plugin: entry.provider_name().clone(), approval: entry.approval }
    }
}

/// Keeps a call's log for who tries a tool out. The sandbox bounds it.
#[derive(Debug, Default)]
pub(crate) struct KeptLog(Mutex<Vec<(&'static str, String)>>);

impl KeptLog {
    fn keep(&self, level: &'static str, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((level, line));
    }

    fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for KeptLog {
    fn line(&self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        self.keep(level, line.to_owned());
    }

    fn progress(&self, message: &str, fraction: Option<f32>) {
        let done = fraction.map(|fraction| format!(" ({:.0} %)", fraction * 100.0)).unwrap_or_default();
        self.keep("progress", format!("{message}{done}"));
    }
}

impl Shared {
    /// Lets a client try a tool out, outside of any run. Without a session the tool gets files that go with the call.
    pub(crate) async fn try_out(
        self: &Arc<Self>,
        tenant: &TenantId,
        name: &str,
        arguments_json: &str,
        session: Option<SessionId>,
        key: KeyId,
    ) -> Result<ToolTrial, TrialError> {
        let registry = &self.toolbox.registry;
        let catalog = registry.catalog(tenant).await?;
        let Some(entry) = catalog.tool(name) else {
            let available = catalog.tool_names();
            return Err(TrialError::UnknownTool { name: name.chars().take(80).collect(), available });
        };
        let scratch = session.is_none();
        let session = session.map_or_else(|| registry.scratch_session(), Ok)?;
        let log = Arc::new(KeptLog::default());
        let trial = uuid::Uuid::now_v7().to_string();
        let call = IntoTool {
            tenant,
            entry,
            arguments_json,
            context: ToolCallContext { idempotency_key: trial.clone(), ..Default::default() },
            session: &session,
            log: Arc::clone(&log) as Arc<dyn LogSink>,
        };
        let _removed_with_the_call =
            (scratch && entry.file_quota().is_some()).then(|| registry.scratch(tenant, &session));
        let by = UsedBy { key: Some(key), ..UsedBy::default() };
        let under_way = self.reserve_tool(tenant, &by, entry).await?.map_err(TrialError::Budget)?;
        let plugin = Some(entry.provider_name().as_str());
        let shape = sight::ToolCall { name: Some(entry.manifest.name.as_str()), call: &trial, plugin };
        let span = shape.begin(&Span::current());
        Content::set(&span, attribute::TOOL_ARGUMENTS, || arguments_json.to_owned());
        let report = match self.toolbox.call(call).within(&span).await {
            Ok(report) => report,
            Err(no_place) => {
                span.fail("unavailable");
                under_way.came_to_nothing();
                return Err(no_place.into());
            }
        };
        end_tool_span(&span, &report, "error");
        let used = under_way.ended(Used::tool_call(report.usage.wall_ms));
        count(&*self.store, tenant, used).await?;
        let (outcome, documents) = match report.result {
            Ok(output) => (ToolOutcome::Output(output.content), output.documents),
            Err(message) => (ToolOutcome::Error(message), Vec::new()),
        };
        let told = |Denial { capability, message }: Denial| (capability, message);
        let denials = report.denials.into_iter().map(told).collect();
        Ok(ToolTrial { outcome, documents, usage: report.usage, denials, log: log.take() })
    }
}
