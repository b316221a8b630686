//! What a run writes into its session's files. Before the first call of a tool that may write, the files are kept as they are, and
//! at the run's end once more: so what the run has done can be told, to its mode and to people, and undone. A run that calls no
//! such tool pays nothing.

use std::sync::Arc;

use vivarium_domain::{FileAccess, HostCall, RunId, SessionId, SnapshotReason, TenantId, WorkspaceChanges};
use vivarium_registry::{Registry, ToolEntry, ToolProvider};
use vivarium_sandbox::HostStop;
use vivarium_workspaces::{Bounds, FilesError, NewSnapshot, State};

use crate::fits;
use crate::host::RunHost;

/// The most files that a mode is told of, as the contract has it.
const MAX_FILES: usize = 200;

impl RunHost {
    /// Keeps the files as they are, if this is the first call of a tool that may write. A run whose files can not be kept goes on;
    /// what it changes can not be told then.
    pub(crate) async fn before_writing(&self, entry: &ToolEntry) {
        // A remote server's tool has no files of ours.
        let ToolProvider::Plugin(plugin) = &entry.provider else { return };
        if plugin.grant.files != Some(FileAccess::Write) {
            return;
        }
        let keep = async || {
            let new = NewSnapshot { label: None, reason: SnapshotReason::RunBegan, run: Some(self.run) };
            let workspaces = self.toolbox.registry.workspaces();
            let kept = workspaces.snapshot(&self.tenant, &self.session, plugin.file_quota, new).await;
            if let Err(error) = kept {
                tracing::warn!(run = %self.run, %error, "the files of a session were not kept before a run wrote to them");
            }
        };
        self.files_kept.get_or_init(keep).await;
    }

    /// What the run has changed so far.
    pub(crate) async fn changed(&self, max_bytes: usize) -> Result<Option<Box<WorkspaceChanges>>, HostStop> {
        let recorded = self.recorded(|| "workspace.changes".to_owned(), fits::small(fits::changes))?;
        if let Some(changes) = recorded {
            return Ok(changes);
        }
        let changes = self.compared(max_bytes).await.unwrap_or_else(|error| {
            tracing::warn!(run = %self.run, %error, "what a run has changed can not be told");
            None
        });
        self.log.record(vivarium_domain::EventBody::HostAnswered(HostCall::WorkspaceChanges(changes.clone())));
        Ok(changes)
    }

    async fn compared(&self, max_bytes: usize) -> Result<Option<Box<WorkspaceChanges>>, FilesError> {
        let workspaces = self.toolbox.registry.workspaces();
        if !workspaces.has_snapshots(&self.tenant, &self.session) {
            return Ok(None);
        }
        let (began, _) = workspaces.snapshots_of_run(&self.tenant, &self.session, self.run).await?;
        let Some(began) = began else { return Ok(None) };
        let bounds = Bounds { files: MAX_FILES, bytes: max_bytes, prefix: String::new() };
        let (from, to) = (State::Then(began.id), State::Now);
        let changes = workspaces.diff(&self.tenant, &self.session, from, to, bounds).await?;
        Ok(Some(Box::new(changes)))
    }
}

/// Keeps the files as a run has left them, if it may have written any.
pub(crate) async fn at_the_end(registry: &Registry, tenant: &TenantId, session: &SessionId, run: RunId) {
    let workspaces = registry.workspaces();
    if !workspaces.has_snapshots(tenant, session) {
        return;
    }
    let keep = async {
        let (began, _) = workspaces.snapshots_of_run(tenant, session, run).await?;
        if began.is_none() {
            return Ok(());
        }
        let quota = registry.file_quota(tenant).await.map_err(|error| FilesError::Disk(error.to_string()))?;
        let new = NewSnapshot { label: None, reason: SnapshotReason::RunEnded, run: Some(run) };
        Arc::clone(workspaces).snapshot(tenant, session, quota, new).await.map(drop)
    };
    if let Err(error) = keep.await {
        tracing::warn!(%run, %error, "the files of a session were not kept at a run's end");
    }
}
