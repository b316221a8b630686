//! Programs that a tool runs beside itself.
//!
//! A program is a guest of its own, in a store of its own, that is polled within its caller's host call: so its processor time
//! is the caller's, it has the caller's turns, and it ends where the caller's call ends, however that comes about. What it
//! may use is what its caller has left: the sums of memories and tables begin where the caller's stand, host calls are
//! counted together, and a reserve of both times is kept back, so that the caller can tell what came of it.
//!
//! A program sees WASI and nothing of the contract, so it can not run programs. It has no network at all: `wasi:http` is not
//! linked, and sockets are there for the C library's sake alone and refuse everything.

mod changes;
mod output;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vivarium_sight::metric;
use wasmtime::component::Resource;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, HostDescriptor as _, OpenFlags, PathFlags};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

pub(crate) use self::changes::Change;
use self::changes::Changes;
use self::output::Output;
use crate::bindings::vivarium::plugin::programs as wit;
use crate::call::failure;
use crate::capability::Grant;
use crate::capability::clocks::{self, FixedWorld};
use crate::error::{CallFailure, Stop};
use crate::guest::{Calling, Guest, Role, Setting};
use crate::program::{MAX_FILE_BYTES, Mount, Program, ProgramError};

/// What a call keeps of its time on the wall, to tell what came of a program.
const WALL_RESERVE: Duration = Duration::from_millis(500);
/// The same of its processor time.
const CPU_RESERVE: Duration = Duration::from_millis(200);
/// The most bytes of arguments, of variables, and of standard input that are taken.
const MAX_ARGUMENT_BYTES: usize = 1 << 20;
const MAX_STDIN_BYTES: usize = 16 << 20;
/// The most arguments, and variables.
const MAX_ARGUMENTS: usize = 1_000;

/// What a program is given.
pub(crate) struct ProgramSetting {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: MemoryInputPipe,
    stdout: Output,
    stderr: Output,
    fixed: Option<FixedWorld>,
    pub(crate) mounts: Arc<[Mount]>,
    /// What the program has changed in the workspace.
    pub(crate) changes: Changes,
}

impl ProgramSetting {
    /// Fills in what the program asks WASI for.
    pub(crate) fn fill(&self, builder: &mut WasiCtxBuilder) {
        builder
            .args(&self.arguments)
            .envs(&self.environment)
            .stdin(self.stdin.clone())
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(world) = self.fixed {
            clocks::always_the_same(builder, world);
        }
    }
}

impl From<ProgramError> for wit::ProgramError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::NotFound(text) => Self::NotFound(text),
            ProgramError::Unfit(text) => Self::Unfit(text),
            ProgramError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// What is taken of a request.
fn check(request: &wit::Request) -> Result<(), wit::ProgramError> {
    let arguments: usize = request.arguments.iter().map(String::len).sum();
    let variables: usize = request.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bounds = [
        ("arguments", request.arguments.len(), MAX_ARGUMENTS, ""),
        ("variables", request.environment.len(), MAX_ARGUMENTS, ""),
        ("the arguments", arguments, MAX_ARGUMENT_BYTES, " bytes"),
        ("the variables", variables, MAX_ARGUMENT_BYTES, " bytes"),
        ("the standard input", request.stdin.len(), MAX_STDIN_BYTES, " bytes"),
    ];
    if let Some((what, size, most, unit)) = bounds.into_iter().find(|(_, size, most, _)| size > most) {
        let text = if unit.is_empty() {
            format!("{size} {what} are given; at most {most} are taken")
        } else {
            format!("{what} have {size}{unit}; at most {most} are taken")
        };
        return Err(wit::ProgramError::Invalid(text));
    }
    let texts = request.environment.iter().flat_map(|(name, value)| [name, value]).chain(&request.arguments);
    if texts.into_iter().any(|text| text.contains('\0')) {
        let text = "an argument or a variable holds a zero byte, which ends a text for a program".to_owned();
        return Err(wit::ProgramError::Invalid(text));
    }
    Ok(())
}

impl wit::Host for Guest {
    async fn run(&mut self, request: wit::Request) -> wasmtime::Result<Result<wit::Finished, wit::ProgramError>> {
        let _span = self.span("programs.run");
        let calling = self.calling()?;
        if !self.grant.programs {
            let message = "running programs is not granted to this plugin; a grant of `programs: true` would allow it";
            self.denials.note("programs", message.to_owned());
            return Ok(Err(wit::ProgramError::Denied(message.to_owned())));
        }
        if let Err(error) = check(&request) {
            return Ok(Err(error));
        }
        let left = self.limits.wall.saturating_sub(calling.cpu.wall()).saturating_sub(WALL_RESERVE);
        let program = match tokio::time::timeout(left, self.program(&calling, &request.program)).await {
            Ok(Ok(program)) => program,
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => {
                let text = "the program was not compiled before the call's time was over; try again in a minute";
                return Ok(Err(wit::ProgramError::Unavailable(text.to_owned())));
            }
        };
        Ok(Box::pin(self.run_program(&calling, &program, request)).await)
    }

    async fn installed(&mut self) -> wasmtime::Result<Vec<wit::InstalledProgram>> {
        let calling = self.calling()?;
        if !self.grant.programs {
            return Ok(Vec::new());
        }
        let installed = calling.programs.installed();
        Ok(installed.map(|(name, description)| wit::InstalledProgram { name, description }).collect())
    }
}

impl Guest {
    /// The call that this is, where it is one of a tool.
    fn calling(&mut self) -> wasmtime::Result<Calling> {
        self.count_host_call()?;
        let tool = matches!(self.role, Role::Tool | Role::Rehearsal(_));
        self.calling.clone().filter(|_| tool).ok_or_else(|| {
            let message = "programs answers tools only, and this is no call of a tool".to_owned();
            Stop(CallFailure::Trapped(message)).into()
        })
    }

    /// Finds the program and has it compiled.
    async fn program(&mut self, calling: &Calling, which: &wit::Program) -> Result<Arc<Program>, wit::ProgramError> {
        match which {
            wit::Program::Installed(name) => Ok(calling.programs.named(name).await?),
            wit::Program::File(path) => {
                let bytes = self.workspace_file(path).await?;
                Ok(calling.programs.of_a_workspace(bytes, &calling.payer.id).await?)
            }
        }
    }

    /// A file of the workspace, whole.
    async fn workspace_file(&mut self, path: &str) -> Result<Vec<u8>, wit::ProgramError> {
        let workspace = self.workspace.clone().filter(|_| self.file_access().is_some()).ok_or_else(|| {
            let text = "there are no files here: the plugin is granted none, or the call belongs to no session";
            wit::ProgramError::Denied(text.to_owned())
        })?;
        let not_found = |reason: &dyn std::fmt::Display| {
            wit::ProgramError::NotFound(format!("{path} can not be read from the workspace: {reason}"))
        };
        let inside = path.trim_start_matches('/');
        let inside = inside.strip_prefix("workspace/").unwrap_or(inside).to_owned();
        let root = self.ctx().table.push(Descriptor::Dir(workspace.root(false))).map_err(|error| not_found(&error))?;
        let borrowed = Resource::new_borrow(root.rep());
        let (flags, open) = (DescriptorFlags::READ, OpenFlags::empty());
        let opened = self.filesystem().open_at(borrowed, PathFlags::empty(), inside, open, flags).await;
        let _was_there = self.ctx().table.delete(root);
        let opened = opened.map_err(|error| match error.downcast() {
            Ok(code) => not_found(&code),
            Err(error) => not_found(&error),
        })?;
        let file = match self.ctx().table.delete(opened).map_err(|error| not_found(&error))? {
            Descriptor::File(file) => file.file,
            Descriptor::Dir(_) => return Err(not_found(&"it is a folder")),
        };
        let read = tokio::task::spawn_blocking(move || read_whole(&file)).await;
        match read {
            Ok(Ok(bytes)) if bytes.len() as u64 > MAX_FILE_BYTES => Err(wit::ProgramError::Unfit(format!(
                "{path} has more than {MAX_FILE_BYTES} bytes, which is all that a program of the workspace may have"
            ))),
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(not_found(&error)),
            Err(error) => Err(not_found(&error)),
        }
    }

    /// Runs the program within what this call has left.
    async fn run_program(
        &mut self,
        calling: &Calling,
        program: &Program,
        request: wit::Request,
    ) -> Result<wit::Finished, wit::ProgramError> {
        let limits = Arc::clone(&self.limits);
        let began = calling.cpu.wall();
        let left = limits.wall.saturating_sub(began).saturating_sub(WALL_RESERVE);
        let asked = request.timeout_ms.map_or(left, |millis| Duration::from_millis(u64::from(millis)));
        let timeout = asked.min(left);
        let kept = (request.max_output_bytes as usize).min(limits.output_bytes);
        let (stdout, stderr) = (Output::keeping(kept), Output::keeping(kept));
        let guest = self.program_guest(program, request, (&stdout, &stderr));
        let mut store = Store::new(program.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        let (cpu, cpu_limit) = (Arc::clone(&calling.cpu), limits.cpu);
        let spent_before = cpu.spent_within_poll();
        store.epoch_deadline_callback(move |_| {
            if cpu.spent_within_poll() > cpu_limit.saturating_sub(CPU_RESERVE) {
                return Err(Stop(CallFailure::CpuExceeded(cpu_limit.as_millis())).into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        let work = async {
            let command = program.pre.instantiate_async(&mut store).await?;
            command.wasi_cli_run().call_run(&mut store).await
        };
        let ended = tokio::time::timeout(timeout, Box::pin(work)).await;
        let guest = store.data();
        let ending = match ended {
            Ok(Ok(Ok(()))) => wit::Ending::Exited(0),
            Ok(Ok(Err(()))) => wit::Ending::Exited(1),
            Ok(Err(error)) => ending(&error, guest, limits.memory_bytes)?,
            Err(_) => wit::Ending::TimedOut(millis(timeout)),
        };
        metric::GUEST_CALLS.add(1, &[("role", "program"), ("outcome", word(&ending))]);
        let changed = match &store.data().role {
            Role::Program(setting) => setting.changes.paths(),
            _ => Vec::new(),
        };
        Ok(wit::Finished {
            ending,
            stdout: stdout.take(),
            stderr: stderr.take(),
            wall_ms: millis(calling.cpu.wall().saturating_sub(began)),
            cpu_ms: millis(calling.cpu.spent_within_poll().saturating_sub(spent_before)),
            memory_peak_bytes: store.data().memory.peak().load(std::sync::atomic::Ordering::Relaxed) as u64,
            memory_refused: store.data().memory.refused,
            changed,
        })
    }

    /// The guest that the program is.
    fn program_guest(&self, program: &Program, request: wit::Request, outputs: (&Output, &Output)) -> Guest {
        let installed = &program.installed;
        let arguments = [vec![installed.name.clone()], installed.arguments.clone(), request.arguments].concat();
        let fixed = if let Role::Rehearsal(world) = self.role { Some(world) } else { None };
        let setting = ProgramSetting {
            arguments,
            environment: [installed.environment.clone(), request.environment].concat(),
            stdin: MemoryInputPipe::new(request.stdin),
            stdout: outputs.0.clone(),
            stderr: outputs.1.clone(),
            fixed,
            mounts: Arc::clone(&program.mounts),
            changes: Changes::default(),
        };
        let grant = Grant { files: self.grant.files, redactor: Arc::clone(&self.grant.redactor), ..Grant::default() };
        let call = Setting {
            grant: Arc::new(grant),
            workspace: self.workspace.clone(),
            limits: Arc::clone(&self.limits),
            sink: Arc::new(crate::guest::Nowhere),
        };
        let mut guest = Guest::new(Role::Program(Box::new(setting)), Arc::clone(&self.manifest), call);
        guest.is_part_of(self);
        guest
    }
}

/// How it ended, as metrics tell it: with whatever exit code, to its own end.
fn word(ending: &wit::Ending) -> &'static str {
    match ending {
        wit::Ending::Exited(_) => "ok",
        wit::Ending::Trapped(_) => "trapped",
        wit::Ending::TimedOut(_) => "deadline_exceeded",
        wit::Ending::OutOfTime(_) => "cpu_exceeded",
        wit::Ending::OutOfMemory(_) => "memory_exceeded",
        wit::Ending::OutOfBounds(_) => "output_exceeded",
    }
}

/// At most a byte more than is taken.
fn read_whole(file: &File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file: &File = file;
    file.by_ref().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn ending(error: &wasmtime::Error, guest: &Guest, memory_bytes: usize) -> Result<wit::Ending, wit::ProgramError> {
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return Ok(wit::Ending::Exited((*code & 0xff) as u8));
    }
    Ok(match failure(error, guest) {
        CallFailure::CpuExceeded(millis) => wit::Ending::OutOfTime(u32::try_from(millis).unwrap_or(u32::MAX)),
        CallFailure::MemoryExceeded(_) => wit::Ending::OutOfMemory(memory_bytes as u64),
        CallFailure::OutputExceeded(text) => wit::Ending::OutOfBounds(text),
        CallFailure::NoCapacity(text) => return Err(wit::ProgramError::Unavailable(text)),
        other => wit::Ending::Trapped(match other {
            CallFailure::Trapped(text) => text,
            other => other.to_string(),
        }),
    })
}

/// Whether a folder can be mounted under this name.
pub(crate) fn is_mountable(guest_path: &str) -> bool {
    let path = Path::new(guest_path);
    path.is_absolute()
        && !["/", "/workspace"].contains(&guest_path.trim_end_matches('/'))
        && !guest_path.trim_end_matches('/').is_empty()
        && path.components().all(|part| !matches!(part, std::path::Component::ParentDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: Vec<String>, stdin: usize) -> wit::Request {
        wit::Request {
            program: wit::Program::Installed("x".to_owned()),
            arguments,
            environment: vec![("NAME".to_owned(), "value".to_owned())],
            stdin: vec![0; stdin],
            timeout_ms: None,
            max_output_bytes: 0,
        }
    }

    #[test]
    fn what_a_program_is_given_is_bounded_in_each_way() {
        let refused = |arguments: Vec<String>, stdin| match check(&request(arguments, stdin)) {
            Err(wit::ProgramError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(check(&request(vec!["a".to_owned(); MAX_ARGUMENTS], MAX_STDIN_BYTES)).is_ok());
        assert_eq!(refused(vec![String::new(); 1_001], 0), "1001 arguments are given; at most 1000 are taken");
        let text = refused(vec!["x".repeat(MAX_ARGUMENT_BYTES + 1)], 0);
        assert_eq!(text, "the arguments have 1048577 bytes; at most 1048576 are taken");
        let text = refused(Vec::new(), MAX_STDIN_BYTES + 1);
        assert_eq!(text, "the standard input have 16777217 bytes; at most 16777216 are taken");
        assert!(refused(vec!["a\0b".to_owned()], 0).contains("a zero byte"));
    }
}
