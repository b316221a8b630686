//! `vivarium replay`: a recorded run's mode, run again in this process. All that it asks for is answered from the recording: no
//! model, no tool, no network.

mod difference;

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::json;
use vivarium::config::Flags;
use vivarium::{default_tenant, record};
use vivarium_domain::{ContentHash, RunId, TenantId};
use vivarium_runs::{Recording, Replayed};
use vivarium_sandbox::Plugin;

use super::plugin::{component, loaded};
use super::remote::Remote;
use super::{Failure, Place, result, say};

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The run.
    #[arg(required_unless_present = "file")]
    run: Option<RunId>,
    /// The component that is run in place of the recorded one; its plugin must have the run's mode.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// A recording that was saved, in place of a run of a server.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "data"])]
    file: Option<PathBuf>,
    /// Keep the recording in this file.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// One JSON document in place of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
    /// A data folder that no server has open, in place of a server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Whose run it is, with --data [default: default].
    #[arg(long, value_name = "ID", requires = "data")]
    tenant: Option<TenantId>,
    /// The configuration file, with --data [default: vivarium.toml, if it is there].
    #[arg(long, value_name = "FILE", env = "VIVARIUM_CONFIG")]
    config: Option<PathBuf>,
}

/// What a component did.
struct Told {
    replayed: Replayed,
    /// Whether the recorded component did what its own log says. None: it is not there.
    deterministic: Option<bool>,
}

impl Replay {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let document = self.document().await?;
        let recording = Recording::read(&document).map_err(Failure::Failed)?;
        if let Some(file) = &self.save {
            std::fs::write(file, &document)
                .map_err(|error| Failure::Failed(format!("{} can not be written: {error}", file.display())))?;
            say(format_args!("the recording is in {}; it holds all that was said in the run", file.display()));
        }
        let given = self.plugin.as_ref().map(component).transpose()?;
        let (recorded, other) = components(&recording, given)?;
        let told = told(&recording, recorded, other).await?;
        if self.json {
            let Replayed { calls, cut_short, difference, .. } = &told.replayed;
            let document = json!({
                "calls": calls, "cutShort": cut_short, "deterministic": told.deterministic, "difference": difference,
            });
            result(serde_json::to_string_pretty(&document).map_err(Failure::failed)?)?;
        } else {
            show(&told)?;
        }
        let Some(difference) = told.replayed.difference else { return Ok(()) };
        Err(Failure::Failed(match told.deterministic {
            Some(false) => format!(
                "the recorded component itself does not do what its log says, from event {} on: it is not deterministic, or another \
                 version of the host has recorded it",
                difference.seq
            ),
            _ => format!("the first difference is at event {}", difference.seq),
        }))
    }

    /// The recording as it was written.
    async fn document(&self) -> Result<Vec<u8>, Failure> {
        if let Some(file) = &self.file {
            return std::fs::read(file)
                .map_err(|error| Failure::Failed(format!("{} can not be read: {error}", file.display())));
        }
        let run = self.run.ok_or_else(|| Failure::Use("name a run, or a recording with --file".to_owned()))?;
        if let Some(data) = &self.data {
            let place = Place { data: Some(data.clone()), config: self.config.clone() };
            let config = place.read(Flags::default())?;
            let tenant = match &self.tenant {
                Some(tenant) => tenant.clone(),
                None => default_tenant().map_err(Failure::failed)?,
            };
            return record(&config, &tenant, run).await.map_err(Failure::failed);
        }
        let request = self.remote.request(Method::GET, &format!("/v1/runs/{run}/recording"))?;
        let answered = self.remote.answer(request).await?;
        let document = answered.bytes().await;
        Ok(document.map_err(|error| Failure::Failed(format!("the server broke off: {error}")))?.into())
    }
}

/// The recorded component and the one that is to be run in its place, as far as they are there and are not the same.
type Components = (Option<Vec<u8>>, Option<Vec<u8>>);

fn components(recording: &Recording, given: Option<Vec<u8>>) -> Result<Components, Failure> {
    let digest = recording.run.plugin;
    let is_recorded = |component: &Vec<u8>| ContentHash::of(component) == digest;
    if given.as_ref().is_some_and(is_recorded) {
        return Ok((given, None));
    }
    let recorded = match &recording.component {
        Some(component) if !is_recorded(component) => {
            return Err(Failure::Failed(format!(
                "the component in the recording is not {digest}, which the run names"
            )));
        }
        recorded => recorded.clone(),
    };
    match (&recorded, &given) {
        (None, None) => Err(Failure::Failed(format!(
            "the component {digest} is not in the recording, because it is the operator's or is not kept; give it, or \
             another, with --plugin"
        ))),
        _ => Ok((recorded, given)),
    }
}

/// Runs the recorded component, which tells in full what it asked for, and then the other one, where there is one.
async fn told(recording: &Recording, recorded: Option<Vec<u8>>, other: Option<Vec<u8>>) -> Result<Told, Failure> {
    let replay = async |component: &[u8], against: Option<&Replayed>| {
        let plugin: Plugin = loaded(component)?;
        recording.replay(&plugin, against).await.map_err(Failure::failed)
    };
    let before = match recorded {
        Some(recorded) => Some(replay(&recorded, None).await?),
        None => None,
    };
    let deterministic = before.as_ref().map(|before| before.difference.is_none());
    let replayed = match (other, before) {
        (Some(other), before) if deterministic != Some(false) => replay(&other, before.as_ref()).await?,
        (_, Some(before)) => before,
        (_, None) => return Err(Failure::Failed("there is no component to run".to_owned())),
    };
    Ok(Told { replayed, deterministic })
}

fn show(told: &Told) -> Result<(), Failure> {
    let Replayed { calls, cut_short, difference, .. } = &told.replayed;
    let calls = if *calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
    let Some(difference) = difference else {
        let end = if *cut_short { "; the recording ends there, and the mode does not" } else { "" };
        return Ok(result(format_args!("no difference: {calls}{end}"))?);
    };
    result(format_args!("{calls} as before, then a difference at event {}", difference.seq))?;
    result(difference::shown(difference))?;
    if told.deterministic.is_none() {
        say("the recorded component is not there, so of what was asked before only what the log tells is known");
    }
    Ok(())
}
