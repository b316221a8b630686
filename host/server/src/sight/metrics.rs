//! The metrics in Prometheus' text format.
//!
//! All labels are of closed sets, so nothing ever grows idle that would have to be forgotten. What is measured is kept until
//! it is sorted into its buckets; that is done every few seconds, and not only when somebody reads.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Mutex;
use vivarium_api::{MetricsAccess, MetricsPage};
use vivarium_runs::Runs;
use vivarium_sight::metric::{ALL, About, Kind};

use super::{SightError, process};
use crate::config::Config;

/// How often what was measured is sorted into its buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    access: MetricsAccess,
    /// One reader at a time: all others would only do the same work again.
    turn: Arc<Mutex<()>>,
}

impl Metrics {
    pub(super) fn begin(config: &Config) -> Result<Self, SightError> {
        let failed = |error: &dyn std::fmt::Display| SightError::Metrics(error.to_string());
        let mut builder = PrometheusBuilder::new();
        for About { name, buckets, .. } in ALL.iter().filter(|about| about.kind == Kind::Histogram) {
            let name = Matcher::Full((*name).to_owned());
            builder = builder.set_buckets_for_metric(name, buckets).map_err(|error| failed(&error))?;
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
        for About { name, kind, help, .. } in ALL {
            match kind {
                Kind::Counter => ::metrics::describe_counter!(*name, *help),
                Kind::Gauge => ::metrics::describe_gauge!(*name, *help),
                Kind::Histogram => ::metrics::describe_histogram!(*name, *help),
            }
        }
        process::begin();
        let sorted = handle.clone();
        tokio::spawn(async move {
            let mut times = tokio::time::interval(UPKEEP);
            times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                times.tick().await;
                let sorted = sorted.clone();
                // It takes locks that a request must not wait for on its own thread.
                let _done = tokio::task::spawn_blocking(move || sorted.run_upkeep()).await;
            }
        });
        let access = match config.metrics_listen {
            Some(_) => MetricsAccess::Elsewhere,
            None if config.listen.ip().is_loopback() => MetricsAccess::Open,
            None => MetricsAccess::Admin,
        };
        Ok(Self { handle, access, turn: Arc::default() })
    }

    /// The page, and who may read it.
    #[must_use]
    pub fn page(&self, runs: Runs) -> MetricsPage {
        let metrics = self.clone();
        let text = move || {
            let (metrics, runs) = (metrics.clone(), runs.clone());
            async move { metrics.text(&runs).await }.boxed()
        };
        MetricsPage { access: self.access, text: Arc::new(text) }
    }

    /// All that there is to tell now. Nobody but the reader waits for it.
    async fn text(self, runs: &Runs) -> String {
        let _turn = self.turn.lock().await;
        runs.tell_load();
        let handle = self.handle.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut text = handle.render();
            process::write(&mut text);
            text
        });
        written.await.unwrap_or_default()
    }
}
