//! Reads a backup, and believes none of it before its sums are right.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};
use vivarium_domain::{ContentHash, TenantId};

use super::{ArchiveError, BLOBS, FORMAT, HEAD, Head, MANIFEST, Manifest, RECORDS, SUM, Sum, WORKSPACES};

/// The largest head, manifest or piece of records: far more than any has.
const LARGEST: u64 = 256 << 20;

/// What is found in a backup, in order.
pub(crate) enum Item<'a> {
    /// What it is of.
    Head(&'a Head),
    /// Some records of the store.
    Records(Bytes),
    /// A blob.
    Blob(TenantId, ContentHash, &'a mut dyn Read),
    /// A folder of the workspaces, below their own folder.
    Folder(&'a Path),
    /// A file of the workspaces.
    File(&'a Path, &'a mut dyn Read),
}

/// Which part an entry belongs to.
enum Place {
    Records,
    Blob(TenantId, ContentHash),
    Workspace(PathBuf),
    Manifest,
    Sum,
}

/// Reads all of it. What `take` was given counts only if this gives the manifest: until then it may be anything.
pub(crate) fn read(
    from: impl Read,
    mut take: impl FnMut(Item<'_>) -> Result<(), ArchiveError>,
) -> Result<Manifest, ArchiveError> {
    let mut archive = Archive::new(from);
    let mut entries = archive.entries().map_err(not_a_tar)?;
    let mut first = next(&mut entries)?;
    if first.name() != Path::new(HEAD) {
        return Err(ArchiveError::NotWhole(format!("it does not begin with {HEAD}")));
    }
    let (head, _): (Head, _) = first.json(HEAD)?;
    if head.format != FORMAT {
        return Err(ArchiveError::Form(head.format));
    }
    take(Item::Head(&head))?;
    let (mut records, mut blobs, mut workspaces) = (Sum::default(), Sum::default(), Sum::default());
    loop {
        let mut entry = next(&mut entries)?;
        match entry.place(records.entries)? {
            Place::Records => {
                let piece = entry.summed(&mut records, |content, length| whole(content, length))?;
                take(Item::Records(piece))?;
            }
            Place::Blob(tenant, hash) => {
                entry.summed(&mut blobs, |content, _| take(Item::Blob(tenant, hash, content)))?;
            }
            Place::Workspace(path) if entry.is_folder => {
                entry.summed(&mut workspaces, |_, _| take(Item::Folder(&path)))?;
            }
            Place::Workspace(path) => {
                entry.summed(&mut workspaces, |content, _| take(Item::File(&path, content)))?;
            }
            Place::Manifest => {
                let (manifest, told): (Manifest, _) = entry.json(MANIFEST)?;
                let mut last = next(&mut entries)?;
                if !matches!(last.place(0)?, Place::Sum) || last.text()? != ContentHash::of(&told).to_string() {
                    return Err(ArchiveError::Changed(format!("{MANIFEST} has another sum than {SUM} says")));
                }
                compare(&manifest, &head, [records, blobs, workspaces])?;
                return Ok(manifest);
            }
            Place::Sum => return Err(ArchiveError::NotWhole(format!("{SUM} has no {MANIFEST} before it"))),
        }
    }
}

fn compare(manifest: &Manifest, head: &Head, sums: [Sum; 3]) -> Result<(), ArchiveError> {
    if manifest.head != *head {
        return Err(ArchiveError::Changed(format!("{HEAD} and {MANIFEST} differ")));
    }
    let told = [(RECORDS, &manifest.records), (BLOBS, &manifest.blobs), (WORKSPACES, &manifest.workspaces)];
    for ((name, part), sum) in told.into_iter().zip(sums) {
        let found = sum.part();
        if found != *part {
            return Err(ArchiveError::Changed(format!(
                "{name} has {} entries of {} bytes with the sum {}, and the manifest says {} of {} with {}",
                found.entries, found.bytes, found.sha256, part.entries, part.bytes, part.sha256
            )));
        }
    }
    Ok(())
}

/// An entry, as far as it concerns us.
struct Entry<'a, R: Read> {
    entry: tar::Entry<'a, R>,
    name: PathBuf,
    is_folder: bool,
}

fn next<'a, R: Read>(entries: &mut tar::Entries<'a, R>) -> Result<Entry<'a, R>, ArchiveError> {
    let entry = entries.next().ok_or_else(|| ArchiveError::NotWhole("it ends too early".to_owned()))?;
    let entry = entry.map_err(not_a_tar)?;
    let is_folder = match entry.header().entry_type() {
        EntryType::Regular => false,
        EntryType::Directory => true,
        _ => return Err(ArchiveError::Changed("it has an entry that is neither a file nor a folder".to_owned())),
    };
    let name = entry.path().map_err(not_a_tar)?.into_owned();
    Ok(Entry { entry, name, is_folder })
}

fn not_a_tar(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            ArchiveError::NotWhole(error.to_string())
        }
        _ => ArchiveError::io("it can not be read")(error),
    }
}

fn whole(content: &mut dyn Read, length: u64) -> Result<Bytes, ArchiveError> {
    if length > LARGEST {
        return Err(ArchiveError::Changed(format!("an entry has {length} bytes, and {LARGEST} are the most")));
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(not_a_tar)?;
    Ok(bytes.into())
}

impl<R: Read> Entry<'_, R> {
    fn name(&self) -> &Path {
        &self.name
    }

    /// What the entry's name says; `records` pieces were there before it.
    fn place(&self, records: u64) -> Result<Place, ArchiveError> {
        let stranger = || ArchiveError::Changed(format!("{} is nothing of a backup's", self.name.display()));
        let mut names = Vec::new();
        for component in self.name.components() {
            let Component::Normal(name) = component else { return Err(stranger()) };
            names.push(name);
        }
        let text = |name: &std::ffi::OsStr| name.to_str().map(str::to_owned).ok_or_else(stranger);
        let place = match names.as_slice() {
            [top, rest @ ..] if *top == WORKSPACES => return Ok(Place::Workspace(rest.iter().collect())),
            [top, number] if *top == RECORDS && text(number)? == format!("{:08}", records + 1) => Place::Records,
            [top, tenant, hash] if *top == BLOBS => {
                let (tenant, hash) = (text(tenant)?.parse(), text(hash)?.parse());
                Place::Blob(tenant.map_err(|_| stranger())?, hash.map_err(|_| stranger())?)
            }
            [name] if *name == MANIFEST => Place::Manifest,
            [name] if *name == SUM => Place::Sum,
            _ => return Err(stranger()),
        };
        if self.is_folder { Err(stranger()) } else { Ok(place) }
    }

    /// Has the entry's content taken, and adds the entry to a sum. What `take` leaves is read all the same.
    fn summed<T>(
        &mut self,
        sum: &mut Sum,
        take: impl FnOnce(&mut dyn Read, u64) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let length = self.entry.size();
        sum.entry(self.name.as_os_str().as_bytes(), length);
        let mut content = Summed { from: &mut self.entry, count: 0, hasher: &mut sum.hasher };
        let taken = take(&mut content, length)?;
        io::copy(&mut content, &mut io::sink()).map_err(not_a_tar)?;
        if content.count != length {
            return Err(ArchiveError::NotWhole(format!("it ends within {}", self.name.display())));
        }
        Ok(taken)
    }

    /// The entry's whole content.
    fn bytes(&mut self) -> Result<Bytes, ArchiveError> {
        self.summed(&mut Sum::default(), whole)
    }

    fn text(&mut self) -> Result<String, ArchiveError> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<(T, Bytes), ArchiveError> {
        let bytes = self.bytes()?;
        let read = serde_json::from_slice(&bytes)
            .map_err(|error| ArchiveError::Changed(format!("{name} does not read: {error}")))?;
        Ok((read, bytes))
    }
}

/// Sums up what is read through it.
struct Summed<'a, R> {
    from: &'a mut R,
    count: u64,
    hasher: &'a mut Sha256,
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.count += count as u64;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
