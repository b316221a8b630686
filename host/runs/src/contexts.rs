//! Documents of a tenant's that a run searches.

use std::sync::Arc;

use vivarium_domain::{DocumentId, TenantId};
use vivarium_sandbox::CorpusView;

/// Makes documents searchable. Implemented by the host over its index.
pub trait Contexts: Send + Sync {
    /// These documents and these whole corpora of the tenant, with the host's own corpus beside them. Documents are looked
    /// for when they are first searched; one that is gone by then is left out. A corpus is searched as it is at that moment.
    fn view(&self, tenant: &TenantId, documents: &[DocumentId], corpora: &[String]) -> Arc<dyn CorpusView>;
}
