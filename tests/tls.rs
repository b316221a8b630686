//! TLS on the host's own socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vivarium_tests::{Cli, Host, HostBuilder, http_client, soon};

/// Writes a new certificate with its key, and gives it.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn with_tls(folder: &Path, certificate: &CertificateDer<'_>, more: &str) -> HostBuilder {
    // One that is installed before anything asks.
    let _ = http_client();
    let trusted = reqwest::Certificate::from_der(certificate).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let toml = format!(
        "tls_certificate_file = {:?}\ntls_key_file = {:?}\n{more}",
        folder.join("cert.pem"),
        folder.join("key.pem")
    );
    Host::builder().config(&toml).client(client)
}

fn address(host: &Host) -> SocketAddr {
    host.address().strip_prefix("https://").unwrap().parse().unwrap()
}

async fn connect(
    host: &Host,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config =
        ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address(host)).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// Asks on a connection that stays open.
async fn healthz(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"}") {
        let mut some = [0; 1024];
        let length = soon("an answer", stream.read(&mut some)).await.unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..length]);
    }
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn a_host_with_a_certificate_speaks_tls_of_both_versions_and_http_1_1() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let host = with_tls(folder.path(), &trusted, "").start().await;
    assert_eq!(host.get("/healthz").await.status(), 200);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect(&host, &trusted, version).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert!(healthz(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    // Plain HTTP is told where it is.
    let mut plain = TcpStream::connect(address(&host)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut said = String::new();
    soon("an answer", plain.read_to_string(&mut said)).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("ask for https://"), "{said}");
    assert!(host.stop().await.0.success());
}

#[tokio::test]
async fn who_opens_a_connection_and_says_nothing_holds_up_nobody_and_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let host = with_tls(folder.path(), &trusted, "request_timeout_seconds = 2\nmax_connections = 20\n").start().await;
    let begun = Instant::now();
    // More than may be in their handshakes: what is beyond is refused, and places are left for those who speak.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address(&host)).await.unwrap());
    }
    for stream in &mut silent {
        let mut byte = [0];
        let ended = soon("its end", stream.read(&mut byte)).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let mut one_more = TcpStream::connect(address(&host)).await.unwrap();
    // Half of a first message.
    one_more.write_all(&[0x16, 3, 1]).await.unwrap();
    assert!(healthz(&mut connect(&host, &trusted, &rustls::version::TLS13).await.unwrap()).await.contains("ok"));
    let ended = soon("its end", one_more.read(&mut [0])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_cutting_anybody_off_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let host = with_tls(folder.path(), &first, "").start().await;
    let mut open = connect(&host, &first, &rustls::version::TLS13).await.unwrap();
    assert!(healthz(&mut open).await.contains("ok"));
    let second = certificate(folder.path());
    host.signal("HUP");
    host.says("the TLS certificate was read again").await;
    connect(&host, &second, &rustls::version::TLS13).await.unwrap();
    assert!(connect(&host, &first, &rustls::version::TLS13).await.is_err());
    assert!(healthz(&mut open).await.contains("ok"), "who was there before goes on");
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    host.signal("HUP");
    host.says("the TLS certificate was not replaced").await;
    connect(&host, &second, &rustls::version::TLS13).await.unwrap();
}

#[tokio::test]
async fn files_that_are_no_certificate_and_its_key_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let told = async |certificate: &Path, key: &Path| {
        let toml = format!("max_running = 0\ntls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
        std::fs::write(folder.path().join("vivarium.toml"), toml).unwrap();
        let cli = Cli::on(folder.path());
        let output = cli.run(&["serve", "--listen", "127.0.0.1:0", "--config", "vivarium.toml"]).await;
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let none = told(Path::new("/nowhere/cert.pem"), &key).await;
    assert!(none.contains("tls_certificate_file /nowhere/cert.pem can not be used: No such file"), "{none}");
    assert!(none.contains("vivarium.toml line 1 must be larger"), "all at once: {none}");
    let swapped = told(&key, &certificate).await;
    assert!(swapped.contains("it holds no certificate"), "{swapped}");
    let foreign = told(&certificate, &other.path().join("key.pem")).await;
    assert!(foreign.contains("it is not the key of the certificate in"), "{foreign}");
}
