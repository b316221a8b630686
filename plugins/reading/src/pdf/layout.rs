//! From pieces of text at places to lines in the order in which a person reads them: words are put together, columns are read one
//! after the other, and rows of a table stay rows.

use crate::pdf::direction;
use crate::pdf::page::Run;

/// From so much of the font's size on, a gap is one between words.
const WORD_GAP: f32 = 0.15;
/// From so much on, it is one between cells or columns.
const CELL_GAP: f32 = 1.1;
/// So far apart two baselines of one line may be, in the smaller one's size, as for an index that is set higher.
const SAME_LINE: f32 = 0.55;
/// Lines on both sides of a gutter, at least, for columns.
const MIN_COLUMN_LINES: usize = 4;
/// What of a column's width most of its lines fill, at least: those of a table do not.
const MIN_FILL: f32 = 0.55;
/// The least characters of a usual line of a column.
const MIN_LINE_CHARS: usize = 14;
/// Rows with as many cells in a row, at least, to be a table.
const MIN_ROWS: usize = 3;

/// A line as it is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) left: f32,
    pub(crate) right: f32,
    /// Upwards.
    pub(crate) baseline: f32,
    /// The size of most of its letters.
    pub(crate) size: f32,
    /// Which stretch of the page it belongs to; what is in another one goes on elsewhere.
    pub(crate) block: usize,
    /// How many cells it has, where it is a row of a table.
    pub(crate) cells: Option<usize>,
}

/// What stands on one baseline without a wide gap.
#[derive(Debug, Clone)]
struct Piece {
    text: String,
    left: f32,
    right: f32,
    baseline: f32,
    size: f32,
    known: bool,
}

/// The pieces of one baseline, from left to right.
type Row = Vec<Piece>;

/// The lines of a page.
pub(crate) fn lines(runs: Vec<Run>) -> Vec<Line> {
    let rows = rows(pieces(upright(runs)));
    let mut lines = Vec::new();
    let mut block = 0;
    read(rows, &mut block, &mut lines, 3);
    lines
}

/// The runs with the page turned so that most of them go from left to right. What goes another way (a stamp on the margin) comes
/// apart, as the last of the page.
fn upright(runs: Vec<Run>) -> Vec<Run> {
    let direction = |run: &Run| {
        let (dx, dy) = (run.to.0 - run.from.0, run.to.1 - run.from.1);
        match (dx.abs() >= dy.abs(), dx >= 0.0, dy >= 0.0) {
            (true, true, _) => 0_usize,
            (false, _, true) => 1,
            (true, false, _) => 2,
            (false, _, false) => 3,
        }
    };
    let mut letters = [0_usize; 4];
    for run in &runs {
        if let Some(count) = letters.get_mut(direction(run)) {
            *count += run.text.len();
        }
    }
    let most = (0..4).max_by_key(|way| (letters.get(*way).copied(), std::cmp::Reverse(*way))).unwrap_or(0);
    let turned = |(x, y): (f32, f32), way: usize| match way {
        0 => (x, y),
        1 => (y, -x),
        2 => (-x, -y),
        _ => (-y, x),
    };
    let (mut main, mut rest) = (Vec::new(), Vec::new());
    for mut run in runs {
        let way = direction(&run);
        (run.from, run.to) = (turned(run.from, way), turned(run.to, way));
        if way == most { main.push(run) } else { rest.push(run) }
    }
    // Below everything, so that it is read last.
    let bottom = main.iter().map(|run| run.from.1).fold(0.0, f32::min);
    let top = rest.iter().map(|run| run.from.1).fold(f32::MIN, f32::max);
    for run in &mut rest {
        let down = bottom - top - 10.0 * run.size.max(1.0);
        (run.from.1, run.to.1) = (run.from.1 + down, run.to.1 + down);
    }
    main.append(&mut rest);
    main
}

/// Puts together what was drawn one after the other on one baseline.
fn pieces(runs: Vec<Run>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for run in runs {
        let size = run.size.max(0.1);
        if let Some(last) = pieces.last_mut() {
            let gap = run.from.0 - last.right;
            let same_line = (run.from.1 - last.baseline).abs() < 0.1 * size.max(last.size);
            let same_size = (size - last.size).abs() < 0.25 * size.max(last.size);
            if same_line && same_size && gap > -0.5 * size && gap < CELL_GAP * size {
                // Where the end of what was before is guessed, what was placed by itself is a word of its own.
                let is_word = gap > WORD_GAP * size || (run.placed && !last.known);
                append(last, &run.text, is_word);
                last.right = run.to.0.max(last.right);
                last.known = run.known && (last.known || run.placed);
                continue;
            }
        }
        let (left, right) = (run.from.0, run.to.0);
        pieces.push(Piece { text: run.text, left, right, baseline: run.from.1, size, known: run.known });
    }
    pieces
}

fn append(piece: &mut Piece, text: &str, is_word: bool) {
    if is_word && !piece.text.ends_with(char::is_whitespace) && !text.starts_with(char::is_whitespace) {
        piece.text.push(' ');
    }
    piece.text.push_str(text);
}

/// The pieces by baseline, from the top, each row from left to right, with what is close put together.
fn rows(mut pieces: Vec<Piece>) -> Vec<Row> {
    pieces.sort_by(|a, b| b.baseline.total_cmp(&a.baseline));
    let mut rows: Vec<Row> = Vec::new();
    for piece in pieces {
        let fits = rows
            .last()
            .and_then(|row| row.iter().max_by(|a, b| a.size.total_cmp(&b.size)))
            .is_some_and(|main| (main.baseline - piece.baseline).abs() < SAME_LINE * main.size.min(piece.size));
        match rows.last_mut() {
            Some(row) if fits => row.push(piece),
            _ => rows.push(vec![piece]),
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| a.left.total_cmp(&b.left));
        let mut joined: Row = Vec::with_capacity(row.len());
        for piece in row.drain(..) {
            match joined.last_mut() {
                Some(last) if piece.left - last.right < CELL_GAP * last.size.max(piece.size) => {
                    let gap = piece.left - last.right;
                    let (size, large) = (piece.size.min(last.size), piece.size.max(last.size));
                    append(last, &piece.text, gap > WORD_GAP * size || gap < -0.5 * large || !last.known);
                    // A line is of the size of most of its letters.
                    if piece.text.len() > last.text.len() - piece.text.len() {
                        (last.size, last.baseline) = (piece.size, piece.baseline);
                    }
                    last.right = last.right.max(piece.right);
                    last.known = piece.known;
                }
                _ => joined.push(piece),
            }
        }
        *row = joined;
    }
    rows
}

/// Reads rows: columns one after the other where there are some, and line by line otherwise.
fn read(rows: Vec<Row>, block: &mut usize, lines: &mut Vec<Line>, depth: u8) {
    let gutter = if depth > 0 { gutter(&rows) } else { None };
    let Some(gutter) = gutter else {
        write(&rows, *block, lines);
        *block += 1;
        return;
    };
    let (mut left, mut right): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
    let mut across: Vec<Row> = Vec::new();
    for row in rows {
        if row.iter().any(|piece| crosses(piece, gutter)) {
            flush_columns(&mut left, &mut right, block, lines, depth);
            across.push(row);
            continue;
        }
        if !across.is_empty() {
            read(std::mem::take(&mut across), block, lines, 0);
        }
        let (l, r): (Row, Row) = row.into_iter().partition(|piece| piece.right <= gutter);
        left.extend((!l.is_empty()).then_some(l));
        right.extend((!r.is_empty()).then_some(r));
    }
    flush_columns(&mut left, &mut right, block, lines, depth);
    if !across.is_empty() {
        read(across, block, lines, 0);
    }
}

fn flush_columns(left: &mut Vec<Row>, right: &mut Vec<Row>, block: &mut usize, lines: &mut Vec<Line>, depth: u8) {
    for column in [left, right] {
        if !column.is_empty() {
            read(std::mem::take(column), block, lines, depth - 1);
        }
    }
}

fn crosses(piece: &Piece, gutter: f32) -> bool {
    piece.left < gutter && piece.right > gutter
}

/// Where a gutter between two columns of prose runs; none where there is none.
fn gutter(rows: &[Row]) -> Option<f32> {
    // A gutter is a gap of many rows: each gap's middle is tried.
    let mut gaps: Vec<f32> = Vec::new();
    for row in rows {
        gaps.extend(row.windows(2).filter_map(|pair| match pair {
            [a, b] if b.left > a.right => Some((a.right + b.left) / 2.0),
            _ => None,
        }));
    }
    gaps.sort_by(f32::total_cmp);
    // Not more than fifty of them: the candidates lie close together.
    let step = gaps.len().div_ceil(50).max(1);
    gaps.into_iter()
        .step_by(step)
        .filter_map(|at| Some((both_sides(rows, at)?, at)))
        .max_by_key(|(rows, _)| *rows)
        .map(|found| found.1)
}

/// How many rows a gutter here keeps apart; none where these are not columns of prose.
fn both_sides(rows: &[Row], at: f32) -> Option<usize> {
    let (mut left, mut right): (Vec<&Piece>, Vec<&Piece>) = (Vec::new(), Vec::new());
    let (mut both, mut crossed) = (0, 0);
    for row in rows {
        if row.iter().any(|piece| crosses(piece, at)) {
            crossed += 1;
            continue;
        }
        let (mut has_left, mut has_right) = (false, false);
        for piece in row {
            if piece.right <= at {
                has_left = true;
                left.push(piece);
            } else {
                has_right = true;
                right.push(piece);
            }
        }
        both += usize::from(has_left && has_right);
    }
    // Columns whose lines stand at different heights share no row, but have many lines each.
    let apart = left.len().min(right.len());
    if apart < MIN_COLUMN_LINES || apart * 3 < crossed || both.max(apart) < MIN_COLUMN_LINES {
        return None;
    }
    (is_prose(&left) && is_prose(&right)).then_some(both.max(apart))
}

/// Whether most lines fill the width that the widest ones have, with words.
fn is_prose(pieces: &[&Piece]) -> bool {
    let left = pieces.iter().map(|piece| piece.left).fold(f32::MAX, f32::min);
    let right = pieces.iter().map(|piece| piece.right).fold(f32::MIN, f32::max);
    let width = (right - left).max(1.0);
    let full = pieces
        .iter()
        .filter(|piece| piece.right - piece.left >= MIN_FILL * width && piece.text.chars().count() >= MIN_LINE_CHARS);
    full.count() * 2 > pieces.len()
}

/// Writes rows as lines, those of a table with their cells told apart.
fn write(rows: &[Row], block: usize, lines: &mut Vec<Line>) {
    let mut at = 0;
    while let Some(row) = rows.get(at) {
        let like = rows.iter().skip(at).take_while(|other| is_of_same_table(row, other)).count();
        let is_table = row.len() > 1 && like >= MIN_ROWS;
        for row in rows.iter().skip(at).take(like.max(1)) {
            lines.extend(line(row, is_table, block));
        }
        at += like.max(1);
    }
}

/// As many cells, each above the other.
fn is_of_same_table(row: &Row, other: &Row) -> bool {
    row.len() == other.len()
        && row.len() > 1
        && row.iter().zip(other).all(|(a, b)| {
            let near = 2.0 * a.size.max(b.size);
            (a.left - b.left).abs() < near || (a.right - b.right).abs() < near
        })
}

fn line(row: &Row, is_table: bool, block: usize) -> Option<Line> {
    let (first, last) = (row.first()?, row.last()?);
    let main = row.iter().max_by_key(|piece| piece.text.len())?;
    let flat = |piece: &Piece| direction::as_read(&piece.text.split_whitespace().collect::<Vec<_>>().join(" "));
    let texts: Vec<String> = row.iter().map(flat).filter(|text| !text.is_empty() || is_table).collect();
    let text = match is_table {
        true => format!("| {} |", texts.iter().map(|text| text.replace('|', "\\|")).collect::<Vec<_>>().join(" | ")),
        false => texts.join(" "),
    };
    let (left, right, cells) = (first.left, last.right, is_table.then_some(row.len()));
    (!text.is_empty()).then_some(Line { text, left, right, baseline: main.baseline, size: main.size, block, cells })
}
