//! Texts and files, each under the SHA-256 of its bytes, in folders and not in the tree store, which leaks large values.
//! A file is written aside, synced and renamed, so that one that is there is whole. Tenants share nothing, not even equal
//! bytes: otherwise one could tell from the time that a write takes what another has.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, ReadDir};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vivarium_domain::{ContentHash, TenantId};

use crate::StoreError;
use crate::table::split_tenant;

/// For how long at least a blob that was put is waited for to be referred to.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a blob was put that nothing refers to yet, by tenant and hash: it must not be removed as loose. In this span
/// of time and in the one before; what was put earlier is given up.
#[derive(Debug)]
struct Fresh {
    since: Instant,
    spans: [HashMap<(TenantId, ContentHash), u32>; 2],
    /// While a backup is made: what is to be removed when it is done.
    put_off: Option<HashSet<(TenantId, ContentHash)>>,
}

impl Fresh {
    fn now(&mut self) -> &mut [HashMap<(TenantId, ContentHash), u32>; 2] {
        if self.since.elapsed() >= PATIENCE {
            let [now, before] = &mut self.spans;
            *before = std::mem::take(now);
            // After a long quiet, what has become of the one before is too old as well.
            if self.since.elapsed() >= 2 * PATIENCE {
                before.clear();
            }
            self.since = Instant::now();
        }
        &mut self.spans
    }

    fn put(&mut self, place: (TenantId, ContentHash)) {
        if let Some(put_off) = &mut self.put_off {
            put_off.remove(&place);
        }
        let [now, _] = self.now();
        *now.entry(place).or_default() += 1;
    }

    fn referred(&mut self, place: &(TenantId, ContentHash)) {
        for span in self.now().iter_mut().rev() {
            if let Some(times) = span.get_mut(place) {
                *times = times.saturating_sub(1);
                if *times == 0 {
                    span.remove(place);
                }
                return;
            }
        }
    }

    fn awaits(&mut self, place: &(TenantId, ContentHash)) -> bool {
        self.now().iter().any(|span| span.contains_key(place))
    }
}

/// The folders. A clone is the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    blobs: PathBuf,
    incoming: PathBuf,
    next: Arc<AtomicU64>,
    fresh: Arc<Mutex<Fresh>>,
    /// How many bytes are kept of each tenant that somebody has asked about.
    sizes: Arc<Mutex<HashMap<TenantId, u64>>>,
    /// A backup is done, and what was put off is removed.
    released: Arc<Condvar>,
    /// Tenants for which nothing is kept any more: they are being removed. Read while something is being kept.
    closed: Arc<RwLock<HashSet<TenantId>>>,
}

impl Blobs {
    /// The blobs of the store in `folder`; and how many files a crash left half-written, which are gone now.
    pub(crate) fn open(folder: &Path) -> Result<(Self, u64), StoreError> {
        let fresh = Fresh { since: Instant::now(), spans: Default::default(), put_off: None };
        let blobs = Self {
            blobs: folder.join("blobs"),
            incoming: folder.join("incoming"),
            next: Arc::default(),
            fresh: Arc::new(Mutex::new(fresh)),
            sizes: Arc::default(),
            released: Arc::default(),
            closed: Arc::default(),
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
        blob_path(&self.blobs, tenant, hash)
    }

    /// Keeps bytes, within `most` of the tenant's together; blocks until they are on disk.
    pub(crate) fn put(&self, tenant: &TenantId, bytes: &Bytes, most: Option<u64>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(bytes);
        let (folder, file) = self.path(tenant, hash);
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if closed.contains(tenant) {
            return Err(StoreError::Refused(format!("the tenant {tenant} is being removed")));
        }
        // Before looking whether it is there: from here on nobody removes it as loose.
        self.fresh().put((tenant.clone(), hash));
        // What is there and whole is not written again; what is damaged is replaced.
        if !matches!(self.get(tenant, hash), Ok(Some(_))) {
            let wanted = bytes.len() as u64;
            self.make_room(tenant, wanted, most)?;
            if let Err(error) = self.write(&folder, &file, bytes) {
                self.gone(tenant, wanted);
                return Err(unavailable(&file, &error));
            }
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

    fn sizes(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes are kept of a tenant.
    pub(crate) fn stored(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        self.size_of(&mut self.sizes(), tenant).copied()
    }

    /// Counted once, under the lock: what is written meanwhile waits, and is not counted twice.
    fn size_of<'a>(&self, sizes: &'a mut HashMap<TenantId, u64>, tenant: &TenantId) -> Result<&'a mut u64, StoreError> {
        if !sizes.contains_key(tenant) {
            let folder = self.blobs.join(tenant.as_str());
            let size = size_of(&folder).map_err(|error| unavailable(&folder, &error))?;
            sizes.insert(tenant.clone(), size);
        }
        Ok(sizes.entry(tenant.clone()).or_default())
    }

    /// Counts what is about to be written, if it fits.
    fn make_room(&self, tenant: &TenantId, wanted: u64, most: Option<u64>) -> Result<(), StoreError> {
        let mut sizes = self.sizes();
        if most.is_none() && !sizes.contains_key(tenant) {
            // It is counted when somebody wants to know.
            return Ok(());
        }
        let used = self.size_of(&mut sizes, tenant)?;
        match most {
            Some(most) if used.saturating_add(wanted) > most => Err(StoreError::Full { most, used: *used, wanted }),
            _ => {
                *used = used.saturating_add(wanted);
                Ok(())
            }
        }
    }

    /// So many bytes of a tenant are not there any more.
    fn gone(&self, tenant: &TenantId, bytes: u64) {
        if let Some(size) = self.sizes().get_mut(tenant) {
            *size = size.saturating_sub(bytes);
        }
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

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are referred to now, by readable records with these keys of [`Table::BlobUses`](crate::table::Table).
    pub(crate) fn referred(&self, uses: &[Bytes]) {
        if uses.is_empty() {
            return;
        }
        let mut fresh = self.fresh();
        for key in uses {
            let place = split_tenant(key)
                .and_then(|(tenant, rest)| Some((tenant, ContentHash::from(*rest.first_chunk::<32>()?))));
            place.iter().for_each(|place| fresh.referred(place));
        }
    }

    /// Removes a loose blob, unless somebody has put it lately and not referred to it yet. Says whether that can be told:
    /// it is gone, or it is used.
    pub(crate) fn delete_loose(
        &self,
        tenant: &TenantId,
        hash: ContentHash,
        is_used: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        // Held until the file is removed: whoever puts it from here on finds it gone, and writes it. And what was referred
        // to while we waited for the lock is readable by now.
        let mut fresh = self.fresh();
        // A backup may want it, and the note of it stays.
        if fresh.put_off.is_some() || fresh.awaits(&(tenant.clone(), hash)) {
            return Ok(false);
        }
        if !is_used()? {
            self.remove(tenant, hash)?;
        }
        drop(fresh);
        Ok(true)
    }

    /// Keeps nothing for a tenant any more. When this returns, nothing is being kept for it.
    pub(crate) fn close(&self, tenant: &TenantId) {
        self.closed.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
    }

    /// Keeps things for a tenant of this id again.
    pub(crate) fn open_again(&self, tenant: &TenantId) {
        self.closed.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Removes everything of a tenant that was closed; waits for a backup that is being made, which may want it.
    pub(crate) fn remove_tenant(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let released = self.released.wait_while(self.fresh(), |fresh| fresh.put_off.is_some());
        // One that begins from here on begins with nothing left that refers to any of it.
        drop(released.unwrap_or_else(PoisonError::into_inner));
        self.sizes().remove(tenant);
        let folder = self.blobs.join(tenant.as_str());
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unavailable(&folder, &error)),
            _ => {}
        }
        sync_folder(&self.blobs).map_err(|error| unavailable(&self.blobs, &error))
    }

    /// Removes what is kept under a hash; while a backup is made, when that is done.
    pub(crate) fn delete(&self, tenant: &TenantId, hash: ContentHash) -> Result<(), StoreError> {
        if let Some(put_off) = &mut self.fresh().put_off {
            put_off.insert((tenant.clone(), hash));
            return Ok(());
        }
        self.remove(tenant, hash)
    }

    fn remove(&self, tenant: &TenantId, hash: ContentHash) -> Result<(), StoreError> {
        let (_, file) = self.path(tenant, hash);
        let length = fs::metadata(&file).map_or(0, |found| found.len());
        match fs::remove_file(&file) {
            Ok(()) => {
                self.gone(tenant, length);
                Ok(())
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(&file, &error)),
            Err(_) => Ok(()),
        }
    }

    /// Keeps all blobs where they are until the answer is dropped. What a crash keeps from being removed then stays.
    pub(crate) fn hold(&self) -> Holding {
        self.fresh().put_off.get_or_insert_default();
        Holding(self.clone())
    }

    /// A file for the meantime, which nobody else finds.
    pub(crate) fn nameless_file(&self) -> Result<File, StoreError> {
        let aside = self.incoming.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&aside);
        let file = made.map_err(|error| unavailable(&aside, &error))?;
        fs::remove_file(&aside).map_err(|error| unavailable(&aside, &error))?;
        Ok(file)
    }

    /// All that are there now, one by one.
    pub(crate) fn listing(&self) -> Listing {
        Listing { top: self.blobs.clone(), open: Vec::new(), begun: false }
    }
}

/// While it is there, no blob is removed.
pub(crate) struct Holding(Blobs);

impl Drop for Holding {
    fn drop(&mut self) {
        let mut fresh = self.0.fresh();
        // Under the lock, as ever: whoever puts one of them again finds it gone, and writes it.
        for (tenant, hash) in fresh.put_off.take().unwrap_or_default() {
            if let Err(error) = self.0.remove(&tenant, hash) {
                tracing::warn!(%error, "a blob that nobody needs any more is still there");
            }
        }
        drop(fresh);
        self.0.released.notify_all();
    }
}

/// Walks over the folders. Gives each blob's tenant, hash and file, by no order; what is no blob is passed over, and so is
/// what has gone meanwhile.
pub(crate) struct Listing {
    top: PathBuf,
    open: Vec<ReadDir>,
    begun: bool,
}

impl Listing {
    fn step(&mut self) -> io::Result<Option<(TenantId, ContentHash, File)>> {
        if !self.begun {
            self.begun = true;
            self.enter(&self.top.clone())?;
        }
        while let Some(folder) = self.open.last_mut() {
            let Some(entry) = folder.next().transpose()? else {
                self.open.pop();
                continue;
            };
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.enter(&path)?;
            } else if let Some((tenant, hash)) = blob_at(&self.top, &path) {
                match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    opened => return Ok(Some((tenant, hash, opened?))),
                }
            }
        }
        Ok(None)
    }

    fn enter(&mut self, folder: &Path) -> io::Result<()> {
        match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => self.open.push(opened?),
        }
        Ok(())
    }
}

impl Iterator for Listing {
    type Item = Result<(TenantId, ContentHash, File), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map_err(|error| unavailable(&self.top, &error)).transpose()
    }
}

/// How many bytes the files below a folder have; a folder that is not there has none.
fn size_of(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut sum = 0_u64;
    for entry in entries {
        let entry = entry?;
        let size = match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path())?,
            Ok(found) => found.len(),
            // Somebody was faster and has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        sum = sum.saturating_add(size);
    }
    Ok(sum)
}

/// The folder and the file of a blob.
pub(crate) fn blob_path(blobs: &Path, tenant: &TenantId, hash: ContentHash) -> (PathBuf, PathBuf) {
    let name = hash.to_string();
    // 256 folders per tenant: a folder with a million files is slow to list and to back up.
    let folder = blobs.join(tenant.as_str()).join(name.get(..2).unwrap_or_default());
    let file = folder.join(name);
    (folder, file)
}

/// The blob whose file this is.
fn blob_at(blobs: &Path, path: &Path) -> Option<(TenantId, ContentHash)> {
    let mut names = path.strip_prefix(blobs).ok()?.iter().map(|name| name.to_str());
    let tenant: TenantId = names.next()??.parse().ok()?;
    let hash: ContentHash = names.nth(1)??.parse().ok()?;
    (blob_path(blobs, &tenant, hash).1 == path).then_some((tenant, hash))
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
