//! How far a reader has come in a run's log, and in the answer that is being written while it reads.
//!
//! Tokens are not in the log, so a cursor says how many bytes of the answer were shown after the last event, and what they
//! add up to. Where the model had to be asked again meanwhile and writes the same, a reader goes on behind them; where it
//! writes something else, what was shown is void, and the reader is told so.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How far a reader has come. As text: `7`, or `7.132.9ae3f1c2` in the middle of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The number of the last event that was seen; 0: none.
    pub after: u64,
    /// What was seen of the answer after it.
    seen: Seen,
}

/// A beginning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    bytes: u64,
    /// CRC-32.
    checksum: u32,
}

impl Seen {
    fn of(text: &str) -> Self {
        Self::default().and(text)
    }

    fn and(self, text: &str) -> Self {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.checksum);
        hasher.update(text.as_bytes());
        Self { bytes: self.bytes + text.len() as u64, checksum: hasher.finalize() }
    }
}

impl Cursor {
    /// Behind this event.
    #[must_use]
    pub fn after(seq: u64) -> Self {
        Self { after: seq, seen: Seen::default() }
    }

    /// Behind this text, which was shown after this event.
    #[must_use]
    pub fn behind(seq: u64, text: &str) -> Self {
        Self { after: seq, seen: Seen::of(text) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, seen } = self;
        match seen.bytes {
            0 => write!(f, "{after}"),
            bytes => write!(f, "{after}.{bytes}.{:08x}", seen.checksum),
        }
    }
}

/// What is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the number of an event, from 0 on, or the id that a stream gave a token, such as 7.132.9ae3f1c2")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let mut parts = text.split('.');
        let after = parts.next().and_then(number).ok_or(NoCursor)?;
        let Some(bytes) = parts.next() else { return Ok(Self::after(after)) };
        let bytes = number(bytes).filter(|bytes| *bytes > 0).ok_or(NoCursor)?;
        let checksum = parts.next().filter(|text| text.len() == 8 && parts.next().is_none());
        let checksum = checksum.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(NoCursor)?;
        Ok(Self { after, seen: Seen { bytes, checksum } })
    }
}

/// What a reader is shown of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This the reader has seen before it came here.
    Seen(Arc<str>, Cursor),
    /// What was shown since the last event is void: the answer begins anew.
    Void,
    /// The next piece, and how far the reader has come with it.
    Text(Arc<str>, Cursor),
}

/// The answer that is being written, as one reader has seen it.
#[derive(Debug, Default)]
pub(crate) struct AnswerText {
    at: Cursor,
    /// What the reader has seen before it came here is not verified yet; this is the text up to now.
    unverified: Option<String>,
}

impl AnswerText {
    pub(crate) fn new(at: Cursor) -> Self {
        Self { at, unverified: (at.seen.bytes > 0).then(String::new) }
    }

    /// How far the reader has come.
    pub(crate) fn at(&self) -> Cursor {
        self.at
    }

    /// An event was seen: what comes now is another text.
    pub(crate) fn event(&mut self, seq: u64) {
        *self = Self::new(Cursor::after(seq));
    }

    /// An event was seen in the middle of an answer: what was seen of that stays.
    pub(crate) fn event_within(&mut self, seq: u64) {
        self.at.after = seq;
    }

    /// The next piece of the answer.
    pub(crate) fn token(&mut self, text: &Arc<str>) -> Vec<Piece> {
        let Some(so_far) = &mut self.unverified else { return vec![self.show(Arc::clone(text))] };
        so_far.push_str(text);
        if (so_far.len() as u64) < self.at.seen.bytes {
            return Vec::new();
        }
        let whole = std::mem::take(so_far);
        self.verified(&whole)
    }

    /// The answer is whole: what of it was not shown.
    pub(crate) fn whole(&mut self, text: &str) -> Vec<Piece> {
        if self.unverified.is_some() {
            return self.verified(text);
        }
        let shown = usize::try_from(self.at.seen.bytes).ok();
        let rest = shown.and_then(|shown| text.get(shown..)).filter(|rest| !rest.is_empty());
        rest.map(|rest| self.show(rest.into())).into_iter().collect()
    }

    /// Goes on with what the reader has not seen, or begins anew where it has seen something else.
    fn verified(&mut self, text: &str) -> Vec<Piece> {
        self.unverified = None;
        let seen = usize::try_from(self.at.seen.bytes).unwrap_or(usize::MAX);
        let (mut pieces, rest) = match text.split_at_checked(seen) {
            Some((before, rest)) if Seen::of(before) == self.at.seen => {
                (vec![Piece::Seen(before.into(), self.at)], rest)
            }
            _ => {
                self.at.seen = Seen::default();
                (vec![Piece::Void], text)
            }
        };
        if !rest.is_empty() {
            pieces.push(self.show(rest.into()));
        }
        pieces
    }

    fn show(&mut self, text: Arc<str>) -> Piece {
        self.at.seen = self.at.seen.and(&text);
        Piece::Text(text, self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client has that strings pieces together.
    fn strung(before: &str, pieces: Vec<Piece>) -> String {
        pieces.into_iter().fold(before.to_owned(), |text, piece| match piece {
            Piece::Seen(..) => text,
            Piece::Void => String::new(),
            Piece::Text(more, _) => text + &more,
        })
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for text in ["0", "7", "7.132.9ae3f1c2"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for bad in ["", "-1", "+1", "x", "7.", "7.1", "7.0.00000000", "7.1.zzzzzzzz", "7.1.00000000.1", "7.1.123"] {
            assert_eq!(bad.parse::<Cursor>(), Err(NoCursor), "{bad:?}");
        }
    }

    #[test]
    fn who_comes_back_to_another_answer_is_told_that_what_was_shown_is_void() {
        let mut text = AnswerText::new(Cursor::behind(3, "Hello wor"));
        assert_eq!(
            text.token(&"Good morning".into()),
            [Piece::Void, Piece::Text("Good morning".into(), Cursor::behind(3, "Good morning"))]
        );
        let mut shorter = AnswerText::new(Cursor::behind(3, "Hello world"));
        assert_eq!(strung("Hello world", shorter.whole("Hello")), "Hello");
    }

    fn cut(text: &str, at: usize) -> usize {
        text.floor_char_boundary(at % (text.len() + 1))
    }

    proptest! {
        #[test]
        fn who_leaves_and_comes_back_has_the_answer_whole_and_once(
            answer in "\\PC{1,60}", left_at in 0_usize..100, pieces in proptest::collection::vec(0_usize..100, 0..5), live in any::<bool>()
        ) {
            let (seen, _) = answer.split_at(cut(&answer, left_at));
            let mut text = AnswerText::new(Cursor::behind(1, seen));
            let mut has = seen.to_owned();
            if live {
                // The whole again, in pieces of any kind, or a part of it.
                let mut cuts: Vec<usize> = pieces.iter().map(|at| cut(&answer, *at)).collect();
                cuts.sort_unstable();
                for (from, to) in std::iter::once(0).chain(cuts.clone()).zip(cuts) {
                    has = strung(&has, text.token(&answer[from..to].into()));
                }
            }
            has = strung(&has, text.whole(&answer));
            prop_assert_eq!(has, answer);
        }

        #[test]
        fn no_text_is_a_cursor_that_breaks_a_reader(text in "[0-9a-f.]{0,30}", answer in "\\PC{0,20}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                let mut reader = AnswerText::new(cursor);
                reader.token(&answer.as_str().into());
                reader.whole(&answer);
            }
        }
    }
}
