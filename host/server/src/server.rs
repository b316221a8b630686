//! The socket: accepts connections, bounds their number and their slowness, and closes them in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vivarium_api::MetricsPage;
use vivarium_sight::metric::{self, NO_LABELS};

use crate::config::Config;
use crate::host::Host;

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
    drain: Duration,
}

impl Server {
    /// Binds the configured address. Port 0 takes any free port: [`address`](Self::address) says which.
    ///
    /// # Errors
    /// When the address can not be had.
    pub async fn bind(config: &Config) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let mut http = http1::Builder::new();
        // A client that sends its head byte by byte, or nothing at all, holds its place no longer than this.
        http.timer(TokioTimer::new()).header_read_timeout(config.request_timeout());
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            http,
            places: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            drain: Duration::from_secs(config.drain_seconds),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done; then accepts nothing more, drains the host, and ends the connections.
    pub async fn serve(self, host: &Host, metrics: MetricsPage, stop: impl Future<Output = ()>) -> Stopped {
        let router = host.router(metrics);
        host.deliver();
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let (stream, place) = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut stop => break,
            };
            let place = (place, metric::HTTP_CONNECTIONS.one_more(NO_LABELS));
            let service = TowerToHyperService::new(router.clone());
            let connection = graceful.watch(self.http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection broke off");
                }
                drop(place);
            });
        }
        self.close(host, graceful).await
    }

    async fn close(self, host: &Host, graceful: GracefulShutdown) -> Stopped {
        let Self { listener, drain, .. } = self;
        drop(listener);
        tracing::info!(under_way = host.runs.under_way(), "stopping: runs under way are waited for");
        // Idle connections close at once; busy ones with the answer that they wait for.
        let closed = graceful.shutdown();
        tokio::pin!(closed);
        let all_closed = async {
            let mut drained = false;
            let draining = host.drain(drain);
            tokio::pin!(draining);
            tokio::select! {
                () = &mut closed => (),
                () = &mut draining => drained = true,
            }
            if drained {
                tokio::time::timeout(CLOSING, closed).await.is_ok()
            } else {
                draining.await;
                true
            }
        };
        if all_closed.await { Stopped::Cleanly } else { Stopped::Cut }
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
