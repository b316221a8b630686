//! What may come into the house: deny.toml says it, and this holds it on every machine, with cargo-deny or without.

use std::collections::BTreeSet;
use std::fs;

use cargo_metadata::{Metadata, MetadataCommand};
use vivarium_tests::repository_root;

/// The packages that a workspace is really built from here. Its lock file also names those of other systems.
fn metadata(manifest: &str) -> Metadata {
    let mut command = MetadataCommand::new();
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned).to_vec();
    command.manifest_path(repository_root().join(manifest)).other_options(platform).exec().unwrap()
}

fn workspaces() -> [Metadata; 2] {
    [metadata("Cargo.toml"), metadata("plugins/Cargo.toml")]
}

/// The quoted words after `key = [`, up to the closing bracket.
fn quoted_list(key: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository_root().join("deny.toml")).unwrap();
    let (_, list) = text.split_once(&format!("\n{key} = [")).unwrap_or_else(|| panic!("deny.toml has no {key}"));
    let (list, _) = list.split_once(']').unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = quoted_list("allow");
    assert!(allowed.contains("MIT") && !allowed.contains("GPL-3.0"), "{allowed:?}");
    for metadata in workspaces() {
        for package in metadata.packages {
            let licence = package.license.as_deref().unwrap_or("none");
            assert!(permits(licence, &allowed), "{} {} is under {licence}", package.name, package.version);
        }
    }
}

#[test]
fn no_banned_package_comes_in() {
    let banned = quoted_list("deny");
    assert!(banned.contains("openssl-sys"), "{banned:?}");
    for metadata in workspaces() {
        let here: Vec<_> = metadata.packages.iter().filter(|package| banned.contains(package.name.as_str())).collect();
        assert!(here.is_empty(), "{here:?}");
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    for metadata in workspaces() {
        for package in &metadata.packages {
            let own =
                package.source.is_none() && package.manifest_path.starts_with(repository_root().to_str().unwrap());
            let registry = package.source.as_ref().is_some_and(cargo_metadata::Source::is_crates_io);
            assert!(own || registry, "{} comes from {:?}", package.name, package.source);
        }
    }
}

/// Whether an SPDX expression (`/` is the old way to write `OR`) can be met with the allowed licences alone.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.trim();
    for or in [" OR ", "/"] {
        let parts = split_outside_parentheses(expression, or);
        if parts.len() > 1 {
            return parts.into_iter().any(|part| permits(part, allowed));
        }
    }
    let parts = split_outside_parentheses(expression, " AND ");
    if parts.len() > 1 {
        return parts.into_iter().all(|part| permits(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => permits(inner, allowed),
        None => allowed.contains(expression),
    }
}

fn split_outside_parentheses<'a>(text: &'a str, operator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && at >= start && text[at..].starts_with(operator) {
            parts.push(&text[start..at]);
            start = at + operator.len();
        }
    }
    parts.push(&text[start..]);
    parts
}

#[test]
fn a_licence_that_is_not_allowed_is_seen_in_every_form() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "Apache-2.0 / MIT", "(MIT OR GPL-3.0) AND Unicode-3.0"] {
        assert!(permits(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "none", "", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "Apache-2.0 WITH X"] {
        assert!(!permits(bad, &allowed), "{bad}");
    }
}
