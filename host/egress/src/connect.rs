//! From a name to a connection: resolve once, check every address, connect to a checked address and to nothing else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::EgressError;
use crate::address::non_public_range;
use crate::request::Target;

/// More addresses than any honest name has; each is checked, the first of them are tried.
const MAX_ADDRESSES_TRIED: usize = 4;

/// Turns a name into addresses. The only implementation in a server is [`SystemResolver`]; tests bring names that
/// resolve to whatever the attack needs.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `name`.
    ///
    /// # Errors
    /// When the name has none or the resolver does not answer.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// A connection, plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What all connections share.
pub(crate) struct Connector {
    resolver: Arc<dyn Resolve>,
    /// Made at the first use: reading the platform's roots takes time that a start-up need not spend.
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl Connector {
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, tls: OnceLock::new() }
    }

    /// A fresh connection to the target.
    pub(crate) async fn connect(&self, target: &Target, timeout: Duration) -> Result<Box<dyn Stream>, EgressError> {
        let connected = tokio::time::timeout(timeout, async {
            let addresses = self.checked_addresses(target).await?;
            let stream = open(target, &addresses).await?;
            if target.tls { self.secure(target, stream).await } else { Ok(Box::new(stream) as Box<dyn Stream>) }
        });
        connected.await.unwrap_or_else(|_| {
            let limit_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            Err(EgressError::Timeout { host: target.name(), limit_ms, step: "connect" })
        })
    }

    /// The target's addresses, if all of them may be reached. One private address among public ones refuses them all:
    /// a name that has both is a trick or a mistake, and which one would be tried first is chance.
    async fn checked_addresses(&self, target: &Target) -> Result<Vec<IpAddr>, EgressError> {
        let addresses = match &target.host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            Host::Domain(name) => self.resolve(name).await?,
        };
        if target.may_be_private {
            return Ok(addresses);
        }
        for &address in &addresses {
            if let Some(range) = non_public_range(address) {
                let why = format!("it has a {range} address");
                return Err(EgressError::PrivateAddress {
                    host: target.name(),
                    port: target.port,
                    why,
                    address: Some(address),
                });
            }
        }
        Ok(addresses)
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, EgressError> {
        let failed = |reason: String| EgressError::Dns { host: name.to_owned(), reason };
        let addresses = self.resolver.resolve(name).await.map_err(|error| failed(error.to_string()))?;
        if addresses.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(addresses) }
    }

    async fn secure(&self, target: &Target, stream: TcpStream) -> Result<Box<dyn Stream>, EgressError> {
        let failed = |reason: String| EgressError::Tls { host: target.name(), reason };
        let connector = self.tls.get_or_init(tls_connector).as_ref().map_err(|reason| failed(reason.clone()))?;
        let name = match &target.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?,
            Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
        };
        let stream = connector.connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(stream))
    }
}

fn tls_connector() -> Result<TlsConnector, String> {
    // Named here, so that this crate does not depend on which provider the process has installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|error| format!("the system's root certificates can not be used: {error}"))?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn open(target: &Target, addresses: &[IpAddr]) -> Result<TcpStream, EgressError> {
    let mut reason = String::new();
    for &address in addresses.iter().take(MAX_ADDRESSES_TRIED) {
        match TcpStream::connect(SocketAddr::new(address, target.port)).await {
            Ok(stream) => {
                // Without it a small request can wait 40 ms for the last one's acknowledgement. Not vital: a system
                // that refuses it still connects.
                let _unset = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => reason = error.to_string(),
        }
    }
    Err(EgressError::Connect { host: target.name(), port: target.port, reason })
}
