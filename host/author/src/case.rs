//! A test case of a plugin: one call or run, the world as it is then, and what must come of it. All in one file of
//! `tests/cases/`, so that a case can be read, copied and reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use vivarium_domain::{SecretName, ToolName};

use crate::fault::{Fault, Faults};
use crate::judge::{Expectation, ExpectedDocument};
use crate::project::{bounded_text, inside};
use crate::reader::{Reader, Section};
use crate::recording::{Exchange, ExpectedRequest, RecordedResponse};

/// Where a project's cases are.
pub const CASES: &str = "tests/cases";

/// What is called.
#[derive(Debug, Clone, PartialEq)]
pub enum CaseCall {
    /// One call of a tool.
    Tool {
        /// The tool.
        name: ToolName,
        /// Its arguments: an object.
        arguments: Json,
    },
    /// One run of a mode.
    Mode {
        /// The mode.
        name: ToolName,
        /// What the client asks for.
        input: String,
        /// The agent's instructions.
        instructions: Option<String>,
        /// The bound on its cycles; none: the manifest's.
        max_cycles: Option<u32>,
    },
}

/// One answer of the scripted model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelTurn {
    /// What must stand in the conversation then.
    pub prompt_contains: Vec<String>,
    /// What the model says.
    pub answer: String,
    /// The tools that it asks for, with their arguments.
    pub tool_calls: Vec<(ToolName, Json)>,
    /// Why there is no answer, instead of one.
    pub error: Option<String>,
}

/// A tool of a mode's run: it answers always the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptedTool {
    /// Its name.
    pub name: ToolName,
    /// What the mode is told of it.
    pub description: String,
    /// What it answers, or the error.
    pub answer: Result<String, String>,
}

/// A test case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The file's name, without its ending.
    pub name: String,
    /// What is called.
    pub call: CaseCall,
    /// Settings that the operator has made.
    pub settings: BTreeMap<String, String>,
    /// Secrets that are there.
    pub secrets: BTreeSet<SecretName>,
    /// Files of the workspace before the call, by their paths.
    pub files: BTreeMap<String, String>,
    /// Kept data before the call.
    pub state: BTreeMap<String, String>,
    /// Requests that may be made, with their answers.
    pub http: Vec<Exchange>,
    /// What the model of a mode's run says, in this order.
    pub model: Vec<ModelTurn>,
    /// The tools of a mode's run.
    pub tools: Vec<ScriptedTool>,
    /// What must come of it.
    pub expect: Expectation,
}

impl Case {
    /// All cases of a project, in the order of their names.
    ///
    /// # Errors
    /// All that is wrong in all of them.
    pub fn read_all(project: &Path) -> Result<Vec<Self>, Faults> {
        let folder = project.join(CASES);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let message = format!("the cases can not be read: {error}");
                return Err(Faults(vec![Fault::new(&folder.display().to_string(), "", 0..0, message)]));
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let (mut cases, mut faults) = (Vec::new(), Vec::new());
        for path in paths {
            match Self::read(&path) {
                Ok(case) => cases.push(case),
                Err(Faults(more)) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(cases) } else { Err(Faults(faults)) }
    }

    /// Reads a case.
    ///
    /// # Errors
    /// All that is wrong in it, each with its place.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let shown = path.strip_prefix(".").unwrap_or(path).display().to_string();
        let text = bounded_text(path).map_err(|message| Faults(vec![Fault::new(&shown, "", 0..0, message)]))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&name, &shown, folder, &text)
    }

    /// As [`read`](Self::read), of a text that is there already. Files that it names are read from `folder`.
    ///
    /// # Errors
    /// All that is wrong in it, each with its place.
    pub fn parse(name: &str, shown: &str, folder: &Path, text: &str) -> Result<Self, Faults> {
        Reader::new(shown, text).read(|file| {
            let call = call(file);
            let is_mode = matches!(call, Some(CaseCall::Mode { .. }));
            let case = Self {
                name: name.to_owned(),
                settings: texts(file, "settings"),
                secrets: secrets(file),
                files: files(file, "files"),
                state: texts(file, "state"),
                http: file.sections("http").iter().filter_map(|section| exchange(folder, section)).collect(),
                model: file.sections("model").iter().map(turn).collect(),
                tools: file.sections("tools").iter().filter_map(scripted_tool).collect(),
                expect: expectation(file),
                call: call?,
            };
            if !is_mode && (file.has("model") || file.has("tools")) {
                let span = file.place("model").or_else(|| file.place("tools")).unwrap_or_default();
                file.fault(span, "only a case of a mode has a model and tools");
            }
            Some(case)
        })
    }
}

fn call(file: &Section<'_>) -> Option<CaseCall> {
    let (tool, mode) = (name_of(file, "tool"), name_of(file, "mode"));
    let arguments = file.json("arguments");
    let (input, instructions) = (file.text("input"), file.text("instructions"));
    let max_cycles = file.whole("max_cycles");
    match (file.has("tool"), file.has("mode")) {
        (true, false) => {
            let arguments = arguments.map_or_else(|| json!({}), |at| at.value);
            Some(CaseCall::Tool { name: tool?, arguments })
        }
        (false, true) => {
            if input.is_none() {
                file.missing("input", "what the client asks for");
            }
            let max_cycles = match max_cycles.map(|at| u32::try_from(at.value).map_err(|_| at.span)) {
                Some(Ok(cycles)) => Some(cycles),
                Some(Err(span)) => {
                    file.fault(span, "this is no number of cycles");
                    None
                }
                None => None,
            };
            let instructions = instructions.map(|at| at.value);
            Some(CaseCall::Mode { name: mode?, input: input?.value, instructions, max_cycles })
        }
        _ => {
            file.fault(0..0, "a case calls one thing: write either `tool = \"…\"` or `mode = \"…\"`");
            None
        }
    }
}

fn name_of(section: &Section<'_>, key: &'static str) -> Option<ToolName> {
    let at = section.text(key)?;
    at.value.parse().map_err(|error: vivarium_domain::IdError| section.fault(at.span, error.to_string())).ok()
}

fn texts(section: &Section<'_>, key: &'static str) -> BTreeMap<String, String> {
    section.text_map(key).into_iter().map(|(name, at)| (name, at.value)).collect()
}

fn secrets(file: &Section<'_>) -> BTreeSet<SecretName> {
    let mut names = BTreeSet::new();
    for at in file.texts("secrets") {
        match at.value.parse() {
            Ok(name) => {
                names.insert(name);
            }
            Err(error) => {
                let error: vivarium_domain::IdError = error;
                file.fault(at.span, error.to_string());
            }
        }
    }
    names
}

/// Paths within the workspace, and their texts.
fn files(section: &Section<'_>, key: &'static str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (path, at) in section.text_map(key) {
        match inside(Path::new(""), &path) {
            Ok(_) => {
                files.insert(path, at.value);
            }
            Err(_) => section.fault(at.span, format!("{path:?} is no path within the workspace")),
        }
    }
    files
}

fn exchange(folder: &Path, section: &Section<'_>) -> Option<Exchange> {
    let request = section.section("request");
    let response = section.section("response");
    for (key, there) in [("request", request.is_some()), ("response", response.is_some())] {
        if !there && !section.has(key) {
            section.missing(key, "each [[http]] has a request and its response");
        }
    }
    section.refuse_unknown();
    let request = request.map(|section| expected_request(&section));
    let response = response.map(|section| recorded_response(folder, &section));
    Some(Exchange { request: request??, response: response?? })
}

fn expected_request(section: &Section<'_>) -> Option<ExpectedRequest> {
    let method = section.text("method").map_or_else(|| "GET".to_owned(), |at| at.value);
    let url = section.required_text("url", "the whole address, such as \"https://api.example.com/v1?q=x\"");
    let headers = texts(section, "headers");
    let body = section.text("body").map(|at| at.value);
    let body_json = section.json("body_json").map(|at| at.value);
    let body_contains = section.texts("body_contains").into_iter().map(|at| at.value).collect();
    section.refuse_unknown();
    let url = url?;
    if !url.value.starts_with("https://") && !url.value.starts_with("http://") {
        section.fault(url.span, "an address begins with https:// or http://");
        return None;
    }
    Some(ExpectedRequest { method, url: url.value, headers, body, body_json, body_contains })
}

fn recorded_response(folder: &Path, section: &Section<'_>) -> Option<RecordedResponse> {
    let status = section.whole("status");
    let mut headers = texts(section, "headers");
    let text = section.text("body");
    let json = section.json("body_json");
    let file = section.text("body_file");
    section.refuse_unknown();
    let status = match status {
        Some(at) if (100..=599).contains(&at.value) => u16::try_from(at.value).ok()?,
        Some(at) => {
            section.fault(at.span, "a status is a number from 100 to 599");
            return None;
        }
        None => 200,
    };
    let has_type = headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    let body = match (text, json, file) {
        (text, None, None) => text.map(|at| at.value).unwrap_or_default().into_bytes(),
        (None, Some(json), None) => {
            if !has_type {
                headers.insert("content-type".to_owned(), "application/json".to_owned());
            }
            json.value.to_string().into_bytes()
        }
        (None, None, Some(at)) => {
            let read = inside(folder, &at.value)
                .and_then(|path| fs::read(path).map_err(|error| format!("{} can not be read: {error}", at.value)));
            read.map_err(|message| section.fault(at.span, message)).ok()?
        }
        _ => {
            section.fault(section.span(), "a response has one of `body`, `body_json` and `body_file`");
            return None;
        }
    };
    Some(RecordedResponse { status, headers, body })
}

fn turn(section: &Section<'_>) -> ModelTurn {
    let prompt_contains = section.texts("prompt_contains").into_iter().map(|at| at.value).collect();
    let answer = section.text("answer").map(|at| at.value);
    let error = section.text("error").map(|at| at.value);
    let tool_calls: Vec<_> = section.sections("tool_calls").iter().filter_map(tool_call).collect();
    if answer.is_none() && error.is_none() && tool_calls.is_empty() {
        section.missing("answer", "the model answers, asks for tools (`tool_calls`), or fails (`error`)");
    }
    section.refuse_unknown();
    ModelTurn { prompt_contains, answer: answer.unwrap_or_default(), tool_calls, error }
}

fn tool_call(section: &Section<'_>) -> Option<(ToolName, Json)> {
    if !section.has("name") {
        section.missing("name", "the tool that the model asks for");
    }
    let name = name_of(section, "name");
    let arguments = section.json("arguments").map_or_else(|| json!({}), |at| at.value);
    section.refuse_unknown();
    Some((name?, arguments))
}

fn scripted_tool(section: &Section<'_>) -> Option<ScriptedTool> {
    if !section.has("name") {
        section.missing("name", "the name that models call it by");
    }
    let name = name_of(section, "name");
    let description = section.text("description").map(|at| at.value).unwrap_or_default();
    let (answer, error) = (section.text("answer"), section.text("error"));
    section.refuse_unknown();
    let answer = match (answer, error) {
        (Some(answer), None) => Ok(answer.value),
        (None, Some(error)) => Err(error.value),
        _ => {
            section.fault(section.span(), "a scripted tool has either an `answer` or an `error`");
            return None;
        }
    };
    Some(ScriptedTool { name: name?, description, answer })
}

fn expectation(file: &Section<'_>) -> Expectation {
    let Some(section) = file.section("expect") else {
        if !file.has("expect") {
            file.missing("expect", "a case that expects nothing can not fail");
        }
        return Expectation::default();
    };
    let all = |key| section.texts(key).into_iter().map(|at| at.value).collect::<Vec<_>>();
    let expect = Expectation {
        output: section.text("output").map(|at| at.value),
        output_json: section.json("output_json").map(|at| at.value),
        output_contains: all("output_contains"),
        error_contains: all("error_contains"),
        documents: section.has("documents").then(|| section.sections("documents").iter().map(document).collect()),
        files: files(&section, "files"),
        no_files: all("no_files"),
        state: texts(&section, "state"),
        no_state: all("no_state"),
        log_contains: all("log_contains"),
        steps_contain: all("steps_contain"),
    };
    section.refuse_unknown();
    if expect == Expectation::default() {
        section.fault(
            section.span(),
            "a case that expects nothing can not fail: add `output_contains` or `error_contains`",
        );
    }
    if !expect.error_contains.is_empty() && expect.expects_output() {
        section.fault(section.span(), "a call ends with an output or with an error: expect one of them");
    }
    expect
}

fn document(section: &Section<'_>) -> ExpectedDocument {
    let location = section.text("location").map(|at| at.value);
    let title = section.text("title").map(|at| at.value);
    let text_contains = section.texts("text_contains").into_iter().map(|at| at.value).collect();
    section.refuse_unknown();
    ExpectedDocument { location, title, text_contains }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Case, String> {
        Case::parse("x", "x.toml", Path::new("/nowhere"), text).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_case_says_all_of_its_world_in_one_file() {
        let case = parsed(
            r#"
            tool = "weather"
            arguments = { city = "Oslo" }
            settings = { unit = "C" }
            secrets = ["weather-key"]
            files = { "in/a.txt" = "A" }
            state = { last = "x" }

            [[http]]
            request = { url = "https://api.example.com/v1?q=Oslo", headers = { accept = "application/json" } }
            response = { body_json = { t = 3 } }

            [expect]
            output_contains = "3"
            files = { "in/a.txt" = "A" }
            no_files = ["in/b.txt"]
            documents = [{ location = "https://api.example.com/v1?q=Oslo" }]
            "#,
        )
        .unwrap();
        assert_eq!(case.http[0].request.method, "GET");
        assert_eq!(case.http[0].response.body, b"{\"t\":3}");
        assert_eq!(case.http[0].response.headers["content-type"], "application/json");
        assert_eq!(case.expect.documents.unwrap().len(), 1);
        assert_eq!(case.expect.output_contains, ["3"]);
    }

    #[test]
    fn a_mode_has_a_model_that_says_what_it_is_told_to() {
        let case = parsed(
            r#"
            mode = "m"
            input = "?"
            [[tools]]
            name = "look"
            answer = "seen"
            [[model]]
            tool_calls = [{ name = "look", arguments = { at = "it" } }]
            [[model]]
            answer = "yes"
            [expect]
            output = "yes"
            "#,
        )
        .unwrap();
        assert_eq!(case.model[0].tool_calls[0].1, json!({"at": "it"}));
        assert_eq!(case.model[1].answer, "yes");
    }

    #[test]
    fn all_faults_of_a_case_are_told_with_their_places() {
        let faults = parsed(
            "tool = \"a b\"\nargs = {}\nfiles = { \"../x\" = \"\" }\n[[http]]\nrequest = { url = \"x\" }\n[expect]\noutput = 1\n",
        )
        .unwrap_err();
        insta::assert_snapshot!(faults, @r#"
        x.toml:1:8: a tool's name must be 1 to 64 of a-z, A-Z, 0-9, '-' and '_', not "a b"
            1 | tool = "a b"
              |        ^^^^^
        x.toml:2:1: there is no `args` here; there are `tool`, `mode`, `arguments`, `input`, `instructions`, `max_cycles`, `settings`, `secrets`, `files`, `state`, `http`, `model`, `tools` and `expect`
            2 | args = {}
              | ^^^^
        x.toml:3:20: "../x" is no path within the workspace
            3 | files = { "../x" = "" }
              |                    ^^
        x.toml:4:1: `http[0]` has no `response`: each [[http]] has a request and its response
            4 | [[http]]
              | ^^^^^^^^
        x.toml:5:19: an address begins with https:// or http://
            5 | request = { url = "x" }
              |                   ^^^
        x.toml:6:1: a case that expects nothing can not fail: add `output_contains` or `error_contains`
            6 | [expect]
              | ^^^^^^^^
        x.toml:7:10: `expect.output` must be a text in quotes, not of type integer
            7 | output = 1
              |          ^
        "#);
    }

    #[test]
    fn a_case_without_expectations_is_none() {
        assert!(parsed("tool = \"t\"\n").unwrap_err().contains("can not fail"));
        let both = "tool = \"t\"\n[expect]\noutput = \"a\"\nerror_contains = \"b\"\n";
        assert!(parsed(both).unwrap_err().contains("expect one of them"));
    }
}
