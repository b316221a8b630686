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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vivarium_domain::Manifest;

    use super::wit::Host as _;
    use super::*;
    use crate::capability::{Grant, LogLevel, LogSink};
    use crate::guest::{Role, Setting};
    use crate::limits::Limits;

    struct NoLog;

    impl LogSink for NoLog {
        fn line(&self, _level: LogLevel, _line: &str) {}
        fn progress(&self, _message: &str, _fraction: Option<f32>) {}
    }

    #[tokio::test]
    async fn a_secret_that_was_asked_for_and_not_granted_is_noted_and_a_made_up_one_is_not() {
        let manifest = br#"{"name":"a/b","version":"1.0.0","contract":"0.1.0","description":"d",
            "modes":[{"name":"m","title":"t","description":"d","defaultMaxCycles":1}],
            "requests":{"secrets":["granted","missing"]}}"#;
        let manifest = Arc::new(Manifest::from_json(manifest).unwrap());
        let grant = Arc::new(Grant { secrets: ["granted".to_owned()].into(), ..Grant::default() });
        let (limits, sink) = (Arc::new(Limits::for_tool()), Arc::new(NoLog));
        let mut guest = Guest::new(Role::Tool, manifest, Setting { grant, workspace: None, limits, sink });
        let mut available = Vec::new();
        for name in ["granted", "missing", "of-another-tenant"] {
            available.push(guest.available(name.to_owned()).await.unwrap());
        }
        assert_eq!(available, [true, false, false]);
        let noted = guest.denials.take();
        assert_eq!(noted.len(), 1);
        assert_eq!(noted[0].capability, "secrets");
        assert!(noted[0].message.contains("a grant of the secret \"missing\" would allow it"), "{noted:?}");
    }
}
