//! Programs: WASI commands that tools run beside themselves. Those that the operator has installed are compiled when the host
//! starts, one after the other; a `.wasm` file of a workspace is compiled when it is run for the first time, within smaller
//! bounds, one at a time for the whole host and with one in line for each payer. Both kinds go through the compiler that plugins
//! go through, and what it has made is kept beside theirs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use vivarium_domain::ContentHash;
use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::{Dir, FsPerms, OpenMode};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::LoadError;
use crate::capability;
use crate::capability::programs::is_mountable;
use crate::compile::{CompileCache, Form};
use crate::engine::PooledEngine;
use crate::guest::Guest;

/// The largest program of a workspace, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 16 << 20;
/// The processor time that compiling one may take. Installed programs have what plugins have.
const FILE_COMPILE_TIME: Duration = Duration::from_secs(20);
/// So many programs of workspaces stay loaded.
const MAX_LOADED: usize = 16;

/// Where an installed program's code is.
#[derive(Debug, Clone)]
pub enum ProgramCode {
    /// It came with the binary.
    Embedded(&'static [u8]),
    /// In this file.
    File(PathBuf),
}

/// A program that the operator has installed.
#[derive(Debug, Clone)]
pub struct InstalledProgram {
    /// Its name.
    pub name: String,
    /// What it is, in one line.
    pub description: String,
    /// A WASI command: a core module of WASI 0.1 or a component.
    pub code: ProgramCode,
    /// Arguments that come before those of a call.
    pub arguments: Vec<String>,
    /// Variables. Those of a call come after them.
    pub environment: Vec<(String, String)>,
    /// Folders that it sees, to read: the name that it sees each under, and the folder.
    pub mounts: Vec<(String, PathBuf)>,
}

impl InstalledProgram {
    /// What a program of a workspace is called and given.
    fn of_a_workspace() -> Self {
        Self {
            name: "program.wasm".to_owned(),
            description: String::new(),
            code: ProgramCode::Embedded(&[]),
            arguments: Vec::new(),
            environment: Vec::new(),
            mounts: Vec::new(),
        }
    }
}

/// A folder that a program sees, to read.
pub(crate) struct Mount {
    pub(crate) name: String,
    pub(crate) folder: Dir,
}

/// A program, compiled and linked.
pub(crate) struct Program {
    pub(crate) installed: Arc<InstalledProgram>,
    pub(crate) mounts: Arc<[Mount]>,
    pub(crate) pre: CommandPre<Guest>,
}

/// Why there is no such program.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Unfit(String),
    #[error("{0}")]
    Unavailable(String),
}

/// What became of compiling an installed program; none: it is not done yet.
type Compiled = Option<Result<Arc<Program>, String>>;

struct Slot {
    installed: Arc<InstalledProgram>,
    compiled: watch::Receiver<Compiled>,
}

/// All programs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Programs(Arc<Shelf>);

/// The installed programs are compiled so long after the start, unless one is asked for before: a host that is there for one question
/// does not compile what nobody runs.
const AHEAD: Duration = Duration::from_secs(10);

struct Shelf {
    maker: Maker,
    /// Says that an installed one is asked for.
    wanted: mpsc::Sender<()>,
    installed: BTreeMap<String, Slot>,
    /// Those of workspaces that were run last, the last one at the end.
    loaded: Mutex<Vec<(ContentHash, Arc<Program>)>>,
    compiling: Arc<Semaphore>,
    /// For each payer who has one compiled, the line for it.
    lines: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
}

/// Makes programs out of bytes.
#[derive(Clone)]
struct Maker {
    engine: PooledEngine,
    linker: Arc<Linker<Guest>>,
    cache: CompileCache,
}

impl Maker {
    fn make(&self, bytes: &[u8], form: Form, installed: Arc<InstalledProgram>) -> Result<Program, LoadError> {
        let digest = ContentHash::of(bytes);
        let component = self.cache.load(&self.engine, digest, bytes, form)?;
        let unfit = |error: wasmtime::Error| LoadError::NotAComponent(format!("{error:#}"));
        let pre = CommandPre::new(self.linker.instantiate_pre(&component).map_err(unfit)?).map_err(unfit)?;
        let mount = |(name, folder): &(String, PathBuf)| {
            let refused = |reason: String| LoadError::Engine(format!("the mount {name}: {reason}"));
            if !is_mountable(name) {
                return Err(refused("a mount's name is an absolute path, and neither / nor /workspace".to_owned()));
            }
            let folder = fs::File::open(folder).map_err(|error| refused(format!("{}: {error}", folder.display())))?;
            let folder = Dir::new(folder, FsPerms::ReadOnly, OpenMode::READ, false);
            Ok(Mount { name: name.clone(), folder })
        };
        let mounts = installed.mounts.iter().map(mount).collect::<Result<Vec<_>, _>>()?;
        Ok(Program { mounts: mounts.into(), installed, pre })
    }

    fn make_installed(&self, installed: &Arc<InstalledProgram>) -> Result<Program, LoadError> {
        let bytes = match &installed.code {
            ProgramCode::Embedded(bytes) => std::borrow::Cow::Borrowed(*bytes),
            ProgramCode::File(path) => {
                let unreadable = |error| LoadError::Engine(format!("{} can not be read: {error}", path.display()));
                fs::read(path).map_err(unreadable)?.into()
            }
        };
        self.make(&bytes, Form::Program, Arc::clone(installed))
    }
}

impl Programs {
    /// Compiles the installed ones soon, on a thread of its own.
    pub(crate) fn new(
        engine: &PooledEngine,
        cache: &CompileCache,
        installed: Vec<InstalledProgram>,
    ) -> Result<Self, LoadError> {
        let mut linker = Linker::new(&engine.engine);
        capability::add_wasi_to_linker(&mut linker).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let maker = Maker { engine: engine.clone(), linker: Arc::new(linker), cache: cache.clone() };
        let (mut slots, mut ahead) = (BTreeMap::new(), Vec::new());
        for installed in installed {
            let (tell, compiled) = watch::channel(None);
            let installed = Arc::new(installed);
            ahead.push((Arc::clone(&installed), tell));
            slots.insert(installed.name.clone(), Slot { installed, compiled });
        }
        let made = maker.clone();
        let (wanted, asked) = mpsc::channel();
        let compile = move || {
            if asked.recv_timeout(AHEAD) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return;
            }
            for (installed, tell) in ahead {
                let program = made.make_installed(&installed).map(Arc::new).map_err(|error| error.to_string());
                if let Err(error) = &program {
                    tracing::error!(program = installed.name, error, "an installed program can not be run");
                }
                tell.send_replace(Some(program));
            }
        };
        std::thread::Builder::new()
            .name("programs".to_owned())
            .spawn(compile)
            .map_err(|error| LoadError::Engine(format!("the thread of the programs can not start: {error}")))?;
        Ok(Self(Arc::new(Shelf {
            maker,
            wanted,
            installed: slots,
            loaded: Mutex::default(),
            compiling: Arc::new(Semaphore::new(1)),
            lines: Mutex::default(),
        })))
    }

    /// Names and descriptions of those that are installed.
    pub(crate) fn installed(&self) -> impl Iterator<Item = (String, String)> {
        self.0.installed.values().map(|slot| (slot.installed.name.clone(), slot.installed.description.clone()))
    }

    /// An installed one. Waits while it is compiled.
    pub(crate) async fn named(&self, name: &str) -> Result<Arc<Program>, ProgramError> {
        let Some(slot) = self.0.installed.get(name) else {
            let known: Vec<&str> = self.0.installed.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!("the program {name} is not installed on this host; installed are: {known}");
            return Err(ProgramError::NotFound(text));
        };
        // Once they are compiled, nobody listens.
        let _ = self.0.wanted.send(());
        let mut compiled = slot.compiled.clone();
        let compiled = compiled.wait_for(Option::is_some).await.map(|compiled| compiled.clone());
        match compiled {
            Ok(Some(Ok(program))) => Ok(program),
            Ok(Some(Err(text))) => Err(ProgramError::Unfit(format!("the program {name} can not be run: {text}"))),
            Ok(None) | Err(_) => Err(ProgramError::Unavailable(format!(
                "the program {name} was not compiled: the host's code broke off"
            ))),
        }
    }

    /// One of a workspace, for who pays. Waits for its turn at the compiler if need be.
    pub(crate) async fn of_a_workspace(&self, bytes: Vec<u8>, payer: &Arc<str>) -> Result<Arc<Program>, ProgramError> {
        let broke_off = |_| ProgramError::Unavailable("compiling the program broke off".to_owned());
        let hashed = tokio::task::spawn_blocking(move || (ContentHash::of(&bytes), bytes));
        let (digest, bytes) = hashed.await.map_err(broke_off)?;
        if let Some(program) = self.loaded(digest) {
            return Ok(program);
        }
        let line = self.line(payer);
        let _in_line = line.lock().await;
        if let Some(program) = self.loaded(digest) {
            return Ok(program);
        }
        let turn = Arc::clone(&self.0.compiling).acquire_owned().await;
        let maker = self.0.maker.clone();
        let made = tokio::task::spawn_blocking(move || {
            // Held until the compiler has ended, also where nobody waits for it any more.
            let _turn = turn;
            let form = Form::File { compile_time: FILE_COMPILE_TIME };
            maker.make(&bytes, form, Arc::new(InstalledProgram::of_a_workspace()))
        });
        let program = Arc::new(made.await.map_err(broke_off)?.map_err(refusal)?);
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.len() >= MAX_LOADED {
            loaded.remove(0);
        }
        loaded.push((digest, Arc::clone(&program)));
        Ok(program)
    }

    /// One that is loaded; it is the last one to go then.
    fn loaded(&self, digest: ContentHash) -> Option<Arc<Program>> {
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let at = loaded.iter().position(|(known, _)| *known == digest)?;
        let entry = loaded.remove(at);
        let program = Arc::clone(&entry.1);
        loaded.push(entry);
        Some(program)
    }

    fn line(&self, payer: &Arc<str>) -> Arc<tokio::sync::Mutex<()>> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        Arc::clone(lines.entry(Arc::clone(payer)).or_default())
    }
}

/// Why a program of a workspace is not run, in words for who wrote it.
fn refusal(error: LoadError) -> ProgramError {
    match error {
        LoadError::NotAComponent(text) => {
            ProgramError::Unfit(format!("this is no WASI command that can be run here: {text}"))
        }
        LoadError::CompileTime { seconds } => ProgramError::Unfit(format!(
            "the program takes more than {seconds} s of processor time to compile, which is all that one of the workspace may"
        )),
        LoadError::CompileMemory { bytes } => ProgramError::Unfit(format!(
            "the program takes more than {bytes} bytes of memory to compile, which is all that it may"
        )),
        other => ProgramError::Unavailable(other.to_string()),
    }
}
