//! `run_code` runs a program beside itself, in the sandbox, and tells what came of it in words that help to go on. What a program
//! may do and use is held by the host; here it is only said.

mod arguments;
mod hints;

use serde::Serialize;
use vivarium_sdk::tool::programs::{self, Ending, Finished, Program, ProgramError, Request, Written};
use vivarium_sdk::tool::{Context, Output, ToolError};

use crate::arguments::{Language, RunCode};

/// How much of each output the model is shown: both together are what a mode shows whole of a result.
const MAX_SHOWN_BYTES: u32 = 10 << 10;
/// Of what a call may give back, each output takes at most one of so many parts: as JSON a byte can take six.
const SHARE_OF_OUTPUT: u32 = 16;

/// Starts the code, file or module that the next arguments name.
const START_PYTHON: &str = include_str!("start.py");

/// What runs the test files of JavaScript goes by the names of the runners that they were written for.
const JAVASCRIPT_TESTS: [&str; 5] = ["test", "node:test", "jest", "vitest", "mocha"];

vivarium_sdk::export_tools! {
    "run_code" => run_code,
}

fn run_code(arguments: RunCode, context: &Context) -> Result<Output, ToolError> {
    let asked = Asked { language: arguments.language, path: arguments.path.clone().unwrap_or_default() };
    let request = request(arguments, context)?;
    match programs::run(&request) {
        Ok(finished) => Output::json(&result(&asked, &finished)),
        Err(error) => Err(refusal(asked.language, error)),
    }
}

/// What a hint depends on, besides what came of it.
pub(crate) struct Asked {
    pub(crate) language: Language,
    /// The file that was run; empty where it was none.
    pub(crate) path: String,
}

/// Where the code is.
enum Way {
    Code(String),
    Path(String),
    Module(String),
}

/// What is to be run.
fn request(arguments: RunCode, context: &Context) -> Result<Request, ToolError> {
    let RunCode { language, code, path, module, args, stdin, timeout_ms } = arguments;
    let wrong = |text: &str| Err(ToolError::InvalidArguments(text.to_owned()));
    let way = match (code, path, module) {
        (Some(code), None, None) => Way::Code(code),
        (None, Some(path), None) => Way::Path(path),
        (None, None, Some(module)) => Way::Module(module),
        (None, None, None) => {
            return wrong(
                "give the code in `code`, the path of a file of the workspace in `path`, or the name of a module in `module`",
            );
        }
        _ => return wrong("give one of `code`, `path` and `module`, and not two of them"),
    };
    let installed = |name: &str| Program::Installed(name.to_owned());
    let python =
        |way: &str, what: String| (installed("python"), vec!["-c".into(), START_PYTHON.into(), way.into(), what]);
    let (program, mut arguments) = match (language, way) {
        (Language::Wasm, Way::Path(path)) => (Program::File(path), Vec::new()),
        (Language::Wasm, _) => {
            return wrong(
                "wasm takes the path of a .wasm file of the workspace in `path`, and neither `code` nor `module`",
            );
        }
        (Language::Javascript, Way::Code(code)) => (installed("javascript"), vec!["-e".to_owned(), code]),
        (Language::Javascript, Way::Path(path)) => (installed("javascript"), vec![path]),
        (Language::Javascript, Way::Module(module)) if JAVASCRIPT_TESTS.contains(&module.as_str()) => {
            (installed("javascript"), vec!["--test".to_owned()])
        }
        (Language::Javascript, Way::Module(_)) => {
            return wrong(
                "javascript knows one `module`, which is `test`: it runs the test files; a file is run by its `path`",
            );
        }
        (Language::Python, Way::Code(code)) => python("code", code),
        (Language::Python, Way::Path(path)) => python("path", from_the_root(&path)),
        (Language::Python, Way::Module(module)) => python("module", module),
    };
    arguments.extend(args.unwrap_or_default());
    Ok(Request {
        program,
        arguments,
        environment: Vec::new(),
        stdin: stdin.unwrap_or_default().into_bytes(),
        timeout_ms,
        max_output_bytes: MAX_SHOWN_BYTES.min(context.max_output_bytes / SHARE_OF_OUTPUT),
    })
}

/// A path that begins at the workspace's root, and is no option of the interpreter.
fn from_the_root(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn refusal(language: Language, error: ProgramError) -> ToolError {
    match error {
        ProgramError::Denied(text) => ToolError::Denied(text),
        ProgramError::NotFound(text) if language == Language::Python => ToolError::Unavailable(format!(
            "{text}. Where python is missing the operator has not installed it: use javascript instead"
        )),
        ProgramError::NotFound(text) => ToolError::NotFound(text),
        ProgramError::Unfit(text) | ProgramError::Invalid(text) => ToolError::InvalidArguments(text),
        ProgramError::Unavailable(text) => ToolError::Unavailable(text),
    }
}

/// What the model is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// In one sentence.
    summary: String,
    ok: bool,
    /// None where the program did not come to its own end.
    exit_code: Option<u8>,
    stdout: String,
    stderr: String,
    duration_ms: u32,
    /// How many bytes of the outputs were left out of their middles.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_files: Vec<String>,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    stdout: u64,
    stderr: u64,
}

fn result(asked: &Asked, finished: &Finished) -> Told {
    let exit_code = if let Ending::Exited(code) = finished.ending { Some(code) } else { None };
    let (stdout, stderr) = (shown(&finished.stdout), shown(&finished.stderr));
    let cut = finished.stdout.cut > 0 || finished.stderr.cut > 0;
    Told {
        summary: format!("{} {} ms.", hints::ending(&finished.ending), finished.wall_ms),
        ok: exit_code == Some(0),
        exit_code,
        hint: hints::hint(asked, finished, &stdout, &stderr),
        stdout,
        stderr,
        duration_ms: finished.wall_ms,
        left_out: cut.then_some(LeftOut { stdout: finished.stdout.cut, stderr: finished.stderr.cut }),
        changed_files: finished.changed.clone(),
    }
}

/// An output as text, with a word where something was left out.
fn shown(written: &Written) -> String {
    if written.cut == 0 {
        let whole: Vec<u8> = [written.head.as_slice(), &written.tail].concat();
        return String::from_utf8_lossy(&whole).into_owned();
    }
    let (head, tail) = (String::from_utf8_lossy(&written.head), String::from_utf8_lossy(&written.tail));
    format!("{head}\n… {} bytes are left out here …\n{tail}", written.cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(json: &str) -> RunCode {
        serde_json::from_str(json).unwrap()
    }

    fn context() -> Context {
        Context {
            run_id: String::new(),
            idempotency_key: String::new(),
            deadline_ms: 60_000,
            max_output_bytes: 1 << 20,
        }
    }

    pub(crate) fn finished(ending: Ending, stderr: &str) -> Finished {
        let written = |text: &str| Written { head: text.as_bytes().to_vec(), cut: 0, tail: Vec::new() };
        Finished {
            ending,
            stdout: written("out\n"),
            stderr: written(stderr),
            wall_ms: 12,
            cpu_ms: 10,
            memory_peak_bytes: 1,
            memory_refused: false,
            changed: Vec::new(),
        }
    }

    #[test]
    fn code_and_path_exclude_each_other_and_one_of_them_is_there() {
        for json in [
            r#"{"language":"python"}"#,
            r#"{"language":"python","code":"1","path":"a.py"}"#,
            r#"{"language":"wasm","code":"1"}"#,
            r#"{"language":"wasm"}"#,
            r#"{"language":"wasm","module":"unittest"}"#,
            r#"{"language":"python","code":"1","module":"unittest"}"#,
            r#"{"language":"javascript","module":"express"}"#,
        ] {
            assert!(matches!(request(arguments(json), &context()), Err(ToolError::InvalidArguments(_))), "{json}");
        }
    }

    #[test]
    fn a_path_is_never_an_option_of_the_interpreter() {
        let request = request(arguments(r#"{"language":"python","path":"-c","args":["x"]}"#), &context()).unwrap();
        assert_eq!(request.arguments[2..], ["path", "/-c", "x"]);
    }

    #[test]
    fn what_is_kept_of_an_output_fits_into_what_the_call_may_give_back() {
        let small = Context { max_output_bytes: 1600, ..context() };
        assert_eq!(
            request(arguments(r#"{"language":"javascript","code":"1"}"#), &small).unwrap().max_output_bytes,
            100
        );
    }

    #[test]
    fn a_letter_on_the_border_of_the_halves_stays_whole_and_a_cut_is_said() {
        let mut written = Written { head: vec![b'a', 0xc3], cut: 0, tail: vec![0xa4, b'b'] };
        assert_eq!(shown(&written), "aäb");
        written.cut = 7;
        assert!(shown(&written).contains("… 7 bytes are left out here …"));
    }

    #[test]
    fn a_program_that_fails_is_a_result_with_its_exit_code() {
        let told =
            result(&Asked { language: Language::Javascript, path: String::new() }, &finished(Ending::Exited(3), ""));
        let json: serde_json::Value = serde_json::to_value(&told).unwrap();
        assert_eq!(json["exitCode"], 3);
        assert_eq!(json["ok"], false);
        assert_eq!(json["summary"], "The program ended with exit code 3 after 12 ms.");
    }
}
