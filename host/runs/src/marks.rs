//! The marks `[s1]` in an answer and the sentences that they stand in. What stands in code is no mark: `rows[s1]` is a program's
//! business.

use std::ops::Range;

/// What a mark of a source says that no verified quote stands for.
const NOT_VERIFIED: &str = "not verified";
/// A mark is no longer than this, so that an answer full of brackets takes no longer to read than another one.
const MAX_MARK_BYTES: usize = 200;

/// A mark: where it stands, in bytes, and the ids in it. `[s1]`, `[s1, s2]`, `[s1; s2]` and `[s1, not verified]` are marks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    pub(crate) range: Range<usize>,
    pub(crate) ids: Vec<&'a str>,
}

/// The marks of a text, in order.
pub(crate) fn marks(text: &str) -> Vec<Mark<'_>> {
    let code = code(text);
    let mut in_code = code.iter().peekable();
    let mut found = Vec::new();
    for (start, _) in text.match_indices('[') {
        while in_code.next_if(|range| range.end <= start).is_some() {}
        if in_code.peek().is_some_and(|range| range.start <= start) {
            continue;
        }
        let bound = text.floor_char_boundary((start + MAX_MARK_BYTES).min(text.len()));
        let inner = text.get(start + 1..bound).and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner);
        let Some(inner) = inner else { continue };
        let parts = || inner.split([',', ';']).map(str::trim);
        let ids: Vec<&str> = parts().filter(|part| is_id(part)).collect();
        if !ids.is_empty() && parts().all(|part| is_id(part) || part == NOT_VERIFIED) {
            found.push(Mark { range: start..start + inner.len() + 2, ids });
        }
    }
    found
}

fn is_id(text: &str) -> bool {
    text.strip_prefix('s')
        .is_some_and(|number| !number.is_empty() && number.len() < 6 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The text with each id that is not `verified` marked as such.
pub(crate) fn told_apart(text: &str, verified: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for Mark { range, ids } in marks(text) {
        out.push_str(text.get(copied..range.start).unwrap_or_default());
        let (backed, not): (Vec<&str>, Vec<&str>) = ids.into_iter().partition(|id| verified(id));
        if !backed.is_empty() {
            out.push_str(&format!("[{}]", backed.join(", ")));
        }
        if !not.is_empty() {
            let space = if backed.is_empty() { "" } else { " " };
            out.push_str(&format!("{space}[{}, {NOT_VERIFIED}]", not.join(", ")));
        }
        copied = range.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The stretches of a text that are code: fenced blocks with their fences, and what stands between backquotes in one line.
fn code(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut fence: Option<(char, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let row = fence_of(line);
        match (fence, row) {
            (None, Some(opened)) => {
                fence = Some(opened);
                found.push(range);
            }
            (Some((with, length)), Some((closes, row))) if with == closes && row >= length => {
                fence = None;
                found.push(range);
            }
            (Some(_), _) => found.push(range),
            (None, None) => {
                found.extend(spans(line).into_iter().map(|span| range.start + span.start..range.start + span.end))
            }
        }
    }
    found
}

/// A line that opens or closes a block of code: its character and how often it stands there.
fn fence_of(line: &str) -> Option<(char, usize)> {
    let line = line.trim_start();
    let with = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.chars().take_while(|c| *c == with).count();
    (length >= 3).then_some((with, length))
}

/// What stands between two rows of backquotes of the same length.
fn spans(line: &str) -> Vec<Range<usize>> {
    let mut rows: Vec<Range<usize>> = Vec::new();
    for (at, _) in line.match_indices('`') {
        match rows.last_mut() {
            Some(row) if row.end == at => row.end = at + 1,
            _ => rows.push(at..at + 1),
        }
    }
    let mut found = Vec::new();
    let mut rows = rows.into_iter();
    while let Some(open) = rows.next() {
        let mut rest = rows.clone();
        if let Some(close) = rest.find(|row| row.len() == open.len()) {
            found.push(open.start..close.end);
            rows = rest;
        }
    }
    found
}

/// The sentences of a text, in bytes: a full stop, a paragraph, a heading or an item of a list ends one. A mark after the full stop
/// belongs to the sentence before it.
pub(crate) fn sentences(text: &str, marks: &[Mark<'_>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut marks = marks.iter().peekable();
    let mut start = 0;
    let mut end_at = |end: usize, start: &mut usize| {
        let piece = text.get(*start..end).unwrap_or_default();
        let trimmed = piece.trim();
        if !trimmed.is_empty() {
            let begin = *start + (piece.len() - piece.trim_start().len());
            found.push(begin..begin + trimmed.len());
        }
        *start = end;
    };
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        while marks.next_if(|mark| mark.range.end <= at).is_some() {}
        if marks.peek().is_some_and(|mark| mark.range.start <= at) {
            continue;
        }
        let end = at + c.len_utf8();
        let rest = text.get(end..).unwrap_or_default();
        let next = characters.peek().map(|(_, next)| *next);
        let stops = match c {
            '.' | '!' | '?' => {
                let numbers = text.get(start..at).is_some_and(|piece| is_number(piece.trim()));
                !numbers && next.is_none_or(|next| next.is_whitespace() || next == '[')
            }
            '。' | '！' | '？' => true,
            '\n' => {
                let line = rest.trim_start_matches([' ', '\t']);
                line.starts_with(['\n', '-', '*', '#', '|', '>', '+']) || is_numbered(line)
            }
            _ => false,
        };
        if stops {
            // The marks that stand right behind it in its line.
            let mut end = end;
            for mark in marks.clone() {
                let between = text.get(end..mark.range.start);
                if c == '\n' || between.is_none_or(|between| between.contains(|c| c != ' ')) {
                    break;
                }
                end = mark.range.end;
            }
            end_at(end, &mut start);
        }
    }
    end_at(text.len(), &mut start);
    found
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A line that begins with a number of a list.
fn is_numbered(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && rest.starts_with([')', '.']) && rest.get(1..).is_some_and(|rest| rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(text: &str) -> Vec<Vec<&str>> {
        marks(text).into_iter().map(|mark| mark.ids).collect()
    }

    #[test]
    fn marks_are_found_however_they_are_grouped_and_not_in_code() {
        assert_eq!(
            ids("A [s1]. B [s2; s3][s4, not verified] [0] [sic] s5 [s1"),
            [vec!["s1"], vec!["s2", "s3"], vec!["s4"]]
        );
        assert_eq!(
            ids("`rows[s1]` and [s2]\n```rust\nlet x = rows[s3];\n```\n[s4] ``a`[s5]`` `b [s6]"),
            [["s2"], ["s4"], ["s6"]]
        );
        assert_eq!(ids("~~~\n[s1]\n```\n[s2]\n~~~\n[s3]"), [["s3"]]);
    }

    #[test]
    fn a_bracket_that_is_closed_far_behind_it_is_no_mark() {
        let many = |count: usize| format!("[{}]", vec!["s1"; count].join(", "));
        assert_eq!(marks(&many(40)).len(), 1);
        assert!(many(60).len() > MAX_MARK_BYTES && marks(&many(60)).is_empty());
    }

    #[test]
    fn what_no_verified_quote_stands_for_is_marked_and_nothing_is_lost() {
        let told = |text| told_apart(text, |id| id == "s1");
        assert_eq!(told("A [s1]. B [s9]. C [s1, s9]."), "A [s1]. B [s9, not verified]. C [s1] [s9, not verified].");
        assert_eq!(told("A [s1, not verified]; `x[s9]`"), "A [s1]; `x[s9]`", "the host alone says what is verified");
    }

    #[test]
    fn a_sentence_keeps_the_marks_behind_its_full_stop() {
        let text =
            "One is 1.5 long. Two? [s1] [s2] Three [s3].\n\n# Head\n- item one [s4]\n- item two\n1. third. Last.[s5]";
        let marks = marks(text);
        let found: Vec<&str> = sentences(text, &marks).into_iter().map(|range| &text[range]).collect();
        assert_eq!(
            found,
            [
                "One is 1.5 long.",
                "Two? [s1] [s2]",
                "Three [s3].",
                "# Head",
                "- item one [s4]",
                "- item two",
                "1. third.",
                "Last.[s5]"
            ]
        );
    }

    #[test]
    fn brackets_without_end_take_no_time() {
        let started = std::time::Instant::now();
        assert!(marks(&"[".repeat(1 << 20)).is_empty());
        assert!(marks(&format!("{}]", "[s1, ".repeat(1 << 18))).is_empty());
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn marking_loses_no_word_and_is_done_once(text in "(\\[s1\\]|\\[s2, s1\\]|[a-c.`\\n -]{1,4}|```\\n|\\[){0,30}") {
            let once = told_apart(&text, |id| id == "s1");
            prop_assert_eq!(told_apart(&once, |id| id == "s1"), once.clone());
            let bare = |text: &str| text.replace(", not verified", "").replace(['[', ']', ' ', ','], "");
            prop_assert_eq!(bare(&once).len(), bare(&text).len());
            for range in sentences(&once, &marks(&once)) {
                prop_assert!(once.get(range).is_some());
            }
        }
    }
}
