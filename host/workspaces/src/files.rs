//! Single files: listed, read, written, removed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use vivarium_domain::{ContentHash, SessionId, TenantId, Timestamp, WorkspaceFile};
use vivarium_sandbox::FileQuota;

use crate::aside::Whole;
use crate::error::FilesError;
use crate::path::FilePath;
use crate::tree::{hash_and_copy, hash_file, modified, walk};
use crate::workspaces::{Workspaces, blocking};

/// What a client takes a file for before it changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever it is, and whether it is there or not.
    #[default]
    Anything,
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It is there with this content.
    Content(ContentHash),
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// What it is.
    pub file: WorkspaceFile,
    /// Its content, from the beginning.
    pub content: File,
}

/// A page of files, and the path behind which the next page begins.
pub type FilesPage = (Vec<WorkspaceFile>, Option<String>);

impl Workspaces {
    /// Files whose paths begin with `prefix`, by path, those behind `after`, at most `limit`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn list(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<FilesPage, FilesError> {
        let folder = self.path(tenant, session);
        blocking(move || {
            let (mut page, mut next) = (Vec::new(), None);
            let is_listed = |path: &str| path.starts_with(&prefix) && after.as_deref().is_none_or(|after| path > after);
            for found in walk(&folder)?.into_iter().filter(|found| !found.is_folder && is_listed(&found.path)) {
                if page.len() == limit {
                    next = page.last().map(|last: &WorkspaceFile| last.path.clone());
                    break;
                }
                // One that went meanwhile is not listed.
                let Ok((hash, bytes)) = hash_file(&folder.join(&found.path)) else { continue };
                page.push(WorkspaceFile { path: found.path, bytes, hash, modified_at: found.modified_at });
            }
            Ok((page, next))
        })
        .await
    }

    /// Opens a file to be read.
    ///
    /// # Errors
    /// [`FilesError::NoSuchFile`], [`FilesError::WrongKind`].
    pub async fn read(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        path: FilePath,
    ) -> Result<OpenFile, FilesError> {
        let folder = self.path(tenant, session);
        blocking(move || {
            let Standing::File(_) = standing(&folder, &path)? else {
                return Err(FilesError::NoSuchFile(path.to_string()));
            };
            let failed = || FilesError::at(&folder);
            let mut content = File::open(folder.join(path.as_str())).map_err(failed())?;
            let modified_at = modified(&content.metadata().map_err(failed())?);
            let (hash, bytes) = hash_and_copy(&mut content, &mut io::sink()).map_err(failed())?;
            io::Seek::rewind(&mut content).map_err(failed())?;
            let file = WorkspaceFile { path: path.as_str().to_owned(), bytes, hash, modified_at };
            Ok(OpenFile { file, content })
        })
        .await
    }

    /// Puts a file in its place, over what stands there. Gives what it is now, and whether it is new.
    ///
    /// # Errors
    /// [`FilesError::Changed`], [`FilesError::WrongKind`], [`FilesError::Full`].
    pub async fn write(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
        path: FilePath,
        body: Whole,
        expected: Expected,
    ) -> Result<(WorkspaceFile, bool), FilesError> {
        let workspace = self.opened(tenant, session, quota).await?;
        let mut alone = workspace.alone().await;
        blocking(move || {
            let folder = alone.folder().to_owned();
            let standing = standing(&folder, &path)?;
            check(&folder, &path, &standing, expected)?;
            let before = if let Standing::File(bytes) = standing { Some(bytes) } else { None };
            let missing = path.folders().filter(|above| !folder.join(above).exists()).count() as u64;
            let more = FileQuota {
                bytes: body.bytes.saturating_sub(before.unwrap_or(0)),
                files: missing + u64::from(before.is_none()),
            };
            alone.make_room(more)?;
            // Also where it comes to nothing below.
            alone.shrunk();
            let (hash, bytes) = hash_file(body.place.path()).map_err(FilesError::at(&folder))?;
            let target = folder.join(path.as_str());
            let put = || {
                let parent = target.parent().unwrap_or(&folder);
                fs::create_dir_all(parent)?;
                fs::rename(body.place.path(), &target)?;
                sync_up(parent, &folder)
            };
            put().map_err(FilesError::at(&target))?;
            let file = WorkspaceFile { path: path.as_str().to_owned(), bytes, hash, modified_at: Timestamp::now() };
            Ok((file, before.is_none()))
        })
        .await
    }

    /// Removes a file, and the folders above it that are empty then.
    ///
    /// # Errors
    /// [`FilesError::NoSuchFile`], [`FilesError::Changed`].
    pub async fn remove(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
        path: FilePath,
        expected: Expected,
    ) -> Result<(), FilesError> {
        if !self.path(tenant, session).exists() {
            return Err(FilesError::NoSuchFile(path.to_string()));
        }
        let workspace = self.opened(tenant, session, quota).await?;
        let mut alone = workspace.alone().await;
        blocking(move || {
            let folder = alone.folder().to_owned();
            let standing = standing(&folder, &path)?;
            let Standing::File(_) = standing else { return Err(FilesError::NoSuchFile(path.to_string())) };
            check(&folder, &path, &standing, expected)?;
            let target = folder.join(path.as_str());
            fs::remove_file(&target).map_err(FilesError::at(&target))?;
            alone.shrunk();
            for above in path.folders().collect::<Vec<_>>().into_iter().rev() {
                // One that is not empty stays.
                if fs::remove_dir(folder.join(above)).is_err() {
                    break;
                }
            }
            sync_up(&folder, &folder).map_err(FilesError::at(&folder))
        })
        .await
    }

    /// The workspace, opened on a thread for it.
    pub(crate) async fn opened(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
    ) -> Result<Arc<vivarium_sandbox::Workspace>, FilesError> {
        let (workspaces, tenant, session) = (Arc::clone(self), tenant.clone(), session.clone());
        blocking(move || workspaces.open(&tenant, &session, quota)).await
    }
}

/// What stands at a path.
enum Standing {
    Nothing,
    /// A file of so many bytes.
    File(u64),
}

/// What stands at a path, where a file may stand there. No step on the way is a link.
fn standing(folder: &Path, path: &FilePath) -> Result<Standing, FilesError> {
    for above in path.folders() {
        match fs::symlink_metadata(folder.join(above)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::Nothing),
            found if found.as_ref().is_ok_and(fs::Metadata::is_dir) => {}
            _ => return Err(FilesError::WrongKind(format!("{above:?} is a file, so nothing can be below it"))),
        }
    }
    match fs::symlink_metadata(folder.join(path.as_str())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Standing::Nothing),
        Err(error) => Err(FilesError::at(folder)(error)),
        Ok(found) if found.is_file() => Ok(Standing::File(found.len())),
        Ok(_) => Err(FilesError::WrongKind(format!("{:?} is a folder and no file", path.as_str()))),
    }
}

fn check(folder: &Path, path: &FilePath, standing: &Standing, expected: Expected) -> Result<(), FilesError> {
    let is_there = matches!(standing, Standing::File(_));
    if expected == Expected::Anything || (expected == Expected::Absent && !is_there) {
        return Ok(());
    }
    let now = match is_there {
        true => Some(hash_file(&folder.join(path.as_str())).map_err(FilesError::at(folder))?.0),
        false => None,
    };
    let fits = match expected {
        Expected::Anything => true,
        Expected::Absent => false,
        Expected::Present => now.is_some(),
        Expected::Content(hash) => now == Some(hash),
    };
    if fits { Ok(()) } else { Err(FilesError::Changed { path: path.to_string(), now }) }
}

/// Makes the names from `folder` up to `top` durable.
fn sync_up(folder: &Path, top: &Path) -> io::Result<()> {
    for folder in folder.ancestors() {
        File::open(folder)?.sync_all()?;
        if folder == top {
            break;
        }
    }
    Ok(())
}
