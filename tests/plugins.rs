//! Third parties' plugins over HTTP: they come, change, go and are tried out, and nothing of one tenant reaches another.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, saying, tool, tool_plugin, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream, ToolRequest};

/// A plugin `acme/{name}` of this version with one tool that says this.
fn speaker(name: &str, version: &str, tool_name: &str, text: &str) -> Vec<u8> {
    let (data, body) = saying(text);
    let fields = json!({"name": format!("acme/{name}"), "version": version, "tools": [tool(tool_name)]});
    tool_plugin_as(fields, "", &data, &body)
}

/// A data folder with the tenants `a` and `b`, and a key of each with these scopes.
async fn two_tenants(scopes: &str) -> (tempfile::TempDir, String, String) {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    let mut keys = Vec::new();
    for tenant in ["a", "b"] {
        cli.output(&["tenant", "create", tenant]).await;
        keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", scopes]).await);
    }
    let b = keys.pop().unwrap();
    (data, keys.pop().unwrap(), b)
}

fn error(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer} is no error"))
}

#[tokio::test]
async fn a_plugin_is_installed_called_swapped_rolled_back_and_removed() {
    let host = Host::builder().start().await;
    let first = speaker("speaker", "1.0.0", "speak", "one");
    let (status, installed) = host.install_as(host.key(), "/v1/plugins", first.clone()).await;
    assert_eq!(status, 201, "{installed}");
    assert_eq!(installed["name"], "acme/speaker");
    assert_eq!(installed["version"], "1.0.0");
    assert_eq!(installed["provides"], json!({"modes": [], "tools": ["speak"]}));
    assert_eq!(installed["digest"].as_str().unwrap().len(), 64);
    assert_eq!(host.install_as(host.key(), "/v1/plugins", first).await.0, 200, "the same again is no news");
    assert_eq!(host.call_tool("speak", json!({})).await["output"], "one");

    host.install(speaker("speaker", "1.1.0", "speak", "two")).await;
    assert_eq!(host.call_tool("speak", json!({})).await["output"], "two");
    let (_, one) = host.json(Method::GET, "/v1/plugins/acme/speaker", None).await;
    let versions: Vec<(&str, bool)> = one["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| (version["version"].as_str().unwrap(), version["active"].as_bool().unwrap()))
        .collect();
    assert_eq!(versions, [("1.0.0", false), ("1.1.0", true)]);

    let (status, back) = host.json(Method::POST, "/v1/plugins/acme/speaker/rollback", None).await;
    assert_eq!((status, &back["version"]), (200, &json!("1.0.0")), "{back}");
    assert_eq!(host.call_tool("speak", json!({})).await["output"], "one");
    let forward = json!({"version": "1.1.0"});
    // The slash may be encoded.
    let (status, _) = host.json(Method::POST, "/v1/plugins/acme%2Fspeaker/rollback", Some(&forward)).await;
    assert_eq!(status, 200);
    assert_eq!(host.call_tool("speak", json!({})).await["output"], "two");
    let nowhere = json!({"version": "9.9.9"});
    let (status, told) = host.json(Method::POST, "/v1/plugins/acme/speaker/rollback", Some(&nowhere)).await;
    assert_eq!((status, error(&told)), (404, "acme/speaker has no version 9.9.9; it has: 1.0.0, 1.1.0"));

    assert_eq!(host.json(Method::DELETE, "/v1/plugins/acme/speaker", None).await, (204, Value::Null));
    assert_eq!(host.json(Method::GET, "/v1/plugins/acme/speaker", None).await.0, 404);
    let (status, told) = host.json(Method::POST, "/v1/tools/speak/call", Some(&json!({"arguments": {}}))).await;
    assert_eq!(status, 404);
    assert!(error(&told).starts_with("there is no tool \"speak\"; there are: "), "{told}");
}

#[tokio::test]
async fn what_is_installed_is_there_after_kill_9() {
    let host = Host::builder().start().await;
    host.install(speaker("speaker", "1.0.0", "speak", "still here")).await;
    let grants = json!({"approvals": {"speak": "ask"}});
    assert_eq!(host.json(Method::PUT, "/v1/plugins/acme/speaker/grants", Some(&grants)).await.0, 200);
    let host = Host::builder().data(host.kill().await).start().await;
    assert_eq!(host.call_tool("speak", json!({})).await["output"], "still here");
    let (_, granted) = host.json(Method::GET, "/v1/plugins/acme/speaker/grants", None).await;
    assert_eq!(granted["grants"]["approvals"]["speak"], "ask");
}

#[tokio::test]
async fn nothing_of_one_tenants_plugins_is_seen_by_another() {
    let (data, a, b) = two_tenants("runs,plugins,secrets").await;
    let host = Host::builder().data(data).start().await;
    let (status, _) = host.install_as(&a, "/v1/plugins", speaker("mine", "1.0.0", "speak", "a's")).await;
    assert_eq!(status, 201);
    for (method, path) in [
        (Method::GET, "/v1/plugins/acme/mine"),
        (Method::DELETE, "/v1/plugins/acme/mine"),
        (Method::GET, "/v1/plugins/acme/mine/versions"),
        (Method::GET, "/v1/plugins/acme/mine/grants"),
        (Method::POST, "/v1/plugins/acme/mine/rollback"),
    ] {
        let (status, told) = host.json_as(&b, method.clone(), path, None).await;
        assert_eq!((status, error(&told)), (404, "there is no plugin acme/mine"), "{method} {path}");
    }
    let (status, _) = host.json_as(&b, Method::PUT, "/v1/plugins/acme/mine/grants", Some(&json!({}))).await;
    assert_eq!(status, 404);
    let call = json!({"arguments": {}});
    assert_eq!(host.json_as(&b, Method::POST, "/v1/tools/speak/call", Some(&call)).await.0, 404);
    let (_, tools) = host.json_as(&b, Method::GET, "/v1/tools", None).await;
    assert!(!tools.to_string().contains("\"speak\""), "{tools}");
    let (_, plugins) = host.json_as(&b, Method::GET, "/v1/plugins", None).await;
    assert!(!plugins.to_string().contains("acme"), "{plugins}");
    // The same name is free for another tenant, and stays apart.
    assert_eq!(host.install_as(&b, "/v1/plugins", speaker("mine", "1.0.0", "speak", "b's")).await.0, 201);
    let said = |answer: (u16, Value)| answer.1["output"].as_str().unwrap().to_owned();
    assert_eq!(said(host.json_as(&a, Method::POST, "/v1/tools/speak/call", Some(&call)).await), "a's");
    assert_eq!(said(host.json_as(&b, Method::POST, "/v1/tools/speak/call", Some(&call)).await), "b's");

    let secret = json!({"value": "s3cret-of-a", "inject": {"host": "api.example.com", "header": "x-key"}});
    let (status, told) = host.json_as(&a, Method::PUT, "/v1/secrets/token", Some(&secret)).await;
    assert!(status == 200 && !told.to_string().contains("s3cret"), "{status} {told}");
    let (_, listed) = host.json_as(&a, Method::GET, "/v1/secrets", None).await;
    assert!(listed["data"][0]["name"] == "token" && !listed.to_string().contains("s3cret"), "{listed}");
    assert_eq!(host.json_as(&b, Method::GET, "/v1/secrets", None).await.1["data"], json!([]));
    assert_eq!(host.json_as(&b, Method::DELETE, "/v1/secrets/token", None).await.0, 404);
    assert_eq!(host.json_as(&a, Method::DELETE, "/v1/secrets/token", None).await.0, 204);
}

#[tokio::test]
async fn what_the_operator_shares_is_every_tenants_and_nobody_elses_to_change() {
    let (data, a, b) = two_tenants("runs,plugins").await;
    let admin = Cli::on(data.path()).output(&["key", "create", "--tenant", "a", "--scope", "runs,admin"]).await;
    let host = Host::builder().data(data).start().await;
    let shared = speaker("shared", "1.0.0", "speak", "for all");
    let (status, told) = host.install_as(&a, "/v1/plugins?shared=true", shared.clone()).await;
    assert_eq!((status, error(&told)), (403, "this needs a key with the scope admin"));
    assert_eq!(host.install_as(&admin, "/v1/plugins?shared=true", shared).await.0, 201);
    let call = json!({"arguments": {}});
    for key in [&a, &b] {
        let (status, answer) = host.json_as(key, Method::POST, "/v1/tools/speak/call", Some(&call)).await;
        assert_eq!((status, &answer["output"]), (200, &json!("for all")), "{answer}");
    }
    let (status, told) = host.json_as(&b, Method::DELETE, "/v1/plugins/acme/shared", None).await;
    assert!(status == 403 && error(&told).contains("shared by the operator"), "{status} {told}");
    // The owner's name is the operator's now, and so is the tool's.
    let (status, told) = host.install_as(&b, "/v1/plugins", speaker("own", "1.0.0", "other", "x")).await;
    assert!(status == 403 && error(&told).contains("the owner acme is the operator's"), "{status} {told}");
    let fields = json!({"name": "b/own", "tools": [tool("speak")]});
    let (status, told) = host.install_as(&b, "/v1/plugins", tool_plugin_as(fields, "", "", ECHO)).await;
    assert!(status == 409 && error(&told).contains("acme/shared and b/own both provide the tool speak"), "{told}");
    // A tenant can take a shared tool from its own runs, and only from those.
    let never = json!({"approvals": {"speak": "never"}});
    assert_eq!(host.json_as(&b, Method::PUT, "/v1/plugins/acme/shared/grants", Some(&never)).await.0, 200);
    assert_eq!(host.json_as(&b, Method::POST, "/v1/tools/speak/call", Some(&call)).await.0, 404);
    assert_eq!(host.json_as(&a, Method::POST, "/v1/tools/speak/call", Some(&call)).await.0, 200);
}

#[tokio::test]
async fn an_install_that_can_not_be_is_refused_with_a_sentence_that_names_both_sides() {
    let host = Host::builder().start().await;
    host.install(speaker("speaker", "1.0.0", "speak", "one")).await;
    let settings = r#"(import "vivarium:plugin/settings@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
    let asks = format!("(call $get (i32.const 0) (i32.const 1) (i32.const 700)) {ECHO}");
    let schema = |schema: Value| {
        let tool = json!({"name": "t", "title": "T", "description": "d", "inputSchema": schema});
        tool_plugin_as(json!({"name": "acme/schema", "tools": [tool]}), "", "", ECHO)
    };
    let with = |fields: Value| tool_plugin_as(fields, "", "", ECHO);
    let cases = [
        (b"hello".to_vec(), 422, "not a WebAssembly component"),
        (b"\0asm\x01\0\0\0".to_vec(), 422, "it is a core module; make a component of it"),
        (tool_plugin(settings, "", &asks), 422, "its manifest does not ask for it: set `requests.settings`"),
        (with(json!({"contract": "9.0.0"})), 422, "is built for vivarium:plugin 9.0.0, and this host serves 0.1.0"),
        (with(json!({"name": "vivarium/mine"})), 403, "the owner vivarium is the host's own"),
        (with(json!({"name": "no-owner"})), 422, "a plugin's name is owner/name"),
        (with(json!({"surprise": 1})), 422, "unknown field `surprise`"),
        (
            with(json!({"name": "acme/other", "tools": [tool("speak")]})),
            409,
            "acme/speaker and acme/other both provide the tool speak",
        ),
        (speaker("speaker", "1.0.0", "speak", "another"), 409, "a version that was installed does not change"),
        (schema(json!({"type": "string"})), 422, "the input schema of the tool t is not valid"),
        (
            schema(json!({"type": "object", "properties": {"a": {"type": "nothing"}}})),
            422,
            "the input schema of the tool t",
        ),
        (schema(json!({"type": "object", "$ref": "http://127.0.0.1:1/x"})), 422, "the input schema of the tool t"),
    ];
    for (component, expected, text) in cases {
        let (status, told) = host.install_as(host.key(), "/v1/plugins", component).await;
        assert!(status == expected && error(&told).contains(text), "{status} {told}, expected {expected} {text}");
    }
    let request = host.request(Method::POST, "/v1/plugins").header("content-type", "text/plain").body("x");
    assert_eq!(host.send(request).await.status(), 415);
    assert_eq!(host.call_tool("speak", json!({})).await["output"], "one", "what was there is untouched");
}

#[tokio::test]
async fn a_key_without_the_scope_changes_nothing() {
    let (data, a, _) = two_tenants("runs").await;
    let host = Host::builder().data(data).start().await;
    let body = json!({});
    for (method, path, scope) in [
        (Method::POST, "/v1/plugins", "plugins"),
        (Method::DELETE, "/v1/plugins/acme/x", "plugins"),
        (Method::PUT, "/v1/plugins/acme/x/grants", "plugins"),
        (Method::POST, "/v1/plugins/acme/x/rollback", "plugins"),
        (Method::PUT, "/v1/secrets/x", "secrets"),
        (Method::GET, "/v1/secrets", "secrets"),
        (Method::DELETE, "/v1/secrets/x", "secrets"),
    ] {
        let (status, told) = host.json_as(&a, method.clone(), path, Some(&body)).await;
        assert_eq!(
            (status, error(&told)),
            (403, format!("this needs a key with the scope {scope}").as_str()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_key_for_secrets_alone_starts_no_run_and_reads_none() {
    let (data, a, _) = two_tenants("secrets").await;
    let host = Host::builder().data(data).start().await;
    let run = "01900000-0000-7000-8000-000000000000";
    for (method, path) in [
        (Method::POST, "/v1/agent/run".to_owned()),
        (Method::GET, "/v1/agent/stream?query=x".to_owned()),
        (Method::GET, format!("/v1/runs/{run}")),
        (Method::GET, format!("/v1/runs/{run}/events")),
        (Method::POST, format!("/v1/runs/{run}/cancel")),
        (Method::POST, "/v1/tools/web_fetch/call".to_owned()),
    ] {
        let body = json!({"query": "x"});
        let (status, told) = host.json_as(&a, method.clone(), &path, Some(&body)).await;
        assert_eq!((status, error(&told)), (403, "this needs a key with the scope runs"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_grant_is_refused_and_names_the_field() {
    let (data, a, _) = two_tenants("runs,plugins").await;
    let host = Host::builder().data(data).start().await;
    let fields = json!({"name": "acme/asker", "tools": [tool("ask")], "requests": {"hosts": ["api.example.com"]}});
    assert_eq!(host.install_as(&a, "/v1/plugins", tool_plugin_as(fields, "", "", ECHO)).await.0, 201);
    let path = "/v1/plugins/acme/asker/grants";
    for (grant, expected, param, text) in [
        (json!({"hosts": ["http://x"]}), 400, json!("hosts[0]"), "is no host rule"),
        (json!({"hosts": [{"host": "a.example", "methods": ["CONNECT"]}]}), 400, json!("hosts[0]"), "CONNECT"),
        (json!({"hosts": "x"}), 400, json!("hosts"), "hosts: "),
        (json!({"files": "all"}), 400, json!("files"), "unknown variant `all`"),
        (json!({"approvals": {"nope": "ask"}}), 400, json!("approvals"), "acme/asker provides: ask"),
        (json!({"limits": {"wallMs": -1}}), 400, json!("limits.wallMs"), "limits.wallMs"),
        (json!({"surprise": true}), 400, json!("surprise"), "there is no field surprise"),
        (json!({"dangerouslyAllowPrivateAddresses": ["127.0.0.1:80"]}), 403, Value::Null, "scope admin"),
    ] {
        let (status, told) = host.json_as(&a, Method::PUT, path, Some(&grant)).await;
        assert!(status == expected && error(&told).contains(text), "{grant}: {status} {told}");
        assert_eq!(told["error"]["details"]["param"], param, "{grant}: {told}");
    }
    let idle = json!({"hosts": ["api.example.com"], "secrets": ["key"], "state": true});
    let (status, granted) = host.json_as(&a, Method::PUT, path, Some(&idle)).await;
    assert_eq!(status, 200);
    let notes = ["acme/asker does not ask for the secret key", "acme/asker does not ask for state"];
    assert_eq!(granted["notes"], json!(notes));
}

#[tokio::test]
async fn a_call_says_what_it_used_and_wrong_arguments_do_not_reach_the_tool() {
    let host = Host::builder().start().await;
    host.install(tool_plugin_as(json!({"name": "acme/echo"}), "", "", ECHO)).await;
    let answer = host.call_tool("hostile", json!({"a": 1})).await;
    assert_eq!(answer["output"], "{\"a\":1}");
    let usage = answer["usage"].as_object().unwrap();
    for field in ["wallMs", "cpuMs", "memoryPeakBytes", "egressBytes", "egressRequests", "hostCalls"] {
        assert!(usage[field].is_u64(), "{field} in {answer}");
    }
    for (body, param) in
        [(json!({}), "arguments"), (json!({"arguments": [1]}), "arguments"), (json!({"arguments": {}, "x": 1}), "x")]
    {
        let (status, told) = host.json(Method::POST, "/v1/tools/hostile/call", Some(&body)).await;
        assert_eq!((status, &told["error"]["details"]["param"]), (400, &json!(param)), "{told}");
    }
}

#[tokio::test]
async fn a_call_that_needs_approval_waits_for_a_person_and_for_that_call_alone() {
    let model = ScriptedModel::start().await;
    let call = |id: &str| {
        Answer::Tools(vec![ToolRequest { id: id.to_owned(), name: "speak".to_owned(), arguments: json!({"n": id}) }])
    };
    for answer in [call("first"), Answer::text("done"), call("second"), Answer::text("refused")] {
        model.then(answer);
    }
    let host = Host::builder().model(&model).start().await;
    host.install(speaker("speaker", "1.0.0", "speak", "spoken")).await;
    let grants = json!({"approvals": {"speak": "ask"}});
    assert_eq!(host.json(Method::PUT, "/v1/plugins/acme/speaker/grants", Some(&grants)).await.0, 200);
    for (id, decision, outcome) in
        [("first", "approve", "spoken"), ("second", "reject", "denied: a person refused this call: no")]
    {
        let started = host.send(host.request(Method::GET, "/v1/agent/stream?query=speak&mode=chat")).await;
        let run = started.headers()["x-run-id"].to_str().unwrap().to_owned();
        let events = host.request(Method::GET, &format!("/v1/runs/{run}/events")).header("accept", "text/event-stream");
        let mut log = SseStream::new(host.send(events).await);
        loop {
            let event = log.next().await.unwrap();
            if event.event.as_deref() == Some("approval.requested") {
                assert_eq!(event.json()["callId"], id);
                assert_eq!(event.json()["argumentsJson"], format!("{{\"n\":\"{id}\"}}"));
                break;
            }
        }
        assert_eq!(host.json(Method::GET, &format!("/v1/runs/{run}"), None).await.1["status"], "waiting");
        let path = format!("/v1/runs/{run}/approve");
        let other = json!({"callId": "another", "decision": decision});
        assert_eq!(host.json(Method::POST, &path, Some(&other)).await.0, 409);
        let decision = json!({"callId": id, "decision": decision, "reason": "no"});
        assert_eq!(host.json(Method::POST, &path, Some(&decision)).await.0, 200);
        let rest = log.rest().await;
        let completed = rest.iter().find(|event| event.event.as_deref() == Some("tool.completed")).unwrap().json();
        assert!(completed["outcome"].to_string().contains(outcome), "{completed}");
        assert_eq!(rest.last().unwrap().event.as_deref(), Some("run.completed"));
    }
}

/// The files of a folder and its folders whose names hold this text.
fn files_named(folder: &std::path::Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_named(&path, text));
        } else if path.file_name().unwrap().to_string_lossy().contains(text) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_removed_plugin_leaves_nothing_on_the_disk_but_what_another_tenant_has_too() {
    let (data, a, b) = two_tenants("runs,plugins").await;
    let folder = data.path().to_owned();
    let host = Host::builder().data(data).start().await;
    let component = speaker("leaving", "1.0.0", "speak", "leaving");
    let digest = host.install_as(&a, "/v1/plugins", component.clone()).await.1["digest"].as_str().unwrap().to_owned();
    assert_eq!(host.install_as(&b, "/v1/plugins", component).await.0, 201);
    // One component for each tenant; the compiled form, which holds nothing of a tenant's, with its checksum.
    assert_eq!(files_named(&folder, &digest).len(), 4);
    assert_eq!(host.json_as(&a, Method::DELETE, "/v1/plugins/acme/leaving", None).await.0, 204);
    assert_eq!(files_named(&folder, &digest).len(), 3);
    let call = json!({"arguments": {}});
    assert_eq!(host.json_as(&b, Method::POST, "/v1/tools/speak/call", Some(&call)).await.1["output"], "leaving");
    assert_eq!(host.json_as(&b, Method::DELETE, "/v1/plugins/acme/leaving", None).await.0, 204);
    assert_eq!(files_named(&folder, &digest), [] as [std::path::PathBuf; 0]);
}

#[tokio::test]
async fn a_tenant_keeps_no_more_plugins_than_it_may() {
    let config = "max_plugin_bytes = 8000\nmax_plugins = 3\nmax_component_bytes = 6000";
    let host = Host::builder().config(config).start().await;
    for number in 0..3 {
        let small = speaker(&format!("small{number}"), "1.0.0", &format!("speak{number}"), "x");
        assert!(small.len() < 2_600, "{}", small.len());
        host.install(small).await;
    }
    let (status, told) = host.install_as(host.key(), "/v1/plugins", speaker("one-more", "1.0.0", "more", "x")).await;
    assert!(status == 409 && error(&told).contains("remove"), "{status} {told}");
    assert_eq!(host.json(Method::DELETE, "/v1/plugins/acme/small0", None).await.0, 204);
    host.install(speaker("one-more", "1.0.0", "more", "x")).await;
    let description = "d".repeat(3_000);
    let large = |name: &str| {
        tool_plugin_as(json!({"name": name, "description": description, "tools": [tool("l")]}), "", "", ECHO)
    };
    let (status, told) = host.install_as(host.key(), "/v1/plugins", large("acme/small1")).await;
    assert!(status == 409 && error(&told).contains("at most 8000 are kept"), "{status} {told}");
    let too_large = tool_plugin_as(json!({"name": "acme/l", "description": "d".repeat(6_000)}), "", "", ECHO);
    let (status, told) = host.install_as(host.key(), "/v1/plugins", too_large).await;
    assert_eq!(status, 413, "{told}");
}

#[tokio::test]
async fn a_full_host_says_when_to_come_back_and_whose_calls_are_in_the_way() {
    let (data, a, b) = two_tenants("runs,plugins").await;
    let config = "max_tool_calls = 1\ntenant_share_percent = 100\ntool_call_patience_seconds = 1";
    let host = std::sync::Arc::new(Host::builder().data(data).config(config).start().await);
    let spin = "(loop $for_ever (br $for_ever)) (unreachable)";
    let spinner = tool_plugin_as(json!({"name": "acme/spin", "tools": [tool("spin")]}), "", "", spin);
    assert_eq!(host.install_as(&a, "/v1/plugins", spinner).await.0, 201);
    for (key, name) in [(&a, "a/hello"), (&b, "b/hello")] {
        let (data, body) = saying("hello");
        let hello = tool_plugin_as(json!({"name": name, "tools": [tool("hello")]}), "", &data, &body);
        assert_eq!(host.install_as(key, "/v1/plugins", hello).await.0, 201);
    }
    let call = |key: &str, name: &str| {
        let request = host.client().post(host.url(&format!("/v1/tools/{name}/call"))).bearer_auth(key);
        request.json(&json!({"arguments": {}}))
    };
    let spinning = tokio::spawn(call(&a, "spin").send());
    let refused = loop {
        let answer = host.send(call(&a, "hello")).await;
        if answer.status().as_u16() != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    let told: Value = refused.json().await.unwrap();
    assert!(error(&told).contains("this tenant has as many calls under way"), "{told}");
    let refused = host.send(call(&b, "hello")).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    // Who leaves ends the call, and its place is the next one's.
    spinning.abort();
    let answer = host.send(call(&b, "hello")).await;
    assert_eq!(answer.status().as_u16(), 200);
}
