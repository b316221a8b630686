//! The archive and its parts.

use std::collections::HashMap;
use std::io::{self, BufReader, Cursor, Read};

use zip::ZipArchive;

use crate::Unreadable;
use crate::office::xml::{self, Event, Walk};

/// What all parts that are read may unpack to together. A book has some MiB.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;
/// Parts of an archive; a workbook of a thousand sheets has some thousand.
const MAX_PARTS: usize = 20_000;

/// An Office file.
pub(crate) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    left: u64,
}

impl<'a> Package<'a> {
    /// Opens an archive.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("it is no ZIP archive: {error}"))?;
        if archive.len() > MAX_PARTS {
            return Err(format!("its archive has {} parts, and at most {MAX_PARTS} are read", archive.len()));
        }
        Ok(Self { archive, left: MAX_UNPACKED_BYTES })
    }

    /// The part that the archive is about. It stands in `folder` where the file is `what` it is said to be.
    pub(crate) fn main(&mut self, folder: &str, what: &str) -> Result<String, Unreadable> {
        let main = self.references("")?.into_values().find(|reference| reference.kind == "officeDocument");
        let main = main.map(|reference| reference.target).ok_or("its archive is not that of an Office document")?;
        if !main.starts_with(folder) || self.archive.index_for_name(&main).is_none() {
            return Err(format!("its main part is {main:?}, and that of {what} is within {folder}"));
        }
        Ok(main)
    }

    /// Walks over a part. A part that is not there has nothing in it.
    pub(crate) fn walk(&mut self, part: &str, visit: impl FnMut(Event<'_>) -> Walk) -> Result<(), Unreadable> {
        let Some(index) = self.archive.index_for_name(part) else { return Ok(()) };
        let file = self.archive.by_index(index).map_err(|error| format!("its part {part} is broken: {error}"))?;
        let mut source = Bounded { source: file, left: &mut self.left };
        xml::walk(BufReader::with_capacity(32 << 10, &mut source), visit)
            .map_err(|error| format!("its part {part} is broken: {error}"))
    }

    /// What `part` refers to, by the references' ids; the archive itself is the part without a name.
    pub(crate) fn references(&mut self, part: &str) -> Result<HashMap<String, Reference>, Unreadable> {
        let (folder, name) =
            part.rsplit_once('/').map_or((String::new(), part), |(folder, name)| (format!("{folder}/"), name));
        let mut references = HashMap::new();
        self.walk(&format!("{folder}_rels/{name}.rels"), |event| {
            if let Event::Open(element) = event
                && element.is(b"Relationship")
                && let (Some(id), Some(target)) = (element.attribute(b"Id"), element.attribute(b"Target"))
            {
                let kind = element.attribute(b"Type").unwrap_or_default();
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                let outside = element.attribute(b"TargetMode").is_some_and(|mode| mode == "External");
                let target = match target.strip_prefix('/') {
                    Some(absolute) => absolute.to_owned(),
                    None if outside => target,
                    None => format!("{folder}{target}"),
                };
                references.insert(id, Reference { kind, target });
            }
            Walk::On
        })?;
        Ok(references)
    }
}

/// What a part refers to.
pub(crate) struct Reference {
    /// The last piece of its type's URI, such as `hyperlink`.
    pub(crate) kind: String,
    /// A part, or a place outside of the archive.
    pub(crate) target: String,
}

/// Fails where the archive's bound is reached.
struct Bounded<'a, R> {
    source: R,
    left: &'a mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        *self.left = left.ok_or_else(|| {
            let mib = MAX_UNPACKED_BYTES >> 20;
            io::Error::other(format!("the archive unpacks to more than {mib} MiB"))
        })?;
        Ok(count)
    }
}
