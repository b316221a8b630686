//! From a project to a component that a host takes: built, made a component if it is none yet, with its manifest in it, checked.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use vivarium_domain::Manifest;

use crate::binary::{BinaryError, append_section, to_component, without_section};
use crate::check::Checked;
use crate::contract::MAX_COMPONENT_BYTES;
use crate::fault::Faults;
use crate::process::{ProcessError, printed, run, without_this_run};
use crate::project::{BuildPlan, Project};
use crate::toolchain::{Compiler, Target, Toolchain, ToolchainError};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no compiler.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The build has failed; its own words are on standard error.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The Rust project makes no library that could be a component.
    #[error("cargo has built no library of crate type cdylib: put `[lib] crate-type = [\"cdylib\"]` into {0}")]
    NoLibrary(PathBuf),
    /// A file can not be read or written.
    #[error("{path} can not be {done}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// The system's words.
        error: io::Error,
    },
    /// What was built is no component, and none can be made of it.
    #[error("{path}: {error}")]
    Binary {
        /// The file.
        path: PathBuf,
        /// Why.
        error: BinaryError,
    },
    /// The manifest can not be written as JSON.
    #[error("the manifest can not be written: {0}")]
    Manifest(#[from] serde_json::Error),
    /// No host would take the component.
    #[error("the component was built, but no host would take it:\n{0}")]
    Refused(Faults),
}

/// A built component.
#[derive(Debug)]
pub struct Built {
    /// Its file.
    pub path: PathBuf,
    /// What it is and asks for.
    pub checked: Checked,
}

/// Builds a project, into `output` or beside its `plugin.toml`. `say` hears what is done.
///
/// # Errors
/// When it can not be built, or no host would take what was built. Then no file is written.
pub fn build(
    project: &Project,
    output: Option<&Path>,
    only: Option<Toolchain>,
    say: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let made = match &project.build {
        BuildPlan::Rust => compile(project, only, say)?,
        BuildPlan::Made { command, component } => {
            if let Some(command) = command {
                say(command);
                let mut shell = Command::new("sh");
                without_this_run(&mut shell);
                run(shell.args(["-c", command]).current_dir(&project.folder))?;
            }
            project.folder.join(component)
        }
    };
    let component = with_manifest(&made, &project.manifest)?;
    let checked = project.check(&component).map_err(BuildError::Refused)?;
    let path = output.map_or_else(|| project.component_path(), Path::to_owned);
    replace(&path, &component)?;
    Ok(Built { path, checked })
}

/// The file at `made` as a component that holds this manifest, and no other.
fn with_manifest(made: &Path, manifest: &Manifest) -> Result<Vec<u8>, BuildError> {
    let file = |error| BuildError::File { path: made.to_owned(), done: "read", error };
    let size = fs::metadata(made).map_err(file)?.len();
    if size > MAX_COMPONENT_BYTES as u64 {
        let words = format!("it has {size} bytes; at most {MAX_COMPONENT_BYTES} are taken");
        return Err(file(io::Error::new(io::ErrorKind::FileTooLarge, words)));
    }
    let binary = fs::read(made).map_err(file)?;
    let in_words = |error| BuildError::Binary { path: made.to_owned(), error };
    let component = to_component(&binary).map_err(in_words)?;
    let mut component = without_section(&component, Manifest::SECTION).map_err(in_words)?;
    append_section(&mut component, Manifest::SECTION, &serde_json::to_vec(manifest)?);
    Ok(component)
}

/// A reader sees the old file or the new one, never half of one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let partial = path.with_extension("wasm.partial");
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).map_err(|error| BuildError::File {
        path: path.to_owned(),
        done: "written",
        error,
    })
}

/// Compiles a Rust project. Gives the library's file.
fn compile(project: &Project, only: Option<Toolchain>, say: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
    let compiler = Compiler::find(Target::Wasip2, only, say)?;
    say(&format!("compiling with {compiler}"));
    let mut cargo = compiler.cargo()?;
    // Where an author wants builds to go is no flag of another build.
    if let Some(folder) = env::var_os("CARGO_TARGET_DIR") {
        cargo.env("CARGO_TARGET_DIR", folder);
    }
    cargo.current_dir(&project.folder).args(["build", "--release", "--lib"]).args(compiler.arguments());
    let messages = printed(cargo.arg("--message-format=json-render-diagnostics"))?;
    let toml = project.folder.join("Cargo.toml");
    library(&messages, &toml).ok_or(BuildError::NoLibrary(toml))
}

/// What cargo tells of one finished crate.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<ArtifactTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    crate_types: Vec<String>,
}

/// The `.wasm` of the project's own library, among all that cargo tells.
fn library(messages: &str, toml: &Path) -> Option<PathBuf> {
    let same = |path: &Path| match (fs::canonicalize(path), fs::canonicalize(toml)) {
        (Ok(a), Ok(b)) => a == b,
        _ => path == toml,
    };
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let is_cdylib = |target: &ArtifactTarget| target.crate_types.iter().any(|kind| kind == "cdylib");
    artifacts
        .filter(|artifact| artifact.reason == "compiler-artifact" && artifact.target.as_ref().is_some_and(is_cdylib))
        .filter(|artifact| same(&artifact.manifest_path))
        .flat_map(|artifact| artifact.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    fn project(folder: &Path, build: &str) -> Project {
        let text = format!(
            "name = \"a/b\"\nversion = \"0.1.0\"\ndescription = \"It does.\"\n{build}\n[[tools]]\nname = \"t\"\n\
             title = \"T\"\ndescription = \"Does t.\"\ninput_schema = {{ type = \"object\" }}\n"
        );
        fs::write(folder.join("plugin.toml"), text).unwrap();
        Project::read(folder).unwrap()
    }

    const TOOL: &str = r#"(component (instance $i) (export "vivarium:plugin/tool@0.1.0" (instance $i)))"#;

    #[test]
    fn a_command_builds_and_the_manifest_of_today_replaces_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut component = wat::parse_str(TOOL).unwrap();
        append_section(&mut component, Manifest::SECTION, b"old");
        fs::write(folder.path().join("made.wasm"), component).unwrap();
        let project = project(
            folder.path(),
            "build = { command = \"mkdir -p dist && mv made.wasm dist/x.wasm\", component = \"dist/x.wasm\" }",
        );
        let mut said = Vec::new();
        let built = build(&project, None, None, &mut |line| said.push(line.to_owned())).unwrap();
        assert_eq!(built.path, folder.path().join("b.wasm"));
        assert_eq!(built.checked.manifest, project.manifest);
        assert_eq!(said, ["mkdir -p dist && mv made.wasm dist/x.wasm"]);
        assert_eq!(check(&fs::read(&built.path).unwrap()).unwrap().digest, built.checked.digest);
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), "build = { command = \"exit 3\", component = \"x.wasm\" }");
        let error = build(&project, None, None, &mut |_| ()).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 3` failed (exit status: 3)");
    }

    #[test]
    fn a_refusal_points_at_the_line_that_would_change_it_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let wat = r#"(component (import "vivarium:plugin/state@0.1.0" (instance)))"#;
        fs::write(folder.path().join("x.wasm"), wat::parse_str(wat).unwrap()).unwrap();
        let project = project(folder.path(), "requests = { corpus = false }\nbuild = { component = \"x.wasm\" }");
        let error = build(&project, None, None, &mut |_| ()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "DIR");
        insta::assert_snapshot!(error, @r#"
        the component was built, but no host would take it:
        DIR/plugin.toml:4:12: the component imports vivarium:plugin/state@0.1.0, and its manifest does not ask for it: set `requests.state`
            4 | requests = { corpus = false }
              |            ^^^^^^^^^^^^^^^^^^
        DIR/plugin.toml:6:1: the manifest lists tools, but the component does not export vivarium:plugin/tool@0.1.0
            6 | [[tools]]
              | ^^^^^^^^^
        "#);
        assert!(!folder.path().join("b.wasm").exists());
    }

    #[test]
    fn the_projects_own_library_is_found_among_its_dependencies() {
        let line = |toml: &str, kind: &str, file: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": toml, "target": {"crate_types": [kind]},
                               "filenames": [file]})
            .to_string()
        };
        let messages = [
            line("/x/dep/Cargo.toml", "cdylib", "/t/dep.wasm"),
            line("/x/Cargo.toml", "lib", "/t/lib.rlib"),
            "{\"reason\":\"build-finished\",\"success\":true}".to_owned(),
            line("/x/Cargo.toml", "cdylib", "/t/plugin.wasm"),
        ];
        assert_eq!(library(&messages.join("\n"), Path::new("/x/Cargo.toml")), Some("/t/plugin.wasm".into()));
        assert_eq!(library(&messages[..2].join("\n"), Path::new("/x/Cargo.toml")), None);
    }
}
