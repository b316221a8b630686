//! What the audit log is told of plugins.

use std::collections::BTreeMap;

use vivarium_domain::{AuditAction, AuditBy, AuditNote, InstalledRecord, PluginGrant, PluginName};
use vivarium_store::Batch;

/// A version was installed, or was there and answers from now on.
pub(crate) fn installed(record: &InstalledRecord, by: &AuditBy, new: bool) -> Batch {
    with_version(by.did(AuditAction::PluginInstalled, &record.name), record).with("new", new).into()
}

/// Another version answers.
pub(crate) fn rolled_back(record: &InstalledRecord, by: &AuditBy) -> AuditNote {
    with_version(by.did(AuditAction::PluginRolledBack, &record.name), record)
}

/// A grant was set: all of it, but of its settings the names alone. Their values are the tenant's to change and to forget,
/// and an audit log forgets nothing.
pub(crate) fn granted(name: &PluginName, grant: &PluginGrant, by: &AuditBy) -> AuditNote {
    let PluginGrant { settings, .. } = grant;
    let told = PluginGrant { settings: BTreeMap::new(), ..grant.clone() };
    let note = by.did(AuditAction::GrantSet, name).with("grant", told);
    if settings.is_empty() { note } else { note.with("settings", settings.keys().collect::<Vec<_>>()) }
}

fn with_version(note: AuditNote, record: &InstalledRecord) -> AuditNote {
    let version = record.active().map(|active| active.manifest.version.to_string());
    note.with("version", version).with("digest", record.active)
}
