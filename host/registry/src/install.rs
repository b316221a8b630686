//! Plugins come, change and go. What is refused is refused before anything is written, with a sentence that names both
//! sides; what is accepted answers the next call, and calls that are under way end on the version that they began on.

use std::collections::BTreeSet;

use bytes::Bytes;
use vivarium_domain::{
    AuditAction, AuditActor, AuditBy, ContentHash, InstalledRecord, KeyId, Manifest, PluginGrant, PluginName,
    PluginVersion, TenantId, Timestamp,
};
use vivarium_egress::AllowedHost;
use vivarium_sandbox::{LoadError, read_manifest};
use vivarium_store::{Batch, Write};

use crate::audit;
use crate::error::RegistryError;
use crate::service::{Installed, Place, PluginInfo, Registry, private_addresses};

/// The owner of the plugins that come with the host.
const OUR_OWNER: &str = "vivarium";

/// The most hosts, secrets or settings of a grant.
const MAX_GRANTED: usize = 200;

/// The longest setting.
const MAX_SETTING_BYTES: usize = 8 << 10;

/// Another plugin that a tenant sees.
struct Neighbour {
    manifest: Manifest,
    shared: bool,
}

impl Registry {
    /// Installs a component, or finds that it is installed; its version answers from now on. What `along` gives for it is
    /// written with its record or not at all.
    ///
    /// # Errors
    /// See [`RegistryError`]. Nothing has changed then.
    pub async fn install(
        &self,
        place: &Place,
        component: Bytes,
        by: &AuditBy,
        along: impl FnOnce(&Installed) -> Batch + Send,
    ) -> Result<Installed, RegistryError> {
        let shared = &self.0;
        let limit = shared.config.max_component_bytes;
        if component.len() > limit {
            return Err(LoadError::TooLarge { size: component.len(), limit }.into());
        }
        // The cheap looks come first: nothing is compiled for a name that can not be had.
        let manifest = read_manifest(&component)?;
        let bytes = component.len() as u64;
        self.check(place, &manifest, ContentHash::of(&component), bytes).await?;
        let plugin = shared.shelf.load(component.clone()).await?;

        let _changing = shared.changing.lock().await;
        let tenant = place.tenant();
        let record = self.check(place, &manifest, plugin.digest(), bytes).await?;
        let version = PluginVersion {
            digest: plugin.digest(),
            bytes,
            manifest: plugin.manifest().clone(),
            installed_at: Timestamp::now(),
            installed_by: key_of(by),
        };
        let (record, dropped, new) = with_version(record, version, shared.config.max_versions);
        // The component is on disk before anything names it.
        match self.most_stored(&tenant).await? {
            Some(most) => shared.store.put_blob_within(&tenant, component, most).await?,
            None => shared.store.put_blob(&tenant, component).await?,
        };
        let write = Batch::from(Write::PutPlugin(Box::new(record.clone()))).and(audit::installed(&record, by, new));
        let installed = Installed { info: self.info_of(&tenant, record, *place == Place::Shared).await?, new };
        shared.store.commit(&tenant, write.and(along(&installed))).await?;
        self.forget_components(&tenant, dropped).await;
        self.changed(place);
        let active = &installed.info.active;
        tracing::info!(plugin = %installed.info.name, %tenant, version = %active.manifest.version, digest = %active.digest, "a plugin was installed");
        Ok(installed)
    }

    /// Whether a plugin with this manifest can be installed here; gives what is there under its name.
    async fn check(
        &self,
        place: &Place,
        manifest: &Manifest,
        digest: ContentHash,
        bytes: u64,
    ) -> Result<Option<InstalledRecord>, RegistryError> {
        let tenant = place.tenant();
        let record = self.0.store.plugin(&tenant, &manifest.name).await?;
        let neighbours = self.neighbours(place).await?;
        check_owner(place, manifest, &neighbours)?;
        check_provided(manifest, &neighbours)?;
        self.check_room(&tenant, digest, bytes).await?;
        match &record {
            Some(record) => check_version(record, manifest, digest)?,
            None => {
                let most = self.most_plugins(&tenant).await?;
                let own = neighbours.iter().filter(|neighbour| neighbour.shared == (*place == Place::Shared)).count();
                if own >= most {
                    return Err(RegistryError::Full(format!(
                        "{most} plugins are installed, which is the most; remove one first"
                    )));
                }
            }
        }
        Ok(record)
    }

    /// How many plugins a tenant may have: its own number, its tier's, or everybody's.
    async fn most_plugins(&self, tenant: &TenantId) -> Result<usize, RegistryError> {
        let config = &self.0.config;
        let record = self.0.store.tenant(tenant).await?;
        let own = record
            .and_then(|tenant| tenant.limits.plugins.or_else(|| config.plugins_of_tier.get(&tenant.tier).copied()));
        Ok(own.map_or(config.max_plugins, |most| usize::try_from(most).unwrap_or(usize::MAX)))
    }

    /// How many bytes are kept of a tenant at most; none: it has no bound.
    async fn most_stored(&self, tenant: &TenantId) -> Result<Option<u64>, RegistryError> {
        let record = self.0.store.tenant(tenant).await?;
        let config = &self.0.config;
        Ok(record
            .and_then(|tenant| tenant.limits.stored_bytes.or_else(|| config.stored_bytes.get(&tenant.tier).copied())))
    }

    /// All components that a tenant keeps, old versions too, have a bound together.
    async fn check_room(&self, tenant: &TenantId, digest: ContentHash, bytes: u64) -> Result<(), RegistryError> {
        let most = self.0.config.max_plugin_bytes;
        let records = self.0.store.plugins(tenant).await?;
        let kept = records.iter().flat_map(|record| &record.versions).filter(|version| version.digest != digest);
        let after = kept.map(|version| version.bytes).fold(bytes, u64::saturating_add);
        if after > most {
            return Err(RegistryError::Full(format!(
                "all versions of all plugins would have {after} bytes together; at most {most} are kept; remove a plugin first"
            )));
        }
        Ok(())
    }

    async fn neighbours(&self, place: &Place) -> Result<Vec<Neighbour>, RegistryError> {
        let mut found = Vec::new();
        let mut add = |records: Vec<InstalledRecord>, shared| {
            let manifests = records.iter().filter_map(|record| record.active().map(|version| version.manifest.clone()));
            found.extend(manifests.map(|manifest| Neighbour { manifest, shared }));
        };
        if let Place::Tenant(tenant) = place {
            add(self.0.store.plugins(tenant).await?, false);
        }
        add(self.0.store.plugins(&TenantId::operator()).await?, true);
        let builtin = self.0.builtin.iter().map(|builtin| builtin.plugin.manifest().clone());
        found.extend(builtin.map(|manifest| Neighbour { manifest, shared: true }));
        Ok(found)
    }

    /// Lets another version answer: the one that is named, or the one that answered before. What `along` gives for the plugin
    /// as it is then is written with its record or not at all.
    ///
    /// # Errors
    /// When there is no such plugin or version, or its modes or tools are another plugin's by now.
    pub async fn rollback(
        &self,
        place: &Place,
        name: &PluginName,
        version: Option<&semver::Version>,
        by: &AuditBy,
        along: impl FnOnce(&PluginInfo) -> Batch + Send,
    ) -> Result<PluginInfo, RegistryError> {
        let _changing = self.0.changing.lock().await;
        let tenant = place.tenant();
        let mut record = self.record(&tenant, name).await?;
        let target = match version {
            Some(wanted) => record
                .versions
                .iter()
                .find(|version| version.manifest.version == *wanted)
                .map(|version| version.digest)
                .ok_or_else(|| RegistryError::NotFound(no_version(&record, wanted)))?,
            None => record.before.pop().ok_or_else(|| {
                RegistryError::NotFound(format!("no version of {name} answered before this one; name one as `version`"))
            })?,
        };
        let manifest = record.version(target).map(|version| version.manifest.clone());
        let manifest = manifest.ok_or_else(|| RegistryError::NotFound(format!("{name} {target} is gone")))?;
        check_provided(&manifest, &self.neighbours(place).await?)?;
        if version.is_some() && target != record.active {
            record.before.push(record.active);
        }
        record.active = target;
        let note = audit::rolled_back(&record, by);
        let write = Batch::from(Write::PutPlugin(Box::new(record.clone()))).and(note.into());
        let info = self.info_of(&tenant, record, *place == Place::Shared).await?;
        self.0.store.commit(&tenant, write.and(along(&info))).await?;
        self.changed(place);
        Ok(info)
    }

    /// Removes a plugin with its versions, and of a tenant's own its grant and its state too. Calls that are under way
    /// end well.
    ///
    /// # Errors
    /// When there is no such plugin, or it came with the host.
    pub async fn remove(&self, place: &Place, name: &PluginName, by: &AuditBy) -> Result<(), RegistryError> {
        let _changing = self.0.changing.lock().await;
        let tenant = place.tenant();
        let record = self.record(&tenant, name).await?;
        let note = by.did(AuditAction::PluginRemoved, name);
        let writes = vec![Write::DeletePlugin(name.clone()), Write::DeleteGrant(name.clone()), note.into()];
        self.write(&tenant, writes).await?;
        self.changed(place);
        if let Place::Tenant(tenant) = place {
            self.space(tenant, name).clear().await?;
        }
        self.forget_components(&tenant, record.versions.iter().map(|version| version.digest).collect()).await;
        Ok(())
    }

    async fn record(&self, tenant: &TenantId, name: &PluginName) -> Result<InstalledRecord, RegistryError> {
        let builtin = || self.0.builtin.iter().any(|builtin| builtin.plugin.manifest().name == *name);
        match self.0.store.plugin(tenant, name).await? {
            Some(record) => Ok(record),
            None if builtin() => Err(RegistryError::OperatorOnly(format!(
                "{name} came with the host: it has one version and stays; a grant can take all from it"
            ))),
            None if self.0.store.plugin(&TenantId::operator(), name).await?.is_some() => {
                Err(RegistryError::OperatorOnly(format!(
                    "{name} is shared by the operator, who alone can change it; a grant can take all from it"
                )))
            }
            None => Err(not_found(name)),
        }
    }

    /// Removes components that nothing of this tenant names any more, and the compiled forms that no tenant needs. What
    /// can not be removed now is litter, not harm. One that a run began with which has not ended stays: the run may have to be
    /// taken up again.
    pub(crate) async fn forget_components(&self, tenant: &TenantId, digests: Vec<ContentHash>) {
        if digests.is_empty() {
            return;
        }
        let pinned: BTreeSet<ContentHash> = match self.0.store.unfinished_runs().await {
            Ok(unfinished) => unfinished.into_iter().map(|(_, run)| run.plugin).collect(),
            Err(error) => {
                tracing::warn!(%tenant, %error, "components are left on the disk: whether runs need them is not known");
                return;
            }
        };
        for digest in digests.into_iter().filter(|digest| !pinned.contains(digest)) {
            let forgotten = async {
                self.0.store.delete_blob(tenant, digest).await?;
                if !self.is_anybodys(digest).await? {
                    self.0.shelf.forget(digest);
                }
                Ok::<(), RegistryError>(())
            };
            if let Err(error) = forgotten.await {
                tracing::warn!(%tenant, %digest, %error, "a component could not be removed from the disk");
            }
        }
    }

    /// Some tenant, or the operator, keeps a component of this digest.
    async fn is_anybodys(&self, digest: ContentHash) -> Result<bool, RegistryError> {
        let mut places: Vec<TenantId> = self.0.store.tenants().await?.into_iter().map(|tenant| tenant.id).collect();
        places.push(TenantId::operator());
        for place in places {
            let records = self.0.store.plugins(&place).await?;
            if records.iter().any(|record| record.version(digest).is_some()) {
                return Ok(true);
            }
        }
        Ok(self.0.builtin.iter().any(|builtin| builtin.plugin.digest() == digest))
    }

    /// All plugins that a tenant sees: its own, then those that are shared, each by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn plugins(&self, tenant: &TenantId) -> Result<Vec<PluginInfo>, RegistryError> {
        let mut found = Vec::new();
        for record in self.0.store.plugins(tenant).await? {
            found.push(self.info_of(tenant, record, false).await?);
        }
        for record in self.0.store.plugins(&TenantId::operator()).await? {
            found.push(self.info_of(tenant, record, true).await?);
        }
        for builtin in &self.0.builtin {
            found.push(self.builtin_info(tenant, builtin).await?);
        }
        let mut seen = BTreeSet::new();
        found.retain(|info| seen.insert(info.name.clone()));
        Ok(found)
    }

    /// A plugin that a tenant sees, by its name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn plugin(&self, tenant: &TenantId, name: &PluginName) -> Result<PluginInfo, RegistryError> {
        let found = self.plugins(tenant).await?.into_iter().find(|info| info.name == *name);
        found.ok_or_else(|| not_found(name))
    }

    async fn info_of(
        &self,
        tenant: &TenantId,
        record: InstalledRecord,
        shared: bool,
    ) -> Result<PluginInfo, RegistryError> {
        let active = record.active().cloned();
        let active = active.ok_or_else(|| RegistryError::NotFound(format!("{} has no active version", record.name)))?;
        let grant = self.grant_of(tenant, &record.name, shared).await?;
        Ok(PluginInfo { name: record.name, shared, builtin: false, active, versions: record.versions, grant })
    }

    async fn builtin_info(
        &self,
        tenant: &TenantId,
        builtin: &crate::service::SharedPlugin,
    ) -> Result<PluginInfo, RegistryError> {
        let manifest = builtin.plugin.manifest().clone();
        let grant = self.grant_of(tenant, &manifest.name, true).await?;
        let active = PluginVersion {
            digest: builtin.plugin.digest(),
            bytes: builtin.bytes,
            manifest,
            installed_at: Timestamp::UNIX_EPOCH,
            installed_by: None,
        };
        let name = active.manifest.name.clone();
        Ok(PluginInfo { name, shared: true, builtin: true, versions: vec![active.clone()], active, grant })
    }

    async fn grant_of(&self, tenant: &TenantId, name: &PluginName, shared: bool) -> Result<PluginGrant, RegistryError> {
        let own = self.0.store.grant(tenant, name).await?;
        Ok(own.or_else(|| self.gift(name, shared).map(|gift| gift.grant.clone())).unwrap_or_default())
    }

    /// Sets what a plugin may do in a tenant. Gives the plugin, and what in the grant has no effect, in sentences.
    ///
    /// # Errors
    /// When there is no such plugin, the grant is not valid, or it holds what only an operator may give.
    pub async fn set_grant(
        &self,
        tenant: &TenantId,
        name: &PluginName,
        grant: PluginGrant,
        by_operator: bool,
        by: &AuditBy,
    ) -> Result<(PluginInfo, Vec<String>), RegistryError> {
        let info = self.plugin(tenant, name).await?;
        check_grant(&grant, &info.active.manifest, by_operator)?;
        let secrets = self.0.store.secrets(tenant).await?;
        let known = secrets.iter().map(|secret| secret.name.to_string()).collect();
        let notes = without_effect(&grant, &info.active.manifest, &known);
        let _changing = self.0.changing.lock().await;
        let write = Write::PutGrant { plugin: name.clone(), grant: Box::new(grant.clone()) };
        self.write(tenant, vec![write, audit::granted(name, &grant, by).into()]).await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok((PluginInfo { grant, ..info }, notes))
    }
}

fn key_of(by: &AuditBy) -> Option<KeyId> {
    match by.who {
        AuditActor::Key(key) => Some(key),
        AuditActor::Cli | AuditActor::Host => None,
    }
}

fn not_found(name: &PluginName) -> RegistryError {
    RegistryError::NotFound(format!("there is no plugin {name}"))
}

fn no_version(record: &InstalledRecord, wanted: &semver::Version) -> String {
    let versions: Vec<String> = record.versions.iter().map(|version| version.manifest.version.to_string()).collect();
    format!("{} has no version {wanted}; it has: {}", record.name, versions.join(", "))
}

fn owner(name: &PluginName) -> &str {
    name.as_str().split('/').next().unwrap_or_default()
}

/// An owner's name stands for who answers for a plugin: nobody takes ours, and no tenant takes one of the operator's.
fn check_owner(place: &Place, manifest: &Manifest, neighbours: &[Neighbour]) -> Result<(), RegistryError> {
    let owner_name = owner(&manifest.name);
    let own = [OUR_OWNER, TenantId::operator().as_str(), PluginName::OWNER_OF_MCP_SERVERS].contains(&owner_name);
    if own {
        return Err(RegistryError::NotYours(format!(
            "the plugin is named {}, and the owner {owner_name} is the host's own; choose another owner",
            manifest.name
        )));
    }
    let operators = neighbours.iter().find(|other| other.shared && owner(&other.manifest.name) == owner_name);
    match (place, operators) {
        (Place::Tenant(_), Some(other)) => Err(RegistryError::NotYours(format!(
            "the plugin is named {}, and the owner {owner_name} is the operator's, who shares {}; choose another owner",
            manifest.name, other.manifest.name
        ))),
        _ => Ok(()),
    }
}

/// Two plugins that a tenant sees can not both provide a mode or a tool of one name.
fn check_provided(manifest: &Manifest, neighbours: &[Neighbour]) -> Result<(), RegistryError> {
    for other in neighbours.iter().filter(|other| other.manifest.name != manifest.name) {
        if let Some((kind, name)) = manifest.provides_too(&other.manifest) {
            return Err(RegistryError::Conflict(format!(
                "{} and {} both provide the {kind} {name}; rename it, or remove the other plugin first",
                other.manifest.name, manifest.name
            )));
        }
    }
    Ok(())
}

/// A version that was installed does not change.
fn check_version(record: &InstalledRecord, manifest: &Manifest, digest: ContentHash) -> Result<(), RegistryError> {
    let same = record.versions.iter().find(|version| version.manifest.version == manifest.version);
    match same {
        Some(version) if version.digest != digest => Err(RegistryError::Conflict(format!(
            "{} {} is installed with the digest {}, and this component has {digest}: a version that was installed does \
             not change; give it a new version",
            record.name, manifest.version, version.digest
        ))),
        _ => Ok(()),
    }
}

/// The record with this version as the one that answers, the digests that it no longer holds, and whether it is new.
fn with_version(
    record: Option<InstalledRecord>,
    version: PluginVersion,
    most: usize,
) -> (InstalledRecord, Vec<ContentHash>, bool) {
    let digest = version.digest;
    let Some(mut record) = record else {
        let name = version.manifest.name.clone();
        return (
            InstalledRecord { name, versions: vec![version], active: digest, before: Vec::new() },
            Vec::new(),
            true,
        );
    };
    let new = record.version(digest).is_none();
    if new {
        record.versions.push(version);
    }
    if record.active != digest {
        record.before.push(record.active);
        record.active = digest;
    }
    let mut dropped = Vec::new();
    while record.versions.len() > most.max(1) {
        let Some(oldest) = record.versions.iter().position(|version| version.digest != digest) else { break };
        dropped.push(record.versions.remove(oldest).digest);
    }
    record.before.retain(|before| !dropped.contains(before));
    let surplus = record.before.len().saturating_sub(most);
    record.before.drain(..surplus);
    (record, dropped, new)
}

fn check_grant(grant: &PluginGrant, manifest: &Manifest, by_operator: bool) -> Result<(), RegistryError> {
    for (what, count) in [
        ("hosts", grant.hosts.len()),
        ("secrets", grant.secrets.len()),
        ("settings", grant.settings.len()),
        ("dangerouslyAllowPrivateAddresses", grant.dangerously_allow_private_addresses.len()),
    ] {
        if count > MAX_GRANTED {
            return Err(RegistryError::invalid(what, format!("has {count} entries; at most {MAX_GRANTED} are taken")));
        }
    }
    for (number, host) in grant.hosts.iter().enumerate() {
        AllowedHost::parse(&host.host, &host.methods)
            .map_err(|error| RegistryError::invalid(format!("hosts[{number}]"), format!("is wrong: {error}")))?;
    }
    for (name, value) in &grant.settings {
        if value.len() > MAX_SETTING_BYTES {
            let reason = format!("has {} bytes; at most {MAX_SETTING_BYTES} are taken", value.len());
            return Err(RegistryError::invalid(format!("settings.{name}"), reason));
        }
    }
    let provided: Vec<&str> = manifest.tools.iter().map(|tool| tool.name.as_str()).collect();
    if let Some(tool) = grant.approvals.keys().find(|tool| !provided.contains(&tool.as_str())) {
        let reason = format!("names the tool {tool}, and {} provides: {}", manifest.name, listed(&provided));
        return Err(RegistryError::invalid("approvals", reason));
    }
    private_addresses(&grant.dangerously_allow_private_addresses)?;
    if !by_operator && !grant.dangerously_allow_private_addresses.is_empty() {
        return Err(RegistryError::OperatorOnly(
            "dangerouslyAllowPrivateAddresses can be granted with a key of the scope admin alone".to_owned(),
        ));
    }
    Ok(())
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a grant gives that the plugin does not ask for, or that is not there. It does no harm, but somebody expects more.
fn without_effect(grant: &PluginGrant, manifest: &Manifest, known_secrets: &BTreeSet<String>) -> Vec<String> {
    let (requests, name) = (&manifest.requests, &manifest.name);
    let mut notes = Vec::new();
    if !grant.hosts.is_empty() && requests.hosts.is_empty() {
        notes.push(format!("{name} asks for no hosts: those of the grant have no effect"));
    }
    for secret in &grant.secrets {
        if !requests.secrets.contains(secret) {
            notes.push(format!("{name} does not ask for the secret {secret}"));
        } else if !known_secrets.contains(secret.as_str()) {
            notes.push(format!("there is no secret {secret} yet: PUT /v1/secrets/{secret} sets it"));
        }
    }
    for setting in grant.settings.keys().filter(|setting| !requests.settings.contains(setting)) {
        notes.push(format!("{name} does not ask for the setting {setting}"));
    }
    let switches = [
        ("files", grant.files.is_some(), requests.files.is_some()),
        ("corpus", grant.corpus, requests.corpus),
        ("state", grant.state, requests.state),
        ("programs", grant.programs, requests.programs),
    ];
    for (what, _, _) in switches.into_iter().filter(|(_, granted, asked)| *granted && !asked) {
        notes.push(format!("{name} does not ask for {what}"));
    }
    notes
}
