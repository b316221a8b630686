//! From a request to a run that is on disk: it is checked, gets its session, its places and its first record.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tracing::Instrument as _;
use vivarium_domain::{
    AttachmentKind, AuditBy, BusyPolicy, Delivery, DeliveryStatus, KeptAttachment, ModelError, ModelName, Money, Run,
    RunId, RunSettings, RunStatus, Session, SessionId, TenantId, Timestamp, Usage, UsedBy, utc_day,
};
use vivarium_registry::Catalog;
use vivarium_sight::metric::{self, NO_LABELS};
use vivarium_sight::{InSpan as _, Span};
use vivarium_store::{Batch, Condition, IdempotencyRecord, Made, StoreError, Write};

use crate::approvals::Approvals;
use crate::asking::Candidate;
use crate::conversations::{SessionError, new_session_id, title_of};
use crate::execute::{Control, Execution, Seat};
use crate::found::Found;
use crate::history;
use crate::log::RunLog;
use crate::request::{Idempotency, RunRequest, StartError, Started};
use crate::service::Runs;
use crate::sessions::NoTurn;
use crate::spending::no_price;
use crate::structured::OutputSchema;
use crate::table::{Active, NoRoom};
use crate::trace::{Told, asked_now, begin_part};

impl From<NoTurn> for StartError {
    fn from(no_turn: NoTurn) -> Self {
        match no_turn {
            NoTurn::Busy | NoTurn::Closed => Self::SessionBusy,
            NoTurn::TooLong => Self::Overloaded("too many messages wait in this session; try again later".to_owned()),
        }
    }
}

/// A request's session, and what is there of it.
struct SessionOf {
    id: SessionId,
    found: Option<Session>,
}

/// What a request asks for, found and in order.
struct Checked {
    found: Found,
    max_cycles: u32,
    model: ModelName,
    fallback_models: Vec<ModelName>,
}

impl Runs {
    /// Accepts a run: it is on disk when this returns, and goes on by itself, whoever listens.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(&self, tenant: &TenantId, request: RunRequest) -> Result<Started, StartError> {
        // Large, and on the way of every request.
        Box::pin(self.start_as(RunId::new(), tenant, request)).await
    }

    /// The same with an id that was chosen before.
    pub(crate) async fn start_as(
        &self,
        id: RunId,
        tenant: &TenantId,
        mut request: RunRequest,
    ) -> Result<Started, StartError> {
        request.session_ttl_seconds = self.session_ttl_seconds(request.session_ttl_seconds);
        let shared = &self.0;
        if let Some(idempotency) = &request.idempotency
            && let Some(started) = self.replay(tenant, idempotency).await?
        {
            return Ok(started);
        }
        // A run that others have begun goes on to its end, with those below it.
        if shared.is_disk_full() && request.parent.is_none() {
            return Err(StartError::DiskFull);
        }
        let catalog = shared.toolbox.registry.catalog(tenant).await?;
        let checked =
            self.check(&request, shared.with_contexts(tenant, &request.contexts, &request.corpora, catalog))?;
        self.look_at_budgets(tenant, &request, &checked).await?;
        let session = self.session_of(tenant, &request).await?;
        let agents = shared.agents_as_tools(tenant, &request, &checked.found.catalog).await?;
        let (stored, most) = shared.own_bounds(tenant).await?;
        let attachments = history::keep(&*shared.store, tenant, &session.id, &request.attachments, stored).await?;
        let mut run = new_run(id, &request, &checked, session.id.clone(), attachments);
        run.settings.agents = agents;
        run.settings.fallback_models.clone_from(&checked.fallback_models);
        let prepared = self.prepare(tenant, &request, run, checked, most)?;
        let started = Started { run_id: prepared.run.id, session_id: prepared.run.session_id.clone(), replayed: false };
        let committed = shared.store.commit(tenant, first_batch(&prepared.run, &request, &session));
        let committed = self.then_tell(tenant, started.run_id, request.webhook.is_some(), committed);
        // On a task of its own: a client that leaves now does not leave a run that nobody drives.
        let (accepted, acknowledged) = tokio::sync::oneshot::channel();
        // The id of a run that another one starts is known before.
        let on_disk_first = request.idempotency.is_some() || request.parent.is_some();
        let Told { span, log } = begin_part(tenant, &prepared.run, false);
        let prepared = Execution { trace: span.clone(), ..prepared };
        tokio::spawn(prepared.run_when(committed, accepted, on_disk_first).within(&span).instrument(log));
        let result =
            acknowledged.await.map_err(|_| StoreError::Unavailable("the run broke off at its start".to_owned()))?;
        match (result, &request.idempotency) {
            (Ok(()), _) => {
                metric::RUNS_STARTED.add(1, NO_LABELS);
                Ok(started)
            }
            (Err(StoreError::ConditionFailed(Condition::IdempotencyKeyUnused(key))), Some(idempotency)) => {
                // Another request with this key was faster.
                let record = shared.store.idempotency(tenant, &key).await?.ok_or_else(|| {
                    StoreError::Corrupt("an idempotency key is taken, but stands for nothing".to_owned())
                })?;
                self.replayed(tenant, &record, idempotency.request_hash).await
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// A run is not begun where nothing at all is left of a budget that it would need.
    async fn look_at_budgets(
        &self,
        tenant: &TenantId,
        request: &RunRequest,
        checked: &Checked,
    ) -> Result<(), StartError> {
        let shared = &self.0;
        let by = UsedBy { key: request.key, agent: request.agent.map(|agent| agent.id), ..UsedBy::default() };
        let bounded = shared.accounts.bounded(tenant, &by).await?;
        let today = utc_day(Timestamp::now());
        let mut models = std::iter::once(&checked.model).chain(&checked.fallback_models);
        let unpriced = models.find(|model| shared.models.price(model, today).is_none());
        if let Some(model) = unpriced.filter(|_| shared.needs_price(&bounded)) {
            return Err(StartError::UnknownModel(no_price(model)));
        }
        match shared.accounts.exhausted(tenant, &bounded).await? {
            Some(spent) => Err(StartError::Budget(spent)),
            None => Ok(()),
        }
    }

    /// The run that an idempotency key has made already; none: the key is new. For who asks before looking up what the request
    /// names: that may be gone by now, and the run is there all the same.
    ///
    /// # Errors
    /// [`StartError::IdempotencyConflict`].
    pub async fn replay(&self, tenant: &TenantId, idempotency: &Idempotency) -> Result<Option<Started>, StartError> {
        match self.0.store.idempotency(tenant, &idempotency.key).await? {
            Some(record) => self.replayed(tenant, &record, idempotency.request_hash).await.map(Some),
            None => Ok(None),
        }
    }

    /// The session of a request: the one that it names, if it is there, or a new one.
    async fn session_of(&self, tenant: &TenantId, request: &RunRequest) -> Result<SessionOf, StartError> {
        let Some(id) = &request.session_id else {
            return Ok(SessionOf { id: new_session_id()?, found: None });
        };
        let found = self.0.store.session(tenant, id).await?;
        let found = match found {
            Some(session) if session.is_expired(Timestamp::now()) => {
                // Its time is over: what begins now is another session of the same id.
                self.delete_session(tenant, id, &AuditBy::HOST).await.or_else(gone_is_fine)?;
                None
            }
            found => found,
        };
        let with = found.as_ref().and_then(|session| session.agent_id);
        if let (Some(with), Some(agent)) = (with, request.agent)
            && with != agent.id
        {
            return Err(StartError::Session(format!("the session {id} is with another agent")));
        }
        Ok(SessionOf { id: id.clone(), found })
    }

    /// Once the run is on disk, whoever tells of its end is told of it.
    fn then_tell(
        &self,
        tenant: &TenantId,
        run: RunId,
        has_webhook: bool,
        committed: BoxFuture<'static, Result<(), StoreError>>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        if !has_webhook {
            return committed;
        }
        let (shared, tenant) = (Arc::clone(&self.0), tenant.clone());
        async move {
            committed.await?;
            shared.webhook_asked(&tenant, run);
            Ok(())
        }
        .boxed()
    }

    /// Finds what a request asks for. Nothing is taken or written yet.
    fn check(&self, request: &RunRequest, catalog: Arc<Catalog>) -> Result<Checked, StartError> {
        let shared = &self.0;
        let mode = catalog.mode(&request.mode).cloned().ok_or_else(|| unknown_mode(&catalog, request))?;
        let max = shared.config.max_cycles;
        let max_cycles = request.max_cycles.unwrap_or_else(|| mode.manifest.default_max_cycles.clamp(1, max));
        if !(1..=max).contains(&max_cycles) {
            return Err(StartError::MaxCycles { max });
        }
        let unknown = |error: ModelError| StartError::UnknownModel(error.to_string());
        let (_, model) = shared.models.resolve(request.model.as_ref()).map_err(unknown)?;
        let mut fallback_models: Vec<ModelName> = Vec::with_capacity(request.fallback_models.len());
        for fallback in &request.fallback_models {
            if *fallback != model && !fallback_models.contains(fallback) {
                fallback_models.push(fallback.clone());
            }
        }
        let models = shared.candidates(&model, &fallback_models).map_err(unknown)?;
        if request.attachments.iter().any(|file| file.kind == AttachmentKind::Image) {
            let blind = |one: &&Candidate| !one.provider.describe(one.model.model()).abilities.images;
            if let Some(blind) = models.iter().find(blind) {
                return Err(StartError::Images(blind.model.clone()));
            }
        }
        let output_schema = request.output.schema().as_ref().map(OutputSchema::new).transpose();
        let output_schema = output_schema.map_err(StartError::OutputSchema)?;
        let found = Found { catalog, mode, models, output_schema };
        Ok(Checked { found, max_cycles, model, fallback_models })
    }

    /// Gives the run its places.
    fn prepare(
        &self,
        tenant: &TenantId,
        request: &RunRequest,
        run: Run,
        checked: Checked,
        most: Option<u32>,
    ) -> Result<Execution, StartError> {
        let shared = &self.0;
        let place = shared.sessions.join(tenant, &run.session_id, request.when_busy)?;
        let (log, control, approvals) = self.admit(tenant, &run, most)?;
        if request.when_busy == BusyPolicy::Interrupt {
            let reason = "a newer message of its session took its place";
            self.end_session(tenant, &run.session_id, |other| other != run.id, reason);
        }
        Ok(Execution {
            shared: Arc::clone(shared),
            tenant: tenant.clone(),
            run,
            seat: Seat { log, control, approvals, place, payer: request.payer.clone() },
            found: Some(checked.found),
            // Another run may be making the session that a client has named.
            new_session: request.session_id.is_none(),
            after_a_stop: false,
            trace: Span::default(),
        })
    }

    /// Takes the run among the active ones, if there is room.
    #[expect(clippy::type_complexity, reason = "three things that are made together and go separate ways")]
    fn admit(
        &self,
        tenant: &TenantId,
        run: &Run,
        most: Option<u32>,
    ) -> Result<(Arc<RunLog>, Arc<Control>, Arc<Approvals>), StartError> {
        let shared = &self.0;
        let room = shared.config.max_running + shared.config.max_queued;
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let share = shared.config.share_of(room).min(most);
        let key = (tenant.clone(), run.id);
        let (log, control, approvals) = self.desk(&key, 0, Approvals::default());
        let active = Active {
            session: run.session_id.clone(),
            parent: run.parent.map(|parent| parent.run_id),
            log: Arc::clone(&log),
            control: Arc::clone(&control),
            approvals: Arc::clone(&approvals),
        };
        let mut table = shared.table();
        // Looked at under the lock: `drain` sets it and then looks at what is active.
        if shared.is_closing() {
            return Err(StartError::ShuttingDown);
        }
        // Under the lock, too: who deletes a tenant sets it and then looks at what is active.
        if self.leaving().contains(tenant) {
            return Err(StartError::TenantGone);
        }
        match table.admit(key, active, room, share) {
            Ok(()) => Ok((log, control, approvals)),
            Err(NoRoom::Host) => Err(StartError::Overloaded(format!("{room} runs are under way; try again later"))),
            Err(NoRoom::Tenant) => Err(StartError::TenantOverloaded(share)),
        }
    }

    async fn replayed(
        &self,
        tenant: &TenantId,
        record: &IdempotencyRecord,
        request_hash: vivarium_domain::ContentHash,
    ) -> Result<Started, StartError> {
        let run = match record.made {
            Made::Run(run) if record.request_hash == request_hash => run,
            _ => return Err(StartError::IdempotencyConflict),
        };
        let run = self
            .get(tenant, run)
            .await?
            .ok_or_else(|| StoreError::Corrupt(format!("the run {run} of an idempotency key is not there")))?;
        Ok(Started { run_id: run.id, session_id: run.session_id, replayed: true })
    }
}

/// A session that is gone already needs no deleting.
fn gone_is_fine(error: SessionError) -> Result<(), StartError> {
    match error {
        SessionError::NotFound => Ok(()),
        SessionError::Store(error) => Err(error.into()),
        other => Err(StartError::Session(other.to_string())),
    }
}

/// The first thing that is written of a run.
fn first_batch(run: &Run, request: &RunRequest, session: &SessionOf) -> Batch {
    let mut batch = Batch { conditions: Vec::new(), writes: vec![Write::PutRun(Box::new(run.clone()))] };
    if !run.stateless {
        batch.writes.extend(session_writes(run, request, session));
    }
    if let Some(webhook) = &request.webhook {
        batch.writes.push(Write::PutDelivery(Box::new(Delivery {
            run_id: run.id,
            url: webhook.url.clone(),
            form: webhook.form,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            next_attempt_at: None,
            created_at: run.created_at,
        })));
    }
    if let Some(idempotency) = &request.idempotency {
        let record = IdempotencyRecord {
            request_hash: idempotency.request_hash,
            made: Made::Run(run.id),
            created_at: run.created_at,
        };
        batch.conditions.push(Condition::IdempotencyKeyUnused(idempotency.key.clone()));
        batch.writes.push(Write::PutIdempotency { key: idempotency.key.clone(), record });
    }
    batch
}

/// A session is there as soon as its first run is. One that was made without a title gets it from its first message.
fn session_writes(run: &Run, request: &RunRequest, session: &SessionOf) -> Vec<Write> {
    let title = || title_of(&request.input);
    let mut fresh = Session {
        agent_id: request.agent.map(|agent| agent.id),
        title: request.session_title.clone().or_else(title),
        ttl_seconds: request.session_ttl_seconds,
        ..Session::new(session.id.clone(), run.created_at)
    };
    fresh.touch(run.created_at);
    let mut writes = vec![Write::EnsureSession(Box::new(fresh))];
    if session.found.as_ref().is_some_and(|found| found.title.is_none() && found.messages == 0) {
        writes.push(Write::ChangeSession { session: session.id.clone(), title: Some(title()), at: run.created_at });
    }
    writes
}

fn new_run(
    id: RunId,
    request: &RunRequest,
    checked: &Checked,
    session_id: SessionId,
    attachments: Vec<KeptAttachment>,
) -> Run {
    Run {
        id,
        status: RunStatus::Queued,
        mode: request.mode.clone(),
        plugin: checked.found.mode.plugin.plugin.digest(),
        model: checked.model.clone(),
        session_id,
        stateless: request.stateless,
        agent: request.agent,
        parent: request.parent,
        key: request.key,
        input: request.input.clone(),
        max_cycles: checked.max_cycles,
        settings: settings(request, attachments),
        trace: asked_now(),
        created_at: Timestamp::now(),
        waiting: None,
        ended_at: None,
        outcome: None,
        failure: None,
        usage: Usage::default(),
        cost: Money::ZERO,
        usage_by_model: Vec::new(),
        last_seq: 0,
        log_removed_at: None,
    }
}

/// What a run is told besides its input.
fn settings(request: &RunRequest, attachments: Vec<KeptAttachment>) -> RunSettings {
    RunSettings {
        instructions: request.instructions.clone(),
        tools: request.tools.clone(),
        history_turns: request.history_turns,
        max_output_tokens: request.max_output_tokens,
        // Those that were found to be there are put in by who found them.
        fallback_models: Vec::new(),
        model_timeout_seconds: request.model_timeout_seconds,
        model_options: request.model_options.clone(),
        timeout_seconds: request.timeout_seconds,
        output: request.output.clone(),
        contexts: request.contexts.clone(),
        corpora: request.corpora.clone(),
        agents: Vec::new(),
        earlier: request.earlier.clone(),
        attachments,
        metadata: request.metadata.clone(),
    }
}

fn unknown_mode(catalog: &Catalog, request: &RunRequest) -> StartError {
    StartError::UnknownMode { name: request.mode.chars().take(80).collect(), available: catalog.mode_names() }
}
