//! Bodies, both ways: bounded, and the response's with a deadline and its secrets masked.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::metered::Failure;
use crate::{EgressError, RedactorStream};

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What the guest sends, up to the bound.
pub(crate) struct RequestBody {
    pub(crate) inner: UnsyncBoxBody<Bytes, AnyError>,
    pub(crate) left: u64,
    pub(crate) max: u64,
    pub(crate) failure: Failure,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else { return Poll::Ready(None) };
            let data = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => data,
                // Trailers would reach the server unchecked; nothing that a guest calls needs them.
                Ok(Err(_trailers)) => continue,
                Err(error) => {
                    return Poll::Ready(Some(Err(self.failure.set(EgressError::RequestBody(error.to_string())))));
                }
            };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                let what = "the request's body in bytes";
                return Poll::Ready(Some(Err(self.failure.set(EgressError::LimitExceeded { what, max: self.max }))));
            };
            self.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Ends the connection's task with its owner: what a guest no longer waits for is no longer done.
pub(crate) struct Connection(pub(crate) JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the server sends, up to the bound and the deadline. Dropping it closes the connection.
pub struct EgressBody {
    pub(crate) inner: Incoming,
    pub(crate) redactor: RedactorStream,
    pub(crate) left: u64,
    pub(crate) max: u64,
    pub(crate) deadline: Pin<Box<Sleep>>,
    pub(crate) total_ms: u64,
    pub(crate) host: String,
    pub(crate) failure: Failure,
    pub(crate) ended: bool,
    pub(crate) _connection: Connection,
}

impl EgressBody {
    /// The next piece as the server sent it, counted and bounded; none at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, EgressError>>> {
        loop {
            if self.deadline.as_mut().poll(cx).is_ready() {
                let (host, limit_ms) = (self.host.clone(), self.total_ms);
                return Poll::Ready(Some(Err(EgressError::Timeout { host, limit_ms, step: "answer" })));
            }
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else { return Poll::Ready(None) };
            let data = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_trailers)) => continue,
                Err(error) => {
                    let protocol = || EgressError::Protocol { host: self.host.clone(), reason: error.to_string() };
                    return Poll::Ready(Some(Err(self.failure.get().unwrap_or_else(protocol))));
                }
            };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                let what = "the response's body in bytes";
                return Poll::Ready(Some(Err(EgressError::LimitExceeded { what, max: self.max })));
            };
            self.left = left;
            return Poll::Ready(Some(Ok(data)));
        }
    }
}

impl Body for EgressBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        while !self.ended {
            let shown = match ready!(self.poll_data(cx)) {
                Some(Ok(data)) => self.redactor.push(data),
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    self.redactor.finish()
                }
            };
            if !shown.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(shown))));
            }
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for EgressBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressBody").field("host", &self.host).field("left", &self.left).finish_non_exhaustive()
    }
}
