//! Snapshots of a session's files: made, listed, compared, brought back. Clients ask for some; the host makes one before a run
//! writes for the first time and one at its end, so that what a run has done can be told and undone. Those of runs go when there
//! are too many of them or when one that a client asks for needs their room; a client's own stay until it deletes them.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use vivarium_domain::{RunId, SessionId, Snapshot, SnapshotId, SnapshotReason, TenantId, Timestamp, WorkspaceChanges};
use vivarium_sandbox::FileQuota;

use crate::diff::{Bounds, Side, diff};
use crate::error::FilesError;
use crate::shelf::SnapshotShelf;
use crate::swap;
use crate::tree::{Tree, hash_and_copy};
use crate::workspaces::{Workspaces, blocking, snapshots_of};

/// Of how many runs of a session snapshots are kept.
const MAX_RUNS: usize = 20;

/// A snapshot to be made.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// What a person calls it.
    pub label: Option<String>,
    /// What it is made for.
    pub reason: SnapshotReason,
    /// The run that it is made for.
    pub run: Option<RunId>,
}

/// A state of a session's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As they are.
    Now,
    /// As they were.
    Then(SnapshotId),
}

impl Workspaces {
    fn shelf(&self, tenant: &TenantId, session: &SessionId) -> SnapshotShelf {
        SnapshotShelf::new(snapshots_of(&self.path(tenant, session)))
    }

    /// Whether a session has, or has had, snapshots: a look at the disk that costs nearly nothing.
    #[must_use]
    pub fn has_snapshots(&self, tenant: &TenantId, session: &SessionId) -> bool {
        snapshots_of(&self.path(tenant, session)).exists()
    }

    /// Makes a snapshot. One for a run's beginning or end that is there already is given as it is.
    ///
    /// # Errors
    /// [`FilesError::Full`] when there are too many, or they are too large.
    pub async fn snapshot(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
        new: NewSnapshot,
    ) -> Result<Snapshot, FilesError> {
        let (workspaces, shelf) = (Arc::clone(self), self.shelf(tenant, session));
        let workspace = self.opened(tenant, session, quota).await?;
        // Nothing changes meanwhile.
        let alone = workspace.alone().await;
        blocking(move || {
            let made = workspaces.make(&shelf, alone.folder(), new);
            drop(alone);
            made
        })
        .await
    }

    fn make(&self, shelf: &SnapshotShelf, folder: &Path, new: NewSnapshot) -> Result<Snapshot, FilesError> {
        let records = shelf.records()?;
        let NewSnapshot { label, reason, run } = new;
        let is_same = |record: &&Snapshot| run.is_some() && record.run_id == run && record.reason == reason;
        if let Some(there) = records.iter().find(is_same) {
            return Ok(there.clone());
        }
        let most = self.config.max_snapshots;
        if reason == SnapshotReason::Asked
            && records.iter().filter(|record| record.reason == SnapshotReason::Asked).count() >= most
        {
            let message = format!("this session has {most} snapshots, which is as many as are kept; delete one first");
            return Err(FilesError::Full(message));
        }
        let tree = Tree::of(folder)?;
        self.make_room(shelf, &tree, run)?;
        let record = Snapshot {
            id: SnapshotId::new(),
            label,
            created_at: Timestamp::now(),
            reason,
            run_id: run,
            files: tree.files.len() as u64,
            bytes: tree.bytes(),
        };
        let (missing, _) = shelf.missing(&tree);
        shelf.keep(&self.aside, folder, (&record, &tree), &missing)?;
        if reason == SnapshotReason::Asked {
            swap::bring_to_disk(shelf.folder()).map_err(FilesError::at(shelf.folder()))?;
        }
        Ok(record)
    }

    /// Lets the oldest runs' snapshots go until there is room for one more of a run and for what this tree adds.
    fn make_room(&self, shelf: &SnapshotShelf, tree: &Tree, run: Option<RunId>) -> Result<(), FilesError> {
        let most = self.config.max_snapshot_bytes;
        loop {
            let records = shelf.records()?;
            let (_, more) = shelf.missing(tree);
            let used = shelf.bytes()?;
            let mut runs: Vec<RunId> = records.iter().filter_map(|record| record.run_id).collect();
            runs.sort_unstable();
            runs.dedup();
            runs.retain(|one| Some(*one) != run);
            let too_many = run.is_some() && runs.len() >= MAX_RUNS;
            if used.saturating_add(more) <= most && !too_many {
                return Ok(());
            }
            let Some(oldest) = runs.first() else {
                return Err(FilesError::Full(format!(
                    "the snapshots of this session may have {most} bytes together; {used} are used, and this one needs {more} more; delete some first"
                )));
            };
            for record in records.iter().filter(|record| record.run_id == Some(*oldest)) {
                shelf.forget(record.id)?;
            }
            shelf.sweep()?;
        }
    }

    /// The snapshots of a session, the newest first, those made before `before`, at most `limit`; and where the next page begins.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn snapshots(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        before: Option<SnapshotId>,
        limit: usize,
    ) -> Result<(Vec<Snapshot>, Option<SnapshotId>), FilesError> {
        let shelf = self.shelf(tenant, session);
        blocking(move || {
            let mut records = shelf.records()?;
            records.retain(|record| before.is_none_or(|before| record.id < before));
            let is_last = records.len() <= limit;
            records.truncate(limit);
            let next = records.last().map(|record| record.id).filter(|_| !is_last);
            Ok((records, next))
        })
        .await
    }

    /// The snapshots of a run: at its beginning and at its end.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn snapshots_of_run(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        run: RunId,
    ) -> Result<(Option<Snapshot>, Option<Snapshot>), FilesError> {
        let shelf = self.shelf(tenant, session);
        blocking(move || {
            let records = shelf.records()?;
            let of = |reason| records.iter().find(|one| one.run_id == Some(run) && one.reason == reason).cloned();
            Ok((of(SnapshotReason::RunBegan), of(SnapshotReason::RunEnded)))
        })
        .await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// [`FilesError::NoSuchSnapshot`].
    pub async fn one_snapshot(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        id: SnapshotId,
    ) -> Result<Snapshot, FilesError> {
        let shelf = self.shelf(tenant, session);
        blocking(move || shelf.one(id)).await
    }

    /// Deletes a snapshot, with the contents that no other one has.
    ///
    /// # Errors
    /// [`FilesError::NoSuchSnapshot`].
    pub async fn delete_snapshot(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
        id: SnapshotId,
    ) -> Result<(), FilesError> {
        let shelf = self.shelf(tenant, session);
        self.one_snapshot(tenant, session, id).await?;
        let workspace = self.opened(tenant, session, quota).await?;
        let alone = workspace.alone().await;
        blocking(move || {
            shelf.forget(id)?;
            shelf.sweep()?;
            drop(alone);
            Ok(())
        })
        .await
    }

    /// Makes a session's files what they were: all of them or none. Gives what the workspace holds then.
    ///
    /// # Errors
    /// [`FilesError::NoSuchSnapshot`], [`FilesError::InUse`], [`FilesError::Full`].
    pub async fn restore(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
        id: SnapshotId,
    ) -> Result<FileQuota, FilesError> {
        let (workspaces, path, shelf) = (Arc::clone(self), self.path(tenant, session), self.shelf(tenant, session));
        blocking(move || {
            let tree = shelf.tree(id)?;
            let holds = FileQuota { bytes: tree.bytes(), files: tree.entries() };
            if holds.bytes > quota.bytes || holds.files > quota.files {
                let message = format!(
                    "the snapshot has {} bytes in {} files and folders, and this session may have {} in {} now",
                    holds.bytes, holds.files, quota.bytes, quota.files
                );
                return Err(FilesError::Full(message));
            }
            let new = workspaces.aside.folder()?;
            write_out(&shelf, &tree, new.path())?;
            workspaces.alone(&path, |folder| swap::replace(folder, new))?;
            Ok(holds)
        })
        .await
    }

    /// How two states of a session's files differ, as far as these bounds go.
    ///
    /// # Errors
    /// [`FilesError::NoSuchSnapshot`].
    pub async fn diff(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        from: State,
        to: State,
        bounds: Bounds,
    ) -> Result<WorkspaceChanges, FilesError> {
        let (folder, shelf) = (self.path(tenant, session), self.shelf(tenant, session));
        blocking(move || {
            let tree = |state| match state {
                State::Now => Tree::of(&folder),
                State::Then(id) => shelf.tree(id),
            };
            let read = |state, path: &str, hash| match state {
                State::Now => fs::read(folder.join(path)),
                State::Then(_) => fs::read(shelf.object(hash)),
            };
            let (before, after) = (tree(from)?, tree(to)?);
            let before = Side { tree: &before, read: &|path, hash| read(from, path, hash) };
            let after = Side { tree: &after, read: &|path, hash| read(to, path, hash) };
            Ok(diff(&before, &after, &bounds))
        })
        .await
    }
}

/// Writes the files of a tree into an empty folder, each checked against its hash.
fn write_out(shelf: &SnapshotShelf, tree: &Tree, folder: &Path) -> Result<(), FilesError> {
    for path in &tree.folders {
        let made = folder.join(path);
        fs::create_dir_all(&made).map_err(FilesError::at(&made))?;
    }
    for (path, file) in &tree.files {
        let target = folder.join(path);
        let copy = || {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            hash_and_copy(&mut File::open(shelf.object(file.hash))?, &mut File::create_new(&target)?)
        };
        let copied = copy().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                FilesError::Damaged(format!("the content of {path:?} is not there any more"))
            }
            _ => FilesError::at(&target)(error),
        })?;
        if copied.0 != file.hash {
            return Err(FilesError::Damaged(format!("the content of {path:?} is not what it was")));
        }
    }
    Ok(())
}
