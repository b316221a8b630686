//! Texts and files, each under the SHA-256 of its bytes, in folders and not in the tree store, which leaks large values.
//! A file is written aside, synced and renamed, so that one that is there is whole. Tenants share nothing, not even equal
//! bytes: otherwise one could tell from the time that a write takes what another has.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vivarium_domain::{ContentHash, TenantId};

use crate::StoreError;

/// For how long at least a blob that was put counts as about to be referred to.
const FRESH: Duration = Duration::from_secs(60);

/// What was put lately: in this span of time, and in the one before.
#[derive(Debug)]
struct Fresh {
    since: Instant,
    now: HashSet<(TenantId, ContentHash)>,
    before: HashSet<(TenantId, ContentHash)>,
}

impl Fresh {
    fn turn(&mut self) {
        let spans = self.since.elapsed().as_secs() / FRESH.as_secs();
        if spans > 0 {
            let now = std::mem::take(&mut self.now);
            self.before = if spans == 1 { now } else { HashSet::new() };
            self.since = Instant::now();
        }
    }
}

/// The folders. A clone is the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    blobs: PathBuf,
    incoming: PathBuf,
    next: Arc<AtomicU64>,
    fresh: Arc<Mutex<Fresh>>,
}

impl Blobs {
    /// The blobs of the store in `folder`; and how many files a crash left half-written, which are gone now.
    pub(crate) fn open(folder: &Path) -> Result<(Self, u64), StoreError> {
        let fresh = Fresh { since: Instant::now(), now: HashSet::new(), before: HashSet::new() };
        let blobs = Self {
            blobs: folder.join("blobs"),
            incoming: folder.join("incoming"),
            next: Arc::default(),
            fresh: Arc::new(Mutex::new(fresh)),
        };
        let swept = blobs.sweep().map_err(|error| unavailable(&blobs.incoming, &error))?;
        Ok((blobs, swept))
    }

    fn sweep(&self) -> io::Result<u64> {
        fs::create_dir_all(&self.blobs)?;
        fs::create_dir_all(&self.incoming)?;
        let mut swept = 0;
        for entry in fs::read_dir(&self.incoming)? {
            fs::remove_file(entry?.path())?;
            swept += 1;
        }
        Ok(swept)
    }

    fn path(&self, tenant: &TenantId, hash: ContentHash) -> (PathBuf, PathBuf) {
        let name = hash.to_string();
        // 256 folders per tenant: a folder with a million files is slow to list and to back up.
        let folder = self.blobs.join(tenant.as_str()).join(name.get(..2).unwrap_or_default());
        let file = folder.join(name);
        (folder, file)
    }

    /// Keeps bytes; blocks until they are on disk.
    pub(crate) fn put(&self, tenant: &TenantId, bytes: &Bytes) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(bytes);
        let (folder, file) = self.path(tenant, hash);
        {
            // Before looking whether it is there: from here on nobody removes it as loose.
            let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            fresh.turn();
            fresh.now.insert((tenant.clone(), hash));
        }
        // What is there and whole is not written again; what is damaged is replaced.
        if !matches!(self.get(tenant, hash), Ok(Some(_))) {
            self.write(&folder, &file, bytes).map_err(|error| unavailable(&file, &error))?;
        }
        // Also where another call has just renamed it: that one may not have come to this line yet.
        sync_folders(&folder, &self.blobs).map_err(|error| unavailable(&folder, &error))?;
        Ok(hash)
    }

    fn write(&self, folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = self.incoming.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let written = (|| {
            fs::create_dir_all(folder)?;
            let mut incoming = File::create(&aside)?;
            incoming.write_all(bytes)?;
            incoming.sync_all()?;
            fs::rename(&aside, file)
        })();
        if written.is_err() {
            // A full disk is not helped by leaving half a file; what can not be removed goes at the next start.
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// What is kept under a hash, checked against it.
    pub(crate) fn get(&self, tenant: &TenantId, hash: ContentHash) -> Result<Option<Bytes>, StoreError> {
        let (_, file) = self.path(tenant, hash);
        match fs::read(&file) {
            Ok(bytes) if ContentHash::of(&bytes) == hash => Ok(Some(bytes.into())),
            Ok(_) => Err(StoreError::Corrupt(format!("blob {hash} of tenant {tenant}: its bytes have another hash"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(&file, &error)),
        }
    }

    /// Removes what is kept under a hash.
    pub(crate) fn delete(&self, tenant: &TenantId, hash: ContentHash) -> Result<(), StoreError> {
        let (_, file) = self.path(tenant, hash);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(&file, &error)),
            _ => Ok(()),
        }
    }
}

impl Blobs {
    /// Removes those of these blobs that were not put lately. Gives those that are gone.
    pub(crate) fn delete_stale(
        &self,
        tenant: &TenantId,
        mut hashes: Vec<ContentHash>,
    ) -> Result<Vec<ContentHash>, StoreError> {
        let mut kept = Vec::new();
        for hash in &hashes {
            // Held while the file is removed: whoever puts it now finds it gone, and writes it.
            let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            fresh.turn();
            let place = (tenant.clone(), *hash);
            if fresh.now.contains(&place) || fresh.before.contains(&place) {
                kept.push(*hash);
            } else {
                self.delete(tenant, *hash)?;
            }
        }
        hashes.retain(|hash| !kept.contains(hash));
        Ok(hashes)
    }
}

/// Makes the names from `folder` up to `top` durable.
fn sync_folders(folder: &Path, top: &Path) -> io::Result<()> {
    for folder in folder.ancestors() {
        sync_folder(folder)?;
        if folder == top {
            break;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
