//! The plugins in `examples/plugins`, built as their authors build them.
//!
//! Each is copied into the target folder first, links followed, and built there with its own language's tools and
//! `vivarium plugin build`. So an example that leans on this repository without saying so does not build, and a build leaves
//! nothing among the sources.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::guests::{add_folder, replace};
use crate::python;
use crate::repository::{self, Repository};
use crate::steps::Outcome;

/// Changes whenever this program builds the examples in another way.
const RECIPE: &str = "1";

/// What a build keeps in a project for the next one: what it has fetched.
const KEPT: [&str; 2] = [VENV, NODE_MODULES];
const VENV: &str = ".venv";
const NODE_MODULES: &str = "node_modules";

/// A folder of `examples/plugins` with a `plugin.toml`.
pub(crate) struct Example {
    /// The folder's name.
    pub(crate) name: String,
    source: PathBuf,
    /// Where it is copied to and built.
    project: PathBuf,
    /// Where its component goes.
    component: PathBuf,
}

/// Why an example was not built.
pub(crate) enum Failure {
    /// Its language is not there, or its tools can not be fetched: the example may be as good as ever.
    Tools(anyhow::Error),
    /// It does not build.
    Build(anyhow::Error),
}

impl From<Failure> for anyhow::Error {
    fn from((Failure::Tools(error) | Failure::Build(error)): Failure) -> Self {
        error
    }
}

/// All examples, or those of these names, in the order of their names.
///
/// # Errors
/// When the folder can not be read, or a name is none of them.
pub(crate) fn find(repository: &Repository, names: &[String]) -> Result<Vec<Example>> {
    let sources = repository.root.join("examples/plugins");
    let target = repository.target().join("examples");
    let mut examples = Vec::new();
    for entry in fs::read_dir(&sources).with_context(|| format!("{} can not be read", sources.display()))? {
        let source = entry?.path();
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if source.join("plugin.toml").is_file() {
            let (project, component) = (target.join(&name), target.join(format!("{name}.wasm")));
            examples.push(Example { name, source, project, component });
        }
    }
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    let known = examples.iter().map(|example| example.name.as_str()).collect::<Vec<_>>();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no example {unknown}; there are {}", known.join(", "));
    }
    examples.retain(|example| names.is_empty() || names.contains(&example.name));
    Ok(examples)
}

/// Whether those in Rust are formatted. Of the sources, because the way is set by a file that stands above them.
///
/// # Errors
/// When one is not.
pub(crate) fn check_format(repository: &Repository) -> Result<Outcome> {
    for example in find(repository, &[])? {
        if example.source.join("Cargo.toml").is_file() {
            let mut cargo = repository.cargo();
            repository::run(cargo.args(["fmt", "--check"]).current_dir(&example.source))?;
        }
    }
    Ok(Outcome::Done(String::new()))
}

impl Example {
    /// Builds it, or finds that nothing has changed since.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) fn build(&self, repository: &Repository) -> Result<Outcome, Failure> {
        let sources = self.hash_of_sources(repository).map_err(Failure::Build)?;
        if self.still_fits(&sources) {
            return Ok(Outcome::Unchanged(format!("{}, nothing has changed", self.size())));
        }
        self.copy().map_err(Failure::Build)?;
        self.fetch_tools().map_err(Failure::Tools)?;
        self.make(repository).and_then(|()| self.note(&sources)).map_err(Failure::Build)?;
        Ok(Outcome::Done(self.size()))
    }

    /// A hash over all that goes in: the project, the contract that it links to, and what builds it.
    fn hash_of_sources(&self, repository: &Repository) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(RECIPE);
        for folder in [self.source.clone(), repository.root.join("host/author")] {
            add_folder(&mut hash, &folder, &[VENV, NODE_MODULES, "target", "dist"])?;
        }
        Ok(hex::encode(hash.finalize()))
    }

    fn fingerprint(&self) -> PathBuf {
        self.component.with_extension("fingerprint")
    }

    /// What was built of what.
    fn words(&self, sources: &str) -> Result<String> {
        let component =
            fs::read(&self.component).with_context(|| format!("{} can not be read", self.component.display()))?;
        Ok(format!("sources {sources}\ncomponent {}\n", hex::encode(Sha256::digest(component))))
    }

    fn still_fits(&self, sources: &str) -> bool {
        let kept = fs::read_to_string(self.fingerprint());
        self.words(sources).is_ok_and(|now| kept.is_ok_and(|kept| kept == now))
    }

    fn note(&self, sources: &str) -> Result<()> {
        replace(&self.fingerprint(), self.words(sources)?.as_bytes())
    }

    fn size(&self) -> String {
        let bytes = fs::metadata(&self.component).map_or(0, |metadata| metadata.len());
        format!("{} KiB", bytes.div_ceil(1024))
    }

    /// What the last build has left goes, but for what is dear to make again.
    fn copy(&self) -> Result<()> {
        if self.project.is_dir() {
            for entry in fs::read_dir(&self.project)? {
                let entry = entry?;
                if KEPT.iter().any(|kept| entry.file_name() == *kept) {
                    continue;
                }
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                    .with_context(|| format!("{} can not be removed", path.display()))?;
            }
        }
        copy_folder(&self.source, &self.project, &[VENV, NODE_MODULES, "target", "dist"])
    }

    /// What the project's README tells its author to fetch first.
    fn fetch_tools(&self) -> Result<()> {
        self.fetched("requirements.txt", VENV, |project| {
            let python = python::environment(&project.join(VENV))?;
            let mut pip = python::pip_install(&python);
            pip.arg("--requirement");
            repository::run(pip.arg("requirements.txt").current_dir(project))
        })?;
        self.fetched("package-lock.json", NODE_MODULES, |project| {
            let mut npm = Command::new("npm");
            repository::run(npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(project))
                .context("npm can not fetch what the project needs (on Debian: `apt-get install nodejs npm`)")
        })
    }

    /// Fetches what the file `list` names into `folder`, unless that is done. The note that it is done is written last.
    fn fetched(&self, list: &str, folder: &str, fetch: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let Ok(wanted) = fs::read(self.project.join(list)) else { return Ok(()) };
        let note = self.project.join(folder).join("fetched");
        if fs::read(&note).is_ok_and(|kept| kept == wanted) {
            return Ok(());
        }
        fetch(&self.project)?;
        fs::write(&note, wanted).with_context(|| format!("{} can not be written", note.display()))
    }

    /// Builds it, and runs its tests: those of its language, and its cases.
    fn make(&self, repository: &Repository) -> Result<()> {
        if self.project.join("Cargo.toml").is_file() {
            let mut tests = repository.cargo();
            tests.args(["test", "--quiet", "--target-dir"]).arg(compiled(repository)).current_dir(&self.project);
            repository::run(&mut tests)?;
        }
        repository::run(self.vivarium(repository)?.args(["plugin", "build", "--output"]).arg(&self.component))?;
        repository::run(self.vivarium(repository)?.args(["plugin", "test", "--component"]).arg(&self.component))
    }

    /// `vivarium` in the project, with the tools that were fetched for it.
    fn vivarium(&self, repository: &Repository) -> Result<Command> {
        let mut vivarium = Command::new(repository.target().join("debug/vivarium"));
        repository::without_this_run(&mut vivarium);
        vivarium.current_dir(&self.project).env("CARGO_TARGET_DIR", compiled(repository));
        let venv = self.project.join(VENV);
        if venv.is_dir() {
            let path = env::var_os("PATH").unwrap_or_default();
            let path = std::iter::once(venv.join("bin")).chain(env::split_paths(&path));
            vivarium.env("PATH", env::join_paths(path)?).env("VIRTUAL_ENV", &venv);
        }
        Ok(vivarium)
    }
}

/// Where the Rust projects are compiled: they share most of what they stand on, and sometimes the standard library.
fn compiled(repository: &Repository) -> PathBuf {
    repository.target().join("examples/target")
}

/// Copies what is in a folder, links followed. `left_out` are folders at the top.
fn copy_folder(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    let problem = || format!("{} can not be copied to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(problem)?;
    for entry in fs::read_dir(from).with_context(problem)? {
        let entry = entry.with_context(problem)?;
        if left_out.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &copy, &[])?;
        } else {
            fs::copy(&source, &copy).with_context(|| format!("{} can not be copied", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clone {
        folder: tempfile::TempDir,
    }

    impl Clone {
        /// With one example, whose contract is a link.
        fn new() -> Self {
            let clone = Self { folder: tempfile::tempdir().unwrap() };
            for (path, text) in [
                ("wit/w.wit", "interface i {}"),
                ("host/author/lib.rs", ""),
                ("examples/plugins/a/plugin.toml", "name = \"example/a\""),
                ("examples/plugins/a/wit/world.wit", "world a {}"),
                ("examples/plugins/README.md", "no example"),
                ("examples/plugins/links/w.wit", "no example either"),
            ] {
                clone.write(path, text);
            }
            let link = clone.path("examples/plugins/a/wit/deps");
            std::os::unix::fs::symlink(clone.path("wit"), link).unwrap();
            clone
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn repository(&self) -> Repository {
            Repository { root: self.folder.path().to_owned() }
        }

        fn example(&self) -> Example {
            let mut only = find(&self.repository(), &["a".to_owned()]).unwrap().pop().unwrap();
            only.project = self.path("target/a");
            only.component = self.path("target/a.wasm");
            only
        }

        fn fits(&self) -> bool {
            let example = self.example();
            example.still_fits(&example.hash_of_sources(&self.repository()).unwrap())
        }

        fn built(self) -> Self {
            self.write("target/a.wasm", "component");
            let example = self.example();
            example.note(&example.hash_of_sources(&self.repository()).unwrap()).unwrap();
            assert!(self.fits());
            self
        }
    }

    #[test]
    fn a_folder_with_a_plugin_toml_is_an_example_and_a_wrong_name_is_told() {
        let clone = Clone::new();
        let names: Vec<_> = find(&clone.repository(), &[]).unwrap().into_iter().map(|example| example.name).collect();
        assert_eq!(names, ["a"]);
        let error = find(&clone.repository(), &["b".to_owned()]).err().unwrap().to_string();
        assert_eq!(error, "there is no example b; there are a");
    }

    #[test]
    fn a_changed_example_contract_or_builder_is_seen() {
        for path in ["examples/plugins/a/new.c", "wit/w.wit", "host/author/lib.rs", "target/a.wasm"] {
            let clone = Clone::new().built();
            clone.write(path, "changed");
            assert!(!clone.fits(), "{path}");
        }
    }

    #[test]
    fn what_an_author_builds_among_the_sources_changes_nothing() {
        let clone = Clone::new().built();
        clone.write("examples/plugins/a/node_modules/x.js", "anything");
        clone.write("examples/plugins/a/dist/a.wasm", "anything");
        assert!(clone.fits());
    }

    #[test]
    fn a_copy_stands_alone_and_keeps_what_was_fetched_but_not_what_was_built() {
        let clone = Clone::new();
        for path in ["target/a/node_modules/x.js", "target/a/dist/a.wasm", "target/a/gone.c"] {
            clone.write(path, "");
        }
        clone.example().copy().unwrap();
        let contract = clone.path("target/a/wit/deps");
        assert!(!contract.is_symlink() && contract.join("w.wit").is_file());
        assert!(clone.path("target/a/node_modules/x.js").exists());
        assert!(!clone.path("target/a/dist").exists() && !clone.path("target/a/gone.c").exists());
    }

    #[test]
    fn tools_are_fetched_again_only_when_the_list_of_them_changes() {
        let clone = Clone::new();
        let example = clone.example();
        let fetched = |times: &mut u32| {
            example
                .fetched("list", "tools", |project| {
                    *times += 1;
                    Ok(fs::create_dir_all(project.join("tools"))?)
                })
                .unwrap();
        };
        let mut times = 0;
        fetched(&mut times);
        assert_eq!(times, 0, "there is no list");
        clone.write("target/a/list", "x==1");
        fetched(&mut times);
        fetched(&mut times);
        assert_eq!(times, 1);
        clone.write("target/a/list", "x==2");
        fetched(&mut times);
        assert_eq!(times, 2);
    }
}
