//! Files as texts: told apart from what is none, cut into lines that keep their endings, and known by their hashes.

use sha2::{Digest as _, Sha256};
use vivarium_sdk::files::FileError;
use vivarium_sdk::tool::ToolError;

use crate::disk::Disk;

/// The longest file that is worked on: it is in memory several times over.
pub(crate) const MAX_BYTES: u64 = 8 << 20;
/// How much of a hash a model is shown: enough that no two states of a file share it by chance.
const HASH_CHARS: usize = 16;

/// A path as a model writes it, in the form that the workspace has: without `/workspace/`, `./` or slashes at its ends.
pub(crate) fn plain(path: &str) -> Result<String, ToolError> {
    let path = path.trim().trim_start_matches("/workspace/").trim_start_matches('/').trim_end_matches('/');
    let path = if path == "workspace" { "" } else { path };
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") || path.contains('\\') || path.contains(char::is_control) {
        return Err(ToolError::InvalidArguments(format!(
            "{path:?} is no path in the workspace: write it from the workspace's root on, such as src/main.py, without .. and \\"
        )));
    }
    Ok(names.join("/"))
}

/// The beginning of a content's SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(HASH_CHARS);
    text
}

/// Whether a hash that a model gives, whole or its beginning, is that of a content.
pub(crate) fn is_hash_of(given: &str, bytes: &[u8]) -> bool {
    let whole: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let given = given.trim().to_ascii_lowercase();
    given.len() >= 8 && whole.starts_with(&given)
}

/// A file's bytes.
pub(crate) fn bytes(disk: &impl Disk, path: &str) -> Result<Vec<u8>, ToolError> {
    match disk.length(path) {
        Ok(Some(length)) if length > MAX_BYTES => Err(ToolError::Failed(format!(
            "{path} has {length} bytes, and these tools take files of up to {MAX_BYTES}; look at it with a program"
        ))),
        Ok(Some(_)) => disk.read(path, usize::MAX).map_err(|error| failed(path, &error)),
        Ok(None) => Err(ToolError::InvalidArguments(format!("{path} is a folder; list it with list_files"))),
        Err(FileError::NotFound) => Err(ToolError::NotFound(not_found(disk, path))),
        Err(error) => Err(failed(path, &error)),
    }
}

/// A file's text.
pub(crate) fn text(disk: &impl Disk, path: &str) -> Result<String, ToolError> {
    let bytes = bytes(disk, path)?;
    let length = bytes.len();
    let not_text = || {
        ToolError::Failed(format!(
            "{path} is not text in UTF-8 but {length} bytes of another kind; these tools leave such files as they are"
        ))
    };
    let text = String::from_utf8(bytes).map_err(|_| not_text())?;
    if text.contains('\0') { Err(not_text()) } else { Ok(text) }
}

/// What a person would look for next: files of the same name elsewhere.
fn not_found(disk: &impl Disk, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut alike = Vec::new();
    let mut ahead = vec![String::new()];
    let mut looked = 0;
    while let Some(folder) = ahead.pop() {
        for entry in disk.entries(&folder).unwrap_or_default() {
            looked += 1;
            let path = join(&folder, &entry.name);
            if entry.is_folder {
                ahead.push(path);
            } else if entry.name.eq_ignore_ascii_case(name) {
                alike.push(path);
            }
        }
        if looked > 2_000 {
            break;
        }
    }
    alike.sort();
    alike.truncate(5);
    let hint = if alike.is_empty() {
        "list_files shows what is there".to_owned()
    } else {
        format!("there is {}", alike.join(", "))
    };
    format!("there is no file {path}; {hint}")
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(crate) fn failed(path: &str, error: &FileError) -> ToolError {
    let message = format!("{path}: {error}");
    match error {
        FileError::NotFound => ToolError::NotFound(message),
        FileError::Denied => ToolError::Denied(message),
        _ => ToolError::Failed(message),
    }
}

/// The lines of a text, with their endings.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// A line without its ending.
pub(crate) fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// How the lines of a text end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endings {
    /// `\n`, or there is none.
    Lf,
    /// `\r\n`, all of them.
    CrLf,
    /// Some so, some so.
    Mixed,
}

pub(crate) fn endings(text: &str) -> Endings {
    let (all, crlf) = (text.matches('\n').count(), text.matches("\r\n").count());
    match crlf {
        0 => Endings::Lf,
        _ if crlf == all => Endings::CrLf,
        _ => Endings::Mixed,
    }
}

/// What is to be known of a text besides its lines.
pub(crate) fn about(path: &str, text: &str) -> String {
    let (count, bytes) = (lines(text).len(), text.len());
    let mut about = format!("{path}: {count} lines, {bytes} bytes, hash {}", hash(text.as_bytes()));
    match endings(text) {
        Endings::Lf => {}
        Endings::CrLf => about.push_str(", lines end with CR LF"),
        Endings::Mixed => about.push_str(", lines end with LF or CR LF"),
    }
    if text.starts_with('\u{feff}') {
        about.push_str(", begins with a byte order mark");
    }
    if !text.is_empty() && !text.ends_with('\n') {
        about.push_str(", no line break at the end");
    }
    about
}
