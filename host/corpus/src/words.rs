//! What counts as a word, for the index and for queries alike. Two views of the same text: stemmed words find what
//! is meant (*growing* finds *grows*), whole identifiers find what is named (`push_str` is one word there). An identifier
//! whose parts are told by its letters' case, such as `parseHttpHeader`, is in the first view whole and in its parts.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer,
    TokenizerManager,
};

pub(crate) const STEMMED: &str = "vivarium-stemmed-2";
pub(crate) const WHOLE: &str = "vivarium-whole-1";

/// Longer runs are hashes and encoded data; nobody searches for them.
const MAX_WORD_BYTES: usize = 100;

pub(crate) fn register(manager: &TokenizerManager) {
    manager.register(STEMMED, stemmed());
    manager.register(WHOLE, whole());
}

pub(crate) fn stemmed() -> TextAnalyzer {
    TextAnalyzer::builder(Words { identifiers: false, token: Token::default() })
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::English))
        .build()
}

pub(crate) fn whole() -> TextAnalyzer {
    TextAnalyzer::builder(Words { identifiers: true, token: Token::default() })
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
        .filter(LowerCaser)
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

/// Runs of letters and digits, and of `_` where identifiers stay whole; scripts that write without spaces give a word
/// per character.
#[derive(Clone)]
struct Words {
    identifiers: bool,
    token: Token,
}

struct WordStream<'t> {
    chars: Peekable<CharIndices<'t>>,
    text: &'t str,
    identifiers: bool,
    /// Where the parts of the identifier stand that was given last, the next one at the end.
    parts: Vec<Range<usize>>,
    token: &'t mut Token,
}

/// Where the parts of an identifier stand that its letters' case tells apart, last first; none where there are not two.
/// `parseHTTPHeader` has `parse`, `HTTP` and `Header`.
fn parts(word: &str, at: usize) -> Vec<Range<usize>> {
    let mut starts = vec![0];
    let mut before: Option<char> = None;
    let mut chars = word.char_indices().peekable();
    while let Some((place, c)) = chars.next() {
        let next_is_lower = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
        let begins = before.is_some_and(|before| {
            c.is_uppercase()
                && (before.is_lowercase() || before.is_numeric() || (before.is_uppercase() && next_is_lower))
        });
        if begins {
            starts.push(place);
        }
        before = Some(c);
    }
    if starts.len() < 2 {
        return Vec::new();
    }
    let ends = starts.iter().skip(1).copied().chain([word.len()]);
    let mut parts: Vec<_> = starts.iter().zip(ends).map(|(start, end)| at + start..at + end).collect();
    parts.reverse();
    parts
}

impl Tokenizer for Words {
    type TokenStream<'t> = WordStream<'t>;

    fn token_stream<'t>(&'t mut self, text: &'t str) -> WordStream<'t> {
        self.token.reset();
        WordStream {
            chars: text.char_indices().peekable(),
            text,
            identifiers: self.identifiers,
            parts: Vec::new(),
            token: &mut self.token,
        }
    }
}

impl WordStream<'_> {
    fn is_part(&self, c: char) -> bool {
        c.is_alphanumeric() || (self.identifiers && c == '_')
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        self.token.text.clear();
        self.token.position = self.token.position.wrapping_add(1);
        if let Some(part) = self.parts.pop() {
            self.token.text.push_str(self.text.get(part.clone()).unwrap_or_default());
            (self.token.offset_from, self.token.offset_to) = (part.start, part.end);
            return true;
        }
        while let Some((at, c)) = self.chars.next() {
            if !self.is_part(c) {
                continue;
            }
            self.token.offset_from = at;
            self.token.offset_to = at + c.len_utf8();
            self.token.text.push(c);
            while let Some(&(at, next)) = self.chars.peek() {
                if is_unspaced(c) || is_unspaced(next) || !self.is_part(next) {
                    break;
                }
                self.token.offset_to = at + next.len_utf8();
                self.token.text.push(next);
                self.chars.next();
            }
            if !self.identifiers {
                self.parts = parts(&self.token.text, at);
            }
            return true;
        }
        false
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
        assert_eq!(stems("max_retryCount"), ["max", "retrycount", "retri", "count"]);
        assert_eq!(
            stems("HTTP and utf8 Word ÜberGröße"),
            ["http", "and", "utf8", "word", "ubergross", "uber", "gross"]
        );
        assert_eq!(words(&mut whole(), "parseHTTPHeader max_retryCount"), ["parsehttpheader", "max_retrycount"]);
    }

    #[test]
    fn words_are_stemmed_in_one_view_and_whole_in_the_other() {
        let text = "Growing Strings: `push_str`, Café, 漢字";
        assert_eq!(words(&mut stemmed(), text), ["grow", "string", "push", "str", "cafe", "漢", "字"]);
        assert_eq!(words(&mut whole(), text), ["growing", "strings", "push_str", "café", "漢", "字"]);
    }
}
