//! Why a server did not do what was asked. A server's own words are cut, and stripped of what could forge a line.

use vivarium_egress::EgressError;

/// How much of a server's words is told.
const MAX_TOLD_CHARS: usize = 500;

/// Why a server did not do what was asked. Each text completes a sentence that begins with the server's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpError {
    /// It could not be reached, or its answer could not be taken.
    #[error("can not be asked: {0}")]
    Door(EgressError),
    /// It wants a credential, or another one.
    #[error(
        "answered {status}: it wants a credential that it did not get. Set a secret for its host (PUT /v1/secrets/{{name}}) and \
         name it in the server's `secrets`"
    )]
    Credential {
        /// 401 or 403.
        status: u16,
    },
    /// It is another address by now.
    #[error("answered {status}, a redirect, which is not followed: give the server the address where it answers now")]
    Redirected {
        /// The status.
        status: u16,
    },
    /// It answered with a status that says that it will not or can not.
    #[error("answered with the HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// It gave up its session twice.
    #[error("has ended its session, and the one after it")]
    SessionGone,
    /// It is no server of this protocol, or a broken one.
    #[error("does not speak the protocol as it should: {0}")]
    Protocol(String),
    /// It speaks none of the versions that this host does.
    #[error("speaks none of the versions of the protocol that this host does")]
    Version,
    /// It refused, in words of its own.
    #[error("refused with the error {code}: {message}")]
    Refused {
        /// The code of the protocol.
        code: i32,
        /// Its words.
        message: String,
    },
    /// It took too long.
    #[error("did not answer within {limit_ms} ms")]
    Timeout {
        /// The bound.
        limit_ms: u64,
    },
    /// It has more tools than are taken.
    #[error("has more than {most} tools; at most {most} are taken")]
    TooManyTools {
        /// The bound.
        most: usize,
    },
    /// It has no tool of this name any more.
    #[error("has no tool {0:?} any more; POST /v1/mcp-servers/{{name}}/refresh looks at it anew")]
    NoSuchTool(String),
    /// It says something else of the tool than what was accepted.
    #[error(
        "has changed the description, the schemas or the hints of its tool {0:?} since they were accepted, so it is not called; \
         POST /v1/mcp-servers/{{name}}/refresh shows what it says now, and accepts it"
    )]
    Changed(String),
    /// The tool wants something of the person or the model in the middle of the call.
    #[error("wants {0} in the middle of the call, which this host does not give it")]
    Wants(&'static str),
    /// Nobody waits for the answer any more.
    #[error("was told that nobody waits for its answer any more")]
    Cancelled,
}

impl McpError {
    /// With the server's name where a sentence of it is an address.
    #[must_use]
    pub fn told_of(&self, server: &str) -> String {
        format!(
            "the MCP server {server} {}",
            self.to_string().replace("/v1/mcp-servers/{name}/", &format!("/v1/mcp-servers/{server}/"))
        )
    }

    /// It was this host that did not let the request out, which a grant would change.
    #[must_use]
    pub fn denial(&self) -> Option<String> {
        match self {
            Self::Door(error) if error.is_denial() => Some(error.to_string()),
            _ => None,
        }
    }
}

/// A server's words, cut and on one line.
pub(crate) fn told(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut told: String = plain.take(MAX_TOLD_CHARS).collect();
    if text.chars().count() > MAX_TOLD_CHARS {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_one_line_and_not_many() {
        let told = told(&format!("no\u{1b}[2J\nrun.completed{}", "x".repeat(1000)));
        assert!(told.starts_with("no [2J run.completed") && told.chars().count() == MAX_TOLD_CHARS + 1, "{told}");
    }

    #[test]
    fn an_error_names_the_server_also_in_the_address_that_helps() {
        let error = McpError::Changed("read".to_owned()).told_of("docs");
        assert!(
            error.starts_with("the MCP server docs has changed") && error.contains("/v1/mcp-servers/docs/refresh"),
            "{error}"
        );
    }
}
