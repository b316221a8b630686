//! The arrows between the rooms. ARCHITECTURE.md draws them; here they are held.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use vivarium_tests::repository_root;

/// Which rooms a room may know. `vivarium`, the binary, wires all of them and is not in the table.
const ARROWS: [(&str, &[&str]); 16] = [
    ("vivarium-domain", &[]),
    ("vivarium-sight", &[]),
    ("vivarium-author", &["vivarium-domain"]),
    ("vivarium-egress", &["vivarium-sight"]),
    ("vivarium-store", &["vivarium-domain", "vivarium-sight"]),
    ("vivarium-models", &["vivarium-domain", "vivarium-sight"]),
    ("vivarium-corpus", &["vivarium-domain"]),
    ("vivarium-sandbox", &["vivarium-domain", "vivarium-egress", "vivarium-sight"]),
    ("vivarium-workspaces", &["vivarium-domain", "vivarium-sandbox"]),
    (
        "vivarium-registry",
        &[
            "vivarium-domain",
            "vivarium-egress",
            "vivarium-mcp",
            "vivarium-sandbox",
            "vivarium-store",
            "vivarium-workspaces",
        ],
    ),
    (
        "vivarium-runs",
        &[
            "vivarium-domain",
            "vivarium-models",
            "vivarium-registry",
            "vivarium-sandbox",
            "vivarium-sight",
            "vivarium-store",
            "vivarium-workspaces",
        ],
    ),
    ("vivarium-agents", &["vivarium-domain", "vivarium-models", "vivarium-registry", "vivarium-store"]),
    ("vivarium-attachments", &["vivarium-domain", "vivarium-egress", "vivarium-sandbox"]),
    ("vivarium-webhooks", &["vivarium-domain", "vivarium-egress", "vivarium-sight", "vivarium-store"]),
    ("vivarium-mcp", &["vivarium-domain", "vivarium-egress", "vivarium-sight"]),
    (
        "vivarium-api",
        &[
            "vivarium-agents",
            "vivarium-attachments",
            "vivarium-domain",
            "vivarium-registry",
            "vivarium-runs",
            "vivarium-sight",
            "vivarium-store",
            "vivarium-webhooks",
            "vivarium-workspaces",
        ],
    ),
];

/// A foreign crate that carries an authority, and the rooms that may hold it. The binary may hold any.
const KEEPERS: [(&str, &[&str]); 12] = [
    ("axum", &["vivarium-api"]),
    ("tower-http", &["vivarium-api"]),
    ("sled", &["vivarium-store"]),
    ("tantivy", &["vivarium-corpus"]),
    ("reqwest", &["vivarium-egress", "vivarium-models"]),
    ("metrics", &["vivarium-sight"]),
    ("opentelemetry", &["vivarium-sight"]),
    ("wasmtime", &["vivarium-sandbox"]),
    ("wasmtime-wasi", &["vivarium-sandbox"]),
    ("wasmtime-wasi-http", &["vivarium-sandbox"]),
    ("rmcp", &["vivarium-api", "vivarium-mcp"]),
    ("clap", &[]),
];

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(repository_root().join("Cargo.toml")).no_deps().exec().unwrap()
}

fn rooms(metadata: &Metadata) -> Vec<&Package> {
    metadata.packages.iter().filter(|package| package.manifest_path.as_str().contains("/host/")).collect()
}

/// What a package is built with, tests aside.
fn built_with(package: &Package) -> BTreeSet<String> {
    let of_tests = |kind: DependencyKind| kind == DependencyKind::Development;
    package.dependencies.iter().filter(|d| !of_tests(d.kind)).map(|d| d.name.clone()).collect()
}

#[test]
fn a_room_knows_only_the_rooms_that_it_may_know() {
    let metadata = metadata();
    let rooms = rooms(&metadata);
    let names: BTreeSet<_> = rooms.iter().map(|room| room.name.as_str()).collect();
    let drawn: BTreeSet<_> = ARROWS.iter().map(|(room, _)| *room).chain(["vivarium"]).collect();
    assert_eq!(names, drawn, "a room was added or lost: draw its arrows here and in ARCHITECTURE.md");
    for room in rooms {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room.name.as_str()) else { continue };
        let known: Vec<_> = built_with(room).into_iter().filter(|name| names.contains(name.as_str())).collect();
        let strangers: Vec<_> = known.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(strangers.is_empty(), "{} must not know {strangers:?}", room.name);
    }
}

#[test]
fn each_authority_has_its_keeper() {
    let metadata = metadata();
    for room in rooms(&metadata) {
        if room.name.as_str() == "vivarium" {
            continue;
        }
        let known = built_with(room);
        for (authority, keepers) in KEEPERS {
            let held = known.contains(authority);
            assert!(!held || keepers.contains(&room.name.as_str()), "{} must not hold {authority}", room.name);
        }
    }
}

#[test]
fn the_words_are_plain_types_without_io() {
    let metadata = MetadataCommand::new().manifest_path(repository_root().join("Cargo.toml")).exec().unwrap();
    let resolve = metadata.resolve.as_ref().unwrap();
    let name = |id: &cargo_metadata::PackageId| metadata[id].name.as_str().to_owned();
    let domain = metadata.packages.iter().find(|package| package.name.as_str() == "vivarium-domain").unwrap();
    let mut reached = BTreeSet::new();
    let mut ahead = vec![domain.id.clone()];
    while let Some(id) = ahead.pop() {
        if !reached.insert(name(&id)) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == id).unwrap();
        let normal = |d: &&cargo_metadata::NodeDep| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal);
        ahead.extend(node.deps.iter().filter(normal).map(|dependency| dependency.pkg.clone()));
    }
    assert!(reached.contains("serde"), "the walk over the dependencies is broken: {reached:?}");
    for io in ["tokio", "mio", "hyper", "axum", "reqwest", "sled", "wasmtime", "socket2", "rustls"] {
        assert!(!reached.contains(io), "vivarium-domain reaches {io}");
    }
}

#[test]
fn the_house_stands_on_the_crates_that_it_was_promised_to_stand_on() {
    let all: BTreeSet<_> = metadata().packages.iter().flat_map(built_with).collect();
    for promised in ["wasmtime", "wasmtime-wasi", "tokio", "axum", "serde", "serde_json", "reqwest", "sled"] {
        assert!(all.contains(promised), "nothing depends on {promised}");
    }
}

#[test]
fn every_package_inherits_the_lints() {
    let root = repository_root();
    let table = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for lint in ["unwrap_used", "expect_used", "panic", "indexing_slicing", "unsafe_code"] {
        assert!(table.contains(&format!("{lint} = \"deny\"")), "the workspace no longer denies {lint}");
    }
    for package in metadata().packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let compact: String = manifest.split_whitespace().collect();
        assert!(compact.contains("[lints]workspace=true"), "{} does not inherit the lints", package.manifest_path);
    }
}

/// The one place that may say `unsafe`: wasmtime can not check a compiled form, only we can vouch for its origin.
const COMPILED_FORMS: &str = "host/sandbox/src/";

#[test]
fn unsafe_stands_in_one_reasoned_place() {
    let root = repository_root();
    let mut places = BTreeSet::new();
    for folder in ["host", "xtask", "tests"] {
        for file in sources(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            if text.lines().any(says_unsafe) {
                places.insert(file.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    assert_eq!(places.len(), 1, "unsafe code stands in {places:?}");
    for place in places {
        assert!(place.starts_with(COMPILED_FORMS), "unsafe code stands in {place}");
        let text = fs::read_to_string(root.join(&place)).unwrap();
        let allowed = text.lines().any(|line| line.contains("(unsafe_code, reason") || line.trim() == "unsafe_code,");
        assert!(allowed, "{place} does not say why");
        assert!(text.contains("SAFETY:"), "{place} does not say what makes it safe");
        assert_eq!(text.lines().filter(|line| says_unsafe(line)).count(), 1, "one use of unsafe in {place}");
    }
}

/// Whether a line of code has the keyword; comments, strings and lint names do not count.
fn says_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let outside_strings = code.split('"').step_by(2);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    outside_strings.flat_map(|piece| piece.split(|c| !word(c))).any(|token| token == "unsafe")
}

#[test]
fn the_search_for_unsafe_finds_it() {
    assert!(says_unsafe("    let x = unsafe { f() };") && says_unsafe("pub unsafe fn f() {}"));
    assert!(
        !says_unsafe("#[allow(unsafe_code)] // unsafe") && !says_unsafe("/// unsafe") && !says_unsafe("\"unsafe \",")
    );
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
