//! `vivarium plugin test`: a plugin's cases, in the sandbox that a server has. What a case does not foresee is not there: no
//! network, no other files, always the same clock and dice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::Value as Json;
use vivarium_author::{Case, CaseCall, Checked, Observed, Recording, Toolchain};
use vivarium_domain::{Manifest, PluginLimits, Requests};
use vivarium_sandbox::{FileQuota, FixedWorld, Grant, Limits, ModeCall, Plugin, ToolCallContext, Workspace};

use super::scripted::{Door, Lines, NOW_NS, Script, Space};
use super::{Failure, built, component, loaded, project, result, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// Only cases whose names contain one of these.
    names: Vec<String>,
    /// The folder with the plugin.toml [default: this one].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Test this component as it is, instead of building it first.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Only with this Rust, instead of the first that can: rustup or debian.
    #[arg(long, value_name = "TOOLCHAIN", conflicts_with = "component")]
    with: Option<Toolchain>,
    /// Show what the plugin writes to its log, and what it was denied, also of cases that pass.
    #[arg(long)]
    log: bool,
}

impl Test {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let project = project(self.dir.as_deref())?;
        let cases = Case::read_all(&project.folder).map_err(Failure::failed)?;
        let chosen = |case: &Case| self.names.is_empty() || self.names.iter().any(|name| case.name.contains(name));
        let cases: Vec<Case> = cases.into_iter().filter(chosen).collect();
        if cases.is_empty() {
            let folder = project.folder.join(vivarium_author::CASES);
            return Err(Failure::Failed(format!("there is no such case in {}", folder.display())));
        }
        let file = match self.component {
            Some(file) => file,
            None => built(&project, None, self.with)?.path,
        };
        let bytes = component(&file)?;
        let checked = project.check(&bytes).map_err(Failure::failed)?;
        let plugin = loaded(&bytes)?;
        let mut failed = 0_usize;
        for case in &cases {
            failed = failed.saturating_add(usize::from(!judged(&plugin, &checked, case, self.log).await?));
        }
        if failed > 0 {
            return Err(Failure::Failed(format!("{failed} of {} cases failed", cases.len())));
        }
        say(format!("{} cases passed", cases.len()));
        Ok(())
    }
}

/// Runs a case and tells what came of it; whether it has passed.
async fn judged(plugin: &Plugin, checked: &Checked, case: &Case, log: bool) -> Result<bool, Failure> {
    let observed = observed(plugin, &checked.manifest, case).await?;
    let differences = case.expect.judge(&observed, output_schema(&checked.manifest, case));
    if log || !differences.is_empty() {
        for line in &observed.log {
            say(format!("  {}: {line}", case.name));
        }
    }
    result(format!("{} {}", if differences.is_empty() { "ok    " } else { "FAILED" }, case.name))?;
    for difference in &differences {
        result(format!("       {difference}"))?;
    }
    Ok(differences.is_empty())
}

/// What the tool says of its own output.
fn output_schema<'a>(manifest: &'a Manifest, case: &Case) -> Option<&'a Json> {
    let CaseCall::Tool { name, .. } = &case.call else { return None };
    manifest.tools.iter().find(|tool| tool.name == *name)?.output_schema.as_ref()
}

async fn observed(plugin: &Plugin, manifest: &Manifest, case: &Case) -> Result<Observed, Failure> {
    match &case.call {
        CaseCall::Tool { name, arguments } => call(plugin, manifest, case, name.as_str(), arguments).await,
        CaseCall::Mode { name, input, instructions, max_cycles } => {
            let of_manifest = manifest.modes.iter().find(|mode| mode.name == *name).map(|mode| mode.default_max_cycles);
            let call = ModeCall {
                mode: name.to_string(),
                input: input.clone(),
                instructions: instructions.clone(),
                max_cycles: max_cycles.or(of_manifest).unwrap_or(1),
                ..ModeCall::default()
            };
            run_mode(plugin, manifest, case, call).await
        }
    }
}

/// One run of a mode, with a model that says what the case has it say.
async fn run_mode(plugin: &Plugin, manifest: &Manifest, case: &Case, call: ModeCall) -> Result<Observed, Failure> {
    let model = "scripted/model".parse().map_err(Failure::Failed)?;
    let (script, log) = (Arc::new(Script::new(case, model)), Arc::new(Lines::default()));
    let limits = Arc::new(Limits::for_mode().with(&manifest.limits));
    let report = plugin.run_mode(call, Arc::clone(&script) as _, &limits, Arc::clone(&log) as _).await;
    let answer = match report.result {
        Ok(Ok(answer)) => Ok(answer.answer_json.unwrap_or(answer.answer)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(failure) => Err(failure.to_string()),
    };
    let (steps, problems) = script.end();
    Ok(Observed { result: Some(answer), log: log.take(), steps, problems, ..Observed::default() })
}

/// One call of a tool, in the world of its case: all that its manifest asks for is granted.
async fn call(
    plugin: &Plugin,
    manifest: &Manifest,
    case: &Case,
    name: &str,
    arguments: &Json,
) -> Result<Observed, Failure> {
    let Requests { hosts, files, state, .. } = &manifest.requests;
    let folder = Folder::with(&case.files)?;
    let recording = Arc::new(Recording::new(case.http.clone(), hosts.clone()));
    let space = Arc::new(Space::new(&case.state));
    let log = Arc::new(Lines::default());
    let grant = Grant {
        egress: (!hosts.is_empty()).then(|| Arc::new(Door(Arc::clone(&recording))) as _),
        settings: case.settings.clone(),
        secrets: case.secrets.iter().map(ToString::to_string).collect(),
        state: state.then(|| Arc::clone(&space) as _),
        files: *files,
        ..Grant::default()
    };
    let workspace = files.map(|_| folder.workspace(&manifest.limits)).transpose()?;
    let fixed = Some(FixedWorld { wall_clock_ns: NOW_NS, seed: 0 });
    let context =
        ToolCallContext { idempotency_key: case.name.clone(), workspace, fixed, ..ToolCallContext::default() };
    let limits = Arc::new(Limits::for_tool().with(&manifest.limits));
    let report =
        plugin.call_tool(name, &arguments.to_string(), context, Arc::new(grant), &limits, Arc::clone(&log) as _).await;
    // A tool may do without: so a denial is told, and does not fail the case.
    let mut lines = log.take();
    lines.extend(report.denials.iter().map(|denial| format!("denied: {}", denial.message)));
    let (result, documents) = match report.result {
        Ok(output) => (Ok(output.content), output.documents),
        Err(error) => (Err(error), Vec::new()),
    };
    Ok(Observed {
        result: Some(result),
        documents,
        files: folder.read()?,
        state: space.take(),
        log: lines,
        steps: Vec::new(),
        problems: recording.problems(),
    })
}

/// What a session of a server may hold, where the manifest says nothing else.
const FILE_BYTES: u64 = 64 << 20;
const FILES: u64 = 1_000;

/// A case's workspace: a folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let folder = Self(std::env::temp_dir().join(format!("vivarium-case-{}", uuid::Uuid::now_v7())));
        fs::create_dir_all(&folder.0)?;
        for (name, text) in files {
            let path = folder.0.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        Ok(folder)
    }

    fn workspace(&self, limits: &PluginLimits) -> Result<Arc<Workspace>, Failure> {
        let quota = FileQuota { bytes: limits.file_bytes.unwrap_or(FILE_BYTES), files: limits.files.unwrap_or(FILES) };
        Workspace::open(self.0.clone(), quota).map_err(Failure::failed)
    }

    /// All files, by their paths.
    fn read(&self) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let mut files = BTreeMap::new();
        let mut ahead = vec![self.0.clone()];
        while let Some(folder) = ahead.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() && !path.is_symlink() {
                    ahead.push(path);
                } else if path.is_file() {
                    let name = path.strip_prefix(&self.0).unwrap_or(Path::new(""));
                    files.insert(name.to_string_lossy().into_owned(), fs::read(&path)?);
                }
            }
        }
        Ok(files)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the system's folder for such things, the system removes.
        let _left = fs::remove_dir_all(&self.0);
    }
}
