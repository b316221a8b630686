//! A recording: all that a run was told and all that it was answered, in one JSON document, so that its mode can be run again
//! anywhere, without the host that it ran on. Written from the store piece by piece, because it may be long.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use vivarium_domain::{ContentHash, Event, EventBody, Message, Run, RunId, TenantId, Timestamp, ToolDefinition};
use vivarium_store::{Store, StoreError};

use crate::history;
use crate::service::Runs;

/// The only form that there is.
const FORMAT: u32 = 1;
/// How many events are read at a time.
const PAGE: usize = 512;
/// How much of a component is written at a time; a multiple of three, so that the pieces' base64 is that of the whole.
const COMPONENT_PIECE: usize = 768 << 10;

/// Why there is no recording of a run.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// No such run in this tenant.
    #[error("there is no such run")]
    NotFound,
    /// Its log was removed.
    #[error("the run's log was removed at {0}: this host keeps logs for a time only")]
    LogRemoved(Timestamp),
    /// Its mode was never started.
    #[error("the run's mode was not started: there is nothing to replay")]
    NotStarted,
    /// An earlier version of the host wrote its log.
    #[error("the run was begun by an earlier version of the host, whose logs can not be replayed")]
    Earlier,
    /// What its mode was told is not there any more.
    #[error(
        "what the run's mode was told before its input is not there any more: its session was changed since, or the run was stateless \
         and had files"
    )]
    HistoryGone,
    /// The definitions of its tools are not there.
    #[error("the definitions of the run's tools are gone")]
    ToolsGone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run with all that its mode was told and answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// The run's record.
    pub run: Run,
    /// What its mode was told before its input.
    pub(crate) history: Vec<Message>,
    /// The tools that its mode was offered.
    pub(crate) tools: Vec<ToolDefinition>,
    /// Its log.
    pub(crate) events: Vec<Event>,
    /// The texts of the documents that its tools have read.
    pub(crate) texts: BTreeMap<ContentHash, String>,
    /// The component that it is pinned to, where whoever asked may have it.
    #[serde(default, deserialize_with = "component")]
    pub component: Option<Vec<u8>>,
}

fn component<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
}

impl Recording {
    /// Reads what a [`Recorder`] has written.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let no_recording = |error: serde_json::Error| format!("this is no recording of a run: {error}");
        match serde_json::from_slice(json).map_err(no_recording)? {
            Head { format: FORMAT } => serde_json::from_slice(json).map_err(no_recording),
            Head { format } => {
                Err(format!("the recording has format {format}, and this version reads format {FORMAT}"))
            }
        }
    }
}

/// Writes a recording.
pub struct Recorder {
    store: Arc<dyn Store>,
    tenant: TenantId,
    run: Run,
    component: Option<Bytes>,
    part: Part,
}

/// What comes next.
enum Part {
    Head { history: Vec<Message>, tools: Bytes },
    Events { after: u64, texts: Vec<ContentHash> },
    Texts { left: Vec<ContentHash>, first: bool },
    Component { at: usize },
    Done,
}

impl Runs {
    /// Begins to write a recording of a run, as far as it has come.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub async fn recorder(&self, tenant: &TenantId, run: RunId) -> Result<Recorder, RecordingError> {
        let run = self.get(tenant, run).await?.ok_or(RecordingError::NotFound)?;
        Recorder::of(Arc::clone(self.store()), tenant.clone(), run).await
    }
}

impl Recorder {
    /// Of a run in a store that no host has open.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub async fn open(store: Arc<dyn Store>, tenant: TenantId, run: RunId) -> Result<Self, RecordingError> {
        let run = store.run(&tenant, run).await?.ok_or(RecordingError::NotFound)?;
        Self::of(store, tenant, run).await
    }

    async fn of(store: Arc<dyn Store>, tenant: TenantId, run: Run) -> Result<Self, RecordingError> {
        if let Some(at) = run.log_removed_at {
            return Err(RecordingError::LogRemoved(at));
        }
        let first = store.events(&tenant, run.id, 0, 1).await?.into_iter().next().ok_or(RecordingError::NotStarted)?;
        let Event { at, body, .. } = read_event(run.id, &first)?;
        let EventBody::RunStarted { history_hash, tools, summary, .. } = body else {
            return Err(RecordingError::NotStarted);
        };
        let (Some(history_hash), Some(tools)) = (history_hash, tools) else { return Err(RecordingError::Earlier) };
        let stored = history::as_it_was(&*store, &tenant, &run, at, summary).await?;
        let history = history::told(&*store, &tenant, &run, stored).await?.messages;
        if history::hash(&history) != history_hash {
            return Err(RecordingError::HistoryGone);
        }
        let tools = store.blob(&tenant, tools).await?.ok_or(RecordingError::ToolsGone)?;
        Ok(Self { store, tenant, run, component: None, part: Part::Head { history, tools } })
    }

    /// The component that the run is pinned to.
    #[must_use]
    pub fn plugin(&self) -> ContentHash {
        self.run.plugin
    }

    /// Puts the component's bytes into the recording.
    #[must_use]
    pub fn with_component(self, component: Option<Bytes>) -> Self {
        Self { component, ..self }
    }

    /// The next piece of the document. None: that was all.
    ///
    /// # Errors
    /// When the store fails, or the run is removed meanwhile.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        let (piece, next) = match std::mem::replace(&mut self.part, Part::Done) {
            Part::Head { history, tools } => {
                let head = format!(
                    "{{\"format\":{FORMAT},\"run\":{},\"history\":{},\"tools\":",
                    json(&self.run),
                    json(&history)
                );
                let piece = [head.as_bytes(), &tools, b",\"events\":["].concat();
                (piece, Part::Events { after: 0, texts: Vec::new() })
            }
            Part::Events { after, texts } => self.events(after, texts).await?,
            Part::Texts { mut left, first } => match left.pop() {
                Some(hash) => {
                    let piece = self.text(hash, first).await?;
                    let first = first && piece.is_empty();
                    (piece, Part::Texts { left, first })
                }
                None => (b"},\"component\":".to_vec(), Part::Component { at: 0 }),
            },
            Part::Component { at } => self.component_from(at),
            Part::Done => return Ok(None),
        };
        self.part = next;
        Ok(Some(piece.into()))
    }

    async fn events(&self, after: u64, mut texts: Vec<ContentHash>) -> Result<(Vec<u8>, Part), StoreError> {
        let page = self.store.events(&self.tenant, self.run.id, after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            if after < self.run.last_seq {
                return Err(StoreError::Refused("the run's log was removed while it was read".to_owned()));
            }
            texts.sort_unstable_by_key(ToString::to_string);
            texts.dedup();
            return Ok((b"],\"texts\":{".to_vec(), Part::Texts { left: texts, first: true }));
        };
        let last = *last;
        let mut piece = Vec::new();
        for (seq, json) in page {
            if seq > 1 {
                piece.push(b',');
            }
            piece.extend_from_slice(&json);
            if let EventBody::SourceAdded { source } = read_event(self.run.id, &(seq, json))?.body {
                texts.push(source.content_hash);
            }
        }
        Ok((piece, Part::Events { after: last, texts }))
    }

    async fn text(&self, hash: ContentHash, first: bool) -> Result<Vec<u8>, StoreError> {
        // One that is gone is left out: whoever needs it says so.
        let Some(blob) = self.store.blob(&self.tenant, hash).await? else { return Ok(Vec::new()) };
        let comma = if first { "" } else { "," };
        Ok(format!("{comma}\"{hash}\":{}", json(&String::from_utf8_lossy(&blob))).into_bytes())
    }

    fn component_from(&self, at: usize) -> (Vec<u8>, Part) {
        let Some(component) = &self.component else { return (b"null}".to_vec(), Part::Done) };
        let end = at.saturating_add(COMPONENT_PIECE).min(component.len());
        let text = STANDARD.encode(component.get(at..end).unwrap_or_default());
        let (open, close) = (if at == 0 { "\"" } else { "" }, if end == component.len() { "\"}" } else { "" });
        let next = if end == component.len() { Part::Done } else { Part::Component { at: end } };
        (format!("{open}{text}{close}").into_bytes(), next)
    }
}

fn read_event(run: RunId, (seq, json): &(u64, Bytes)) -> Result<Event, StoreError> {
    serde_json::from_slice(json).map_err(|error| StoreError::Corrupt(format!("event {seq} of run {run}: {error}")))
}

/// Our own types serialise without fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
