//! A new project: a plugin that works, to be changed into another. It stands alone: the contract is written into it, and the
//! only things that it fetches are crates.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use vivarium_domain::PluginName;

use crate::contract::WIT;

/// What the project begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateKind {
    /// A function that a model may call.
    Tool,
    /// An agent's reasoning loop.
    Mode,
}

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Nothing that is there is written over.
    #[error("{0} is there already and not empty: name another folder with --dir")]
    NotEmpty(PathBuf),
    /// A file can not be written.
    #[error("{path} can not be written: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
}

/// A file of a template: where it goes, and its text with `{{placeholders}}`.
type File = (&'static str, &'static str);

macro_rules! file {
    ($folder:literal, $path:literal) => {
        ($path, include_str!(concat!("../templates/", $folder, "/", $path)))
    };
}

const BOTH: [File; 2] = [file!("both", "Cargo.toml"), (".gitignore", include_str!("../templates/both/gitignore"))];
const TOOL: [File; 5] = [
    file!("tool", "README.md"),
    file!("tool", "plugin.toml"),
    file!("tool", "src/lib.rs"),
    file!("tool", "tests/cases/a_short_text.toml"),
    file!("tool", "tests/cases/no_text.toml"),
];
const MODE: [File; 5] = [
    file!("mode", "README.md"),
    file!("mode", "plugin.toml"),
    file!("mode", "src/lib.rs"),
    file!("mode", "tests/cases/no_question.toml"),
    file!("mode", "tests/cases/one_sentence.toml"),
];

/// The version that the contract was tried with: bindings of another one may look different.
const WIT_BINDGEN: &str =
    r#"wit-bindgen = { version = "=0.61.1", default-features = false, features = ["bitflags", "macros", "realloc"] }"#;
const SERDE: &str = "serde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\n";

/// Writes a new project into `folder`, which must be empty or not there. Gives the files.
///
/// # Errors
/// When something is there already, or can not be written.
pub fn new_project(name: &PluginName, kind: TemplateKind, folder: &Path) -> Result<Vec<PathBuf>, NewError> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(NewError::NotEmpty(folder.to_owned()));
    }
    let own: &[File] = match kind {
        TemplateKind::Tool => &TOOL,
        TemplateKind::Mode => &MODE,
    };
    let mut written = Vec::new();
    for (path, text) in BOTH.iter().chain(own) {
        written.push(write(folder.join(path), &filled(text, name, kind))?);
    }
    for (path, text) in WIT {
        written.push(write(folder.join("wit").join(path), text)?);
    }
    Ok(written)
}

fn filled(text: &str, name: &PluginName, kind: TemplateKind) -> String {
    let short = short_name(name);
    let dependencies = match kind {
        TemplateKind::Tool => format!("{SERDE}{WIT_BINDGEN}"),
        TemplateKind::Mode => WIT_BINDGEN.to_owned(),
    };
    text.replace("{{name}}", name.as_str())
        .replace("{{package}}", &package_name(short))
        .replace("{{short}}", short)
        .replace("{{title}}", &title(short))
        .replace("{{dependencies}}", &dependencies)
}

/// The name without its owner.
#[must_use]
pub fn short_name(name: &PluginName) -> &str {
    name.as_str().rsplit_once('/').map_or(name.as_str(), |(_, short)| short)
}

/// A name that cargo takes: it begins with a letter and is no word of the language.
fn package_name(short: &str) -> String {
    format!("{}-plugin", short.trim_start_matches(|c: char| !c.is_ascii_alphabetic()))
        .trim_start_matches('-')
        .to_owned()
}

fn title(short: &str) -> String {
    let words = short.replace(['-', '_'], " ");
    let mut letters = words.trim().chars();
    letters.next().map_or_else(|| short.to_owned(), |first| first.to_uppercase().chain(letters).collect())
}

/// Writes a file that is not there yet.
fn write(path: PathBuf, text: &str) -> Result<PathBuf, NewError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let file = folder.and_then(|()| fs::File::create_new(&path));
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(path),
        Err(error) => Err(NewError::Write { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Project;

    fn made(name: &str, kind: TemplateKind) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        new_project(&name.parse().unwrap(), kind, folder.path()).unwrap();
        folder
    }

    #[test]
    fn a_new_projects_plugin_toml_is_valid_and_has_no_placeholder_left() {
        for kind in [TemplateKind::Tool, TemplateKind::Mode] {
            for name in ["you/reader", "acme/3d-view", "a/test", "a/__", "a/9"] {
                let folder = made(name, kind);
                let project = Project::read(folder.path()).unwrap();
                assert_eq!(project.manifest.name.as_str(), name);
                for file in ["Cargo.toml", "plugin.toml", "README.md", "src/lib.rs"] {
                    let text = fs::read_to_string(folder.path().join(file)).unwrap();
                    assert!(!text.contains("{{"), "{name} {file}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_is_there_is_not_written_over() {
        let folder = made("you/reader", TemplateKind::Tool);
        let again = new_project(&"you/reader".parse().unwrap(), TemplateKind::Mode, folder.path());
        assert!(matches!(again, Err(NewError::NotEmpty(_))), "{again:?}");
    }

    #[test]
    fn packages_have_names_that_cargo_takes() {
        for (short, package) in
            [("reader", "reader-plugin"), ("3d-view", "d-view-plugin"), ("9", "plugin"), ("fn", "fn-plugin")]
        {
            assert_eq!(package_name(short), package);
        }
    }
}
