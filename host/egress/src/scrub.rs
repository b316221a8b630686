//! Keeps injected credentials out of what a guest reads back: an echo server must not give away what the host added.
//!
//! Each occurrence is overwritten with as many asterisks, so lengths stay true. Only the plain form is found: a server
//! that returns the secret in another coding was trusted with it by the operator, and could send it anywhere.

use bytes::Bytes;

const MASK: u8 = b'*';

/// Overwrites the secrets in `bytes`; whether there were any.
pub(crate) fn mask(bytes: &mut [u8], secrets: &[Vec<u8>]) -> bool {
    let mut found = false;
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let mut start = 0;
        while let Some(at) = bytes.get(start..).and_then(|rest| rest.windows(secret.len()).position(|w| w == secret)) {
            let end = start + at + secret.len();
            if let Some(hit) = bytes.get_mut(start + at..end) {
                hit.fill(MASK);
            }
            start = end;
            found = true;
        }
    }
    found
}

/// Masks a stream, also across the borders of its chunks: it holds back an end that may be the start of a secret.
#[derive(Debug, Default)]
pub(crate) struct Scrubber {
    secrets: Vec<Vec<u8>>,
    held: Vec<u8>,
}

impl Scrubber {
    pub(crate) fn new(secrets: Vec<Vec<u8>>) -> Self {
        Self { secrets, held: Vec::new() }
    }

    /// What may be shown after this chunk; may be empty.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.secrets.is_empty() {
            return chunk;
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(&chunk);
        mask(&mut bytes, &self.secrets);
        let keep = self.secrets.iter().map(|secret| open_end(&bytes, secret)).max().unwrap_or(0);
        self.held = bytes.split_off(bytes.len() - keep);
        bytes.into()
    }

    /// What was held back, at the end of the stream.
    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }
}

/// The length of the longest end of `bytes` that `secret` begins with.
fn open_end(bytes: &[u8], secret: &[u8]) -> usize {
    let longest = bytes.len().min(secret.len().saturating_sub(1));
    let ends = |&length: &usize| bytes.len().checked_sub(length).and_then(|at| bytes.get(at..)) == secret.get(..length);
    (1..=longest).rev().find(ends).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrub(chunks: &[&[u8]], secrets: &[&str]) -> Vec<u8> {
        let mut scrubber = Scrubber::new(secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect());
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(chunk)));
        }
        out.extend_from_slice(&scrubber.finish());
        out
    }

    #[test]
    fn a_secret_is_masked_in_one_chunk_and_over_many() {
        assert_eq!(scrub(&[b"key=sesame!"], &["sesame"]), b"key=******!");
        assert_eq!(scrub(&[b"key=se", b"sa", b"me!"], &["sesame"]), b"key=******!");
        assert_eq!(scrub(&[b"sese", b"same"], &["sesame"]), b"se******");
        assert_eq!(scrub(&[b"sesam"], &["sesame"]), b"sesam");
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_no_secret_comes_through_and_nothing_else_is_changed(
            text in "[ab]{0,60}", secret in "[ab]{3,6}", cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(0);
            cuts.push(text.len());
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let out = scrub(&chunks, &[&secret]);
            prop_assert_eq!(out.len(), text.len());
            prop_assert!(!out.windows(secret.len()).any(|window| window == secret.as_bytes()));
            if !text.contains(&secret) {
                prop_assert_eq!(out, text.into_bytes());
            }
        }
    }
}
