//! All of a session's files at once: out as one archive, and in from one.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use vivarium_domain::{SessionId, TenantId};
use vivarium_sandbox::FileQuota;

use crate::aside::Whole;
use crate::error::FilesError;
use crate::pack::pack;
use crate::swap;
use crate::tree::walk;
use crate::unpack::{ArchiveFormat, unpack};
use crate::workspaces::{Workspaces, blocking};

/// What becomes of the files that are there when an archive is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They go.
    Remove,
    /// Those that the archive has not stay.
    Keep,
}

impl Workspaces {
    /// A session's files as an archive: a file that nobody else finds, at its beginning.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn pack(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        format: ArchiveFormat,
    ) -> Result<File, FilesError> {
        let (folder, aside) = (self.path(tenant, session), self.aside.clone());
        blocking(move || pack(format, &folder, aside.nameless_file()?)).await
    }

    /// Unpacks an archive: all of it or nothing. Gives what the workspace holds then.
    ///
    /// # Errors
    /// [`FilesError::Archive`], [`FilesError::InUse`].
    pub async fn unpack(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
        archive: Whole,
        format: ArchiveFormat,
        existing: Existing,
    ) -> Result<FileQuota, FilesError> {
        let (workspaces, path) = (Arc::clone(self), self.path(tenant, session));
        blocking(move || {
            let new = workspaces.aside.folder()?;
            workspaces.alone(&path, |folder| {
                let used = match existing {
                    Existing::Remove => FileQuota::default(),
                    Existing::Keep => link_all(folder, new.path())?,
                };
                unpack(format, archive.place.path(), new.path(), used, quota)?;
                let holds = held(new.path())?;
                swap::replace(folder, new)?;
                Ok(holds)
            })
        })
        .await
    }
}

/// What a folder holds.
pub(crate) fn held(folder: &Path) -> Result<FileQuota, FilesError> {
    let found = walk(folder)?;
    let bytes = found.iter().filter(|found| !found.is_folder).map(|found| found.bytes);
    Ok(FileQuota { bytes: bytes.fold(0, u64::saturating_add), files: found.len() as u64 })
}

/// The same files in another folder: links, of which one is about to go.
fn link_all(from: &Path, to: &Path) -> Result<FileQuota, FilesError> {
    let found = walk(from)?;
    for one in &found {
        let (from, to) = (from.join(&one.path), to.join(&one.path));
        let made = if one.is_folder { fs::create_dir(&to) } else { fs::hard_link(&from, &to) };
        made.map_err(FilesError::at(&to))?;
    }
    let bytes = found.iter().filter(|found| !found.is_folder).map(|found| found.bytes);
    Ok(FileQuota { bytes: bytes.fold(0, u64::saturating_add), files: found.len() as u64 })
}
