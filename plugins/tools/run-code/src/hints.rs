//! What kind of failure it was, and what to do instead: a model that is only told `exit code 1` tries the same again.

use vivarium_sdk::tool::programs::{Ending, Finished};

use crate::Asked;
use crate::arguments::Language;

/// How a program ended, up to the number of milliseconds that it took.
pub(crate) fn ending(ending: &Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("The program ended with exit code {code} after"),
        Ending::Trapped(reason) => format!("The program trapped ({reason}) after"),
        Ending::TimedOut(limit) => format!("The program was stopped because it took longer than {limit} ms, after"),
        Ending::OutOfTime(limit) => {
            format!("The program was stopped because the call may use {limit} ms of processor time, after")
        }
        Ending::OutOfMemory(limit) => {
            format!("The program was stopped because the call may use {} MiB of memory, after", limit >> 20)
        }
        Ending::OutOfBounds(reason) => format!("The program was stopped ({reason}) after"),
    }
}

/// What to do about a failure; none for a success, unless it is none.
pub(crate) fn hint(asked: &Asked, finished: &Finished, stdout: &str, stderr: &str) -> Option<String> {
    let hint = match &finished.ending {
        Ending::Exited(0) if is_silent_test(asked, stdout, stderr) => {
            "Nothing was printed, and it is a file of tests: run alone it only defines them. To run them, give module `pytest` or \
             `unittest` and the file in args."
        }
        Ending::Exited(0) => return None,
        Ending::TimedOut(_) => {
            "Timeout: look for a loop without an end or a wait that nothing ends. What was printed before is above. Give a \
             larger timeoutMs if the work needs it, or do it in parts and keep what is done in files."
        }
        Ending::OutOfTime(_) => {
            "Too much computing for one call: look for a loop without an end, use a better algorithm, or do the work in \
             parts and keep what is done in files."
        }
        Ending::OutOfMemory(_) => MEMORY,
        Ending::OutOfBounds(_) => "It went beyond a limit of the call: do less in one call.",
        Ending::Trapped(reason) if reason.contains("stack") => RECURSION,
        Ending::Trapped(_) if finished.memory_refused || stderr.contains("capacity overflow") => MEMORY,
        Ending::Trapped(reason) if reason.contains("resource table") => {
            "Too many files are open at one time: close each when it is read or written."
        }
        // An interpreter whose stack runs over writes past its end.
        Ending::Trapped(reason) if asked.language != Language::Wasm && reason.contains("out of bounds") => RECURSION,
        Ending::Trapped(_) => {
            "The program broke off by itself: an illegal access or a failed assertion in compiled code."
        }
        Ending::Exited(_) => return of_text(asked.language, finished, stderr).map(str::to_owned),
    };
    Some(hint.to_owned())
}

const MEMORY: &str = "Out of memory: keep less at one time, read and write files in parts.";
const RECURSION: &str = "Too deep a recursion: write it as a loop, or with a list of what is to be done.";

/// Whether a file of tests has said nothing: models take that for a success.
fn is_silent_test(asked: &Asked, stdout: &str, stderr: &str) -> bool {
    let name = asked.path.rsplit('/').next().unwrap_or_default();
    let is_test = name.strip_suffix(".py").is_some_and(|name| name.starts_with("test_") || name.ends_with("_test"));
    asked.language == Language::Python && is_test && stdout.is_empty() && stderr.is_empty()
}

/// What each failure's words are, with what to do about it; the more special ones first.
const PYTHON: [(&[&str], &str); 9] = [
    (
        &["every task waits for something"],
        "asyncio has timers, queues and tasks here, and no sockets, threads or processes: something is awaited that no task of the program does.",
    ),
    (
        &["can't start new thread", "concurrent.futures.thread", "concurrent.futures.process", "'multiprocessing'"],
        "There are no threads and no other processes in the sandbox: do one thing after the other, or with tasks of asyncio.",
    ),
    (
        &[
            "subprocess",
            "_posixsubprocess",
            "os.fork",
            "attribute 'fork'",
            "attribute 'system'",
            "attribute 'popen'",
            "attribute 'execv",
        ],
        "There are no other processes and no shell in the sandbox: do it in the program itself, or call run_code again. Tests run with module \
         `pytest` or `unittest`.",
    ),
    (
        &[
            "attribute 'alarm'",
            "attribute 'setitimer'",
            "attribute 'SIGALRM'",
            "No module named 'resource'",
            "No module named 'fcntl'",
        ],
        "There are no signals and no system limits in the sandbox: leave them out. timeoutMs bounds the time, and the sandbox the memory.",
    ),
    (
        &["No module named 'numpy'", "No module named 'pandas'", "No module named 'scipy'"],
        "The module is not there, because compiled extensions can not be loaded. Nothing can be installed: use lists, math, statistics, \
         fractions, decimal, csv and sqlite3 of Python's standard library.",
    ),
    (
        &["No module named 'pytest'", "No module named pytest"],
        "pytest is not installed on this host: write tests with unittest and run them with module `unittest`, or call the functions with asserts.",
    ),
    (
        &["EOFError: EOF when reading a line"],
        "input() finds no more lines: give the program's input in `stdin`, one line for each input().",
    ),
    (
        &["ModuleNotFoundError", "ImportError", "No module named"],
        "The module is not there: Python's standard library and the .py files of the workspace are, imported from the workspace's root or the \
         folder of the file that is run. Nothing can be installed.",
    ),
    (
        &["Exceeds the limit (4300 digits)"],
        "Python writes no longer numbers as decimal text unless sys.set_int_max_str_digits(0) allows it.",
    ),
];

/// The same of JavaScript.
const JAVASCRIPT: [(&[&str], &str); 5] = [
    (
        &[
            "Intl is not defined",
            "Buffer is not defined",
            "URL is not defined",
            "URLSearchParams is not defined",
            "crypto is not defined",
        ],
        "That is no part of the language but of a browser or of Node, and is not there: use what the language has, such as strings, \
         Uint8Array, TextEncoder, btoa and toLocaleString of numbers (English only: decimals, percents and USD).",
    ),
    (
        &["child_process"],
        "There are no other processes and no shell in the sandbox: do it in the program itself, or call run_code again.",
    ),
    (&["worker_threads"], "There are no threads in the sandbox: do one thing after the other."),
    (
        &["Cannot find package", "packages of npm"],
        "The package is not there: fs, path, process, util, assert, events, readline, node:test, @jest/globals and the files of the workspace \
         are. Nothing can be installed.",
    ),
    (
        &["Cannot find module"],
        "The file that is imported is not in the workspace: paths are relative to the importing file, and `/` is the workspace.",
    ),
];

/// The same of both.
const BOTH: [(&[&str], &str); 5] = [
    (
        &[
            "there is no network",
            "urllib.error",
            "gaierror",
            "_socket",
            "'socket'",
            "socket.py",
            "http.client",
            "ConnectionError",
            "No module named 'ssl'",
        ],
        "There is no network in the sandbox: fetch what is needed with another tool and write it to the workspace.",
    ),
    (&["EDQUOT", "Disk quota", "No space left", "quota"], "The workspace is full: remove what is not needed."),
    (
        &["ENOENT", "FileNotFoundError", "No such file"],
        "The file is not there: paths begin at the workspace's root, which is `/` and the working folder.",
    ),
    (
        &["SyntaxError", "IndentationError", "TabError"],
        "The code does not parse: mend the line that is named and run it again.",
    ),
    (&["RecursionError", "Maximum call stack", "number of recursive calls"], RECURSION),
];

fn of_text(language: Language, finished: &Finished, stderr: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if finished.memory_refused || says(&["MemoryError"]) {
        return Some(MEMORY);
    }
    let own: &[(&[&str], &'static str)] = match language {
        Language::Python => &PYTHON,
        Language::Javascript => &JAVASCRIPT,
        Language::Wasm => &[],
    };
    own.iter().chain(&BOTH).find(|(words, _)| says(words)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::finished;

    fn asked(language: Language, path: &str) -> Asked {
        Asked { language, path: path.to_owned() }
    }

    #[test]
    fn each_kind_of_failure_has_a_hint_and_success_has_none() {
        let of = |language, stderr: &str| {
            hint(&asked(language, ""), &finished(Ending::Exited(1), stderr), "", stderr)
                .unwrap_or_else(|| panic!("no hint for {stderr}"))
        };
        for (stderr, expected) in [
            ("ModuleNotFoundError: No module named 'numpy'", "statistics"),
            ("ModuleNotFoundError: No module named 'yaml'", "standard library"),
            ("python: No module named pytest", "unittest"),
            ("urllib.error.URLError", "no network"),
            ("FileNotFoundError: [Errno 44]", "workspace's root"),
            ("EOFError: EOF when reading a line", "`stdin`"),
            ("AttributeError: module 'os' has no attribute 'system'", "no shell"),
            ("ModuleNotFoundError: No module named 'concurrent.futures.thread'", "no threads"),
            ("AttributeError: module 'signal' has no attribute 'setitimer'", "timeoutMs"),
        ] {
            assert!(of(Language::Python, stderr).contains(expected), "{stderr}: {}", of(Language::Python, stderr));
        }
        assert!(of(Language::Javascript, "Error: Cannot find package 'express'").contains("Nothing can be"));
        assert!(of(Language::Javascript, "SyntaxError: expected token").contains("parse"));
        let of_ending = |ending| hint(&asked(Language::Python, ""), &finished(ending, ""), "", "");
        assert!(of_ending(Ending::TimedOut(5)).unwrap().contains("timeoutMs"));
        assert!(of_ending(Ending::OutOfMemory(1)).unwrap().contains("memory"));
        assert!(of_ending(Ending::Trapped("out of bounds memory access".to_owned())).unwrap().contains("recursion"));
        assert_eq!(of_ending(Ending::Exited(0)), None);
        assert_eq!(of_ending(Ending::Exited(3)), None);
    }

    #[test]
    fn a_file_of_tests_that_says_nothing_is_no_success_of_its_tests() {
        let of = |path: &str, stdout: &str| {
            hint(&asked(Language::Python, path), &finished(Ending::Exited(0), ""), stdout, "")
        };
        assert!(of("src/two_fer_test.py", "").unwrap().contains("module `pytest`"));
        assert!(of("test_two_fer.py", "").is_some());
        assert_eq!(of("two_fer.py", ""), None);
        assert_eq!(of("two_fer_test.py", "all fine\n"), None);
    }
}
