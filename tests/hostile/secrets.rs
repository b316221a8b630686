//! A tenant's secret goes where its host is, and nowhere else: not into the guest's hands, by whatever way its service sends it back.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Arena, Seen, Service, came_of, fetch, refusal, text_answer};

/// Every character that some encoding writes in another way.
const SECRET: &str = r#"hunter2+/=&"of-evil~tenant"#;

async fn keep(arena: &Arena, key: &str, name: &str, host: &str) {
    let inject = json!({"host": host, "header": "authorization", "prefix": "Bearer "});
    let body = json!({"value": SECRET, "inject": inject});
    let (status, told) = arena.host.json_as(key, Method::PUT, &format!("/v1/secrets/{name}"), Some(&body)).await;
    assert_eq!(status, 200, "{told}");
}

/// A service that gives the credential back as its path says.
fn echo(request: &Seen) -> Response {
    let credential = request.header("authorization").unwrap_or("none").to_owned();
    let plain = Response::builder();
    match request.path.as_str() {
        "/json" => text_answer(json!({"headers": {"authorization": credential}}).to_string()),
        "/json-twice" => text_answer(json!({"text": json!({"a": credential}).to_string()}).to_string()),
        "/unicode" => text_answer(credential.chars().fold(String::new(), |mut text, letter| {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
            text
        })),
        "/percent" => text_answer(credential.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        })),
        "/form" => text_answer(format!("token={}", url_encoded(&credential))),
        "/html" => text_answer(credential.replace('&', "&amp;").replace('"', "&quot;")),
        "/hex" => text_answer(credential.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })),
        "/base64" => text_answer(base64(credential.as_bytes())),
        "/base64-of-user" => text_answer(base64(format!("ev:{}", credential.trim_start_matches("Bearer ")).as_bytes())),
        "/base64-of-pair" => text_answer(base64(format!("evil:{credential}").as_bytes())),
        "/header" => plain.header("x-echo", &credential).body(Body::empty()).unwrap(),
        "/location" => {
            plain.status(302).header("location", format!("/?{}", url_encoded(&credential))).body(Body::empty()).unwrap()
        }
        "/cookie" => plain.header("set-cookie", format!("a={credential}")).body(Body::empty()).unwrap(),
        "/pieces" => {
            let pieces = credential.into_bytes();
            let pieces = futures::stream::unfold(pieces.into_iter(), |mut pieces| async move {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                pieces.next().map(|byte| (Ok::<_, std::io::Error>(vec![byte]), pieces))
            });
            Response::new(Body::from_stream(pieces))
        }
        "/error" => Response::builder().status(500).body(Body::from(format!("bad key {credential}"))).unwrap(),
        _ => text_answer(credential),
    }
}

fn url_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02x}");
        }
        encoded
    })
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(all >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

/// Parts of the secret that no masked text holds, in each way that [`echo`] writes it.
fn holds_the_secret(text: &str) -> bool {
    let core = "of-evil";
    let unicode: String = core.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
    let percent: String = core.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = core.bytes().map(|byte| format!("{byte:02x}")).collect();
    // The middle of the secret, as it stands in base64 behind 0, 1 and 2 bytes.
    let sixes = (0..3).map(|before| {
        let encoded = base64([&vec![b'x'; before][..], b"of-evil~te"].concat().as_slice());
        encoded[4..encoded.len() - 4].to_owned()
    });
    let all = [core.to_owned(), unicode.clone(), unicode.replace('\\', "\\\\"), percent, hex, url_encoded(core)];
    all.into_iter().chain(sixes).any(|form| text.contains(&form))
}

#[test]
fn the_search_for_the_secret_finds_it_in_every_form() {
    let credential = format!("Bearer {SECRET}");
    assert!(holds_the_secret(&credential) && holds_the_secret(&url_encoded(&credential)));
    for before in ["", "a", "ab"] {
        assert!(holds_the_secret(&base64(format!("{before}{credential}").as_bytes())), "{before}");
    }
    assert!(!holds_the_secret("Bearer ***"));
}

const PATHS: [&str; 16] = [
    "/",
    "/json",
    "/json-twice",
    "/unicode",
    "/percent",
    "/form",
    "/html",
    "/hex",
    "/base64",
    "/base64-of-user",
    "/base64-of-pair",
    "/header",
    "/location",
    "/cookie",
    "/pieces",
    "/error",
];

#[tokio::test]
async fn a_service_that_echoes_the_credential_does_not_give_it_to_the_guest() {
    let service = Service::start(echo).await;
    let arena = Arena::new().await;
    keep(&arena, &arena.evil, "token", "127.0.0.1").await;
    arena.grant(&service.grant(json!({"secrets": ["token"]}))).await;
    assert_eq!(came_of(&arena.attack(&json!({"do": "secret", "name": "token"})).await), json!({"ok": true}));
    for path in PATHS {
        for piece in [json!(null), json!(1), json!(7)] {
            let mut attack = fetch(&service.place(), path);
            attack["piece"] = piece;
            let answer = arena.attack(&attack).await;
            assert!(came_of(&answer)["ok"].is_object(), "{path}: {answer}");
            assert!(!holds_the_secret(&answer.to_string()), "{path}: {answer}");
        }
    }
    let seen = service.seen();
    assert_eq!(seen.len(), PATHS.len() * 3);
    let expected = format!("Bearer {SECRET}");
    assert!(
        seen.iter().all(|request| request.header("authorization") == Some(&expected)),
        "the service has it each time"
    );
    assert!(!holds_the_secret(&arena.host.log()), "{}", arena.host.log());
}

#[tokio::test]
async fn a_guest_can_not_say_a_secret_that_it_has_guessed_or_carried_over() {
    let arena = Arena::new().await;
    keep(&arena, &arena.evil, "token", "127.0.0.1").await;
    arena.grant(&json!({"secrets": ["token"]})).await;
    for attack in [
        json!({"do": "say", "text": SECRET}),
        json!({"do": "fail", "text": SECRET}),
        json!({"do": "log", "text": SECRET}),
        json!({"do": "print", "text": SECRET}),
        json!({"do": "panic", "text": SECRET}),
        json!({"do": "say", "text": "x", "document": SECRET}),
        json!({"do": "say", "text": base64(SECRET.as_bytes())}),
        json!({"do": "read", "path": SECRET}),
        json!({"do": "fetch", "authority": "x.example", "path": format!("/{}", url_encoded(SECRET))}),
    ] {
        let answer = arena.attack(&attack).await;
        assert!(!holds_the_secret(&answer.to_string()), "{attack}: {answer}");
    }
    assert!(!holds_the_secret(&arena.host.log()), "{}", arena.host.log());
}

#[tokio::test]
async fn a_credential_goes_to_the_host_that_it_is_for_and_the_guest_can_not_take_its_place() {
    let service = Service::start(echo).await;
    let arena = Arena::new().await;
    // For another host than the one that the guest may reach.
    keep(&arena, &arena.evil, "token", "api.example.com").await;
    arena.grant(&service.grant(json!({"secrets": ["token"]}))).await;
    for (name, value) in
        [("host", "api.example.com"), ("x-forwarded-host", "api.example.com"), ("authorization", "Bearer mine")]
    {
        let mut attack = fetch(&service.place(), "/");
        attack["headers"] = json!([[name, value]]);
        arena.attack(&attack).await;
    }
    arena.attack(&fetch(&format!("api.example.com@{}", service.place()), "/")).await;
    let seen = service.seen();
    assert!(!seen.is_empty());
    for request in &seen {
        assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
    }
    // Where it is for this host, the guest's own header does not stand beside it.
    keep(&arena, &arena.evil, "token", "127.0.0.1").await;
    let mut attack = fetch(&service.place(), "/");
    attack["headers"] = json!([["authorization", "Bearer mine"], ["Authorization", "Bearer mine too"]]);
    arena.attack(&attack).await;
    if let Some(request) = service.seen().get(seen.len()) {
        let all: Vec<_> = request.headers.iter().filter(|(name, _)| name == "authorization").collect();
        assert_eq!(all, [&("authorization".to_owned(), format!("Bearer {SECRET}"))]);
    }
}

#[tokio::test]
async fn a_credential_does_not_travel_in_the_clear_without_an_operators_word() {
    let arena = Arena::new().await;
    keep(&arena, &arena.evil, "token", "api.example.com").await;
    arena.grant(&json!({"hosts": ["api.example.com"], "secrets": ["token"]})).await;
    let answer = arena.attack(&fetch("api.example.com", "/")).await;
    let told = came_of(&answer)["error"].as_str().unwrap().to_owned();
    assert_eq!(told, "api.example.com gets a credential, so it is reached by https only, not by http");
    assert_eq!(answer["denials"][0]["capability"], "secrets", "{answer}");
}

#[tokio::test]
async fn a_secret_that_is_not_granted_or_another_tenants_is_not_there() {
    let service = Service::start(echo).await;
    let arena = Arena::new().await;
    // The neighbour has one of this name, for this host.
    keep(&arena, &arena.good, "token", "127.0.0.1").await;
    arena.grant(&service.grant(json!({"secrets": ["token"]}))).await;
    assert_eq!(came_of(&arena.attack(&json!({"do": "secret", "name": "token"})).await), json!({"ok": false}));
    arena.attack(&fetch(&service.place(), "/")).await;
    // Now the tenant's own, which nobody grants to this plugin.
    keep(&arena, &arena.evil, "token", "127.0.0.1").await;
    arena.grant(&service.grant(json!({}))).await;
    assert_eq!(came_of(&arena.attack(&json!({"do": "secret", "name": "token"})).await), json!({"ok": false}));
    arena.attack(&fetch(&service.place(), "/")).await;
    // And one that is granted, and that the manifest does not ask for.
    keep(&arena, &arena.evil, "other", "127.0.0.1").await;
    arena.grant(&service.grant(json!({"secrets": ["other"]}))).await;
    for name in ["other", "token", "../good/token", "good/token", "TOKEN", ""] {
        let told = came_of(&arena.attack(&json!({"do": "secret", "name": name})).await);
        assert_eq!(told, json!({"ok": false}), "{name}");
    }
    arena.attack(&fetch(&service.place(), "/")).await;
    let seen = service.seen();
    assert!(seen.len() == 3 && seen.iter().all(|request| request.header("authorization").is_none()), "{seen:?}");
}

#[tokio::test]
async fn a_secret_stands_in_no_file_of_the_data_folder() {
    let arena = Arena::new().await;
    keep(&arena, &arena.evil, "token", "127.0.0.1").await;
    let (mut ahead, mut looked) = (vec![arena.host.data().to_owned()], 0);
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                ahead.push(path);
            } else if path.extension().is_none_or(|extension| extension != "cwasm") {
                let bytes = std::fs::read(&path).unwrap();
                looked += 1;
                for form in [SECRET.as_bytes(), b"of-evil~"] {
                    assert!(!bytes.windows(form.len()).any(|window| window == form), "{}", path.display());
                }
            }
        }
    }
    assert!(looked > 1);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(arena.host.data().join("secrets.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the key is nobody else's to read: {mode:o}");
}

#[tokio::test]
async fn an_api_key_is_kept_as_a_hash_and_a_wrong_one_is_told_nothing() {
    let arena = Arena::new().await;
    let mut ahead = vec![arena.host.data().to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                ahead.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                for key in [&arena.evil, &arena.good] {
                    let (_, secret) = key.split_once('_').unwrap();
                    assert!(secret.len() >= 43, "256 bits");
                    let secret = secret.as_bytes();
                    assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
                }
            }
        }
    }
    let mut close = arena.evil.clone();
    let last = if close.pop() == Some('0') { '1' } else { '0' };
    close.push(last);
    let (status, told) = arena.host.json_as(&close, Method::GET, "/v1/plugins", None).await;
    assert_eq!(status, 401, "{told}");
    assert!(!told.to_string().contains(&close) && !arena.host.log().contains(&close[4..]), "{told}");
}

#[tokio::test]
async fn a_secret_that_could_break_a_request_apart_is_refused_and_not_repeated() {
    let arena = Arena::new().await;
    for value in ["hunter2-of-evil\r\nx-smuggled: 1", "hunter2-of-evil\u{0}", "short", "hunter2-of-evil\u{e9}"] {
        let body = json!({"value": value, "inject": {"host": "a.example", "header": "x-key"}});
        let (status, told) = arena.host.json_as(&arena.evil, Method::PUT, "/v1/secrets/token", Some(&body)).await;
        assert!((400..500).contains(&status), "{status} {told}");
        assert!(!told.to_string().contains("hunter2"), "{told}");
    }
    for header in ["host", "content-length", "transfer-encoding", "connection", "x\r\ny", ""] {
        let body = json!({"value": SECRET, "inject": {"host": "a.example", "header": header}});
        let (status, told) = arena.host.json_as(&arena.evil, Method::PUT, "/v1/secrets/token", Some(&body)).await;
        assert!((400..500).contains(&status), "{header:?}: {status} {told}");
        assert!(!refusal(&told).contains("hunter2"), "{told}");
    }
    let body: Value = json!({"value": [SECRET], "inject": {"host": "a.example", "header": "x-key"}});
    let (status, told) = arena.host.json_as(&arena.evil, Method::PUT, "/v1/secrets/token", Some(&body)).await;
    assert!((400..500).contains(&status) && !told.to_string().contains("hunter2"), "{status} {told}");
}
