//! What the document says of answers that are written piece by piece.

use std::collections::BTreeMap;

use utoipa::ToSchema;
use vivarium_domain::{Event, Message, Run, Session, ToolDefinition};

use super::sessions::MessageJson;

/// A tar, byte for byte.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is written piece by piece")]
pub(super) struct Tar(Vec<u8>);

/// A whole conversation.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is written piece by piece")]
pub(super) struct SessionExport {
    /// The session.
    session: Session,
    /// All its messages, oldest first.
    messages: Vec<MessageJson>,
}

/// All that a run was told and answered.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is written piece by piece")]
pub(super) struct RunRecording {
    /// The form of this document.
    #[schema(minimum = 1, maximum = 1)]
    format: u32,
    /// The run's record.
    run: Run,
    /// What its mode was told before its input.
    history: Vec<Message>,
    /// The tools that its mode was offered.
    tools: Vec<ToolDefinition>,
    /// Its log.
    events: Vec<Event>,
    /// The texts that its tools have read, by their SHA-256.
    texts: BTreeMap<String, String>,
    /// Its component, in base64; null where this key may not have it.
    component: Option<String>,
}
