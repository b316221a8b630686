//! Which compiler makes the guests.
//!
//! A person with rustup needs one target and gets it without being asked. Where rustup can fetch nothing (a closed network) but
//! Debian's packages can be had, Debian's own Rust does the same from its standard library's source. What can be done is decided
//! by looking at the machine first; only then is anything changed.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::repository::{output, run, shown, without_this_run};

/// The guests' target: std without any system interface, so that a component provably imports the contract and nothing else.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's Rust, the source of its standard library, and the linker that `rust-lld` is a link to.
const DEBIAN_PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A compiler that can make guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Toolchain {
    /// The Rust that builds the host, with the target's standard library installed (by rustup, or by hand).
    Rustup,
    /// Debian's Rust, which compiles the target's standard library itself.
    Debian,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup => write!(f, "the host's Rust and its target {TARGET}"),
            Self::Debian => {
                f.write_str("Debian's Rust and its standard library's source (the first time takes a minute or two)")
            }
        }
    }
}

impl Toolchain {
    /// A cargo that knows nothing of the host's build: neither its flags nor its folders.
    pub(crate) fn cargo(self) -> Result<Command> {
        let mut command = match self {
            Self::Rustup => Command::new("cargo"),
            Self::Debian => Command::new(DEBIAN_CARGO),
        };
        without_this_run(&mut command);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(changes_a_build) {
                command.env_remove(name);
            }
        }
        if matches!(self, Self::Debian) {
            // rustup's folder comes first on most PATHs, and cargo looks there for rustc, rustdoc and the linker.
            let path = env::var_os("PATH").unwrap_or_default();
            let path = std::iter::once(PathBuf::from("/usr/bin")).chain(env::split_paths(&path));
            command.env("PATH", env::join_paths(path)?);
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
        }
        Ok(command)
    }

    /// What `cargo build` is told in addition.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Rustup => &[],
            Self::Debian => &["-Z", "build-std=std,panic_abort"],
        }
    }
}

/// Variables that are meant for the host's build and would make other guests, or none.
fn changes_a_build(name: &str) -> bool {
    let exact = ["RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTDOCFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"];
    let prefixes = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "RUSTC_"];
    exact.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// What matters of a machine.
#[derive(Debug, Clone, Default)]
struct Machine {
    target_installed: bool,
    rustup: bool,
    debian: bool,
    missing_packages: Vec<String>,
    root: bool,
}

/// Something to try.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Move {
    UseInstalledTarget,
    AddTarget,
    UseDebian,
    InstallDebian(Vec<String>),
}

impl Machine {
    fn look() -> Self {
        let debian = Path::new("/usr/bin/apt-get").is_file() && Path::new("/usr/bin/dpkg-query").is_file();
        Self {
            target_installed: target_is_installed(),
            rustup: output(Command::new("rustup").arg("--version")).is_some(),
            debian,
            missing_packages: if debian { missing_packages() } else { Vec::new() },
            root: output(Command::new("id").arg("-u")).is_some_and(|id| id == "0"),
        }
    }

    /// What to try, in this order.
    fn moves(&self, only: Option<Toolchain>) -> Vec<Move> {
        let rustup = only != Some(Toolchain::Debian);
        let debian = only != Some(Toolchain::Rustup) && self.debian;
        if rustup && self.target_installed {
            return vec![Move::UseInstalledTarget];
        }
        let mut moves = Vec::new();
        if rustup && self.rustup {
            moves.push(Move::AddTarget);
        }
        if debian && self.missing_packages.is_empty() {
            moves.push(Move::UseDebian);
        } else if debian && self.root {
            moves.push(Move::InstallDebian(self.missing_packages.clone()));
        }
        moves
    }

    /// What a person can type where nothing worked.
    fn advice(&self) -> String {
        let install =
            format!("{}{}", if self.root { "" } else { "sudo " }, shown(&apt_install(&self.missing_packages)));
        match (self.rustup, self.debian && !self.missing_packages.is_empty()) {
            (true, false) => format!("rustup target add {TARGET}"),
            (true, true) => format!("rustup target add {TARGET}` or, on Debian without rustup's network, `{install}"),
            (false, true) => install,
            (false, false) => format!("curl https://sh.rustup.rs -sSf | sh && rustup target add {TARGET}"),
        }
    }
}

/// Finds a compiler for the guests; installs what it needs where that takes no question.
///
/// # Errors
/// When there is none. The text has the command to type.
pub(crate) fn choose(only: Option<Toolchain>) -> Result<Toolchain> {
    let machine = Machine::look();
    for attempt in machine.moves(only) {
        match make(&attempt) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => eprintln!("  {error:#}"),
        }
    }
    bail!("there is no compiler for the guests' target {TARGET}: type `{}`, then this again", machine.advice())
}

fn make(attempt: &Move) -> Result<Toolchain> {
    match attempt {
        Move::UseInstalledTarget => Ok(Toolchain::Rustup),
        Move::AddTarget => {
            let mut rustup = Command::new("rustup");
            // Its default of three tries only makes a closed network take longer.
            rustup.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "1");
            eprintln!("  {}", shown(&rustup));
            run(&mut rustup)?;
            if !target_is_installed() {
                bail!("rustup has added {TARGET}, but to another toolchain than the one in use");
            }
            Ok(Toolchain::Rustup)
        }
        Move::UseDebian => Ok(Toolchain::Debian),
        Move::InstallDebian(packages) => {
            let mut update = Command::new("apt-get");
            update.args(["update", "--quiet"]);
            for command in [&mut update, &mut apt_install(packages)] {
                eprintln!("  {}", shown(command));
                run(command.env("DEBIAN_FRONTEND", "noninteractive"))?;
            }
            Ok(Toolchain::Debian)
        }
    }
}

/// Whether the host's Rust has the target's standard library, whoever put it there.
fn target_is_installed() -> bool {
    let mut rustc = Command::new("rustc");
    without_this_run(&mut rustc);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let Some(folder) = output(&mut rustc) else { return false };
    let Ok(entries) = Path::new(&folder).read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn missing_packages() -> Vec<String> {
    let installed = |package: &str| {
        output(Command::new("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", package]))
            .is_some_and(|status| status == "installed")
    };
    DEBIAN_PACKAGES.iter().filter(|package| !installed(package)).map(|package| (*package).to_owned()).collect()
}

fn apt_install(packages: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian_without_packages() -> Machine {
        let missing_packages = DEBIAN_PACKAGES.map(str::to_owned).to_vec();
        Machine { debian: true, missing_packages, ..Machine::default() }
    }

    #[test]
    fn an_installed_target_is_used_and_nothing_is_changed() {
        let machine = Machine { target_installed: true, rustup: true, root: true, ..debian_without_packages() };
        assert_eq!(machine.moves(None), [Move::UseInstalledTarget]);
    }

    #[test]
    fn rustup_is_asked_before_debian() {
        let machine = Machine { rustup: true, debian: true, ..Machine::default() };
        assert_eq!(machine.moves(None), [Move::AddTarget, Move::UseDebian]);
    }

    #[test]
    fn only_root_installs_packages_without_being_asked() {
        let machine = debian_without_packages();
        assert_eq!(machine.moves(None), []);
        assert!(machine.advice().starts_with("sudo apt-get install --yes --no-install-recommends rustc-web "));
        let root = Machine { root: true, ..machine };
        assert_eq!(root.moves(None), [Move::InstallDebian(root.missing_packages.clone())]);
    }

    #[test]
    fn a_named_toolchain_is_the_only_one_tried() {
        let machine = Machine { target_installed: true, rustup: true, debian: true, ..Machine::default() };
        assert_eq!(machine.moves(Some(Toolchain::Debian)), [Move::UseDebian]);
        assert_eq!(machine.moves(Some(Toolchain::Rustup)), [Move::UseInstalledTarget]);
    }

    #[test]
    fn where_nothing_can_be_done_one_command_is_named() {
        let bare = Machine::default();
        assert_eq!(bare.moves(None), []);
        assert!(bare.advice().ends_with("rustup target add wasm32-unknown-unknown"));
    }

    #[test]
    fn the_hosts_flags_do_not_reach_the_guests() {
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_PROFILE_DEV_DEBUG", "RUSTC_WRAPPER"]
        {
            assert!(changes_a_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH"] {
            assert!(!changes_a_build(name), "{name}");
        }
    }
}
