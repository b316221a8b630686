//! The audit log: who did what with which grant, in chains that nobody changes unseen.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_domain::{AuditAction, AuditBy, AuditCheck, AuditEntry, AuditHead};
use vivarium_store::{SledStore, Store};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream};

async fn audit(host: &Host, path: &str) -> (Vec<AuditEntry>, AuditHead) {
    let (status, page) = host.json(Method::GET, path, None).await;
    assert_eq!(status, 200, "{page}");
    (serde_json::from_value(page["data"].clone()).unwrap(), serde_json::from_value(page["head"].clone()).unwrap())
}

fn last<'a>(entries: &'a [AuditEntry], action: &str) -> &'a AuditEntry {
    entries.iter().find(|entry| entry.action.name() == action).unwrap_or_else(|| panic!("no {action}: {entries:#?}"))
}

/// Everything that the operator of a tenant does with plugins, grants, secrets, runs and sessions.
async fn a_working_day(model: &ScriptedModel, host: &Host) -> String {
    host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
    let grant = json!({"hosts": ["api.example.com"], "secrets": ["token"], "settings": {"region": "eu-west"}, "approvals": {"careful": "ask"}});
    let request = host.request(Method::PUT, "/v1/plugins/test/careful/grants").header("x-request-id", "of-the-grant");
    assert_eq!(host.send(request.json(&grant)).await.status(), 200);
    let secret = json!({"value": "very-secret-value", "inject": {"host": "api.example.com", "header": "x-key"}});
    assert_eq!(host.json(Method::PUT, "/v1/secrets/token", Some(&secret)).await.0, 200);
    assert_eq!(host.json(Method::DELETE, "/v1/secrets/token", None).await.0, 204);
    model.then(Answer::tool("careful", json!({"a": 1})));
    model.then(Answer::text("Done."));
    let run = json!({"input": "Be careful.", "mode": "chat", "tools": [{"name": "careful"}], "background": true});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&run)).await;
    assert_eq!(status, 202, "{run}");
    let id = run["id"].as_str().unwrap().to_owned();
    let follow = host.request(Method::GET, &format!("/v1/runs/{id}/events")).header("accept", "text/event-stream");
    let mut events = SseStream::new(host.send(follow).await);
    while events.next().await.unwrap().event.as_deref() != Some("approval.requested") {}
    let decision = json!({"callId": "call_1", "decision": "reject", "reason": "no"});
    assert_eq!(host.json(Method::POST, &format!("/v1/runs/{id}/approve"), Some(&decision)).await.0, 200);
    while events.next().await.is_some() {}
    assert_eq!(host.json(Method::DELETE, &format!("/v1/runs/{id}"), None).await.0, 204);
    let session = run["sessionId"].as_str().unwrap();
    assert_eq!(host.json(Method::DELETE, &format!("/v1/sessions/{session}"), None).await.0, 204);
    assert_eq!(host.json(Method::DELETE, "/v1/plugins/test/careful", None).await.0, 204);
    id
}

#[tokio::test]
async fn what_is_done_in_a_tenant_is_told_with_who_did_it_and_no_secrets_value() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let run = a_working_day(&model, &host).await;
    let (entries, head) = audit(&host, "/v1/audit?limit=200").await;
    let told: Vec<&str> = entries.iter().rev().map(|entry| entry.action.name()).collect();
    let done = [
        "tenant.created",
        "key.created",
        "plugin.installed",
        "grant.set",
        "secret.set",
        "secret.removed",
        "approval.refused",
        "runs.deleted",
        "session.deleted",
        "plugin.removed",
    ];
    assert_eq!(told, done);
    let text = serde_json::to_string(&entries).unwrap();
    assert!(!text.contains("very-secret-value") && !text.contains("eu-west"), "{text}");

    let grant = last(&entries, "grant.set");
    assert_eq!((grant.target.as_str(), grant.request.as_deref()), ("test/careful", Some("of-the-grant")));
    assert_eq!(
        (&grant.details["grant"]["secrets"], &grant.details["settings"]),
        (&json!(["token"]), &json!(["region"]))
    );
    let secret = last(&entries, "secret.set");
    assert_eq!((&secret.details["host"], &secret.details["header"]), (&json!("api.example.com"), &json!("x-key")));
    let refused = last(&entries, "approval.refused");
    assert_eq!((&refused.target, &refused.details["call"]), (&run, &json!("call_1")));
    assert_eq!(refused.details["argumentsHash"].as_str().map(str::len), Some(64));
    assert_eq!(last(&entries, "runs.deleted").details["runs"], json!([run]));
    let (status, keys) = host.json(Method::GET, "/v1/audit?order=asc&limit=1", None).await;
    assert_eq!((status, keys["next"].is_string()), (200, true));
    // All of it was done with one key, but for what the host did at its first start.
    let whos: Vec<String> = entries.iter().rev().skip(2).map(|entry| entry.who.to_string()).collect();
    assert!(whos.windows(2).all(|pair| pair[0] == pair[1]) && whos[0].len() == 36, "{whos:?}");

    let tenant = "default".parse().unwrap();
    let mut check = AuditCheck::new(&tenant, None);
    entries.iter().rev().for_each(|entry| check.next(entry));
    assert_eq!(check.end(head), (head, vec![]));
}

#[tokio::test]
async fn the_operators_chain_tells_of_tenants_and_backups_and_nobody_reads_a_chain_without_the_scope() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    for tenant in ["acme", "other"] {
        cli.output(&["tenant", "create", tenant]).await;
    }
    let key = cli.output(&["key", "create", "--tenant", "acme", "--scope", "runs,plugins,secrets"]).await;
    let admin = cli.output(&["key", "create", "--tenant", "acme", "--scope", "admin"]).await;
    let host = Host::builder().data(data).start().await;
    for path in ["/v1/audit", "/v1/admin/audit", "/v1/admin/tenants/acme/audit"] {
        assert_eq!(host.json_as(&key, Method::GET, path, None).await.0, 403, "{path}");
    }
    assert_eq!(host.json_as(&admin, Method::GET, "/v1/admin/tenants/nobody/audit", None).await.0, 404);
    assert_eq!(host.json_as(&admin, Method::GET, "/v1/audit?order=up", None).await.0, 400);
    let (_, own) = host.json_as(&admin, Method::GET, "/v1/admin/tenants/other/audit", None).await;
    assert_eq!((&own["data"][0]["action"], &own["data"][0]["who"]), (&json!("tenant.created"), &json!("cli")));
    let backup = host.client().get(host.url("/v1/admin/backup")).bearer_auth(&admin);
    assert_eq!(host.send(backup).await.bytes().await.unwrap().get(257..262), Some(b"ustar".as_slice()));
    assert_eq!(host.json_as(&admin, Method::DELETE, "/v1/admin/tenants/other", None).await.0, 204);
    let (_, told) = host.json_as(&admin, Method::GET, "/v1/admin/audit", None).await;
    let told: Vec<AuditEntry> = serde_json::from_value(told["data"].clone()).unwrap();
    assert_eq!(last(&told, "tenant.deleted").details["chain"]["hash"], own["head"]["hash"]);
    last(&told, "backup.made");
    let made = told.iter().filter(|entry| entry.action.name() == "tenant.created").count();
    assert_eq!(made, 2);
}

#[tokio::test]
async fn verify_finds_a_whole_chain_whole_and_says_when_it_is_not_the_one_that_somebody_kept_the_head_of() {
    let host = Host::builder().start().await;
    for name in ["one", "two", "three"] {
        let secret = json!({"value": "very-secret-value", "inject": {"host": "example.com", "header": "x-key"}});
        assert_eq!(host.json(Method::PUT, &format!("/v1/secrets/{name}"), Some(&secret)).await.0, 200);
    }
    let (_, head) = audit(&host, "/v1/audit").await;
    let (of_server, key) = (host.address().to_owned(), host.key().to_owned());
    let online = Cli::on(host.data());
    let verified = online.output(&["audit", "verify", "--server", &of_server, "--key", &key]).await;
    assert_eq!(verified, format!("default\t{head}"));
    let listed = online.output(&["audit", "list", "--limit", "2", "--server", &of_server, "--key", &key]).await;
    assert!(listed.lines().count() == 2 && listed.contains("\tsecret.set\tthree\t"), "{listed}");

    let (_, data) = host.stop().await;
    let cli = Cli::on(data.path());
    let verified = cli.output(&["audit", "verify"]).await;
    assert!(verified.contains(&format!("default\t{head}")) && verified.contains("_operator\t"), "{verified}");
    cli.output(&["audit", "verify", "--tenant", "default", "--head", &head.to_string()]).await;
    // A store that was put back to what it was before, or made anew: the head that somebody has kept tells.
    let other = AuditHead { seq: head.seq + 1, ..head };
    let refused = cli.run(&["audit", "verify", "--tenant", "default", "--head", &other.to_string()]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not in the chain"));
    assert_eq!(cli.run(&["audit", "verify", "--tenant", "default", "--head", "x"]).await.status.code(), Some(2));

    // What is added later leaves a head that was kept where it was.
    let (store, _) = SledStore::open(data.path().join("store")).unwrap();
    let note = AuditBy::CLI.did(AuditAction::SecretRemoved, "one");
    store.commit(&"default".parse().unwrap(), note.into()).await.unwrap();
    drop(store);
    cli.output(&["audit", "verify", "--tenant", "default", "--head", &head.to_string()]).await;
    let checks = cli.run(&["doctor", "--json"]).await;
    let checks: Value = serde_json::from_slice(&checks.stdout).unwrap();
    let of_log = checks["checks"].as_array().unwrap().iter().find(|check| check["name"] == "audit log");
    assert_eq!(of_log.unwrap()["level"], "ok", "{checks}");
}
