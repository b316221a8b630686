//! Files that come with messages: each is what it is said to be, or is refused with its place and what is wrong, and none
//! of them can hurt the host. The files are small real ones, written byte by byte.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use vivarium_attachments::{Attachments, IncomingContent, IncomingFile, MAX_FILES, MAX_TEXT_BYTES, ReadFile};
use vivarium_domain::{AttachmentKind, TenantId};
use vivarium_egress::Egress;
use vivarium_sandbox::{Plugin, Sandbox, SandboxConfig};
use vivarium_tests::{Host, repository_root, vivarium_binary};

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01";

/// The plugin as it ships, compiled once.
fn reader() -> Arc<Plugin> {
    static READER: OnceLock<Arc<Plugin>> = OnceLock::new();
    let load = || {
        let path = repository_root().join("plugins/dist/tool-documents.wasm");
        let component =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask guests`", path.display()));
        let cache = Some(vivarium_binary().with_file_name("vivarium-tests-compiled"));
        let sandbox =
            Sandbox::new(SandboxConfig { cache, max_instances: Some(8), ..SandboxConfig::default() }).unwrap();
        Arc::new(sandbox.load(&component).unwrap())
    };
    Arc::clone(READER.get_or_init(load))
}

/// What reads files in these tests, with these exceptions for private addresses.
fn attachments(exceptions: &[String]) -> Attachments {
    let exceptions = exceptions.iter().map(|place| place.parse().unwrap()).collect();
    Attachments::new(Arc::new(Egress::new()), exceptions, Some(reader()))
}

fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn sent(media_type: &str, bytes: &[u8]) -> IncomingFile {
    let content = IncomingContent::Base64(STANDARD.encode(bytes));
    IncomingFile { file_name: "file".to_owned(), media_type: media_type.to_owned(), content }
}

fn at(media_type: &str, url: String) -> IncomingFile {
    IncomingFile { file_name: "file".to_owned(), media_type: media_type.to_owned(), content: IncomingContent::Url(url) }
}

async fn read(file: IncomingFile) -> Result<ReadFile, String> {
    attachments(&[]).read(&tenant(), 1, file).await.map_err(|error| error.to_string())
}

async fn text_of(media_type: &str, bytes: &[u8]) -> String {
    let file = read(sent(media_type, bytes)).await.unwrap();
    assert_eq!(file.kind, AttachmentKind::Text);
    String::from_utf8(file.content.to_vec()).unwrap()
}

async fn error_of(file: IncomingFile) -> String {
    read(file).await.unwrap_err()
}

/// A part of an archive: its name, its bytes as they are stored, and whether they are deflated, from how many bytes.
struct Part {
    name: String,
    stored: Vec<u8>,
    deflated_from: Option<u32>,
    crc: u32,
}

fn part(name: &str, content: &str) -> Part {
    let crc = crc32(content.as_bytes());
    Part { name: name.to_owned(), stored: content.as_bytes().to_vec(), deflated_from: None, crc }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A part of so many spaces, deflated to a six hundredth.
fn part_of_spaces(name: &str, matches: u32) -> Part {
    let mut bits = Bits::default();
    // The last block, with the fixed codes; one space as a literal.
    bits.push(0b1, 1);
    bits.push(0b01, 2);
    bits.push_code(0x30 + u32::from(b' '), 8);
    for _ in 0..matches {
        // 258 bytes from one byte before.
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    bits.push_code(0, 7);
    Part { name: name.to_owned(), stored: bits.bytes, deflated_from: Some(1 + matches * 258), crc: 0 }
}

/// Bits as deflate packs them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }

    /// Codes are packed from their highest bit.
    fn push_code(&mut self, code: u32, count: u32) {
        self.push(code.reverse_bits() >> (32 - count), count);
    }
}

fn zip(parts: &[Part]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for Part { name, stored, deflated_from, crc } in parts {
        let place = u32::try_from(archive.len()).unwrap();
        let stored_len = u32::try_from(stored.len()).unwrap();
        let mut header = Vec::new();
        header.extend_from_slice(&20_u16.to_le_bytes());
        header.extend_from_slice(&0_u16.to_le_bytes());
        header.extend_from_slice(&if deflated_from.is_some() { 8_u16 } else { 0 }.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        for number in [*crc, stored_len, deflated_from.unwrap_or(stored_len)] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        header.extend_from_slice(&0_u16.to_le_bytes());
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&header);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(stored);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&header);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&place.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (place, length) = (u32::try_from(archive.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    let count = u16::try_from(parts.len()).unwrap();
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&length.to_le_bytes());
    archive.extend_from_slice(&place.to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    archive
}

fn relations(part_name: &str, listed: &[(&str, &str, &str)]) -> Part {
    let one = |(id, kind, target): &(&str, &str, &str)| {
        format!(
            r#"<Relationship Id="{id}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" Target="{target}"/>"#
        )
    };
    part(part_name, &format!("<Relationships>{}</Relationships>", listed.iter().map(one).collect::<String>()))
}

fn word(document: Part) -> Vec<u8> {
    zip(&[relations("_rels/.rels", &[("rId1", "officeDocument", "word/document.xml")]), document])
}

fn word_of(body: &str) -> Vec<u8> {
    word(part("word/document.xml", &format!("<w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>")))
}

fn workbook() -> Vec<u8> {
    let sheet = r#"<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>Depth</t></is></c></row>
        <row r="2"><c r="A2"><v>4</v></c><c r="B2"><v>12.5</v></c></row></sheetData></worksheet>"#;
    let other = r#"<worksheet><sheetData><row r="1"><c r="A1"><v>7</v></c></row></sheetData></worksheet>"#;
    zip(&[
        relations("_rels/.rels", &[("rId1", "officeDocument", "xl/workbook.xml")]),
        part(
            "xl/workbook.xml",
            r#"<workbook><sheets><sheet name="Piers" r:id="a"/><sheet name="Gates" r:id="b"/></sheets></workbook>"#,
        ),
        relations(
            "xl/_rels/workbook.xml.rels",
            &[
                ("a", "worksheet", "sheets/1.xml"),
                ("b", "worksheet", "/xl/sheets/2.xml"),
                ("s", "sharedStrings", "s.xml"),
            ],
        ),
        part("xl/s.xml", "<sst><si><t>Pier</t></si></sst>"),
        part("xl/sheets/1.xml", sheet),
        part("xl/sheets/2.xml", other),
    ])
}

/// A PDF of these objects, numbered from 1; the first is the catalog.
fn pdf_of(objects: &[String]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", n + 1).as_bytes());
    }
    let (table, size) = (file.len(), objects.len() + 1);
    file.extend_from_slice(format!("xref\n0 {size}\n0000000000 65535 f \n").as_bytes());
    for place in places {
        file.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    file.extend_from_slice(format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").as_bytes());
    file
}

fn stream(dictionary: &str, content: &str) -> String {
    format!("<< {dictionary} /Length {} >>\nstream\n{content}\nendstream", content.len())
}

fn pdf(content: &str, resources: &str, more: &[String]) -> Vec<u8> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!("<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> {resources} >> >>"),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        stream("", content),
    ];
    objects.extend_from_slice(more);
    pdf_of(&objects)
}

/// A PDF whose drawings use each other, each the next one ten times: a trillion drawings in two kilobytes.
fn pdf_without_end() -> Vec<u8> {
    const DEEP: usize = 11;
    let drawing = |n: usize| {
        let next = format!("/Type /XObject /Subtype /Form /Resources << /XObject << /X {} 0 R >> >>", n + 7);
        stream(&next, &"/X Do ".repeat(10))
    };
    let drawings: Vec<String> =
        (0..DEEP).map(drawing).chain([stream("/Type /XObject /Subtype /Form", "0 0 m")]).collect();
    pdf("/X Do", "/XObject << /X 6 0 R >>", &drawings)
}

#[tokio::test]
async fn documents_become_text_for_the_model() {
    let page = pdf("BT /F1 12 Tf 72 700 Td (The sluice gates) Tj 0 -14 Td [(open) -300 (at noon.)] TJ ET", "", &[]);
    assert_eq!(text_of("application/pdf", &page).await, "The sluice gates open at noon.");

    let body = "<w:p><w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr><w:r><w:t>Gates</w:t></w:r></w:p>\
                <w:p><w:r><w:t>Open &amp; shut.</w:t></w:r></w:p>";
    assert_eq!(text_of(DOCX, &word_of(body)).await, "# Gates\n\nOpen & shut.");

    assert_eq!(text_of(XLSX, &workbook()).await, "## Piers\n\nPier,Depth\n4,12.5\n\n## Gates\n\n7");

    let html = b"<title>Log</title><h1>Log</h1><p>caf\xe9 <b>open</b><script>alert(1)</script>";
    assert_eq!(text_of("text/html; charset=iso-8859-1", html).await, "# Log\n\ncafé **open**");
}

#[tokio::test]
async fn text_and_images_stay_what_they_are() {
    for (media_type, content) in [
        ("text/plain", "a < b\n"),
        ("text/markdown", "# A\n"),
        ("text/csv", "a;b\n1;2"),
        ("application/json", "{\"a\": 1}"),
    ] {
        assert_eq!(text_of(media_type, content.as_bytes()).await, content);
    }
    let image = read(sent("image/png", PNG)).await.unwrap();
    assert_eq!((image.kind, image.media_type.as_str(), &*image.content), (AttachmentKind::Image, "image/png", PNG));
}

#[tokio::test]
async fn a_long_text_is_cut_and_says_so() {
    let text = text_of("text/plain", "All work and no play.\n".repeat(20_000).as_bytes()).await;
    assert!(text.len() <= MAX_TEXT_BYTES && text.ends_with("[The file goes on. Only its beginning is given here.]"));
    let paragraph = format!("<w:p><w:r><w:t>{}</w:t></w:r></w:p>", "All work and no play. ".repeat(20_000));
    let text = text_of(DOCX, &word_of(&paragraph)).await;
    assert!(text.len() <= MAX_TEXT_BYTES && text.ends_with("[The file goes on. Only its beginning is given here.]"));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_is_said_to_be_is_refused_with_its_place() {
    let page = pdf("BT /F1 12 Tf (x) Tj ET", "", &[]);
    assert_eq!(
        error_of(sent("image/png", &page)).await,
        "attachments[1].mimeType: the file is said to be image/png, and its content is application/pdf"
    );
    assert_eq!(
        error_of(sent("application/pdf", b"hello")).await,
        "attachments[1].mimeType: the file is said to be application/pdf, and its content is not"
    );
    assert_eq!(
        error_of(sent(XLSX, &word_of(""))).await,
        format!(
            "attachments[1]: the file can not be read as {XLSX}: its main part is \"word/document.xml\", and that of an \
             Excel workbook is within xl/"
        )
    );
    let unknown = error_of(sent("application/x-msdownload", b"MZ")).await;
    assert!(
        unknown.starts_with("attachments[1].mimeType: \"application/x-msdownload\" is no type of file"),
        "{unknown}"
    );
    let broken = IncomingFile { content: IncomingContent::Base64("a*b=".to_owned()), ..sent("text/plain", b"") };
    assert_eq!(error_of(broken).await, "attachments[1].data: this is no standard base64: invalid symbol 42, offset 1.");
    assert_eq!(error_of(sent("text/plain", b"")).await, "attachments[1]: the file is empty");
    let large = vec![0; 5 * 1024 * 1024 + 1];
    assert_eq!(error_of(sent("image/png", &large)).await, "attachments[1]: the image has more than 5242880 bytes");
    let named = IncomingFile { file_name: String::new(), ..sent("text/plain", b"x") };
    assert!(error_of(named).await.starts_with("attachments[1].fileName: "));
    let many = vec![sent("text/plain", b"x"); MAX_FILES + 1];
    let error = attachments(&[]).read_all(&tenant(), many).await.unwrap_err();
    assert_eq!(error.to_string(), "attachments[10]: at most 10 files come with one message");
}

#[tokio::test]
async fn an_archive_that_unpacks_without_end_is_stopped() {
    let bomb = word(part_of_spaces("word/document.xml", 300_000));
    assert!(bomb.len() < 1 << 20);
    let error = error_of(sent(DOCX, &bomb)).await;
    assert!(error.contains("can not be read") && error.contains("the archive unpacks to more than 64 MiB"), "{error}");
    assert_eq!(text_of(DOCX, &word_of("<w:p><w:r><w:t>Well.</w:t></w:r></w:p>")).await, "Well.");
}

#[tokio::test]
async fn a_file_that_computes_without_end_is_stopped_and_the_next_one_is_read() {
    let error = error_of(sent("application/pdf", &pdf_without_end())).await;
    // Its processor time is spent first, unless the machine is so busy that its wall time is.
    let stopped = error.ends_with("the plugin used more than 6000 ms of processor time and was stopped")
        || error.ends_with("the plugin took longer than 60000 ms and was stopped");
    assert!(stopped && error.starts_with("attachments[1]: the file can not be read as application/pdf: "), "{error}");
    assert_eq!(text_of("application/pdf", &pdf("BT /F1 12 Tf (Well.) Tj ET", "", &[])).await, "Well.");
}

#[tokio::test]
async fn a_reading_that_nobody_waits_for_gives_its_place_back() {
    let attachments = attachments(&[]);
    let forever = sent("application/pdf", &pdf_without_end());
    for _ in 0..4 {
        // More than a tenant may have at one time.
        let tenant = tenant();
        let reading = attachments.read(&tenant, 0, forever.clone());
        assert!(tokio::time::timeout(Duration::from_millis(50), reading).await.is_err());
    }
    let page = sent("application/pdf", &pdf("BT /F1 12 Tf (Well.) Tj ET", "", &[]));
    assert!(attachments.read(&tenant(), 0, page).await.is_ok());
}

#[tokio::test]
async fn text_nested_without_end_is_refused_or_read_and_never_fatal() {
    let nested = "<div>".repeat(20_000);
    let _either_way = read(sent("text/html", nested.as_bytes())).await;
    let arrays = pdf(&"[".repeat(200_000), "", &[]);
    assert!(error_of(sent("application/pdf", &arrays)).await.contains("can not be read"));
    assert_eq!(text_of("text/html", b"<p>Well.").await, "Well.");
}

/// A server of files on this machine, and its place.
async fn server() -> String {
    let app = Router::new()
        .route("/note", get(|| async { ([("content-type", "image/png")], "From the net.") }))
        .route("/redirect", get(|| async { Redirect::temporary("/note") }))
        .route("/round", get(|| async { Redirect::temporary("/round") }))
        .route("/away", get(|| async { Redirect::temporary("http://127.0.0.2/note") }))
        .route("/file", get(|| async { Redirect::temporary("file:///etc/passwd") }))
        .route("/gone", get(|| async { StatusCode::GONE }))
        .route("/large", get(|| async { vec![b'a'; 11 << 20] }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    place
}

#[tokio::test]
async fn a_private_address_is_fetched_from_only_where_the_operator_has_excepted_it() {
    let place = server().await;
    let refused = error_of(at("text/plain", format!("http://{place}/note"))).await;
    let port = place.rsplit(':').next().unwrap();
    assert!(
        refused == format!("attachments[1].url: the file can not be fetched: {place} is not on the public internet")
            || refused.ends_with(&format!("127.0.0.1:{port} is not at the port of its scheme, 80 or 443")),
        "{refused}"
    );
    let refused = error_of(at("text/plain", "http://169.254.169.254/latest/meta-data/".to_owned())).await;
    assert!(refused.ends_with("169.254.169.254:80 is not on the public internet"), "{refused}");

    let open = attachments(std::slice::from_ref(&place));
    let fetch = async |path: &str| {
        let read = open.read(&tenant(), 0, at("text/plain", format!("http://{place}{path}"))).await;
        read.map(|file| String::from_utf8(file.content.to_vec()).unwrap()).map_err(|error| error.to_string())
    };
    // The server says that it is an image; the client knows better, and the content bears it out.
    assert_eq!(fetch("/note").await.unwrap(), "From the net.");
    assert_eq!(fetch("/redirect").await.unwrap(), "From the net.");
    let error = async |path: &str| fetch(path).await.unwrap_err();
    let why = "attachments[0].url: the file can not be fetched: ";
    assert_eq!(error("/round").await, format!("{why}it is redirected more than 3 times"));
    assert_eq!(error("/away").await, format!("{why}127.0.0.2:80 is not on the public internet"));
    assert_eq!(
        error("/file").await,
        format!("{why}it is redirected: a file is fetched over http or https, and not over \"file\"")
    );
    assert_eq!(error("/gone").await, format!("{why}its server answers with the status 410"));
    assert_eq!(error("/large").await, "attachments[0]: the file has more than 10485760 bytes");
}

#[tokio::test]
async fn no_tenant_sees_the_hosts_own_reader_of_documents() {
    let host = Host::builder().start().await;
    for list in ["/v1/plugins", "/v1/tools"] {
        let (status, listed) = host.json(Method::GET, list, None).await;
        assert_eq!(status, 200);
        let listed = listed.to_string();
        assert!(!listed.contains("vivarium/documents") && !listed.contains("read_document"), "{listed}");
    }
    assert_eq!(host.json(Method::GET, "/v1/plugins/vivarium/documents", None).await.0, 404);
    let call = serde_json::json!({"arguments": {"format": "html", "data": ""}});
    assert_eq!(host.json(Method::POST, "/v1/tools/read_document/call", Some(&call)).await.0, 404);
}
