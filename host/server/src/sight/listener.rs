//! A listener of the metrics' own, for an operator who wants nobody else to come near them: it answers `/metrics`, without a
//! key, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use vivarium_api::MetricsPage;

use crate::config::Config;

/// Open connections at one time.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// After a failed accept the next one is tried after this.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// A socket that the metrics are read from.
pub struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsListener {
    /// Binds the configured address; none is configured: none.
    ///
    /// # Errors
    /// When the address can not be had.
    pub async fn bind(config: &Config) -> std::io::Result<Option<Self>> {
        let Some(address) = config.metrics_listen else { return Ok(None) };
        let listener = TcpListener::bind(address).await?;
        Ok(Some(Self { address: listener.local_addr()?, listener }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub async fn serve(self, page: MetricsPage) {
        let router = Router::new().route("/metrics", get(move || async move { page.answer().await }));
        let (places, mut connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), JoinSet::new());
        loop {
            while connections.try_join_next().is_some() {}
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection for the metrics could not be accepted");
                    tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await;
                    continue;
                }
            };
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
            connections.spawn(async move {
                let _broken_off = connection.await;
                drop(place);
            });
        }
    }
}
