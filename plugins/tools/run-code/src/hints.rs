//! What kind of failure it was, and what to do instead: a model that is only told `exit code 1` tries the same again.

use vivarium_sdk::tool::programs::{Ending, Finished};

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

/// What to do about a failure; none for a success.
pub(crate) fn hint(language: Language, finished: &Finished, stderr: &str) -> Option<String> {
    let hint = match &finished.ending {
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
        Ending::Trapped(reason) if reason.contains("stack") => {
            "Too deep a recursion: write it as a loop, or with a list of what is to be done."
        }
        Ending::Trapped(_) if finished.memory_refused => MEMORY,
        Ending::Trapped(_) => {
            "The program broke off by itself: an illegal access or a failed assertion in compiled code."
        }
        Ending::Exited(_) => return of_text(language, finished, stderr).map(str::to_owned),
    };
    Some(hint.to_owned())
}

const MEMORY: &str = "Out of memory: keep less at one time, read and write files in parts.";

/// A hint for each of the words that tell a failure's kind, the more special ones first.
fn of_text(language: Language, finished: &Finished, stderr: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let python = language == Language::Python;
    if finished.memory_refused || says(&["MemoryError"]) {
        return Some(MEMORY);
    }
    if python && says(&["asyncio/"]) {
        return Some("asyncio does not work in the sandbox, because it stands on sockets: write it without.");
    }
    if says(&[
        "there is no network",
        "urllib.error",
        "gaierror",
        "_socket",
        "'socket'",
        "socket.py",
        "http.client",
        "ConnectionError",
    ]) {
        return Some(
            "There is no network in the sandbox: fetch what is needed with another tool and write it to the workspace.",
        );
    }
    if says(&["subprocess", "_posixsubprocess", "os.fork", "has no attribute 'fork'", "child_process"]) {
        return Some(
            "There are no other processes and no shell in the sandbox: do it in the program itself, or call run_code again.",
        );
    }
    if says(&["can't start new thread", "_thread", "worker_threads"]) {
        return Some("There are no threads in the sandbox: do one thing after the other.");
    }
    if says(&["ModuleNotFoundError", "Cannot find package", "ImportError"]) {
        return Some(if python {
            "The module is not there: Python's standard library and the .py files of the workspace are. Nothing can be installed."
        } else {
            "The package is not there: fs, path, process, util, assert, events and the files of the workspace are. Nothing can be \
             installed."
        });
    }
    if says(&["Cannot find module"]) {
        return Some(
            "The file that is imported is not in the workspace: paths are relative to the importing file, and `/` is the workspace.",
        );
    }
    if says(&["EDQUOT", "Disk quota", "No space left", "quota"]) {
        return Some("The workspace is full: remove what is not needed.");
    }
    if says(&["ENOENT", "FileNotFoundError", "No such file"]) {
        return Some(
            "The file is not there: paths begin at the workspace's root, which is `/` and the working folder.",
        );
    }
    if says(&["SyntaxError", "IndentationError", "TabError"]) {
        return Some("The code does not parse: mend the line that is named and run it again.");
    }
    if says(&["RecursionError", "Maximum call stack", "number of recursive calls"]) {
        return Some("Too deep a recursion: write it as a loop, or with a list of what is to be done.");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::finished;

    #[test]
    fn each_kind_of_failure_has_a_hint_and_success_has_none() {
        let of = |language, stderr: &str| {
            hint(language, &finished(Ending::Exited(1), stderr), stderr)
                .unwrap_or_else(|| panic!("no hint for {stderr}"))
        };
        assert!(of(Language::Python, "ModuleNotFoundError: No module named 'numpy'").contains("standard library"));
        assert!(of(Language::Javascript, "Error: Cannot find package 'express'").contains("Nothing can be"));
        assert!(of(Language::Javascript, "SyntaxError: expected token").contains("parse"));
        assert!(of(Language::Python, "urllib.error.URLError").contains("no network"));
        assert!(of(Language::Python, "FileNotFoundError: [Errno 44]").contains("workspace's root"));
        assert!(hint(Language::Python, &finished(Ending::TimedOut(5), ""), "").unwrap().contains("timeoutMs"));
        assert!(hint(Language::Python, &finished(Ending::OutOfMemory(1), ""), "").unwrap().contains("memory"));
        assert_eq!(hint(Language::Python, &finished(Ending::Exited(0), "SyntaxError"), "SyntaxError"), None);
        assert_eq!(hint(Language::Python, &finished(Ending::Exited(3), "done"), "done"), None);
    }
}
