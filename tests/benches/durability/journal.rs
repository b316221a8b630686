//! What the journal adds to a run: the same run, once with the data folder on the disk and once in memory (a `tmpfs`, where a sync
//! is nothing), in turns, so that both see the same machine.

use std::time::{Duration, Instant};

use serde_json::json;
use vivarium_tests::Host;
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};

use crate::model::Model;
use crate::{CONFIG, builder, milliseconds};

const RUNS: usize = 1_500;

/// Where Linux has memory that looks like a disk.
const MEMORY: &str = "/dev/shm";

async fn one(host: &Host, input: &str) -> Duration {
    let began = Instant::now();
    let run = host.post_ok("/v1/runs", &json!({"mode": "chat", "input": input, "maxCycles": 5})).await;
    let took = began.elapsed();
    assert_eq!(run["status"], "completed", "{run}");
    took
}

pub(crate) async fn measure() {
    let model = Model::start().await;
    let Ok(memory) = tempfile::tempdir_in(MEMORY) else {
        println!("there is no {MEMORY}: what the journal adds is not measured");
        return;
    };
    let mut hosts = Vec::new();
    for data in [tempfile::tempdir().unwrap(), memory] {
        let host = builder(&model).data(data).config(CONFIG).start().await;
        host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
        hosts.push(host);
    }
    println!("{:<40} {:>8} {:>8} {:>8}", "a run over HTTP, one at a time, in ms", "p50", "p90", "p99");
    for (what, input) in [("chat", "echo 0 answer"), ("chat with one tool call", "echo 1 answer")] {
        let mut took = [Vec::new(), Vec::new()];
        for number in 0..RUNS {
            for (host, took) in hosts.iter().zip(&mut took) {
                let one = one(host, input).await;
                // The first ones meet what is not warm yet.
                if number >= RUNS / 10 {
                    took.push(one);
                }
            }
        }
        let mut lines = Vec::new();
        for (place, took) in ["disk", "memory"].iter().zip(&mut took) {
            took.sort();
            let line = [500, 900, 990].map(|per_mille| milliseconds(took, per_mille));
            println!("{:<40} {:>8.2} {:>8.2} {:>8.2}", format!("{what}, {place}"), line[0], line[1], line[2]);
            lines.push(line);
        }
        println!(
            "{:<40} {:>8.2} {:>8.2} {:>8.2}",
            "  the disk adds",
            lines[0][0] - lines[1][0],
            lines[0][1] - lines[1][1],
            lines[0][2] - lines[1][2]
        );
    }
}
