//! What the document says of answers that are written piece by piece.

use utoipa::ToSchema;
use vivarium_domain::Session;

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
