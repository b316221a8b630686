//! What an operator has set for a plugin that is no secret.

use crate::bindings::vivarium::plugin::settings as wit;
use crate::guest::Guest;

impl wit::Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.count_host_call()?;
        Ok(self.grant.settings.get(&name).cloned())
    }
}
