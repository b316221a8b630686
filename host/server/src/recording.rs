//! A run's recording from a data folder that no server has open.

use vivarium_domain::{RunId, TenantId};
use vivarium_registry::RegistryError;
use vivarium_runs::{Recorder, RecordingError};
use vivarium_store::StoreError;

use crate::config::Config;
use crate::host::{StartError, without_server};

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The data folder can not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The run can not be recorded.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Its component can not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store failed on the way.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The recording of a run of a data folder that no server has open, with its component, whose ever that is.
///
/// # Errors
/// See [`RecordError`].
pub async fn record(config: &Config, tenant: &TenantId, run: RunId) -> Result<Vec<u8>, RecordError> {
    if !config.data.join("store").is_dir() {
        let folder = config.data.display().to_string();
        return Err(StartError::Data { folder, reason: "there is no store in it".to_owned() }.into());
    }
    let (store, registry) = without_server(config).await?;
    let recorder = Recorder::open(store, tenant.clone(), run).await?;
    let component = registry.component_for(tenant, recorder.plugin(), true).await?;
    let mut recorder = recorder.with_component(component);
    let mut recording = Vec::new();
    while let Some(piece) = recorder.piece().await? {
        recording.extend_from_slice(&piece);
    }
    Ok(recording)
}
