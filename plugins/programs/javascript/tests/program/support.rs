//! Running the engine, and what it has told.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a program may take before it is said to spin. Without optimization the engine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the engine, and ends it where it does not end by itself.
pub(crate) fn run(arguments: &[&str], input: &str) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_program-javascript"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the program does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut told = Told { code: status.code(), out: String::new(), err: String::new() };
    child.stdout.take().unwrap().read_to_string(&mut told.out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut told.err).unwrap();
    told
}

/// Runs code that has no file.
pub(crate) fn code(code: &str) -> Told {
    run(&["-e", code], "")
}

/// A folder that is gone with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("program-javascript-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = Self(std::env::temp_dir().join(name));
        for (path, content) in files {
            let path = folder.0.join(path);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    /// Runs one of its files.
    pub(crate) fn run(&self, file: &str) -> Told {
        run(&[self.0.join(file).to_str().unwrap()], "")
    }

    /// Runs the tests of all of its files.
    pub(crate) fn test(&self) -> Told {
        run(&["--test", self.0.to_str().unwrap()], "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
