//! Cutting a passage into sentences that can be quoted. Each is a stretch of the passage, byte for byte.
//!
//! The passages come from pages, Markdown and plain text, and their form is lost: a line break may be the end of a block
//! or the width of somebody's terminal. So breaks are judged by their looks, and when in doubt they separate: a sentence
//! lost is better than two halves joined.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

/// What a stretch of text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sentence, with an end.
    Prose,
    /// A sentence that leads over to something that is not part of it: it ends in a colon.
    LeadIn,
    /// A heading, an entry of a menu, a cell of a table: words without a sentence's end.
    Fragment,
    /// A line of a program.
    Code,
}

/// A sentence, or what stands in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    /// Where it stands in the passage, in bytes.
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
    /// It goes on where the sentence before ended, in the same paragraph.
    pub(super) follows: bool,
}

/// Longer ones are no sentences; they are still split off, but nobody would want them quoted.
pub(super) const MAX_QUOTE_BYTES: usize = 800;

/// The sentences of `text`, in order.
pub(super) fn split(text: &str) -> Vec<Sentence> {
    let mut found = Vec::new();
    for paragraph in paragraphs(text) {
        sentences(text, &paragraph, &mut found);
    }
    found
}

/// Lines that belong together: a paragraph, a list's item, a heading, a line of code.
struct Paragraph {
    range: Range<usize>,
    is_code: bool,
}

struct Line<'t> {
    start: usize,
    text: &'t str,
}

fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut block: Vec<Line<'_>> = Vec::new();
    let mut fence = None;
    let mut at = 0;
    for raw in text.split_inclusive('\n') {
        let start = at;
        at += raw.len();
        let line = raw.trim_end();
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        if mark.is_some() || line.trim().is_empty() {
            close_block(&mut block, fence.is_some(), &mut found);
            if mark.is_some() {
                fence = if fence.is_some() { None } else { mark };
            }
            continue;
        }
        // Cells of a table are divided by tabs, here and in what the corpus extracts.
        let mut cell_start = start;
        for cell in line.split('\t') {
            if cell_start > start {
                close_block(&mut block, fence.is_some(), &mut found);
            }
            if !cell.trim().is_empty() {
                block.push(Line { start: cell_start, text: cell });
            }
            cell_start += cell.len() + 1;
        }
    }
    close_block(&mut block, fence.is_some(), &mut found);
    found
}

/// A block is what stands between blank lines.
fn close_block(block: &mut Vec<Line<'_>>, fenced: bool, found: &mut Vec<Paragraph>) {
    let lines = std::mem::take(block);
    let width = lines.iter().map(|line| line.text.len()).max().unwrap_or(0);
    let code_lines = lines.iter().filter(|line| is_code(line.text)).count();
    let is_code_block = fenced || (lines.len() > 1 && code_lines * 2 > lines.len());
    let mut open: Option<Paragraph> = None;
    let mut previous: Option<&str> = None;
    for line in &lines {
        let end = line.start + line.text.trim_end().len();
        let lead = leading_mark(line.text);
        let code = is_code_block || is_code(line.text);
        match &mut open {
            Some(paragraph)
                if !code
                    && !paragraph.is_code
                    && lead.marker == 0
                    && previous.is_some_and(|p| is_wrapped(p, line.text, width)) =>
            {
                paragraph.range.end = end;
            }
            _ => {
                found.extend(open.take());
                let start = line.start + if code { lead.indent } else { lead.indent + lead.marker };
                open = Some(Paragraph { range: start.min(end)..end, is_code: code });
            }
        }
        previous = Some(line.text);
    }
    found.extend(open);
}

struct Lead {
    indent: usize,
    /// The bytes of a list's bullet or number, a heading's or a quotation's marks.
    marker: usize,
}

fn leading_mark(line: &str) -> Lead {
    let rest = line.trim_start();
    let indent = line.len() - rest.len();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after = |marker: usize| {
        let tail = rest.get(marker..).unwrap_or_default();
        let space = tail.len() - tail.trim_start().len();
        if space > 0 || tail.is_empty() { marker + space } else { 0 }
    };
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let marker = if (1..=3).contains(&digits) && rest.get(digits..).is_some_and(|tail| tail.starts_with(['.', ')'])) {
        after(digits + 1)
    } else if (1..=6).contains(&hashes) {
        after(hashes)
    } else if let Some(bullet) = rest.chars().next().filter(|c| matches!(c, '-' | '*' | '+' | '•' | '>' | '|' | '–'))
    {
        after(bullet.len_utf8())
    } else {
        ["///", "//!", "//"].into_iter().find(|mark| rest.starts_with(mark)).map_or(0, |mark| after(mark.len()))
    };
    Lead { indent, marker }
}

/// Whether the break between two lines is only the width of the column: the next line's first word had no room.
fn is_wrapped(line: &str, next: &str, width: usize) -> bool {
    const COLUMN: Range<usize> = 40..140;
    let line = line.trim_end();
    let next = next.trim_start();
    let first_word = next.split_whitespace().next().map_or(0, str::len);
    let had_no_room = line.len() + 1 + first_word + 2 > width;
    let goes_on = next.chars().next().is_some_and(|c| c.is_lowercase() || "(`\"'“".contains(c) || c.is_ascii_digit())
        || !line.ends_with(['.', '!', '?', ':', ';']);
    let is_sentence = line.split_whitespace().count() >= 5;
    COLUMN.contains(&width) && had_no_room && goes_on && is_sentence
}

/// What a line of a program looks like and a sentence does not.
fn is_code(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "#[",
        "#!",
        "#include",
        "fn ",
        "pub ",
        "let ",
        "use ",
        "impl ",
        "impl<",
        "mod ",
        "struct ",
        "enum ",
        "trait ",
        "unsafe ",
        "const ",
        "static ",
        "extern ",
        "async fn",
        "type ",
        "where ",
        "match ",
        "return ",
        "def ",
        "class ",
        "import ",
        "from ",
        "function ",
        "var ",
        "public ",
        "private ",
        "$ ",
        "> ",
        "}",
        "{",
        "assert",
        "println!",
        "//",
        "/*",
        "@",
        "<?",
        "</",
        "==",
        "--",
    ];
    const WORDS_THAT_START_SENTENCES_TOO: &[&str] = &[
        "use ",
        "type ",
        "match ",
        "return ",
        "from ",
        "class ",
        "import ",
        "let ",
        "where ",
        "public ",
        "private ",
        "const ",
        "static ",
        "unsafe ",
        "trait ",
        "function ",
        "> ",
    ];
    let rest = line.trim();
    let ends_like_code = rest.ends_with([';', '{', '}', ',', '(']) || rest.ends_with("=>") || rest.ends_with("->");
    let symbols = rest.chars().filter(|c| "{}()[]<>=;:&|*!#$@\\/_\"+".contains(*c)).count();
    let length = rest.chars().count().max(1);
    let dense = symbols * 100 / length;
    if rest.starts_with("///") || rest.starts_with("//!") || rest.starts_with("// ") {
        // A comment that is a sentence can be quoted; its marks are stripped.
        return !rest.ends_with('.') || rest.split_whitespace().count() < 5;
    }
    let started = STARTS.iter().find(|start| rest.starts_with(**start));
    match started {
        Some(start) if WORDS_THAT_START_SENTENCES_TOO.contains(start) => ends_like_code && dense >= 5 || dense >= 15,
        Some(_) => !(rest.ends_with(['.', '?']) && dense < 8),
        None => (ends_like_code && dense >= 12 && !rest.ends_with(',')) || dense >= 22,
    }
}

fn sentences(text: &str, paragraph: &Paragraph, found: &mut Vec<Sentence>) {
    let range = paragraph.range.clone();
    let Some(whole) = text.get(range.clone()).filter(|whole| !whole.trim().is_empty()) else { return };
    if paragraph.is_code {
        found.push(Sentence { range, kind: Kind::Code, follows: false });
        return;
    }
    // A break within the paragraph is a space. Same bytes, so places stay what they are.
    let flat = whole.replace('\n', " ");
    let mut start = 0;
    let mut first = true;
    let bounds: Vec<usize> = flat.split_sentence_bound_indices().map(|(at, part)| at + part.len()).collect();
    for end in bounds {
        let Some(piece) = flat.get(start..end) else { continue };
        if end < flat.len() && !is_end(piece, flat.get(end..).unwrap_or_default()) {
            continue;
        }
        let lead = piece.len() - piece.trim_start().len();
        let kept = piece.trim_end().len();
        if lead < kept {
            let place = range.start + start + lead..range.start + start + kept;
            found.push(Sentence { range: place, kind: kind_of(piece.trim()), follows: !first });
            first = false;
        }
        start = end;
    }
}

/// Whether a boundary by Unicode's rules is one by a reader's.
fn is_end(piece: &str, rest: &str) -> bool {
    const ABBREVIATIONS: &[&str] = &[
        "e.g.", "i.e.", "etc.", "vs.", "cf.", "fig.", "figs.", "no.", "nos.", "approx.", "dr.", "mr.", "mrs.", "ms.",
        "prof.", "st.", "sec.", "ch.", "vol.", "pp.", "p.", "eq.", "al.", "inc.", "ltd.", "jr.", "sr.", "resp.",
        "viz.", "ca.", "min.", "max.", "incl.", "a.k.a.", "w.r.t.",
    ];
    let piece = piece.trim_end();
    let next = rest.trim_start().chars().next();
    if piece.ends_with(['!', '?', '。', '！', '？']) {
        return next.is_none_or(|c| !c.is_lowercase());
    }
    let last = piece.rsplit(char::is_whitespace).next().unwrap_or(piece);
    let bare = last.trim_start_matches(['(', '[', '"', '\'', '“']).to_lowercase();
    let is_initial = bare.chars().count() == 2 && last.chars().next().is_some_and(char::is_uppercase) && bare != "i.";
    let abbreviated = ABBREVIATIONS.contains(&bare.as_str()) || is_initial;
    // "etc." may well end a sentence; the others stand before what they announce.
    let may_end = bare == "etc.";
    let opened = piece.matches(['(', '[']).count();
    let closed = piece.matches([')', ']']).count();
    let within = opened > closed || piece.matches('`').count() % 2 == 1;
    !(next.is_some_and(char::is_lowercase) || (abbreviated && !may_end) || (within && piece.len() < MAX_QUOTE_BYTES))
}

fn kind_of(sentence: &str) -> Kind {
    let closers = [')', ']', '"', '\'', '”', '’', '*', '_', '`', '»'];
    let bare = sentence.trim_end_matches(closers);
    let words = sentence.split_whitespace().count();
    if is_code(sentence) && words < 12 {
        Kind::Code
    } else if bare.ends_with(':') {
        Kind::LeadIn
    } else if bare.ends_with(['.', '!', '?', '…', '。', '！', '？']) && (words >= 3 || !sentence.is_ascii()) {
        Kind::Prose
    } else {
        Kind::Fragment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quotes(text: &str) -> Vec<(&str, Kind)> {
        split(text).into_iter().map(|sentence| (&text[sentence.range], sentence.kind)).collect()
    }

    #[test]
    fn abbreviations_and_brackets_do_not_end_a_sentence() {
        let text = "Some types, e.g. String, own their data (see ch. 4. It is long). Others (i.e. slices) borrow it. \
                    J. Smith wrote this.";
        let found = quotes(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|(_, kind)| *kind == Kind::Prose));
    }

    #[test]
    fn blocks_are_never_joined() {
        let text = "Struct Vec\nA contiguous growable array type\n\nIt is written as Vec<T>.\nOne\tTwo";
        let found: Vec<_> = quotes(text).into_iter().map(|(quote, _)| quote).collect();
        assert_eq!(found, ["Struct Vec", "A contiguous growable array type", "It is written as Vec<T>.", "One", "Two"]);
    }

    #[test]
    fn a_paragraph_wrapped_at_a_columns_width_is_read_as_one() {
        let text = "The capacity of a vector is the amount of space allocated for any\nfuture elements that will be added \
                    onto the vector. This is not to\nbe confused with the length.";
        let found = quotes(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].0.ends_with("onto the vector."));
    }

    #[test]
    fn code_headings_and_list_marks_are_told_apart() {
        let text = "# Growing\n\n- A vector grows when it is full.\n1. It doubles its capacity.\n\n```rust\nlet v = vec![1];\n\
                    ```\n\nlet mut v = Vec::new();\nv.push(1);\n\npub fn push(&mut self, value: T)\n\nFor example:";
        let kinds: Vec<_> = quotes(text);
        assert_eq!(
            kinds,
            [
                ("Growing", Kind::Fragment),
                ("A vector grows when it is full.", Kind::Prose),
                ("It doubles its capacity.", Kind::Prose),
                ("let v = vec![1];", Kind::Code),
                ("let mut v = Vec::new();", Kind::Code),
                ("v.push(1);", Kind::Code),
                ("pub fn push(&mut self, value: T)", Kind::Code),
                ("For example:", Kind::LeadIn),
            ]
        );
    }

    proptest! {
        #[test]
        fn sentences_are_stretches_of_the_text_in_order(text in "([A-Z]?[a-z]{1,9}[ .,:;!?\n\t#*`({})-]{1,3}|é|漢|\\PC{0,5}){0,60}") {
            let mut end = 0;
            for sentence in split(&text) {
                prop_assert!(sentence.range.start >= end);
                let quote = text.get(sentence.range.clone());
                prop_assert!(quote.is_some_and(|quote| !quote.is_empty() && quote.trim() == quote));
                end = sentence.range.end;
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            split(&text);
        }
    }
}
