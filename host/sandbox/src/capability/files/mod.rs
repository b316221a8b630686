//! `wasi:filesystem` over the workspace of the session that a call works in.
//!
//! wasmtime's implementation keeps a guest in its folder: it resolves each path against a handle of the folder, and neither
//! `..`, nor an absolute path, nor a symbolic link, nor a rename leads out of it. What it lacks is a quota; so whatever
//! makes a file or makes one grow goes through the [`Workspace`], and the rest is handed on. Links of both kinds are
//! refused: a hard link would count twice, and nothing that works in a folder of its own needs a symbolic one.
//!
//! The folder is shown under two names, `/` and `/workspace`. The C library of WASI, and with it std of Rust, Python and
//! the others, looks for the preopened folder with the longest name that a path begins with, and takes a path without a
//! folder for one of `/`: so `notes.txt`, `/notes.txt` and `/workspace/notes.txt` are the same file, and a program that
//! knows nothing of workspaces works in its own. A guest that is given no files has no preopened folder at all, and every
//! path of it fails.

mod alone;
mod stream;
#[cfg(test)]
mod tests;
mod workspace;

use std::fs::File;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use vivarium_domain::{FileAccess, Manifest};
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, HostDescriptor,
    HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult, ReaddirIterator};

pub use self::alone::Alone;
use self::stream::WorkspaceStream;
use self::workspace::Place;
pub use self::workspace::{FileQuota, GrowError, Workspace, WorkspaceError};
use crate::capability::Grant;
use crate::capability::denial::Denials;
use crate::capability::programs::Change;
use crate::guest::{Guest, Role, Setting};
use crate::program::Mount;

/// The names of the folder.
const NAMES: [&str; 2] = ["/", "/workspace"];

/// Takes the place of wasmtime's own implementation.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<_, wasmtime::component::HasSelf<Guest>>(linker, |guest| guest)?;
    preopens::add_to_linker::<_, wasmtime::component::HasSelf<Guest>>(linker, |guest| guest)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl From<GrowError> for FsError {
    fn from(error: GrowError) -> Self {
        code_of(&error).into()
    }
}

fn code_of(error: &GrowError) -> ErrorCode {
    match error {
        GrowError::Bytes(_) | GrowError::Files(_) => ErrorCode::Quota,
        GrowError::Io(error) => error.into(),
    }
}

/// A full quota has no place for a sentence but here.
fn note_if_full(denials: &Denials, error: &GrowError) {
    if matches!(error, GrowError::Bytes(_) | GrowError::Files(_)) {
        denials.note("files", error.to_string());
    }
}

/// Which folders a guest is shown that asks for them.
#[derive(Clone)]
pub(crate) struct FilesShown(Option<(Weak<Workspace>, FileAccess)>);

impl FilesShown {
    /// Those of a call in this setting.
    pub(crate) fn of(manifest: &Manifest, setting: &Setting) -> Self {
        let access = access(manifest, &setting.grant);
        Self(setting.workspace.as_ref().map(Arc::downgrade).zip(access))
    }
}

impl PartialEq for FilesShown {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some((one, access)), Some((another, other))) => one.ptr_eq(another) && access == other,
            (None, None) => true,
            _ => false,
        }
    }
}

/// What a plugin may do with files: what its manifest asks for and its grant allows.
fn access(manifest: &Manifest, grant: &Grant) -> Option<FileAccess> {
    Some(manifest.requests.files?.min(grant.files?))
}

impl Guest {
    pub(crate) fn file_access(&self) -> Option<FileAccess> {
        access(&self.manifest, &self.grant)
    }

    /// The workspace, for a change of it.
    fn changing(&mut self) -> FsResult<Arc<Workspace>> {
        self.count_host_call().map_err(FsError::trap)?;
        let Some(workspace) = self.workspace.clone() else { return Err(ErrorCode::NotPermitted.into()) };
        if self.file_access() == Some(FileAccess::Write) {
            return Ok(workspace);
        }
        let message = if self.manifest.requests.files == Some(FileAccess::Write) {
            "writing files is not granted to this plugin; a grant of `files: \"write\"` would allow it"
        } else {
            "the plugin's manifest asks to read files only; set requests.files to \"write\" and install a new version"
        };
        self.denials.note("files", message.to_owned());
        Err(ErrorCode::ReadOnly.into())
    }

    fn reading(&mut self) -> FsResult<()> {
        self.count_host_call().map_err(FsError::trap)
    }

    /// The folders that a program sees besides the workspace.
    fn show_mounts(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let Role::Program(setting) = &self.role else { return Ok(Vec::new()) };
        let mounts = Arc::clone(&setting.mounts);
        let table = self.ctx().table;
        let show = |mount: &Mount| Ok((table.push(Descriptor::Dir(mount.folder.clone()))?, mount.name.clone()));
        mounts.iter().map(show).collect()
    }

    /// Notes that a program has changed what stands under this path, where it is one from the workspace's root.
    fn note_change(&mut self, folder: &Resource<Descriptor>, path: &str, change: Change) {
        let Some(workspace) = self.workspace.clone().filter(|_| matches!(self.role, Role::Program(_))) else { return };
        if self.is_root(&workspace, folder)
            && let Role::Program(setting) = &mut self.role
        {
            setting.changes.note(path, change);
        }
    }

    fn is_root(&mut self, workspace: &Workspace, folder: &Resource<Descriptor>) -> bool {
        matches!(self.ctx().table.get(folder), Ok(Descriptor::Dir(at)) if workspace.is_root(at))
    }

    fn file(&mut self, descriptor: &Resource<Descriptor>) -> FsResult<Arc<File>> {
        match self.ctx().table.get(descriptor)? {
            Descriptor::File(file) => Ok(Arc::clone(&file.file)),
            Descriptor::Dir(_) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    fn grown<T>(&self, result: Result<T, GrowError>) -> FsResult<T> {
        result.map_err(|error| {
            note_if_full(&self.denials, &error);
            error.into()
        })
    }

    fn output(&mut self, descriptor: &Resource<Descriptor>, place: Place) -> FsResult<Resource<DynOutputStream>> {
        let (workspace, denials) = (self.changing()?, self.denials.clone());
        let file = self.file(descriptor)?;
        let stream: DynOutputStream = Box::new(WorkspaceStream::new(workspace, file, place, denials));
        Ok(self.ctx().table.push(stream)?)
    }

    /// Opens what is there, or, with the right to, makes it.
    async fn open(&mut self, workspace: &Arc<Workspace>, wish: Wish) -> FsResult<Resource<Descriptor>> {
        let is_to_change = wish.is_to_change();
        let Wish { folder, path_flags, path, open, descriptor } = wish;
        let mut change = workspace.change().await;
        let makes = open.contains(OpenFlags::CREATE) && !self.exists(&folder, path_flags, &path).await;
        if makes {
            let more = change.one_more().await;
            change = self.grown(more)?;
        }
        let opened = if change.may_open() {
            let (borrowed, name) = (Resource::new_borrow(folder.rep()), path.clone());
            self.filesystem().open_at(borrowed, path_flags, name, open, descriptor).await
        } else {
            Err(ErrorCode::Busy.into())
        };
        match &opened {
            Ok(opened) => {
                if open.contains(OpenFlags::TRUNCATE) {
                    change.shrunk();
                }
                if is_to_change {
                    self.note_change(&folder, &path, if makes { Change::Made } else { Change::Written });
                }
                change.opened(match self.ctx().table.get(opened)? {
                    Descriptor::File(file) => &file.file,
                    Descriptor::Dir(folder) => &folder.dir,
                });
            }
            Err(_) if makes => change.give_back(),
            Err(_) => {}
        }
        opened
    }

    async fn exists(&mut self, folder: &Resource<Descriptor>, flags: PathFlags, path: &str) -> bool {
        let folder = Resource::new_borrow(folder.rep());
        self.filesystem().stat_at(folder, flags, path.to_owned()).await.is_ok()
    }
}

/// What `open-at` is asked for.
struct Wish {
    folder: Resource<Descriptor>,
    path_flags: PathFlags,
    path: String,
    open: OpenFlags,
    descriptor: DescriptorFlags,
}

impl Wish {
    fn is_to_change(&self) -> bool {
        self.open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
            || self.descriptor.contains(DescriptorFlags::WRITE)
    }
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.count_host_call()?;
        let access = self.file_access();
        self.files_shown = Some(FilesShown(self.workspace.as_ref().map(Arc::downgrade).zip(access)));
        let mut shown = self.show_mounts()?;
        let Some(access) = access else {
            // std asks always; only who says that it needs files has missed them.
            if self.manifest.requests.files.is_some() {
                let message =
                    "files are not granted to this plugin; a grant of `files: \"read\"` or `\"write\"` would allow it";
                self.denials.note("files", message.to_owned());
            }
            return Ok(shown);
        };
        let Some(workspace) = self.workspace.clone() else { return Ok(shown) };
        let may_write = access == FileAccess::Write;
        let table = self.ctx().table;
        for name in NAMES {
            shown.push((table.push(Descriptor::Dir(workspace.root(may_write)))?, name.to_owned()));
        }
        Ok(shown)
    }
}

impl types::Host for Guest {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        if let Some(error) = self.ctx().table.get(&error)?.downcast_ref::<GrowError>() {
            return Ok(Some(code_of(error)));
        }
        self.filesystem().filesystem_error_code(error)
    }
}

impl HostDescriptor for Guest {
    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynInputStream>> {
        self.reading()?;
        self.filesystem().read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.output(&fd, Place::At(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        self.output(&fd, Place::End)
    }

    async fn advise(&mut self, fd: Resource<Descriptor>, offset: u64, len: u64, advice: Advice) -> FsResult<()> {
        self.reading()?;
        self.filesystem().advise(fd, offset, len, advice).await
    }

    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.reading()?;
        self.filesystem().sync_data(fd).await
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.reading()?;
        self.filesystem().get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        self.reading()?;
        self.filesystem().get_type(fd).await
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: u64) -> FsResult<()> {
        let workspace = self.changing()?;
        let file = self.file(&fd)?;
        let set = workspace.set_size(file, size).await;
        self.grown(set)
    }

    async fn set_times(&mut self, fd: Resource<Descriptor>, read: NewTimestamp, written: NewTimestamp) -> FsResult<()> {
        self.changing()?;
        self.filesystem().set_times(fd, read, written).await
    }

    async fn read(&mut self, fd: Resource<Descriptor>, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        self.reading()?;
        self.filesystem().read(fd, length, offset).await
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let workspace = self.changing()?;
        let file = self.file(&fd)?;
        let written = workspace.write(file, Place::At(offset), Bytes::from(bytes)).await;
        Ok(self.grown(written)? as u64)
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<ReaddirIterator>> {
        let _span = self.span("files.read_directory");
        self.reading()?;
        self.filesystem().read_directory(fd).await
    }

    async fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.reading()?;
        self.filesystem().sync(fd).await
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let _span = self.span("files.create_directory");
        let workspace = self.changing()?;
        let change = workspace.change().await.one_more().await;
        let change = self.grown(change)?;
        let made = self.filesystem().create_directory_at(Resource::new_borrow(fd.rep()), path.clone()).await;
        match made {
            Ok(()) => self.note_change(&fd, &path, Change::Made),
            Err(_) => change.give_back(),
        }
        made
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.reading()?;
        self.filesystem().stat(fd).await
    }

    async fn stat_at(&mut self, fd: Resource<Descriptor>, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        self.reading()?;
        self.filesystem().stat_at(fd, flags, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        read: NewTimestamp,
        written: NewTimestamp,
    ) -> FsResult<()> {
        self.changing()?;
        self.filesystem().set_times_at(fd, flags, path, read, written).await
    }

    async fn link_at(
        &mut self,
        _fd: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
        _new_fd: Resource<Descriptor>,
        _new_path: String,
    ) -> FsResult<()> {
        self.reading()?;
        Err(ErrorCode::NotPermitted.into())
    }

    async fn open_at(
        &mut self,
        folder: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open: OpenFlags,
        descriptor: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let _span = self.span("files.open");
        let wish = Wish { folder, path_flags, path, open, descriptor };
        let workspace = if wish.is_to_change() {
            self.changing()?
        } else {
            self.reading()?;
            let Some(workspace) = self.workspace.clone() else {
                // All folders that can be there without a workspace are mounts.
                let Wish { folder, path_flags, path, open, descriptor } = wish;
                return self.filesystem().open_at(folder, path_flags, path, open, descriptor).await;
            };
            workspace
        };
        self.open(&workspace, wish).await
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        self.reading()?;
        self.filesystem().readlink_at(fd, path).await
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let _span = self.span("files.remove_directory");
        let mut change = self.changing()?.change().await;
        change.shrunk();
        self.filesystem().remove_directory_at(Resource::new_borrow(fd.rep()), path.clone()).await?;
        self.note_change(&fd, &path, Change::Gone);
        Ok(())
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let _span = self.span("files.rename");
        let workspace = self.changing()?;
        let mut change = workspace.change().await;
        // Something may have stood in its new place.
        change.shrunk();
        let there = (Resource::new_borrow(new_fd.rep()), new_path.clone());
        let is_new = !self.exists(&new_fd, PathFlags::empty(), &new_path).await;
        self.filesystem().rename_at(Resource::new_borrow(fd.rep()), path.clone(), there.0, there.1).await?;
        // A program's folders are all named from the workspace's root on, as its C library has no others.
        if self.is_root(&workspace, &fd)
            && self.is_root(&workspace, &new_fd)
            && let Role::Program(setting) = &mut self.role
        {
            setting.changes.note_move(&path, &new_path, if is_new { Change::Made } else { Change::Written });
        }
        Ok(())
    }

    async fn symlink_at(&mut self, _fd: Resource<Descriptor>, _path: String, _new_path: String) -> FsResult<()> {
        self.reading()?;
        Err(ErrorCode::NotPermitted.into())
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let _span = self.span("files.unlink");
        let mut change = self.changing()?.change().await;
        change.shrunk();
        self.filesystem().unlink_file_at(Resource::new_borrow(fd.rep()), path.clone()).await?;
        self.note_change(&fd, &path, Change::Gone);
        Ok(())
    }

    async fn is_same_object(&mut self, a: Resource<Descriptor>, b: Resource<Descriptor>) -> wasmtime::Result<bool> {
        self.count_host_call()?;
        self.filesystem().is_same_object(a, b).await
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.reading()?;
        self.filesystem().metadata_hash(fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.reading()?;
        self.filesystem().metadata_hash_at(fd, flags, path).await
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.filesystem(), fd)
    }
}

impl HostDirectoryEntryStream for Guest {
    async fn read_directory_entry(&mut self, stream: Resource<ReaddirIterator>) -> FsResult<Option<DirectoryEntry>> {
        self.filesystem().read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<ReaddirIterator>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.filesystem(), stream)
    }
}
