//! A guest's stream into a file of its workspace. wasmtime's own would write past the quota.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

use super::note_if_full;
use super::workspace::{GrowError, Place, Workspace};
use crate::capability::denial::Denials;

/// What one write may hold: it is copied for the task that does the writing.
const PERMIT_BYTES: usize = 64 << 10;

pub(super) struct WorkspaceStream {
    workspace: Arc<Workspace>,
    file: Arc<File>,
    place: Place,
    denials: Denials,
    state: State,
}

enum State {
    Ready,
    Writing(AbortOnDropJoinHandle<Result<usize, GrowError>>),
    Failed(GrowError),
    Closed,
}

impl WorkspaceStream {
    pub(super) fn new(workspace: Arc<Workspace>, file: Arc<File>, place: Place, denials: Denials) -> Self {
        Self { workspace, file, place, denials, state: State::Ready }
    }

    /// Tells the failure of the last write, once.
    fn check(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            State::Closed => Err(StreamError::Closed),
            state => {
                self.state = state;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl OutputStream for WorkspaceStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.check()?;
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("a write without, or of more bytes than, check-write's permit"));
        }
        let (workspace, file, place) = (Arc::clone(&self.workspace), Arc::clone(&self.file), self.place);
        self.state = State::Writing(spawn(write_all(workspace, file, place, bytes)));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // What is written is on its way already, and check-write waits for it.
        self.check()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        Ok(if matches!(self.state, State::Ready) { PERMIT_BYTES } else { 0 })
    }

    async fn cancel(&mut self) {
        if let State::Writing(task) = std::mem::replace(&mut self.state, State::Closed) {
            task.cancel().await;
        }
    }
}

#[async_trait]
impl Pollable for WorkspaceStream {
    async fn ready(&mut self) {
        let State::Writing(task) = &mut self.state else { return };
        self.state = match task.await {
            Ok(written) => {
                if let Place::At(at) = &mut self.place {
                    *at = at.saturating_add(written as u64);
                }
                State::Ready
            }
            Err(error) => {
                note_if_full(&self.denials, &error);
                State::Failed(error)
            }
        };
    }
}

async fn write_all(
    workspace: Arc<Workspace>,
    file: Arc<File>,
    mut place: Place,
    mut bytes: Bytes,
) -> Result<usize, GrowError> {
    let all = bytes.len();
    while !bytes.is_empty() {
        let written = Arc::clone(&workspace).write(Arc::clone(&file), place, bytes.clone()).await?;
        if written == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        bytes = bytes.slice(written.min(bytes.len())..);
        if let Place::At(at) = &mut place {
            *at = at.saturating_add(written as u64);
        }
    }
    Ok(all)
}
