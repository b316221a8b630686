//! Writes a backup.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use vivarium_domain::{ContentHash, Timestamp};
use vivarium_store::{BackupPiece, BackupPieces};

use super::{ArchiveError, BLOBS, FORMAT, HEAD, Head, MANIFEST, Manifest, RECORDS, SUM, Sum, WORKSPACES};

/// Writes what the store gives and the workspaces of this folder. Blocks; memory holds one piece.
pub(crate) fn write(
    schema: u32,
    secrets_key: String,
    pieces: BackupPieces,
    workspaces: &Path,
    to: impl Write,
) -> Result<Manifest, ArchiveError> {
    let head = Head {
        format: FORMAT,
        schema,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: Timestamp::now(),
        secrets_key,
    };
    let mut writer = Writer { tar: Builder::new(to), at: head.at };
    writer.bytes(HEAD, &json(&head)?)?;
    let (mut records, mut blobs, mut damaged_blobs) = (Sum::default(), Sum::default(), 0);
    for piece in pieces {
        match piece? {
            BackupPiece::Records(piece) => {
                let name = format!("{RECORDS}/{:08}", records.entries + 1);
                writer.entry(&mut records, &name, piece.len() as u64, &mut piece.as_ref())?;
            }
            BackupPiece::Blob { tenant, hash, content, length } => {
                let mut content = Hashed { from: content, hasher: Sha256::new() };
                writer.entry(&mut blobs, format!("{BLOBS}/{tenant}/{hash}"), length, &mut content)?;
                damaged_blobs += u64::from(ContentHash::from(<[u8; 32]>::from(content.hasher.finalize())) != hash);
            }
        }
    }
    let mut files = Files { sum: Sum::default(), changed: 0 };
    writer.folder(&mut files, workspaces, WORKSPACES)?;
    let manifest = Manifest {
        head,
        records: records.part(),
        blobs: blobs.part(),
        damaged_blobs,
        workspaces: files.sum.part(),
        changed_files: files.changed,
    };
    let told = json(&manifest)?;
    writer.bytes(MANIFEST, &told)?;
    writer.bytes(SUM, ContentHash::of(&told).to_string().as_bytes())?;
    writer.tar.into_inner().and_then(|mut to| to.flush()).map_err(ArchiveError::io("the backup"))?;
    Ok(manifest)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, ArchiveError> {
    serde_json::to_vec_pretty(value).map_err(|error| ArchiveError::io("the backup's manifest")(error.into()))
}

struct Writer<W: Write> {
    tar: Builder<W>,
    at: Timestamp,
}

struct Files {
    sum: Sum,
    changed: u64,
}

impl<W: Write> Writer<W> {
    fn append(&mut self, name: impl AsRef<Path>, kind: EntryType, length: u64, content: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(length);
        header.set_mode(if kind.is_dir() { 0o700 } else { 0o600 });
        header.set_mtime(u64::try_from(self.at.as_second()).unwrap_or(0));
        self.tar.append_data(&mut header, name, content)
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.append(name, EntryType::Regular, bytes.len() as u64, bytes).map_err(ArchiveError::io("the backup"))
    }

    /// An entry of a part. Gives whether there were as many bytes as was said: where there were fewer, zeros stand in their
    /// place.
    fn entry(
        &mut self,
        sum: &mut Sum,
        name: impl AsRef<Path>,
        length: u64,
        content: &mut impl Read,
    ) -> Result<bool, ArchiveError> {
        let name = name.as_ref();
        sum.entry(name.as_os_str().as_bytes(), length);
        let mut exact = Exact { from: content, left: length, is_short: false, hasher: &mut sum.hasher };
        let appended = self.append(name, EntryType::Regular, length, &mut exact);
        let is_whole = !exact.is_short;
        appended.map_err(ArchiveError::io(name.display().to_string()))?;
        Ok(is_whole)
    }

    /// Everything in a folder, as it is found; what goes meanwhile is not missed. Links are nobody's: no workspace has any.
    fn folder(&mut self, files: &mut Files, folder: &Path, name: &str) -> Result<(), ArchiveError> {
        let mut ahead = vec![(folder.to_owned(), Path::new(name).to_owned())];
        while let Some((folder, name)) = ahead.pop() {
            let failed = || ArchiveError::io(folder.display().to_string());
            let Some(entries) = there(fs::read_dir(&folder)).map_err(failed())? else { continue };
            files.sum.entry(name.as_os_str().as_bytes(), 0);
            self.append(&name, EntryType::Directory, 0, io::empty()).map_err(failed())?;
            for entry in entries {
                let entry = entry.map_err(failed())?;
                let (path, name) = (entry.path(), name.join(entry.file_name()));
                let Some(kind) = there(entry.file_type()).map_err(failed())? else { continue };
                if kind.is_dir() {
                    ahead.push((path, name));
                } else if kind.is_file() {
                    self.file(files, &path, &name)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, files: &mut Files, path: &Path, name: &Path) -> Result<(), ArchiveError> {
        let failed = || ArchiveError::io(path.display().to_string());
        let Some(mut content) = there(File::open(path)).map_err(failed())? else { return Ok(()) };
        let before = content.metadata().map_err(failed())?;
        let is_whole = self.entry(&mut files.sum, name, before.len(), &mut content)?;
        let after = content.metadata().map_err(failed())?;
        let is_same = is_whole && after.len() == before.len() && after.modified().ok() == before.modified().ok();
        files.changed += u64::from(!is_same);
        Ok(())
    }
}

/// None: it is not there.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Gives as many bytes as were promised: the head of an entry is written before its content is read.
struct Exact<'a, R> {
    from: &'a mut R,
    left: u64,
    is_short: bool,
    hasher: &'a mut Sha256,
}

impl<R: Read> Read for Exact<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let mut count = if self.is_short { 0 } else { self.from.read(buffer)? };
        if count == 0 {
            self.is_short = true;
            buffer.fill(0);
            count = wanted;
        }
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.left -= count as u64;
        Ok(count)
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    from: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
