//! What `vivarium plugin new` writes is compiled for real: a template that does not build is worse than none.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use vivarium_author::{Built, Project, TemplateKind, build, new_project, printed, without_this_run};

/// A project in a folder of its own, whose builds go where those of the last run are.
fn made(folder: &Path, name: &str, kind: TemplateKind) -> Project {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project");
    fs::create_dir_all(folder.join(".cargo")).unwrap();
    fs::write(folder.join(".cargo/config.toml"), format!("[build]\ntarget-dir = {target:?}\n")).unwrap();
    let project = folder.join("project");
    new_project(&name.parse().unwrap(), kind, &project).unwrap();
    Project::read(&project).unwrap()
}

fn tested_and_built(project: &Project) -> Built {
    let mut cargo = Command::new("cargo");
    without_this_run(&mut cargo);
    printed(cargo.args(["test", "--quiet"]).current_dir(&project.folder).env_remove("CARGO_TARGET_DIR")).unwrap();
    build(project, None, None, &mut |line| println!("{line}")).unwrap()
}

#[test]
fn a_new_tool_builds_passes_its_own_test_and_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = made(folder.path(), "you/reader", TemplateKind::Tool);
    let built = tested_and_built(&project);
    assert_eq!(built.path, project.folder.join("reader.wasm"));
    assert!(built.checked.asks.is_empty() && built.checked.notes.is_empty(), "{:?}", built.checked);
    assert!(built.checked.surface.made_with.iter().any(|by| by.starts_with("Rust")), "{:?}", built.checked.surface);
}

#[test]
fn a_new_mode_builds_passes_its_own_test_and_asks_for_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let project = made(folder.path(), "you/oracle", TemplateKind::Mode);
    let built = tested_and_built(&project);
    assert_eq!(built.checked.asks.len(), 1);
    assert!(built.checked.asks[0].contains("language model") && built.checked.notes.is_empty(), "{:?}", built.checked);
}

#[test]
fn projects_that_share_a_target_folder_keep_their_own_components() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let tool = made(folders[0].path(), "you/clock", TemplateKind::Tool);
    let mode = made(folders[1].path(), "you/poet", TemplateKind::Mode);
    let digest = |project: &Project| build(project, None, None, &mut |_| ()).unwrap().checked.digest;
    let (first, other) = (digest(&tool), digest(&mode));
    // Nothing has changed, so cargo compiles nothing: what it finds must be what it has made of this project.
    assert_eq!((digest(&tool), digest(&mode)), (first, other));
}
