//! Tenants and keys over the API: who may make which, in which forms, from where they may be used, and that the end of a key is the
//! end of all that was opened with it.

use std::time::Duration;

use insta::assert_snapshot;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use vivarium_domain::Timestamp;
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream, soon};

const EVERYTHING: [&str; 6] = ["runs", "agents:read", "agents:write", "plugins", "secrets", "keys"];

/// A key that was made: its public id, and itself.
struct Key {
    id: String,
    text: String,
}

async fn made(host: &Host, by: &str, path: &str, body: Value) -> Value {
    let (status, told) = host.json_as(by, Method::POST, path, Some(&body)).await;
    assert_eq!(status, 201, "{path} {body}: {told}");
    told
}

async fn new_key(host: &Host, by: &str, body: Value) -> Key {
    Key::of(&made(host, by, "/v1/keys", body).await)
}

impl Key {
    fn of(told: &Value) -> Self {
        let text = |field: &str| told[field].as_str().unwrap().to_owned();
        Self { id: text("id"), text: text("key") }
    }
}

/// A tenant of this tier, with a key for everything but administration.
async fn new_tenant(host: &Host, id: &str, tier: &str) -> Key {
    made(host, host.key(), "/v1/admin/tenants", json!({"id": id, "tier": tier})).await;
    let path = format!("/v1/admin/tenants/{id}/keys");
    Key::of(&made(host, host.key(), &path, json!({"name": "first", "scopes": EVERYTHING})).await)
}

async fn status(host: &Host, key: &str, method: Method, path: &str, body: Option<Value>) -> u16 {
    host.json_as(key, method, path, body.as_ref()).await.0
}

#[tokio::test]
async fn a_key_of_each_form_works_in_every_dialect() {
    let host = Host::builder().start().await;
    for (format, prefix, length) in [("ask", "ask_", 47), ("sk_live", "sk_live_", 72), ("plain", "", 64)] {
        let told =
            made(&host, host.key(), "/v1/keys", json!({"name": format, "scopes": EVERYTHING, "format": format})).await;
        let key = Key::of(&told);
        assert!(key.text.starts_with(prefix) && key.text.len() == length, "{told}");
        assert_eq!(told["hint"], format!("{prefix}\u{2026}{}", &key.text[length - 4..]));
        for path in ["/v1/rate-limit", "/v1/agents", "/api/assistants", "/api/v2/ai-agents/v1/agents?teamId=1"] {
            assert_eq!(status(&host, &key.text, Method::GET, path, None).await, 200, "{format} {path}");
        }
        let as_token = host.client().get(host.url("/api/v2/ai-agents/v1/agents?teamId=1"));
        let as_token = as_token.header("authorization", format!("Token {}", key.text));
        assert_eq!(host.send(as_token).await.status(), 200, "{format}");
        let (_, again) = host.json(Method::GET, &format!("/v1/keys/{}", key.id), None).await;
        assert!(!again.to_string().contains(&key.text) && again.get("key").is_none(), "{again}");
    }
}

#[tokio::test]
async fn nobody_gives_takes_or_changes_what_it_has_not() {
    let host = Host::builder().start().await;
    let (_, keys) = host.json(Method::GET, "/v1/keys", None).await;
    let admin = keys["data"][0]["id"].as_str().unwrap().to_owned();
    let keeper = new_key(&host, host.key(), json!({"name": "keeper", "scopes": ["keys", "runs"]})).await;
    let plugins = new_key(&host, host.key(), json!({"name": "plugins", "scopes": ["plugins"]})).await;
    let make = async |by: &str, scopes: Value| {
        host.json_as(by, Method::POST, "/v1/keys", Some(&json!({"name": "", "scopes": scopes}))).await
    };
    assert_eq!(make(&keeper.text, json!(["runs", "keys"])).await.0, 201);
    for scopes in [json!(["admin"]), json!(["runs", "plugins"])] {
        let (status, told) = make(&keeper.text, scopes).await;
        assert_eq!((status, &told["error"]["code"]), (403, &json!("scope_missing")), "{told}");
    }
    for (id, expected) in [(&admin, 403), (&plugins.id, 403)] {
        let path = format!("/v1/keys/{id}");
        assert_eq!(status(&host, &keeper.text, Method::GET, &path, None).await, 200);
        assert_eq!(status(&host, &keeper.text, Method::DELETE, &path, None).await, expected);
        assert_eq!(status(&host, &keeper.text, Method::PATCH, &path, Some(json!({"name": "mine"}))).await, expected);
        let rotate = format!("{path}/rotate");
        assert_eq!(status(&host, &keeper.text, Method::POST, &rotate, Some(json!({}))).await, expected);
    }
    // Without the scope there is nothing, and with it nothing of the operator's.
    assert_eq!(status(&host, &plugins.text, Method::GET, "/v1/keys", None).await, 403);
    for path in ["/v1/admin/tenants", "/v1/admin/tenants/default", "/v1/admin/tenants/default/keys"] {
        assert_eq!(status(&host, &keeper.text, Method::GET, path, None).await, 403, "{path}");
    }
    assert_eq!(status(&host, host.key(), Method::DELETE, &format!("/v1/keys/{}", plugins.id), None).await, 204);
    assert_eq!(status(&host, &plugins.text, Method::GET, "/v1/plugins", None).await, 401);
}

#[tokio::test]
async fn the_last_admin_key_of_the_host_can_not_be_revoked() {
    let host = Host::builder().start().await;
    let (_, keys) = host.json(Method::GET, "/v1/keys", None).await;
    let first = format!("/v1/keys/{}", keys["data"][0]["id"].as_str().unwrap());
    new_tenant(&host, "other", "max").await;
    // One that is over does not count.
    let soon_over = Timestamp::now().checked_add(Duration::from_millis(20)).unwrap();
    let over = new_key(&host, host.key(), json!({"name": "over", "scopes": ["admin"], "expiresAt": soon_over})).await;
    while status(&host, &over.text, Method::GET, "/v1/keys", None).await != 401 {}
    let (code, told) = host.json(Method::DELETE, &first, None).await;
    assert_eq!(code, 409);
    assert_snapshot!(told, @r#"{"error":{"code":"conflict","message":"this is the last key of the host with the scope admin: make another one before it is revoked"}}"#);
    // One of another tenant does.
    let path = "/v1/admin/tenants/other/keys";
    let second = Key::of(&made(&host, host.key(), path, json!({"name": "second", "scopes": ["admin"]})).await);
    assert_eq!(host.json(Method::DELETE, &first, None).await.0, 204);
    assert_eq!(status(&host, host.key(), Method::GET, "/v1/keys", None).await, 401);
    let path = format!("{path}/{}", second.id);
    assert_eq!(status(&host, &second.text, Method::DELETE, &path, None).await, 409);
}

#[tokio::test]
async fn tenants_are_made_listed_changed_and_found_nowhere_else() {
    let host = Host::builder().start().await;
    for id in ["b", "a", "cc"] {
        made(&host, host.key(), "/v1/admin/tenants", json!({"id": id})).await;
    }
    let (_, page) = host.json(Method::GET, "/v1/admin/tenants?limit=3", None).await;
    let ids = |page: &Value| page["data"].as_array().unwrap().iter().map(|t| t["id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids(&page), &page["next"]), (vec![json!("a"), json!("b"), json!("cc")], &json!("cc")));
    let (_, page) = host.json(Method::GET, "/v1/admin/tenants?limit=3&cursor=cc", None).await;
    assert_eq!((ids(&page), &page["next"]), (vec![json!("default")], &Value::Null));
    let post = async |body: Value| host.json(Method::POST, "/v1/admin/tenants", Some(&body)).await;
    assert_eq!(post(json!({"id": "a"})).await.0, 409);
    assert_eq!(post(json!({"id": "_operator"})).await.0, 400);
    assert_eq!(host.json(Method::PATCH, "/v1/admin/tenants/a", Some(&json!({"tier": "free"}))).await.1["tier"], "free");
    assert_eq!(host.json(Method::GET, "/v1/admin/tenants/a", None).await.1["tier"], "free");
    for path in ["nobody", "_operator", "Nobody", "nobody/keys", "_operator/keys"] {
        assert_eq!(host.json(Method::GET, &format!("/v1/admin/tenants/{path}"), None).await.0, 404, "{path}");
    }
    let key = json!({"name": "", "scopes": ["runs"]});
    for tenant in ["nobody", "_operator"] {
        let path = format!("/v1/admin/tenants/{tenant}/keys");
        assert_eq!(host.json(Method::POST, &path, Some(&key)).await.0, 404, "{tenant}");
    }
}

#[tokio::test]
async fn a_change_of_the_tier_counts_at_once_and_streams_go_on() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let key = new_tenant(&host, "acme", "pro").await;
    let ask = || host.client().get(host.url("/v1/agent/stream?query=q&mode=chat")).bearer_auth(&key.text);
    let set =
        async |tier: &str| host.json(Method::PATCH, "/v1/admin/tenants/acme", Some(&json!({"tier": tier}))).await.0;
    assert_eq!(host.send(ask()).await.status(), 403);
    assert_eq!(set("max").await, 200);
    let stream = SseStream::new(host.send(ask()).await);
    model.received(1).await;
    assert_eq!(set("free").await, 200);
    assert_eq!(host.send(ask()).await.status(), 403);
    let ended = tokio::spawn(stream.rest());
    // Requests that are answered meanwhile have found the stream open; and it is the key's still.
    assert_eq!(status(&host, &key.text, Method::GET, "/v1/rate-limit", None).await, 200);
    assert!(!ended.is_finished());
    assert_eq!(status(&host, &key.text, Method::DELETE, &format!("/v1/keys/{}", key.id), None).await, 204);
    let events = soon("the end of the stream", ended).await.unwrap();
    assert_eq!(events[events.len() - 2].json()["code"], "api_key_revoked");
}

/// How a stream is asked for, and what its last event but the mark says of a key that was revoked, or whose time was over.
struct Dialect {
    name: &'static str,
    request: fn(&Host) -> RequestBuilder,
    revoked: &'static str,
    expired: &'static str,
}

const DIALECTS: [Dialect; 4] = [
    Dialect {
        name: "Assisters",
        request: |host| host.client().get(host.url("/v1/agent/stream?query=q&mode=chat")),
        revoked: r#""code":"api_key_revoked""#,
        expired: r#""code":"api_key_expired""#,
    },
    Dialect {
        name: "hub",
        request: |host| host.client().post(host.url("/api/assistants/a/execute")).json(&json!({"userInput": "q"})),
        revoked: "UNAUTHORIZED",
        expired: "UNAUTHORIZED",
    },
    Dialect {
        name: "make",
        request: |host| {
            let path = "/api/v2/ai-agents/v1/agents/AGENT/run/stream?teamId=1";
            host.client().post(host.url(path)).json(&json!({"messages": [{"role": "user", "content": "q"}]}))
        },
        revoked: "Access denied.",
        expired: "Access denied.",
    },
    Dialect {
        name: "native",
        request: |host| host.client().post(host.url("/v1/runs")).json(&json!({"input": "q", "agentId": "a"})),
        revoked: r#""code":"api_key_revoked""#,
        expired: r#""code":"api_key_expired""#,
    },
];

impl Dialect {
    /// A stream of a run that does not end by itself.
    async fn open(&self, host: &Host, agent: &str, key: &str) -> SseStream {
        let request = (self.request)(host).bearer_auth(key).header("accept", "text/event-stream").build().unwrap();
        let mut request = request;
        let path = request.url().path().replace("AGENT", agent);
        request.url_mut().set_path(&path);
        let response = soon("the head of a stream", host.client().execute(request)).await.unwrap();
        assert_eq!(response.status(), 200, "{}", self.name);
        SseStream::new(response)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Revoked,
    Rotated,
    Expired,
}

#[tokio::test]
async fn however_a_key_ends_its_streams_end_within_a_second_in_every_dialect() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).environment("VIVARIUM_DRAIN_SECONDS", "0").start().await;
    let (_, agent) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "a"}))).await;
    let agent = agent["id"].as_str().unwrap();
    for (number, dialect) in DIALECTS.iter().enumerate() {
        for (count, how) in [How::Revoked, How::Rotated, How::Expired].into_iter().enumerate() {
            let key = new_key(&host, host.key(), json!({"name": "k", "scopes": EVERYTHING})).await;
            let stream = dialect.open(&host, agent, &key.text).await;
            model.received(number * 3 + count + 1).await;
            let path = format!("/v1/keys/{}", key.id);
            let since = match how {
                How::Revoked => {
                    assert_eq!(host.json(Method::DELETE, &path, None).await.0, 204);
                    Timestamp::now()
                }
                How::Rotated => {
                    let (status, told) =
                        host.json(Method::POST, &format!("{path}/rotate"), Some(&json!({"overlapSeconds": 0}))).await;
                    assert_eq!(status, 201, "{told}");
                    Timestamp::now()
                }
                How::Expired => {
                    let at = Timestamp::now().checked_add(Duration::from_millis(300)).unwrap();
                    assert_eq!(host.json(Method::PATCH, &path, Some(&json!({"expiresAt": at}))).await.0, 200);
                    at
                }
            };
            let events = soon("the end of a stream", stream.rest()).await;
            let late = Timestamp::now().duration_since(since);
            assert!(late.as_millis() < 1000, "{} {how:?}: {late}", dialect.name);
            let last = events.iter().rev().find(|event| event.data != "[DONE]").unwrap();
            let expected = if how == How::Revoked { dialect.revoked } else { dialect.expired };
            assert!(last.data.contains(expected), "{} {how:?}: {last:?}", dialect.name);
            assert_eq!(status(&host, &key.text, Method::GET, "/v1/agents", None).await, 401);
        }
    }
}

#[tokio::test]
async fn a_rotated_key_has_the_same_rights_and_both_are_valid_meanwhile() {
    let host = Host::builder().start().await;
    let ends = Timestamp::now().checked_add(Duration::from_secs(1_000_000)).unwrap();
    let body = json!({
        "name": "jobs", "scopes": ["agents:read"], "format": "sk_live", "expiresAt": ends, "allowedOrigins": ["https://a.example"]
    });
    let old = new_key(&host, host.key(), body).await;
    let rotate = format!("/v1/keys/{}/rotate", old.id);
    let told = made(&host, host.key(), &rotate, json!({"overlapSeconds": 3600})).await;
    let new = Key::of(&told);
    assert!(new.text.starts_with("sk_live_"));
    let (_, before) = host.json(Method::GET, &format!("/v1/keys/{}", old.id), None).await;
    for field in ["name", "scopes", "allowedOrigins", "format", "tenant"] {
        assert_eq!(told[field], before[field], "{field}");
    }
    assert_eq!((&told["replaces"], &before["replacedBy"]), (&json!(old.id), &json!(new.id)));
    assert_eq!(told["expiresAt"], json!(ends), "its end is the old one's");
    let left = before["expiresAt"].as_str().unwrap().parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
    assert!((3500..=3600).contains(&left.as_secs()), "{before}");
    for key in [&old, &new] {
        assert_eq!(status(&host, &key.text, Method::GET, "/v1/agents", None).await, 200);
    }
    let again = host.json(Method::POST, &rotate, Some(&json!({}))).await;
    assert_eq!(again.0, 409, "{}", again.1);
    assert_eq!(host.json(Method::DELETE, &format!("/v1/keys/{}", old.id), None).await.0, 204);
    assert_eq!(status(&host, &old.text, Method::GET, "/v1/agents", None).await, 401);
    assert_eq!(status(&host, &new.text, Method::GET, "/v1/agents", None).await, 200);
    // What is over can not be brought back.
    let path = format!("/v1/keys/{}", old.id);
    assert_eq!(host.json(Method::PATCH, &path, Some(&json!({"expiresAt": null}))).await.0, 409);
    assert_eq!(host.json(Method::POST, &rotate, Some(&json!({}))).await.0, 409);
}

#[tokio::test]
async fn when_a_key_was_used_last_is_known_at_once_and_outlives_the_host() {
    let host = Host::builder().start().await;
    let key = new_key(&host, host.key(), json!({"name": "used", "scopes": ["runs"]})).await;
    let gone = new_key(&host, host.key(), json!({"name": "gone", "scopes": ["runs"]})).await;
    let used_at = async |host: &Host, id: &str| {
        let (_, told) = host.json(Method::GET, &format!("/v1/keys/{id}"), None).await;
        told["lastUsedAt"].as_str().map(|at| at.parse::<Timestamp>().unwrap())
    };
    assert_eq!(used_at(&host, &key.id).await, None);
    let before = Timestamp::now();
    for key in [&key, &gone] {
        assert_eq!(status(&host, &key.text, Method::GET, "/v1/runs", None).await, 200);
    }
    let first = used_at(&host, &key.id).await.unwrap();
    assert!((before.as_microsecond()..=Timestamp::now().as_microsecond()).contains(&first.as_microsecond()), "{first}");
    assert_eq!(host.json(Method::DELETE, &format!("/v1/keys/{}", gone.id), None).await.0, 204);
    let (_, data) = host.stop().await;
    let host = Host::builder().data(data).start().await;
    assert_eq!(used_at(&host, &key.id).await, Some(first));
    assert!(used_at(&host, &gone.id).await.unwrap() >= first, "also of a key that was revoked");
    let (_, data) = host.stop().await;
    Cli::on(data.path()).output(&["doctor"]).await;
}

async fn asked_from(host: &Host, key: &str, path: &str, origin: Option<&str>) -> (u16, HeaderMap, String) {
    let mut request = host.client().get(host.url(path)).bearer_auth(key);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let response = host.send(request).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.text().await.unwrap())
}

/// A path of each dialect.
const PATHS: [&str; 4] = ["/v1/rate-limit", "/v1/agents", "/api/assistants", "/api/v2/ai-agents/v1/agents?teamId=1"];

#[tokio::test]
async fn a_key_with_origins_is_refused_to_other_pages_and_answers_its_own() {
    let host = Host::builder().start().await;
    let origins = json!(["https://APP.example.com:443/", "http://localhost:3000"]);
    let key =
        new_key(&host, host.key(), json!({"name": "page", "scopes": EVERYTHING, "allowedOrigins": origins})).await;
    let mut refusals = String::new();
    for path in PATHS {
        for own in ["https://app.example.com", "http://localhost:3000"] {
            let (status, headers, _) = asked_from(&host, &key.text, path, Some(own)).await;
            assert_eq!((status, headers["access-control-allow-origin"].to_str().unwrap()), (200, own), "{path}");
            assert!(headers.get_all("vary").iter().any(|vary| vary == "Origin"), "{path}: {headers:?}");
            let exposed = headers["access-control-expose-headers"].to_str().unwrap().to_lowercase();
            for header in headers.keys().map(reqwest::header::HeaderName::as_str).filter(|name| name.starts_with("x-"))
            {
                assert!(exposed.contains(header), "{path}: {header} is not in {exposed}");
            }
        }
        let (status, headers, body) = asked_from(&host, &key.text, path, Some("https://evil.example")).await;
        assert!(status == 403 && !headers.contains_key("access-control-allow-origin"), "{path}: {status} {headers:?}");
        refusals.push_str(&format!("{path}: {body}\n"));
        for other in
            ["https://app.example.com.evil.example", "http://app.example.com", "null", "https://app.example.com/"]
        {
            assert_eq!(asked_from(&host, &key.text, path, Some(other)).await.0, 403, "{path} {other}");
        }
        let (status, headers, _) = asked_from(&host, &key.text, path, None).await;
        assert!(status == 200 && !headers.contains_key("access-control-allow-origin"), "no page: {path}");
    }
    assert_snapshot!(refusals, @r#"
    /v1/rate-limit: {"error":{"message":"this API key can not be used by pages of this origin: the key's allowedOrigins do not have it","type":"permission_error","code":"origin_not_allowed","param":null}}
    /v1/agents: {"error":{"message":"this API key can not be used by pages of this origin: the key's allowedOrigins do not have it","code":"origin_not_allowed"}}
    /api/assistants: {"error":{"message":"this API key can not be used by pages of this origin: the key's allowedOrigins do not have it","code":"FORBIDDEN"}}
    /api/v2/ai-agents/v1/agents?teamId=1: {"detail":"this API key can not be used by pages of this origin: the key's allowedOrigins do not have it","message":"Forbidden","code":"SC403"}
    "#);
    // A change counts at once; without a list nobody is refused, and no page may read.
    let path = format!("/v1/keys/{}", key.id);
    assert_eq!(host.json(Method::PATCH, &path, Some(&json!({"allowedOrigins": []}))).await.0, 200);
    for path in PATHS {
        let (status, headers, _) = asked_from(&host, &key.text, path, Some("https://evil.example")).await;
        let told = headers.keys().any(|name| name.as_str().starts_with("access-control"));
        assert!(status == 200 && !told, "{path}: {status} {headers:?}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_alike_for_every_origin_and_without_a_key() {
    let host = Host::builder().start().await;
    let ask = async |path: &str, origin: &str| {
        let request = host.client().request(Method::OPTIONS, host.url(path)).header("origin", origin);
        let response = host.send(request.header("access-control-request-method", "POST")).await;
        let of = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let told =
            ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers"].map(of);
        (response.status().as_u16(), told)
    };
    for (path, methods) in [
        ("/v1/runs", "GET,HEAD,POST"),
        ("/v1/agent/run", "POST"),
        ("/api/assistants", "GET,HEAD,POST"),
        ("/api/v2/ai-agents/v1/agents", "GET, POST"),
        ("/v1/keys/x", "GET,HEAD,PATCH,DELETE"),
    ] {
        let (status, [origin, allowed, read]) = ask(path, "https://a.example").await;
        assert_eq!((status, origin.as_deref()), (204, Some("*")), "{path}");
        let sorted = |list: &str| {
            let mut items: Vec<String> = list.split(',').map(|item| item.trim().to_owned()).collect();
            items.sort_unstable();
            items
        };
        assert_eq!(sorted(&allowed.clone().unwrap()), sorted(methods), "{path}");
        let read = read.unwrap().to_lowercase();
        for header in ["authorization", "content-type", "idempotency-key", "last-event-id", "x-request-id"] {
            assert!(read.contains(header), "{path}: {read}");
        }
        assert_eq!(ask(path, "null").await, ask(path, "https://a.example").await, "{path}");
    }
    assert_eq!(ask("/v1/nothing", "https://a.example").await.0, 404);
    // OPTIONS that is no preflight needs a key like all else.
    let plain = host.client().request(Method::OPTIONS, host.url("/v1/runs"));
    assert_eq!(host.send(plain).await.status(), 401);
}

/// The command line on one of both, where tenants and keys are.
struct Place<'a> {
    cli: &'a Cli,
    of: Vec<&'a str>,
}

impl Place<'_> {
    async fn output(&self, arguments: &[&str]) -> String {
        self.cli.output(&[arguments, &self.of].concat()).await
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.output(&[arguments, &["--json"]].concat()).await).unwrap()
    }

    /// What is said of a failure, and its exit code.
    async fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.cli.run(&[arguments, &self.of].concat()).await;
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

async fn tenants_and_keys_from_the_command_line(place: &Place<'_>, tenant: &str) -> String {
    assert_eq!(place.json(&["tenant", "create", tenant, "--tier", "pro"]).await["tier"], "pro");
    let (code, said) = place.failure(&["tenant", "create", tenant]).await;
    assert!(code == 1 && said.contains(&format!("there is a tenant {tenant} already")), "{said}");
    assert_eq!(place.json(&["tenant", "set", tenant, "--tier", "max"]).await["tier"], "max");
    let shown = place.output(&["tenant", "show", tenant]).await;
    assert!(shown.starts_with(&format!("{tenant}\tmax\t")), "{shown}");
    assert!(place.output(&["tenant", "list"]).await.lines().any(|line| line == shown));
    assert_eq!(place.failure(&["tenant", "show", "nobody"]).await.0, 1);

    let of = ["--tenant", tenant];
    let create = ["key", "create", "--name", "first", "--scope", "runs,keys", "--format", "sk_live"];
    let create =
        [&create[..], &["--expires-at", "2100-01-01T00:00:00Z", "--origin", "https://A.example/"], &of].concat();
    let made = place.json(&create).await;
    let text = made["key"].as_str().unwrap().to_owned();
    assert!(text.starts_with("sk_live_"), "{made}");
    assert_eq!(
        (&made["allowedOrigins"], &made["expiresAt"]),
        (&json!(["https://a.example"]), &json!("2100-01-01T00:00:00Z"))
    );
    let id = made["id"].as_str().unwrap();
    let listed = place.json(&[&["key", "list"][..], &of].concat()).await;
    assert_eq!((&listed[0]["id"], &listed[0]["hint"]), (&json!(id), &made["hint"]));
    assert!(!listed.to_string().contains(&text));
    let line = place.output(&[&["key", "list"][..], &of].concat()).await;
    assert!(line.contains("runs,keys") && line.contains(made["hint"].as_str().unwrap()), "{line}");
    for (wrong, code, expected) in [
        (["--origin", "*"], 2, "allowedOrigins[0] must be the origin of a page"),
        (["--expires-at", "2000-01-01T00:00:00Z"], 2, "must be in the future"),
    ] {
        let (found, said) = place.failure(&[&["key", "create"][..], &wrong, &of].concat()).await;
        assert!(found == code && said.contains(expected), "{found} {said}");
    }
    let other = place.json(&[&["key", "create"][..], &of].concat()).await;
    let revoke = [&["key", "revoke", other["id"].as_str().unwrap()][..], &of].concat();
    place.output(&revoke).await;
    assert_eq!(place.failure(&revoke).await.0, 1);
    text
}

#[tokio::test]
async fn the_command_line_does_the_same_on_a_server_and_on_a_data_folder() {
    let host = Host::builder().start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let cli = Cli::on(elsewhere.path());
    let server = Place { cli: &cli, of: vec!["--server", host.address(), "--key", host.key()] };
    let text = tenants_and_keys_from_the_command_line(&server, "acme").await;
    // A key is rotated by one of its own tenant.
    let own = Place { cli: &cli, of: vec!["--server", host.address(), "--key", &text] };
    let id = own.json(&["key", "list"]).await[1]["id"].as_str().unwrap().to_owned();
    let rotated = own.json(&["key", "rotate", &id, "--overlap-seconds", "0"]).await;
    assert_eq!(rotated["replaces"], json!(id));
    assert_eq!(status(&host, &text, Method::GET, "/v1/runs", None).await, 401);
    assert_eq!(status(&host, rotated["key"].as_str().unwrap(), Method::GET, "/v1/runs", None).await, 200);
    assert_eq!(server.failure(&["key", "rotate", &id, "--tenant", "acme"]).await.0, 2);
    assert_eq!(server.failure(&["tenant", "delete", "acme"]).await.0, 2);
    server.output(&["tenant", "delete", "acme", "--yes"]).await;
    assert!(!server.output(&["tenant", "list"]).await.contains("acme"));

    let (_, data) = host.stop().await;
    let cli = Cli::on(data.path());
    let folder = Place { cli: &cli, of: Vec::new() };
    tenants_and_keys_from_the_command_line(&folder, "beta").await;
    let keys = folder.json(&["key", "list", "--tenant", "beta"]).await;
    let id = keys[1]["id"].as_str().unwrap();
    let rotated = folder.json(&["key", "rotate", id, "--tenant", "beta"]).await;
    assert_eq!(rotated["replaces"], json!(id));
    folder.output(&["tenant", "delete", "beta", "--yes"]).await;
    assert!(!folder.output(&["tenant", "list"]).await.contains("beta"));
}
