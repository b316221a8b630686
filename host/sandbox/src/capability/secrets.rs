//! Secrets are handles: a guest can ask whether it has one; the host puts the value into the requests that the grant names.

use crate::bindings::vivarium::plugin::secrets as wit;
use crate::guest::Guest;

impl wit::Host for Guest {
    async fn available(&mut self, name: String) -> wasmtime::Result<bool> {
        self.count_host_call()?;
        let granted = self.grant.secrets.contains(&name);
        // Only for what the manifest asks for: whatever else a guest makes up is no wish that a grant could fulfil.
        if !granted && self.manifest.requests.secrets.iter().any(|asked| asked.as_str() == name) {
            self.denials.note(
                "secrets",
                format!(
                    "the secret {name:?} is not granted to this plugin; a grant of the secret {name:?} would allow it"
                ),
            );
        }
        Ok(granted)
    }
}
