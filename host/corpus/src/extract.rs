//! From a file's bytes to text that can be quoted: what a person would read on the page, word for word. Nothing is
//! rewritten or decorated, because an answer's quotes are checked against this text and, by people, against the page.
//!
//! The other half of the job is to say no: a search index full of binaries, minified scripts and redirect pages
//! answers worse. Each refusal has a [`SkipReason`] that ends up in the report.

mod charset;
mod html;
mod markdown;

use std::fmt;
use std::ops::Range;

use crate::convert::Format;

/// Raise it whenever the same bytes would give another text, title or passages: indexes made before are rebuilt.
pub(crate) const EXTRACTION_VERSION: u32 = 2;

/// Why a file is not in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SkipReason {
    /// Its extension is not one of a readable kind.
    UnknownKind,
    /// It holds bytes that no text holds.
    Binary,
    /// It is larger than [`Limits::max_file_bytes`](crate::Limits::max_file_bytes).
    TooLarge,
    /// Its lines are longer, or its elements nested deeper, than a person writes: minified or generated.
    Generated,
    /// A page that only leads on to another one.
    Redirect,
    /// No text is left in it.
    Empty,
    /// A symbolic link: not followed, so that nothing outside of the folder gets in.
    SymbolicLink,
    /// A pipe, a socket or a device.
    NotAFile,
    /// Its name is not valid UTF-8, so that no query could name it.
    BadName,
    /// It could not be read; the log says why.
    Unreadable,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKind => "not a readable kind of file",
            Self::Binary => "binary",
            Self::TooLarge => "too large",
            Self::Generated => "minified or generated",
            Self::Redirect => "only a redirect",
            Self::Empty => "without text",
            Self::SymbolicLink => "a symbolic link",
            Self::NotAFile => "not a regular file",
            Self::BadName => "a name that is not UTF-8",
            Self::Unreadable => "unreadable",
        })
    }
}

/// The readable text of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Extracted {
    /// What a person calls it; never empty.
    pub(crate) title: String,
    /// The media type of `text`.
    pub(crate) media_type: &'static str,
    /// The text, trimmed.
    pub(crate) text: String,
    /// The headings in `text`, in order, not overlapping.
    pub(crate) headings: Vec<Heading>,
    /// The text was longer than the limit and is cut.
    pub(crate) truncated: bool,
}

/// A heading within [`Extracted::text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heading {
    /// Where it stands, in bytes.
    pub(crate) range: Range<usize>,
    /// From 1 to 6.
    pub(crate) level: u8,
    /// Its words on one line, without markup.
    pub(crate) label: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Converted(Format),
    Html,
    Markdown,
    Prose,
    Code,
}

/// Extensions of source code and of data that people write and read. Sorted for the binary search.
const CODE: &[&str] = &[
    "asm",
    "bash",
    "bat",
    "bzl",
    "c",
    "cc",
    "cfg",
    "clj",
    "cljs",
    "cmake",
    "coffee",
    "conf",
    "cpp",
    "cs",
    "css",
    "csv",
    "cu",
    "cxx",
    "d",
    "dart",
    "diff",
    "el",
    "elm",
    "erl",
    "ex",
    "exs",
    "f90",
    "fish",
    "fs",
    "fsx",
    "go",
    "gradle",
    "graphql",
    "groovy",
    "h",
    "hcl",
    "hh",
    "hpp",
    "hrl",
    "hs",
    "hxx",
    "ini",
    "java",
    "jl",
    "js",
    "json",
    "jsx",
    "kt",
    "kts",
    "less",
    "lisp",
    "lua",
    "m",
    "mjs",
    "ml",
    "mli",
    "mm",
    "nim",
    "nix",
    "patch",
    "php",
    "pl",
    "pm",
    "properties",
    "proto",
    "ps1",
    "py",
    "pyi",
    "r",
    "rb",
    "rs",
    "sass",
    "scala",
    "scm",
    "scss",
    "sh",
    "sql",
    "svelte",
    "swift",
    "tcl",
    "tex",
    "tf",
    "toml",
    "ts",
    "tsv",
    "tsx",
    "v",
    "vb",
    "vhd",
    "vim",
    "vue",
    "wat",
    "wit",
    "xml",
    "yaml",
    "yml",
    "zig",
    "zsh",
];

/// Files that are known by their whole name.
const PROSE_NAMES: &[&str] =
    &["authors", "changelog", "changes", "contributing", "copying", "license", "news", "notice", "readme", "todo"];
const CODE_NAMES: &[&str] = &["build", "cmakelists", "dockerfile", "gemfile", "justfile", "makefile", "rakefile"];

fn kind_of(location: &str) -> Option<Kind> {
    let name = location.rsplit('/').next().unwrap_or(location).to_ascii_lowercase();
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return if PROSE_NAMES.contains(&name.as_str()) {
            Some(Kind::Prose)
        } else if CODE_NAMES.contains(&name.as_str()) {
            Some(Kind::Code)
        } else {
            None
        };
    };
    match extension {
        "pdf" => Some(Kind::Converted(Format::Pdf)),
        "docx" => Some(Kind::Converted(Format::Docx)),
        "xlsx" => Some(Kind::Converted(Format::Xlsx)),
        "html" | "htm" | "xhtml" => Some(Kind::Html),
        "md" | "markdown" | "mdx" | "mdown" => Some(Kind::Markdown),
        "txt" | "text" | "rst" | "adoc" | "asciidoc" | "org" | "log" => Some(Kind::Prose),
        other if CODE.binary_search(&other).is_ok() => Some(Kind::Code),
        _ if CODE_NAMES.contains(&stem) => Some(Kind::Code),
        _ => None,
    }
}

/// Whether the file is worth opening at all, by somebody who reads other formats or does not.
pub(crate) fn is_readable_kind(location: &str, converts: bool) -> bool {
    match kind_of(location) {
        Some(Kind::Converted(_)) => converts,
        kind => kind.is_some(),
    }
}

/// The format of a file that somebody else has to read.
pub(crate) fn format_of(location: &str) -> Option<Format> {
    match kind_of(location) {
        Some(Kind::Converted(format)) => Some(format),
        _ => None,
    }
}

/// The text that was made of the file at `location`.
pub(crate) fn converted(location: &str, markdown: &str, max_text_bytes: usize) -> Result<Extracted, SkipReason> {
    finish(location, markdown::extract(markdown), max_text_bytes)
}

/// The text of a document that was given and is no file: whole, and never left out for its kind.
pub(crate) fn extract_given(media_type: &str, text: &str) -> Result<Extracted, SkipReason> {
    // A name that says how to read it.
    let name = if media_type == "text/markdown" { "document.md" } else { "document.txt" };
    extract(name, text.as_bytes(), usize::MAX)
}

/// The text of the file at `location` that holds `bytes`.
pub(crate) fn extract(location: &str, bytes: &[u8], max_text_bytes: usize) -> Result<Extracted, SkipReason> {
    let kind = kind_of(location).ok_or(SkipReason::UnknownKind)?;
    if charset::looks_binary(bytes) {
        return Err(SkipReason::Binary);
    }
    let source = charset::decode(bytes, kind == Kind::Html);
    let extracted = match kind {
        Kind::Html => html::extract(&source)?,
        Kind::Markdown => markdown::extract(&source),
        Kind::Prose => plain(&source, "text/plain"),
        Kind::Code if is_generated(&source) => return Err(SkipReason::Generated),
        Kind::Code => plain(&source, language(location)),
        Kind::Converted(_) => return Err(SkipReason::UnknownKind),
    };
    finish(location, extracted, max_text_bytes)
}

fn finish(location: &str, mut extracted: Extracted, max_text_bytes: usize) -> Result<Extracted, SkipReason> {
    if extracted.text.is_empty() {
        return Err(SkipReason::Empty);
    }
    cut(&mut extracted, max_text_bytes);
    if extracted.title.is_empty() {
        location.rsplit('/').next().unwrap_or(location).clone_into(&mut extracted.title);
    }
    Ok(extracted)
}

/// The media type of source code, by its extension.
fn language(location: &str) -> &'static str {
    let extension = location.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "rs" => "text/x-rust",
        "py" | "pyi" => "text/x-python",
        "js" | "mjs" | "jsx" => "text/javascript",
        "ts" | "tsx" => "text/x-typescript",
        "c" | "h" => "text/x-c",
        "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => "text/x-c++",
        "cs" => "text/x-csharp",
        "go" => "text/x-go",
        "java" => "text/x-java",
        "kt" | "kts" => "text/x-kotlin",
        "rb" => "text/x-ruby",
        "php" => "text/x-php",
        "swift" => "text/x-swift",
        "scala" => "text/x-scala",
        "sh" | "bash" | "zsh" | "fish" => "text/x-shellscript",
        "sql" => "text/x-sql",
        "css" => "text/css",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "toml" => "application/toml",
        _ => "text/plain",
    }
}

/// Text as it is, with line ends made one kind.
fn plain(source: &str, media_type: &'static str) -> Extracted {
    Extracted { media_type, text: trimmed_lines(source), ..Extracted::default() }
}

/// Line ends become `\n`; blank lines at the start and white space at the end go. The first line keeps its indent.
fn trimmed_lines(source: &str) -> String {
    let text = source.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.trim_end();
    let start = text.find(|c: char| !c.is_whitespace()).unwrap_or(text.len());
    let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    text.get(line_start..).unwrap_or_default().to_owned()
}

/// Nobody writes lines of thousands of characters; bundlers and index generators do.
fn is_generated(source: &str) -> bool {
    const LONG_LINE_BYTES: usize = 2_000;
    let long: usize = source.lines().map(str::len).filter(|length| *length > LONG_LINE_BYTES).sum();
    long * 2 > source.len()
}

/// Cuts the text at the limit, on a line's end where one is near.
fn cut(extracted: &mut Extracted, max_text_bytes: usize) {
    if extracted.text.len() <= max_text_bytes {
        return;
    }
    let hard = extracted.text.floor_char_boundary(max_text_bytes);
    let head = extracted.text.get(..hard).unwrap_or_default();
    let end = head.rfind('\n').filter(|at| *at > hard / 2).unwrap_or(hard);
    extracted.text.truncate(end);
    let kept = extracted.text.trim_end().len();
    extracted.text.truncate(kept);
    extracted.headings.retain(|heading| heading.range.end <= kept);
    extracted.truncated = true;
}

/// White space runs become one space each, as a browser shows them.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_code_extensions_is_sorted_for_its_search() {
        assert!(CODE.is_sorted());
    }

    #[test]
    fn kinds_are_known_by_extension_and_by_whole_name() {
        assert_eq!(kind_of("a/b/INDEX.HTML"), Some(Kind::Html));
        assert_eq!(kind_of("README"), Some(Kind::Prose));
        assert_eq!(kind_of("src/main.rs"), Some(Kind::Code));
        assert_eq!(kind_of("Makefile"), Some(Kind::Code));
        assert_eq!(kind_of("photo.jpeg"), None);
        assert_eq!(kind_of("no-extension"), None);
    }

    #[test]
    fn a_minified_script_is_skipped_and_a_written_one_is_not() {
        let minified = format!("var a={};", "x+".repeat(4_000));
        assert_eq!(extract("a.js", minified.as_bytes(), 1 << 20), Err(SkipReason::Generated));
        let written = "function add(a, b) {\n  return a + b;\n}\n".repeat(200);
        assert!(extract("a.js", written.as_bytes(), 1 << 20).is_ok());
    }

    #[test]
    fn a_binary_under_a_texts_name_is_skipped() {
        assert_eq!(extract("a.txt", b"\x7fELF\0\0\0\x01", 1 << 20), Err(SkipReason::Binary));
    }

    #[test]
    fn a_text_over_the_limit_is_cut_on_a_lines_end_and_says_so() {
        let text = "a line of words\n".repeat(100);
        let extracted = extract("a.txt", text.as_bytes(), 105).unwrap();
        assert!(extracted.truncated);
        assert_eq!(extracted.text, "a line of words\n".repeat(6).trim_end());
    }

    #[test]
    fn plain_text_keeps_the_indent_of_its_first_line() {
        assert_eq!(plain("\r\n\r\n    indented\r\nnot\r\n\r\n", "text/plain").text, "    indented\nnot");
    }
}
