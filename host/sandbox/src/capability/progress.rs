//! How far a long call is. Shares the log's bounds.

use crate::bindings::vivarium::plugin::progress as wit;
use crate::guest::Guest;

impl wit::Host for Guest {
    async fn report(&mut self, message: String, fraction: Option<f32>) -> wasmtime::Result<()> {
        self.count_host_call()?;
        self.log.progress(&message, fraction);
        Ok(())
    }
}
