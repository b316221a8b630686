//! Markdown is indexed as it is written: its syntax is part of the file's own words, and a quote must stand in them.
//! Only the headings are looked for; `#` within a fenced block is code, not a heading.

use super::{Extracted, Heading, one_line, trimmed_lines};

pub(super) fn extract(source: &str) -> Extracted {
    let text = trimmed_lines(source);
    let headings = headings(&text);
    let title = headings.iter().find(|heading| heading.level == 1).or(headings.first());
    let title = title.map(|heading| heading.label.clone()).unwrap_or_default();
    Extracted { title, media_type: "text/markdown", text, headings, truncated: false }
}

fn headings(text: &str) -> Vec<Heading> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    let mut previous: Option<(usize, &str)> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let line = line.trim_end();
        if let Some(mark) = fence {
            if line.trim_start().starts_with(mark) {
                fence = None;
            }
            continue;
        }
        fence = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        if fence.is_some() {
            previous = None;
        } else if let Some((level, label)) = atx(line) {
            found.push(Heading { range: at..at + line.len(), level, label });
            previous = None;
        } else if let (Some(level), Some((above, label))) = (setext(line), previous.take()) {
            found.push(Heading { range: above..at + line.len(), level, label: one_line(label) });
        } else {
            // A single line of text may turn out to be a heading when the next one underlines it.
            previous = Some((at, line)).filter(|(_, line)| !line.trim().is_empty());
        }
    }
    found
}

/// `## Heading ##`
fn atx(line: &str) -> Option<(u8, String)> {
    let rest = line.trim_start_matches('#');
    let level = u8::try_from(line.len() - rest.len()).ok().filter(|level| (1..=6).contains(level))?;
    let label = rest.strip_prefix([' ', '\t'])?.trim().trim_end_matches('#').trim_end();
    (!label.is_empty()).then(|| (level, one_line(label)))
}

/// The line under a heading: `=====` or `-----`.
fn setext(line: &str) -> Option<u8> {
    let all = |mark: char| line.len() >= 2 && line.chars().all(|c| c == mark);
    if all('=') {
        Some(1)
    } else if all('-') {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_both_kinds_are_found_and_code_is_not_mistaken_for_one() {
        let page = extract("Title\n=====\n\ntext\n\n## Sub ##\n\n```sh\n# a comment\n```\n\n---\n\n#hashtag\n");
        let found: Vec<_> = page.headings.iter().map(|h| (h.level, h.label.as_str())).collect();
        assert_eq!(found, [(1, "Title"), (2, "Sub")]);
        assert_eq!(page.title, "Title");
        assert!(page.text.starts_with("Title\n====="));
    }
}
