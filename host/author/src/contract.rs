//! The contract with plugins, as an author of one needs it: its version, its WIT to write into a project, and the names of the
//! interfaces that a host links.

use semver::Version;

/// The contract version that this binary speaks.
pub const CONTRACT: Version = Version::new(0, 1, 0);
pub(crate) const CONTRACT_TEXT: &str = "0.1.0";

/// What a component exports that provides tools.
pub(crate) const TOOL_EXPORT: &str = "vivarium:plugin/tool@0.1.0";
/// What a component exports that provides modes.
pub(crate) const MODE_EXPORT: &str = "vivarium:plugin/mode@0.1.0";

/// The largest component that a host takes.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;
/// The largest manifest that a host takes.
pub(crate) const MAX_MANIFEST_BYTES: usize = 256 << 10;

macro_rules! wit {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../wit/0.1.0/", $path)))),*]
    };
}

/// The contract's files: where each stands within a project's `wit/`, and its text.
pub const WIT: &[(&str, &str)] = wit![
    "deps/cli.wit",
    "deps/clocks.wit",
    "deps/filesystem.wit",
    "deps/http.wit",
    "deps/io.wit",
    "deps/random.wit",
    "deps/sockets.wit",
    "mode.wit",
    "tool.wit",
    "types.wit",
    "worlds.wit",
];

/// The interfaces of the contract and of WASI that a host links, without versions.
pub(crate) const LINKED: &[&str] = &[
    "vivarium:plugin/corpus",
    "vivarium:plugin/log",
    "vivarium:plugin/model",
    "vivarium:plugin/programs",
    "vivarium:plugin/progress",
    "vivarium:plugin/secrets",
    "vivarium:plugin/session",
    "vivarium:plugin/settings",
    "vivarium:plugin/sources",
    "vivarium:plugin/state",
    "vivarium:plugin/steps",
    "vivarium:plugin/tools",
    "vivarium:plugin/types",
    "vivarium:plugin/workspace",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use wit_parser::Resolve;

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(CONTRACT_TEXT)
    }

    #[test]
    fn every_file_of_the_contract_goes_into_a_project() {
        let mut there = BTreeSet::new();
        for place in ["", "deps"] {
            for entry in std::fs::read_dir(folder().join(place)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    there.insert(path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let carried: BTreeSet<_> = WIT.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, there);
    }

    #[test]
    fn every_linked_interface_stands_in_the_contract_or_its_wasi() {
        let mut resolve = Resolve::default();
        resolve.push_dir(folder()).unwrap();
        let names: BTreeSet<_> = resolve
            .interfaces
            .iter()
            .filter_map(|(id, _)| resolve.id_of(id))
            .map(|name| name.split('@').next().unwrap_or_default().to_owned())
            .collect();
        for linked in LINKED {
            assert!(names.contains(*linked), "{linked} is in no WIT file");
        }
        let ours = names.iter().filter(|name| name.starts_with("vivarium:plugin/"));
        for name in ours.filter(|name| !["vivarium:plugin/tool", "vivarium:plugin/mode"].contains(&name.as_str())) {
            assert!(LINKED.contains(&name.as_str()), "{name} is linked, but not named here");
        }
    }
}
