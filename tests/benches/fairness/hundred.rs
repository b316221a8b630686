//! A hundred tenants, one of them abusive: the latencies of the ninety-nine's calls without it, and while it does its worst.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use vivarium_tests::guest::{ECHO, saying, tool, tool_plugin_as};
use vivarium_tests::{Host, http_client};

use crate::{Abuse, FILL, SPIN, show};

/// How often each of the ninety-nine calls, and for how long one round goes on.
const EACH: Duration = Duration::from_millis(500);
const ROUND: Duration = Duration::from_secs(20);

struct Hundred {
    host: Host,
    quiet: Vec<String>,
    abusive: String,
}

impl Hundred {
    async fn set() -> Self {
        let data = tempfile::tempdir().unwrap();
        // No rate limit is in the way of anybody: what is measured is what is behind them.
        let toml = "[limits.pro]\nrequests_per_minute = 1000000\ntokens_per_minute = 1000000000\n";
        let host = Host::builder().data(data).config(toml).start().await;
        let mut keys = Vec::new();
        for number in 0..100 {
            // The ninety-nine are of the least tier but one, and the abusive one of the greatest: its weight is four times theirs. Where
            // all are of one tier it has less.
            let (id, tier) = (format!("tenant-{number}"), if number == 99 { "enterprise" } else { "pro" });
            let tenant = json!({"id": id, "tier": tier});
            assert_eq!(host.json(Method::POST, "/v1/admin/tenants", Some(&tenant)).await.0, 201);
            let key = json!({"name": "bench", "scopes": ["runs", "plugins"]});
            let (status, made) = host.json(Method::POST, &format!("/v1/admin/tenants/{id}/keys"), Some(&key)).await;
            assert_eq!(status, 201, "{made}");
            keys.push(made["key"].as_str().unwrap().to_owned());
        }
        let abusive = keys.pop().unwrap();
        let (words, body) = saying("hello");
        let shared = tool_plugin_as(json!({"name": "bench/hello", "tools": [tool("hello")]}), "", &words, &body);
        let (status, answer) = host.install_as(host.key(), "/v1/plugins?shared=true", shared).await;
        assert_eq!(status, 201, "{answer}");
        for (name, body) in [("flood", ECHO), ("spin", SPIN), ("fill", FILL)] {
            let fields = json!({"name": format!("abusive/{name}"), "tools": [tool(name)]});
            let (status, answer) = host.install_as(&abusive, "/v1/plugins", tool_plugin_as(fields, "", "", body)).await;
            assert_eq!(status, 201, "{answer}");
        }
        Self { host, quiet: keys, abusive }
    }

    /// The latencies of the ninety-nine's calls in one round, sorted; and how many were not answered well.
    async fn round(&self) -> (Vec<Duration>, usize) {
        let (client, url) = (http_client(), Arc::new(self.host.url("/v1/tools/hello/call")));
        let callers = self.quiet.iter().enumerate().map(|(number, key)| {
            let (client, url, key) = (client.clone(), Arc::clone(&url), key.clone());
            tokio::spawn(async move {
                // Not all at one moment.
                let begun = tokio::time::Instant::now() + EACH * u32::try_from(number).unwrap() / 99;
                let (mut latencies, mut failed) = (Vec::new(), 0);
                for turn in 0..u32::try_from(ROUND.as_millis() / EACH.as_millis()).unwrap() {
                    tokio::time::sleep_until(begun + EACH * turn).await;
                    let began = Instant::now();
                    let call = client.post(url.as_str()).bearer_auth(&key).json(&json!({"arguments": {}}));
                    match call.send().await {
                        Ok(answer) if answer.status().as_u16() == 200 => {
                            let _ = answer.bytes().await;
                            latencies.push(began.elapsed());
                        }
                        _ => failed += 1,
                    }
                }
                (latencies, failed)
            })
        });
        let (mut latencies, mut failed) = (Vec::new(), 0);
        for caller in join_all(callers.collect::<Vec<_>>()).await {
            let (own, own_failed) = caller.unwrap();
            latencies.extend(own);
            failed += own_failed;
        }
        latencies.sort();
        (latencies, failed)
    }
}

pub(crate) async fn run() {
    let stage = Hundred::set().await;
    stage.round().await;
    println!("\n{:<44} {:>8} {:>8} {:>8}", "the calls of 99 tenants, in ms", "p50", "p99", "p99 / quiet");
    let (quiet, failed) = stage.round().await;
    show("without the hundredth", &quiet, &quiet, &format!("{} calls, {failed} failed", quiet.len()));
    for (tool, what) in [
        ("flood", "beside 64 calls at a time of the hundredth"),
        ("spin", "beside 64 of its spinning guests"),
        ("fill", "beside 64 of its guests that fill memory"),
    ] {
        let abuse = Abuse::of(&stage.host.url(&format!("/v1/tools/{tool}/call")), &stage.abusive);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (latencies, failed) = stage.round().await;
        let answered = abuse.end();
        let note = format!("{} calls, {failed} failed; {answered} of the hundredth", latencies.len());
        show(what, &latencies, &quiet, &note);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (again, failed) = stage.round().await;
    show("without it again", &again, &quiet, &format!("{} calls, {failed} failed", again.len()));
}
