//! What `vivarium plugin new` writes is compiled for real: a template that does not build is worse than none.

use std::path::Path;
use std::process::Command;

use vivarium_author::{
    BuildError, Built, Project, TemplateKind, Toolchain, build, new_project, printed, without_this_run,
};

/// All projects share their dependencies' builds.
fn cargo_in(folder: &Path, target: &Path, arguments: &[&str]) {
    let mut cargo = Command::new("cargo");
    without_this_run(&mut cargo);
    printed(cargo.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", target)).unwrap();
}

fn made(folder: &Path, name: &str, kind: TemplateKind) -> Project {
    new_project(&name.parse().unwrap(), kind, folder).unwrap();
    Project::read(folder).unwrap()
}

fn built(project: &Project, only: Option<Toolchain>) -> Result<Built, BuildError> {
    build(project, None, only, &mut |line| println!("{line}"))
}

#[test]
fn a_new_tool_builds_passes_its_own_test_and_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = made(&folder.path().join("reader"), "you/reader", TemplateKind::Tool);
    cargo_in(&project.folder, &folder.path().join("target"), &["test", "--quiet"]);
    let built = built(&project, None).unwrap();
    assert_eq!(built.path, folder.path().join("reader/reader.wasm"));
    assert!(built.checked.asks.is_empty() && built.checked.notes.is_empty(), "{:?}", built.checked);
    assert!(built.checked.surface.made_with.iter().any(|by| by.starts_with("Rust")), "{:?}", built.checked.surface);
}

#[test]
fn a_new_mode_builds_passes_its_own_test_and_asks_for_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let project = made(&folder.path().join("oracle"), "you/oracle", TemplateKind::Mode);
    cargo_in(&project.folder, &folder.path().join("target"), &["test", "--quiet"]);
    let built = built(&project, None).unwrap();
    assert_eq!(built.checked.asks.len(), 1);
    assert!(built.checked.asks[0].contains("language model") && built.checked.notes.is_empty(), "{:?}", built.checked);
}
