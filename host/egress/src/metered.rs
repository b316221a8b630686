//! A connection whose every byte is counted, and which ends where the meter's total does.
//!
//! The count is taken here and not at the bodies, because not everything that costs is in a body: a server can send
//! interim answers without end, or wrap each byte into a chunk of its own. TLS is below and is not counted.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connect::Stream;
use crate::{EgressError, Meter};

/// Keeps the first failure of ours: the HTTP library hides it in an error of its own.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<OnceLock<EgressError>>);

impl Failure {
    pub(crate) fn set(&self, error: EgressError) -> EgressError {
        self.0.get_or_init(|| error).clone()
    }

    pub(crate) fn get(&self) -> Option<EgressError> {
        self.0.get().cloned()
    }
}

pub(crate) struct Metered {
    pub(crate) inner: Box<dyn Stream>,
    pub(crate) meter: Meter,
    pub(crate) max_total: u64,
    pub(crate) failure: Failure,
}

impl Metered {
    fn fail(&self, error: EgressError) -> io::Error {
        io::Error::other(self.failure.set(error))
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let count = buffer.filled().len() - before;
        if let Err(error) = self.meter.receive(count, self.max_total) {
            buffer.set_filled(before);
            return Poll::Ready(Err(self.fail(error)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Taken before the bytes are handed on, so that two exchanges can not both send the last ones.
        if let Err(error) = self.meter.send(bytes.len(), self.max_total) {
            return Poll::Ready(Err(self.fail(error)));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        let count = if let Poll::Ready(Ok(count)) = &written { *count } else { 0 };
        self.meter.give_back_sent(bytes.len().saturating_sub(count));
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
