//! Documents, read by the plugin of documents: a fresh instance for each file, which is given the bytes and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vivarium_domain::TenantId;
use vivarium_sandbox::{Limits, Payer, Plugin, ToolCallContext, TracingLog};

use crate::Problem;
use crate::media::{Declared, Media};

/// The tool of the plugin.
const TOOL: &str = "read_document";
/// Documents that are read at one time: each may take [`MEMORY_BYTES`].
const PLACES: usize = 6;
/// Of them, what one tenant may take.
const PLACES_OF_A_TENANT: usize = 2;
/// How long a document waits for its place.
const PATIENCE: Duration = Duration::from_secs(30);
const MEMORY_BYTES: usize = 256 << 20;
const CPU: Duration = Duration::from_secs(6);
const WALL: Duration = Duration::from_secs(60);
/// Beyond the text that is kept, so that one that was cut is told from one that fits.
const MARGIN_BYTES: usize = 1 << 10;

/// Reads documents.
#[derive(Debug)]
pub(crate) struct Reader {
    plugin: Arc<Plugin>,
    places: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

impl Reader {
    pub(crate) fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin, places: Arc::new(Semaphore::new(PLACES)), tenants: Mutex::default() }
    }

    /// The text of a document. A little more than `max_text_bytes` of it where it is longer.
    pub(crate) async fn read(
        &self,
        tenant: &TenantId,
        declared: &Declared,
        bytes: &[u8],
        max_text_bytes: usize,
    ) -> Result<String, Problem> {
        let _place = self.place(tenant).await?;
        let arguments = json!({
            "format": format(declared.media),
            "data": STANDARD.encode(bytes),
            "charset": declared.charset,
        });
        let limits = Arc::new(Limits {
            wall: WALL,
            cpu: CPU,
            memory_bytes: MEMORY_BYTES,
            output_bytes: max_text_bytes + MARGIN_BYTES,
            ..Limits::for_tool()
        });
        let log = TracingLog { plugin: self.plugin.manifest().name.to_string(), run: String::new() };
        let context =
            ToolCallContext { payer: Payer { id: tenant.as_str().into(), weight: 1 }, ..ToolCallContext::default() };
        let arguments = arguments.to_string();
        let report = self.plugin.call_tool(TOOL, &arguments, context, Arc::default(), &limits, Arc::new(log)).await;
        let media_type = declared.media.name();
        report.result.map(|output| output.content).map_err(|reason| Problem::Unreadable { media_type, reason })
    }

    /// A place to read in: first one of the tenant's, so that who waits for those takes none of the others'.
    async fn place(&self, tenant: &TenantId) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Problem> {
        let own = self.places_of(tenant);
        let both = async { Ok((own.acquire_owned().await?, Arc::clone(&self.places).acquire_owned().await?)) };
        let busy = || Problem::Unavailable("too many documents are being read at present; try again later".to_owned());
        match tokio::time::timeout(PATIENCE, both).await {
            Ok(Ok(places)) => Ok(places),
            Ok(Err::<_, tokio::sync::AcquireError>(_)) | Err(_) => Err(busy()),
        }
    }

    fn places_of(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = tenants.get(tenant).and_then(Weak::upgrade) {
            return places;
        }
        tenants.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(PLACES_OF_A_TENANT));
        tenants.insert(tenant.clone(), Arc::downgrade(&places));
        places
    }
}

/// As the plugin calls it.
fn format(media: Media) -> &'static str {
    match media {
        Media::Pdf => "pdf",
        Media::Docx => "docx",
        Media::Xlsx => "xlsx",
        _ => "html",
    }
}
