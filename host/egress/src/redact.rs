//! Keeps secrets out of what is read back, shown or logged.

use std::borrow::{Borrow, Cow};
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};

use crate::scrub::{Scrubber, mask};

/// Masks secrets in texts and streams. The default masks nothing.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<Vec<Vec<u8>>>,
}

impl Redactor {
    /// A shorter secret would turn up by chance, and could be guessed from what was masked: it is not looked for.
    pub const MIN_SECRET_BYTES: usize = 8;

    /// Masks these secrets, each of at least [`Self::MIN_SECRET_BYTES`].
    pub fn new<I>(secrets: I) -> Self
    where
        I: IntoIterator,
        I::Item: Borrow<SecretString>,
    {
        let bytes = |secret: I::Item| secret.borrow().expose_secret().as_bytes().to_vec();
        let secrets = secrets.into_iter().map(bytes).filter(|secret| secret.len() >= Self::MIN_SECRET_BYTES);
        Self { secrets: Arc::new(secrets.collect()) }
    }

    /// Nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The text with its secrets masked.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut bytes = text.as_bytes().to_vec();
        match mask(&mut bytes, &self.secrets) {
            true => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
            false => Cow::Borrowed(text),
        }
    }

    /// Masks a stream of chunks.
    #[must_use]
    pub fn stream(&self) -> RedactorStream {
        RedactorStream(Scrubber::new(self.secrets.to_vec()))
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

/// One stream on its way through a [`Redactor`].
pub struct RedactorStream(Scrubber);

impl RedactorStream {
    /// What may be shown after this chunk; may be empty.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        self.0.push(chunk)
    }

    /// What was held back, at the end of the stream.
    pub fn finish(&mut self) -> Bytes {
        self.0.finish()
    }
}

impl std::fmt::Debug for RedactorStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedactorStream").finish_non_exhaustive()
    }
}
