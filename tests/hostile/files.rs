//! Out of the folder of a session, into another's, and over the quota.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Arena, came_of};

/// A hostile guest that may write files, and a file outside of its session's folder that it should never see.
async fn arena() -> Arena {
    let arena = Arena::new().await;
    arena.grant(&json!({"files": "write", "limits": {"fileBytes": 1 << 20, "files": 40}})).await;
    arena
}

/// The folder on the disk of the only session of the only tenant that has one.
fn folder(arena: &Arena) -> PathBuf {
    let tenant = arena.host.data().join("workspaces/evil");
    let mut folders = std::fs::read_dir(&tenant).unwrap().map(|entry| entry.unwrap().path());
    let only = folders.next().unwrap();
    assert!(folders.next().is_none());
    only
}

fn is_error(outcome: &Value) -> bool {
    outcome["error"].is_string()
}

#[tokio::test]
async fn a_guest_does_not_climb_out_of_its_folder() {
    let arena = arena().await;
    let write = json!({"do": "write", "path": "own.txt", "text": "mine"});
    assert_eq!(arena.in_session("one", &write).await["ok"], Value::Null);
    let folder = folder(&arena);
    let outside = folder.parent().unwrap().join("outside.txt");
    std::fs::write(&outside, "not for guests").unwrap();
    // Links that a guest can not make itself, as an operator's careless hand may leave them.
    symlink(&outside, folder.join("link")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("/", folder.join("root")).unwrap();

    let absolute = outside.to_str().unwrap();
    for path in [
        "/etc/passwd",
        "etc/passwd",
        "../outside.txt",
        "./../outside.txt",
        "a/../../outside.txt",
        "/../outside.txt",
        "/workspace/../../outside.txt",
        "..\\outside.txt",
        "link",
        "up/outside.txt",
        "root/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        absolute,
    ] {
        for way in ["read", "raw open"] {
            let outcome = arena.in_session("one", &json!({"do": way, "path": path})).await;
            assert!(is_error(&outcome), "{way} {path}: {outcome}");
        }
    }
    for path in ["..", "../..", "up", "root", "/.."] {
        let listed = arena.in_session("one", &json!({"do": "list", "path": path})).await;
        let names = listed["ok"].to_string();
        assert!(is_error(&listed) || !names.contains("outside.txt") && !names.contains("etc"), "{path}: {listed}");
    }
    for (way, path, to) in [
        ("rename", "own.txt", "../stolen.txt"),
        ("rename", "../outside.txt", "stolen.txt"),
        ("rename", "own.txt", "up/stolen.txt"),
        ("rename", "up/outside.txt", "stolen.txt"),
        ("hard link", "../outside.txt", "stolen.txt"),
        ("hard link", "link", "stolen.txt"),
        ("symbolic link", "new-link", "../outside.txt"),
        ("symbolic link", "new-link", absolute),
        ("remove", "../outside.txt", ""),
        ("write", "../planted.txt", ""),
        ("write", "up/planted.txt", ""),
        ("write", "link", ""),
        ("folder", "../planted", ""),
    ] {
        let outcome = arena.in_session("one", &json!({"do": way, "path": path, "to": to, "text": "x"})).await;
        assert!(is_error(&outcome), "{way} {path} {to}: {outcome}");
    }
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "not for guests");
    let mut around: Vec<_> =
        std::fs::read_dir(folder.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    around.sort();
    assert_eq!(around.len(), 2, "{around:?}");
    let own = arena.in_session("one", &json!({"do": "read", "path": "own.txt"})).await;
    assert_eq!(own, json!({"ok": "mine"}), "what is in the folder is there as before");
    arena.is_whole().await;
}

#[tokio::test]
async fn a_sessions_files_are_no_other_sessions_and_no_other_tenants() {
    let arena = arena().await;
    let write = json!({"do": "write", "path": "secret.txt", "text": "of one"});
    arena.in_session("one", &write).await;
    let read = json!({"do": "read", "path": "secret.txt"});
    assert_eq!(arena.in_session("one", &read).await, json!({"ok": "of one"}));
    for session in ["two", "ONE", "one.", "%6fne"] {
        assert!(is_error(&arena.in_session(session, &read).await), "{session}");
    }
    // The same plugin and the same session's name, in another tenant.
    let host = &arena.host;
    let guest = vivarium_tests::guest::hostile(&json!({}));
    assert_eq!(host.install_as(&arena.good, "/v1/plugins", guest).await.0, 201);
    let path = "/v1/plugins/test/hostile/grants";
    let grant = json!({"files": "write"});
    assert_eq!(host.json_as(&arena.good, reqwest::Method::PUT, path, Some(&grant)).await.0, 200);
    let (_, answer) = arena.call(&arena.good, "hostile", &read, Some("one")).await;
    assert!(is_error(&came_of(&answer)), "{answer}");
}

#[tokio::test]
async fn a_guest_without_a_grant_of_files_has_none_at_all() {
    let arena = Arena::new().await;
    for attack in [
        json!({"do": "list", "path": "/"}),
        json!({"do": "list", "path": "."}),
        json!({"do": "read", "path": "/etc/passwd"}),
        json!({"do": "raw open", "path": "etc/passwd"}),
        json!({"do": "write", "path": "x", "text": "x"}),
    ] {
        let outcome = arena.in_session("one", &attack).await;
        assert!(is_error(&outcome), "{attack}: {outcome}");
    }
    arena.grant(&json!({"files": "read"})).await;
    for attack in [
        json!({"do": "write", "path": "x", "text": "x"}),
        json!({"do": "folder", "path": "x"}),
        json!({"do": "sparse", "path": "x", "bytes": 1}),
    ] {
        let outcome = arena.in_session("one", &attack).await;
        assert!(is_error(&outcome), "{attack}: {outcome}");
    }
}

#[tokio::test]
async fn a_quota_holds_for_bytes_for_holes_and_for_files() {
    let arena = arena().await;
    const QUOTA: u64 = 1 << 20;
    let filled = arena.in_session("bytes", &json!({"do": "fill", "path": "full", "bytes": 100 << 20})).await;
    let written = filled["ok"]["written"].as_u64().unwrap();
    assert!(written <= QUOTA && written > QUOTA - (64 << 10) && filled["ok"]["error"].is_string(), "{filled}");
    // Another call of the same session does not begin anew, and neither does another file.
    let more = arena.in_session("bytes", &json!({"do": "fill", "path": "more", "bytes": 100 << 20})).await;
    assert!(more["ok"]["written"].as_u64().unwrap() <= QUOTA - written, "{more}");

    for attack in [
        json!({"do": "sparse", "path": "hole", "bytes": 1_u64 << 40}),
        json!({"do": "far", "path": "hole", "bytes": 1_u64 << 40}),
        json!({"do": "far", "path": "hole", "bytes": i64::MAX}),
    ] {
        let outcome = arena.in_session("holes", &attack).await;
        assert!(is_error(&outcome), "{attack}: {outcome}");
    }
    let made = arena.in_session("many", &json!({"do": "many", "path": "f", "times": 10_000})).await;
    assert_eq!(made["ok"]["made"], 40, "{made}");
    let (_, answer) = arena
        .call(&arena.evil, "hostile", &json!({"do": "fill", "path": "f0", "bytes": 100 << 20}), Some("many"))
        .await;
    assert!(answer["denials"].to_string().contains("limits.fileBytes"), "it is told what would allow more: {answer}");

    let on_disk: u64 = walk(&arena.host.data().join("workspaces/evil")).iter().sum();
    assert!(on_disk <= 3 * QUOTA, "{on_disk} bytes in three sessions");
    arena.is_whole().await;
}

fn walk(folder: &std::path::Path) -> Vec<u64> {
    let mut lengths = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { lengths.extend(walk(&entry.path())) } else { lengths.push(metadata.len()) }
    }
    lengths
}

#[tokio::test]
async fn a_guest_that_opens_one_file_ten_thousand_times_does_not_use_the_servers_descriptors_up() {
    let arena = arena().await;
    arena.in_session("one", &json!({"do": "write", "path": "x", "text": "x"})).await;
    let before = arena.process().files;
    let opened = arena.in_session("one", &json!({"do": "open", "path": "x", "times": 10_000})).await;
    assert!(opened["ok"]["open"].as_u64().unwrap() < 300 && opened["ok"]["error"].is_string(), "{opened}");
    arena.is_whole().await;
    let after = arena.process().files;
    assert!(after < before + 20, "{before} descriptors before, {after} after");
}

#[tokio::test]
async fn what_a_call_without_a_session_writes_is_gone_after_it() {
    let arena = arena().await;
    arena.attack(&json!({"do": "fill", "path": "x", "bytes": 100_000})).await;
    let read = arena.attack(&json!({"do": "read", "path": "x"})).await;
    assert!(is_error(&came_of(&read)), "{read}");
    let tenant = arena.host.data().join("workspaces/evil");
    let gone = async {
        while std::fs::read_dir(&tenant).is_ok_and(|mut entries| entries.next().is_some()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    vivarium_tests::soon("the removal of what a call has written", gone).await;
}
