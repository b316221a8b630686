//! What is told to a client's own server when a run has ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::RunId;

/// Whose words a delivery is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookForm {
    /// The run's record, as the native API gives it.
    Native,
    /// The answer of the make dialect's run.
    Make,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// Waits for the run's end or for its next attempt.
    Pending,
    /// The server took it.
    Delivered,
    /// Given up.
    Failed,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryAttempt {
    /// When.
    pub at: Timestamp,
    /// The server's status, if it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed. Holds no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The telling of one run's end to one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The run.
    pub run_id: RunId,
    /// Where it goes.
    pub url: String,
    /// Whose words it is written in.
    pub form: WebhookForm,
    /// Where it is.
    pub status: DeliveryStatus,
    /// What was tried, oldest first.
    #[serde(default)]
    pub attempts: Vec<DeliveryAttempt>,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
}
