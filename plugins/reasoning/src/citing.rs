//! Citations: the marks `[s1]` in an answer, and the verbatim quotes that stand behind them. A quote is only ever given on
//! after the host has found it in its source.

use std::collections::BTreeSet;

use vivarium_sdk::excerpt::content_words;
use vivarium_sdk::mode::{Citation, Host, Source};

use crate::location::is_web;

/// How much of a source is looked through for a quote.
const MAX_SOURCE_BYTES: u32 = 1024 * 1024;
/// A quote is a sentence or two; a longer piece is a table or a listing.
const MAX_QUOTE_BYTES: usize = 600;
/// A sentence supports a claim when it holds this many of its words …
const MIN_SHARED_WORDS: usize = 2;
/// … and this share of all of them.
const MIN_SHARED_PART: f32 = 0.4;
/// What stands in quotation marks is a quote from this many words on; less is a term.
const MIN_QUOTED_WORDS: usize = 3;

/// What the host puts behind the ids that no verified quote stands for.
const NOT_VERIFIED: &str = "not verified";
/// The longest title in a list of sources.
const MAX_TITLE_CHARACTERS: usize = 160;

/// A mark in a text: where it stands, and the ids in it. `[s1]`, `[s1, s2]`, `[s1; s2]` and `[s1, not verified]` are marks.
fn marks(text: &str) -> Vec<(std::ops::Range<usize>, Vec<&str>)> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices('[') {
        let Some(inner) = text.get(start + 1..).and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner) else {
            break;
        };
        let parts = || inner.split([',', ';']).map(str::trim);
        let ids: Vec<&str> = parts().filter(|part| is_id(part)).collect();
        if !ids.is_empty() && parts().all(|part| is_id(part) || part == NOT_VERIFIED) {
            found.push((start..start + inner.len() + 2, ids));
        }
    }
    found
}

fn is_id(text: &str) -> bool {
    text.strip_prefix('s')
        .is_some_and(|number| !number.is_empty() && number.len() < 6 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The ids that a text cites, each once, in order.
#[must_use]
pub fn cited_ids(text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for id in marks(text).into_iter().flat_map(|(_, ids)| ids) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The text without any marks.
#[must_use]
pub fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (range, _) in marks(text) {
        let before = text.get(copied..range.start).unwrap_or_default();
        out.push_str(before.strip_suffix(' ').unwrap_or(before));
        copied = range.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The list that an answer ends with: each source that it rests on, by its mark, with its title and where it is. Nothing where it rests
/// on none.
#[must_use]
pub fn list_of_sources<'a>(sources: impl Iterator<Item = &'a Source>, citations: &[Citation]) -> String {
    let mut cited: Vec<&Source> =
        sources.filter(|source| citations.iter().any(|citation| citation.source_id == source.id)).collect();
    let number = |source: &&Source| source.id.trim_start_matches('s').parse::<u32>().unwrap_or(u32::MAX);
    cited.sort_by_key(number);
    cited.dedup_by_key(|source| &source.id);
    let mut list = String::new();
    for (number, source) in (1..).zip(cited) {
        let title: String = plain(&source.title).chars().take(MAX_TITLE_CHARACTERS).collect();
        let colon = if title.is_empty() { "" } else { ": " };
        list.push_str(&format!("\n{number}. [{}] {title}{colon}{}", source.id, place(&source.location)));
    }
    if list.is_empty() { list } else { format!("\n\n**Sources**\n{list}") }
}

/// A text that somebody else wrote, in one line and without what would be read as Markdown or as a mark.
#[must_use]
pub fn plain(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let plain = |c: char| match c {
        '[' | '<' => '(',
        ']' | '>' => ')',
        '`' | '*' | '\\' => '\'',
        c => c,
    };
    words.join(" ").chars().map(plain).collect()
}

/// An address as a link, a path as it is.
fn place(location: &str) -> String {
    let is_address =
        is_web(location) && !location.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '[' | ']'));
    if is_address { format!("<{location}>") } else { format!("`{}`", plain(location)) }
}

/// The quotes behind an answer that a model has written: what it quotes itself next to a mark, else the sentence of the cited
/// source that shares most words with the claim. Only quotes that the host has found in their source.
pub fn quotes_behind(host: &mut impl Host, answer: &str) -> Vec<Citation> {
    let mut candidates = Vec::new();
    for id in cited_ids(answer) {
        let Some(source) = host.read_source(&id, 0, MAX_SOURCE_BYTES) else { continue };
        for claim in sentences(answer).into_iter().filter(|sentence| cites(sentence, &id)) {
            let own = quoted(claim).filter(|quote| source.contains(quote)).map(str::to_owned);
            let quotes: Vec<String> = own.collect();
            if quotes.is_empty() {
                candidates.extend(supporting(claim, &source).map(|quote| Citation { source_id: id.clone(), quote }));
            } else {
                candidates.extend(quotes.into_iter().map(|quote| Citation { source_id: id.clone(), quote }));
            }
        }
    }
    verified(host, candidates)
}

/// Those of `citations` whose quotes the host has found in their sources, each once.
pub fn verified(host: &mut impl Host, citations: Vec<Citation>) -> Vec<Citation> {
    let mut out: Vec<Citation> = Vec::new();
    for citation in checked(host, citations).into_iter().flatten() {
        if !out.contains(&citation) {
            out.push(citation);
        }
    }
    out
}

/// Each of `citations` as it stands in its source, or nothing where it does not.
pub fn checked(host: &mut impl Host, citations: Vec<Citation>) -> Vec<Option<Citation>> {
    if citations.is_empty() {
        return Vec::new();
    }
    let says_something = |citation: &Citation| citation.quote.chars().any(char::is_alphanumeric);
    let verdicts = host.check(&citations);
    let mut out: Vec<Option<Citation>> = Vec::with_capacity(citations.len());
    for (citation, stands) in citations.into_iter().zip(verdicts) {
        out.push(match says_something(&citation) {
            true if stands => Some(citation),
            true => located(host, &citation),
            false => None,
        });
    }
    out
}

/// The stretch of the source that says what the quote says, but for markup: a model that copies a sentence leaves out the
/// emphasis and the links in it, and puts quotation marks and dots around it.
fn located(host: &mut impl Host, citation: &Citation) -> Option<Citation> {
    let source = host.read_source(&citation.source_id, 0, MAX_SOURCE_BYTES)?;
    let wanted = Unmarked::of(bare(&citation.quote)).text;
    let wanted = wanted.trim();
    let unmarked = Unmarked::of(&source);
    let at = unmarked.text.find(wanted).filter(|_| !wanted.is_empty())?;
    let first = *unmarked.offsets.get(at)?;
    let last = *unmarked.offsets.get(at + wanted.len() - 1)?;
    let end = last + source.get(last..)?.chars().next()?.len_utf8();
    let quote = source.get(first..end)?.to_owned();
    let found = Citation { source_id: citation.source_id.clone(), quote };
    // The host has the last word, as for any quote.
    host.check(std::slice::from_ref(&found)).into_iter().all(|stands| stands).then_some(found)
}

/// A text without Markdown's marks and with single spaces, and for each byte of it the place in the original of the character
/// that it belongs to.
struct Unmarked {
    text: String,
    offsets: Vec<usize>,
}

impl Unmarked {
    fn of(original: &str) -> Self {
        let mut unmarked =
            Self { text: String::with_capacity(original.len()), offsets: Vec::with_capacity(original.len()) };
        let mut at = 0;
        while let Some(c) = original.get(at..).and_then(|rest| rest.chars().next()) {
            let next = at + c.len_utf8();
            let after = original.get(next..).unwrap_or_default();
            let link_target = after.strip_prefix('(').filter(|_| c == ']').and_then(|rest| rest.split_once(')'));
            at = match (c, link_target) {
                (_, Some((target, _))) => next + target.len() + 2,
                _ => next,
            };
            let is_mark = matches!(c, '*' | '`' | '[' | ']' | '\\') || (c == '!' && after.starts_with('['));
            if !is_mark {
                unmarked.push(next - c.len_utf8(), c);
            }
        }
        unmarked
    }

    fn push(&mut self, at: usize, c: char) {
        let c = if c.is_whitespace() { ' ' } else { c };
        if c != ' ' || !self.text.ends_with(' ') {
            self.text.push(c);
            self.offsets.resize(self.text.len(), at);
        }
    }
}

fn bare(quote: &str) -> &str {
    quote.trim().trim_matches(|c: char| matches!(c, '"' | '“' | '”' | '«' | '»' | '…' | '.' | '\'' | '`')).trim()
}

fn cites(sentence: &str, id: &str) -> bool {
    marks(sentence).iter().any(|(_, ids)| ids.contains(&id))
}

/// What stands in quotation marks and is long enough to be a quote of a sentence.
fn quoted(sentence: &str) -> impl Iterator<Item = &str> {
    let straight = sentence.split('"').skip(1).step_by(2);
    let curly = sentence.split('“').skip(1).filter_map(|rest| rest.split_once('”').map(|(quote, _)| quote));
    straight.chain(curly).filter(|quote| quote.split_whitespace().count() >= MIN_QUOTED_WORDS)
}

/// The sentence of `source` that shares most words with `claim`, if it shares enough.
fn supporting(claim: &str, source: &str) -> Option<String> {
    let words: BTreeSet<String> = content_words(&without_marks(claim)).into_iter().collect();
    let mut best: Option<(usize, &str)> = None;
    for sentence in sentences(source).into_iter().filter(|sentence| sentence.len() <= MAX_QUOTE_BYTES) {
        let theirs: BTreeSet<String> = content_words(sentence).into_iter().collect();
        let shared = words.intersection(&theirs).count();
        if best.is_none_or(|(most, _)| shared > most) {
            best = Some((shared, sentence));
        }
    }
    let (shared, sentence) = best?;
    #[expect(clippy::cast_precision_loss, reason = "counts of words")]
    let part = shared as f32 / words.len().max(1) as f32;
    (shared >= MIN_SHARED_WORDS && part >= MIN_SHARED_PART).then(|| sentence.to_owned())
}

/// The sentences of a text, verbatim. A paragraph, a heading or an item of a list ends one too; a mark after the full stop
/// belongs to the sentence before it.
#[must_use]
pub fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut start = 0;
        let mut characters = paragraph.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            let end = at + c.len_utf8();
            let next = characters.peek().map(|(_, next)| *next);
            let rest = paragraph.get(end..).unwrap_or_default();
            let full_stop = matches!(c, '.' | '!' | '?') && next.is_none_or(char::is_whitespace);
            let item = c == '\n' && rest.trim_start().starts_with(['-', '*', '#', '|', '>']);
            if (full_stop && !rest.trim_start().starts_with("[s")) || matches!(c, '。' | '！' | '？') || item {
                push_trimmed(&mut out, paragraph.get(start..end));
                start = end;
            } else if c == ']' && next.is_none_or(char::is_whitespace) {
                let so_far = paragraph.get(start..end).unwrap_or_default();
                let before = without_marks(so_far);
                if before.len() < so_far.len() && before.trim_end().ends_with(['.', '!', '?']) {
                    push_trimmed(&mut out, Some(so_far));
                    start = end;
                }
            }
        }
        push_trimmed(&mut out, paragraph.get(start..));
    }
    out
}

fn push_trimmed<'a>(out: &mut Vec<&'a str>, sentence: Option<&'a str>) {
    let trimmed = sentence.unwrap_or_default().trim();
    if !trimmed.is_empty() {
        out.push(trimmed);
    }
}

#[cfg(test)]
mod tests {
    use vivarium_sdk::mode::{Abilities, ToolCall};
    use vivarium_sdk::testing::ScriptedHost;

    use super::*;

    const PAGE: &str = "Rust has ownership. Each value in Rust has an owner, which is a variable.\n\nWhen the owner goes out of \
                        scope, the value will be dropped. Nothing else matters here.";

    fn host() -> ScriptedHost {
        let mut host = ScriptedHost::new(Abilities::FREE_TEXT)
            .with_tool("read", |_| Ok((String::new(), vec![("Page".into(), "page".into(), PAGE.into())])));
        host.call_all(&[ToolCall { id: "c".into(), name: "read".into(), arguments_json: "{}".into() }]);
        host
    }

    #[test]
    fn marks_are_found_however_they_are_grouped() {
        assert_eq!(cited_ids("A [s1]. B [s2, s3][s1]. An index [0], a word [sic], s4."), ["s1", "s2", "s3"]);
        assert_eq!(cited_ids("broken [s1"), Vec::<String>::new());
        assert_eq!(cited_ids("[x [s7] y]"), ["s7"]);
    }

    #[test]
    fn all_marks_are_taken_out_the_hosts_own_too() {
        assert_eq!(without_marks("A [s1]. B [s9, not verified]. C [0] [s1, s9]."), "A. B. C [0].");
    }

    #[test]
    fn the_list_names_each_cited_source_once_and_no_title_forges_a_mark() {
        let host = ScriptedHost::new(Abilities::FREE_TEXT).with_tool("read", |_| {
            let page = |title: &str, at: &str| (title.to_owned(), at.to_owned(), "x".to_owned());
            let pages = vec![
                page("Vec [s9]\n# `Win`", "std/vec [s9].html"),
                page("Unused", "u"),
                page("", "https://e.com/a?b=1"),
            ];
            Ok((String::new(), pages))
        });
        let mut host = host;
        host.call_all(&[ToolCall { id: "c".into(), name: "read".into(), arguments_json: "{}".into() }]);
        let cite = |id: &str| Citation { source_id: id.into(), quote: "x".into() };
        let list = list_of_sources(host.sources.iter(), &[cite("s3"), cite("s1"), cite("s1")]);
        assert_eq!(
            list,
            "\n\n**Sources**\n\n1. [s1] Vec (s9) # 'Win': `std/vec (s9).html`\n2. [s3] <https://e.com/a?b=1>"
        );
        assert_eq!(list_of_sources(host.sources.iter(), &[]), "");
    }

    #[test]
    fn a_claim_is_backed_by_the_sentence_that_says_it() {
        let answer =
            "The value is dropped as soon as its owner leaves scope [s1]. Unrelated claims have no quote [s1].";
        let citations = quotes_behind(&mut host(), answer);
        assert_eq!(citations.len(), 1, "{citations:?}");
        assert_eq!(citations[0].quote, "When the owner goes out of scope, the value will be dropped.");
    }

    #[test]
    fn the_models_own_quote_comes_first_if_it_is_true() {
        let answer = "The book says “Each value in Rust has an owner” [s1].";
        assert_eq!(quotes_behind(&mut host(), answer)[0].quote, "Each value in Rust has an owner");
        let invented = "The book says “Every zebra owns seven bananas” [s1].";
        assert!(quotes_behind(&mut host(), invented).is_empty());
    }

    #[test]
    fn a_quote_that_is_not_in_its_source_is_dropped() {
        let cite = |quote: &str| Citation { source_id: "s1".into(), quote: quote.into() };
        let kept = verified(
            &mut host(),
            vec![cite("Rust has no owners."), cite("“Rust has ownership…”"), cite("Rust  has\nownership.")],
        );
        let quotes: Vec<&str> = kept.iter().map(|citation| citation.quote.as_str()).collect();
        assert_eq!(quotes, ["Rust has ownership", "Rust  has\nownership."]);
    }

    #[test]
    fn a_quote_without_the_sources_markup_is_given_as_it_stands_there() {
        let source = "See **the** [`Vec` type](https://e.com/a), which\n*grows* when\tneeded. Done";
        let mut host = ScriptedHost::new(Abilities::FREE_TEXT)
            .with_tool("read", move |_| Ok((String::new(), vec![("P".into(), "p".into(), source.into())])));
        host.call_all(&[ToolCall { id: "c".into(), name: "read".into(), arguments_json: "{}".into() }]);
        let cite = |quote: &str| vec![Citation { source_id: "s1".into(), quote: quote.into() }];
        let kept = verified(&mut host, cite("“the Vec type, which grows when needed.”"));
        assert_eq!(kept[0].quote, "the** [`Vec` type](https://e.com/a), which\n*grows* when\tneeded");
        for other in ["the Vec type, which shrinks when needed.", "", "…", "**"] {
            assert!(verified(&mut host, cite(other)).is_empty(), "{other:?}");
        }
    }

    #[test]
    fn sentences_are_verbatim_and_keep_their_marks() {
        let text = "One is 1.5 long. Two? [s1] Three [s2]. \n\n# Head\n- item one\n- item two";
        assert_eq!(
            sentences(text),
            ["One is 1.5 long.", "Two? [s1]", "Three [s2].", "# Head", "- item one", "- item two"]
        );
    }
}
