//! What of an answer is told, and when: whole characters, and nothing that may be the beginning of a text that the answer is to stop
//! before.

use tokio::sync::mpsc::UnboundedSender;

/// Takes an answer's bytes as they come, and tells its text.
pub(super) struct Telling {
    pieces: UnboundedSender<String>,
    stop: Vec<String>,
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// What may be the beginning of one of `stop`.
    held: String,
}

/// What came of telling something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It goes on.
    On,
    /// The answer stops here.
    Stopped,
    /// Nobody listens any more.
    Left,
}

impl Telling {
    pub(super) fn new(pieces: UnboundedSender<String>, mut stop: Vec<String>) -> Self {
        stop.retain(|text| !text.is_empty());
        Self { pieces, stop, bytes: Vec::new(), held: String::new() }
    }

    /// Whether nobody listens any more.
    pub(super) fn is_left(&self) -> bool {
        self.pieces.is_closed()
    }

    pub(super) fn tell(&mut self, bytes: &[u8]) -> Told {
        self.bytes.extend_from_slice(bytes);
        self.held.push_str(&whole_characters(&mut self.bytes));
        let stops = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = stops {
            self.held.truncate(at);
            self.bytes.clear();
            return if self.send(self.held.len()) { Told::Stopped } else { Told::Left };
        }
        let begins = |from: &usize| {
            let rest = self.held.get(*from..);
            rest.is_some_and(|rest| !rest.is_empty() && self.stop.iter().any(|stop| stop.starts_with(rest)))
        };
        let longest = self.stop.iter().map(String::len).max().unwrap_or_default();
        let from = self.held.len().saturating_sub(longest);
        let end = (from..self.held.len()).find(begins).unwrap_or(self.held.len());
        if self.send(end) { Told::On } else { Told::Left }
    }

    /// Tells what was held back: nothing comes any more.
    pub(super) fn end(mut self) {
        let rest = std::mem::take(&mut self.bytes);
        // A character that was never finished.
        self.held.push_str(&String::from_utf8_lossy(&rest));
        // Who asked may have left.
        let _ = self.send(self.held.len());
    }

    /// Whether anybody listens.
    fn send(&mut self, end: usize) -> bool {
        let rest = self.held.split_off(end);
        let piece = std::mem::replace(&mut self.held, rest);
        if piece.is_empty() { !self.is_left() } else { self.pieces.send(piece).is_ok() }
    }
}

/// Takes the characters that are whole from the front; what is no text at all becomes U+FFFD.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let end = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    };
    let rest = bytes.split_off(end);
    let whole = std::mem::replace(bytes, rest);
    String::from_utf8_lossy(&whole).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn told(parts: &[&[u8]], stop: &[&str]) -> (Vec<String>, bool) {
        let (pieces, mut received) = unbounded_channel();
        let mut telling = Telling::new(pieces, stop.iter().map(|text| (*text).to_owned()).collect());
        let stopped = parts.iter().any(|part| telling.tell(part) == Told::Stopped);
        telling.end();
        let mut all = Vec::new();
        while let Ok(piece) = received.try_recv() {
            all.push(piece);
        }
        (all, stopped)
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_may_become_a_stop_is_told_when_it_has_not() {
        assert_eq!(told(&[b"one ", b"EN", b"D of it"], &["END"]), (strings(&["one "]), true));
        assert_eq!(told(&[b"one ", b"EN", b"vy"], &["END"]), (strings(&["one ", "ENvy"]), false));
        assert_eq!(told(&[b"EEN", b"D"], &["END"]), (strings(&["E"]), true));
        assert_eq!(told(&[b"the EN"], &["END", "x"]), (strings(&["the ", "EN"]), false));
        assert_eq!(told(&[b"a, b; c"], &[";", ","]), (strings(&["a"]), true));
    }

    #[test]
    fn characters_are_told_whole() {
        let crab = "🦀".as_bytes();
        assert_eq!(told(&[&crab[..1], &crab[1..3], &crab[3..]], &[]), (strings(&["🦀"]), false));
        assert_eq!(told(&[b"a", &crab[..2]], &[]), (strings(&["a", "\u{fffd}"]), false));
        assert_eq!(told(&[b"\xffb"], &[]), (strings(&["\u{fffd}b"]), false));
    }

    proptest! {
        #[test]
        fn an_answer_is_told_up_to_its_first_stop_however_it_is_cut(
            text in "[abé]{0,20}",
            stop in "[abé]{1,3}",
            cuts in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
            cuts.sort_unstable();
            let (mut parts, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                parts.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            let (pieces, stopped) = told(&parts, &[&stop]);
            let expected = text.find(&stop).map_or(text.as_str(), |at| &text[..at]);
            prop_assert_eq!(pieces.concat(), expected);
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }

    #[test]
    fn it_is_noticed_that_nobody_listens() {
        let (pieces, received) = unbounded_channel();
        let mut telling = Telling::new(pieces, Vec::new());
        assert_eq!(telling.tell(b"a"), Told::On);
        drop(received);
        assert!(telling.is_left());
        assert_eq!(telling.tell(b"a"), Told::Left);
        assert_eq!(telling.tell(&"é".as_bytes()[..1]), Told::Left, "nor where there is nothing to tell");
    }
}
