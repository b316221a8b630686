//! `vivarium backup` and `vivarium restore`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use futures::StreamExt as _;
use reqwest::Method;
use vivarium::config::Flags;
use vivarium::{Aside, Manifest, back_up, restore};

use super::remote::Remote;
use super::{Failure, Place, result, say};

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file that the backup becomes. It must not be there yet.
    file: PathBuf,
    #[command(flatten)]
    remote: Remote,
    /// A data folder that no server has open, in place of a server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file, with --data [default: vivarium.toml, if it is there].
    #[arg(long, value_name = "FILE", env = "VIVARIUM_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RestoreBackup {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

impl Backup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { file, remote, data, config } = self;
        let manifest = match data {
            Some(data) => {
                let config = Place { data: Some(data), config }.read(Flags::default())?;
                back_up(&config, &file).await?
            }
            None => download(&remote, Aside::new(&file)?).await?,
        };
        say(format_args!(
            "the key of the secrets is not in it: keep a copy of {} elsewhere",
            manifest.head.secrets_key
        ));
        say("  (without it no secret in this backup opens, and with it whoever has both reads them all)");
        say(
            "neither are compiled plugins and the index of the corpus, which are made anew, and the configuration file",
        );
        tell(&manifest);
        Ok(result(format_args!("{}\t{}", file.display(), contents(&manifest)))?)
    }
}

/// Writes what the server sends, as it comes.
async fn download(remote: &Remote, file: Aside) -> Result<Manifest, Failure> {
    let answered = remote.answer(remote.request(Method::GET, "/v1/admin/backup")?).await?;
    let runtime = tokio::runtime::Handle::current();
    let writing = tokio::task::spawn_blocking(move || {
        let mut chunks = answered.bytes_stream();
        file.fill(|to| {
            while let Some(chunk) = runtime.block_on(chunks.next()) {
                let broke_off = |error| vivarium::ArchiveError::NotWhole(format!("the server broke off: {error}"));
                let written = to.write_all(&chunk.map_err(broke_off)?);
                written.map_err(|error| vivarium::ArchiveError::Io { what: "the backup".to_owned(), error })?;
            }
            Ok(())
        })
    });
    let written = writing.await.map_err(Failure::failed)?;
    written.map_err(|error| Failure::Failed(format!("the backup was not made: {error}")))
}

impl RestoreBackup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.place.read(Flags::default())?;
        let (file, data) = (self.file.clone(), config.data.clone());
        let restoring = tokio::task::spawn_blocking(move || restore(&file, &data));
        let (manifest, report) = restoring.await.map_err(io::Error::other)?.map_err(Failure::failed)?;
        let (file, data) = (self.file.display(), config.data.display());
        say(format_args!("{file} was made by version {} on {}", manifest.head.version, manifest.head.at));
        if !report.is_clean() || report.migrated_from.is_some() {
            say(&report);
        }
        tell(&manifest);
        say(format_args!("its secrets open with the key that was in {}", manifest.head.secrets_key));
        Ok(result(format_args!("{data}\t{}", contents(&manifest)))?)
    }
}

fn contents(manifest: &Manifest) -> String {
    let Manifest { records, blobs, workspaces, .. } = manifest;
    format!(
        "{} bytes of records, {} texts and files of {} bytes, {} bytes of sessions' files",
        records.bytes, blobs.entries, blobs.bytes, workspaces.bytes
    )
}

/// What was not in order when the backup was made.
fn tell(manifest: &Manifest) {
    if manifest.damaged_blobs > 0 {
        let count = manifest.damaged_blobs;
        say(format_args!("warning: {count} texts or files were damaged already; `vivarium doctor` names them"));
    }
    if manifest.changed_files > 0 {
        let count = manifest.changed_files;
        say(format_args!("warning: {count} files of sessions were written to while they were read"));
    }
}
