//! Why a request was not made or not answered. No text holds a header's value, a body or a credential.

use std::net::IpAddr;

/// Why there is no response, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The request is not one that the door makes for anybody.
    #[error("the request can not be sent: {0}")]
    InvalidRequest(String),
    /// The plugin's manifest does not ask for the host.
    #[error(
        "the plugin's manifest does not ask for {host}:{port}; add {rule:?} to requests.hosts and install a new version"
    )]
    HostNotRequested {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The rule that the plugin's author would add.
        rule: String,
    },
    /// No grant names the host.
    #[error("{host}:{port} is not granted; a grant of the host {grant:?} would allow it")]
    HostDenied {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The rule that an operator would add.
        grant: String,
    },
    /// The plugin's manifest asks for the host, but not with the method.
    #[error(
        "the plugin's manifest does not ask for the method {method} for {rule}; add it to the methods of {rule:?} in \
         requests.hosts and install a new version"
    )]
    MethodNotRequested {
        /// The method.
        method: String,
        /// The rule that lacks it.
        rule: String,
    },
    /// The grant of the host does not hold the method.
    #[error(
        "the method {method} is not granted for {grant}; a grant of the host {grant:?} with the method {method:?} would \
         allow it"
    )]
    MethodDenied {
        /// The method.
        method: String,
        /// The rule that an operator would add, or add the method to.
        grant: String,
    },
    /// The host is on this machine, in its network, or otherwise not on the public internet.
    #[error(
        "{host}:{port} is not on the public internet ({why}); only an operator can allow it, with a grant of \
         the host \"{host}:{port}\" and dangerously_allow_private_addresses = [\"{host}:{port}\"]"
    )]
    PrivateAddress {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The range of the address, or what is wrong with the name.
        why: String,
        /// The address that is not public; none where the name alone was enough.
        address: Option<IpAddr>,
    },
    /// A credential would have travelled in the clear.
    #[error("{host} gets a credential, so it is reached by https only, not by http")]
    CredentialInTheClear {
        /// The host.
        host: String,
    },
    /// A bound of the policy was reached.
    #[error("{what} is over its limit of {max}")]
    LimitExceeded {
        /// What: `the number of requests`, `the request's body in bytes`, …
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The name has no address.
    #[error("{host} can not be resolved: {reason}")]
    Dns {
        /// The host.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No checked address took the connection.
    #[error("{host}:{port} can not be reached: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The system's words.
        reason: String,
    },
    /// The server could not prove who it is, or no TLS came about.
    #[error("no TLS connection with {host}: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// The TLS library's words.
        reason: String,
    },
    /// It took too long.
    #[error("{host} took longer than {limit_ms} ms to {step}")]
    Timeout {
        /// The host.
        host: String,
        /// The bound.
        limit_ms: u64,
        /// `connect` or `answer`.
        step: &'static str,
    },
    /// The server did not answer in HTTP/1.1, or stopped half-way.
    #[error("{host} did not answer properly: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// The guest's own body failed while it was sent.
    #[error("the request's body failed: {0}")]
    RequestBody(String),
}

impl EgressError {
    /// The word for its kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::HostNotRequested { .. } => "host_not_requested",
            Self::HostDenied { .. } => "host_denied",
            Self::MethodNotRequested { .. } => "method_not_requested",
            Self::MethodDenied { .. } => "method_denied",
            Self::PrivateAddress { .. } => "private_address",
            Self::CredentialInTheClear { .. } => "credential_in_the_clear",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Protocol { .. } => "protocol",
            Self::RequestBody(_) => "request_body",
        }
    }

    /// Whether the plugin was not allowed to, rather than the request or the network being at fault: what an operator or
    /// the plugin's author can change.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        match self {
            Self::HostNotRequested { .. }
            | Self::HostDenied { .. }
            | Self::MethodNotRequested { .. }
            | Self::MethodDenied { .. }
            | Self::PrivateAddress { .. }
            | Self::CredentialInTheClear { .. } => true,
            Self::InvalidRequest(_)
            | Self::LimitExceeded { .. }
            | Self::Dns { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Protocol { .. }
            | Self::RequestBody(_) => false,
        }
    }
}
