//! Requests as raw as `wasi:http` takes them: nothing between the guest and the host makes them any better.

use serde_json::{Value, json};

use crate::wasi::http::outgoing_handler::handle;
use crate::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use crate::wasi::io::streams::StreamError;
use crate::{Outcome, Wish};

pub(crate) fn attack(name: &str, wish: &Wish, idempotency_key: &str) -> Option<Outcome> {
    Some(match name {
        "fetch" => fetch(wish, &[]),
        // As an honest tool asks a service that drops repeated requests.
        "fetch once" => fetch(wish, &[("idempotency-key", idempotency_key)]),
        "connect" => {
            std::net::TcpStream::connect(wish.text("to")).map(|_| json!("connected")).map_err(|error| error.to_string())
        }
        "udp" => std::net::UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.send_to(b"x", wish.text("to")))
            .map(|_| json!("sent"))
            .map_err(|error| error.to_string()),
        "listen" => {
            std::net::TcpListener::bind(wish.text("to")).map(|_| json!("listening")).map_err(|error| error.to_string())
        }
        "resolve" => std::net::ToSocketAddrs::to_socket_addrs(&(wish.text("to"), 80))
            .map(|found| json!(found.map(|address| address.to_string()).collect::<Vec<_>>()))
            .map_err(|error| error.to_string()),
        "header flood" => Ok(header_flood(wish)),
        _ => return None,
    })
}

fn request(wish: &Wish, headers: &[(&str, &str)]) -> Result<OutgoingRequest, String> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).map_err(|error| format!("header {name}: {error:?}"))?;
    }
    for pair in wish.value("headers").as_array().into_iter().flatten() {
        let text = |at: usize| pair[at].as_str().unwrap_or_default();
        fields.append(text(0), text(1).as_bytes()).map_err(|error| format!("header {}: {error:?}", text(0)))?;
    }
    let request = OutgoingRequest::new(fields);
    let method = match wish.text("method") {
        "" | "GET" => Method::Get,
        "POST" => Method::Post,
        other => Method::Other(other.to_owned()),
    };
    let scheme = match wish.text("scheme") {
        "" | "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| "method".to_owned())?;
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme".to_owned())?;
    request.set_authority(Some(wish.text("authority"))).map_err(|()| "authority".to_owned())?;
    let path = match wish.text("path") {
        "" => "/",
        path => path,
    };
    request.set_path_with_query(Some(path)).map_err(|()| "path".to_owned())?;
    Ok(request)
}

fn fetch(wish: &Wish, headers: &[(&str, &str)]) -> Outcome {
    let request = request(wish, headers)?;
    let body = request.body().map_err(|()| "body".to_owned())?;
    let answer = handle(request, None).map_err(told)?;
    send(body, wish.number("bytes"))?;
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(error))) => return Err(told(error)),
        _ => return Err("no answer".to_owned()),
    };
    let status = response.status();
    let entries = response.headers().entries();
    let headers: Vec<_> =
        entries.into_iter().map(|(name, value)| json!([name, String::from_utf8_lossy(&value)])).collect();
    let (mut body, cut) = receive(&response, wish);
    let bytes = body.len();
    body.truncate(64 << 10);
    Ok(
        json!({"status": status, "headers": headers, "body": String::from_utf8_lossy(&body), "bytes": bytes, "cut": cut}),
    )
}

fn told(error: ErrorCode) -> String {
    match error {
        ErrorCode::InternalError(Some(sentence)) => sentence,
        other => format!("{other:?}"),
    }
}

fn send(body: OutgoingBody, mut bytes: u64) -> Result<(), String> {
    let chunk = [b'x'; 4096];
    let stream = body.write().map_err(|()| "stream".to_owned())?;
    while bytes > 0 {
        let now = bytes.min(chunk.len() as u64) as usize;
        // What the host will not take it says in the answer.
        if stream.blocking_write_and_flush(&chunk[..now]).is_err() {
            break;
        }
        bytes -= now as u64;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

/// The body, in as small pieces as the guest likes, and what ended it before its end.
fn receive(response: &IncomingResponse, wish: &Wish) -> (Vec<u8>, Value) {
    let piece = wish.number("piece").max(1);
    let piece = if wish.value("piece").is_null() { 64 << 10 } else { piece };
    let mut bytes = Vec::new();
    let Ok(body) = response.consume() else { return (bytes, json!("body")) };
    let Ok(stream) = body.stream() else { return (bytes, json!("stream")) };
    let cut = loop {
        match stream.blocking_read(piece) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => break Value::Null,
            Err(StreamError::LastOperationFailed(error)) => break json!(error.to_debug_string()),
        }
        match wish.text("then") {
            "trap" => std::process::abort(),
            "spin" => crate::resources::spin(),
            _ => {}
        }
    };
    drop(stream);
    drop(IncomingBody::finish(body));
    (bytes, cut)
}

/// Headers until the host refuses one.
fn header_flood(wish: &Wish) -> Value {
    let fields = Fields::new();
    let value = vec![b'v'; wish.number("bytes") as usize];
    for number in 0..wish.number("times") {
        if let Err(error) = fields.append(&format!("x-{number}"), &value) {
            return json!({"kept": number, "error": format!("{error:?}")});
        }
    }
    json!({"kept": wish.number("times")})
}
