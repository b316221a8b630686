//! TLS for the host's own socket: one certificate with its key, read again when the operator has renewed it. Connections that
//! are open keep the one that they began with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at, besides whenever SIGHUP comes.
const LOOK: Duration = Duration::from_secs(60);

/// The first byte of a client that begins a handshake.
const HANDSHAKE: u8 = 0x16;

/// What somebody is told who speaks plain HTTP here.
const NOT_HERE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    This address speaks HTTPS: ask for https:// instead of http://.\n";

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Takes handshakes.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: TlsFiles,
}

struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Why a connection did not become one that is spoken on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHandshake {
    /// It said nothing, or not enough, for too long.
    #[error("the client did not finish its handshake in time")]
    Slow,
    /// It was no TLS, or none that is spoken here.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    /// It was plain HTTP, and was told so.
    #[error("the client speaks plain HTTP")]
    Plain,
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(crate) fn read(&self) -> Result<CertifiedKey, String> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let of_certificate = |reason: String| format!("tls_certificate_file {certificate} can not be used: {reason}");
        let of_key = |reason: String| format!("tls_key_file {key} can not be used: {reason}");
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&contents(&self.certificate).map_err(of_certificate)?)
                .collect::<Result<_, _>>()
                .map_err(|error| of_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(of_certificate(
                "it holds no certificate; it must be PEM, the server's own certificate first".to_owned(),
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&contents(&self.key).map_err(of_key)?)
            .map_err(|error| of_key(format!("it holds no private key in PEM ({error})")))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| of_key(format!("it is not the key of the certificate in {certificate} ({error})")))
    }
}

fn contents(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| error.to_string())
}

impl Tls {
    /// With the certificate and key of these files.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, String> {
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read()?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can not be set up: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current, files })
    }

    /// Makes a connection one of TLS, in this time.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> Result<TlsStream<TcpStream>, NoHandshake> {
        let shaking = async {
            let mut first = [0];
            if stream.peek(&mut first).await? > 0 && first != [HANDSHAKE] {
                let mut stream = stream;
                stream.write_all(NOT_HERE).await?;
                stream.shutdown().await?;
                return Err(NoHandshake::Plain);
            }
            Ok(self.acceptor.accept(stream).await?)
        };
        tokio::time::timeout(within, shaking).await.unwrap_or(Err(NoHandshake::Slow))
    }

    /// Reads the files again when SIGHUP comes, and when they have changed. What can not be used is told, and what was there
    /// stays. Never ends.
    pub(crate) async fn follow_files(self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP can not be listened for; the certificate is looked at once a minute");
                None
            }
        };
        let mut seen = self.stamp();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let was_asked = tokio::time::timeout(LOOK, asked).await.is_ok();
            let stamp = self.stamp();
            if was_asked || stamp != seen {
                seen = stamp;
                self.read_again();
            }
        }
    }

    /// What tells whether the files have changed.
    fn stamp(&self) -> [Option<(std::time::SystemTime, u64)>; 2] {
        [&self.files.certificate, &self.files.key].map(|file| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn read_again(&self) {
        match self.files.read() {
            Ok(key) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("the TLS certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the TLS certificate was not replaced; the one before is used"),
        }
    }
}
