//! Which compiler makes Rust guests.
//!
//! A person with rustup needs one target and gets it without being asked. Where rustup can fetch nothing (a closed network) but
//! Debian's packages can be had, Debian's own Rust does the same from its standard library's source. What can be done is decided
//! by looking at the machine first; only then is anything changed.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::process::{ProcessError, output, run, shown, without_this_run};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// What a guest is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `wasm32-unknown-unknown`: std without any system interface, so that a component provably imports the contract and
    /// nothing else.
    Unknown,
    /// `wasm32-wasip2`: std over WASI 0.2. The compiler makes the component.
    Wasip2,
}

impl Target {
    /// The target's name.
    #[must_use]
    pub fn triple(self) -> &'static str {
        match self {
            Self::Unknown => "wasm32-unknown-unknown",
            Self::Wasip2 => "wasm32-wasip2",
        }
    }

    /// Debian's Rust, the source of its standard library, the linker that `rust-lld` is a link to, and what std stands on.
    fn debian_packages(self) -> &'static [&'static str] {
        match self {
            Self::Unknown => &["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"],
            Self::Wasip2 => &["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "wasi-libc"],
        }
    }
}

/// Whose Rust it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The Rust on the PATH, with the target's standard library installed (by rustup, or by hand).
    Rustup,
    /// Debian's Rust, which compiles the target's standard library itself.
    Debian,
}

impl FromStr for Toolchain {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rustup" => Ok(Self::Rustup),
            "debian" => Ok(Self::Debian),
            other => Err(format!("{other:?} is no toolchain: rustup or debian")),
        }
    }
}

/// A compiler that can make guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiler {
    /// Whose it is.
    pub toolchain: Toolchain,
    /// What it compiles for.
    pub target: Target,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.toolchain {
            Toolchain::Rustup => write!(f, "the installed Rust and its target {}", self.target.triple()),
            Toolchain::Debian => {
                f.write_str("Debian's Rust and its standard library's source (the first time takes a minute or two)")
            }
        }
    }
}

/// Why there is no compiler.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Nothing that could be tried has worked.
    #[error("there is no compiler for the target {target}: type `{advice}`, then this again")]
    None {
        /// The target's name.
        target: &'static str,
        /// What a person can type.
        advice: String,
    },
    /// The compiler's PATH can not be made.
    #[error("a folder of the PATH can not be handed on: {0}")]
    Path(#[from] env::JoinPathsError),
}

impl Compiler {
    /// Finds a compiler for guests; installs what it needs where that takes no question. `say` hears what is tried.
    ///
    /// # Errors
    /// When there is none. The text has the command to type.
    pub fn find(target: Target, only: Option<Toolchain>, say: &mut dyn FnMut(&str)) -> Result<Self, ToolchainError> {
        let machine = Machine::look(target);
        for attempt in machine.moves(only) {
            match make(target, &attempt, say) {
                Ok(toolchain) => return Ok(Self { toolchain, target }),
                Err(text) => say(&text),
            }
        }
        Err(ToolchainError::None { target: target.triple(), advice: machine.advice() })
    }

    /// A cargo that knows nothing of the build that it may be started from: neither its flags nor its folders.
    ///
    /// # Errors
    /// When the PATH can not be handed on.
    pub fn cargo(self) -> Result<Command, ToolchainError> {
        let mut command = match self.toolchain {
            Toolchain::Rustup => Command::new("cargo"),
            Toolchain::Debian => Command::new(DEBIAN_CARGO),
        };
        without_this_run(&mut command);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(changes_a_build) {
                command.env_remove(name);
            }
        }
        if self.toolchain == Toolchain::Debian {
            // rustup's folder comes first on most PATHs, and cargo looks there for rustc, rustdoc and the linker.
            let path = env::var_os("PATH").unwrap_or_default();
            let path = std::iter::once(PathBuf::from("/usr/bin")).chain(env::split_paths(&path));
            command.env("PATH", env::join_paths(path)?);
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
            if self.target == Target::Wasip2 {
                command.env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", DEBIAN_WASIP2_FLAGS);
            }
        }
        Ok(command)
    }

    /// The same for programs (commands of WASI) and no libraries: with Debian's compiler they begin in another way.
    ///
    /// # Errors
    /// When the PATH can not be handed on.
    pub fn cargo_for_commands(self) -> Result<Command, ToolchainError> {
        let mut command = self.cargo()?;
        if self.toolchain == Toolchain::Debian && self.target == Target::Wasip2 {
            let flags = DEBIAN_WASIP2_FLAGS.replace("crt1-reactor.o", "crt1-command.o");
            command.env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", flags);
        }
        Ok(command)
    }

    /// What `cargo build` is told in addition.
    #[must_use]
    pub fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["--target", self.target.triple()];
        if self.toolchain == Toolchain::Debian {
            arguments.extend(["-Z", "build-std=std,panic_abort"]);
        }
        arguments
    }
}

/// Debian's Rust brings no C library for WASI, and its own place for one is not where Debian's is.
const DEBIAN_WASIP2_FLAGS: &str = "-C link-self-contained=no -L native=/usr/lib/wasm32-wasi \
     -C link-arg=/usr/lib/wasm32-wasi/crt1-reactor.o";

/// Variables that are meant for another build and would make other guests, or none.
fn changes_a_build(name: &str) -> bool {
    let exact = ["RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTDOCFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"];
    let prefixes = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "RUSTC_"];
    exact.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// What matters of a machine.
#[derive(Debug, Clone)]
struct Machine {
    target: Target,
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
    fn look(target: Target) -> Self {
        let debian = Path::new("/usr/bin/apt-get").is_file() && Path::new("/usr/bin/dpkg-query").is_file();
        Self {
            target,
            target_installed: target_is_installed(target),
            rustup: output(Command::new("rustup").arg("--version")).is_some(),
            debian,
            missing_packages: if debian { missing_packages(target) } else { Vec::new() },
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
        let target = self.target.triple();
        let install =
            format!("{}{}", if self.root { "" } else { "sudo " }, shown(&apt_install(&self.missing_packages)));
        match (self.rustup, self.debian && !self.missing_packages.is_empty()) {
            (true, false) => format!("rustup target add {target}"),
            (true, true) => format!("rustup target add {target}` or, on Debian without rustup's network, `{install}"),
            (false, true) => install,
            (false, false) => format!("curl https://sh.rustup.rs -sSf | sh && rustup target add {target}"),
        }
    }
}

fn make(target: Target, attempt: &Move, say: &mut dyn FnMut(&str)) -> Result<Toolchain, String> {
    let text = |error: ProcessError| error.to_string();
    match attempt {
        Move::UseInstalledTarget => Ok(Toolchain::Rustup),
        Move::AddTarget => {
            let mut rustup = Command::new("rustup");
            // Its default of three tries only makes a closed network take longer.
            rustup.args(["target", "add", target.triple()]).env("RUSTUP_MAX_RETRIES", "1");
            say(&shown(&rustup));
            run(&mut rustup).map_err(text)?;
            if !target_is_installed(target) {
                return Err(format!(
                    "rustup has added {}, but to another toolchain than the one in use",
                    target.triple()
                ));
            }
            Ok(Toolchain::Rustup)
        }
        Move::UseDebian => Ok(Toolchain::Debian),
        Move::InstallDebian(packages) => {
            let mut update = Command::new("apt-get");
            update.args(["update", "--quiet"]);
            for command in [&mut update, &mut apt_install(packages)] {
                say(&shown(command));
                run(command.env("DEBIAN_FRONTEND", "noninteractive")).map_err(text)?;
            }
            Ok(Toolchain::Debian)
        }
    }
}

/// Whether the Rust on the PATH has the target's standard library, whoever put it there.
fn target_is_installed(target: Target) -> bool {
    let mut rustc = Command::new("rustc");
    without_this_run(&mut rustc);
    rustc.args(["--print", "target-libdir", "--target", target.triple()]);
    let Some(folder) = output(&mut rustc) else { return false };
    let Ok(entries) = Path::new(&folder).read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn missing_packages(target: Target) -> Vec<String> {
    let installed = |package: &str| {
        output(Command::new("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", package]))
            .is_some_and(|status| status == "installed")
    };
    target.debian_packages().iter().filter(|package| !installed(package)).map(|package| (*package).to_owned()).collect()
}

fn apt_install(packages: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Machine {
        Machine {
            target: Target::Wasip2,
            target_installed: false,
            rustup: false,
            debian: false,
            missing_packages: Vec::new(),
            root: false,
        }
    }

    fn debian_without_packages() -> Machine {
        let missing_packages = Target::Wasip2.debian_packages().iter().map(|name| (*name).to_owned()).collect();
        Machine { debian: true, missing_packages, ..bare() }
    }

    #[test]
    fn an_installed_target_is_used_and_nothing_is_changed() {
        let machine = Machine { target_installed: true, rustup: true, root: true, ..debian_without_packages() };
        assert_eq!(machine.moves(None), [Move::UseInstalledTarget]);
    }

    #[test]
    fn rustup_is_asked_before_debian() {
        let machine = Machine { rustup: true, debian: true, ..bare() };
        assert_eq!(machine.moves(None), [Move::AddTarget, Move::UseDebian]);
    }

    #[test]
    fn only_root_installs_packages_without_being_asked() {
        let machine = debian_without_packages();
        assert_eq!(machine.moves(None), []);
        let advice = machine.advice();
        assert!(advice.starts_with("sudo apt-get install --yes --no-install-recommends rustc-web "), "{advice}");
        assert!(advice.ends_with(" wasi-libc"), "{advice}");
        let root = Machine { root: true, ..machine };
        assert_eq!(root.moves(None), [Move::InstallDebian(root.missing_packages.clone())]);
    }

    #[test]
    fn a_named_toolchain_is_the_only_one_tried() {
        let machine = Machine { target_installed: true, rustup: true, debian: true, ..bare() };
        assert_eq!(machine.moves(Some(Toolchain::Debian)), [Move::UseDebian]);
        assert_eq!(machine.moves(Some(Toolchain::Rustup)), [Move::UseInstalledTarget]);
    }

    #[test]
    fn where_nothing_can_be_done_one_command_is_named() {
        assert_eq!(bare().moves(None), []);
        assert!(bare().advice().ends_with("rustup target add wasm32-wasip2"));
    }

    #[test]
    fn another_builds_flags_do_not_reach_the_guests() {
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
