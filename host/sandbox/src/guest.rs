//! The state of one guest call: what its host functions work on. Made fresh for each call and dropped with its store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vivarium_domain::Manifest;
use vivarium_sight::metric::{self, NO_LABELS, OneMore};
use vivarium_sight::{HostCall, Span};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::capability::clocks::FixedWorld;
use crate::capability::denial::Denials;
use crate::capability::files::{FilesShown, Workspace};
use crate::capability::http::EgressHooks;
use crate::capability::log::LogBudget;
use crate::capability::mode::ModeHost;
use crate::capability::programs::ProgramSetting;
use crate::capability::{Grant, LogLevel, LogSink, clocks};
use crate::error::{CallFailure, Stop};
use crate::limits::{CpuMeter, Limits, MemoryMeter};
use crate::program::Programs;
use crate::schedule::Payer;

/// The largest header section that a guest can build.
const FIELD_SIZE_LIMIT: usize = 64 << 10;

/// So many calls of the host are shown in the trace of one call; how many there were, the span of the call says.
const MAX_SPANS: u32 = 100;

/// Handles that an instance may keep from one call to the next.
const MAX_STANDING_HANDLES: usize = 16;

/// What the guest is called as: decides which interfaces answer.
pub(crate) enum Role {
    /// A mode: its answers come from the run, through the journal.
    Mode(Arc<dyn ModeHost>),
    /// A tool: it has what it was granted.
    Tool,
    /// A tool in a test: it has what it was granted, and the same time and dice each time.
    Rehearsal(FixedWorld),
    /// A program that a tool runs: it has what the tool gives it.
    Program(Box<ProgramSetting>),
}

impl Role {
    /// The word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Mode(_) => "mode",
            Self::Tool => "tool",
            Self::Rehearsal(_) => "rehearsal",
            Self::Program(_) => "program",
        }
    }
}

/// What differs from call to call.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) grant: Arc<Grant>,
    pub(crate) workspace: Option<Arc<Workspace>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) sink: Arc<dyn LogSink>,
}

/// The call that a guest is at work on, for what it has run beside itself.
#[derive(Clone)]
pub(crate) struct Calling {
    pub(crate) programs: Programs,
    pub(crate) cpu: Arc<CpuMeter>,
    pub(crate) payer: Payer,
}

/// Takes what nobody should be saying: an instance that waits has no call, and a program no log.
pub(crate) struct Nowhere;

impl LogSink for Nowhere {
    fn line(&self, _level: LogLevel, _line: &str) {}
    fn progress(&self, _message: &str, _fraction: Option<f32>) {}
}

/// The data of a guest's store.
pub(crate) struct Guest {
    pub(crate) role: Role,
    pub(crate) grant: Arc<Grant>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) memory: MemoryMeter,
    pub(crate) log: LogBudget,
    pub(crate) hooks: EgressHooks,
    pub(crate) denials: Denials,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) workspace: Option<Arc<Workspace>>,
    /// What it was shown when it asked for its folders, which it does once.
    pub(crate) files_shown: Option<FilesShown>,
    /// None where no call is under way.
    pub(crate) calling: Option<Calling>,
    /// Shared, because it is told even when the store is gone.
    host_calls: Arc<AtomicU64>,
    table: ResourceTable,
    /// Made when the guest first asks for something of WASI: most calls never do.
    wasi: Option<WasiCtx>,
    http: WasiHttpCtx,
    /// How many of its calls of the host may still be shown in the trace.
    spans_left: u32,
    _counted: OneMore,
}

impl Guest {
    pub(crate) fn new(role: Role, manifest: Arc<Manifest>, setting: Setting) -> Self {
        let Setting { grant, workspace, limits, sink } = setting;
        let denials = Denials::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELD_SIZE_LIMIT);
        Self {
            memory: MemoryMeter::new(&limits),
            log: LogBudget::new(&limits, sink, Arc::clone(&grant.redactor)),
            hooks: EgressHooks::new(grant.egress.clone(), denials.clone()),
            denials,
            manifest,
            workspace,
            files_shown: None,
            calling: None,
            host_calls: Arc::default(),
            table,
            wasi: None,
            http,
            spans_left: MAX_SPANS,
            _counted: metric::INSTANCES.one_more(NO_LABELS),
            role,
            grant,
            limits,
        }
    }

    /// Makes an instance that has waited ready for a call in this setting; says whether it fits.
    pub(crate) fn begin(&mut self, setting: &Setting) -> bool {
        let shown = FilesShown::of(&self.manifest, setting);
        if self.files_shown.as_ref().is_some_and(|before| *before != shown) || !self.memory.begin(&setting.limits) {
            return false;
        }
        self.set(setting.clone());
        true
    }

    fn set(&mut self, setting: Setting) {
        let Setting { grant, workspace, limits, sink } = setting;
        self.denials = Denials::default();
        self.log = LogBudget::new(&limits, sink, Arc::clone(&grant.redactor));
        self.hooks = EgressHooks::new(grant.egress.clone(), self.denials.clone());
        self.host_calls = Arc::default();
        self.spans_left = MAX_SPANS;
        self.table.set_max_capacity(limits.handles);
        (self.workspace, self.grant, self.limits) = (workspace, grant, limits);
    }

    /// Makes this the guest of a program that `caller` runs: what it may use is what the caller has left.
    pub(crate) fn is_part_of(&mut self, caller: &Self) {
        self.memory = caller.memory.of_a_program();
        self.host_calls = Arc::clone(&caller.host_calls);
        self.denials = caller.denials.clone();
    }

    /// Ends a call so that the instance can wait for the next; says whether the guest has let go of what it held.
    pub(crate) fn rest(&mut self) -> bool {
        if self.memory.refused || !self.has_let_go() {
            return false;
        }
        self.calling = None;
        let limits = Arc::clone(&self.limits);
        self.set(Setting { grant: Arc::default(), workspace: None, limits, sink: Arc::new(Nowhere) });
        true
    }

    /// The C library keeps its folders, and its streams for output, which nobody reads. Any other handle, or a stream that
    /// may be one of a file or of the network, is of the call.
    fn has_let_go(&mut self) -> bool {
        let only_output = self.workspace.is_none() && self.hooks.used().0 == 0;
        let workspace = &self.workspace;
        let mut handles = 0;
        self.table.iter_mut().all(|handle| {
            handles += 1;
            let stays = match handle.downcast_ref() {
                Some(Descriptor::Dir(folder)) => workspace.as_ref().is_some_and(|workspace| workspace.is_root(folder)),
                Some(Descriptor::File(_)) => false,
                None => only_output && (handle.is::<DynOutputStream>() || handle.is::<DynInputStream>()),
            };
            stays && handles <= MAX_STANDING_HANDLES
        })
    }

    /// The host calls that were counted.
    pub(crate) fn host_calls(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.host_calls)
    }

    /// A call of the host, in the trace of this call.
    pub(crate) fn span(&mut self, name: &'static str) -> Span {
        let Some(left) = self.spans_left.checked_sub(1) else { return Span::default() };
        self.spans_left = left;
        HostCall::Other(name).begin()
    }

    /// Counts one host call; every host function of ours begins with it.
    ///
    /// # Errors
    /// Ends the guest when it has made too many.
    pub(crate) fn count_host_call(&mut self) -> wasmtime::Result<()> {
        if self.host_calls.load(Ordering::Relaxed) >= self.limits.host_calls {
            let message = format!("it called the host more than {} times", self.limits.host_calls);
            return Err(Stop(CallFailure::OutputExceeded(message)).into());
        }
        self.host_calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The run, for an interface that only modes have.
    ///
    /// # Errors
    /// Ends a guest that is called as a tool.
    pub(crate) fn mode(&mut self, interface: &str) -> wasmtime::Result<Arc<dyn ModeHost>> {
        self.count_host_call()?;
        match &self.role {
            Role::Mode(host) => Ok(Arc::clone(host)),
            Role::Tool | Role::Rehearsal(_) | Role::Program(_) => {
                let message = format!("{interface} answers modes only, and this is a call of a tool");
                Err(Stop(CallFailure::Trapped(message)).into())
            }
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let role = &self.role;
        let ctx = self.wasi.get_or_insert_with(|| {
            let mut builder = WasiCtx::builder();
            match role {
                Role::Mode(host) => clocks::from_the_journal(&mut builder, host),
                Role::Rehearsal(world) => clocks::always_the_same(&mut builder, *world),
                Role::Program(setting) => setting.fill(&mut builder),
                Role::Tool => {}
            }
            builder.build()
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}
