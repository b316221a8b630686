//! The one door to the network for what guests and tenants ask for.
//!
//! A request that a guest wrote is a wish, not a request: each is taken apart, checked against what the operator
//! granted, and built anew from the validated parts. Its name is resolved once, every address is checked, and the
//! connection goes to a checked address and nowhere else.
//!
//! There is no general HTTP client underneath, on purpose: one that follows redirects, reads proxies from the
//! environment, resolves again or shares connections would have to be talked out of each of these. Here a request gets
//! a fresh connection of its own, HTTP/1.1 over TCP or TLS; nothing that was opened under one policy can carry a
//! request of another. The price is a handshake per request (TLS sessions are resumed).
//!
//! This crate knows no plugin, no tenant and no run: it is given a policy and a meter with each request.

mod address;
mod body;
mod connect;
mod error;
mod forms;
mod metered;
mod policy;
mod redact;
mod request;
mod send;

pub use address::non_public_range;
pub use body::EgressBody;
pub use connect::{Resolve, SystemResolver};
pub use error::EgressError;
pub use policy::{AllowedHost, EgressPolicy, HostPort, HostRule, Injection, Limits, Meter, PolicyError, Traffic};
pub use redact::{Redactor, RedactorStream};
pub use send::Egress;
