//! Secrets are handles: a guest can ask whether it has one; the host puts the value into the requests that the grant names.

use crate::bindings::vivarium::plugin::secrets as wit;
use crate::guest::Guest;

impl wit::Host for Guest {
    async fn available(&mut self, name: String) -> wasmtime::Result<bool> {
        self.count_host_call()?;
        Ok(self.grant.secrets.contains(&name))
    }
}
