//! What is wrong with a request is told in the dialect's own form, with the field's name, before anything runs: one table for each
//! route of the native API and of the Assisters dialect.

use insta::assert_snapshot;
use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{BadInput, Host, Keys, Route, host_of_two};

/// A host with two tenants whose model nobody reaches: nothing that is sent here may run.
async fn host() -> (Host, Keys) {
    host_of_two(|builder| builder).await
}

/// An agent to be written about.
async fn with_agent(host: &Host) {
    let (status, answer) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "a"}))).await;
    assert_eq!(status, 201, "{answer}");
}

async fn with_session(host: &Host) {
    let (status, answer) = host.json(Method::POST, "/v1/sessions", Some(&json!({"id": "s"}))).await;
    assert_eq!(status, 201, "{answer}");
}

fn long(chars: usize) -> String {
    "x".repeat(chars)
}

/// Query strings that no list takes.
async fn wrong_queries(bad: &mut BadInput<'_>, path: &str, queries: &[&str]) {
    for query in queries {
        bad.path(&format!("?{query}"), Method::GET, &format!("{path}?{query}")).await;
    }
}

#[tokio::test]
async fn runs() {
    let (host, keys) = host().await;
    with_agent(&host).await;
    let body = json!({
        "input": "q", "mode": "chat", "instructions": "i", "model": "embedded/extractive", "sessionId": "s", "stateless": false,
        "historyTurns": 1, "maxCycles": 1, "maxOutputTokens": 1, "timeoutSeconds": 1, "tools": [], "outputSchema": {},
        "whenBusy": "reject", "background": false, "webhookUrl": "https://example.com/", "metadata": {}
    });
    let route = Route::new(Method::POST, "/v1/runs", Some(&body));
    let mut bad = BadInput::new(&host, &keys);
    bad.route(&route).await;
    let cases = [
        ("no input", json!({"input": null})),
        ("an empty input", json!({"input": " \n"})),
        ("a long input", json!({"input": long(200_001)})),
        ("an agent and a mode", json!({"agentId": "a"})),
        ("an unknown agent", json!({"agentId": "b", "mode": null})),
        ("an unknown mode", json!({"mode": "poet"})),
        ("no mode", json!({"mode": ""})),
        ("a model without a provider", json!({"model": "gpt"})),
        ("a model of an unknown provider", json!({"model": "acme/gpt"})),
        ("long instructions", json!({"instructions": long(200_001)})),
        ("a session's id with a space", json!({"sessionId": "a b"})),
        ("a long session's id", json!({"sessionId": long(129)})),
        ("a session, and stateless", json!({"stateless": true})),
        ("too many turns", json!({"historyTurns": 1001})),
        ("negative turns", json!({"historyTurns": -1})),
        ("half a turn", json!({"historyTurns": 0.5})),
        ("no cycles", json!({"maxCycles": 0})),
        ("too many cycles", json!({"maxCycles": 101})),
        ("no tokens", json!({"maxOutputTokens": 0})),
        ("too many tokens", json!({"maxOutputTokens": 1_000_001})),
        ("no time", json!({"timeoutSeconds": 0})),
        ("too much time", json!({"timeoutSeconds": 86_401})),
        ("a number beyond all", json!({"maxCycles": 99_999_999_999_999_u64})),
        ("an unknown tool", json!({"tools": ["nothing"]})),
        ("a tool twice", json!({"tools": ["web_fetch", {"name": "web_fetch"}]})),
        ("a tool that is a number", json!({"tools": [7]})),
        ("a tool without a name", json!({"tools": [{"approval": "ask"}]})),
        ("a tool with an unknown approval", json!({"tools": [{"name": "corpus_read", "approval": "maybe"}]})),
        ("a tool with an unknown field", json!({"tools": [{"name": "corpus_read", "mode": "x"}]})),
        ("too many tools", json!({"tools": vec!["corpus_read"; 201]})),
        ("a schema that is none", json!({"outputSchema": {"type": "nonsense"}})),
        ("a large schema", json!({"outputSchema": {"description": long(65_536)}})),
        ("an unknown policy", json!({"whenBusy": "wait"})),
        ("no webhook's address", json!({"webhookUrl": "example.com"})),
        ("a webhook with a password", json!({"webhookUrl": "https://a:b@example.com/"})),
        ("large notes", json!({"metadata": {"note": long(16_384)}})),
    ];
    for (case, fields) in cases {
        bad.with(case, &route, fields).await;
    }
    for (case, key) in [("an empty key", String::new()), ("a long key", long(256))] {
        let request = host.request(Method::POST, "/v1/runs").header("idempotency-key", key).json(&body);
        bad.send(case, request).await;
    }
    let request = host.request(Method::POST, "/v1/runs").header("accept", "text/event-stream");
    bad.send("a stream in the background", request.json(&json!({"input": "q", "background": true}))).await;
    let (status, runs) = host.json(Method::GET, "/v1/runs", None).await;
    assert_eq!((status, &runs["data"]), (200, &json!([])), "nothing of all this was started");
    assert_snapshot!(bad.table(), @r#"
    # POST /v1/runs
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected one of `input`, `agentId`, `mode`, `instructions`, `model`, `fallbackModels`, `modelTimeoutSeconds`, `modelOptions`, `sessionId`, `stateless`, `historyTurns`, `maxCycles`, `maxOutputTokens`, `timeoutSeconds`, `tools`, `outputSchema`, `whenBusy`, `background`, `webhookUrl`, `metadata`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 299","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected one of `input`, `agentId`, `mode`, `instructions`, `model`, `fallbackModels`, `modelTimeoutSeconds`, `modelOptions`, `sessionId`, `stateless`, `historyTurns`, `maxCycles`, `maxOutputTokens`, `timeoutSeconds`, `tools`, `outputSchema`, `whenBusy`, `background`, `webhookUrl`, `metadata`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /background = "x y": 400 {"error":{"message":"background: invalid type: string \"x y\", expected a boolean","code":"invalid_parameter","details":{"param":"background"}}}
    /historyTurns = true: 400 {"error":{"message":"historyTurns: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    /input = true: 400 {"error":{"message":"input: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"input"}}}
    /instructions = true: 400 {"error":{"message":"instructions: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"instructions"}}}
    /maxCycles = true: 400 {"error":{"message":"maxCycles: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    /maxOutputTokens = true: 400 {"error":{"message":"maxOutputTokens: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    /metadata = true: 400 {"error":{"message":"metadata: invalid type: boolean `true`, expected an object","code":"invalid_parameter","details":{"param":"metadata"}}}
    /mode = true: 400 {"error":{"message":"mode: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"mode"}}}
    /model = true: 400 {"error":{"message":"model: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"model"}}}
    /outputSchema = true: 400 {"error":{"message":"outputSchema: invalid type: boolean `true`, expected an object","code":"invalid_parameter","details":{"param":"outputSchema"}}}
    /sessionId = true: 400 {"error":{"message":"sessionId: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"sessionId"}}}
    /stateless = "x y": 400 {"error":{"message":"stateless: invalid type: string \"x y\", expected a boolean","code":"invalid_parameter","details":{"param":"stateless"}}}
    /timeoutSeconds = true: 400 {"error":{"message":"timeoutSeconds: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    /tools = true: 400 {"error":{"message":"tools: invalid type: boolean `true`, expected an array","code":"invalid_parameter","details":{"param":"tools"}}}
    /webhookUrl = true: 400 {"error":{"message":"webhookUrl: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"webhookUrl"}}}
    /whenBusy = true: 400 {"error":{"message":"whenBusy: invalid type, expected a string","code":"invalid_parameter","details":{"param":"whenBusy"}}}
    no input: 400 {"error":{"message":"input is required","code":"missing_parameter","details":{"param":"input"}}}
    an empty input: 400 {"error":{"message":"input must not be empty","code":"invalid_parameter","details":{"param":"input"}}}
    a long input: 400 {"error":{"message":"input must have at most 200000 characters, not 200001","code":"invalid_parameter","details":{"param":"input"}}}
    an agent and a mode: 400 {"error":{"message":"mode must be left out where there is an agentId","code":"invalid_parameter","details":{"param":"mode"}}}
    an unknown agent: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    an unknown mode: 400 {"error":{"message":"there is no mode \"poet\"; there are: chat, coding, research","code":"invalid_parameter","details":{"param":"mode"}}}
    no mode: 400 {"error":{"message":"there is no mode \"\"; there are: chat, coding, research","code":"invalid_parameter","details":{"param":"mode"}}}
    a model without a provider: 400 {"error":{"message":"model: a model is written provider/model, such as openai/gpt-5, not \"gpt\"","code":"invalid_parameter","details":{"param":"model"}}}
    a model of an unknown provider: 400 {"error":{"message":"the provider refused the request: acme/gpt needs the provider \"acme\", and there is none of that name (there are: embedded)","code":"invalid_parameter","details":{"param":"model"}}}
    long instructions: 400 {"error":{"message":"instructions must have at most 200000 characters, not 200001","code":"invalid_parameter","details":{"param":"instructions"}}}
    a session's id with a space: 400 {"error":{"message":"sessionId: a session id must be 1 to 128 visible ASCII characters, not \"a b\"","code":"invalid_parameter","details":{"param":"sessionId"}}}
    a long session's id: 400 {"error":{"message":"sessionId: a session id must be 1 to 128 visible ASCII characters, not \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"","code":"invalid_parameter","details":{"param":"sessionId"}}}
    a session, and stateless: 400 {"error":{"message":"stateless must be false or left out where there is a sessionId","code":"invalid_parameter","details":{"param":"stateless"}}}
    too many turns: 400 {"error":{"message":"historyTurns must be an integer from 0 to 1000, not 1001","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    negative turns: 400 {"error":{"message":"historyTurns: invalid value: integer `-1`, expected an integer from 0","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    half a turn: 400 {"error":{"message":"historyTurns: invalid type: floating point `0.5`, expected an integer from 0","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    no cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 100, not 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    too many cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 100, not 101","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    no tokens: 400 {"error":{"message":"maxOutputTokens must be an integer from 1 to 1000000, not 0","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    too many tokens: 400 {"error":{"message":"maxOutputTokens must be an integer from 1 to 1000000, not 1000001","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    no time: 400 {"error":{"message":"timeoutSeconds must be an integer from 1 to 86400, not 0","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    too much time: 400 {"error":{"message":"timeoutSeconds must be an integer from 1 to 86400, not 86401","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    a number beyond all: 400 {"error":{"message":"maxCycles: invalid value: integer `99999999999999`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    an unknown tool: 400 {"error":{"message":"tools[0] names \"nothing\"; there are: <tools>","code":"invalid_parameter","details":{"param":"tools[0]"}}}
    a tool twice: 400 {"error":{"message":"tools[1] names \"web_fetch\" a second time","code":"invalid_parameter","details":{"param":"tools[1]"}}}
    a tool that is a number: 400 {"error":{"message":"tools[0]: invalid type: integer `7`, expected a tool's name, or an object with name and approval","code":"invalid_parameter","details":{"param":"tools[0]"}}}
    a tool without a name: 400 {"error":{"message":"tools[0].name is required","code":"missing_parameter","details":{"param":"tools[0].name"}}}
    a tool with an unknown approval: 400 {"error":{"message":"tools[0].approval: unknown variant `maybe`, expected one of `auto`, `ask`, `never`","code":"invalid_parameter","details":{"param":"tools[0].approval"}}}
    a tool with an unknown field: 400 {"error":{"message":"there is no field tools[0].mode, expected `name` or `approval`","code":"invalid_parameter","details":{"param":"tools[0].mode"}}}
    too many tools: 400 {"error":{"message":"tools must have at most 200 tools, not 201","code":"invalid_parameter","details":{"param":"tools"}}}
    a schema that is none: 400 {"error":{"message":"the output schema is no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","code":"invalid_parameter","details":{"param":"outputSchema"}}}
    a large schema: 400 {"error":{"message":"outputSchema must have at most 65536 bytes, not 65554","code":"invalid_parameter","details":{"param":"outputSchema"}}}
    an unknown policy: 400 {"error":{"message":"whenBusy: unknown variant `wait`, expected one of `enqueue`, `reject`, `interrupt`","code":"invalid_parameter","details":{"param":"whenBusy"}}}
    no webhook's address: 400 {"error":{"message":"webhookUrl must be an absolute URL, such as https://example.com/done","code":"invalid_parameter","details":{"param":"webhookUrl"}}}
    a webhook with a password: 400 {"error":{"message":"webhookUrl must not hold a user name or a password: deliveries are signed instead","code":"invalid_parameter","details":{"param":"webhookUrl"}}}
    large notes: 400 {"error":{"message":"metadata must have at most 16384 bytes, not 16395","code":"invalid_parameter","details":{"param":"metadata"}}}
    an empty key: 400 {"error":{"message":"Idempotency-Key must be 1 to 255 visible ASCII characters, once","code":"invalid_parameter","details":{"param":"Idempotency-Key"}}}
    a long key: 400 {"error":{"message":"Idempotency-Key must be 1 to 255 visible ASCII characters, once","code":"invalid_parameter","details":{"param":"Idempotency-Key"}}}
    a stream in the background: 400 {"error":{"message":"background must be false or left out where a stream is accepted","code":"invalid_parameter","details":{"param":"background"}}}
    "#);
}

#[tokio::test]
async fn the_list_of_runs_and_what_is_asked_of_one() {
    let (host, keys) = host().await;
    let mut bad = BadInput::new(&host, &keys);
    bad.route(&Route::new(Method::GET, "/v1/runs", None)).await;
    let queries = [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1&limit=2",
        "cursor=x",
        "cursor=",
        "status=done",
        "sessionId=",
        "sessionId=a%20b",
        "createdAfter=yesterday",
        "createdBefore=2026-11-22",
        "page=2",
        "status=%FF",
    ];
    wrong_queries(&mut bad, "/v1/runs", &queries).await;
    let unknown = "/v1/runs/0192f000-0000-7000-8000-000000000001";
    bad.route(&Route::new(Method::GET, unknown, None)).await;
    for path in [unknown, "/v1/runs/x", "/v1/runs/%FF"] {
        bad.path(path, Method::GET, path).await;
    }
    wrong_queries(&mut bad, unknown, &["wait=61", "wait=-1", "wait=x", "limit=1"]).await;
    bad.route(&Route::new(Method::DELETE, unknown, None)).await;
    for path in [unknown, "/v1/runs/x"] {
        bad.path(path, Method::DELETE, path).await;
    }
    bad.route(&Route::new(Method::GET, format!("{unknown}/events"), None)).await;
    bad.path("an unknown run", Method::GET, &format!("{unknown}/events")).await;
    wrong_queries(&mut bad, &format!("{unknown}/events"), &["after=-1", "after=x", "limit=0", "limit=1001"]).await;
    let cancel = format!("{unknown}/cancel");
    bad.route(&Route { not: Method::GET, ..Route::new(Method::POST, cancel.clone(), None) }).await;
    bad.path("an unknown run", Method::POST, &cancel).await;
    let body = json!({"callId": "c", "decision": "approve", "reason": "r"});
    let approve = format!("{unknown}/approve");
    let route = Route { not: Method::GET, ..Route::new(Method::POST, approve, Some(&body)) };
    bad.route(&route).await;
    bad.with("an unknown decision", &route, json!({"decision": "maybe"})).await;
    bad.with("no call", &route, json!({"callId": null})).await;
    bad.with("an unknown run", &route, json!({})).await;
    assert_snapshot!(bad.table(), @r#"
    # GET /v1/runs
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    ?limit=0: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=201: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=x: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=1&limit=2: 400 {"error":{"message":"limit is given more than once","code":"invalid_parameter","details":{"param":"limit"}}}
    ?cursor=x: 400 {"error":{"message":"cursor must be the next of an earlier page","code":"invalid_parameter","details":{"param":"cursor"}}}
    ?cursor=: 400 {"error":{"message":"cursor must be the next of an earlier page","code":"invalid_parameter","details":{"param":"cursor"}}}
    ?status=done: 400 {"error":{"message":"status must be one of queued, running, waiting, completed, failed, cancelled","code":"invalid_parameter","details":{"param":"status"}}}
    ?sessionId=: 400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","code":"invalid_parameter","details":{"param":"sessionId"}}}
    ?sessionId=a%20b: 400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","code":"invalid_parameter","details":{"param":"sessionId"}}}
    ?createdAfter=yesterday: 400 {"error":{"message":"createdAfter must be a time in ISO 8601, such as 2026-11-22T00:00:00Z","code":"invalid_parameter","details":{"param":"createdAfter"}}}
    ?createdBefore=2026-11-22: 400 {"error":{"message":"createdBefore must be a time in ISO 8601, such as 2026-11-22T00:00:00Z","code":"invalid_parameter","details":{"param":"createdBefore"}}}
    ?page=2: 400 {"error":{"message":"there is no parameter \"page\" here; there are: status, sessionId, agentId, createdAfter, createdBefore, limit, cursor","code":"invalid_parameter","details":{"param":"page"}}}
    ?status=%FF: 400 {"error":{"message":"the query string must be percent-encoded UTF-8","code":"invalid_request"}}
    # GET /v1/runs/<id>
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    /v1/runs/0192f000-0000-7000-8000-000000000001: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    /v1/runs/x: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    /v1/runs/%FF: 404 {"error":{"message":"there is nothing at a path that is not UTF-8","code":"not_found"}}
    ?wait=61: 400 {"error":{"message":"wait must be an integer from 0 to 60","code":"invalid_parameter","details":{"param":"wait"}}}
    ?wait=-1: 400 {"error":{"message":"wait must be an integer from 0 to 60","code":"invalid_parameter","details":{"param":"wait"}}}
    ?wait=x: 400 {"error":{"message":"wait must be an integer from 0 to 60","code":"invalid_parameter","details":{"param":"wait"}}}
    ?limit=1: 400 {"error":{"message":"there is no parameter \"limit\" here; there are: wait","code":"invalid_parameter","details":{"param":"limit"}}}
    # DELETE /v1/runs/<id>
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    /v1/runs/0192f000-0000-7000-8000-000000000001: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    /v1/runs/x: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    # GET /v1/runs/<id>/events
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown run: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    ?after=-1: 400 {"error":{"message":"after must be the number of an event, from 0 on, or the id that a stream gave a token, such as 7.132.9ae3f1c2","code":"invalid_parameter","details":{"param":"after"}}}
    ?after=x: 400 {"error":{"message":"after must be the number of an event, from 0 on, or the id that a stream gave a token, such as 7.132.9ae3f1c2","code":"invalid_parameter","details":{"param":"after"}}}
    ?limit=0: 400 {"error":{"message":"limit must be an integer from 1 to 1000","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=1001: 400 {"error":{"message":"limit must be an integer from 1 to 1000","code":"invalid_parameter","details":{"param":"limit"}}}
    # POST /v1/runs/<id>/cancel
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with GET: 405 {"error":{"message":"this path does not take GET; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown run: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    # POST /v1/runs/<id>/approve
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with GET: 405 {"error":{"message":"this path does not take GET; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected one of `callId`, `decision`, `reason`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 49","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected one of `callId`, `decision`, `reason`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /callId = true: 400 {"error":{"message":"callId: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"callId"}}}
    /decision = true: 400 {"error":{"message":"decision: invalid type, expected a string","code":"invalid_parameter","details":{"param":"decision"}}}
    /reason = true: 400 {"error":{"message":"reason: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"reason"}}}
    an unknown decision: 400 {"error":{"message":"decision: unknown variant `maybe`, expected `approve` or `reject`","code":"invalid_parameter","details":{"param":"decision"}}}
    no call: 400 {"error":{"message":"callId is required","code":"missing_parameter","details":{"param":"callId"}}}
    an unknown run: 404 {"error":{"message":"there is no such run","code":"not_found"}}
    "#);
}

/// An agent with every field.
fn whole_agent() -> Value {
    json!({
        "name": "b", "description": "d", "mode": "chat", "model": "embedded/extractive", "prompt": "p", "tools": [], "historyTurns": 1,
        "maxOutputTokens": 1, "maxCycles": 1, "timeoutSeconds": 1, "output": {"type": "text"}, "contexts": [], "whenBusy": "reject",
        "sessionTtlSeconds": 1, "teamId": 1
    })
}

/// What no agent's field may be, by case.
fn wrong_agents() -> Vec<(&'static str, Value)> {
    vec![
        ("an empty name", json!({"name": ""})),
        ("a name that is an id", json!({"name": "0192f000-0000-7000-8000-000000000001"})),
        ("a long name", json!({"name": long(129)})),
        ("a name with a line break", json!({"name": "a\nb"})),
        ("a long description", json!({"description": long(4_001)})),
        ("a description with a control character", json!({"description": "\u{1b}"})),
        ("an unknown mode", json!({"mode": "poet"})),
        ("a model without a provider", json!({"model": "gpt"})),
        ("a model of a provider without a key", json!({"model": "openai/gpt-5"})),
        ("a long prompt", json!({"prompt": long(200_001)})),
        ("an unknown tool", json!({"tools": [{"name": "nothing"}]})),
        ("a tool twice", json!({"tools": [{"name": "web_fetch"}, {"name": "web_fetch"}]})),
        ("a tool that is a name", json!({"tools": ["corpus_read"]})),
        ("a tool with an unknown field", json!({"tools": [{"name": "corpus_read", "mode": "x"}]})),
        ("too many turns", json!({"historyTurns": 1001})),
        ("no tokens", json!({"maxOutputTokens": 0})),
        ("too many tokens", json!({"maxOutputTokens": 1_000_001})),
        ("no cycles", json!({"maxCycles": 0})),
        ("too many cycles", json!({"maxCycles": 101})),
        ("no time", json!({"timeoutSeconds": 0})),
        ("too much time", json!({"timeoutSeconds": 86_401})),
        ("an output of an unknown type", json!({"output": {"type": "xml"}})),
        ("an output without a schema", json!({"output": {"type": "json_schema"}})),
        (
            "an output with a schema that is none",
            json!({"output": {"type": "json_schema", "schema": {"type": "nonsense"}}}),
        ),
        ("an output with an unknown field", json!({"output": {"type": "text", "more": 1}})),
        ("an unknown document", json!({"contexts": ["0192f000-0000-7000-8000-000000000001"]})),
        ("a document that is no id", json!({"contexts": ["x"]})),
        ("an unknown policy", json!({"whenBusy": "wait"})),
        ("no time for sessions", json!({"sessionTtlSeconds": 0})),
        ("too much time for sessions", json!({"sessionTtlSeconds": 316_224_001})),
        ("no team", json!({"teamId": 0})),
        ("an unknown team", json!({"teamId": 7})),
    ]
}

#[tokio::test]
async fn agents() {
    let (host, keys) = host().await;
    with_agent(&host).await;
    let body = whole_agent();
    let route = Route::new(Method::POST, "/v1/agents", Some(&body));
    let mut bad = BadInput::new(&host, &keys);
    bad.route(&route).await;
    bad.with("no name", &route, json!({"name": null})).await;
    bad.with("a name that is taken", &route, json!({"name": "a"})).await;
    for (case, fields) in wrong_agents() {
        bad.with(case, &route, fields).await;
    }
    bad.route(&Route::new(Method::GET, "/v1/agents", None)).await;
    let queries = ["limit=0", "limit=201", "cursor=x", "teamId=0", "teamId=x", "page=2", "name=a&name=b"];
    wrong_queries(&mut bad, "/v1/agents", &queries).await;
    assert_snapshot!(bad.table(), @r#"
    # POST /v1/agents
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:write","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected one of `name`, `description`, `mode`, `model`, `fallbackModels`, `modelTimeoutSeconds`, `modelOptions`, `prompt`, `tools`, `historyTurns`, `maxOutputTokens`, `maxCycles`, `timeoutSeconds`, `output`, `contexts`, `corpora`, `agents`, `whenBusy`, `sessionTtlSeconds`, `budget`, `teamId`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 261","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected one of `name`, `description`, `mode`, `model`, `fallbackModels`, `modelTimeoutSeconds`, `modelOptions`, `prompt`, `tools`, `historyTurns`, `maxOutputTokens`, `maxCycles`, `timeoutSeconds`, `output`, `contexts`, `corpora`, `agents`, `whenBusy`, `sessionTtlSeconds`, `budget`, `teamId`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /contexts = true: 400 {"error":{"message":"contexts: invalid type: boolean `true`, expected an array","code":"invalid_parameter","details":{"param":"contexts"}}}
    /description = true: 400 {"error":{"message":"description: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"description"}}}
    /historyTurns = true: 400 {"error":{"message":"historyTurns: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    /maxCycles = true: 400 {"error":{"message":"maxCycles: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    /maxOutputTokens = true: 400 {"error":{"message":"maxOutputTokens: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    /mode = true: 400 {"error":{"message":"mode: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"mode"}}}
    /model = true: 400 {"error":{"message":"model: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"model"}}}
    /name = true: 400 {"error":{"message":"name: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"name"}}}
    /output = true: 400 {"error":{"message":"output: invalid type: boolean `true`, expected an object","code":"invalid_parameter","details":{"param":"output"}}}
    /output/type = true: 400 {"error":{"message":"output.type: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"output.type"}}}
    /prompt = true: 400 {"error":{"message":"prompt: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"prompt"}}}
    /sessionTtlSeconds = true: 400 {"error":{"message":"sessionTtlSeconds: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"sessionTtlSeconds"}}}
    /teamId = true: 400 {"error":{"message":"teamId: invalid type: boolean `true`, expected an integer from 1","code":"invalid_parameter","details":{"param":"teamId"}}}
    /timeoutSeconds = true: 400 {"error":{"message":"timeoutSeconds: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    /tools = true: 400 {"error":{"message":"tools: invalid type: boolean `true`, expected an array","code":"invalid_parameter","details":{"param":"tools"}}}
    /whenBusy = true: 400 {"error":{"message":"whenBusy: invalid type, expected a string","code":"invalid_parameter","details":{"param":"whenBusy"}}}
    no name: 400 {"error":{"message":"name is required","code":"missing_parameter","details":{"param":"name"}}}
    a name that is taken: 409 {"error":{"message":"another agent has the name \"a\"; names are unique within a tenant","code":"conflict","details":{"param":"name"}}}
    an empty name: 400 {"error":{"message":"name must have 1 to 128 characters, not 0","code":"invalid_parameter","details":{"param":"name"}}}
    a name that is an id: 400 {"error":{"message":"name must not be a UUID: those are ids","code":"invalid_parameter","details":{"param":"name"}}}
    a long name: 400 {"error":{"message":"name must have 1 to 128 characters, not 129","code":"invalid_parameter","details":{"param":"name"}}}
    a name with a line break: 400 {"error":{"message":"name must not begin or end with a space, nor hold a line break or a tab","code":"invalid_parameter","details":{"param":"name"}}}
    a long description: 400 {"error":{"message":"description must have at most 4000 characters, not 4001","code":"invalid_parameter","details":{"param":"description"}}}
    a description with a control character: 400 {"error":{"message":"description must not hold the control character U+001B","code":"invalid_parameter","details":{"param":"description"}}}
    an unknown mode: 400 {"error":{"message":"mode must be one of: chat, coding, research","code":"invalid_parameter","details":{"param":"mode"}}}
    a model without a provider: 400 {"error":{"message":"model: a model is written provider/model, such as openai/gpt-5, not \"gpt\"","code":"invalid_parameter","details":{"param":"model"}}}
    a model of a provider without a key: 400 {"error":{"message":"model can not be used: the provider refused the request: openai/gpt-5 needs the provider \"openai\", and there is none of that name (there are: embedded); set OPENAI_API_KEY to have openai","code":"invalid_parameter","details":{"param":"model"}}}
    a long prompt: 400 {"error":{"message":"prompt must have at most 200000 characters, not 200001","code":"invalid_parameter","details":{"param":"prompt"}}}
    an unknown tool: 400 {"error":{"message":"tools names \"nothing\"; there are: <tools>","code":"invalid_parameter","details":{"param":"tools"}}}
    a tool twice: 400 {"error":{"message":"tools names \"web_fetch\" twice","code":"invalid_parameter","details":{"param":"tools"}}}
    a tool that is a name: 400 {"error":{"message":"tools[0]: invalid type: string \"corpus_read\", expected an object","code":"invalid_parameter","details":{"param":"tools[0]"}}}
    a tool with an unknown field: 400 {"error":{"message":"there is no field tools[0].mode, expected `name` or `approval`","code":"invalid_parameter","details":{"param":"tools[0].mode"}}}
    too many turns: 400 {"error":{"message":"historyTurns must be an integer from 0 to 1000, not 1001","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    no tokens: 400 {"error":{"message":"maxOutputTokens must be an integer from 1 to 1000000, not 0","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    too many tokens: 400 {"error":{"message":"maxOutputTokens must be an integer from 1 to 1000000, not 1000001","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    no cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 100, not 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    too many cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 100, not 101","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    no time: 400 {"error":{"message":"timeoutSeconds must be an integer from 1 to 86400, not 0","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    too much time: 400 {"error":{"message":"timeoutSeconds must be an integer from 1 to 86400, not 86401","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    an output of an unknown type: 400 {"error":{"message":"output.type: unknown variant `xml`, expected one of `text`, `json_object`, `json_schema`","code":"invalid_parameter","details":{"param":"output.type"}}}
    an output without a schema: 400 {"error":{"message":"output.schema is required","code":"missing_parameter","details":{"param":"output.schema"}}}
    an output with a schema that is none: 400 {"error":{"message":"output holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","code":"invalid_parameter","details":{"param":"output"}}}
    an output with an unknown field: 400 {"error":{"message":"there is no field output.more, there are no fields","code":"invalid_parameter","details":{"param":"output.more"}}}
    an unknown document: 400 {"error":{"message":"contexts names the document <id>, and there is none of this id","code":"invalid_parameter","details":{"param":"contexts"}}}
    a document that is no id: 400 {"error":{"message":"contexts[0]: UUID parsing failed: invalid character: found `x` at 0","code":"invalid_parameter","details":{"param":"contexts[0]"}}}
    an unknown policy: 400 {"error":{"message":"whenBusy: unknown variant `wait`, expected one of `enqueue`, `reject`, `interrupt`","code":"invalid_parameter","details":{"param":"whenBusy"}}}
    no time for sessions: 400 {"error":{"message":"sessionTtlSeconds must be an integer from 1 to 316224000, not 0","code":"invalid_parameter","details":{"param":"sessionTtlSeconds"}}}
    too much time for sessions: 400 {"error":{"message":"sessionTtlSeconds must be an integer from 1 to 316224000, not 316224001","code":"invalid_parameter","details":{"param":"sessionTtlSeconds"}}}
    no team: 400 {"error":{"message":"teamId: invalid value: integer `0`, expected an integer from 1","code":"invalid_parameter","details":{"param":"teamId"}}}
    an unknown team: 404 {"error":{"message":"there is no team 7","code":"not_found"}}
    # GET /v1/agents
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:read","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    ?limit=0: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=201: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?cursor=x: 400 {"error":{"message":"cursor must be the next of an earlier page","code":"invalid_parameter","details":{"param":"cursor"}}}
    ?teamId=0: 400 {"error":{"message":"teamId must be an integer from 1","code":"invalid_parameter","details":{"param":"teamId"}}}
    ?teamId=x: 400 {"error":{"message":"teamId must be an integer from 1","code":"invalid_parameter","details":{"param":"teamId"}}}
    ?page=2: 400 {"error":{"message":"there is no parameter \"page\" here; there are: limit, cursor, teamId, name","code":"invalid_parameter","details":{"param":"page"}}}
    ?name=a&name=b: 400 {"error":{"message":"name is given more than once","code":"invalid_parameter","details":{"param":"name"}}}
    "#);
}

#[tokio::test]
async fn one_agent() {
    let (host, keys) = host().await;
    with_agent(&host).await;
    let mut bad = BadInput::new(&host, &keys);
    bad.route(&Route::new(Method::GET, "/v1/agents/a", None)).await;
    for path in ["/v1/agents/b", "/v1/agents/0192f000-0000-7000-8000-000000000001", "/v1/agents/%FF"] {
        bad.path(path, Method::GET, path).await;
    }
    let mut body = whole_agent();
    body["version"] = json!(1);
    let change = Route::new(Method::PATCH, "/v1/agents/a", Some(&body));
    bad.route(&change).await;
    bad.json("a name that is null", Method::PATCH, "/v1/agents/a", &json!({"name": null})).await;
    bad.json("a version that is null", Method::PATCH, "/v1/agents/a", &json!({"version": null})).await;
    bad.with("another version", &change, json!({"version": 2})).await;
    bad.json("an unknown agent", Method::PATCH, "/v1/agents/b", &json!({"prompt": "p"})).await;
    for (case, fields) in wrong_agents() {
        bad.json(case, Method::PATCH, "/v1/agents/a", &fields).await;
    }
    for tag in ["1", "W/\"1\"", "\"x\"", "\"2\""] {
        let request = host.request(Method::PATCH, "/v1/agents/a").header("if-match", tag).json(&json!({"prompt": "p"}));
        bad.send(&format!("If-Match: {tag}"), request).await;
    }
    bad.route(&Route::new(Method::DELETE, "/v1/agents/a", None)).await;
    bad.path("an unknown agent", Method::DELETE, "/v1/agents/b").await;
    let (_, agent) = host.json(Method::GET, "/v1/agents/a", None).await;
    assert_eq!(agent["version"], 1, "nothing of all this has changed it");
    assert_snapshot!(bad.table(), @r#"
    # GET /v1/agents/a
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:read","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    /v1/agents/b: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    /v1/agents/0192f000-0000-7000-8000-000000000001: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    /v1/agents/%FF: 404 {"error":{"message":"there is nothing at a path that is not UTF-8","code":"not_found"}}
    # PATCH /v1/agents/a
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:write","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected one of `version`, `name`, `description`, `mode`, `model`, `fallbackModels`, `modelTimeoutSeconds`, `modelOptions`, `prompt`, `tools`, `historyTurns`, `maxOutputTokens`, `maxCycles`, `timeoutSeconds`, `output`, `contexts`, `corpora`, `agents`, `whenBusy`, `sessionTtlSeconds`, `budget`, `teamId`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 273","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected one of `version`, `name`, `description`, `mode`, `model`, `fallbackModels`, `modelTimeoutSeconds`, `modelOptions`, `prompt`, `tools`, `historyTurns`, `maxOutputTokens`, `maxCycles`, `timeoutSeconds`, `output`, `contexts`, `corpora`, `agents`, `whenBusy`, `sessionTtlSeconds`, `budget`, `teamId`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /contexts = true: 400 {"error":{"message":"contexts: invalid type: boolean `true`, expected an array","code":"invalid_parameter","details":{"param":"contexts"}}}
    /description = true: 400 {"error":{"message":"description: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"description"}}}
    /historyTurns = true: 400 {"error":{"message":"historyTurns: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    /maxCycles = true: 400 {"error":{"message":"maxCycles: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    /maxOutputTokens = true: 400 {"error":{"message":"maxOutputTokens: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    /mode = true: 400 {"error":{"message":"mode: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"mode"}}}
    /model = true: 400 {"error":{"message":"model: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"model"}}}
    /name = true: 400 {"error":{"message":"name: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"name"}}}
    /output = true: 400 {"error":{"message":"output: invalid type: boolean `true`, expected an object","code":"invalid_parameter","details":{"param":"output"}}}
    /output/type = true: 400 {"error":{"message":"output.type: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"output.type"}}}
    /prompt = true: 400 {"error":{"message":"prompt: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"prompt"}}}
    /sessionTtlSeconds = true: 400 {"error":{"message":"sessionTtlSeconds: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"sessionTtlSeconds"}}}
    /teamId = true: 400 {"error":{"message":"teamId: invalid type: boolean `true`, expected an integer from 1","code":"invalid_parameter","details":{"param":"teamId"}}}
    /timeoutSeconds = true: 400 {"error":{"message":"timeoutSeconds: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    /tools = true: 400 {"error":{"message":"tools: invalid type: boolean `true`, expected an array","code":"invalid_parameter","details":{"param":"tools"}}}
    /version = true: 400 {"error":{"message":"version: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"version"}}}
    /whenBusy = true: 400 {"error":{"message":"whenBusy: invalid type, expected a string","code":"invalid_parameter","details":{"param":"whenBusy"}}}
    a name that is null: 400 {"error":{"message":"name: invalid type: null, expected a string","code":"invalid_parameter","details":{"param":"name"}}}
    a version that is null: 400 {"error":{"message":"version: invalid type: null, expected an integer from 0","code":"invalid_parameter","details":{"param":"version"}}}
    another version: 409 {"error":{"message":"the agent is in version 1 by now, not in version 2; read it again and repeat the change","code":"conflict","details":{"param":"version"}}}
    an unknown agent: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    an empty name: 400 {"error":{"message":"name must have 1 to 128 characters, not 0","code":"invalid_parameter","details":{"param":"name"}}}
    a name that is an id: 400 {"error":{"message":"name must not be a UUID: those are ids","code":"invalid_parameter","details":{"param":"name"}}}
    a long name: 400 {"error":{"message":"name must have 1 to 128 characters, not 129","code":"invalid_parameter","details":{"param":"name"}}}
    a name with a line break: 400 {"error":{"message":"name must not begin or end with a space, nor hold a line break or a tab","code":"invalid_parameter","details":{"param":"name"}}}
    a long description: 400 {"error":{"message":"description must have at most 4000 characters, not 4001","code":"invalid_parameter","details":{"param":"description"}}}
    a description with a control character: 400 {"error":{"message":"description must not hold the control character U+001B","code":"invalid_parameter","details":{"param":"description"}}}
    an unknown mode: 400 {"error":{"message":"mode must be one of: chat, coding, research","code":"invalid_parameter","details":{"param":"mode"}}}
    a model without a provider: 400 {"error":{"message":"model: a model is written provider/model, such as openai/gpt-5, not \"gpt\"","code":"invalid_parameter","details":{"param":"model"}}}
    a model of a provider without a key: 400 {"error":{"message":"model can not be used: the provider refused the request: openai/gpt-5 needs the provider \"openai\", and there is none of that name (there are: embedded); set OPENAI_API_KEY to have openai","code":"invalid_parameter","details":{"param":"model"}}}
    a long prompt: 400 {"error":{"message":"prompt must have at most 200000 characters, not 200001","code":"invalid_parameter","details":{"param":"prompt"}}}
    an unknown tool: 400 {"error":{"message":"tools names \"nothing\"; there are: <tools>","code":"invalid_parameter","details":{"param":"tools"}}}
    a tool twice: 400 {"error":{"message":"tools names \"web_fetch\" twice","code":"invalid_parameter","details":{"param":"tools"}}}
    a tool that is a name: 400 {"error":{"message":"tools[0]: invalid type: string \"corpus_read\", expected an object","code":"invalid_parameter","details":{"param":"tools[0]"}}}
    a tool with an unknown field: 400 {"error":{"message":"there is no field tools[0].mode, expected `name` or `approval`","code":"invalid_parameter","details":{"param":"tools[0].mode"}}}
    too many turns: 400 {"error":{"message":"historyTurns must be an integer from 0 to 1000, not 1001","code":"invalid_parameter","details":{"param":"historyTurns"}}}
    no tokens: 400 {"error":{"message":"maxOutputTokens must be an integer from 1 to 1000000, not 0","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    too many tokens: 400 {"error":{"message":"maxOutputTokens must be an integer from 1 to 1000000, not 1000001","code":"invalid_parameter","details":{"param":"maxOutputTokens"}}}
    no cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 100, not 0","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    too many cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 100, not 101","code":"invalid_parameter","details":{"param":"maxCycles"}}}
    no time: 400 {"error":{"message":"timeoutSeconds must be an integer from 1 to 86400, not 0","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    too much time: 400 {"error":{"message":"timeoutSeconds must be an integer from 1 to 86400, not 86401","code":"invalid_parameter","details":{"param":"timeoutSeconds"}}}
    an output of an unknown type: 400 {"error":{"message":"output.type: unknown variant `xml`, expected one of `text`, `json_object`, `json_schema`","code":"invalid_parameter","details":{"param":"output.type"}}}
    an output without a schema: 400 {"error":{"message":"output.schema is required","code":"missing_parameter","details":{"param":"output.schema"}}}
    an output with a schema that is none: 400 {"error":{"message":"output holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","code":"invalid_parameter","details":{"param":"output"}}}
    an output with an unknown field: 400 {"error":{"message":"there is no field output.more, there are no fields","code":"invalid_parameter","details":{"param":"output.more"}}}
    an unknown document: 400 {"error":{"message":"contexts names the document <id>, and there is none of this id","code":"invalid_parameter","details":{"param":"contexts"}}}
    a document that is no id: 400 {"error":{"message":"contexts[0]: UUID parsing failed: invalid character: found `x` at 0","code":"invalid_parameter","details":{"param":"contexts[0]"}}}
    an unknown policy: 400 {"error":{"message":"whenBusy: unknown variant `wait`, expected one of `enqueue`, `reject`, `interrupt`","code":"invalid_parameter","details":{"param":"whenBusy"}}}
    no time for sessions: 400 {"error":{"message":"sessionTtlSeconds must be an integer from 1 to 316224000, not 0","code":"invalid_parameter","details":{"param":"sessionTtlSeconds"}}}
    too much time for sessions: 400 {"error":{"message":"sessionTtlSeconds must be an integer from 1 to 316224000, not 316224001","code":"invalid_parameter","details":{"param":"sessionTtlSeconds"}}}
    no team: 400 {"error":{"message":"teamId: invalid value: integer `0`, expected an integer from 1","code":"invalid_parameter","details":{"param":"teamId"}}}
    an unknown team: 404 {"error":{"message":"there is no team 7","code":"not_found"}}
    If-Match: 1: 400 {"error":{"message":"If-Match must be one version in quotes, as the ETag of an agent has it, or *","code":"invalid_parameter","details":{"param":"If-Match"}}}
    If-Match: W/"1": 400 {"error":{"message":"If-Match must be one version in quotes, as the ETag of an agent has it, or *","code":"invalid_parameter","details":{"param":"If-Match"}}}
    If-Match: "x": 400 {"error":{"message":"If-Match must be one version in quotes, as the ETag of an agent has it, or *","code":"invalid_parameter","details":{"param":"If-Match"}}}
    If-Match: "2": 409 {"error":{"message":"the agent is in version 1 by now, not in version 2; read it again and repeat the change","code":"conflict","details":{"param":"version"}}}
    # DELETE /v1/agents/a
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:write","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown agent: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    "#);
}

#[tokio::test]
async fn versions_teams_and_models() {
    let (host, keys) = host().await;
    with_agent(&host).await;
    let mut bad = BadInput::new(&host, &keys);
    bad.route(&Route::new(Method::GET, "/v1/agents/a/versions", None)).await;
    bad.path("an unknown agent", Method::GET, "/v1/agents/b/versions").await;
    wrong_queries(&mut bad, "/v1/agents/a/versions", &["limit=0", "cursor=x", "page=1"]).await;
    bad.route(&Route::new(Method::GET, "/v1/agents/a/versions/1", None)).await;
    for version in ["0", "2", "x", "-1", "99999999999999999999"] {
        let path = format!("/v1/agents/a/versions/{version}");
        bad.path(&path, Method::GET, &path).await;
    }
    bad.route(&Route::new(Method::GET, "/v1/agents/a/versions/1/diff?with=1", None)).await;
    wrong_queries(&mut bad, "/v1/agents/a/versions/1/diff", &["", "with=2", "with=x", "with=1&more=1"]).await;
    let body = json!({"version": 1});
    let route = Route { not: Method::GET, ..Route::new(Method::POST, "/v1/agents/a/rollback", Some(&body)) };
    bad.route(&route).await;
    bad.with("no version", &route, json!({"version": null})).await;
    bad.with("an unknown version", &route, json!({"version": 2})).await;
    bad.json("an unknown agent", Method::POST, "/v1/agents/b/rollback", &body).await;

    bad.route(&Route::new(Method::GET, "/v1/teams", None)).await;
    wrong_queries(&mut bad, "/v1/teams", &["limit=1"]).await;
    let body = json!({"name": "n"});
    let route = Route::new(Method::POST, "/v1/teams", Some(&body));
    bad.route(&route).await;
    for (case, name) in [("an empty name", String::new()), ("white space", " ".to_owned()), ("a long name", long(129))]
    {
        bad.with(case, &route, json!({"name": name})).await;
    }
    bad.with("a control character", &route, json!({"name": "a\u{7}"})).await;
    bad.with("no name", &route, json!({"name": null})).await;
    bad.send("no key", host.client().get(host.url("/v1/models"))).await;
    bad.path("with POST", Method::POST, "/v1/models").await;
    wrong_queries(&mut bad, "/v1/models", &["limit=1"]).await;
    assert_snapshot!(bad.table(), @r#"
    # GET /v1/agents/a/versions
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:read","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown agent: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    ?limit=0: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?cursor=x: 400 {"error":{"message":"cursor must be the next of an earlier page","code":"invalid_parameter","details":{"param":"cursor"}}}
    ?page=1: 400 {"error":{"message":"there is no parameter \"page\" here; there are: limit, cursor","code":"invalid_parameter","details":{"param":"page"}}}
    # GET /v1/agents/a/versions/1
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:read","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    /v1/agents/a/versions/0: 404 {"error":{"message":"the agent has no version 0","code":"not_found"}}
    /v1/agents/a/versions/2: 404 {"error":{"message":"the agent has no version 2","code":"not_found"}}
    /v1/agents/a/versions/x: 404 {"error":{"message":"the agent has no such version","code":"not_found"}}
    /v1/agents/a/versions/-1: 404 {"error":{"message":"the agent has no such version","code":"not_found"}}
    /v1/agents/a/versions/99999999999999999999: 404 {"error":{"message":"the agent has no such version","code":"not_found"}}
    # GET /v1/agents/a/versions/1/diff?with=1
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:read","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    ?: 400 {"error":{"message":"with is required","code":"missing_parameter","details":{"param":"with"}}}
    ?with=2: 404 {"error":{"message":"the agent has no version 2","code":"not_found"}}
    ?with=x: 400 {"error":{"message":"with must be the number of a version","code":"invalid_parameter","details":{"param":"with"}}}
    ?with=1&more=1: 400 {"error":{"message":"there is no parameter \"more\" here; there are: with","code":"invalid_parameter","details":{"param":"more"}}}
    # POST /v1/agents/a/rollback
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:write","code":"scope_missing"}}
    with GET: 405 {"error":{"message":"this path does not take GET; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected `version`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 14","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected `version`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /version = true: 400 {"error":{"message":"version: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"version"}}}
    no version: 400 {"error":{"message":"version is required","code":"missing_parameter","details":{"param":"version"}}}
    an unknown version: 404 {"error":{"message":"the agent has no version 2","code":"not_found"}}
    an unknown agent: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    # GET /v1/teams
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:read","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    ?limit=1: 400 {"error":{"message":"there is no parameter \"limit\" here; this path takes none","code":"invalid_parameter","details":{"param":"limit"}}}
    # POST /v1/teams
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope agents:write","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected `name`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 13","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected `name`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /name = true: 400 {"error":{"message":"name: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"name"}}}
    an empty name: 400 {"error":{"message":"name must have 1 to 128 characters, not 0","code":"invalid_parameter","details":{"param":"name"}}}
    white space: 400 {"error":{"message":"name must have 1 to 128 characters, not 1","code":"invalid_parameter","details":{"param":"name"}}}
    a long name: 400 {"error":{"message":"name must have 1 to 128 characters, not 129","code":"invalid_parameter","details":{"param":"name"}}}
    a control character: 400 {"error":{"message":"name must not hold the control character U+0007","code":"invalid_parameter","details":{"param":"name"}}}
    no name: 400 {"error":{"message":"name is required","code":"missing_parameter","details":{"param":"name"}}}
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    with POST: 405 {"error":{"message":"this path does not take POST; the Allow header says what it takes","code":"method_not_allowed"}}
    ?limit=1: 400 {"error":{"message":"there is no parameter \"limit\" here; this path takes none","code":"invalid_parameter","details":{"param":"limit"}}}
    "#);
}

#[tokio::test]
async fn sessions() {
    let (host, keys) = host().await;
    with_session(&host).await;
    let mut bad = BadInput::new(&host, &keys);
    let body = json!({"id": "t", "agentId": "a", "title": "T", "ttlSeconds": 60});
    let route = Route::new(Method::POST, "/v1/sessions", Some(&body));
    bad.route(&route).await;
    let cases = [
        ("an unknown agent", json!({})),
        ("an id that is taken", json!({"id": "s", "agentId": null})),
        ("an id with a space", json!({"id": "a b"})),
        ("an empty id", json!({"id": ""})),
        ("a long id", json!({"id": long(129)})),
        ("an empty title", json!({"title": "", "agentId": null})),
        ("a long title", json!({"title": long(201), "agentId": null})),
        ("a title of two lines", json!({"title": "a\nb", "agentId": null})),
        ("no time", json!({"ttlSeconds": 0})),
        ("too much time", json!({"ttlSeconds": 316_224_001})),
    ];
    for (case, fields) in cases {
        bad.with(case, &route, fields).await;
    }
    bad.route(&Route::new(Method::GET, "/v1/sessions", None)).await;
    wrong_queries(&mut bad, "/v1/sessions", &["limit=0", "limit=201", "cursor=x", "cursor=-1", "page=2"]).await;
    bad.route(&Route::new(Method::GET, "/v1/sessions/s", None)).await;
    for path in ["/v1/sessions/x", "/v1/sessions/a%20b", "/v1/sessions/%FF"] {
        bad.path(path, Method::GET, path).await;
    }
    let body = json!({"title": "T"});
    let route = Route::new(Method::PATCH, "/v1/sessions/s", Some(&body));
    bad.route(&route).await;
    bad.with("no title", &route, json!({"title": null})).await;
    bad.with("an empty title", &route, json!({"title": ""})).await;
    bad.with("a long title", &route, json!({"title": long(201)})).await;
    bad.json("an unknown session", Method::PATCH, "/v1/sessions/x", &body).await;
    bad.route(&Route::new(Method::DELETE, "/v1/sessions/s", None)).await;
    bad.path("an unknown session", Method::DELETE, "/v1/sessions/x").await;
    bad.route(&Route::new(Method::GET, "/v1/sessions/s/messages", None)).await;
    bad.path("an unknown session", Method::GET, "/v1/sessions/x/messages").await;
    let queries = ["limit=0", "limit=201", "after=-1", "before=x", "after=1&after=2", "page=2"];
    wrong_queries(&mut bad, "/v1/sessions/s/messages", &queries).await;
    bad.route(&Route::new(Method::GET, "/v1/sessions/s/export", None)).await;
    bad.path("an unknown session", Method::GET, "/v1/sessions/x/export").await;
    wrong_queries(&mut bad, "/v1/sessions/s/export", &["format=pdf", "format=", "more=1"]).await;
    assert_snapshot!(bad.table(), @r#"
    # POST /v1/sessions
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected one of `id`, `agentId`, `title`, `ttlSeconds`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 53","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected one of `id`, `agentId`, `title`, `ttlSeconds`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /agentId = true: 400 {"error":{"message":"agentId: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"agentId"}}}
    /id = true: 400 {"error":{"message":"id: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"id"}}}
    /title = true: 400 {"error":{"message":"title: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"title"}}}
    /ttlSeconds = true: 400 {"error":{"message":"ttlSeconds: invalid type: boolean `true`, expected an integer from 0","code":"invalid_parameter","details":{"param":"ttlSeconds"}}}
    an unknown agent: 404 {"error":{"message":"there is no such agent","code":"not_found"}}
    an id that is taken: 409 {"error":{"message":"there is a session with the id s already","code":"conflict","details":{"param":"id"}}}
    an id with a space: 400 {"error":{"message":"id: a session id must be 1 to 128 visible ASCII characters, not \"a b\"","code":"invalid_parameter","details":{"param":"id"}}}
    an empty id: 400 {"error":{"message":"id: a session id must be 1 to 128 visible ASCII characters, not \"\"","code":"invalid_parameter","details":{"param":"id"}}}
    a long id: 400 {"error":{"message":"id: a session id must be 1 to 128 visible ASCII characters, not \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"","code":"invalid_parameter","details":{"param":"id"}}}
    an empty title: 400 {"error":{"message":"title must have 1 to 200 characters and no control characters","code":"invalid_parameter","details":{"param":"title"}}}
    a long title: 400 {"error":{"message":"title must have 1 to 200 characters and no control characters","code":"invalid_parameter","details":{"param":"title"}}}
    a title of two lines: 400 {"error":{"message":"title must have 1 to 200 characters and no control characters","code":"invalid_parameter","details":{"param":"title"}}}
    no time: 400 {"error":{"message":"ttlSeconds must be an integer from 1 to 316224000","code":"invalid_parameter","details":{"param":"ttlSeconds"}}}
    too much time: 400 {"error":{"message":"ttlSeconds must be an integer from 1 to 316224000","code":"invalid_parameter","details":{"param":"ttlSeconds"}}}
    # GET /v1/sessions
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    ?limit=0: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=201: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?cursor=x: 400 {"error":{"message":"cursor must be the next of an earlier page","code":"invalid_parameter","details":{"param":"cursor"}}}
    ?cursor=-1: 400 {"error":{"message":"cursor must be the next of an earlier page","code":"invalid_parameter","details":{"param":"cursor"}}}
    ?page=2: 400 {"error":{"message":"there is no parameter \"page\" here; there are: limit, cursor, agentId","code":"invalid_parameter","details":{"param":"page"}}}
    # GET /v1/sessions/s
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    /v1/sessions/x: 404 {"error":{"message":"there is no such session","code":"not_found"}}
    /v1/sessions/a%20b: 404 {"error":{"message":"there is no such session","code":"not_found"}}
    /v1/sessions/%FF: 404 {"error":{"message":"there is nothing at a path that is not UTF-8","code":"not_found"}}
    # PATCH /v1/sessions/s
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    no body: 400 {"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}
    broken JSON: 400 {"error":{"message":"there is no field a, expected `title`","code":"invalid_parameter","details":{"param":"a"}}}
    an array: 400 {"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}
    a number: 400 {"error":{"message":"the body is not as documented: invalid type: integer `7`, expected an object","code":"invalid_request"}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"unsupported_media_type"}}
    two bodies: 400 {"error":{"message":"the body is not JSON: trailing characters at line 1 column 14","code":"invalid_request"}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","code":"request_too_large"}}
    an unknown field: 400 {"error":{"message":"there is no field unheardOf, expected `title`","code":"invalid_parameter","details":{"param":"unheardOf"}}}
    /title = true: 400 {"error":{"message":"title: invalid type: boolean `true`, expected a string","code":"invalid_parameter","details":{"param":"title"}}}
    no title: 400 {"error":{"message":"title is required","code":"missing_parameter","details":{"param":"title"}}}
    an empty title: 400 {"error":{"message":"title must have 1 to 200 characters and no control characters","code":"invalid_parameter","details":{"param":"title"}}}
    a long title: 400 {"error":{"message":"title must have 1 to 200 characters and no control characters","code":"invalid_parameter","details":{"param":"title"}}}
    an unknown session: 404 {"error":{"message":"there is no such session","code":"not_found"}}
    # DELETE /v1/sessions/s
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown session: 404 {"error":{"message":"there is no such session","code":"not_found"}}
    # GET /v1/sessions/s/messages
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown session: 404 {"error":{"message":"there is no such session","code":"not_found"}}
    ?limit=0: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?limit=201: 400 {"error":{"message":"limit must be an integer from 1 to 200","code":"invalid_parameter","details":{"param":"limit"}}}
    ?after=-1: 400 {"error":{"message":"after must be the number of a message, from 0 on","code":"invalid_parameter","details":{"param":"after"}}}
    ?before=x: 400 {"error":{"message":"before must be the number of a message, from 0 on","code":"invalid_parameter","details":{"param":"before"}}}
    ?after=1&after=2: 400 {"error":{"message":"after is given more than once","code":"invalid_parameter","details":{"param":"after"}}}
    ?page=2: 400 {"error":{"message":"there is no parameter \"page\" here; there are: limit, after, before","code":"invalid_parameter","details":{"param":"page"}}}
    # GET /v1/sessions/s/export
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"invalid_api_key"}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","code":"invalid_api_key"}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","code":"scope_missing"}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","code":"method_not_allowed"}}
    an unknown session: 404 {"error":{"message":"there is no such session","code":"not_found"}}
    ?format=pdf: 400 {"error":{"message":"format must be json or markdown","code":"invalid_parameter","details":{"param":"format"}}}
    ?format=: 400 {"error":{"message":"format must be json or markdown","code":"invalid_parameter","details":{"param":"format"}}}
    ?more=1: 400 {"error":{"message":"there is no parameter \"more\" here; there are: format","code":"invalid_parameter","details":{"param":"more"}}}
    "#);
}

#[tokio::test]
async fn the_assisters_dialect() {
    let (host, keys) = host().await;
    let mut bad = BadInput::new(&host, &keys);
    let body = json!({"query": "q", "mode": "chat", "sessionId": "s", "maxCycles": 1});
    let route = Route { lets_unknown_fields_through: true, ..Route::new(Method::POST, "/v1/agent/run", Some(&body)) };
    bad.route(&route).await;
    let cases = [
        ("no query", json!({"query": null})),
        ("an empty query", json!({"query": " "})),
        ("a long query", json!({"query": long((128 << 10) + 1)})),
        ("an unknown mode", json!({"mode": "poet"})),
        ("no mode", json!({"mode": ""})),
        ("a session's id with a space", json!({"sessionId": "a b"})),
        ("a long session's id", json!({"sessionId": long(129)})),
        ("no cycles", json!({"maxCycles": 0})),
        ("too many cycles", json!({"maxCycles": 9})),
        ("half a cycle", json!({"maxCycles": 0.5})),
    ];
    for (case, fields) in cases {
        bad.with(case, &route, fields).await;
    }
    let long_key = host.request(Method::POST, "/v1/agent/run").header("idempotency-key", long(256)).json(&body);
    bad.send("a long key", long_key).await;
    bad.route(&Route::new(Method::GET, "/v1/agent/stream?query=q", None)).await;
    let queries = [
        "",
        "query=",
        "query=%20",
        "query=q&mode=",
        "query=q&mode=poet",
        "query=q&sessionId=",
        "query=q&maxCycles=0",
        "query=q&maxCycles=9",
        "query=q&maxCycles=x",
        "query=q&query=r",
        "query=%FF",
    ];
    wrong_queries(&mut bad, "/v1/agent/stream", &queries).await;
    bad.send("no key", host.client().get(host.url("/v1/rate-limit"))).await;
    bad.path("with POST", Method::POST, "/v1/rate-limit").await;
    bad.path("an unknown path", Method::GET, "/v1/agent/walk").await;
    assert_snapshot!(bad.table(), @r#"
    # POST /v1/agent/run
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","type":"authentication_error","code":"invalid_api_key","param":null}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","type":"authentication_error","code":"invalid_api_key","param":null}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","type":"permission_error","code":"scope_missing","param":null}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","type":"invalid_request_error","code":"method_not_allowed","param":null}}
    no body: 400 {"error":{"message":"the body is not a JSON object as documented: EOF while parsing a value at line 1 column 0","type":"invalid_request_error","code":"invalid_request","param":null}}
    broken JSON: 400 {"error":{"message":"the body is not a JSON object as documented: EOF while parsing a value at line 1 column 5","type":"invalid_request_error","code":"invalid_request","param":null}}
    an array: 400 {"error":{"message":"the body is not a JSON object as documented: invalid length 0, expected a JSON object at line 1 column 2","type":"invalid_request_error","code":"invalid_request","param":null}}
    a number: 400 {"error":{"message":"the body is not a JSON object as documented: invalid type: integer `7`, expected a JSON object at line 1 column 1","type":"invalid_request_error","code":"invalid_request","param":null}}
    a form: 415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","type":"invalid_request_error","code":"unsupported_media_type","param":null}}
    two bodies: 400 {"error":{"message":"the body is not a JSON object as documented: trailing characters at line 1 column 58","type":"invalid_request_error","code":"invalid_request","param":null}}
    too much: 413 {"error":{"message":"the body is larger than 1048576 bytes","type":"invalid_request_error","code":"request_too_large","param":null}}
    /maxCycles = true: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    /mode = true: 400 {"error":{"message":"mode must be a string","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}
    /query = true: 400 {"error":{"message":"query must be a string","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}
    /sessionId = true: 400 {"error":{"message":"sessionId must be a string","type":"invalid_request_error","code":"invalid_parameter","param":"sessionId"}}
    no query: 400 {"error":{"message":"query is required","type":"invalid_request_error","code":"missing_parameter","param":"query"}}
    an empty query: 400 {"error":{"message":"query must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}
    a long query: 400 {"error":{"message":"query must be at most 131072 bytes of UTF-8, not 131073","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}
    an unknown mode: 400 {"error":{"message":"there is no mode \"poet\"; there are: chat, coding, research","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}
    no mode: 400 {"error":{"message":"mode must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}
    a session's id with a space: 400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","type":"invalid_request_error","code":"invalid_parameter","param":"sessionId"}}
    a long session's id: 400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","type":"invalid_request_error","code":"invalid_parameter","param":"sessionId"}}
    no cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    too many cycles: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    half a cycle: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    a long key: 400 {"error":{"message":"Idempotency-Key must be 1 to 255 visible ASCII characters, once","type":"invalid_request_error","code":"invalid_parameter","param":"Idempotency-Key"}}
    # GET /v1/agent/stream?query=q
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","type":"authentication_error","code":"invalid_api_key","param":null}}
    a wrong key: 401 {"error":{"message":"this API key is not valid","type":"authentication_error","code":"invalid_api_key","param":null}}
    a key for other things: 403 {"error":{"message":"this needs a key with the scope runs","type":"permission_error","code":"scope_missing","param":null}}
    with PUT: 405 {"error":{"message":"this path does not take PUT; the Allow header says what it takes","type":"invalid_request_error","code":"method_not_allowed","param":null}}
    ?: 400 {"error":{"message":"query is required","type":"invalid_request_error","code":"missing_parameter","param":"query"}}
    ?query=: 400 {"error":{"message":"query must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}
    ?query=%20: 400 {"error":{"message":"query must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}
    ?query=q&mode=: 400 {"error":{"message":"mode must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}
    ?query=q&mode=poet: 400 {"error":{"message":"there is no mode \"poet\"; there are: chat, coding, research","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}
    ?query=q&sessionId=: 400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","type":"invalid_request_error","code":"invalid_parameter","param":"sessionId"}}
    ?query=q&maxCycles=0: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    ?query=q&maxCycles=9: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    ?query=q&maxCycles=x: 400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}
    ?query=q&query=r: 400 {"error":{"message":"query is given more than once","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}
    ?query=%FF: 400 {"error":{"message":"the query string must be percent-encoded UTF-8","type":"invalid_request_error","code":"invalid_request","param":null}}
    no key: 401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","type":"authentication_error","code":"invalid_api_key","param":null}}
    with POST: 405 {"error":{"message":"this path does not take POST; the Allow header says what it takes","type":"invalid_request_error","code":"method_not_allowed","param":null}}
    an unknown path: 404 {"error":{"message":"there is no GET /v1/agent/walk","type":"invalid_request_error","code":"not_found","param":null}}
    "#);
}
