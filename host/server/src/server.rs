//! The socket: accepts connections, bounds their number and their slowness, and closes them in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vivarium_api::MetricsPage;
use vivarium_sight::metric::{self, NO_LABELS, OneMore};

use crate::config::Config;
use crate::host::Host;
use crate::notify::{STOPPING, notify};
use crate::tls::Tls;

/// How long open connections may take to end after the runs are drained.
const CLOSING: Duration = Duration::from_secs(5);

/// After a failed accept (too many open files) the next one is tried after this, not at once for ever.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection was answered and closed.
    Cleanly,
    /// Some connections were cut.
    Cut,
}

/// A socket that a host will serve on.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    http: http1::Builder,
    places: Arc<Semaphore>,
    tls: Option<Tls>,
    /// Handshakes under way.
    handshakes: Arc<Semaphore>,
    /// How long a handshake may take.
    patience: Duration,
    drain: Duration,
}

impl Server {
    /// Binds the configured address. Port 0 takes any free port: [`address`](Self::address) says which.
    ///
    /// # Errors
    /// When the address can not be had.
    pub async fn bind(config: &Config) -> std::io::Result<Self> {
        let tls = config.tls().map_err(std::io::Error::other)?;
        let listener = TcpListener::bind(config.listen).await?;
        let mut http = http1::Builder::new();
        // A client that sends its head byte by byte, or nothing at all, holds its place no longer than this.
        http.timer(TokioTimer::new()).header_read_timeout(config.request_timeout());
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            http,
            places: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            tls,
            // Half of the connections: the others are there for those who speak.
            handshakes: Arc::new(Semaphore::new(config.max_connections.div_ceil(2).min(Semaphore::MAX_PERMITS))),
            patience: config.request_timeout(),
            drain: Duration::from_secs(config.drain_seconds),
        })
    }

    /// The scheme of its addresses.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done; then takes no new work, drains the host, and ends the connections. Who asks meanwhile is told.
    pub async fn serve(self, host: &Host, metrics: MetricsPage, stop: impl Future<Output = ()>) -> Stopped {
        let router = host.router(metrics);
        host.deliver();
        let graceful = GracefulShutdown::new();
        if let Some(tls) = self.tls.clone() {
            tokio::spawn(tls.follow_files());
        }
        let drained = async {
            stop.await;
            notify(STOPPING);
            tracing::info!(under_way = host.runs.under_way(), "stopping: runs under way are waited for");
            host.drain(self.drain).await;
        };
        tokio::pin!(drained);
        loop {
            let (stream, place) = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut drained => break,
            };
            let connection = Connection {
                http: self.http.clone(),
                service: TowerToHyperService::new(router.clone()),
                watcher: graceful.watcher(),
                place: (place, metric::HTTP_CONNECTIONS.one_more(NO_LABELS)),
            };
            match &self.tls {
                None => drop(tokio::spawn(connection.serve(stream))),
                Some(tls) => match Arc::clone(&self.handshakes).try_acquire_owned() {
                    Ok(turn) => drop(tokio::spawn(connection.serve_tls(stream, tls.clone(), self.patience, turn))),
                    // Those that say nothing must not take all places.
                    Err(_) => tracing::debug!("a connection was refused: too many others are in their handshakes"),
                },
            }
        }
        drop(self.listener);
        // Idle connections close at once; busy ones with the answer that they wait for.
        let closed = tokio::time::timeout(CLOSING, graceful.shutdown()).await.is_ok();
        if closed { Stopped::Cleanly } else { Stopped::Cut }
    }

    /// The next connection, and its place among the open ones. A connection beyond the bound waits in the kernel.
    async fn accept(&self) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { std::future::pending().await };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Without it a first token waits 40 ms for the client's acknowledgement of the head before it.
                    let _unset = stream.set_nodelay(true);
                    return (stream, place);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await;
                }
            }
        }
    }
}

/// A connection that was accepted.
struct Connection {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    watcher: Watcher,
    /// Its place among the open ones, and that it is counted.
    place: (OwnedSemaphorePermit, OneMore),
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let connection = self.watcher.watch(self.http.serve_connection(TokioIo::new(stream), self.service));
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke off");
        }
        drop(self.place);
    }

    async fn serve_tls(self, stream: TcpStream, tls: Tls, within: Duration, turn: OwnedSemaphorePermit) {
        let shaken = tls.handshake(stream, within).await;
        drop(turn);
        match shaken {
            Ok(stream) => self.serve(stream).await,
            Err(error) => tracing::debug!(%error, "a connection did not become one of TLS"),
        }
    }
}
