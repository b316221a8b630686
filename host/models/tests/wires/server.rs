//! A scripted model server: it plays one reply per request, in order, byte for byte, and keeps what it was asked. It is
//! written on the bare socket, since half of what it plays no HTTP library would let through.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::Url;

/// No test waits longer for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a reply ends.
#[derive(Clone, Copy)]
enum Ending {
    /// As HTTP wants it; the connection is kept.
    Whole,
    /// The connection is closed in the middle of the body.
    Cut,
    /// Nothing more comes, and the connection stays open until the client closes it.
    Silence,
}

/// One reply.
pub(crate) struct Play {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Vec<u8>>,
    ending: Ending,
}

impl Play {
    fn new(status: u16, content_type: &str, pieces: Vec<Vec<u8>>, ending: Ending) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], pieces, ending }
    }

    /// A whole stream of events.
    pub(crate) fn events(text: &str) -> Self {
        Self::new(200, "text/event-stream", vec![text.as_bytes().to_vec()], Ending::Whole)
    }

    /// A whole stream of these bytes.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(200, "text/event-stream", vec![bytes], Ending::Whole)
    }

    /// A whole stream, in pieces of so many bytes, cut wherever they end.
    pub(crate) fn events_in_pieces(text: &str, bytes: usize) -> Self {
        let pieces = text.as_bytes().chunks(bytes).map(<[u8]>::to_vec).collect();
        Self::new(200, "text/event-stream; charset=utf-8", pieces, Ending::Whole)
    }

    /// A stream that is cut after this.
    pub(crate) fn cut_after(text: &str) -> Self {
        Self { ending: Ending::Cut, ..Self::events(text) }
    }

    /// A stream in which nothing follows this.
    pub(crate) fn silent_after(text: &str) -> Self {
        Self { ending: Ending::Silence, ..Self::events(text) }
    }

    /// A JSON document.
    pub(crate) fn json(status: u16, text: &str) -> Self {
        Self::new(status, "application/json", vec![text.as_bytes().to_vec()], Ending::Whole)
    }

    /// No reply at all: the connection is closed once the request was read.
    pub(crate) fn hang_up() -> Self {
        Self::new(0, "", Vec::new(), Ending::Cut)
    }

    /// No reply at all: the connection stays open.
    pub(crate) fn nothing() -> Self {
        Self::new(0, "", Vec::new(), Ending::Silence)
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Counts the connections from 1.
    pub(crate) connection: usize,
    /// Method and path.
    pub(crate) line: String,
    head: String,
    pub(crate) body: String,
    pub(crate) at: std::time::Instant,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (one, value) = line.split_once(':')?;
            one.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

struct State {
    plays: Mutex<VecDeque<Play>>,
    asked: Mutex<Vec<Asked>>,
    left: mpsc::UnboundedSender<()>,
}

/// The server; it ends with the test's runtime.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    left: mpsc::UnboundedReceiver<()>,
}

impl Server {
    pub(crate) async fn playing(plays: impl IntoIterator<Item = Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, left) = mpsc::unbounded_channel();
        let plays = Mutex::new(plays.into_iter().collect());
        let state = Arc::new(State { plays, asked: Mutex::default(), left: sender });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            for connection in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&shared)));
            }
        });
        Self { address, state, left }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// The only request.
    pub(crate) fn asked_once(&self) -> Asked {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:#?}");
        asked.remove(0)
    }

    /// Waits until a client has closed a connection in the middle of a reply.
    pub(crate) async fn client_has_left(&mut self) {
        let left = tokio::time::timeout(PATIENCE, self.left.recv()).await;
        left.expect("the client keeps the connection open").unwrap();
    }
}

async fn serve(mut stream: TcpStream, connection: usize, state: Arc<State>) {
    stream.set_nodelay(true).unwrap();
    while let Some(asked) = read_request(&mut stream, connection).await {
        state.asked.lock().unwrap().push(asked);
        let play = state.plays.lock().unwrap().pop_front();
        let Some(play) = play else {
            let _ = stream.write_all(b"HTTP/1.1 418 Off Script\r\ncontent-length: 0\r\n\r\n").await;
            return;
        };
        if send(&mut stream, &play).await.is_err() {
            let _ = state.left.send(());
            return;
        }
        match play.ending {
            Ending::Whole => {}
            Ending::Cut => return,
            Ending::Silence => {
                let mut rest = [0; 64];
                while matches!(stream.read(&mut rest).await, Ok(1..)) {}
                let _ = state.left.send(());
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, connection: usize) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let mut asked = Asked { connection, line, head, body: String::new(), at: std::time::Instant::now() };
    let length: usize = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}

async fn send(stream: &mut TcpStream, play: &Play) -> std::io::Result<()> {
    if play.status == 0 {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\ntransfer-encoding: chunked\r\n", play.status);
    for (name, value) in &play.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    // An empty chunk would be the last one.
    for piece in play.pieces.iter().filter(|piece| !piece.is_empty()) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        stream.write_all(piece).await?;
        stream.write_all(b"\r\n").await?;
    }
    if matches!(play.ending, Ending::Whole) {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.flush().await
}
