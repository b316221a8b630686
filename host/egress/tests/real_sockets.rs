//! The door against real servers on loopback, which it reaches only because each test's policy says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use vivarium_egress::{
    AllowedHost, Egress, EgressBody, EgressError, EgressPolicy, Injection, Limits, Meter, Resolve, Traffic,
};

/// A server that answers every connection with the same bytes and remembers what it was sent.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), answer.into());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), answer.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut buffer = [0_u8; 4096];
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        match stream.read(&mut buffer).await {
                            Ok(0) | Err(_) => break,
                            Ok(count) => request.extend_from_slice(&buffer[..count]),
                        }
                    }
                    log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                    let _gone = stream.write_all(&answer).await;
                    // An empty answer means silence: keep the connection until the client leaves.
                    let _end = stream.read(&mut buffer).await;
                });
            }
        });
        Self { address, seen }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Allows this server, and it alone, by the operator's exception.
    fn policy(&self) -> EgressPolicy {
        exception(&self.address.to_string())
    }

    fn url(&self) -> String {
        format!("http://{}/page?q=1", self.address)
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn hosts(rules: &[&str]) -> Vec<AllowedHost> {
    rules.iter().map(|rule| AllowedHost::parse(rule, &[]).unwrap()).collect()
}

/// These hosts, asked for and granted.
fn allowing(rules: &[&str]) -> EgressPolicy {
    EgressPolicy { requested: hosts(rules), granted: hosts(rules), ..EgressPolicy::default() }
}

/// This host at this port, asked for, granted, and allowed not to be public.
fn exception(place: &str) -> EgressPolicy {
    EgressPolicy { dangerously_allow_private_addresses: vec![place.parse().unwrap()], ..allowing(&[place]) }
}

fn public_web() -> EgressPolicy {
    allowing(&["*"])
}

async fn get(egress: &Egress, policy: &EgressPolicy, url: &str) -> Result<Response<EgressBody>, EgressError> {
    let request = Request::get(url).body(Empty::<Bytes>::new()).unwrap();
    egress.send(policy, &Meter::default(), request).await
}

async fn text(response: Response<EgressBody>) -> Result<String, EgressError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// Names that resolve to what a test says, each answer once: the second question gets the next one.
struct Names(Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>);

impl Names {
    fn door(name: &'static str, answers: &[&[&str]]) -> Egress {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let answers = answers.iter().map(parse).collect();
        Egress::with_resolver(Arc::new(Self(Mutex::new(HashMap::from([(name, answers)])))))
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut names = self.0.lock().unwrap();
        let answer = names.get_mut(name).filter(|answers| !answers.is_empty()).map(|answers| answers.remove(0));
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

#[tokio::test]
async fn loopback_is_refused_by_default_and_reached_only_by_the_explicit_exception() {
    let server = Server::answering(answer("hello")).await;
    let port = server.address.port();
    let everywhere = allowing(&[&format!("*:{port}"), &format!("127.0.0.1:{port}")]);
    let refused = get(&Egress::new(), &everywhere, &server.url()).await.unwrap_err();
    assert!(matches!(&refused, EgressError::PrivateAddress { address: Some(_), .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("dangerously_allow_private_addresses = [\"127.0.0.1:{port}\"]")));
    assert!(server.requests().is_empty());

    let response = get(&Egress::new(), &server.policy(), &server.url()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    assert!(server.requests()[0].starts_with("GET /page?q=1 HTTP/1.1\r\n"), "{:?}", server.requests());
}

#[tokio::test]
async fn the_exception_is_for_its_port_alone() {
    let server = Server::answering(answer("hello")).await;
    let other = Server::answering(answer("secret")).await;
    let refused = get(&Egress::new(), &server.policy(), &other.url()).await.unwrap_err();
    assert!(matches!(refused, EgressError::HostNotRequested { .. }), "{refused}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn every_spelling_of_a_private_address_is_refused() {
    for (what, hosts) in [
        ("loopback", &["127.0.0.1", "127.255.255.254", "[::1]", "localhost", "LOCALHOST", "a.localhost"][..]),
        (
            "decimal, octal, hex, short",
            &["2130706433", "0177.0.0.1", "017700000001", "0x7f000001", "0x7F.1", "127.1", "127.0.0.1."],
        ),
        ("unspecified", &["0.0.0.0", "0", "[::]", "0.1.2.3"]),
        (
            "private",
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "[fd00::1]", "[fc00::1]", "0xa000001"],
        ),
        ("link-local", &["169.254.1.1", "[fe80::1]", "[febf::1]", "[fec0::1]"]),
        ("carrier-grade NAT", &["100.64.0.1", "100.127.255.255"]),
        ("multicast and broadcast", &["224.0.0.1", "239.255.255.255", "255.255.255.255", "[ff02::1]"]),
        ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[3fff::1]"]),
        (
            "benchmarking and reserved",
            &["198.18.0.1", "198.19.255.255", "240.0.0.1", "192.0.0.1", "[2001:2::1]", "[4000::1]"],
        ),
        (
            "metadata addresses",
            &["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.170.2"],
        ),
        ("metadata addresses in IPv6", &["[fd00:ec2::254]", "[fd20:ce::254]", "[fe80::a9fe:a9fe]"]),
        ("metadata names", &["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "kubernetes"]),
        ("more metadata names", &["metadata.tencentyun.com", "metadata.packet.net", "instance-data.ec2.internal"]),
        ("IPv4-mapped", &["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[::ffff:8.8.8.8]"]),
        ("IPv4-compatible", &["[::127.0.0.1]", "[::a9fe:a9fe]", "[::10.0.0.1]"]),
        ("NAT64", &["[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::7f00:1]", "[64:ff9b:1:ffff::1]"]),
        ("6to4", &["[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2002:0a00:0001::1]"]),
        ("Teredo", &["[2001:0:1::1]", "[2001::ffff:80ff:fffe]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]"]),
    ] {
        for host in hosts {
            let refused = get(&Egress::new(), &public_web(), &format!("http://{host}/")).await.unwrap_err();
            assert!(
                matches!(refused, EgressError::PrivateAddress { .. }) && refused.is_denial(),
                "{what} {host}: {refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused_in_each_of_its_spellings() {
    for address in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fd00::1"] {
        let door = Names::door("inner.example", &[&[address]]);
        let refused = get(&door, &public_web(), "https://inner.example/").await.unwrap_err();
        assert!(matches!(refused, EgressError::PrivateAddress { address: Some(_), .. }), "{address}: {refused}");
    }
}

#[tokio::test]
async fn tricks_in_a_url_and_odd_ports_reach_nothing() {
    let server = Server::answering(answer("inner")).await;
    let port = server.address.port();
    for url in [
        format!("http://user:pass@127.0.0.1:{port}/"),
        format!("http://example.com@127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        format!("file://127.0.0.1:{port}/etc/passwd"),
        format!("gopher://127.0.0.1:{port}/"),
        format!("http://localhost.:{port}/"),
        format!("http://[fe80::1%25lo]:{port}/"),
        "http://127.0.0.1:0/".to_owned(),
    ] {
        let Ok(request) = Request::get(&url).body(Empty::<Bytes>::new()) else { continue };
        let refused = Egress::new().send(&server.policy(), &Meter::default(), request).await.unwrap_err();
        assert!(matches!(refused, EgressError::InvalidRequest(_)), "{url}: {refused}");
    }
    for odd in [22, 25, 6379, 8080, 65_535] {
        let refused = get(&Egress::new(), &public_web(), &format!("http://example.com:{odd}/")).await.unwrap_err();
        assert!(matches!(refused, EgressError::HostNotRequested { .. }), "{odd}: {refused}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_request_on_the_wire_has_a_path_and_a_host_of_the_doors_own() {
    let server = Server::answering(answer("ok")).await;
    let spoofed = Request::get(server.url()).header("host", "inner.example").body(Empty::<Bytes>::new()).unwrap();
    let refused = Egress::new().send(&server.policy(), &Meter::default(), spoofed).await.unwrap_err();
    assert!(matches!(refused, EgressError::InvalidRequest(_)), "{refused}");
    let url = format!("http://{}//inner.example/?url=http://169.254.169.254/", server.address);
    get(&Egress::new(), &server.policy(), &url).await.unwrap();
    let requests = server.requests();
    let expected =
        format!("GET //inner.example/?url=http://169.254.169.254/ HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    assert_eq!(requests, [expected]);
}

#[tokio::test]
async fn a_name_with_one_public_and_one_private_address_is_refused() {
    for addresses in [["93.184.216.34", "127.0.0.1"], ["10.0.0.1", "93.184.216.34"], ["2606:4700::1", "::1"]] {
        let door = Names::door("both.example", &[&addresses]);
        let refused = get(&door, &public_web(), "http://both.example/").await.unwrap_err();
        assert!(matches!(refused, EgressError::PrivateAddress { address: Some(_), .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_so_it_can_not_change_between_check_and_connect() {
    let server = Server::answering(answer("checked")).await;
    let host = format!("rebind.example:{}", server.address.port());
    let policy = exception(&host);
    // The second answer would be a dead end, a third question an error.
    let door = Names::door("rebind.example", &[&["127.0.0.1"], &["127.0.0.2"]]);
    let response = get(&door, &policy, &format!("http://{host}/")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "checked");
    assert!(server.requests()[0].contains(&format!("host: {host}\r\n")), "{:?}", server.requests());
}

#[tokio::test]
async fn a_redirect_is_handed_to_the_guest_and_not_followed() {
    let inner = Server::answering(answer("inner")).await;
    let server =
        Server::answering(format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inner.url()))
            .await;
    let response = get(&Egress::new(), &server.policy(), &server.url()).await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], inner.url());
    assert!(inner.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_from_the_environment_is_not_used() {
    // The variables are read by HTTP clients when they are made; this door has no such client. A name that only a proxy
    // could reach stays unreachable.
    let proxy = Server::answering(answer("proxied")).await;
    let variables = [("http_proxy", proxy.url()), ("HTTP_PROXY", proxy.url()), ("ALL_PROXY", proxy.url())];
    let exe = std::env::current_exe().unwrap();
    let mut child = tokio::process::Command::new(exe);
    child.args(["--exact", "--ignored", "a_name_that_only_a_proxy_could_reach"]).envs(variables);
    let status = child.stdout(std::process::Stdio::null()).status().await.unwrap();
    assert!(status.success());
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
#[ignore = "the other half of the test above, run by it in a process of its own"]
async fn a_name_that_only_a_proxy_could_reach() {
    let door = Names::door("nowhere.example", &[]);
    let refused = get(&door, &public_web(), "http://nowhere.example/").await.unwrap_err();
    assert!(matches!(refused, EgressError::Dns { .. }), "{refused}");
}

#[tokio::test]
async fn an_echo_server_does_not_give_the_credential_away() {
    const SECRET: &str = "sk-very-secret-0123456789";
    let body = format!("you sent Bearer {SECRET}, did you not?");
    let echo = Server::answering(format!(
        "HTTP/1.1 200 OK\r\nx-echo: Bearer {SECRET}\r\nx-{SECRET}: 1\r\ntransfer-encoding: chunked\r\n\r\n\
         14\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &body[..20],
        body.len() - 20,
        &body[20..]
    ))
    .await;
    let injection = Injection::new("127.0.0.1", "Authorization", "Bearer ", SECRET.into()).unwrap();
    let policy = EgressPolicy { injections: vec![injection], ..echo.policy() };

    let response = get(&Egress::new(), &policy, &echo.url()).await.unwrap();
    assert!(echo.requests()[0].contains(&format!("authorization: Bearer {SECRET}\r\n")));
    assert!(!format!("{:?}", response.headers()).contains(SECRET));
    assert_eq!(response.headers()["x-echo"], "Bearer *************************");
    assert_eq!(text(response).await.unwrap(), body.replace(SECRET, "*************************"));
}

#[tokio::test]
async fn a_coded_echo_of_a_credential_is_refused() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx").await;
    let injection = Injection::new("127.0.0.1", "x-api-key", "", "0123456789".into()).unwrap();
    let policy = EgressPolicy { injections: vec![injection], ..server.policy() };
    let refused = get(&Egress::new(), &policy, &server.url()).await.unwrap_err();
    assert!(matches!(refused, EgressError::Protocol { .. }), "{refused}");
    // Without a credential the coded bytes are the guest's to read, and are not decompressed for it.
    let response = get(&Egress::new(), &server.policy(), &server.url()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "xx");
}

#[tokio::test]
async fn the_response_is_bounded_in_body_and_headers() {
    let limits = Limits { max_response_bytes: 10, max_header_bytes: 200, max_headers: 5, ..Limits::default() };
    let long = Server::answering(answer("eleven bytes")).await;
    let policy = EgressPolicy { limits: limits.clone(), ..long.policy() };
    let response = get(&Egress::new(), &policy, &long.url()).await.unwrap();
    assert!(matches!(text(response).await, Err(EgressError::LimitExceeded { max: 10, .. })));

    let wide = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(300));
    let flood = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(10));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000));
    for head in [wide, flood, endless] {
        let server = Server::answering(head).await;
        let policy = EgressPolicy { limits: limits.clone(), ..server.policy() };
        let refused = get(&Egress::new(), &policy, &server.url()).await.unwrap_err();
        assert!(matches!(refused, EgressError::LimitExceeded { .. }), "{refused}");
    }
}

#[tokio::test]
async fn the_request_is_bounded_in_body_and_number() {
    let server = Server::answering(answer("ok")).await;
    let limits = Limits { max_request_bytes: 10, max_requests: 2, ..Limits::default() };
    let policy = EgressPolicy { limits, ..server.policy() };
    let meter = Meter::default();
    let chunks = futures::stream::iter((0..4).map(|_| Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"12345")))));
    let post = Request::post(server.url()).body(StreamBody::new(chunks)).unwrap();
    let refused = Egress::new().send(&policy, &meter, post).await.unwrap_err();
    assert_eq!(refused, EgressError::LimitExceeded { what: "the request's body in bytes", max: 10 });

    let small = || Request::post(server.url()).body(Full::new(Bytes::from_static(b"tiny"))).unwrap();
    let response = Egress::new().send(&policy, &meter, small()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "ok");
    let refused = Egress::new().send(&policy, &meter, small()).await.unwrap_err();
    assert_eq!(refused, EgressError::LimitExceeded { what: "the number of requests", max: 2 });
    let traffic = meter.traffic();
    assert_eq!(traffic.requests, 2);
    assert!(traffic.sent_bytes >= 14 && traffic.received_bytes >= 2, "{traffic:?}");
}

#[tokio::test]
async fn the_bytes_of_a_meter_are_bounded_over_all_its_requests_and_both_ways() {
    let server = Server::answering(answer(&"x".repeat(1_000))).await;
    let limits = Limits { max_total_bytes: 3_000, ..Limits::default() };
    let policy = EgressPolicy { limits, ..server.policy() };
    let (door, meter) = (Egress::new(), Meter::default());
    let post = |bytes: usize| Request::post(server.url()).body(Full::new(Bytes::from(vec![b'y'; bytes]))).unwrap();
    let over = |error: EgressError| matches!(error, EgressError::LimitExceeded { max: 3_000, .. });

    let first = door.send(&policy, &meter, post(100)).await.unwrap();
    assert_eq!(text(first).await.unwrap().len(), 1_000);
    let spent = meter.traffic();
    assert!(spent.sent_bytes > 100 && spent.received_bytes > 1_000, "{spent:?}");
    // On its way out: nothing of a body that is too long is handed on beyond the total.
    assert!(over(door.send(&policy, &meter, post(2_500)).await.unwrap_err()));
    assert!(meter.traffic().sent_bytes - spent.sent_bytes < 2_500);
    // On its way in.
    let second = door.send(&policy, &meter, post(0)).await.unwrap();
    let came = text(second).await;
    let third = match came {
        Ok(_) => match door.send(&policy, &meter, post(0)).await {
            Ok(response) => text(response).await.unwrap_err(),
            Err(error) => error,
        },
        Err(error) => error,
    };
    assert!(over(third));
    let Traffic { sent_bytes, received_bytes, .. } = meter.traffic();
    assert!(sent_bytes + received_bytes <= 3_000, "{sent_bytes} {received_bytes}");
}

#[tokio::test]
async fn a_meter_without_bytes_left_touches_no_network() {
    let server = Server::answering(answer("ok")).await;
    let policy = EgressPolicy { limits: Limits { max_total_bytes: 0, ..Limits::default() }, ..server.policy() };
    let refused = get(&Egress::new(), &policy, &server.url()).await.unwrap_err();
    assert!(matches!(refused, EgressError::LimitExceeded { max: 0, .. }), "{refused}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_byte_that_had_to_wait_is_counted_once() {
    const BODY: usize = 16 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 64 << 10];
        let mut left = BODY;
        while left > 0 {
            left = left.saturating_sub(stream.read(&mut buffer).await.unwrap());
        }
        stream.write_all(answer("ok").as_bytes()).await.unwrap();
    });
    let limits = Limits { max_request_bytes: BODY as u64, ..Limits::default() };
    let policy = EgressPolicy { limits, ..exception(&address.to_string()) };
    let meter = Meter::default();
    let body = Full::new(Bytes::from(vec![b'x'; BODY]));
    let request = Request::post(format!("http://{address}/")).body(body).unwrap();
    Egress::new().send(&policy, &meter, request).await.unwrap();
    let sent = meter.traffic().sent_bytes;
    assert!((BODY as u64..BODY as u64 + 1_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn interim_answers_and_the_wrapping_of_tiny_chunks_count_too() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(2_000);
    let chunks = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(12_000));
    for flood in [interim, chunks] {
        let server = Server::answering(flood).await;
        let limits = Limits { max_total_bytes: 50_000, ..Limits::default() };
        let policy = EgressPolicy { limits, ..server.policy() };
        let stopped = match get(&Egress::new(), &policy, &server.url()).await {
            Ok(response) => text(response).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(stopped, EgressError::LimitExceeded { max: 50_000, .. }), "{stopped}");
    }
}

#[tokio::test]
async fn a_request_is_still_sent_while_its_answer_is_already_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Sends each byte of the request's chunks back as soon as it has come, and ends when they end.
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let mut buffer = [0; 64];
        loop {
            let count = stream.read(&mut buffer).await.unwrap();
            stream.write_all(&buffer[..count]).await.unwrap();
            if buffer[..count].ends_with(b"0\r\n\r\n") {
                break;
            }
        }
    });
    let (mut sender, receiver) = futures::channel::mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    let request = Request::post(format!("http://{address}/")).body(StreamBody::new(receiver)).unwrap();
    let policy = exception(&address.to_string());
    let exchange = async {
        let response = Egress::new().send(&policy, &Meter::default(), request).await.unwrap();
        let mut body = response.into_body();
        // Each word is written only after the one before has come back.
        for word in ["one", "two", "three"] {
            sender.send(Ok(Frame::data(Bytes::from(word)))).await.unwrap();
            let back = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(back, word);
        }
        drop(sender);
        assert!(body.frame().await.is_none());
    };
    tokio::time::timeout(Duration::from_secs(5), exchange).await.expect("one way waited for the other");
}

#[tokio::test]
async fn a_connection_whose_answer_nobody_reads_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        let mut rest = Vec::new();
        let _reset_or_end = stream.read_to_end(&mut rest).await;
    });
    let limits = Limits { total_timeout: Duration::from_millis(100), ..Limits::default() };
    let policy = EgressPolicy { limits, ..exception(&address.to_string()) };
    let response = get(&Egress::new(), &policy, &format!("http://{address}/")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), closed).await.expect("the server saw no end").unwrap();
    assert!(matches!(text(response).await, Err(EgressError::Timeout { .. })));
}

#[tokio::test]
async fn a_silent_server_is_left_at_the_deadline_before_and_within_the_body() {
    let limits = Limits { total_timeout: Duration::from_millis(100), ..Limits::default() };
    let silent = Server::answering("").await;
    let policy = EgressPolicy { limits: limits.clone(), ..silent.policy() };
    let late = get(&Egress::new(), &policy, &silent.url()).await.unwrap_err();
    assert!(matches!(late, EgressError::Timeout { limit_ms: 100, step: "answer", .. }), "{late}");

    let half = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let policy = EgressPolicy { limits, ..half.policy() };
    let response = get(&Egress::new(), &policy, &half.url()).await.unwrap();
    assert!(matches!(text(response).await, Err(EgressError::Timeout { .. })));
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_is_an_error_and_no_panic() {
    for nonsense in ["garbage\r\n\r\n", "HTTP/9.9 2000 x\r\n\r\n", "HTTP/1.1 200 OK\r\n\0: x\r\n\r\n"] {
        let server = Server::answering(nonsense).await;
        let refused = get(&Egress::new(), &server.policy(), &server.url()).await.unwrap_err();
        assert!(matches!(refused, EgressError::Protocol { .. }), "{nonsense:?}: {refused}");
    }
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_an_error_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _gone = stream.write_all(answer("plain").as_bytes()).await;
    });
    let policy = exception(&address.to_string());
    let url = format!("https://{address}/");
    let refused = get(&Egress::new(), &policy, &url).await.unwrap_err();
    assert!(matches!(refused, EgressError::Tls { .. }), "{refused}");
}

#[tokio::test]
async fn dropping_the_response_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        let mut rest = Vec::new();
        let _reset_or_end = stream.read_to_end(&mut rest).await;
    });
    let policy = exception(&address.to_string());
    let response = get(&Egress::new(), &policy, &format!("http://{address}/")).await.unwrap();
    drop(response);
    tokio::time::timeout(Duration::from_secs(5), closed).await.expect("the server saw no end").unwrap();
}
