//! Compiling a component that nobody vouches for: in a process of its own, which bounds its own processor time and memory
//! before it looks at a byte, and is killed where it does not end. The compiler can not be interrupted, and a thread that
//! compiles for minutes can not be taken back; a process can.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmtime::Engine;

use crate::LoadError;
use crate::adapt::as_component;
use crate::engine::engine_config;

/// The longest text of a compiler's that is told on.
const MAX_TOLD_BYTES: u64 = 4 << 10;

/// How often it is looked whether the compiler has ended.
const LOOK: Duration = Duration::from_millis(5);

/// What the compiler exits with when it is the component's fault.
const NOT_A_COMPONENT: i32 = 65;

/// A compiler matters less to the operating system than all else, as `nice` counts.
const NICENESS: i32 = 10;

/// Who compiles.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// This process. Nothing bounds it: for components that come from who runs the host.
    #[default]
    InProcess,
    /// A process for each component.
    Process(CompilerProcess),
}

/// How a compiling process is started and bounded. It is called with its `arguments`, the paths of the component and of
/// the compiled form to be written, and its two bounds; it should call [`compile_component`].
#[derive(Debug, Clone)]
pub struct CompilerProcess {
    /// The program.
    pub program: PathBuf,
    /// What it is told before the paths and the bounds.
    pub arguments: Vec<OsString>,
    /// Processor time, over all its threads.
    pub cpu: Duration,
    /// Address space.
    pub memory_bytes: u64,
}

/// Compiles the component in `input` into `output`, within these bounds, which hold for the whole process from then on.
///
/// # Errors
/// What is wrong with the component or with this machine; and the exit code that says which of the two.
pub fn compile_component(input: &Path, output: &Path, cpu: Duration, memory_bytes: u64) -> Result<(), (i32, String)> {
    let failed = |text: String| (1, text);
    let seconds = cpu.as_secs().max(1);
    // The soft bound ends the process with a signal that the parent understands, the hard one in any case.
    let cpu = Rlimit { current: Some(seconds), maximum: Some(seconds + 1) };
    setrlimit(Resource::Cpu, cpu).map_err(|error| failed(format!("no bound on processor time: {error}")))?;
    let memory = Rlimit { current: Some(memory_bytes), maximum: Some(memory_bytes) };
    setrlimit(Resource::As, memory).map_err(|error| failed(format!("no bound on memory: {error}")))?;
    let _as_before = rustix::process::nice(NICENESS);
    let bytes = fs::read(input).map_err(|error| failed(format!("the component can not be read: {error}")))?;
    let bytes = as_component(&bytes).map_err(|error| (NOT_A_COMPONENT, error))?;
    let engine = Engine::new(&engine_config(None)).map_err(|error| failed(format!("{error:#}")))?;
    let code = engine.precompile_component(&bytes).map_err(|error| (NOT_A_COMPONENT, format!("{error:#}")))?;
    fs::write(output, code).map_err(|error| failed(format!("the compiled form can not be written: {error}")))
}

impl CompilerProcess {
    /// Compiles the component in the file `input` into the file `output`. Blocks.
    pub(crate) fn compile(&self, input: &Path, output: &Path) -> Result<(), LoadError> {
        let can_not = |error: &dyn std::fmt::Display| LoadError::Engine(format!("the compiler can not run: {error}"));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args([input, output])
            .args([self.cpu.as_secs().to_string(), self.memory_bytes.to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| can_not(&error))?;
        // The bound on processor time ends it sooner, unless the machine is very busy or it does not compute at all.
        let patience = self.cpu.saturating_mul(4) + Duration::from_secs(10);
        let status = wait(&mut child, patience).map_err(|error| can_not(&error))?;
        let mut told = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _unreadable_is_empty = stderr.take(MAX_TOLD_BYTES).read_to_string(&mut told);
        }
        self.judge(status, told.trim())
    }

    fn judge(&self, status: Option<ExitStatus>, told: &str) -> Result<(), LoadError> {
        use std::os::unix::process::ExitStatusExt as _;
        const KILLED: i32 = 9;
        const TOO_MUCH_CPU: i32 = 24;
        let seconds = self.cpu.as_secs();
        let Some(status) = status else { return Err(LoadError::CompileTime { seconds }) };
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(NOT_A_COMPONENT), _) => Err(LoadError::NotAComponent(told.to_owned())),
            (_, Some(TOO_MUCH_CPU | KILLED)) => Err(LoadError::CompileTime { seconds }),
            // The allocator aborts where it gets no more.
            (_, Some(_)) => Err(LoadError::CompileMemory { bytes: self.memory_bytes }),
            _ => Err(LoadError::Engine(format!("the compiler ended with {status}: {told}"))),
        }
    }
}

/// Waits for a child, and kills it where it takes too long: none then.
fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
