//! What a plugin may do in a tenant: what its manifest asks for *and* what the tenant or the operator has granted, with the
//! secrets opened and the limits cut to the tenant's maxima. Worked out once for a catalog, and not for each call.

use std::sync::Arc;

use secrecy::SecretString;
use vivarium_domain::{
    FileAccess, Manifest, PluginGrant, PluginLimits, SealedSecret, SecretName, SecretUse, TenantId, Tier,
};
use vivarium_egress::{AllowedHost, EgressPolicy, HostPort, Injection, Redactor};
use vivarium_sandbox::{FileQuota, Grant, GuardedDoor, HttpDoor, Limits, Plugin};

use crate::catalog::{PluginInUse, limits, mode_maxima};
use crate::error::RegistryError;
use crate::gift::OperatorGift;
use crate::service::Registry;

/// A secret in the clear, on its way into a policy.
struct Credential {
    name: SecretName,
    inject: SecretUse,
    value: SecretString,
}

fn operator_secrets(manifest: &Manifest, gift: &OperatorGift) -> Vec<Credential> {
    let asked = gift.secrets.iter().filter(|(name, _)| manifest.requests.secrets.contains(name));
    asked
        .map(|(name, secret)| Credential {
            name: name.clone(),
            inject: secret.inject.clone(),
            value: secret.value.clone(),
        })
        .collect()
}

fn cloned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

impl Registry {
    /// Works out what a plugin may do in a tenant.
    pub(crate) async fn in_use(
        &self,
        tenant: &TenantId,
        tier: Tier,
        plugin: Arc<Plugin>,
        gift: Option<&OperatorGift>,
        secrets: &[SealedSecret],
    ) -> Result<Arc<PluginInUse>, RegistryError> {
        let shared = &self.0;
        let manifest = plugin.manifest();
        let own = shared.store.grant(tenant, &manifest.name).await?;
        let granted = own.or_else(|| gift.map(|gift| gift.grant.clone())).unwrap_or_default();
        let maxima = shared.config.maxima.get(&tier).copied().unwrap_or_default();
        let tool = limits(&granted, manifest, shared.config.tool_defaults, maxima);
        let mode_defaults = shared.config.mode_defaults;
        let mode = limits(&granted, manifest, mode_defaults, mode_maxima(maxima, mode_defaults));
        let mut credentials = self.tenant_secrets(tenant, manifest, &granted, secrets);
        credentials.extend(gift.into_iter().flat_map(|gift| operator_secrets(manifest, gift)));
        let grant = self.effective(tenant, manifest, &granted, gift, credentials, tool);
        Ok(Arc::new(PluginInUse {
            grant: Arc::new(grant),
            tool_limits: Arc::new(Limits::for_tool().with(&tool)),
            mode_limits: Arc::new(Limits::for_mode().with(&mode)),
            file_quota: FileQuota { bytes: tool.file_bytes.unwrap_or_default(), files: tool.files.unwrap_or_default() },
            warm: Arc::default(),
            may_search: manifest.requests.corpus && granted.corpus,
            approvals: granted.approvals,
            plugin,
        }))
    }

    /// The secrets that a plugin asks for and is granted. One that does not open is left out, and the log says so.
    fn tenant_secrets(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
        granted: &PluginGrant,
        secrets: &[SealedSecret],
    ) -> Vec<Credential> {
        let is_granted = |name: &SecretName| manifest.requests.secrets.contains(name) && granted.secrets.contains(name);
        let mut opened = Vec::new();
        for secret in secrets.iter().filter(|secret| is_granted(&secret.name)) {
            match self.0.vault.open(tenant, secret) {
                Ok(value) => {
                    opened.push(Credential { name: secret.name.clone(), inject: secret.inject.clone(), value })
                }
                Err(error) => tracing::error!(%tenant, %error, "a secret is left out"),
            }
        }
        opened
    }

    fn effective(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
        granted: &PluginGrant,
        gift: Option<&OperatorGift>,
        credentials: Vec<Credential>,
        limits: PluginLimits,
    ) -> Grant {
        let shared = &self.0;
        let requests = &manifest.requests;
        let policy = self.policy(manifest, granted, gift, &credentials, limits);
        let door = GuardedDoor { egress: Arc::clone(&shared.egress), policy: Arc::new(policy) };
        let asked = |name: &String| requests.settings.contains(name);
        Grant {
            egress: Some(Arc::new(door) as Arc<dyn HttpDoor>),
            settings: granted.settings.iter().filter(|(name, _)| asked(name)).map(cloned).collect(),
            secrets: credentials.iter().map(|credential| credential.name.to_string()).collect(),
            corpus: shared.corpus.clone().filter(|_| requests.corpus && granted.corpus),
            state: (requests.state && granted.state).then(|| {
                let quota = limits.state_bytes.unwrap_or_default();
                self.space(tenant, &manifest.name).with_quota(quota)
            }),
            programs: requests.programs && granted.programs,
            files: requests.files.zip(granted.files).map(|(asked, granted): (FileAccess, _)| asked.min(granted)),
            redactor: Arc::new(Redactor::new(credentials.iter().map(|credential| &credential.value))),
        }
    }

    fn policy(
        &self,
        manifest: &Manifest,
        granted: &PluginGrant,
        gift: Option<&OperatorGift>,
        credentials: &[Credential],
        limits: PluginLimits,
    ) -> EgressPolicy {
        // All of these texts were checked when they were kept; one that reads no longer allows nothing.
        let hosts = |hosts: &[vivarium_domain::HostRequest]| {
            hosts.iter().filter_map(|host| AllowedHost::parse(&host.host, &host.methods).ok()).collect::<Vec<_>>()
        };
        let injection = |credential: &Credential| {
            let Credential { inject, value, .. } = credential;
            Injection::new(&inject.host, &inject.header, &inject.prefix, value.clone()).ok()
        };
        let exceptions = granted.dangerously_allow_private_addresses.iter();
        let exceptions =
            exceptions.chain(gift.into_iter().flat_map(|gift| &gift.grant.dangerously_allow_private_addresses));
        let mut private: Vec<HostPort> = exceptions.filter_map(|place| place.parse().ok()).collect();
        let exactly = |place: &&HostPort| granted.hosts.iter().any(|host| host.host == place.to_string());
        private.extend(self.0.private.iter().filter(exactly).cloned());
        let mut bounds = vivarium_egress::Limits::default();
        if let Some(requests) = limits.egress_requests {
            bounds.max_requests = requests;
        }
        if let Some(bytes) = limits.egress_bytes {
            bounds.max_total_bytes = bytes;
            bounds.max_response_bytes = bytes;
            bounds.max_request_bytes = bytes;
        }
        let mut allowed = hosts(&granted.hosts);
        // An exception is the operator's own grant of that host and port; but where a grant names it with methods, those hold.
        let unnamed = private.iter().filter(|place| !exactly(place));
        allowed.extend(unnamed.filter_map(|place| AllowedHost::parse(&place.to_string(), &[]).ok()));
        EgressPolicy {
            requested: hosts(&manifest.requests.hosts),
            granted: allowed,
            dangerously_allow_private_addresses: private,
            limits: bounds,
            injections: credentials.iter().filter_map(injection).collect(),
        }
    }
}
