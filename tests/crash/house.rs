//! The host of the crash test: one data folder and a row of processes, each killed at a random moment.

use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;
use vivarium_tests::guest::{hostile, tool};
use vivarium_tests::{Host, PATIENCE, soon, vivarium_binary};

use super::dice::Dice;
use super::provider::{Provider, key_of};

/// Nobody is slowed down for asking often, or by the number of others.
const CONFIG: &str = "limits.enterprise = { requests_per_minute = 1000000, tokens_per_minute = 100000000 }\n";

/// One of the host's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) number: usize,
    address: String,
    key: String,
}

impl Life {
    pub(super) fn request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.key)
    }
}

/// Who lives now, for all who want something of the host.
#[derive(Clone)]
pub(super) struct Door(watch::Receiver<Option<Life>>);

impl Door {
    /// The host that lives now, or the next one that does.
    pub(super) async fn open(&self) -> Life {
        let mut receiver = self.0.clone();
        let life = soon("a host that lives", receiver.wait_for(Option::is_some)).await.unwrap().clone();
        life.unwrap()
    }

    /// Whether this one lives, as far as it was not told to die.
    pub(super) fn is_alive(&self, life: &Life) -> bool {
        self.0.borrow().as_ref() == Some(life)
    }
}

pub(super) struct House {
    host: Option<Host>,
    provider: Arc<Provider>,
    lives: usize,
    door: watch::Sender<Option<Life>>,
}

impl House {
    /// Starts the first host, with the tools `often` (idempotent), `once` and `careful` (not idempotent).
    pub(super) async fn build(provider: Arc<Provider>) -> Self {
        let mut house = Self { host: None, provider, lives: 0, door: watch::Sender::new(None) };
        house.begin_life(tempfile::tempdir().unwrap()).await;
        let mut tools: Vec<_> = ["often", "once", "careful"].map(tool).into();
        tools[0]["idempotent"] = json!(true);
        let place = house.provider.place();
        let component = hostile(&json!({"tools": tools, "requests": {
            "hosts": [place], "secrets": ["token"], "settings": ["place"], "files": "write", "state": true,
        }}));
        let host = house.host.as_ref().unwrap();
        host.install(component).await;
        let grant = json!({"hosts": [place], "dangerouslyAllowPrivateAddresses": [place]});
        let (status, told) = host.json(reqwest::Method::PUT, "/v1/plugins/test/hostile/grants", Some(&grant)).await;
        assert_eq!(status, 200, "{told}");
        house
    }

    pub(super) fn door(&self) -> Door {
        Door(self.door.subscribe())
    }

    /// The host that lives.
    pub(super) fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    /// How many processes there were.
    pub(super) fn lives(&self) -> usize {
        self.lives
    }

    async fn begin_life(&mut self, data: TempDir) {
        self.lives += 1;
        let host = Host::builder()
            .data(data)
            .config(CONFIG)
            .environment("OPENAI_BASE_URL", self.provider.base_url())
            .environment("OPENAI_API_KEY", key_of(self.lives))
            .environment("VIVARIUM_MODEL", "openai/crash")
            .start()
            .await;
        let life = Life { number: self.lives, address: host.address().to_owned(), key: host.key().to_owned() };
        self.host = Some(host);
        self.door.send_replace(Some(life));
    }

    /// `kill -9`, and another host on what the one before has left. Now and then one more dies while it starts.
    pub(super) async fn kill(&mut self, dice: &mut Dice) {
        self.door.send_replace(None);
        let host = self.host.take().unwrap();
        assert!(!host.log().contains("panicked"), "{}", host.log());
        let data = host.kill().await;
        if dice.between(0, 4) == 0 {
            self.die_at_start(&data, dice).await;
        }
        self.begin_life(data).await;
    }

    async fn die_at_start(&mut self, data: &TempDir, dice: &mut Dice) {
        self.lives += 1;
        let mut command = Command::new(vivarium_binary());
        command.env_clear().env("HOME", data.path()).current_dir(data.path()).kill_on_drop(true);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        command.arg("--config").arg(data.path().join("test.toml"));
        command.env("OPENAI_BASE_URL", self.provider.base_url()).env("OPENAI_API_KEY", key_of(self.lives));
        command.env("VIVARIUM_MODEL", "openai/crash");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(dice.pause(10, 250)).await;
        child.kill().await.unwrap();
    }
}

/// How long a run may take with all the deaths in it.
pub(super) const LONGEST: std::time::Duration = PATIENCE.saturating_mul(10);
