//! What an answer is: what its server says where the bytes bear that out, and what the bytes say where it lies or is silent.

use vivarium_reading::Format;

/// How much of an answer is looked at.
const HEAD_BYTES: usize = 2048;

/// What an answer is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Html,
    Feed,
    Json,
    /// A file that was made for a printer or an office program.
    File(Format),
    /// Text that is kept as it is, under this media type.
    Text(&'static str),
}

/// What the answer with this `Content-Type` is.
///
/// # Errors
/// What it is instead of something that can be read, for a sentence that begins "it is".
pub(crate) fn of(content_type: &str, body: &[u8], text: &str) -> Result<Kind, String> {
    if let Some(found) = by_signature(body) {
        return found;
    }
    let declared = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if looks_binary(body) && !content_type.to_ascii_lowercase().contains("utf-16") {
        return Err(if declared.is_empty() || declared.starts_with("text/") {
            "no text, whatever its server says".to_owned()
        } else {
            format!("of the type {declared}")
        });
    }
    let start = start_of(text);
    let is_page = ["<!doctype html", "<html", "<head", "<body"].iter().any(|mark| start.starts_with(mark));
    let is_feed = ["<rss", "<feed", "<rdf:rdf"].iter().any(|mark| start.contains(mark)) && !is_page;
    let is_json = || start.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let kind = match declared.as_str() {
        "text/html" | "application/xhtml+xml" if is_feed && start.starts_with("<?xml") => Kind::Feed,
        "text/html" if is_json() => Kind::Json,
        "text/html" | "application/xhtml+xml" => Kind::Html,
        "application/rss+xml" | "application/atom+xml" | "application/rdf+xml" if is_feed => Kind::Feed,
        // A page that says what it is is a page, whatever its server says; a text that only has marks in it is none.
        _ if is_page && declared != "text/markdown" => Kind::Html,
        "text/markdown" | "text/x-markdown" => Kind::Text("text/markdown"),
        "text/csv" => Kind::Text("text/csv"),
        other if other == "application/json" || other == "text/json" || other.ends_with("+json") => Kind::Json,
        other if other == "application/xml" || other == "text/xml" || other.ends_with("+xml") => {
            if is_feed {
                Kind::Feed
            } else {
                Kind::Text("application/xml")
            }
        }
        "text/plain" if is_feed && start.starts_with("<?xml") => Kind::Feed,
        other if other.starts_with("text/") => Kind::Text("text/plain"),
        "application/javascript"
        | "application/x-javascript"
        | "application/yaml"
        | "application/toml"
        | "application/x-yaml"
        | "application/x-sh"
        | "application/x-tex"
        | "application/sql" => Kind::Text("text/plain"),
        "application/x-ndjson" | "application/jsonl" => Kind::Text("application/x-ndjson"),
        // Silence, and words for "some bytes".
        ""
        | "application/octet-stream"
        | "binary/octet-stream"
        | "application/download"
        | "application/force-download"
        | "unknown/unknown"
        | "application/unknown" => match () {
            () if is_feed => Kind::Feed,
            () if is_json() => Kind::Json,
            () if start.starts_with("<?xml") => Kind::Text("application/xml"),
            () if start.starts_with('<') && declared.is_empty() => Kind::Html,
            () => Kind::Text("text/plain"),
        },
        other => return Err(format!("of the type {other}")),
    };
    Ok(kind)
}

/// Whether the bytes are a file that is read as such.
pub(crate) fn is_file(body: &[u8]) -> bool {
    matches!(by_signature(body), Some(Ok(Kind::File(_))))
}

/// The first marks of a text in lower case, without what may stand before a page: space and comments.
fn start_of(text: &str) -> String {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some(comment) = rest.strip_prefix("<!--") {
        rest = comment.split_once("-->").map_or("", |(_, after)| after).trim_start();
    }
    rest.get(..rest.floor_char_boundary(HEAD_BYTES)).unwrap_or_default().to_ascii_lowercase()
}

/// Files that say by their first bytes what they are.
fn by_signature(body: &[u8]) -> Option<Result<Kind, String>> {
    const OTHERS: [(&[u8], &str); 15] = [
        (b"\x89PNG\r\n", "a picture (PNG)"),
        (b"\xff\xd8\xff", "a picture (JPEG)"),
        (b"GIF8", "a picture (GIF)"),
        (b"RIFF", "a picture, a sound or a film (RIFF)"),
        (b"\x1f\x8b", "an archive (gzip)"),
        (b"BZh", "an archive (bzip2)"),
        (b"7z\xbc\xaf", "an archive (7z)"),
        (b"\xfd7zXZ", "an archive (xz)"),
        (b"Rar!", "an archive (RAR)"),
        (b"\x7fELF", "a program"),
        (b"\0asm", "a program (WebAssembly)"),
        (b"OggS", "a sound or a film (Ogg)"),
        (b"ID3", "a sound (MP3)"),
        (b"wOF", "a font"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of an Office program before 2007"),
    ];
    let head = body.get(..1024).unwrap_or(body);
    let at = head.windows(5).position(|window| window == b"%PDF-");
    // Some bytes may stand before it, but no page that only speaks of it.
    if at.is_some_and(|at| at == 0 || !head.trim_ascii_start().starts_with(b"<") && at < 64) {
        return Some(Ok(Kind::File(Format::Pdf)));
    }
    if body.starts_with(b"PK\x03\x04") {
        // The names of an archive's parts stand in it as they are.
        let names = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
        return Some(match () {
            () if names(b"word/document.xml") => Ok(Kind::File(Format::Docx)),
            () if names(b"xl/workbook.xml") => Ok(Kind::File(Format::Xlsx)),
            () => Err("an archive (ZIP)".to_owned()),
        });
    }
    let other = OTHERS.iter().find(|(signature, _)| body.starts_with(signature));
    // Words begin with some of these letters, too.
    other.filter(|(signature, _)| !signature.is_ascii() || looks_binary(body)).map(|(_, what)| Err((*what).to_owned()))
}

/// Whether the first bytes are none of any text. UTF-16 is told by its mark.
fn looks_binary(body: &[u8]) -> bool {
    if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") {
        return false;
    }
    let head = body.get(..8192).unwrap_or(body);
    let control = head.iter().filter(|byte| matches!(byte, 1..=8 | 14..=26 | 28..=31)).count();
    head.contains(&0) || control * 20 > head.len()
}
