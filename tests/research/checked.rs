//! What a client can check of an answer for itself: where each quote stands, what rests on it, and what nothing stands for.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, reader};

use super::{words, write_corpus};

const TOWER: &str = "# The tower\n\nGrößer als alle: the  tower of\nBrenholt is 310 metres tall. It was built in 1921. It was built in 1921.";
const OTHER: &str = "# Heights\n\nThe tower of Brenholt is 320 metres tall, say others.";

/// The characters from `start` to `end`, as a client counts them.
fn slice(text: &str, range: &Value) -> String {
    let at = |name: &str| usize::try_from(range[name].as_u64().unwrap()).unwrap();
    text.chars().skip(at("start")).take(at("end") - at("start")).collect()
}

/// A model that notes two sentences, cites a source that it did not read, and one whose quote it made up.
fn noting(request: &Value) -> Answer {
    let schema = request["response_format"].to_string();
    if schema.contains("\"questions\"") {
        return Answer::text(r#"{"questions":[{"question":"How tall is the tower?","queries":["tower tall"]}]}"#);
    }
    if schema.contains("\"gaps\"") {
        let all = request["messages"].to_string();
        let id = |title: &str| {
            if all.find(&format!("title=\\\"{title}")) < all.find("title=\\\"Heights") { "s1" } else { "s2" }
        };
        let (tower, other) = (id("The tower"), if id("The tower") == "s1" { "s2" } else { "s1" });
        let note = |id: &str, quote: &str| json!({"sourceId": id, "claim": "It is tall.", "quote": quote});
        let notes = [
            note(tower, "the tower of Brenholt is 310 metres tall."),
            note(tower, "It was built in 1921."),
            note(other, "Nobody wrote this."),
        ];
        return Answer::text(&json!({"notes": notes, "answered": true, "gaps": []}).to_string());
    }
    Answer::text(
        "“Ünlike others”, the tower of Brenholt is 310 metres tall [s1][s2]. It was built in 1921 [s1, s2]. Elephants dance [s9].\n\n`rows[s7]` is code.",
    )
}

async fn answered() -> (Host, ScriptedModel, Value) {
    let folder = write_corpus(&[("tower.md", TOWER), ("heights.md", OTHER)]);
    let model = ScriptedModel::start().await;
    model.by_rule(noting);
    let host = Host::builder().corpus(folder.path()).model(&model).start().await;
    let result = host.post_ok("/v1/agent/run", &json!({"query": "How tall is the tower?", "maxCycles": 2})).await;
    (host, model, result)
}

#[tokio::test]
async fn a_client_finds_each_quote_in_the_stored_text_and_each_claim_in_the_answer() {
    let (host, _model, result) = answered().await;
    let answer = result["answer"].as_str().unwrap();
    let run = result["runId"].as_str().unwrap();
    let (_, record) = host.json(Method::GET, &format!("/v1/runs/{run}"), None).await;
    assert_eq!(record["outcome"]["answer"], answer);
    let mut claims = 0;
    for source in result["sources"].as_array().unwrap() {
        let path = format!("/v1/runs/{run}/sources/{}", source["id"].as_str().unwrap());
        let (status, stored) = host.json(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{stored}");
        let text = stored["text"].as_str().unwrap();
        assert_eq!(stored["lengthCharacters"], text.chars().count());
        assert_eq!((&stored["contentHash"], &stored["location"]), (&source["contentHash"], &source["url"]));
        let quotes = source["quotes"].as_array().unwrap();
        assert_eq!(source["cited"], quotes.iter().any(|quote| quote["verified"] == true));
        for quote in quotes.iter().filter(|quote| quote["verified"] == true) {
            assert_eq!(words(&slice(text, quote)), words(quote["text"].as_str().unwrap()), "{quote}");
            let range = format!("{path}?start={}&end={}", quote["start"], quote["end"]);
            let (_, part) = host.json(Method::GET, &range, None).await;
            assert_eq!(part["text"], slice(text, quote));
            if quote["text"] == "It was built in 1921." {
                assert_eq!(quote["occurrences"], 2, "{quote}");
            }
            let claim = &quote["claim"];
            assert_eq!(slice(answer, claim), claim["text"].as_str().unwrap());
            claims += 1;
        }
        // The native record says the same.
        let native =
            record["outcome"]["citations"].as_array().unwrap().iter().filter(|one| one["sourceId"] == source["id"]);
        for (native, quote) in native.zip(quotes) {
            for field in ["verified", "start", "end", "occurrences", "claim"] {
                assert_eq!(native[field], quote[field], "{field}");
            }
        }
    }
    assert!(claims >= 2, "{result:#}");
}

#[tokio::test]
async fn what_no_verified_quote_stands_for_is_marked_in_every_dialect_and_not_listed() {
    let (host, model, result) = answered().await;
    let check = |answer: &str| {
        assert!(answer.contains("Elephants dance [s9, not verified]."), "{answer}");
        assert!(answer.contains("`rows[s7]` is code."), "{answer}");
        let (_, list) = answer.split_once("**Sources**").unwrap();
        assert!(list.contains("1. [s") && !list.contains("s9") && !list.contains("not verified"), "{answer}");
    };
    check(result["answer"].as_str().unwrap());
    let ask = json!({"input": "How tall is the tower?", "mode": "research", "maxCycles": 2});
    let native = host.post_ok("/v1/runs", &ask).await;
    check(native["outcome"]["answer"].as_str().unwrap());
    let agent = json!({"name": "scholar", "mode": "research", "maxCycles": 2, "prompt": "You research."});
    let (status, agent) = host.json(Method::POST, "/v1/agents", Some(&agent)).await;
    assert_eq!(status, 201, "{agent}");
    let hub = host.post_ok("/api/assistants/scholar/execute", &json!({"userInput": "How tall is the tower?"})).await;
    check(hub["content"][0]["text"]["value"].as_str().unwrap());
    let stream = host.stream("/v1/agent/stream", &[("query", "How tall is the tower?"), ("maxCycles", "2")]).await;
    let events = stream.rest().await;
    let done = events[events.len() - 2].json();
    check(done["answer"].as_str().unwrap());
    let quoted = |quotes: &Value| quotes[0]["start"].is_u64() && quotes[0]["claim"]["text"].is_string();
    assert!(done["sources"].as_array().unwrap().iter().any(|source| quoted(&source["quotes"])), "{done}");
    assert!(model.requests().len() > 6);
}

#[tokio::test]
async fn the_sources_of_a_run_are_paged_and_those_of_another_tenant_are_not_there() {
    let (host, _model, result) = answered().await;
    let path = format!("/v1/runs/{}/sources", result["runId"].as_str().unwrap());
    let (_, all) = host.json(Method::GET, &path, None).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 2, "{all}");
    let (_, first) = host.json(Method::GET, &format!("{path}?limit=1"), None).await;
    assert_eq!((&first["data"][0], &first["next"]), (&all["data"][0], &json!("s1")));
    let (_, rest) = host.json(Method::GET, &format!("{path}?limit=1&cursor=s1"), None).await;
    assert_eq!((&rest["data"][0], &rest["next"]), (&all["data"][1], &Value::Null));
    for (query, field) in
        [("/s1?start=-1", "start"), ("/s1?start=3&end=2", "end"), ("/s1?begin=1", "begin"), ("?cursor=x", "cursor")]
    {
        let (status, told) = host.json(Method::GET, &format!("{path}{query}"), None).await;
        assert_eq!(status, 400, "{query}: {told}");
        assert!(told["error"]["message"].as_str().unwrap().contains(field), "{told}");
    }
    let (status, told) = host.json(Method::GET, &format!("{path}/s99"), None).await;
    assert_eq!((status, told["error"]["message"].as_str()), (404, Some("this run has no such source")));
    let nobodys = "/v1/runs/0192f000-0000-7000-8000-000000000001/sources/s1";
    assert_eq!(host.json(Method::GET, nobodys, None).await.1["error"]["message"], "there is no such run");
}

#[tokio::test]
async fn sources_that_disagree_are_named_with_both_quotes() {
    let folder = write_corpus(&[
        ("tower.md", "# Quel Tower\n\nThe height of Quel Tower is Three Hundred."),
        ("heights.md", "# Quel Tower again\n\nThe height of Quel Tower is Four Hundred."),
    ]);
    let model = ScriptedModel::start().await;
    model.by_rule(reader);
    let host = Host::builder().corpus(folder.path()).model(&model).start().await;
    let ask = json!({"query": "What is the height of Quel Tower?", "maxCycles": 3});
    let result = host.post_ok("/v1/agent/run", &ask).await;
    let answer = result["answer"].as_str().unwrap();
    assert!(answer.contains("Sources disagree on The height of Quel Tower: “The height of Quel Tower is"), "{answer}");
    let quoted = result["sources"].as_array().unwrap().iter().filter(|source| source["cited"] == true).count();
    assert_eq!(quoted, 2, "{result:#}");
    assert!(result["steps"].to_string().contains("Sources disagree on"), "{}", result["steps"]);
}

#[tokio::test]
async fn the_embedded_answerer_shows_a_number_that_another_source_gives() {
    let folder = write_corpus(&[
        ("tower.md", "# The tower\n\nThe famous tower of Brenholt is 310 metres tall."),
        ("heights.md", "# Heights\n\nThe famous tower of Brenholt is 320 metres tall."),
    ]);
    let host = Host::builder().corpus(folder.path()).start().await;
    let ask = json!({"query": "How tall is the tower of Brenholt?", "maxCycles": 3});
    let result = host.post_ok("/v1/agent/run", &ask).await;
    let answer = result["answer"].as_str().unwrap();
    assert!(answer.contains("Sources disagree: “The famous tower of Brenholt is 3"), "{answer}");
}
