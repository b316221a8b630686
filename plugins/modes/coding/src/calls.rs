//! What a person is shown of the tool calls: a sentence for what happens, and for what came of it.

use serde_json::Value;
use vivarium_sdk::mode::{CallResult, ToolCall};

/// The tool that runs code.
pub(crate) const RUN_CODE: &str = "run_code";
/// The tools that change files.
const CHANGING: [&str; 3] = ["write_file", "edit_file", "apply_patch"];

pub(crate) fn changes_files(tool: &str) -> bool {
    CHANGING.contains(&tool)
}

/// A program that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// What was run: a file, or the language of some code.
    pub(crate) what: String,
    /// How it ended; none: it did not come to an end of its own.
    pub(crate) exit_code: Option<i64>,
    /// What is worth telling besides: what it said last, or why there is no exit code.
    pub(crate) note: Option<String>,
}

impl Ran {
    pub(crate) fn is_ok(&self) -> bool {
        self.exit_code == Some(0)
    }

    pub(crate) fn result(&self) -> String {
        match (self.exit_code, &self.note) {
            // What a program says is shown as that: no mark of it means anything.
            (Some(code), Some(note)) => format!("exit code {code} (`{}`)", note.replace('`', "'")),
            (Some(code), None) => format!("exit code {code}"),
            (None, Some(note)) => note.clone(),
            (None, None) => "no exit code".to_owned(),
        }
    }
}

fn arguments(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments_json).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The first line, cut.
fn short(text: &str) -> String {
    const MOST: usize = 80;
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
    }
}

/// What is run by a call of `run_code`.
fn program(arguments: &Value) -> String {
    let file = text(arguments, "path").or_else(|| text(arguments, "module"));
    let mut what = match (file, text(arguments, "language")) {
        (Some(path), _) => short(path),
        (None, Some(language)) => format!("some {}", short(language)),
        (None, None) => "some code".to_owned(),
    };
    for argument in arguments.get("args").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        what.push(' ');
        what.push_str(&short(argument));
    }
    short(&what)
}

/// What a call is about to do; none: its result is what is shown.
pub(crate) fn before(call: &ToolCall) -> Option<String> {
    let given = arguments(call);
    let path = || text(&given, "path").map_or_else(|| "the workspace".to_owned(), short);
    Some(match call.name.as_str() {
        RUN_CODE | "todo" => return None,
        "list_files" => format!("Listing {}", path()),
        "read_file" => format!("Reading {}", path()),
        "search_files" => format!("Searching {} for {}", path(), short(text(&given, "pattern").unwrap_or("nothing"))),
        "write_file" => format!("Writing {}", path()),
        "edit_file" => format!("Editing {}", path()),
        "apply_patch" => "Applying a patch".to_owned(),
        other => format!("Using {other}"),
    })
}

/// What a call has come to, where a person wants to know.
pub(crate) fn after(call: &ToolCall, result: &CallResult) -> Option<String> {
    match call.name.as_str() {
        RUN_CODE => ran(call, result).map(|ran| format!("Running {}: {}", ran.what, ran.result())),
        "todo" if !result.is_error => {
            let done = result.content.lines().filter(|line| line.starts_with("- [x]")).count();
            let all = result.content.lines().filter(|line| line.starts_with("- [")).count();
            let doing = result.content.lines().find_map(|line| line.strip_prefix("- [~] "));
            let doing = doing.map(|doing| format!("; now: {}", short(doing))).unwrap_or_default();
            Some(format!("To do: {done} of {all} done{doing}"))
        }
        name if changes_files(name) && result.is_error => Some(format!("Refused: {}", short(&result.content))),
        _ => None,
    }
}

/// The program that a call has run; none: it is a call of another tool.
pub(crate) fn ran(call: &ToolCall, result: &CallResult) -> Option<Ran> {
    if call.name != RUN_CODE {
        return None;
    }
    let what = program(&arguments(call));
    if result.is_error {
        return Some(Ran { what, exit_code: None, note: Some(short(&result.content)) });
    }
    let told: Value = serde_json::from_str(&result.content).unwrap_or_default();
    let exit_code = told.get("exitCode").and_then(Value::as_i64);
    let note = match exit_code {
        Some(0) if text(&arguments(call), "module").is_none() => None,
        Some(_) => last_words(&told),
        None => text(&told, "summary").or_else(|| text(&told, "hint")).map(short),
    };
    Some(Ran { what, exit_code, note })
}

/// The last line of what a program has said: the error that was not caught, or how many tests have failed.
fn last_words(told: &Value) -> Option<String> {
    let last =
        |name| text(told, name)?.lines().map(|line| line.trim_matches(['=', ' ', '\t'])).rfind(|line| !line.is_empty());
    last("stderr").or_else(|| last("stdout")).map(short)
}

/// A shorter row of signs is an operator.
const MIN_DRAWN: usize = 4;

/// What makes a failure the same as another: not how long it took.
pub(crate) fn essence(call: &ToolCall, result: &CallResult) -> String {
    let told: Value = match serde_json::from_str(&result.content) {
        Ok(told) if call.name == RUN_CODE && !result.is_error => told,
        _ => return result.content.clone(),
    };
    let said = ["stdout", "stderr"].map(|name| text(&told, name).unwrap_or_default()).join("\n");
    let is_time = |word: &str| {
        let bare = word.trim_matches(['(', ')', '[', ']', ',', ';']);
        let number = bare.strip_suffix("ms").or_else(|| bare.strip_suffix('s'));
        let is_clock = bare.contains(':') && bare.chars().all(|sign| sign.is_ascii_digit() || sign == ':');
        // A line that is drawn around a time is shorter where the time has more digits.
        let is_drawn = word.len() >= MIN_DRAWN && word.chars().all(|sign| "=-_*".contains(sign));
        is_clock || is_drawn || number.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    let words = said.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ");
    format!("{:?} {words}", told.get("exitCode"))
}

/// The call failed, or what it has run did.
pub(crate) fn has_failed(call: &ToolCall, result: &CallResult) -> bool {
    result.is_error || ran(call, result).is_some_and(|ran| !ran.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout: &str) -> String {
        let call = ToolCall { id: "c".into(), name: RUN_CODE.into(), arguments_json: "{}".into() };
        let told = serde_json::json!({"exitCode": 1, "stdout": stdout});
        let (id, name, content) = (call.id.clone(), call.name.clone(), told.to_string());
        essence(&call, &CallResult { id, name, content, is_error: false, sources: Vec::new() })
    }

    #[test]
    fn a_failure_is_the_same_at_another_time_and_another_one_with_another_number() {
        let took = |time: &str, row: &str| said(&format!("E assert [1, 2] == [2]\n{row} 1 failed in {time} {row}"));
        assert_eq!(took("0.09s", "====="), took("[12.10s]", "===="));
        assert_eq!(took("(98ms)", "====="), took("(1s)", "======"));
        assert_ne!(said("E assert [1, 2, 3] == [1, 2, 4]"), said("E assert [1, 7, 9] == [1, 2, 4]"));
        assert_ne!(said("E assert 1 == 2"), said("E assert 1 - 2"));
    }
}
