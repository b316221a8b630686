//! A session's files as one archive.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::path::Path;

use vivarium_domain::Timestamp;
use zip::write::SimpleFileOptions;

use crate::error::FilesError;
use crate::tree::{Found, walk};
use crate::unpack::ArchiveFormat;

/// Writes what stands in a folder into `to`, which is at its beginning then. Blocks.
pub(crate) fn pack(format: ArchiveFormat, folder: &Path, mut to: File) -> Result<File, FilesError> {
    let found = walk(folder)?;
    let packed = match format {
        ArchiveFormat::Tar => tar(folder, &found, &mut to),
        ArchiveFormat::Zip => zip(folder, &found, &mut to),
    };
    packed.and_then(|()| to.rewind()).map_err(FilesError::at(folder))?;
    Ok(to)
}

fn tar(folder: &Path, found: &[Found], to: &mut File) -> io::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::new(to));
    for one in found {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(u64::try_from(one.modified_at.as_second()).unwrap_or(0));
        if one.is_folder {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, &one.path, io::empty())?;
        } else {
            let file = File::open(folder.join(&one.path))?;
            let length = file.metadata()?.len();
            header.set_mode(0o644);
            header.set_size(length);
            // One that grows meanwhile has grown behind its end.
            archive.append_data(&mut header, &one.path, file.take(length))?;
        }
    }
    archive.into_inner()?.flush()
}

fn zip(folder: &Path, found: &[Found], to: &mut File) -> io::Result<()> {
    let mut archive = zip::ZipWriter::new(BufWriter::new(to));
    for one in found {
        let options = SimpleFileOptions::default().last_modified_time(zip_time(one.modified_at));
        if one.is_folder {
            archive.add_directory(&one.path, options.unix_permissions(0o755))?;
        } else {
            let mut file = File::open(folder.join(&one.path))?;
            let is_large = one.bytes >= u64::from(u32::MAX);
            archive.start_file(&one.path, options.unix_permissions(0o644).large_file(is_large))?;
            io::copy(&mut file, &mut archive)?;
        }
    }
    archive.finish()?.flush()
}

/// A time as a zip has it: in UTC, since zips know no zone.
fn zip_time(at: Timestamp) -> zip::DateTime {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let small = |number: i8| u8::try_from(number).unwrap_or(0);
    let year = u16::try_from(at.year()).unwrap_or(0);
    let time = zip::DateTime::from_date_and_time(
        year,
        small(at.month()),
        small(at.day()),
        small(at.hour()),
        small(at.minute()),
        small(at.second()),
    );
    time.unwrap_or_default()
}
