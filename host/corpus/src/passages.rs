//! Cutting a document into passages: the unit that is searched, shown to a model and quoted.
//!
//! A passage is a stretch of the document's text, never a paraphrase of it, and cuts fall on the borders that the
//! author drew: headings first, then blocks, then lines, then sentences, then words. Too short, and a passage says
//! nothing on its own; too long, and the one sentence that answers drowns in it.

use std::ops::Range;

use crate::extract::{Extracted, Heading};

/// A passage may grow to this many characters…
const MAX_CHARS: usize = 1500;
/// …but takes no further block once it has this many.
const ENOUGH_CHARS: usize = 900;
/// A heading closes the passage before it, unless that has fewer characters than this.
const MIN_CHARS_AT_HEADING: usize = 120;
/// What is longer without any border is no word that a person wrote, and is cut anyway.
const MAX_WORD_BYTES: usize = 4 * MAX_CHARS;

/// One passage of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where it stands in the document's text.
    pub(crate) range: Range<usize>,
    /// The heading that it stands under; empty where there is none.
    pub(crate) heading: String,
    /// The headings above that one, and those that have no text of their own: context for the search.
    pub(crate) context: String,
}

/// The passages of a document: in order, not overlapping, none empty; between two of them stand white space and
/// headings only.
pub(crate) fn split(document: &Extracted) -> Vec<Span> {
    let mut cutter = Cutter { text: &document.text, spans: Vec::new(), open: None, path: Vec::new(), orphans: vec![] };
    let mut start = 0;
    for heading in &document.headings {
        cutter.section(start..heading.range.start);
        cutter.heading(heading);
        start = heading.range.end;
    }
    cutter.section(start..document.text.len());
    cutter.finish()
}

struct Cutter<'t> {
    text: &'t str,
    spans: Vec<Span>,
    /// The passage that still grows, and its length in characters.
    open: Option<(Span, usize)>,
    /// The headings above the current place, from the outermost.
    path: Vec<&'t Heading>,
    /// Headings since the last text.
    orphans: Vec<&'t Heading>,
}

impl<'t> Cutter<'t> {
    fn heading(&mut self, heading: &'t Heading) {
        let outer = self.path.iter().any(|above| above.level > heading.level);
        let least = if outer { MIN_CHARS_AT_HEADING / 2 } else { MIN_CHARS_AT_HEADING };
        if self.open.as_ref().is_some_and(|(_, chars)| *chars >= least) {
            self.close();
        }
        self.path.retain(|above| above.level < heading.level);
        self.path.push(heading);
        self.orphans.push(heading);
    }

    /// Text without a heading in it.
    fn section(&mut self, range: Range<usize>) {
        for block in blocks(self.text, range) {
            self.block(block);
        }
    }

    fn block(&mut self, block: Range<usize>) {
        let chars = count(self.text, &block);
        if let Some((span, have)) = &mut self.open {
            let with_gap = count(self.text, &(span.range.end..block.end));
            if *have < ENOUGH_CHARS && *have + with_gap <= MAX_CHARS {
                span.range.end = block.end;
                *have += with_gap;
                for heading in self.orphans.drain(..) {
                    push_line(&mut span.context, &heading.label);
                }
                return;
            }
            self.close();
        }
        if chars <= MAX_CHARS {
            let span = self.span(block);
            self.open = Some((span, chars));
        } else {
            for piece in pieces(self.text, block) {
                let span = self.span(piece);
                self.spans.push(span);
            }
        }
    }

    fn span(&mut self, range: Range<usize>) -> Span {
        let heading = self.path.last().map(|heading| heading.label.clone()).unwrap_or_default();
        let mut context = String::new();
        let above = self.path.iter().rev().skip(1).rev();
        for label in above.chain(&self.orphans).map(|heading| &heading.label).filter(|label| **label != heading) {
            if !context.contains(label.as_str()) {
                push_line(&mut context, label);
            }
        }
        self.orphans.clear();
        Span { range, heading, context }
    }

    fn close(&mut self) {
        self.spans.extend(self.open.take().map(|(span, _)| span));
    }

    fn finish(mut self) -> Vec<Span> {
        self.close();
        // Headings at the very end have no text under them: they are a passage of their own, so that none is lost.
        if let (Some(first), Some(last)) = (self.orphans.first(), self.orphans.last()) {
            let range = first.range.start..last.range.end;
            let heading = first.label.clone();
            self.orphans.clear();
            for piece in pieces(self.text, range) {
                self.spans.push(Span { range: piece, heading: heading.clone(), context: String::new() });
            }
        }
        self.spans
    }
}

/// How much of a passage stands in lines that read like sentences, in percent: little of a list of signatures, all of an
/// explanation.
pub(crate) fn readable_percent(passage: &str) -> u64 {
    const MIN_WORDS: usize = 6;
    let is_sentence = |line: &&str| {
        let symbols = line.chars().filter(|c| "{}()[]<>=;:&|*!#$@\\/_+".contains(*c)).count();
        line.split_whitespace().nth(MIN_WORDS - 1).is_some() && symbols * 100 < line.len() * 14
    };
    let sentences: usize = passage.lines().filter(is_sentence).map(str::len).sum();
    (sentences * 100 / passage.len().max(1)) as u64
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

fn count(text: &str, range: &Range<usize>) -> usize {
    text.get(range.clone()).map_or(0, |part| part.chars().count())
}

/// The stretches between blank lines, trimmed of line ends (but not of the first line's indent).
fn blocks(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut at = range.start;
    for line in text.get(range).unwrap_or_default().split_inclusive('\n') {
        let end = at + line.trim_end().len();
        if end == at {
            found.extend(open.take());
        } else {
            open = Some(open.map_or(at, |block| block.start)..end);
        }
        at += line.len();
    }
    found.extend(open);
    found
}

/// A block that is too long for one passage, cut at the best borders that it has.
fn pieces(text: &str, block: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = block.start;
    while let Some(rest) = text.get(start..block.end).filter(|rest| !rest.trim().is_empty()) {
        let length = piece_length(rest);
        let piece = rest.get(..length).unwrap_or(rest);
        let lead = if start == block.start { 0 } else { piece.len() - piece.trim_start_matches([' ', '\n']).len() };
        let piece_end = start + piece.trim_end().len();
        if start + lead < piece_end {
            found.push(start + lead..piece_end);
        }
        start += length;
    }
    found
}

/// How many bytes of `rest` make the next piece: at least one character.
fn piece_length(rest: &str) -> usize {
    let Some((limit, _)) = rest.char_indices().nth(MAX_CHARS) else { return rest.len() };
    let window = rest.get(..limit).unwrap_or(rest);
    let late_enough = |at: &usize| *at > limit / 3;
    let line = window.rfind('\n').map(|at| at + 1).filter(late_enough);
    let sentence = || {
        window.rmatch_indices(['.', '!', '?', ';', '。', '！', '？']).find_map(|(at, mark)| {
            let end = at + mark.len();
            let next = window.get(end..)?.chars().next()?;
            (next.is_whitespace() || !mark.is_ascii()).then_some(end)
        })
    };
    let word = || last_border(rest, limit);
    line.or_else(|| sentence().filter(late_enough)).or_else(word).unwrap_or_else(|| first_border(rest, limit))
}

/// The last place up to `limit` that is not within a word.
fn last_border(rest: &str, limit: usize) -> Option<usize> {
    let mut next = rest.get(limit..)?.chars().next()?;
    for (at, c) in rest.get(..limit)?.char_indices().rev() {
        if is_border(c, next) {
            return Some(at + c.len_utf8());
        }
        next = c;
    }
    None
}

/// The first such place after `limit`.
fn first_border(rest: &str, limit: usize) -> usize {
    let bound = rest.floor_char_boundary(MAX_WORD_BYTES.max(limit));
    let mut previous = None;
    for (at, c) in rest.get(limit..bound).unwrap_or_default().char_indices() {
        if previous.is_some_and(|previous| is_border(previous, c)) {
            return limit + at;
        }
        previous = Some(c);
    }
    bound.max(limit)
}

/// White space, and the scripts that write without it.
fn is_border(before: char, after: char) -> bool {
    before.is_whitespace() || after.is_whitespace() || (is_unspaced(before) && is_unspaced(after))
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::extract;
    use proptest::prelude::*;

    fn page(name: &str, source: &str) -> (Extracted, Vec<Span>) {
        let extracted = extract(name, source.as_bytes(), 1 << 20).unwrap();
        let spans = split(&extracted);
        (extracted, spans)
    }

    /// Everything that the module promises of passages.
    fn check(document: &Extracted, spans: &[Span]) {
        let mut end = 0;
        for span in spans {
            let passage = document.text.get(span.range.clone()).expect("a passage is a stretch of the text");
            assert!(!passage.trim().is_empty());
            assert!(passage.len() <= MAX_WORD_BYTES + 4 * MAX_CHARS, "{}", passage.len());
            let gap = document.text.get(end..span.range.start).expect("passages do not overlap");
            let in_heading = |at: usize| document.headings.iter().any(|heading| heading.range.contains(&(end + at)));
            let gap: String = gap.char_indices().filter(|(at, _)| !in_heading(*at)).map(|(_, c)| c).collect();
            assert_eq!(gap.trim(), "", "nothing but headings stands between passages");
            end = span.range.end;
        }
        assert_eq!(document.text[end..].trim(), "", "the last passage ends with the document");
    }

    #[test]
    fn a_section_is_a_passage_under_its_heading() {
        let body = "A sentence that fills the section with words. ".repeat(8);
        let (document, spans) = page("a.md", &format!("# Top\n\n## One\n\n{body}\n\n## Two\n\n{body}"));
        check(&document, &spans);
        assert_eq!(spans.iter().map(|s| s.heading.as_str()).collect::<Vec<_>>(), ["One", "Two"]);
        assert_eq!(spans[1].context, "Top");
    }

    #[test]
    fn short_sections_share_a_passage_and_keep_their_headings_words() {
        let (document, spans) = page("a.md", "# Push\n\nAdds one.\n\n# Pop\n\nTakes one.\n");
        check(&document, &spans);
        assert_eq!(spans.len(), 1);
        assert_eq!((spans[0].heading.as_str(), spans[0].context.as_str()), ("Push", "Pop"));
    }

    #[test]
    fn a_long_paragraph_is_cut_between_sentences() {
        let (document, spans) = page("a.txt", &"This sentence stands on its own and is cut off nowhere. ".repeat(100));
        check(&document, &spans);
        assert!(spans.len() > 3);
        for span in spans {
            assert!(document.text[span.range].ends_with("nowhere."));
        }
    }

    #[test]
    fn code_is_cut_between_lines() {
        let (document, spans) = page("a.rs", &"    let value = compute(value);\n".repeat(200));
        check(&document, &spans);
        for span in spans {
            assert!(document.text[span.range].ends_with(';'));
        }
    }

    #[test]
    fn a_script_without_spaces_is_cut_between_its_characters() {
        let (document, spans) = page("a.txt", &"漢字".repeat(3000));
        check(&document, &spans);
        assert!(spans.iter().all(|span| span.range.len() <= MAX_CHARS * 3));
    }

    proptest! {
        #[test]
        fn passages_cover_the_text_and_never_cut_a_word(
            source in "((# [a-z]{1,9}|## [A-Z]{1,9} [a-z]{1,5}|[a-zé漢 .]{0,900}|[a-z]{1,20}([ .][a-z]{1,12}){0,300})\n{1,2}){0,30}"
        ) {
            if let Ok(document) = extract("a.md", source.as_bytes(), 1 << 20) {
                let spans = split(&document);
                check(&document, &spans);
                for span in &spans {
                    for at in [span.range.start, span.range.end] {
                        let before = document.text[..at].chars().next_back().unwrap_or(' ');
                        let after = document.text[at..].chars().next().unwrap_or(' ');
                        prop_assert!(is_border(before, after), "cut between {before:?} and {after:?}");
                    }
                }
            }
        }
    }
}
