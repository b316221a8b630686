//! Conversations.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::id::{RunId, SessionId};
use crate::model::Message;

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id; the client may have chosen it.
    pub id: SessionId,
    /// When its first run was made.
    pub created_at: Timestamp,
    /// When its last run ended.
    pub updated_at: Timestamp,
    /// How many messages it holds.
    pub messages: u64,
}

/// One message of a conversation, numbered from 0 without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionMessage {
    /// The run that added it.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
    /// The message.
    pub message: Message,
}
