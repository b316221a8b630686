//! What a guest tries to read a credential back that the host has put into its request. The servers are real, on loopback,
//! and send back what they got.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vivarium_egress::{AllowedHost, Egress, EgressBody, EgressError, EgressPolicy, Injection, Meter};

const SECRET: &str = "sk-~very/secret+0123456789";

/// What a server makes of a request's head and of the credential in it.
type Answer = fn(head: &str, credential: &str) -> Vec<Vec<u8>>;

/// A server that answers with pieces, each written by itself.
struct Echo {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn with(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, Arc::clone(&log)));
            }
        });
        Self { address, heads }
    }

    fn policy(&self) -> EgressPolicy {
        let place = self.address.to_string();
        let host = vec![AllowedHost::parse(&place, &[]).unwrap()];
        EgressPolicy {
            requested: host.clone(),
            granted: host,
            dangerously_allow_private_addresses: vec![place.parse().unwrap()],
            injections: vec![injection("x-api-key", "", SECRET)],
            ..EgressPolicy::default()
        }
    }

    fn head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }

    async fn get(&self) -> Result<Response<EgressBody>, EgressError> {
        self.get_with(&self.policy(), &[]).await
    }

    async fn get_with(
        &self,
        policy: &EgressPolicy,
        headers: &[(&str, &str)],
    ) -> Result<Response<EgressBody>, EgressError> {
        let request = Request::get(format!("http://{}/", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Egress::new().send(policy, &Meter::default(), request.body(Empty::<Bytes>::new()).unwrap()).await
    }
}

fn injection(header: &str, prefix: &str, value: &str) -> Injection {
    Injection::new("127.0.0.1", header, prefix, value.into()).unwrap()
}

async fn serve(mut stream: TcpStream, answer: Answer, log: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let credential = head.lines().find_map(|line| line.strip_prefix("x-api-key: ")).unwrap_or_default().to_owned();
    log.lock().unwrap().push(head.clone());
    for piece in answer(&head, &credential) {
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        stream.flush().await.unwrap();
    }
}

fn whole(body: &str) -> Vec<Vec<u8>> {
    vec![format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()]
}

fn head_only(head: &str) -> Vec<Vec<u8>> {
    vec![format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").into_bytes()]
}

async fn body(response: Response<EgressBody>) -> Result<String, EgressError> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

/// Every form is looked for in what the guest got, so that a test can not pass because one was encoded unexpectedly.
fn assert_hidden(got: &str) {
    let got = got.to_lowercase();
    for part in [
        "sk-~very",
        "secret",
        "0123456789",
        "%73%6b",
        "%7every",
        "u0073",
        "736b2d7e",
        "c2stfnzlcn",
        "nrlx52zxj5",
        "zay1+dmvyes",
    ] {
        assert!(!got.contains(part), "{part} in {got}");
    }
}

#[tokio::test]
async fn an_echo_gives_no_form_of_a_credential_away() {
    let forms: [Answer; 10] = [
        |head, _| whole(head),
        |_, credential| whole(&format!("{{\"headers\":{{\"X-Api-Key\":\"{}\"}}}}", credential.replace('/', "\\/"))),
        |_, credential| {
            let escaped: String = credential.chars().map(|char| format!("\\u{:04x}", u32::from(char))).collect();
            whole(&format!("\"{escaped}\""))
        },
        |_, credential| {
            let escaped: String = credential.bytes().map(|byte| format!("%{byte:02X}")).collect();
            whole(&format!("?key={escaped}"))
        },
        |_, credential| whole(&credential.replace('~', "%7e").replace('/', "%2F").replace('+', "%2b")),
        |_, credential| whole(&credential.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
        |_, credential| whole(&credential.bytes().map(|byte| format!("{byte:02X}")).collect::<String>()),
        |_, credential| whole(&base64(credential)),
        |_, credential| whole(&base64(&format!("u{credential}"))),
        |_, credential| whole(&base64(&format!("me{credential}:x"))),
    ];
    for (number, form) in forms.into_iter().enumerate() {
        let echo = Echo::with(form).await;
        let got = body(echo.get().await.unwrap()).await.unwrap();
        assert!(echo.head().contains(SECRET), "{number}: the server did not get the credential");
        assert!(got.contains("*********"), "{number}: {got}");
        assert_hidden(&got);
    }
}

/// The standard alphabet; the secret's base64 has no odd character in these places.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = text.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let sextet = |bits: &[u8]| (0..6).fold(0, |value, bit| value << 1 | bits.get(bit).copied().unwrap_or(0));
    bits.chunks(6).map(|bits| char::from(ALPHABET[usize::from(sextet(bits))])).collect()
}

#[tokio::test]
async fn an_echo_of_one_byte_per_chunk_gives_nothing_away() {
    let echo = Echo::with(|head, _| {
        let chunk = |byte| [b"1\r\n", [byte].as_slice(), b"\r\n"].concat();
        let start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        [start].into_iter().chain(head.bytes().map(chunk)).chain([b"0\r\n\r\n".to_vec()]).collect()
    })
    .await;
    let got = body(echo.get().await.unwrap()).await.unwrap();
    assert!(got.contains(&format!("x-api-key: {}\r\n", "*".repeat(SECRET.len()))), "{got}");
    assert_hidden(&got);
}

#[tokio::test]
async fn response_headers_give_nothing_away_in_value_name_or_repetition() {
    let echo = Echo::with(|_, credential| {
        let name = credential.replace('/', "%2F");
        head_only(&format!(
            "200 OK\r\nx-echo: {credential}\r\nx-echo: key={name}\r\nx-{name}: 1\r\nX-{}: 1\r\nset-cookie: k={}\r\n\
             location: /?k={name}\r\nconnection: x-hop, close\r\nx-hop: {credential}",
            base64(credential).replace(['+', '/'], "_"),
            base64(credential)
        ))
    })
    .await;
    let response = echo.get().await.unwrap();
    let got = format!("{:?}", response.headers());
    assert_hidden(&got);
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-echo", "set-cookie", "location", "content-length"], "{got}");
}

#[tokio::test]
async fn neither_the_status_lines_phrase_nor_trailers_reach_the_guest() {
    let echo = Echo::with(|_, credential| {
        let head = format!("HTTP/1.1 200 {credential}\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n");
        vec![head.into_bytes(), format!("2\r\nok\r\n0\r\nx-end: {credential}\r\n\r\n").into_bytes()]
    })
    .await;
    let response = echo.get().await.unwrap();
    assert!(response.extensions().get::<hyper::ext::ReasonPhrase>().is_none());
    assert!(!format!("{response:?}").contains(SECRET));
    let collected = response.into_body().collect().await.unwrap();
    assert!(collected.trailers().is_none());
    assert_eq!(collected.to_bytes(), "ok");
}

#[tokio::test]
async fn errors_give_nothing_away() {
    let broken: [Answer; 5] = [
        |_, credential| vec![format!("{credential}\r\n\r\n").into_bytes()],
        |_, credential| vec![format!("HTTP/1.1 {credential}\r\n\r\n").into_bytes()],
        |_, credential| head_only(&format!("200 OK\r\nx-folded: a\r\n {credential}")),
        |_, credential| head_only(&format!("200 OK\r\n{credential} x: 1")),
        |_, credential| head_only(&format!("200 OK\r\ncontent-encoding: {credential}")),
    ];
    for answer in broken {
        let error = Echo::with(answer).await.get().await.unwrap_err();
        assert!(matches!(error, EgressError::Protocol { .. }), "{error}");
        assert_hidden(&format!("{error} {error:?}"));
    }
    let half = Echo::with(|_, credential| {
        vec![format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{credential}").into_bytes()]
    })
    .await;
    let error = body(half.get().await.unwrap()).await.unwrap_err();
    assert_hidden(&format!("{error} {error:?}"));
}

#[tokio::test]
async fn the_guests_own_header_of_that_name_is_overwritten() {
    let echo = Echo::with(|head, _| whole(head)).await;
    let own = [("X-Api-Key", "guess"), ("x-api-key", "again")];
    echo.get_with(&echo.policy(), &own).await.unwrap();
    let keys = echo.head().lines().filter(|line| line.to_lowercase().starts_with("x-api-key")).count();
    assert_eq!(keys, 1, "{}", echo.head());
    assert!(echo.head().contains(&format!("x-api-key: {SECRET}\r\n")));
    for name in ["connection", "te", "trailer", "transfer-encoding", "upgrade"] {
        let refused = echo.get_with(&echo.policy(), &[(name, "x-api-key")]).await.unwrap_err();
        assert!(matches!(refused, EgressError::InvalidRequest(_)), "{name}: {refused}");
    }
}

#[tokio::test]
async fn no_header_of_the_guests_changes_how_an_echo_reads() {
    let echo = Echo::with(|head, _| whole(head)).await;
    let asks = [
        ("range", "bytes=0-3"),
        ("if-range", "\"x\""),
        ("request-range", "bytes=0-3"),
        ("accept-encoding", "gzip"),
        ("accept-charset", "utf-16"),
        ("a-im", "vcdiff"),
    ];
    echo.get_with(&echo.policy(), &asks).await.unwrap();
    let head = echo.head();
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    for (name, value) in asks {
        assert!(!head.contains(&format!("{name}: {value}")), "{head}");
    }
}

#[tokio::test]
async fn an_answer_that_is_coded_or_a_piece_is_refused() {
    let hiding: [Answer; 6] = [
        |_, _| head_only("200 OK\r\ncontent-encoding: gzip"),
        |_, _| head_only("200 OK\r\ncontent-encoding: identity, br"),
        |_, _| head_only("200 OK\r\ncontent-encoding: identity\r\ncontent-encoding: deflate"),
        |_, _| vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n".to_vec()],
        |_, _| head_only("206 Partial Content"),
        |_, _| head_only("200 OK\r\ncontent-range: bytes 0-3/10"),
    ];
    for (number, answer) in hiding.into_iter().enumerate() {
        let echo = Echo::with(answer).await;
        let refused = echo.get().await.unwrap_err();
        assert!(matches!(refused, EgressError::Protocol { .. }), "{number}: {refused}");
        let without = EgressPolicy { injections: Vec::new(), ..echo.policy() };
        assert!(echo.get_with(&without, &[]).await.is_ok(), "{number}");
    }
}

#[tokio::test]
async fn a_redirect_takes_no_credential_along() {
    let other = Echo::with(|head, _| whole(head)).await;
    let redirect = Echo::with(|_, _| head_only("302 Found\r\nlocation: http://127.0.0.1:1/")).await;
    let response = redirect.get().await.unwrap();
    assert_eq!(response.status(), 302);
    // The guest may follow, to where the operator lets it, and the credential is for its host alone.
    let elsewhere = Injection::new("api.example.com", "x-api-key", "", SECRET.into()).unwrap();
    let policy = EgressPolicy { injections: vec![elsewhere], ..other.policy() };
    other.get_with(&policy, &[]).await.unwrap();
    assert!(!other.head().contains(SECRET), "{}", other.head());
}

#[tokio::test]
async fn several_credentials_of_a_host_are_all_sent_and_all_masked_and_so_are_those_of_other_hosts() {
    let echo = Echo::with(|head, _| whole(&format!("{head}another-hosts-secret"))).await;
    let elsewhere = Injection::new("api.example.com", "x-api-key", "", "another-hosts-secret".into()).unwrap();
    let injections =
        vec![injection("x-api-key", "", SECRET), injection("Authorization", "Bearer ", "second-secret"), elsewhere];
    let policy = EgressPolicy { injections, ..echo.policy() };
    let got = body(echo.get_with(&policy, &[]).await.unwrap()).await.unwrap();
    assert!(echo.head().contains(&format!("x-api-key: {SECRET}\r\n")));
    assert!(echo.head().contains("authorization: Bearer second-secret\r\n"));
    assert!(got.contains("authorization: Bearer *************\r\n"), "{got}");
    assert_hidden(&got);
}

#[tokio::test]
async fn plain_http_without_the_operators_exception_gets_no_credential() {
    let echo = Echo::with(|head, _| whole(head)).await;
    let mut policy = echo.policy();
    policy.dangerously_allow_private_addresses.clear();
    let refused = echo.get_with(&policy, &[]).await.unwrap_err();
    assert!(matches!(refused, EgressError::CredentialInTheClear { .. }) && refused.is_denial(), "{refused}");
    assert_eq!(echo.head(), "");
}
