//! The words of the house as plain types: ids, events, runs, sessions, what is said to a model and what a plugin says
//! of itself. No I/O, no clock, no tokio: every other crate may know this one, and it knows none of them.

mod agent;
mod audit;
pub mod bounds;
mod budget;
mod event;
mod fair;
mod grant;
mod id;
mod key;
mod mac;
mod manifest;
mod mcp;
mod model;
mod model_error;
mod money;
mod options;
mod plugin;
mod run;
mod schema;
mod session;
mod source;
mod tenant;
mod usage;
mod webhook;
mod weights;
mod word;
mod workspace;

pub use agent::{
    Agent, AgentConfig, AgentRef, AgentTool, BusyPolicy, CorpusDocument, MAX_CORPUS_CHARS, OutputFormat, Team,
    is_corpus_name,
};
pub use audit::{AuditAction, AuditActor, AuditBy, AuditCheck, AuditEntry, AuditFault, AuditHead, AuditNote};
pub use budget::{Budget, BudgetOwner, BudgetPeriod, BudgetUnit, SpentBudget};
pub use event::{ApprovalQuestion, Event, EventBody, HostCall, ToolOutcome, ToolUsage};
pub use fair::{FairLines, FairTurn};
pub use grant::{Approval, DEFAULT_METHODS, FileAccess, HostRequest, PluginGrant, PluginLimits};
pub use id::{
    AgentId, ContentHash, DocumentId, IdError, KeyId, McpServerName, RunId, SecretName, SessionId, SnapshotId, TeamId,
    TenantId, ToolName,
};
pub use key::{ApiKey, KeyEnd, KeyFormat, Scope};
pub use mac::hmac_sha256;
pub use manifest::{Instances, Manifest, ManifestError, ModeManifest, PluginName, Requests, ToolManifest};
pub use mcp::{McpLeftOut, McpLimits, McpServer, McpServerConfig, McpTool, McpToolState};
pub use model::{
    Abilities, AssistantMessage, Citation, FinishReason, GenerateRequest, GenerateResponse, Image, Message, ModelInfo,
    ModelName, Part, Passage, ToolCall, ToolDefinition, ToolMessage, Usage, Visibility,
};
pub use model_error::ModelError;
pub use money::Money;
pub use options::{
    AnthropicOptions, AnthropicTier, Decimal, GoogleOptions, ModelOptions, OpenAiOptions, OpenAiTier, ReasoningEffort,
    VendorOptions, Verbosity, WrongOption,
};
pub use plugin::{InstalledRecord, PluginVersion, SealedSecret, SecretUse};
pub use run::{
    AgentAsTool, CheckedCitation, Claim, FailureCode, ModelUsed, Outcome, ParentRun, PendingApproval, Run, RunFailure,
    RunSettings, RunStatus, RunTrace, Waiting,
};
pub use session::{AttachmentKind, KeptAttachment, Session, SessionMessage, SessionSummary};
pub use source::{Document, Source};
pub use tenant::{Tenant, TenantLimits, Tier};
pub use usage::{Subject, UsageEntry, Used, UsedBy, beginning_of, utc_day};
pub use webhook::{Delivery, DeliveryAttempt, DeliveryStatus, WebhookForm};
pub use weights::TierWeights;
pub use workspace::{ChangeKind, FileChange, Snapshot, SnapshotReason, WorkspaceChanges, WorkspaceFile};

/// The instant of an event or a record: UTC, written as ISO 8601.
pub use jiff::Timestamp;

/// A day of the calendar.
pub use jiff::civil::Date;
