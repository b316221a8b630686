//! What happens when the host stops, in good order or not, while there is work.

use std::time::Duration;

use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, soon};

/// Starts a run whose model never answers, and waits until the model was asked.
async fn stuck_run(host: &Host, model: &ScriptedModel) -> String {
    let request = host.request(reqwest::Method::GET, "/v1/agent/stream");
    let request = request.query(&[("query", "Hello?"), ("mode", "chat")]);
    let response = host.send(request).await;
    let run = response.headers().get("x-run-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    model.received(1).await;
    // The client leaves here; its run does not care.
    drop(response);
    run.expect("a stream names its run")
}

#[tokio::test]
async fn an_answer_that_was_given_is_still_there_after_kill_9() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Forty-two."));
    let host = Host::builder().model(&model).start().await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        let result = host.post_ok("/v1/agent/run", &json!({"query": "What?", "mode": "chat"})).await;
        runs.push(result["runId"].as_str().unwrap().to_owned());
    }
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    for run in runs {
        let kept: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
        assert_eq!(kept["status"], "completed", "{kept:#}");
        assert_eq!(kept["outcome"]["answer"], "Forty-two.");
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_runs_under_way() {
    let model = ScriptedModel::start().await;
    let words = ["slow ", "but ", "sure"].map(str::to_owned).to_vec();
    model.then(Answer::Slowly(words, Duration::from_millis(300)));
    let host = Host::builder().model(&model).start().await;
    let path = host.url("/v1/agent/run");
    let request = host.client().post(path).bearer_auth(host.key()).json(&json!({"query": "Go", "mode": "chat"}));
    let answer = tokio::spawn(request.send());
    model.received(1).await;
    host.terminate();
    let answer = soon("the answer", answer).await.unwrap().unwrap();
    let result: Value = answer.json().await.unwrap();
    assert_eq!(result["answer"], "slow but sure");
    let (status, _) = host.stop_terminated().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).environment("VIVARIUM_DRAIN_SECONDS", "1").start().await;
    stuck_run(&host, &model).await;
    let started = std::time::Instant::now();
    host.stop().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn two_messages_to_one_session_at_once_wait_for_each_other() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("First."));
    let host = Host::builder().model(&model).start().await;
    let session = host.post_ok("/v1/agent/run", &json!({"query": "one", "mode": "chat"})).await["sessionId"].clone();
    model.always(Answer::text("Later."));
    let ask = async |query: &str| {
        host.post_ok("/v1/agent/run", &json!({"query": query, "mode": "chat", "sessionId": session})).await
    };
    let (a, b) = tokio::join!(ask("two"), ask("three"));
    assert_eq!((&a["sessionId"], &b["sessionId"]), (&session, &session));
    let last =
        model.requests().into_iter().max_by_key(|request| request["messages"].as_array().unwrap().len()).unwrap();
    let said = last["messages"].to_string();
    assert!(said.contains("two") && said.contains("three"), "the later one saw the earlier one's message: {said}");
}

/// An agent with a prompt of 800 kB: twice that in the journal, once as what it is and once as its first version.
fn large_agent(number: u32) -> Value {
    json!({"name": format!("large {number}"), "mode": "chat", "prompt": "𝄞".repeat(199_999)})
}

/// An answer is believed for a second.
async fn readiness_becomes(host: &Host, status: u16) {
    soon("another answer of /readyz", async {
        while host.get("/readyz").await.status() != status {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_to_the_client_and_the_host_goes_on_when_there_is_room() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let host = Host::builder().start().await;
    // A bound on the size of files is a full disk, as far as a process without rights of its own can have one.
    let bound = |bytes: Option<u64>| {
        let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap());
        let before = prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
        assert_eq!(before.maximum, None);
    };
    bound(Some(64 << 20));
    let (mut made, mut refused) = (Vec::new(), None);
    for number in 0..60 {
        let (status, answer) = host.json(reqwest::Method::POST, "/v1/agents", Some(&large_agent(number))).await;
        match status {
            201 => made.push(answer["id"].as_str().unwrap().to_owned()),
            _ => {
                refused = Some((status, answer));
                break;
            }
        }
    }
    // Two journals hold 32 MiB, and nothing left them.
    let (status, answer) = refused.expect("the disk is full");
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("store_unavailable")), "{answer}");
    assert!(made.len() > 10, "{} agents were made", made.len());
    readiness_becomes(&host, 503).await;
    assert_eq!(host.get("/healthz").await.status(), 200);
    assert_eq!(host.get(&format!("/v1/agents/{}", made[0])).await.status(), 200, "what is kept is still read");
    host.says("this process may write files of").await;

    bound(None);
    host.says("the store settles its journal again").await;
    readiness_becomes(&host, 200).await;
    let (status, answer) = host.json(reqwest::Method::POST, "/v1/agents", Some(&large_agent(1000))).await;
    assert_eq!(status, 201, "{answer}");
    let data = host.kill().await;
    let host = Host::builder().data(data).start().await;
    for agent in made {
        assert_eq!(host.get(&format!("/v1/agents/{agent}")).await.status(), 200, "an acknowledged agent is lost");
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_for_the_disk_ends_no_process() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let host = Host::builder().start().await;
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap());
    // Not even the journal can be written, nor any file.
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(0), maximum: None }).unwrap();
    let document = json!({"name": "moons", "text": "Saturn has 146 moons.", "mediaType": "text/plain"});
    let path = "/v1/corpora/space/documents";
    let (status, answer) = host.json(reqwest::Method::POST, path, Some(&document)).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("store_unavailable")), "{answer}");
    let (status, answer) =
        host.json(reqwest::Method::POST, "/v1/agents", Some(&json!({"name": "a", "mode": "chat"}))).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("store_unavailable")), "{answer}");
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    let (status, answer) = host.json(reqwest::Method::POST, path, Some(&document)).await;
    assert_eq!(status, 201, "{answer}");
    let (status, answer) =
        host.json(reqwest::Method::POST, "/v1/agents", Some(&json!({"name": "a", "mode": "chat"}))).await;
    assert_eq!(status, 201, "{answer}");
}
