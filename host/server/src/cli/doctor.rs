//! `vivarium doctor`.

use clap::Args;
use serde_json::json;
use vivarium::config::{Config, Flags};
use vivarium::{Check, Level, examine};

use super::{Failure, Place, result, say};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// One JSON document in place of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (config, wrong) = match self.place.read(Flags::default()) {
            Ok(config) => (config, None),
            Err(errors) => {
                // What does not depend on it can still be looked at.
                let defaults = Config::default();
                let named = self.place.data.clone().or_else(|| std::env::var_os("VIVARIUM_DATA").map(Into::into));
                let data = named.unwrap_or_else(|| defaults.data.clone());
                (Config { data, ..defaults }, Some(errors))
            }
        };
        say(format_args!("looking at {}", config.data.display()));
        let checks = examine(config, wrong).await;
        let errors = checks.iter().filter(|check| check.level == Level::Error).count();
        if self.json {
            let document = json!({"ok": errors == 0, "checks": checks});
            result(serde_json::to_string_pretty(&document).map_err(Failure::failed)?)?;
        } else {
            checks.iter().try_for_each(show)?;
        }
        match errors {
            0 => Ok(()),
            1 => Err(Failure::Failed("1 check found errors".to_owned())),
            _ => Err(Failure::Failed(format!("{errors} checks found errors"))),
        }
    }
}

/// A line for the check, and one for each thing that it has found.
fn show(check: &Check) -> std::io::Result<()> {
    result(format_args!("{}\t{}\t{}", check.level.name(), check.name, check.message))?;
    check.findings.iter().try_for_each(|finding| result(format_args!("\t\t{finding}")))?;
    check.advice.iter().try_for_each(|advice| result(format_args!("\t\t→ {advice}")))
}
