//! The one door to the network. The service of these tests listens on every address of this machine: whatever gets past the door
//! arrives there, and is seen.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Arena, Seen, Service, came_of, error, fetch, text_answer};

/// Whether it is no host with a port at all, so that no address is looked at.
fn authority_is_odd(authority: &str) -> bool {
    let (host, _port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    authority.contains(['@', '#', '\\', '%']) || !authority.is_ascii() || host.ends_with('.')
}

fn hello(_request: &Seen) -> Response {
    text_answer("hello")
}

/// A hostile guest whose manifest asks for this one place.
async fn asking_for(service: &Service) -> Arena {
    let requests = json!({"hosts": [service.place()], "secrets": ["token"], "settings": ["place"], "state": true});
    Arena::with("", json!({"requests": requests})).await
}

/// Every spelling of an address that is not public, `{}` for the service's port.
const NOT_PUBLIC: &[&str] = &[
    "127.0.0.1:{}",
    "127.1:{}",
    "127.0.1:{}",
    "127.255.255.254:{}",
    "2130706433:{}",
    "017700000001:{}",
    "0x7f000001:{}",
    "0x7f.0.0.1:{}",
    "0177.0.0.1:{}",
    "127.0.0.1.:{}",
    "0.0.0.0:{}",
    "0:{}",
    "[::1]:{}",
    "[::]:{}",
    "[0:0:0:0:0:0:0:1]:{}",
    "[::ffff:127.0.0.1]:{}",
    "[::ffff:7f00:1]:{}",
    "[::127.0.0.1]:{}",
    "[64:ff9b::7f00:1]:{}",
    "[64:ff9b:1::7f00:1]:{}",
    "[2002:7f00:1::]:{}",
    "[2001:0:7f00:1::]:{}",
    "[fe80::1%25lo]:{}",
    "[fe80::1]:{}",
    "[fc00::1]:{}",
    "[ff02::1]:{}",
    "[2001:db8::1]:{}",
    "localhost:{}",
    "LOCALHOST:{}",
    "localhost.:{}",
    "a.localhost:{}",
    "ip6-localhost:{}",
    "10.0.0.1:{}",
    "172.16.0.1:{}",
    "192.168.0.1:{}",
    "100.64.0.1:{}",
    "169.254.169.254:{}",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "metadata.google.internal.",
    "224.0.0.1:{}",
    "192.0.2.1:{}",
    "198.18.0.1:{}",
    "240.0.0.1:{}",
    "255.255.255.255:{}",
    "１２７.0.0.1:{}",
    "127。0。0。1:{}",
    "user@127.0.0.1:{}",
    "example.com@127.0.0.1:{}",
    "127.0.0.1:{}#@example.com",
    "127.0.0.1:{}\\@example.com",
];

#[tokio::test]
async fn no_spelling_of_an_address_leads_to_this_machine_or_its_network() {
    let service = Service::start(hello).await;
    // All that an author can ask for and a tenant can give: what is left is the look at the address.
    let hosts = json!(["*", format!("*:{}", service.port), format!("localhost:{}", service.port), service.place()]);
    let arena = Arena::with(
        "",
        json!({"requests": {"hosts": hosts, "secrets": ["token"], "settings": ["place"], "state": true}}),
    )
    .await;
    arena.grant(&json!({"hosts": hosts})).await;
    let machine = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let machine = format!("{}:{{}}", machine.trim());
    // Requests in one call are bounded: each is a call of its own.
    for spelling in NOT_PUBLIC.iter().copied().chain([machine.as_str()]) {
        let authority = spelling.replace("{}", &service.port.to_string());
        for scheme in ["http", "https"] {
            let mut attack = fetch(&authority, "/");
            attack["scheme"] = json!(scheme);
            let answer = arena.attack(&attack).await;
            let outcome = came_of(&answer);
            let told = outcome["error"].as_str().unwrap_or_else(|| panic!("{scheme}://{authority}: {answer}"));
            assert!(
                authority_is_odd(&authority)
                    || told.contains("can not be resolved")
                    || told.contains("is not on the public internet"),
                "{authority}: {told}"
            );
        }
    }
    assert!(service.seen().is_empty(), "{:?}", service.seen());
    arena.is_whole().await;

    // With an operator's word the same request arrives: it was the door that held it.
    arena.grant(&service.grant(json!({}))).await;
    let arrived = came_of(&arena.attack(&fetch(&service.place(), "/")).await);
    assert_eq!(arrived["ok"]["body"], "hello", "{arrived}");
    // And opens that one place, not its neighbours.
    for authority in
        [format!("localhost:{}", service.port), format!("[::1]:{}", service.port), "127.0.0.1:1".to_owned()]
    {
        let outcome = came_of(&arena.attack(&fetch(&authority, "/")).await);
        assert!(outcome["error"].is_string(), "{authority}: {outcome}");
    }
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn a_private_address_is_a_denial_that_says_who_could_allow_it() {
    let service = Service::start(hello).await;
    let arena = asking_for(&service).await;
    arena.grant(&json!({"hosts": [service.place()]})).await;
    let answer = arena.attack(&fetch(&service.place(), "/")).await;
    assert_eq!(answer["denials"][0]["capability"], "hosts", "{answer}");
    let message = answer["denials"][0]["message"].as_str().unwrap();
    assert!(message.contains("is not on the public internet") && message.contains("only an operator"), "{message}");
    assert_eq!(answer["usage"]["egressBytes"], 0, "{answer}");
}

#[tokio::test]
async fn a_host_is_reached_only_if_it_is_granted_and_only_by_the_methods_that_are() {
    let service = Service::start(hello).await;
    let arena = asking_for(&service).await;
    let place = service.place();
    arena.grant(&json!({"hosts": []})).await;
    let denied = arena.attack(&fetch(&place, "/")).await;
    assert!(came_of(&denied)["error"].as_str().unwrap().contains("would allow it"), "{denied}");
    let only_get = json!([{"host": place, "methods": ["GET"]}]);
    arena.grant(&json!({"hosts": only_get, "dangerouslyAllowPrivateAddresses": [place]})).await;
    assert_eq!(came_of(&arena.attack(&fetch(&place, "/")).await)["ok"]["status"], 200);
    for method in ["POST", "DELETE", "CONNECT", "TRACE", "get", "GET /x HTTP/1.1\r\nx"] {
        let mut attack = fetch(&place, "/");
        attack["method"] = json!(method);
        let outcome = came_of(&arena.attack(&attack).await);
        assert!(outcome["error"].is_string(), "{method:?}: {outcome}");
    }
    assert_eq!(service.seen().len(), 1, "{:?}", service.seen());
}

#[tokio::test]
async fn a_request_is_built_anew_and_nothing_is_smuggled_in_it() {
    let service = Service::start(hello).await;
    let arena = Arena::new().await;
    arena.grant(&service.grant(json!({}))).await;
    let place = service.place();
    for (name, value) in [
        ("host", "metadata.google.internal"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("x-a", "b\r\nx-smuggled: 1"),
        ("x-b\r\nx-smuggled", "1"),
    ] {
        let mut attack = fetch(&place, "/");
        attack["headers"] = json!([[name, value]]);
        let _refused_or_cleaned = arena.attack(&attack).await;
    }
    for path in
        ["/a b", "/\r\nx-smuggled: 1", "http://example.com/", "//example.com/", "@example.com/", "/x#y", "relative"]
    {
        let _refused_or_cleaned = arena.attack(&fetch(&place, path)).await;
    }
    for scheme in ["ftp", "file", "gopher", "ws", "HTTP", ""] {
        let mut attack = fetch(&place, "/");
        attack["scheme"] = json!(scheme);
        arena.attack(&attack).await;
    }
    let seen = service.seen();
    assert!(!seen.is_empty(), "some of it is harmless");
    for request in seen {
        assert_eq!(request.header("host"), Some(place.as_str()), "{request:?}");
        for name in ["x-smuggled", "proxy-authorization", "upgrade", "te", "transfer-encoding"] {
            assert_eq!(request.header(name), None, "{request:?}");
        }
        assert!(request.path.starts_with('/'), "{request:?}");
        assert_eq!(request.body_bytes, 0, "{request:?}");
    }
    arena.is_whole().await;
}

#[tokio::test]
async fn a_redirect_is_given_to_the_guest_and_not_followed() {
    fn away(request: &Seen) -> Response {
        let place = request.header("host").unwrap_or_default();
        let to =
            if request.path == "/" { format!("http://{place}/inner") } else { "http://169.254.169.254/".to_owned() };
        Response::builder().status(302).header("location", to).body(Body::from("moved")).unwrap()
    }
    let service = Service::start(away).await;
    let arena = Arena::new().await;
    arena.grant(&service.grant(json!({}))).await;
    let outcome = came_of(&arena.attack(&fetch(&service.place(), "/")).await);
    assert_eq!(outcome["ok"]["status"], 302, "{outcome}");
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_swells_when_it_is_unpacked_is_not_unpacked() {
    // 10 MiB of zeros, packed by gzip into 10 KiB, a thousandfold.
    fn bomb(_request: &Seen) -> Response {
        Response::builder().header("content-encoding", "gzip").body(Body::from(gzip_of_stored_zeros())).unwrap()
    }
    let service = Service::start(bomb).await;
    let arena = Arena::new().await;
    arena.grant(&service.grant(json!({"limits": {"egressBytes": 100_000}}))).await;
    let answer = arena.attack(&fetch(&service.place(), "/")).await;
    let used = answer["usage"]["egressBytes"].as_u64().unwrap();
    assert!(used <= 100_000 + 4096, "{answer}");
    arena.is_whole().await;
}

/// A gzip file's head and a body that nobody should look at.
fn gzip_of_stored_zeros() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes.extend(std::iter::repeat_n(0, 50_000));
    bytes
}

#[tokio::test]
async fn the_bytes_and_the_requests_of_a_call_are_bounded_both_ways() {
    fn flood(request: &Seen) -> Response {
        let bytes = if request.path == "/flood" { 10 << 20 } else { 10 };
        Response::new(Body::from(vec![b'x'; bytes]))
    }
    let service = Service::start(flood).await;
    let arena = Arena::new().await;
    arena.grant(&service.grant(json!({"limits": {"egressBytes": 1 << 20, "egressRequests": 3}}))).await;
    let place = service.place();
    let mut up = fetch(&place, "/");
    up["method"] = json!("POST");
    up["bytes"] = json!(10 << 20);
    for attack in [fetch(&place, "/flood"), up] {
        let answer = arena.attack(&attack).await;
        let used = answer["usage"]["egressBytes"].as_u64().unwrap();
        // What the sockets hold by then is counted, too.
        assert!(used < 3 << 20, "{answer}");
        let outcome = came_of(&answer);
        assert!(outcome.to_string().contains("over its limit of"), "{outcome}");
    }
    arena.is_whole().await;
}

#[tokio::test]
async fn a_flood_of_headers_is_bounded_both_ways() {
    fn many(request: &Seen) -> Response {
        let mut response = Response::builder();
        if request.path == "/many" {
            for number in 0..2_000 {
                response = response.header(format!("x-{number}"), "v".repeat(500));
            }
        }
        response.body(Body::from("x")).unwrap()
    }
    let service = Service::start(many).await;
    let arena = Arena::new().await;
    arena.grant(&service.grant(json!({}))).await;
    let outcome = came_of(&arena.attack(&fetch(&service.place(), "/many")).await);
    assert!(outcome["error"].is_string(), "a megabyte of headers is no answer: {}", &outcome.to_string()[..200]);
    let answer = arena.attack(&json!({"do": "header flood", "times": 100_000, "bytes": 1000})).await;
    // The guest is refused a header or is ended; either way it has not kept 100 MB.
    let kept = answer["output"].as_str().map(|_| came_of(&answer)["ok"]["kept"].as_u64().unwrap());
    assert!(kept.is_none_or(|kept| kept < 1_000), "{answer}");
    arena.is_whole().await;
}

#[tokio::test]
async fn there_is_no_socket_but_through_the_door() {
    let service = Service::start(hello).await;
    let arena = Arena::new().await;
    // Even what the door would let through.
    arena.grant(&service.grant(json!({}))).await;
    let any = format!("0.0.0.0:{}", service.port);
    for attack in [
        json!({"do": "connect", "to": service.place()}),
        json!({"do": "connect", "to": any}),
        json!({"do": "connect", "to": format!("[::1]:{}", service.port)}),
        json!({"do": "udp", "to": service.place()}),
        json!({"do": "listen", "to": "127.0.0.1:0"}),
        json!({"do": "listen", "to": "0.0.0.0:0"}),
        json!({"do": "resolve", "to": "localhost"}),
        json!({"do": "resolve", "to": "example.com"}),
    ] {
        let outcome = came_of(&arena.attack(&attack).await);
        assert!(outcome["error"].is_string(), "{attack}: {outcome}");
    }
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_not_asked() {
    let service = Service::start(hello).await;
    let proxy = Service::start(hello).await;
    let url = format!("http://{}", proxy.place());
    let arena = Arena::empty("", |mut builder| {
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            builder = builder.environment(name, &url);
        }
        builder
    })
    .await;
    let guest = vivarium_tests::guest::hostile(&json!({}));
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", guest).await.0, 201);
    arena.grant(&service.grant(json!({}))).await;
    assert_eq!(came_of(&arena.attack(&fetch(&service.place(), "/")).await)["ok"]["status"], 200);
    assert!(proxy.seen().is_empty());
}

#[tokio::test]
async fn a_guest_that_ends_half_way_through_an_answer_leaves_no_connection_behind() {
    fn long(_request: &Seen) -> Response {
        let pieces = futures::stream::unfold(0_u32, |number| async move {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            (number < 2_000).then(|| (Ok::<_, std::io::Error>(vec![b'x'; 1000]), number + 1))
        });
        Response::new(Body::from_stream(pieces))
    }
    let service = Service::start(long).await;
    let arena = Arena::new().await;
    arena.grant(&service.grant(json!({"limits": {"cpuMs": 50}}))).await;
    let mut traps = fetch(&service.place(), "/");
    traps["then"] = json!("trap");
    let mut spins = traps.clone();
    spins["then"] = json!("spin");
    arena.attack(&traps).await;
    let before = arena.process();
    for _ in 0..10 {
        let trapped = arena.attack(&traps).await;
        assert!(error(&trapped).starts_with("the plugin trapped"), "{trapped}");
        let spun = arena.attack(&spins).await;
        assert!(error(&spun).contains("processor time"), "{spun}");
    }
    let settled = async {
        while arena.process().files > before.files + 4 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    vivarium_tests::soon("the end of all connections", settled).await;
    arena.is_whole().await;
    let _: Value = arena.attack(&json!({"do": "say", "text": "still here"})).await;
}
