//! What the host tells its operator of itself: metrics that any reader of Prometheus' format takes, traces in which a run can be
//! read, and a log whose lines say whose they are. None of it tells what people said, and none of it slows anybody.

mod collector;
mod exposition;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{self, ECHO, tool, tool_plugin, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, HostBuilder, ScriptedModel, repository_root, soon};

use collector::{Collector, Span, path};
use exposition::Page;

async fn metrics(host: &Host) -> Page {
    let response = host.client().get(host.url("/metrics")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    Page::read(&response.text().await.unwrap())
}

/// An agent that all dialects know.
async fn agent(host: &Host) -> String {
    let config = json!({"name": "Ada's secret agent", "mode": "chat", "tools": []});
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&config)).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Runs the agent once in each dialect.
async fn run_in_each_dialect(host: &Host, agent: &str) {
    let question = "Who is there?";
    let make = format!("/api/v2/ai-agents/v1/agents/{agent}/run?teamId=1");
    for (path, body) in [
        ("/v1/agent/run".to_owned(), json!({"query": question, "mode": "chat"})),
        ("/v1/runs".to_owned(), json!({"input": question, "agentId": agent})),
        (format!("/api/assistants/{agent}/execute"), json!({"userInput": question})),
        (make, json!({"messages": [{"role": "user", "content": question}]})),
    ] {
        let response = host.post(&path, &body).await;
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        let _read_to_its_end = response.text().await.unwrap();
    }
}

#[tokio::test]
async fn the_metrics_count_what_was_done_in_each_dialect_and_name_nobody() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("It is me."));
    let host = Host::builder().model(&model).start().await;
    let agent = agent(&host).await;
    run_in_each_dialect(&host, &agent).await;
    let text = host.get("/metrics").await.text().await.unwrap();
    let page = Page::read(&text);
    for (route, dialect) in [
        ("/v1/agent/run", "assisters"),
        ("/v1/runs", "native"),
        ("/api/assistants/{assistantId}/execute", "agent-hub"),
        ("/api/v2/ai-agents/v1/agents/{agentId}/run", "make"),
    ] {
        let labels = [("route", route), ("dialect", dialect), ("method", "POST")];
        let answered = [&labels[..], &[("status", "2xx")]].concat();
        assert_eq!(page.sum("vivarium_http_requests_total", &answered), 1.0, "{route}\n{text}");
        assert_eq!(page.sum("vivarium_http_request_duration_seconds_count", &labels), 1.0, "{route}");
    }
    let provider = [("provider", "openai")];
    for (name, labels, expected) in [
        ("vivarium_runs_started_total", &[][..], 4.0),
        ("vivarium_runs_ended_total", &[("outcome", "completed")], 4.0),
        ("vivarium_run_duration_seconds_count", &[("outcome", "completed")], 4.0),
        ("vivarium_queue_wait_seconds_count", &[("queue", "runs")], 4.0),
        ("vivarium_guest_calls_total", &[("role", "mode"), ("outcome", "ok")], 4.0),
        ("vivarium_guest_cpu_seconds_count", &[("role", "mode")], 4.0),
        ("vivarium_guest_memory_peak_bytes_count", &[("role", "mode")], 4.0),
        ("vivarium_model_request_duration_seconds_count", &[("provider", "openai"), ("outcome", "ok")], 4.0),
        ("vivarium_model_first_token_seconds_count", &provider, 4.0),
        ("vivarium_runs", &[], 0.0),
        ("vivarium_http_streams_open", &[], 0.0),
    ] {
        assert_eq!(page.sum(name, labels), expected, "{name} {labels:?}\n{text}");
    }
    for name in [
        "vivarium_model_tokens_total",
        "vivarium_store_flush_seconds_count",
        "vivarium_store_flush_batches_sum",
        "vivarium_store_journal_bytes_total",
        "vivarium_guest_instances_max",
        "vivarium_queue_places",
        "vivarium_http_connections_open",
        "vivarium_build_info",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
        "process_cpu_seconds_total",
    ] {
        assert!(page.sum(name, &[]) > 0.0, "{name}\n{text}");
    }
    let (_, key) = host.key().split_at(4);
    for private in [key, &agent, "Ada", "default", "scripted", "Who is there"] {
        assert!(!text.contains(private), "{private}\n{text}");
    }
}

#[tokio::test]
async fn whatever_clients_make_up_the_metrics_do_not_grow_with_it() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let strange = async |number: u32| {
        let name = format!("odd{number}");
        host.install(tool_plugin_as(json!({"name": format!("test/{name}"), "tools": [tool(&name)]}), "", "", ECHO))
            .await;
        for tool in [name.as_str(), "no_such_tool"] {
            model.then(Answer::tool(tool, json!({}))).then(Answer::text("Done."));
            host.post_ok("/v1/runs", &json!({"input": name, "sessionId": format!("{name}-{tool}"), "mode": "chat"}))
                .await;
        }
        let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
        for path in [format!("/{name}"), format!("/v1/runs/{name}"), format!("/v1/plugins/{name}/{name}")] {
            host.send(host.request(method.clone(), &path)).await;
            host.send(host.request(Method::GET, &path)).await;
        }
        let refused =
            host.post("/v1/runs", &json!({"input": "x", "mode": name, "model": format!("{name}/{name}")})).await;
        assert!(refused.status().is_client_error());
        metrics(&host).await.series()
    };
    // The first time, each kind of thing comes in.
    strange(0).await;
    let before = strange(1).await;
    let after = strange(2).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(!format!("{after:?}").to_lowercase().contains("odd"), "{after:#?}");
}

#[tokio::test]
async fn every_metric_is_in_the_operators_guide() {
    let host = Host::builder().start().await;
    let page = metrics(&host).await;
    let guide = std::fs::read_to_string(repository_root().join("docs/operating.md")).unwrap();
    let written = |name: &str| guide.contains(&format!("`{name}`"));
    let told = page.kinds.keys().map(String::as_str).chain(vivarium_sight::metric::ALL.iter().map(|about| about.name));
    let missing: BTreeSet<&str> = told.filter(|name| !written(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[tokio::test]
async fn metrics_that_others_could_reach_are_for_the_operators_key_alone() {
    let (_, data) = Host::builder().start().await.stop().await;
    let runs = Cli::on(data.path()).output(&["key", "create", "--scope", "runs"]).await;
    let host = Host::builder().listen("0.0.0.0:0").data(data).start().await;
    let status = async |key: Option<&str>| {
        let request = host.client().get(host.url("/metrics"));
        let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
        host.send(request).await.status().as_u16()
    };
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("ask_nobody")).await, 401);
    assert_eq!(status(Some(&runs)).await, 403);
    assert_eq!(status(Some(host.key())).await, 200);
}

#[tokio::test]
async fn metrics_with_a_listener_of_their_own_are_there_and_nowhere_else() {
    let host = Host::builder().environment("VIVARIUM_METRICS_LISTEN", "127.0.0.1:0").start().await;
    assert_eq!(host.get("/metrics").await.status(), 404);
    host.says("the metrics are at http://").await;
    let log = host.log();
    let address = log.split("the metrics are at ").nth(1).unwrap().split_whitespace().next().unwrap();
    let own = host.client().get(address).send().await.unwrap();
    assert_eq!(own.status(), 200);
    assert!(Page::read(&own.text().await.unwrap()).sum("vivarium_http_connections_open", &[]) >= 1.0);
    let other = host.client().get(address.replace("/metrics", "/healthz")).send().await.unwrap();
    assert_eq!(other.status(), 404);
    let (status, _) = host.stop().await;
    assert!(status.success());
}

fn traced(collector: &Collector) -> HostBuilder {
    Host::builder().environment("VIVARIUM_OTLP_ENDPOINT", collector.url()).environment("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let (first, None) = (found.next(), found.next()) else { panic!("{name} is not there, or twice: {spans:#?}") };
    first.unwrap_or_else(|| panic!("{name} is not there: {spans:#?}"))
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_research_run_can_be_read_in_its_trace_from_the_callers_span_to_the_guests_calls() {
    let collector = Collector::start().await;
    let host = traced(&collector).corpus(&repository_root().join("tests/data/corpus")).start().await;
    let request = host.request(Method::POST, "/v1/agent/run").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let request = request.header("x-request-id", "my-request");
    let question = json!({"query": "How humid must it be for dart frogs?", "mode": "research", "maxCycles": 3});
    let answer = host.send(request.json(&question)).await;
    let answer: Value = answer.json().await.unwrap();
    let (_, data) = host.stop().await;
    drop(data);
    let spans = collector.ended("completed").await;
    let spans: Vec<Span> = spans.into_iter().filter(|span| span.trace == TRACE).collect();

    let paths: BTreeSet<String> = spans.iter().map(|span| path(&spans, span)).collect();
    let agent = "POST /v1/agent/run > run > invoke_agent";
    for expected in [
        "POST /v1/agent/run",
        "POST /v1/agent/run > run",
        "POST /v1/agent/run > run > wait",
        agent,
        &format!("{agent} > step"),
        &format!("{agent} > step > execute_tool corpus_search > corpus.search"),
        &format!("{agent} > step > execute_tool corpus_read > corpus.read"),
        &format!("{agent} > step > chat extractive"),
    ] {
        assert!(paths.contains(expected), "{expected} is not in {paths:#?}");
    }
    for span in &spans {
        assert!(
            path(&spans, span).starts_with("POST /v1/agent/run"),
            "{} hangs nowhere: {span:#?}",
            path(&spans, span)
        );
        assert_eq!(span.schema, "https://opentelemetry.io/schemas/1.41.0");
        assert_eq!(span.resource["service.name"], "vivarium");
        assert_eq!(span.status, 0, "{span:#?}");
    }

    let request = one(&spans, "POST /v1/agent/run");
    assert_eq!((request.kind, request.parent.as_str()), (2, CALLER));
    let said = ["http.route", "http.request.method", "vivarium.request.id", "vivarium.dialect", "vivarium.tenant"];
    assert_eq!(
        said.map(|name| request.get(name).as_str().unwrap()),
        ["/v1/agent/run", "POST", "my-request", "assisters", "default"]
    );
    assert_eq!(*request.get("http.response.status_code"), 200);

    let run = one(&spans, "run");
    assert_eq!((run.get("vivarium.run.id"), run.get("vivarium.run.resumed")), (&answer["runId"], &json!(false)));
    assert_eq!((run.get("vivarium.mode"), run.get("vivarium.run.ended")), (&json!("research"), &json!("completed")));
    assert_eq!(*run.get("gen_ai.conversation.id"), answer["sessionId"]);

    let agent = one(&spans, "invoke_agent");
    assert_eq!(*agent.get("gen_ai.operation.name"), "invoke_agent");
    let steps: BTreeSet<i64> = spans
        .iter()
        .filter(|span| span.name == "step")
        .map(|step| step.get("vivarium.step.number").as_i64().unwrap())
        .collect();
    assert_eq!(steps, (1..=i64::try_from(steps.len()).unwrap()).collect());

    let chat = spans.iter().find(|span| span.name == "chat extractive").unwrap();
    assert_eq!(*chat.get("gen_ai.operation.name"), "chat");
    assert_eq!(*chat.get("gen_ai.provider.name"), "embedded");
    assert_eq!(*chat.get("gen_ai.request.model"), "extractive");
    assert_eq!(*chat.get("gen_ai.response.finish_reasons"), json!(["stop"]));
    assert!(
        chat.get("gen_ai.usage.input_tokens").as_i64() > Some(0)
            && chat.get("gen_ai.usage.output_tokens").as_i64() > Some(0)
    );

    let search = spans.iter().find(|span| span.name == "execute_tool corpus_search").unwrap();
    assert_eq!(*search.get("gen_ai.tool.name"), "corpus_search");
    assert_eq!(*search.get("gen_ai.tool.type"), "extension");
    assert!(search.get("gen_ai.tool.call.id").as_str().is_some_and(|id| !id.is_empty()));
    assert!(search.get("vivarium.guest.host_calls").as_i64() >= Some(1));
    assert!(search.nanoseconds > 0 && search.nanoseconds <= run.nanoseconds);
}

#[tokio::test]
async fn a_model_and_a_tool_that_fail_are_errors_in_the_trace_with_one_word_each() {
    let (collector, model) = (Collector::start().await, ScriptedModel::start().await);
    let host = traced(&collector).model(&model).start().await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", "(unreachable)")).await;
    model.then(Answer::tool("echo", json!({"a": "MARKED"}))).then(Answer::Refusal(reqwest::StatusCode::BAD_REQUEST));
    host.post("/v1/runs", &json!({"input": "Use the tool.", "mode": "chat"})).await;
    let spans = collector.ended("failed").await;
    let failed = |name: &str, word: &str| {
        let span =
            spans.iter().find(|span| span.name == name && span.status == 2).unwrap_or_else(|| panic!("{spans:#?}"));
        assert_eq!((*span.get("error.type") == word, span.status_message.as_str()), (true, ""), "{span:#?}");
    };
    failed("execute_tool echo", "error");
    failed("chat scripted", "invalid_request");
    failed("run", "model_unavailable");
    let chat = spans.iter().find(|span| span.name == "chat scripted").unwrap();
    assert_eq!((chat.kind, chat.get("server.address")), (3, &json!("127.0.0.1")));
    assert!(chat.get("server.port").as_i64() > Some(0));
}

#[tokio::test]
async fn a_guest_that_calls_the_host_often_is_shown_a_hundred_times_and_counted_whole() {
    let collector = Collector::start().await;
    let host = traced(&collector).start().await;
    host.install(guest::hostile(&json!({"name": "test/hostile"}))).await;
    let path = "/v1/plugins/test/hostile/grants";
    assert_eq!(host.json(Method::PUT, path, Some(&json!({"state": true}))).await.0, 200);
    host.call_tool("hostile", json!({"do": "state.flood", "key": "k", "times": 150, "bytes": 1})).await;
    let is_answered = |spans: &[Span]| spans.iter().any(|span| span.name == "POST /v1/tools/{name}/call");
    let spans = collector.until("the request's span", is_answered).await;
    let call = one(&spans, "execute_tool hostile");
    assert!(call.get("vivarium.guest.host_calls").as_i64() >= Some(150), "{call:#?}");
    let below: Vec<&Span> = spans.iter().filter(|span| span.parent == call.id).collect();
    assert!(below.iter().any(|span| span.name == "state.set"), "{below:#?}");
    assert_eq!(below.len(), 100);
}

#[tokio::test]
async fn what_a_caller_says_of_its_trace_is_kept_as_far_as_the_standard_asks_for() {
    let (collector, model) = (Collector::start().await, ScriptedModel::start().await);
    model.always(Answer::text("Here."));
    let host = traced(&collector).model(&model).start().await;
    let member = |name: &str| format!("{name}={}", "x".repeat(200));
    for (state, kept) in [(member("a"), true), ([member("a"), member("b"), member("c")].join(","), false)] {
        let request = host.request(Method::POST, "/v1/runs").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
        let request = request.header("tracestate", &state).json(&json!({"input": "Hello?", "mode": "chat"}));
        let run: Value = host.send(request).await.json().await.unwrap();
        assert!(run["trace"]["parent"].as_str().unwrap().starts_with(&format!("00-{TRACE}-")), "{run}");
        assert_eq!(run["trace"]["state"].as_str(), kept.then_some(state.as_str()), "{run}");
    }
    let request = host.request(Method::POST, "/v1/runs").header("traceparent", "00-nonsense-01");
    let run: Value = host.send(request.json(&json!({"input": "Hello?", "mode": "chat"}))).await.json().await.unwrap();
    assert!(!run["trace"]["parent"].as_str().unwrap().contains("nonsense"), "{run}");
}

/// Runs with a marked prompt, instructions, arguments, result and answer.
async fn marked_run(host: &Host, model: &ScriptedModel) {
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    model.then(Answer::tool("echo", json!({"text": "MARKED-arguments"}))).then(Answer::text("MARKED-answer"));
    let agent = json!({"name": "MARKED-agent", "mode": "chat", "prompt": "MARKED-instructions"});
    let (status, agent) = host.json(Method::POST, "/v1/agents", Some(&agent)).await;
    assert_eq!(status, 201, "{agent}");
    let input = json!({"input": format!("MARKED-prompt {}", "x".repeat(100_000)), "agentId": agent["id"], "metadata": {"note": "MARKED-note"}});
    host.post_ok("/v1/runs", &input).await;
}

#[tokio::test]
async fn what_people_models_and_tools_say_is_in_no_trace_and_no_log_unless_the_operator_wants_it() {
    for wanted in [false, true] {
        let (collector, model) = (Collector::start().await, ScriptedModel::start().await);
        let host = traced(&collector).model(&model).environment("VIVARIUM_LOG", "debug,sled=info,tantivy=info");
        let host = host.environment("VIVARIUM_OTLP_INCLUDE_CONTENT", wanted.to_string()).start().await;
        marked_run(&host, &model).await;
        let spans = collector.ended("completed").await;
        let told = format!("{spans:?}");
        assert!(!host.log().contains("MARKED"), "{}", host.log());
        for never in [host.key(), "sk-of-the-test", "MARKED-note", "MARKED-agent"] {
            assert!(!told.contains(never), "{never}");
        }
        if !wanted {
            assert!(!told.contains("MARKED"), "{spans:#?}");
            continue;
        }
        let of = |name: &str, attribute: &str| {
            spans
                .iter()
                .filter(|span| span.name == name)
                .map(|span| span.get(attribute).to_string())
                .collect::<String>()
        };
        let asked = of("chat scripted", "gen_ai.input.messages");
        assert!(asked.contains("MARKED-prompt") && asked.contains("MARKED-instructions"), "{asked}");
        let longest = spans.iter().flat_map(|span| span.attributes.values()).map(|value| value.to_string().len()).max();
        assert!(longest < Some(40_000), "{longest:?}");
        assert!(of("chat scripted", "gen_ai.output.messages").contains("MARKED-answer"));
        assert!(of("execute_tool echo", "gen_ai.tool.call.arguments").contains("MARKED-arguments"));
        assert!(of("execute_tool echo", "gen_ai.tool.call.result").contains("MARKED-arguments"));
    }
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_and_for_the_next_host_stays_in_one_trace() {
    let (collector, model) = (Collector::start().await, ScriptedModel::start().await);
    let host = traced(&collector).model(&model).start().await;
    host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
    model.then(Answer::tool("careful", json!({"a": 1}))).then(Answer::text("Done."));
    let body = json!({"input": "Be careful.", "mode": "chat", "background": true,
        "tools": [{"name": "careful", "approval": "ask"}]});
    let request = host.request(Method::POST, "/v1/runs").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let request = request.header("x-request-id", "the-first-request");
    let run: Value = host.send(request.json(&body)).await.json().await.unwrap();
    let id = run["id"].as_str().unwrap();
    assert_eq!(run["trace"]["requestId"], "the-first-request");
    collector.ended("waiting").await;
    let host = traced(&collector).model(&model).data(host.kill().await).start().await;
    let decision = json!({"callId": "call_1", "decision": "approve"});
    assert_eq!(host.json(Method::POST, &format!("/v1/runs/{id}/approve"), Some(&decision)).await.0, 200);
    let spans = collector.ended("completed").await;
    let spans: Vec<Span> = spans.into_iter().filter(|span| span.trace == TRACE).collect();
    let parts: Vec<&Span> = spans.iter().filter(|span| span.name == "run").collect();
    assert_eq!(parts.len(), 2, "{spans:#?}");
    for (part, (resumed, ended)) in parts.iter().zip([(false, "waiting"), (true, "completed")]) {
        assert_eq!(
            (part.get("vivarium.run.resumed"), part.get("vivarium.run.ended")),
            (&json!(resumed), &json!(ended))
        );
        assert_eq!(path(&spans, part), "POST /v1/runs > run");
        assert_eq!(part.get("vivarium.run.id"), id);
    }
    assert_ne!(parts[0].resource["service.instance.id"], parts[1].resource["service.instance.id"]);
    // What the model said before is not asked for again, and makes no span in the second part.
    let of = |part: &Span, name: &str| {
        let agents = spans.iter().filter(|span| span.name == "invoke_agent" && span.parent == part.id);
        agents.flat_map(|agent| spans.iter().filter(|span| span.parent == agent.id && span.name == name)).count()
    };
    let counts = ["chat scripted", "wait", "execute_tool careful"].map(|name| (of(parts[0], name), of(parts[1], name)));
    assert_eq!(counts, [(1, 1), (1, 1), (0, 1)], "{spans:#?}");
}

#[tokio::test]
async fn an_agent_that_asks_another_one_is_one_tree() {
    let (collector, model) = (Collector::start().await, ScriptedModel::start().await);
    let host = traced(&collector).model(&model).start().await;
    let made = async |config: Value| {
        let (status, made) = host.json(Method::POST, "/v1/agents", Some(&config)).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let helper = made(json!({"name": "Helper", "mode": "chat", "tools": [], "description": "Helps."})).await;
    let boss = made(json!({"name": "Boss", "mode": "chat", "tools": [], "agents": [helper]})).await;
    model.then(Answer::tool("ask_helper", json!({"input": "Two and two?"})));
    model.then(Answer::text("Four.")).then(Answer::text("It is four."));
    host.post_ok("/v1/runs", &json!({"input": "Two and two?", "agentId": boss})).await;
    let spans =
        collector.until("both runs' spans", |spans| spans.iter().filter(|span| span.name == "run").count() == 2).await;
    let paths: BTreeSet<String> = spans.iter().map(|span| path(&spans, span)).collect();
    let below = "POST /v1/runs > run > invoke_agent > execute_tool > run > invoke_agent > chat scripted";
    assert!(paths.contains(below), "{paths:#?}");
    let agents: BTreeSet<&str> = spans
        .iter()
        .filter(|span| span.name == "invoke_agent")
        .map(|span| span.get("gen_ai.agent.id").as_str().unwrap())
        .collect();
    assert_eq!(agents, BTreeSet::from([boss.as_str(), helper.as_str()]));
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_away_slows_no_run_and_is_told_of_once() {
    let hanging = Collector::hanging().await;
    let closed = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    for (url, away) in [(hanging.url(), false), (format!("http://{closed}"), true)] {
        let model = ScriptedModel::start().await;
        model.always(Answer::text("Here."));
        let host = Host::builder().model(&model).environment("VIVARIUM_OTLP_ENDPOINT", url);
        let host = host.environment("OTEL_BSP_SCHEDULE_DELAY", "20").environment("OTEL_BSP_MAX_QUEUE_SIZE", "64");
        let host = host.environment("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8").start().await;
        let begun = Instant::now();
        for _ in 0..50 {
            host.post_ok("/v1/runs", &json!({"input": "Hello?", "mode": "chat"})).await;
        }
        // Without a collector fifty of them take about 50 ms; one of its timeouts alone would take 10 s.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        if away {
            host.says("the collector takes no traces").await;
            let page = async || metrics(&host).await.sum("vivarium_trace_exports_total", &[("outcome", "error")]);
            soon("a second failure", async {
                while page().await < 2.0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            assert_eq!(host.log().matches("the collector takes no traces").count(), 1, "{}", host.log());
        }
        let begun = Instant::now();
        let (status, _) = host.stop().await;
        assert!(status.success() && begun.elapsed() < Duration::from_secs(15), "{status} {:?}", begun.elapsed());
    }
}

const LOG: &str = r#"(import "vivarium:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

#[tokio::test]
async fn each_line_of_a_log_in_json_is_an_object_that_says_whose_it_is_and_no_guest_forges_one() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).environment("VIVARIUM_LOG_FORMAT", "json");
    let host = host.environment("VIVARIUM_LOG", "debug,sled=info,tantivy=info").start().await;
    let body = format!("(call $log (i32.const 1) (i32.const 600) (i32.const 20)) {ECHO}");
    let line = r#"(data (i32.const 600) "x\0a{\"level\":\"ERROR\"}\0a")"#;
    let component = tool_plugin(LOG, line, &body);
    host.install(component).await;
    let name = host.json(Method::GET, "/v1/tools", None).await.1["data"].as_array().unwrap().iter().find_map(|tool| {
        let name = tool["name"].as_str().unwrap();
        tool["plugin"].as_str().unwrap().starts_with("test/").then(|| name.to_owned())
    });
    model.then(Answer::tool(&name.unwrap(), json!({}))).then(Answer::Refusal(reqwest::StatusCode::BAD_REQUEST));
    let request = host.request(Method::POST, "/v1/runs").header("x-request-id", "mine-1");
    let answer = host.send(request.json(&json!({"input": "Use it.", "mode": "chat"}))).await;
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    let run = host.json(Method::GET, "/v1/runs", None).await.1["data"][0]["id"].as_str().unwrap().to_owned();
    host.says("a run failed").await;
    let log = host.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let of = |message: &str| {
        lines.iter().find(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).unwrap()
    };
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()));
    for message in ["a run failed", "x\\n{\"level\":\"ERROR\"}\\n"] {
        let line = of(message);
        assert_eq!((&line["span"]["run_id"], &line["span"]["request_id"]), (&json!(run), &json!("mine-1")), "{line}");
    }
    assert!(lines.iter().any(|line| line["message"] == "answered" && line["span"]["run_id"] == json!(run)), "{log}");
    assert!(!lines.iter().any(|line| line["level"] == "ERROR"), "{log}");
}
