//! Makes backups: as a stream for a client, or of a folder that no server has open, straight into a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc;
use vivarium_api::{BackupStream, Backups};
use vivarium_domain::{AuditAction, AuditBy, TenantId};
use vivarium_store::{BackupPieces, Store, StoreError};

use crate::archive::{self, ArchiveError, Item, Manifest};
use crate::config::Config;
use crate::host::{StartError, blocking, open_store, secrets_key_place, workspaces};

/// What is sent at once.
const CHUNK: usize = 256 << 10;
/// How many chunks wait for the client.
const AHEAD: usize = 4;
/// For how long a client may take nothing. Meanwhile the store keeps what it would remove.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a backup of a data folder that no server has open, into a file that is not there yet.
///
/// # Errors
/// When the store does not open or does not read, or the file can not be written.
pub async fn back_up(config: &Config, to: &Path) -> Result<Manifest, StartError> {
    let store = open_store(&config.data).await?;
    note(&*store, &AuditBy::CLI).await?;
    let (pieces, schema) = (store.backup().await?, store.schema());
    let (workspaces, secrets_key, file) = (workspaces(config), secrets_key_place(config), Aside::new(to)?);
    blocking(move || Ok(file.fill(|to| archive::write(schema, secrets_key, pieces, &workspaces, to).map(|_| ()))?))
        .await
}

/// A file that gets its name when it holds a whole backup.
#[derive(Debug)]
pub struct Aside {
    aside: PathBuf,
    to: PathBuf,
    file: File,
}

impl Aside {
    /// For a file of this name, which must not be there.
    ///
    /// # Errors
    /// When it is there, or can not be made.
    pub fn new(to: &Path) -> Result<Self, StartError> {
        let refused = |reason: String| StartError::Backup { file: to.display().to_string(), reason };
        if to.exists() {
            return Err(refused("it is there already; a backup replaces nothing".to_owned()));
        }
        let mut name = to.file_name().map(ToOwned::to_owned).unwrap_or_default();
        name.push(".partial");
        let aside = to.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // Whoever reads it reads everything.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&aside).map_err(|error| refused(error.to_string()))?;
        Ok(Self { aside, to: to.to_owned(), file })
    }

    /// Has it written, reads it back, and gives it its name if it is a whole backup.
    ///
    /// # Errors
    /// When it can not be written, or is no whole backup. Then nothing is left of it.
    pub fn fill(
        self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), ArchiveError>,
    ) -> Result<Manifest, ArchiveError> {
        let mut buffered = BufWriter::new(&self.file);
        write(&mut buffered)?;
        let failed = || ArchiveError::io(self.aside.display().to_string());
        buffered.flush().and_then(|()| self.file.sync_all()).map_err(failed())?;
        let manifest = check(&self.aside)?;
        fs::rename(&self.aside, &self.to).map_err(failed())?;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())?;
        Ok(manifest)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After a whole one it is not there any more.
        let _ = fs::remove_file(&self.aside);
    }
}

/// Reads a whole backup and compares all sums.
fn check(file: &Path) -> Result<Manifest, ArchiveError> {
    let opened = File::open(file).map_err(ArchiveError::io(file.display().to_string()))?;
    archive::read(BufReader::with_capacity(CHUNK, opened), |item| match item {
        // It is summed up as it is read.
        Item::Blob(_, _, content) | Item::File(_, content) => {
            io::copy(content, &mut io::sink()).map(|_| ()).map_err(ArchiveError::io("the backup"))
        }
        Item::Head(_) | Item::Records(_) | Item::Folder(_) => Ok(()),
    })
}

/// Tells the audit log of a backup. It is told when one begins: whoever takes half of one has that half.
async fn note(store: &dyn Store, by: &AuditBy) -> Result<(), StoreError> {
    store.commit(&TenantId::operator(), by.did(AuditAction::BackupMade, "all tenants").into()).await
}

/// Backups of a running host, for whoever may ask for one over the API.
pub(crate) fn backups(config: &Config, store: &Arc<dyn Store>) -> Backups {
    let (store, workspaces, secrets_key) = (Arc::clone(store), workspaces(config), secrets_key_place(config));
    Arc::new(move |by| -> BoxFuture<'static, Result<BackupStream, StoreError>> {
        let (store, workspaces, secrets_key) = (Arc::clone(&store), workspaces.clone(), secrets_key.clone());
        async move {
            let pieces = store.backup().await?;
            note(&*store, &by).await?;
            Ok(streamed(store.schema(), secrets_key, pieces, workspaces))
        }
        .boxed()
    })
}

/// The backup, while it is made. One that fails breaks off: its reader sees that it has no end.
fn streamed(schema: u32, secrets_key: String, pieces: BackupPieces, workspaces: PathBuf) -> BackupStream {
    let (to, from) = mpsc::channel(AHEAD);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let chunks =
            BufWriter::with_capacity(CHUNK, Chunks { to: to.clone(), runtime: runtime.clone(), patience: PATIENCE });
        match archive::write(schema, secrets_key, pieces, &workspaces, chunks) {
            Ok(manifest) => {
                let bytes = manifest.records.bytes + manifest.blobs.bytes + manifest.workspaces.bytes;
                tracing::info!(bytes, "a backup was made");
            }
            Err(error) => {
                tracing::error!(%error, "a backup broke off");
                let told = to.send_timeout(Err(io::Error::other("the backup broke off")), PATIENCE);
                // Whoever has gone does not want to know.
                let _ = runtime.block_on(told);
            }
        }
    });
    stream::unfold(from, async |mut from| Some((from.recv().await?, from))).boxed()
}

/// Hands a stream what is written.
struct Chunks {
    to: mpsc::Sender<io::Result<Bytes>>,
    runtime: tokio::runtime::Handle,
    patience: Duration,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.to.send_timeout(Ok(Bytes::copy_from_slice(bytes)), self.patience);
        match self.runtime.block_on(sent) {
            Ok(()) => Ok(bytes.len()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(io::Error::other("the client has gone")),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                Err(io::Error::other(format!("the client has taken nothing for {} seconds", self.patience.as_secs())))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_or_has_gone_ends_the_backup() {
        let (to, mut from) = mpsc::channel(1);
        let runtime = tokio::runtime::Handle::current();
        let mut chunks = Chunks { to, runtime, patience: Duration::from_millis(20) };
        let write = tokio::task::spawn_blocking(move || {
            let refusals = [(); 3].map(|()| chunks.write(b"x").err().map(|error| error.to_string()));
            (chunks, refusals)
        });
        let (mut chunks, refusals) = write.await.unwrap();
        let told = "the client has taken nothing for 0 seconds".to_owned();
        assert_eq!(refusals, [None, Some(told.clone()), Some(told)]);
        assert!(from.recv().await.is_some());
        drop(from);
        let write = tokio::task::spawn_blocking(move || chunks.write(b"x").unwrap_err().to_string());
        assert_eq!(write.await.unwrap(), "the client has gone");
    }
}
