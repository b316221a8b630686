//! Conversations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::{AgentId, ContentHash, RunId, SessionId};
use crate::model::Message;

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id; the client may have chosen it.
    pub id: SessionId,
    /// The agent that it is with; none where a mode was asked without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// What a person calls it: given, or made from its first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something was last said in it, or it was renamed.
    pub updated_at: Timestamp,
    /// When it is deleted, unless something is said in it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// For how long each message keeps it, in seconds; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// How many messages it holds.
    pub messages: u64,
    /// What stands for its oldest messages when a model is told of it; none: it was never too long. Lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub summary: Option<SessionSummary>,
}

impl Session {
    /// A session without messages.
    #[must_use]
    pub fn new(id: SessionId, at: Timestamp) -> Self {
        Self {
            id,
            agent_id: None,
            title: None,
            created_at: at,
            updated_at: at,
            expires_at: None,
            ttl_seconds: None,
            messages: 0,
            summary: None,
        }
    }

    /// Something happened in it.
    pub fn touch(&mut self, at: Timestamp) {
        self.updated_at = self.updated_at.max(at);
        let ttl = self.ttl_seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
        let expiry = ttl.map(|seconds| {
            let kept = jiff::SignedDuration::from_secs(seconds);
            // Beyond the calendar's end: for ever, as far as anybody can tell.
            self.updated_at.checked_add(kept).unwrap_or(Timestamp::MAX)
        });
        self.expires_at = expiry.or(self.expires_at);
    }

    /// Its time is over: it is as good as deleted.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What stands for the oldest messages of a conversation where it is longer than a model can read. The messages stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionSummary {
    /// It stands for the messages before the one of this number.
    pub up_to: u64,
    /// Its words, as a model wrote them of what was said: data, never instructions.
    pub text: String,
    /// The run that made it.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
}

/// What a file that came with a message is to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentKind {
    /// Its text.
    Text,
    /// An image.
    Image,
}

/// A file that came with a message, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptAttachment {
    /// As the client named it.
    pub file_name: String,
    /// The type that it came as.
    pub media_type: String,
    /// What it is to a model.
    pub kind: AttachmentKind,
    /// The length of what is kept: the extracted text or the image.
    pub length_bytes: u64,
    /// The blob that holds it.
    pub content: ContentHash,
}

/// One message of a conversation, numbered from 0 without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionMessage {
    /// The run that added it.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
    /// The message.
    pub message: Message,
    /// The files that came with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<KeptAttachment>,
}
