//! What counts as a word, for the index and for queries alike: runs of letters and digits, stemmed, so that *growing* finds *grows*.
//! An identifier, such as `push_str` or `parseHttpHeader`, is there whole and in its parts: it is found by what it is named and by
//! what that says.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer,
    TokenizerManager,
};

pub(crate) const STEMMED: &str = "vivarium-stemmed-3";

/// Longer runs are hashes and encoded data; nobody searches for them.
const MAX_WORD_BYTES: usize = 100;

pub(crate) fn register(manager: &TokenizerManager) {
    manager.register(STEMMED, stemmed());
}

pub(crate) fn stemmed() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default())
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The words of `text` as `analyzer` sees them.
pub(crate) fn words(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut stream = analyzer.token_stream(text);
    while stream.advance() {
        found.push(stream.token().text.clone());
    }
    found
}

/// The words of a query as they were written, identifiers whole.
pub(crate) fn runs(text: &str) -> Vec<&str> {
    places(text).filter_map(|run| text.get(run)).collect()
}

/// Where the words of a text stand, in bytes, identifiers whole.
pub(crate) fn places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || next_run(&mut chars))
}

/// Words that carry the grammar of a question and not its matter.
#[rustfmt::skip]
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "being", "between", "but", "by", "can", "could",
    "d", "did", "do", "does", "doing", "explain", "for", "from", "had", "has", "have", "having", "he", "her", "him", "his",
    "how", "i", "if", "in", "instead", "into", "is", "it", "its", "ll", "m", "me", "mean", "means", "might", "my", "of",
    "on", "or", "our", "please", "re", "s", "shall", "she", "should", "so", "some", "such", "t", "tell", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "us", "ve", "was", "we", "were",
    "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];

pub(crate) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Words that ask more than they name; but they may name something too, as `use` does in Rust.
pub(crate) fn is_weak(word: &str) -> bool {
    const WEAK: &[&str] = &[
        "best",
        "compare",
        "difference",
        "differences",
        "different",
        "example",
        "examples",
        "happen",
        "happens",
        "need",
        "use",
        "used",
        "uses",
        "using",
        "versus",
        "vs",
        "way",
        "work",
        "works",
    ];
    WEAK.contains(&word)
}

/// The whole of each run, followed by its parts if it has any.
#[derive(Clone, Default)]
struct Words {
    token: Token,
}

struct WordStream<'t> {
    chars: Peekable<CharIndices<'t>>,
    text: &'t str,
    /// Where the parts of the identifier stand that was given last, the next one at the end.
    parts: Vec<Range<usize>>,
    token: &'t mut Token,
}

/// Where the next run of letters, digits and `_` stands, without the `_` around it; scripts that write without spaces give one for
/// each character.
fn next_run(chars: &mut Peekable<CharIndices<'_>>) -> Option<Range<usize>> {
    let (start, first) = chars.find(|(_, c)| c.is_alphanumeric())?;
    let (mut end, mut last) = (start + first.len_utf8(), first);
    while let Some(&(at, next)) = chars.peek()
        && (next.is_alphanumeric() || next == '_')
        && !is_unspaced(last)
        && !is_unspaced(next)
    {
        if next != '_' {
            end = at + next.len_utf8();
        }
        last = next;
        chars.next();
    }
    Some(start..end)
}

/// Where the parts of an identifier stand that `_` or its letters' case tells apart, last first; none where there are not two.
/// `parseHTTPHeader` has `parse`, `HTTP` and `Header`.
pub(crate) fn parts(word: &str, at: usize) -> Vec<Range<usize>> {
    if word.bytes().skip(1).all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Vec::new();
    }
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut before: Option<char> = None;
    let mut chars = word.char_indices().peekable();
    while let Some((place, c)) = chars.next() {
        let next_is_lower = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
        let begins = before.is_none_or(|before| {
            before == '_'
                || c.is_uppercase()
                    && (before.is_lowercase() || before.is_numeric() || (before.is_uppercase() && next_is_lower))
        });
        before = Some(c);
        if c == '_' {
            continue;
        }
        let end = at + place + c.len_utf8();
        match parts.last_mut() {
            Some(part) if !begins => part.end = end,
            _ => parts.push(at + place..end),
        }
    }
    if parts.len() < 2 {
        return Vec::new();
    }
    parts.reverse();
    parts
}

impl Tokenizer for Words {
    type TokenStream<'t> = WordStream<'t>;

    fn token_stream<'t>(&'t mut self, text: &'t str) -> WordStream<'t> {
        self.token.reset();
        WordStream { chars: text.char_indices().peekable(), text, parts: Vec::new(), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let place = match self.parts.pop() {
            Some(part) => part,
            None => {
                let Some(run) = next_run(&mut self.chars) else { return false };
                self.parts = parts(self.text.get(run.clone()).unwrap_or_default(), run.start);
                run
            }
        };
        self.token.text.clear();
        self.token.text.push_str(self.text.get(place.clone()).unwrap_or_default());
        self.token.position = self.token.position.wrapping_add(1);
        (self.token.offset_from, self.token.offset_to) = (place.start, place.end);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Han, Hiragana and Katakana.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_stop_words_is_sorted_for_its_search() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn an_identifier_is_found_by_its_parts_and_whole() {
        let stems = |text: &str| words(&mut stemmed(), text);
        assert_eq!(stems("parseHTTPHeader"), ["parsehttphead", "pars", "http", "header"]);
        assert_eq!(stems("__max_retryCount"), ["max_retrycount", "max", "retri", "count"]);
        assert_eq!(
            stems("HTTP and utf8 Word ÜberGröße __init__ _"),
            ["http", "and", "utf8", "word", "ubergross", "uber", "gross", "init"]
        );
        assert_eq!(runs("parseHTTPHeader, _max_retryCount!"), ["parseHTTPHeader", "max_retryCount"]);
    }

    #[test]
    fn words_are_stemmed_and_characters_of_unspaced_scripts_stand_alone() {
        let text = "Growing Strings: `push_str`, Café, 漢字_x";
        let expected = ["grow", "string", "push_str", "push", "str", "cafe", "漢", "字", "x"];
        assert_eq!(words(&mut stemmed(), text), expected);
    }
}
