//! What a program writes to its standard output or its standard error: its beginning and its end are kept, the middle is
//! counted. A program can write as much as its processor time allows, and the host holds no more of it than it was asked to.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::bindings::vivarium::plugin::programs as wit;

/// What one write may hold.
const PERMIT_BYTES: usize = 64 << 10;

/// One output of a program. Clones share it.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Kept>>);

struct Kept {
    /// How much is kept of the beginning, and of the end.
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: u64,
}

impl Kept {
    fn write(&mut self, bytes: &[u8]) {
        let room = self.half.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        // Of one long write only its end can stay.
        let (lost, rest) = rest.split_at(rest.len().saturating_sub(self.half));
        let over = (self.tail.len() + rest.len()).saturating_sub(self.half).min(self.tail.len());
        self.tail.drain(..over);
        self.tail.extend(rest);
        self.cut = self.cut.saturating_add((lost.len() + over) as u64);
    }
}

impl Output {
    /// Keeps so many bytes.
    pub(crate) fn keeping(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { half: bytes / 2, head: Vec::new(), tail: VecDeque::new(), cut: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written.
    pub(crate) fn take(&self) -> wit::Written {
        let mut kept = self.lock();
        wit::Written {
            head: std::mem::take(&mut kept.head),
            cut: kept.cut,
            tail: std::mem::take(&mut kept.tail).into(),
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > PERMIT_BYTES {
            return Err(StreamError::trap("a write of more bytes than check-write's permit"));
        }
        self.lock().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_of_a_flood_are_kept_and_the_middle_is_counted() {
        for size in [1, 3, 7, 1000] {
            let output = Output::keeping(10);
            let flood: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
            for chunk in flood.chunks(size) {
                output.lock().write(chunk);
            }
            let written = output.take();
            assert_eq!(written.head, &flood[..5], "in writes of {size}");
            assert_eq!(written.tail, &flood[995..]);
            assert_eq!(written.cut, 990);
        }
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let output = Output::keeping(10);
        output.lock().write(b"0123");
        output.lock().write(b"456789");
        let written = output.take();
        assert_eq!((written.head.as_slice(), written.cut, written.tail.as_slice()), (&b"01234"[..], 0, &b"56789"[..]));
    }
}
