//! Keeps secrets out of what is read back, shown or logged: an echo server must not give away what the host added.
//!
//! All forms of all secrets are followed at once, byte by byte, and no byte is looked at twice: the work for a byte is
//! bounded by the number of matches that are open at it, and that number by [`MAX_OPEN`]. What is found is overwritten with
//! as many asterisks as it has bytes, so lengths stay true. A stream is held back only from the start of the earliest match
//! that is still open, and that is never more than the longest form of a secret.

use std::borrow::{Borrow, Cow};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};

use crate::forms::{Forms, Spelling};

const MASK: u8 = b'*';

/// More matches are open at once only where a secret repeats itself over and over, in a text that does the same. Then the
/// text is masked for as long as the longest form could go on, instead of followed at any cost.
const MAX_OPEN: usize = 256;

/// Masks secrets in texts and streams. The default masks nothing.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Arc<Forms>,
}

impl Redactor {
    /// A shorter secret would turn up by chance, and could be guessed from what was masked: it is not looked for.
    pub const MIN_SECRET_BYTES: usize = 8;

    /// Masks these secrets, each of at least [`Self::MIN_SECRET_BYTES`]: as they are, percent-encoded, escaped for JSON or
    /// HTML, in hex and in base64, there also within a longer text.
    pub fn new<I>(secrets: I) -> Self
    where
        I: IntoIterator,
        I::Item: Borrow<SecretString>,
    {
        let secrets: Vec<I::Item> = secrets.into_iter().collect();
        let texts = secrets.iter().map(|secret| secret.borrow().expose_secret());
        Self { forms: Arc::new(Forms::new(texts.filter(|text| text.len() >= Self::MIN_SECRET_BYTES))) }
    }

    /// Nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// The text with its secrets masked.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Each form covers whole characters, so this loses nothing.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    pub(crate) fn redact_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut matcher = Matcher::new(Arc::clone(&self.forms));
        matcher.push(bytes);
        if matcher.found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut bytes = bytes.to_vec();
        mask(&mut bytes, 0, &matcher.found);
        Cow::Owned(bytes)
    }

    /// Whether a text that has lost its case, such as the name of a header, holds a secret.
    pub(crate) fn finds_in_any_case(&self, text: &[u8]) -> bool {
        let mut matcher = Matcher { any_case: true, ..Matcher::new(Arc::clone(&self.forms)) };
        matcher.push(text);
        !matcher.found.is_empty()
    }

    /// Masks a stream of chunks, also across their borders.
    #[must_use]
    pub fn stream(&self) -> RedactorStream {
        RedactorStream { matcher: Matcher::new(Arc::clone(&self.forms)), held: Vec::new() }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// One stream on its way through a [`Redactor`].
pub struct RedactorStream {
    matcher: Matcher,
    /// The end of what was pushed, from the start of the earliest open match on.
    held: Vec<u8>,
}

impl RedactorStream {
    /// What may be shown after this chunk; may be empty.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let start = self.matcher.at - self.held.len() as u64;
        self.matcher.push(&chunk);
        let held = usize::try_from(self.matcher.at - self.matcher.earliest_open()).unwrap_or(usize::MAX);
        let found = std::mem::take(&mut self.matcher.found);
        if self.held.is_empty() && found.is_empty() {
            // The common case: nothing was found, and nothing has to be copied.
            let shown = chunk.len().saturating_sub(held);
            self.held.extend_from_slice(chunk.get(shown..).unwrap_or_default());
            return chunk.slice(..shown);
        }
        self.held.extend_from_slice(&chunk);
        mask(&mut self.held, start, &found);
        let rest = self.held.split_off(self.held.len().saturating_sub(held));
        std::mem::replace(&mut self.held, rest).into()
    }

    /// What was held back, at the end of the stream: no match that is still open has come to its end.
    pub fn finish(&mut self) -> Bytes {
        self.matcher.open.clear();
        std::mem::take(&mut self.held).into()
    }
}

impl std::fmt::Debug for RedactorStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedactorStream").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

/// Overwrites what was found in `bytes`, whose first is the stream's byte number `start`.
fn mask(bytes: &mut [u8], start: u64, found: &[Range<u64>]) {
    let index = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
    let ranges: Vec<_> = found.iter().map(|found| index(found.start)..index(found.end)).collect();
    for range in ranges {
        if let Some(part) = bytes.get_mut(range) {
            part.fill(MASK);
        }
    }
}

/// A match that has begun and not ended. The order is that of the places, so that the earliest of those that have come to
/// the same place stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    form: u32,
    /// The unit of the form that comes next, or is half read.
    place: u32,
    /// How many bytes of the unit were read, and in which spelling; `(0, 0)` between units.
    within: (u8, u8),
    /// The stream's byte that it began with.
    start: u64,
}

impl Open {
    fn stands_where(&self, other: &Self) -> bool {
        (self.form, self.place, self.within) == (other.form, other.place, other.within)
    }
}

/// Follows all forms through a stream, all matches at once.
struct Matcher {
    forms: Arc<Forms>,
    any_case: bool,
    open: Vec<Open>,
    /// The open matches after the byte at hand; empty between bytes, and kept for its memory.
    next: Vec<Open>,
    /// How many bytes the stream had so far.
    at: u64,
    /// Everything before this byte is masked.
    masked_to: u64,
    /// What is to be masked, in the bytes of the last push and in those that were held back.
    found: Vec<Range<u64>>,
}

impl Matcher {
    fn new(forms: Arc<Forms>) -> Self {
        Self { forms, any_case: false, open: Vec::new(), next: Vec::new(), at: 0, masked_to: 0, found: Vec::new() }
    }

    fn earliest_open(&self) -> u64 {
        self.open.iter().map(|open| open.start).min().unwrap_or(self.at)
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.forms.is_empty() {
            self.at += bytes.len() as u64;
            return;
        }
        if self.masked_to > self.at {
            self.found.push(self.at..self.masked_to);
        }
        let forms = Arc::clone(&self.forms);
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.open.is_empty() && !self.begins(byte) {
                let idle = rest.iter().position(|&byte| self.begins(byte)).unwrap_or(rest.len());
                self.at += idle as u64;
                rest = rest.get(idle..).unwrap_or_default();
                continue;
            }
            self.step(&forms, byte);
            rest = after;
        }
    }

    fn begins(&self, byte: u8) -> bool {
        let begins = |byte: u8| !self.forms.starting_with(byte).is_empty();
        begins(byte) || self.any_case && begins(other_case(byte))
    }

    fn step(&mut self, forms: &Forms, byte: u8) {
        let mut open = std::mem::take(&mut self.open);
        for open in open.drain(..) {
            self.advance(forms, open, byte);
        }
        let other = if self.any_case { forms.starting_with(other_case(byte)) } else { &[] };
        for &form in forms.starting_with(byte).iter().chain(other) {
            self.advance(forms, Open { form, place: 0, within: (0, 0), start: self.at }, byte);
        }
        self.at += 1;
        self.open = std::mem::replace(&mut self.next, open);
        if self.open.len() > 1 {
            self.open.sort_unstable();
            self.open.dedup_by(|later, earlier| later.stands_where(earlier));
        }
        if self.open.len() > MAX_OPEN {
            self.masked_to = self.at + forms.longest() as u64;
            self.find(self.earliest_open()..self.masked_to);
            self.open.clear();
        }
    }

    /// Moves one match over `byte`, in each way in which that can be read.
    fn advance(&mut self, forms: &Forms, open: Open, byte: u8) {
        let Some(unit) = forms.unit(open.form, open.place) else { return };
        let (read, chosen) = open.within;
        let spellings = unit.iter().zip(0_u8..).filter(|(_, number)| read == 0 || *number == chosen);
        for (spelling, number) in spellings {
            if !self.reads(spelling, read, byte) {
                continue;
            }
            let read = read + 1;
            if usize::from(read) < spelling.len() {
                self.next.push(Open { within: (read, number), ..open });
            } else if forms.unit(open.form, open.place + 1).is_some() {
                self.next.push(Open { place: open.place + 1, within: (0, 0), ..open });
            } else {
                self.find(open.start..self.at + 1);
            }
        }
    }

    fn reads(&self, spelling: &Spelling, read: u8, byte: u8) -> bool {
        let has = |byte: u8| spelling.get(usize::from(read)).is_some_and(|set| set.has(byte));
        has(byte) || self.any_case && has(other_case(byte))
    }

    /// Remembers what is to be masked. Matches that overlap, as those of a secret in itself do, are one.
    fn find(&mut self, range: Range<u64>) {
        match self.found.last_mut() {
            Some(last) if range.start <= last.end && last.start <= range.end => {
                *last = last.start.min(range.start)..last.end.max(range.end);
            }
            _ => self.found.push(range),
        }
    }
}

fn other_case(byte: u8) -> u8 {
    if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|&secret| SecretString::from(secret)))
    }

    fn redact_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, secrets: &[&str]) -> Vec<u8> {
        let mut stream = redactor(secrets).stream();
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
        }
        out.extend_from_slice(&stream.finish());
        out
    }

    fn stars(count: usize) -> String {
        "*".repeat(count)
    }

    fn base64(bytes: &[u8], alphabet: &[u8; 64], padded: bool) -> String {
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
            for place in 0..4_usize {
                match place <= group.len() {
                    true => text.push(alphabet[(bits >> (18 - 6 * place)) as usize & 63] as char),
                    false if padded => text.push('='),
                    false => {}
                }
            }
        }
        text
    }

    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn each_form_is_masked_in_full_and_its_surroundings_are_not() {
        let secret = "p@ss/w\u{f6}rd \"1\"\\";
        for form in [
            secret,
            "p%40ss%2Fw%C3%B6rd%20%221%22%5C",
            "p%40ss%2fw%c3%b6rd+%221%22%5c",
            "%70@ss/w\u{f6}rd %22%31\"%5c",
            r#"p@ss\/w\u00F6rd \"1\"\\"#,
            r#"\u0070@ss/w\u00f6rd\u0020\u00221\"\u005C"#,
            "p@ss&#47;w&#xF6;rd &quot;1&#x22;\\",
            "704073732f77c3b67264202231225c",
            "704073732F77C3B67264202231225C",
        ] {
            let text = format!("<{form}>");
            let expected = format!("<{}>", stars(form.len()));
            assert_eq!(redactor(&[secret]).redact(&text), expected, "{form}");
        }
    }

    #[test]
    fn an_overlap_of_a_secret_with_itself_is_masked_whole() {
        assert_eq!(redactor(&["abcabcab"]).redact("xabcabcabcabx"), format!("x{}x", stars(11)));
    }

    #[test]
    fn base64_is_masked_wherever_the_secret_stands_in_the_text() {
        let secret = "s3cret~value?>";
        for (before, after) in [("", ""), ("a", "b"), ("user:", ""), ("Bearer ", "\n"), ("ab", "cd"), ("x", "yz")] {
            for alphabet in [STANDARD, URL] {
                for padded in [true, false] {
                    let text = base64(format!("{before}{secret}{after}").as_bytes(), alphabet, padded);
                    let masked = redactor(&[secret]).redact(&text).into_owned();
                    assert_eq!(masked.len(), text.len());
                    // What is left over belongs to what stands around it, but for a character on its border.
                    let left = masked.bytes().filter(|&byte| byte != b'*').count();
                    let around = (before.len() * 8).div_ceil(6) + (after.len() * 8).div_ceil(6) + 2;
                    assert!(left <= around, "{before:?} {after:?}: {text} {masked}");
                    assert!(!masked.contains(&text[(before.len() * 8).div_ceil(6)..][..6]), "{masked}");
                }
            }
        }
    }

    #[test]
    fn base64_is_masked_also_with_line_breaks_and_with_its_odd_characters_encoded() {
        let secret = "\u{3fbff}>>>???~~~".repeat(8);
        let plain = base64(secret.as_bytes(), STANDARD, true);
        let wrapped: Vec<&str> = plain.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let url = plain.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
        for text in [wrapped.join("\n"), wrapped.join("\r\n"), wrapped.join(r"\n"), plain.replace('/', r"\/"), url] {
            let masked = redactor(&[&secret]).redact(&text).into_owned();
            let left = masked.replace(['*', '='], "").replace("%3D", "");
            assert_eq!(left, "", "{text}");
        }
    }

    #[test]
    fn a_stream_without_secrets_is_not_held_back() {
        let mut stream = redactor(&["sk-0123456789"]).stream();
        for chunk in ["data: {\"text\":\"risk\"}\n\n", "data: sk-01, or so\n", "sk-x"] {
            assert_eq!(stream.push(Bytes::from(chunk)), chunk);
        }
        assert_eq!(stream.push(Bytes::from("ends in sk-")), "ends in ");
        assert_eq!(stream.push(Bytes::from("not a secret")), "sk-not a secret");
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn a_secret_without_an_end_is_shown_at_the_end_of_the_stream() {
        assert_eq!(redact_chunks([b"sk-01234".as_slice()], &["sk-012345"]), b"sk-01234");
    }

    #[test]
    fn a_short_secret_is_not_looked_for() {
        assert!(redactor(&["hunter2"]).is_empty());
        assert!(Redactor::default().is_empty());
        assert_eq!(Redactor::default().redact("anything"), "anything");
    }

    #[test]
    fn a_header_name_is_searched_without_its_case() {
        let redactor = redactor(&["Sk-SECRET-0123"]);
        assert!(redactor.finds_in_any_case(b"x-sk-secret-0123"));
        assert!(redactor.finds_in_any_case(base64(b"Sk-SECRET-0123", URL, false).to_lowercase().as_bytes()));
        assert!(!redactor.finds_in_any_case(b"x-sk-secret-012"));
    }

    #[test]
    fn a_secret_that_repeats_itself_costs_no_more_than_the_bound_and_does_not_come_through() {
        let secret = "a".repeat(5_000);
        let mut stream = redactor(&[&secret]).stream();
        let mut shown = Vec::new();
        for _ in 0..20 {
            shown.extend_from_slice(&stream.push(Bytes::from("a".repeat(1_000))));
            assert!(stream.matcher.open.len() <= MAX_OPEN);
            assert!(stream.held.len() <= stream.matcher.forms.longest());
        }
        shown.extend_from_slice(&stream.push(Bytes::from_static(b"b")));
        shown.extend_from_slice(&stream.finish());
        assert_eq!(shown.len(), 20_001);
        assert!(shown.starts_with(stars(20_000).as_bytes()));
    }

    #[test]
    fn what_was_masked_unread_goes_on_over_the_border_of_a_chunk() {
        let secret = format!("{}-and-the-secret-end", "a".repeat(300));
        let out = redact_chunks(secret.as_bytes().chunks(310), &[&secret]);
        assert_eq!(String::from_utf8(out).unwrap(), stars(secret.len()));
    }

    #[test]
    fn two_ways_to_read_a_text_are_followed_as_one_where_they_meet() {
        let nearly = r"\".repeat(9);
        assert_eq!(redactor(&[&r"\".repeat(10)]).redact(&nearly), nearly);
    }

    /// One of the ways to write a text, chosen by `choices`, one for each character.
    fn written(text: &str, form: u8, choices: &[u8]) -> String {
        let hex = |text: String, upper: u8| if upper.is_multiple_of(2) { text.to_lowercase() } else { text };
        let percent = |char: char, choice| {
            let bytes = char.to_string().into_bytes();
            bytes.iter().map(|byte| format!("%{}", hex(format!("{byte:02X}"), choice))).collect::<String>()
        };
        let json = |char: char, choice| {
            let units = char.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().map(|unit| format!("\\u{}", hex(format!("{unit:04X}"), choice))).collect::<String>()
        };
        let mix = |encode: &dyn Fn(char, u8) -> String| {
            let each = text.chars().zip(choices.iter().cycle());
            each.map(|(char, &choice)| if choice < 128 { encode(char, choice) } else { char.to_string() }).collect()
        };
        match form {
            0 => text.to_owned(),
            1 => mix(&|char, choice| percent(char, choice)),
            2 => mix(&|char, choice| json(char, choice)),
            3 => text.bytes().map(|byte| hex(format!("{byte:02X}"), choices[0])).collect(),
            4 => mix(&|char, choice| if choice % 3 == 0 { percent(char, choice) } else { json(char, choice) }),
            _ => base64(text.as_bytes(), STANDARD, false),
        }
    }

    fn cut<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_no_form_of_a_secret_comes_through(
            secret in r#"[a-c\\/"%+ \u{e9}\u{1f600}]{8,20}"#,
            form in 0_u8..6,
            choices in proptest::collection::vec(any::<u8>(), 20),
            before in r#"[a-c\\/"%+ ]{0,12}"#,
            after in r#"[a-c\\/"%+ ]{0,12}"#,
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            let hidden = written(&secret, form, &choices);
            let text = format!("{before}{hidden}{after}");
            let out = redact_chunks(cut(text.as_bytes(), &cuts), &[&secret]);
            prop_assert_eq!(out.len(), text.len());
            let place = before.len()..before.len() + hidden.len();
            prop_assert!(out[place].iter().all(|&byte| byte == MASK), "{} {:?}", hidden, String::from_utf8_lossy(&out));
        }

        #[test]
        fn a_text_without_the_secret_is_unchanged_and_one_with_it_is_masked_there_alone(
            secret in "[ab]{8,12}", text in "[ab]{0,60}", cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            let out = redact_chunks(cut(text.as_bytes(), &cuts), &[&secret]);
            let mut expected = text.clone().into_bytes();
            for start in 0..text.len() {
                if text[start..].starts_with(&secret) {
                    expected[start..start + secret.len()].fill(MASK);
                }
            }
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn any_bytes_go_through_unchanged(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            prop_assert_eq!(redact_chunks(cut(&bytes, &cuts), &["a long and unlikely secret"]), bytes);
        }

        #[test]
        fn a_text_is_masked_as_its_stream_is(text in "[ab%1-6\u{e9}]{0,40}", secret in "[ab\u{e9}]{8,10}") {
            let text = format!("{text}{secret}{text}");
            let streamed = redact_chunks(cut(text.as_bytes(), &[7, 20]), &[&secret]);
            prop_assert_eq!(redactor(&[&secret]).redact(&text).into_owned().into_bytes(), streamed);
        }
    }
}
