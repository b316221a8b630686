//! What an operator can set: defaults < `vivarium.toml` < environment < flags. Everything that is wrong is told at once.

mod budgets;
mod collector;
mod faults;
mod limits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vivarium_api::TierLimits;
use vivarium_domain::{Approval, FileAccess, HostRequest, ModelName, SecretName, Tier, TierWeights, ToolName};
use vivarium_egress::HostPort;
use vivarium_models::Price;

use faults::{Places, nearest};

pub use budgets::{BudgetTable, UnpricedModels};
pub use collector::CollectorUrl;
pub use limits::{LimitsTable, maxima, mode_defaults, tool_defaults};

use crate::sight::LogFormat;
use crate::tls::{Tls, TlsFiles};

/// The file that is read from the working folder if no other is named.
const DEFAULT_FILE: &str = "vivarium.toml";

/// Variables that begin like ours and set no key of the configuration.
const OTHER_VARIABLES: [&str; 6] = ["ADMIN_KEY", "CONFIG", "LOG", "KEY", "SECRETS_KEY", "URL"];

/// The least length of a first key that an operator chooses.
const MIN_ADMIN_KEY_CHARS: usize = 16;

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not valid:\n  {}", .0.join("\n  "))]
pub struct ConfigErrors(pub Vec<String>);

/// A text that is never shown.
#[derive(Debug, Clone)]
pub struct Masked(pub SecretString);

impl Serialize for Masked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("********")
    }
}

impl<'de> Deserialize<'de> for Masked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A credential of a plugin: the host puts it into one header for one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginSecret {
    /// The host that it is for.
    pub host: String,
    /// The header that it goes into.
    pub header: String,
    /// What stands before it, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// The credential itself.
    pub value: Masked,
}

/// What an operator gives one plugin.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// The hosts that it may reach; none: for a plugin that came with this binary what its manifest asks for, for any
    /// other plugin nothing.
    pub hosts: Option<Vec<HostRequest>>,
    /// Hosts with ports that it may reach although their addresses are not public.
    pub dangerously_allow_private_addresses: Vec<String>,
    /// It may search and read the corpus. A plugin that came with this binary may in any case.
    pub corpus: bool,
    /// It may keep data between calls.
    pub state: bool,
    /// It may run programs in the sandbox.
    pub programs: bool,
    /// What it may do with the files of a session.
    pub files: Option<FileAccess>,
    /// Settings that it reads.
    pub settings: BTreeMap<String, String>,
    /// Limits of its calls.
    pub limits: LimitsTable,
    /// Which of its tools need a person's approval.
    pub approvals: BTreeMap<ToolName, Approval>,
    /// Credentials that the host puts into its requests, by name.
    pub secrets: BTreeMap<SecretName, PluginSecret>,
}

/// The configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder of all that is kept.
    pub data: PathBuf,
    /// A folder of documents to search.
    pub corpus: Option<PathBuf>,
    /// How often that folder is looked through for what has changed, in seconds; 0: at the start alone.
    pub corpus_refresh_seconds: u32,
    /// The model that answers where none is named.
    pub model: Option<ModelName>,
    /// The weights of the embedded language model, a file; none: there is only the extractive answerer.
    pub embedded_weights: Option<PathBuf>,
    /// How long a model may take for an answer in all, in seconds, where neither a run nor its agent says.
    pub model_timeout_seconds: u64,
    /// How long it may take to begin to answer, in seconds.
    pub model_first_token_seconds: u64,
    /// How long it may be silent in the middle of an answer, in seconds.
    pub model_idle_seconds: u64,
    /// A folder of further plugins: every `*.wasm` in it is loaded.
    pub plugins_dir: Option<PathBuf>,
    /// A folder of programs that tools may run: each of its folders with a `program.toml` is one.
    pub programs_dir: Option<PathBuf>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long a client may take to send a request's head, and its body, in seconds.
    pub request_timeout_seconds: u64,
    /// Open connections at one time; further ones wait to be accepted. Event streams are connections that stay open.
    pub max_connections: usize,
    /// The certificate to serve TLS with, and those that it is signed with: PEM. None: plain HTTP.
    pub tls_certificate_file: Option<PathBuf>,
    /// The certificate's private key: PEM.
    pub tls_key_file: Option<PathBuf>,
    /// How much room the data folder's disk must have, in bytes, for the host to be ready and to accept new runs.
    pub min_free_disk_bytes: u64,
    /// Runs that work at one time.
    pub max_running: usize,
    /// Runs that wait for their turn.
    pub max_queued: usize,
    /// Runs that wait for a person.
    pub max_waiting: usize,
    /// How long a person may take to decide about a tool call before it is refused, in seconds.
    pub approval_patience_seconds: u64,
    /// Of running and waiting runs and of tool calls, the share that one tenant may have, in percent.
    pub tenant_share_percent: usize,
    /// Tool calls at one time.
    pub max_tool_calls: usize,
    /// How long a tool call waits for its place, in seconds.
    pub tool_call_patience_seconds: u64,
    /// How long the second attempt of telling a client's server of a run's end waits for after the first, in milliseconds.
    pub webhook_first_retry_ms: u64,
    /// The largest component that is installed, in bytes.
    pub max_component_bytes: usize,
    /// The most plugins of a tenant.
    pub max_plugins: usize,
    /// The most bytes of all versions of all plugins of a tenant together.
    pub max_plugin_bytes: u64,
    /// The most snapshots of one session's files that clients have asked for.
    pub max_snapshots: usize,
    /// The most bytes of all snapshots of one session's files together; equal files count once.
    pub max_snapshot_bytes: u64,
    /// The most processor time that compiling a component takes, in seconds.
    pub compile_seconds: u64,
    /// Where the key of the tenants' secrets is; none: `secrets.key` in the data folder.
    pub secrets_key_file: Option<PathBuf>,
    /// Hosts with ports whose addresses need not be public, for every plugin that is granted exactly that host and port.
    pub dangerously_allow_private_addresses: Vec<String>,
    /// How many days a session is kept in which nobody speaks and that has no time of its own; none: for ever.
    pub session_ttl_days: Option<NonZeroU32>,
    /// How many days the log of a run is kept after the run's end; its record stays. None: as long as the run is.
    pub run_log_days: Option<NonZeroU32>,
    /// How many days a run is kept after its end; none: for ever.
    pub run_days: Option<NonZeroU32>,
    /// How many runs that have ended are kept of one tenant: beyond it, those that ended first go. None: all.
    pub max_runs_per_tenant: Option<NonZeroU64>,
    /// For how many seconds the answer to a request with an idempotency key is kept for its repeats, where it started no run.
    pub idempotency_ttl_seconds: u64,
    /// The most tokens of an answer where a budget applies and nobody says.
    pub budgeted_output_tokens: NonZeroU32,
    /// What becomes of models without a price where a budget of money applies.
    pub unpriced_models: UnpricedModels,
    /// For how many days is kept what was used.
    pub usage_days: NonZeroU32,
    /// How long a stop waits for runs that are under way, in seconds.
    pub drain_seconds: u64,
    /// What a line of the server's log looks like.
    pub log_format: LogFormat,
    /// An address of the metrics' own, where they need no key; none: they are where the API is.
    pub metrics_listen: Option<SocketAddr>,
    /// The collector that takes the traces, by OTLP over HTTP; none: the standard variables name it, or there are no traces.
    pub otlp_endpoint: Option<CollectorUrl>,
    /// Traces hold prompts, answers, arguments and results.
    pub otlp_include_content: bool,
    /// Requests of any kind that each key may make in a minute in the agent-hub dialect; none: as many as its tier's may
    /// start runs, but 100 in any case.
    pub agent_hub_requests_per_minute: Option<NonZeroU32>,
    /// What keys may do in a minute, by tier.
    pub limits: TierLimits,
    /// What tenants may use in a day and in a month that have no budget of their own, by tier.
    pub budgets: BTreeMap<Tier, BudgetTable>,
    /// In which proportions tenants get places and processor time where these are short, by tier.
    pub weights: TierWeights,
    /// What models cost, by `provider/model`, over the table that is shipped.
    pub prices: BTreeMap<ModelName, Price>,
    /// What a tool's call may use where neither its grant nor its manifest says anything.
    pub tool_limits: LimitsTable,
    /// What a mode's run may use where neither its grant nor its manifest says anything.
    pub mode_limits: LimitsTable,
    /// What no limit of a tenant goes beyond, by tier.
    pub max_limits: BTreeMap<Tier, LimitsTable>,
    /// What each plugin is given, by its name `owner/name`.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// Who compiles components. The binary lets itself do it, in a process of its own.
    #[serde(skip)]
    pub compiler: vivarium_sandbox::Compiler,
    /// The first admin key of an empty data folder, from `VIVARIUM_ADMIN_KEY`.
    #[serde(skip)]
    pub admin_key: Option<SecretString>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("vivarium-data"),
            corpus: None,
            corpus_refresh_seconds: 5,
            model: None,
            embedded_weights: None,
            model_timeout_seconds: 600,
            model_first_token_seconds: 180,
            model_idle_seconds: 60,
            plugins_dir: None,
            programs_dir: None,
            max_body_bytes: 1 << 20,
            request_timeout_seconds: 30,
            // Ten thousand streams, and room for those who ask and probe besides.
            max_connections: 16_384,
            tls_certificate_file: None,
            tls_key_file: None,
            min_free_disk_bytes: 256 << 20,
            max_running: 1024,
            max_queued: 4096,
            max_waiting: 100_000,
            approval_patience_seconds: 7 * 24 * 3600,
            tenant_share_percent: 75,
            max_tool_calls: 256,
            tool_call_patience_seconds: 10,
            webhook_first_retry_ms: 5000,
            max_component_bytes: 48 << 20,
            max_plugins: 100,
            max_plugin_bytes: 512 << 20,
            max_snapshots: 50,
            max_snapshot_bytes: 256 << 20,
            compile_seconds: 120,
            compiler: vivarium_sandbox::Compiler::InProcess,
            secrets_key_file: None,
            dangerously_allow_private_addresses: Vec::new(),
            session_ttl_days: None,
            run_log_days: None,
            run_days: None,
            max_runs_per_tenant: None,
            idempotency_ttl_seconds: 24 * 3600,
            budgeted_output_tokens: NonZeroU32::MIN.saturating_add(8191),
            unpriced_models: UnpricedModels::default(),
            usage_days: NonZeroU32::MIN.saturating_add(399),
            drain_seconds: 20,
            log_format: LogFormat::Text,
            metrics_listen: None,
            otlp_endpoint: None,
            otlp_include_content: false,
            agent_hub_requests_per_minute: None,
            limits: TierLimits::default(),
            budgets: BTreeMap::new(),
            weights: TierWeights::default(),
            prices: BTreeMap::new(),
            tool_limits: LimitsTable(tool_defaults()),
            mode_limits: LimitsTable(mode_defaults()),
            max_limits: maxima(),
            plugins: BTreeMap::new(),
            admin_key: None,
        }
    }
}

/// What the command line sets; none of it must be there.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flags {
    /// `--listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `--data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// `--corpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus: Option<PathBuf>,
    /// `--model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Takes keys out of the sum of all sources, one by one, and collects what is wrong with them.
struct Reader {
    sum: Figment,
    places: Places,
    errors: Vec<String>,
}

impl Reader {
    fn take<'de, T: Deserialize<'de>>(&mut self, key: &str, default: T) -> T {
        if self.sum.find_value(key).is_err() {
            return default;
        }
        match self.sum.extract_inner(key) {
            Ok(value) => value,
            Err(error) => {
                self.errors.extend(error.into_iter().map(|error| self.places.told(key, &error)));
                default
            }
        }
    }

    /// A number that nothing works without.
    fn take_positive<'de, T: Deserialize<'de> + Default + PartialEq + Copy>(&mut self, key: &str, default: T) -> T {
        let value = self.take(key, default);
        if value == T::default() {
            let place = self.places.place(self.sum.find_metadata(key), &[key.to_owned()]);
            let place = place.map(|place| format!(" in {place}")).unwrap_or_default();
            self.errors.push(format!("{key}{place} must be larger than 0"));
        }
        value
    }

    /// Limits of which only some may be set: the others stay at their defaults.
    fn take_limits(&mut self, key: &str, default: LimitsTable) -> LimitsTable {
        LimitsTable(self.take(key, LimitsTable::default()).0.or(default.0))
    }

    fn take_max_limits(&mut self, default: BTreeMap<Tier, LimitsTable>) -> BTreeMap<Tier, LimitsTable> {
        let set: BTreeMap<Tier, LimitsTable> = self.take("max_limits", BTreeMap::new());
        let of = |(tier, most): (Tier, LimitsTable)| {
            let set = set.get(&tier).copied().unwrap_or_default();
            (tier, LimitsTable(set.0.or(most.0)))
        };
        default.into_iter().map(of).collect()
    }

    fn refuse_unknown(&mut self, known: &[&str]) {
        let keys = self.sum.extract::<Dict>().map(|all| all.into_keys().collect::<Vec<_>>()).unwrap_or_default();
        for key in keys.iter().filter(|key| !known.contains(&key.as_str())) {
            let place =
                self.places.of(std::slice::from_ref(key)).map(|place| format!(" in {place}")).unwrap_or_default();
            let hint = match nearest(key, known) {
                Some(near) => format!("{near} may be meant"),
                None => format!("the keys are: {}", known.join(", ")),
            };
            self.errors.push(format!("{key}{place} is no key of the configuration; {hint}"));
        }
    }
}

impl Config {
    /// The keys, as they stand in the file; in the environment each is `VIVARIUM_` and the key in capitals, except for
    /// the last ones, from `dangerously_allow_private_addresses` on, which are lists and tables.
    pub const KEYS: [&str; 55] = [
        "listen",
        "data",
        "corpus",
        "corpus_refresh_seconds",
        "model",
        "embedded_weights",
        "model_timeout_seconds",
        "model_first_token_seconds",
        "model_idle_seconds",
        "plugins_dir",
        "programs_dir",
        "max_body_bytes",
        "request_timeout_seconds",
        "max_connections",
        "tls_certificate_file",
        "tls_key_file",
        "min_free_disk_bytes",
        "max_running",
        "max_queued",
        "max_waiting",
        "approval_patience_seconds",
        "tenant_share_percent",
        "max_tool_calls",
        "tool_call_patience_seconds",
        "webhook_first_retry_ms",
        "max_component_bytes",
        "max_plugins",
        "max_plugin_bytes",
        "max_snapshots",
        "max_snapshot_bytes",
        "compile_seconds",
        "secrets_key_file",
        "session_ttl_days",
        "run_log_days",
        "run_days",
        "max_runs_per_tenant",
        "idempotency_ttl_seconds",
        "budgeted_output_tokens",
        "unpriced_models",
        "usage_days",
        "drain_seconds",
        "log_format",
        "metrics_listen",
        "otlp_endpoint",
        "otlp_include_content",
        "agent_hub_requests_per_minute",
        "dangerously_allow_private_addresses",
        "limits",
        "budgets",
        "weights",
        "prices",
        "tool_limits",
        "mode_limits",
        "max_limits",
        "plugins",
    ];

    /// The first key that stands in the file only, and after it the others that do.
    const FILE_ONLY: &str = "dangerously_allow_private_addresses";

    /// Reads the configuration. `file` must be there; without one, `vivarium.toml` is read if it is there.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(file: Option<&Path>, flags: &Flags) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let path = match file {
            Some(path) if !path.is_file() => {
                errors.push(format!("the configuration file {} is not there", path.display()));
                None
            }
            Some(path) => Some(path.to_owned()),
            None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.is_file()),
        };
        let mut sum = Figment::new();
        let places = path.as_deref().map(Places::in_file).unwrap_or_default();
        if let Some(path) = path {
            sum = sum.merge(Toml::file_exact(path));
        }
        let variables: Vec<&str> = Self::KEYS.into_iter().take_while(|key| *key != Self::FILE_ONLY).collect();
        let sum = sum.merge(Env::prefixed("VIVARIUM_").only(&variables).lowercase(true));
        let sum = sum.merge(Serialized::defaults(flags));
        let (config, mut reader) = Self::of(sum, places);
        reader.errors.splice(0..0, errors);
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.errors)) }
    }

    fn of(sum: Figment, places: Places) -> (Self, Reader) {
        let default = Self::default();
        let mut reader = Reader { sum, places, errors: Vec::new() };
        // A file that is no TOML is told once, and not once for each key.
        if let Err(error) = reader.sum.extract::<Map<String, figment::value::Value>>() {
            reader.errors.extend(error.into_iter().map(|error| error.to_string()));
            return (default, reader);
        }
        reader.refuse_unknown(&Self::KEYS);
        let config = Self {
            listen: reader.take("listen", default.listen),
            data: reader.take("data", default.data),
            corpus: reader.take("corpus", default.corpus),
            corpus_refresh_seconds: reader.take("corpus_refresh_seconds", default.corpus_refresh_seconds),
            model: reader.take("model", default.model),
            embedded_weights: reader.take("embedded_weights", default.embedded_weights),
            model_timeout_seconds: reader.take_positive("model_timeout_seconds", default.model_timeout_seconds),
            model_first_token_seconds: reader
                .take_positive("model_first_token_seconds", default.model_first_token_seconds),
            model_idle_seconds: reader.take_positive("model_idle_seconds", default.model_idle_seconds),
            plugins_dir: reader.take("plugins_dir", default.plugins_dir),
            programs_dir: reader.take("programs_dir", default.programs_dir),
            max_body_bytes: reader.take_positive("max_body_bytes", default.max_body_bytes),
            request_timeout_seconds: reader.take_positive("request_timeout_seconds", default.request_timeout_seconds),
            max_connections: reader.take_positive("max_connections", default.max_connections),
            tls_certificate_file: reader.take("tls_certificate_file", default.tls_certificate_file),
            tls_key_file: reader.take("tls_key_file", default.tls_key_file),
            min_free_disk_bytes: reader.take("min_free_disk_bytes", default.min_free_disk_bytes),
            max_running: reader.take_positive("max_running", default.max_running),
            max_queued: reader.take("max_queued", default.max_queued),
            max_waiting: reader.take("max_waiting", default.max_waiting),
            approval_patience_seconds: reader
                .take_positive("approval_patience_seconds", default.approval_patience_seconds),
            tenant_share_percent: reader.take_positive("tenant_share_percent", default.tenant_share_percent).min(100),
            max_tool_calls: reader.take_positive("max_tool_calls", default.max_tool_calls),
            tool_call_patience_seconds: reader.take("tool_call_patience_seconds", default.tool_call_patience_seconds),
            webhook_first_retry_ms: reader.take_positive("webhook_first_retry_ms", default.webhook_first_retry_ms),
            max_component_bytes: reader.take_positive("max_component_bytes", default.max_component_bytes),
            max_plugins: reader.take("max_plugins", default.max_plugins),
            max_plugin_bytes: reader.take("max_plugin_bytes", default.max_plugin_bytes),
            max_snapshots: reader.take("max_snapshots", default.max_snapshots),
            max_snapshot_bytes: reader.take("max_snapshot_bytes", default.max_snapshot_bytes),
            compile_seconds: reader.take_positive("compile_seconds", default.compile_seconds),
            compiler: default.compiler,
            secrets_key_file: reader.take("secrets_key_file", default.secrets_key_file),
            dangerously_allow_private_addresses: reader
                .take("dangerously_allow_private_addresses", default.dangerously_allow_private_addresses),
            session_ttl_days: reader.take("session_ttl_days", default.session_ttl_days),
            run_log_days: reader.take("run_log_days", default.run_log_days),
            run_days: reader.take("run_days", default.run_days),
            max_runs_per_tenant: reader.take("max_runs_per_tenant", default.max_runs_per_tenant),
            idempotency_ttl_seconds: reader.take_positive("idempotency_ttl_seconds", default.idempotency_ttl_seconds),
            budgeted_output_tokens: reader.take("budgeted_output_tokens", default.budgeted_output_tokens),
            unpriced_models: reader.take("unpriced_models", default.unpriced_models),
            usage_days: reader.take("usage_days", default.usage_days),
            drain_seconds: reader.take("drain_seconds", default.drain_seconds),
            log_format: reader.take("log_format", default.log_format),
            metrics_listen: reader.take("metrics_listen", default.metrics_listen),
            otlp_endpoint: reader.take("otlp_endpoint", default.otlp_endpoint),
            otlp_include_content: reader.take("otlp_include_content", default.otlp_include_content),
            agent_hub_requests_per_minute: reader
                .take("agent_hub_requests_per_minute", default.agent_hub_requests_per_minute),
            limits: reader.take::<TierLimits>("limits", default.limits).or_default(),
            budgets: reader.take("budgets", default.budgets),
            weights: reader.take("weights", default.weights),
            prices: reader.take("prices", default.prices),
            tool_limits: reader.take_limits("tool_limits", default.tool_limits),
            mode_limits: reader.take_limits("mode_limits", default.mode_limits),
            max_limits: reader.take_max_limits(default.max_limits),
            plugins: reader.take("plugins", default.plugins),
            admin_key: admin_key(&mut reader.errors),
        };
        if let Some(corpus) = config.corpus.as_ref().filter(|corpus| !corpus.is_dir()) {
            reader.errors.push(format!("corpus must be a folder, and {} is none", corpus.display()));
        }
        if let Some(programs) = config.programs_dir.as_ref().filter(|programs| !programs.is_dir()) {
            reader.errors.push(format!("programs_dir must be a folder, and {} is none", programs.display()));
        }
        if let Err(wrong) = config.tls() {
            reader.errors.push(wrong);
        }
        for place in &config.dangerously_allow_private_addresses {
            if let Err(error) = place.parse::<HostPort>() {
                reader.errors.push(format!("dangerously_allow_private_addresses: {error}"));
            }
        }
        if let (Some(log), Some(run)) = (config.run_log_days, config.run_days)
            && log >= run
        {
            reader
                .errors
                .push(format!("run_log_days must be less than run_days ({run}), or left out: a log goes with its run"));
        }
        (config, reader)
    }

    /// A variable with a typing error in its name must not pass in silence; it may also belong to somebody else.
    pub fn warn_of_unknown_variables() {
        let known: Vec<&str> = Self::KEYS.into_iter().take_while(|key| *key != Self::FILE_ONLY).collect();
        for (name, _) in std::env::vars_os() {
            let Some(key) = name.to_str().and_then(|name| name.strip_prefix("VIVARIUM_")) else { continue };
            if !known.contains(&key.to_ascii_lowercase().as_str()) && !OTHER_VARIABLES.contains(&key) {
                tracing::warn!(variable = %name.display(), "this environment variable sets nothing");
            }
        }
    }

    /// The configuration as a file would have it, secrets masked.
    ///
    /// # Errors
    /// Never for a configuration that was read.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// TLS as it is configured; none: it is not.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, String> {
        match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => {
                Tls::new(TlsFiles { certificate: certificate.clone(), key: key.clone() }).map(Some)
            }
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err("tls_certificate_file needs tls_key_file beside it: the certificate's private key".to_owned())
            }
            (None, Some(_)) => Err("tls_key_file needs tls_certificate_file beside it: the certificate".to_owned()),
        }
    }

    /// How long a client may take to send a request's head, and its body.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }
}

fn admin_key(errors: &mut Vec<String>) -> Option<SecretString> {
    let key = std::env::var("VIVARIUM_ADMIN_KEY").ok().filter(|key| !key.is_empty()).map(SecretString::from)?;
    let text = key.expose_secret();
    if text.len() < MIN_ADMIN_KEY_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        errors.push(format!("VIVARIUM_ADMIN_KEY must be at least {MIN_ADMIN_KEY_CHARS} visible ASCII characters"));
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn read(file: &str, flags: &Flags) -> Result<Config, String> {
        let sum = Figment::new().merge(Toml::string(file)).merge(Serialized::defaults(flags));
        let (config, reader) = Config::of(sum, Places::in_text("vivarium.toml", file));
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.errors).to_string()) }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = r#"
            listen = "everywhere"
            lisen = "127.0.0.1:1"
            model = "gpt"
            max_running = 0
            corpus = "/nowhere/at/all"
            drain_seconds = "soon"
            run_days = 7
            run_log_days = 7
            max_runs_per_tenant = 0
        "#;
        let told = read(wrong, &Flags::default()).unwrap_err();
        for part in [
            "listen",
            "lisen in vivarium.toml line 3 is no key of the configuration; listen may be meant",
            "vivarium.toml line 7",
            "provider/model",
            "max_running in vivarium.toml line 5 must be larger",
            "/nowhere/at/all",
            "drain_seconds",
            "run_log_days must be less than run_days (7)",
            "max_runs_per_tenant",
        ] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags = Flags { listen: Some("127.0.0.1:2".into()), ..Flags::default() };
        let config = read("listen = '127.0.0.1:1'\nmax_queued = 7", &flags).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.max_queued, 7);
        assert_eq!(config.max_running, Config::default().max_running);
    }

    #[test]
    fn a_printed_configuration_shows_no_secret_and_can_be_read_again() {
        let file = r#"
            corpus = "/"
            [plugins."vivarium/web-search".secrets.brave]
            host = "api.search.brave.com"
            header = "x-subscription-token"
            value = "very-secret"
        "#;
        let printed = read(file, &Flags::default()).unwrap().to_toml().unwrap();
        assert!(!printed.contains("very-secret") && printed.contains("********"), "{printed}");
        read(&printed, &Flags::default()).unwrap();
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_place() {
        let told = read("listen = = 1", &Flags::default()).unwrap_err();
        assert!(told.contains("line 1"), "{told}");
        assert_eq!(told.lines().next().unwrap(), "the configuration is not valid:");
    }

    #[test]
    fn an_empty_configuration_is_the_default() {
        assert_snapshot!(read("", &Flags::default()).unwrap().to_toml().unwrap(), @r#"
        listen = "127.0.0.1:8080"
        data = "vivarium-data"
        corpus_refresh_seconds = 5
        model_timeout_seconds = 600
        model_first_token_seconds = 180
        model_idle_seconds = 60
        max_body_bytes = 1048576
        request_timeout_seconds = 30
        max_connections = 16384
        min_free_disk_bytes = 268435456
        max_running = 1024
        max_queued = 4096
        max_waiting = 100000
        approval_patience_seconds = 604800
        tenant_share_percent = 75
        max_tool_calls = 256
        tool_call_patience_seconds = 10
        webhook_first_retry_ms = 5000
        max_component_bytes = 50331648
        max_plugins = 100
        max_plugin_bytes = 536870912
        max_snapshots = 50
        max_snapshot_bytes = 268435456
        compile_seconds = 120
        dangerously_allow_private_addresses = []
        idempotency_ttl_seconds = 86400
        budgeted_output_tokens = 8192
        unpriced_models = "refuse"
        usage_days = 400
        drain_seconds = 20
        log_format = "text"
        otlp_include_content = false

        [limits.free]
        requests_per_minute = 10
        tokens_per_minute = 40000
        concurrent_runs = 10
        open_streams = 20
        stored_bytes = 1073741824

        [limits.pro]
        requests_per_minute = 60
        tokens_per_minute = 200000
        concurrent_runs = 100
        open_streams = 200
        stored_bytes = 10737418240

        [limits.max]
        requests_per_minute = 600
        tokens_per_minute = 2000000
        concurrent_runs = 1000
        open_streams = 2000
        stored_bytes = 107374182400

        [limits.enterprise]
        requests_per_minute = 1000000
        tokens_per_minute = 1000000000

        [budgets]

        [weights]
        free = 1
        pro = 2
        max = 4
        enterprise = 8

        [prices]

        [tool_limits]
        cpu_ms = 10000
        egress_bytes = 33554432
        egress_requests = 32
        file_bytes = 67108864
        files = 2000
        handles = 256
        host_calls = 20000
        log_lines = 200
        memory_bytes = 134217728
        output_bytes = 1048576
        state_bytes = 4194304
        table_elements = 50000
        wall_ms = 60000

        [mode_limits]
        cpu_ms = 20000
        egress_bytes = 33554432
        egress_requests = 32
        file_bytes = 67108864
        files = 2000
        handles = 256
        host_calls = 5000
        log_lines = 200
        memory_bytes = 134217728
        output_bytes = 1048576
        state_bytes = 4194304
        table_elements = 50000
        wall_ms = 600000

        [max_limits.free]
        cpu_ms = 10000
        egress_bytes = 33554432
        egress_requests = 32
        file_bytes = 67108864
        files = 2000
        handles = 256
        host_calls = 20000
        log_lines = 200
        memory_bytes = 134217728
        output_bytes = 1048576
        state_bytes = 4194304
        table_elements = 50000
        wall_ms = 60000

        [max_limits.pro]
        cpu_ms = 20000
        egress_bytes = 67108864
        egress_requests = 64
        file_bytes = 134217728
        files = 4000
        handles = 512
        host_calls = 40000
        log_lines = 400
        memory_bytes = 268435456
        output_bytes = 2097152
        state_bytes = 8388608
        table_elements = 100000
        wall_ms = 120000

        [max_limits.max]
        cpu_ms = 40000
        egress_bytes = 134217728
        egress_requests = 128
        file_bytes = 268435456
        files = 8000
        handles = 1024
        host_calls = 80000
        log_lines = 800
        memory_bytes = 536870912
        output_bytes = 4194304
        state_bytes = 16777216
        table_elements = 200000
        wall_ms = 240000

        [max_limits.enterprise]
        cpu_ms = 100000
        egress_bytes = 335544320
        egress_requests = 320
        file_bytes = 671088640
        files = 20000
        handles = 2560
        host_calls = 200000
        log_lines = 2000
        memory_bytes = 1073741824
        output_bytes = 10485760
        state_bytes = 41943040
        table_elements = 500000
        wall_ms = 600000

        [plugins]
        "#);
    }
}
