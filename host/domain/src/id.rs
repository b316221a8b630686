//! Ids. Each is a type of its own, so that one can not stand in for another, and each is checked when it is made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::schema;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {expected}, not {found:?}")]
pub struct IdError {
    what: &'static str,
    expected: &'static str,
    found: String,
}

impl IdError {
    fn new(what: &'static str, expected: &'static str, found: &str) -> Self {
        Self { what, expected, found: found.chars().take(80).collect() }
    }
}

/// A text newtype that is checked by `$check` wherever it is made, also from JSON. `$pattern` and `$most` say the same in the
/// words of JSON Schema, and `$example` is one.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $pattern:literal, $most:literal, $example:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                schema::text(concat!($what, ": ", $expected, "."), $pattern, 1..=$most, $example)
            }
        }

        impl ToSchema for $name {}

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(IdError::new($what, $expected, text)) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

text_id!(
    /// Who is isolated from whom. Every stored key begins with it, so it holds no separator of theirs.
    TenantId, "a tenant id", "1 to 64 of a-z, 0-9, '-' and '_'",
    "^[a-z0-9_-]+$", 64, "acme",
    |text| matches!(text.len(), 1..=64)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
);

text_id!(
    /// A conversation. The client may choose it.
    SessionId, "a session id", "1 to 128 visible ASCII characters",
    "^[!-~]+$", 128, "session-7",
    |text| matches!(text.len(), 1..=128) && text.bytes().all(|b| b.is_ascii_graphic())
);

text_id!(
    /// The name by which a model calls a tool.
    ToolName, "a tool's name", "1 to 64 of a-z, A-Z, 0-9, '-' and '_'",
    "^[a-zA-Z0-9_-]+$", 64, "web_search",
    |text| matches!(text.len(), 1..=64)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

text_id!(
    /// The name of a tenant's secret: its handle.
    SecretName, "a secret's name", "1 to 64 of a-z, A-Z, 0-9, '.', '-' and '_'",
    "^[a-zA-Z0-9._-]+$", 64, "github",
    |text| matches!(text.len(), 1..=64)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
);

text_id!(
    /// The name of a remote server of tools, and the beginning of its tools' names.
    McpServerName, "the name of an MCP server", "1 to 32 of a-z, 0-9, '-' and '_', the first one a letter",
    "^[a-z][a-z0-9_-]*$", 32, "github",
    |text| matches!(text.len(), 1..=32)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
);

impl TenantId {
    /// Under whose id the operator's own things lie: the plugins that it shares, and its chain of the audit log. No tenant has
    /// it: theirs do not begin with an underscore.
    #[must_use]
    pub fn operator() -> Self {
        Self(OPERATOR.into())
    }
}

/// See [`TenantId::operator`].
const OPERATOR: &str = "_operator";

/// SHA-256 of some bytes: names a component, a stored text, a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash of these one after the other.
    #[must_use]
    pub fn of_all(pieces: &[&[u8]]) -> Self {
        let hasher = pieces.iter().fold(Sha256::new(), |hasher, piece| hasher.chain_update(piece));
        Self(hasher.finalize().into())
    }

    /// The hash itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 64];
        // 64 hex digits always fit; the buffer is exactly that long.
        hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| IdError::new("a content hash", "64 hexadecimal digits", text))?;
        Ok(Self(bytes))
    }
}

impl PartialSchema for ContentHash {
    fn schema() -> RefOr<Schema> {
        let example = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        schema::text("SHA-256, in hexadecimal digits.", "^[0-9a-fA-F]+$", 64..=64, example)
    }
}

impl ToSchema for ContentHash {}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A UUIDv7 newtype: ordered by time of creation, as bytes and as text.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                schema::uuid(concat!($what, ": a UUIDv7, later ones sort later."))
            }
        }

        impl ToSchema for $name {}

        impl $name {
            /// A new id, later than those made before it in this process.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "a default that differs each time would surprise")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id's 16 bytes, which sort by time of creation.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id that these bytes are.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::new($what, "a UUID", text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

uuid_id!(
    /// One execution of a mode.
    RunId, "a run id"
);
uuid_id!(
    /// A stored agent, in all its versions.
    AgentId, "an agent id"
);
uuid_id!(
    /// A document of a tenant's.
    DocumentId, "a document id"
);
uuid_id!(
    /// The files of a session at one moment.
    SnapshotId, "a snapshot id"
);
uuid_id!(
    /// An API key's public name; says nothing of the key itself.
    KeyId, "a key id"
);

/// A team's number within its tenant, from 1. The first team is every tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TeamId(std::num::NonZeroU32);

impl TeamId {
    /// The team of this number; none for 0.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        std::num::NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl PartialSchema for TeamId {
    fn schema() -> RefOr<Schema> {
        schema::number("A team's number within its tenant, from 1.", 1, u32::MAX)
    }
}

impl ToSchema for TeamId {}

impl Default for TeamId {
    fn default() -> Self {
        Self(std::num::NonZeroU32::MIN)
    }
}

impl fmt::Display for TeamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_can_not_reach_into_another_tenants_keys() {
        for bad in ["", "a/b", "A", "a\0b", "ü", &"a".repeat(65)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
        assert!("acme-2_eu".parse::<TenantId>().is_ok());
    }

    #[test]
    fn ids_are_checked_when_they_come_from_json() {
        assert!(serde_json::from_str::<TenantId>("\"a/b\"").is_err());
        assert!(serde_json::from_str::<SessionId>("\"a b\"").is_err());
        assert!(serde_json::from_str::<ContentHash>("\"abc\"").is_err());
    }

    #[test]
    fn a_content_hash_is_written_as_hex_and_read_back() {
        let hash = ContentHash::of(b"abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse::<ContentHash>(), Ok(hash));
    }

    #[test]
    fn run_ids_sort_by_time() {
        let ids: Vec<RunId> = (0..1000).map(|_| RunId::new()).collect();
        assert!(ids.is_sorted());
    }
}
