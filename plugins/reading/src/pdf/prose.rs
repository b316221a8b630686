//! From lines to text: what repeats on every page is left out, lines become paragraphs, words that were broken at a line's end
//! become whole again, and what is set larger than the rest becomes a heading.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use crate::pdf::layout::Line;
use crate::text::Text;

/// Lines at a page's top, and as many at its bottom, that may repeat on every page.
const EDGE_LINES: usize = 3;
/// What of the height between the highest and the lowest line of all pages is taken for an edge.
const EDGE: f32 = 0.1;
/// Pages on which a line stands, at least, to be one that repeats.
const MIN_REPEATS: usize = 3;
/// A line that ends so much of its block's width before the block's end was ended by its author.
const SHORT: f32 = 0.15;
/// From so much of the usual distance on, a paragraph begins.
const PARAGRAPH_GAP: f32 = 1.25;
/// How much larger than most text each level of headings is, at least.
const HEADINGS: [(f32, &str); 3] = [(1.7, "# "), (1.35, "## "), (1.14, "### ")];
const MAX_HEADING_CHARS: usize = 200;
/// Letters of a file that tell what the size of its text is.
const MIN_BODY_CHARS: usize = 400;

/// The lines of a page.
pub(crate) struct Page {
    pub(crate) lines: Vec<Line>,
    pub(crate) has_picture: bool,
}

/// Writes all pages.
pub(crate) fn write(mut pages: Vec<Page>, text: &mut Text) {
    drop_repeated(&mut pages);
    let body = body_size(&pages);
    let several = pages.len() > 1;
    let has_text = pages.iter().any(|page| !page.lines.is_empty());
    for (n, page) in (1..).zip(&pages) {
        if text.is_full() {
            return;
        }
        let is_picture = page.lines.is_empty() && page.has_picture && has_text;
        if page.lines.is_empty() && !is_picture {
            continue;
        }
        text.end_paragraph();
        if several {
            text.push(&format!("[Page {n}]"));
            text.end_paragraph();
        }
        if is_picture {
            text.push("[This page is a picture without text.]");
            text.end_paragraph();
        }
        for paragraph in paragraphs(&page.lines) {
            text.push(heading(&paragraph, body));
            text.push(&paragraph.text);
            text.end_paragraph();
        }
    }
}

/// Lines that stand at the same edge of many pages, page numbers aside: headers and footers.
fn drop_repeated(pages: &mut [Page]) {
    let with_text = pages.iter().filter(|page| !page.lines.is_empty()).count();
    if with_text < MIN_REPEATS {
        return;
    }
    let baselines = || pages.iter().flat_map(|page| &page.lines).map(|line| line.baseline);
    let (lowest, highest) = (baselines().fold(f32::MAX, f32::min), baselines().fold(f32::MIN, f32::max));
    let margin = EDGE * (highest - lowest);
    let middle = lowest + margin..=highest - margin;
    let mut counts: HashMap<(bool, String), usize> = HashMap::new();
    for page in pages.iter() {
        let seen: HashSet<(bool, String)> =
            edges(&page.lines, &middle).map(|(top, at)| (top, shape(&page.lines, at))).collect();
        for place in seen {
            *counts.entry(place).or_default() += 1;
        }
    }
    for page in pages {
        let edges: Vec<(bool, usize)> = edges(&page.lines, &middle).collect();
        let first = edges.iter().find(|(top, _)| *top).copied();
        let last = edges.iter().find(|(top, _)| !top).copied();
        let repeated: HashSet<usize> = edges
            .into_iter()
            .filter(|(top, at)| {
                let place = (*top, shape(&page.lines, *at));
                // What stands at the very edge and is a number alone is the page's.
                let is_edge = [first, last].contains(&Some((*top, *at)));
                let is_number = is_edge && place.1.ends_with(":#");
                is_number || counts.get(&place).is_some_and(|count| *count >= MIN_REPEATS)
            })
            .map(|(_, at)| at)
            .collect();
        let mut at = 0;
        page.lines.retain(|_| {
            at += 1;
            !repeated.contains(&(at - 1))
        });
    }
}

/// The lines of a page above and below the middle of it, by number: the highest and the lowest first.
fn edges(lines: &[Line], middle: &RangeInclusive<f32>) -> impl Iterator<Item = (bool, usize)> + use<> {
    let is_middle = |at: &usize| lines.get(*at).is_none_or(|line| middle.contains(&line.baseline));
    let mut order: Vec<usize> = (0..lines.len()).filter(|at| !is_middle(at)).collect();
    let is_top = |at: &usize| lines.get(*at).is_some_and(|line| line.baseline > *middle.end());
    let baseline = |at: &usize| lines.get(*at).map_or(0.0, |line| line.baseline);
    order.sort_by(|a, b| baseline(b).total_cmp(&baseline(a)));
    let top: Vec<_> = order.iter().filter(|at| is_top(at)).take(EDGE_LINES).map(|at| (true, *at)).collect();
    let bottom: Vec<_> = order.iter().rev().filter(|at| !is_top(at)).take(EDGE_LINES).map(|at| (false, *at)).collect();
    top.into_iter().chain(bottom)
}

/// A line with each number as one sign and its height: what is the same on each page of a header.
fn shape(lines: &[Line], at: usize) -> String {
    let Some(line) = lines.get(at) else { return String::new() };
    let mut shape = format!("{:.0}:", line.baseline / 2.0);
    let mut in_number = false;
    // A page's number may be a Roman one, which only a line of nothing else is taken for.
    let is_roman = !line.text.is_empty() && line.text.chars().all(|c| "ivxlcIVXLC".contains(c));
    if is_roman {
        shape.push('#');
        return shape;
    }
    for c in line.text.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                shape.push('#');
            }
            in_number = true;
        } else {
            in_number = false;
            shape.push(c);
        }
    }
    shape
}

/// The size of most letters; none where there are too few.
fn body_size(pages: &[Page]) -> Option<f32> {
    let mut letters: HashMap<i32, usize> = HashMap::new();
    for line in pages.iter().flat_map(|page| &page.lines) {
        *letters.entry(half_points(line.size)).or_default() += line.text.chars().count();
    }
    let total: usize = letters.values().sum();
    let (size, _) = letters.into_iter().max_by_key(|(size, count)| (*count, *size))?;
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    let size = size as f32 / 2.0;
    (total >= MIN_BODY_CHARS).then_some(size)
}

#[expect(clippy::cast_possible_truncation, reason = "sizes are small, and others saturate")]
fn half_points(size: f32) -> i32 {
    (size * 2.0).round() as i32
}

struct Paragraph {
    text: String,
    size: f32,
}

fn heading(paragraph: &Paragraph, body: Option<f32>) -> &'static str {
    let has_letters = paragraph.text.chars().filter(|c| c.is_alphabetic()).count() > 1;
    let Some(body) = body.filter(|_| has_letters && paragraph.text.chars().count() <= MAX_HEADING_CHARS) else {
        return "";
    };
    let level = HEADINGS.iter().find(|(larger, _)| paragraph.size >= larger * body);
    level.map_or("", |(_, mark)| mark)
}

/// Lines that belong together.
fn paragraphs(lines: &[Line]) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut begun = 0;
    while let Some(first) = lines.get(begun) {
        let block: Vec<&Line> = lines.iter().skip(begun).take_while(|line| line.block == first.block).collect();
        begun += block.len();
        let step = usual_step(&block);
        // A column's or a page's end is not a paragraph's: one that goes on is whole again.
        let goes_on = found.last().is_some_and(|last| last.size == first.size && goes_on(&last.text, &first.text));
        let mut previous: Option<&Line> = None;
        // The line with the bullet or the number of the item that is being read.
        let mut item: Option<&Line> = None;
        for line in &block {
            let (left, right) = (edge(&block, line, false), edge(&block, line, true));
            let begins = previous.is_none_or(|above| match item {
                Some(item) => begins_after_item(above, line, item, step),
                None => begins(above, line, step, left, right),
            });
            let width = (right - left).max(1.0);
            match found.last_mut() {
                Some(paragraph) if line.cells.is_some() && previous.is_some_and(|above| above.cells == line.cells) => {
                    paragraph.text.push('\n');
                    paragraph.text.push_str(&line.text);
                }
                Some(paragraph) if !begins || (previous.is_none() && goes_on) => {
                    let above_is_short = previous.is_some_and(|above| right - above.right > SHORT * width);
                    join(&mut paragraph.text, &line.text, above_is_short && item.is_none());
                }
                _ => {
                    let mut text = line.text.clone();
                    if let Some(cells) = line.cells {
                        text.push_str("\n|");
                        text.push_str(&" --- |".repeat(cells));
                    }
                    found.push(Paragraph { text, size: line.size });
                }
            }
            if begins {
                item = is_item(&line.text).then_some(line);
            }
            previous = Some(line);
        }
    }
    found
}

/// The left or right border of the lines of this size.
fn edge(block: &[&Line], of: &Line, right: bool) -> f32 {
    let alike = block.iter().filter(|line| (line.size - of.size).abs() < 0.1 * of.size);
    match right {
        true => alike.map(|line| line.right).fold(of.right, f32::max),
        false => alike.map(|line| line.left).fold(of.left, f32::min),
    }
}

/// A sentence that a column's end has cut.
fn goes_on(before: &str, after: &str) -> bool {
    let open = before.ends_with(|c: char| c.is_lowercase() || matches!(c, ',' | '-' | '\u{ad}'));
    open && before.len() > 40 && after.starts_with(char::is_lowercase)
}

/// The distance of most baselines, in parts of the font's size.
fn usual_step(block: &[&Line]) -> f32 {
    let mut steps: Vec<f32> = block
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some((a.baseline - b.baseline) / a.size.max(b.size)).filter(|step| *step > 0.5 && *step < 3.0),
            _ => None,
        })
        .collect();
    steps.sort_by(f32::total_cmp);
    // Paragraphs are further apart, never nearer: a third of the way up is within one.
    steps.get(steps.len() / 3).copied().unwrap_or(1.2)
}

/// Whether a paragraph begins with this line.
fn begins(above: &Line, line: &Line, step: f32, left: f32, right: f32) -> bool {
    let size = above.size.max(line.size);
    let other_size = (above.size - line.size).abs() > 0.12 * size;
    // What is in the middle is not indented.
    let centred = ((line.left - left) - (right - line.right)).abs() < size;
    let indented = line.left - left > size && above.left - left < 0.5 * size && line.left - above.left < 6.0 * size;
    is_far(above, line, step)
        || other_size
        || (indented && !centred)
        || above.cells != line.cells
        || is_item(&line.text)
}

/// The same within an item of a list, whose lines may be indented to its text.
fn begins_after_item(above: &Line, line: &Line, item: &Line, step: f32) -> bool {
    let outdented = line.left < item.left + 0.5 * item.size && above.left > item.left + 0.5 * item.size;
    is_far(above, line, step) || outdented || above.cells != line.cells || is_item(&line.text)
}

fn is_far(above: &Line, line: &Line, step: f32) -> bool {
    let down = (above.baseline - line.baseline) / above.size.max(line.size);
    down > (step * PARAGRAPH_GAP).min(2.0).max(step + 0.2)
}

/// A bullet, or a number with a point.
fn is_item(text: &str) -> bool {
    let mut words = text.split(' ');
    let (Some(mark), Some(_)) = (words.next(), words.next()) else { return false };
    let number = mark.strip_suffix(['.', ')']).unwrap_or_default();
    matches!(mark, "•" | "◦" | "▪" | "‣" | "–" | "-" | "*" | "·" | "○" | "■")
        || (!number.is_empty() && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Adds a line to a paragraph. A word that was broken at the end of the one above becomes whole.
fn join(text: &mut String, line: &str, above_is_short: bool) {
    let last_word = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    if text.ends_with('\u{ad}') {
        text.pop();
    } else if let Some(stem) = last_word.strip_suffix(['-', '\u{2010}'])
        && stem.ends_with(char::is_lowercase)
        && line.starts_with(char::is_lowercase)
    {
        // What has a hyphen already is a compound, and keeps this one, too.
        if !stem.contains(['-', '\u{2010}', '/']) {
            text.pop();
        }
    } else {
        text.push(if above_is_short { '\n' } else { ' ' });
    }
    text.push_str(line);
}
