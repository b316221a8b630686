//! Unified diffs, as models write them: the context must stand in the file, line for line; line numbers are a hint, and counts that
//! do not fit the lines are overlooked.

use std::fmt::Write as _;

use crate::edit::{cut, show};
use crate::text::{Endings, bare, endings, lines};

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePatch {
    /// Its path before; none: it is new.
    pub(crate) from: Option<String>,
    /// Its path after; none: it goes.
    pub(crate) to: Option<String>,
    pub(crate) hunks: Vec<Hunk>,
}

/// One place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hunk {
    /// Where the old lines begin, from 1; a hint.
    at: usize,
    /// Each line with its ending, and what is to be done with it.
    lines: Vec<(Sign, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Keep,
    Remove,
    Add,
}

impl Hunk {
    fn old(&self) -> Vec<&str> {
        self.lines.iter().filter(|(sign, _)| *sign != Sign::Add).map(|(_, line)| line.as_str()).collect()
    }
}

/// Reads a patch.
pub(crate) fn parse(patch: &str) -> Result<Vec<FilePatch>, String> {
    let all = lines(patch);
    let (mut files, mut at): (Vec<FilePatch>, usize) = (Vec::new(), 0);
    while let Some(line) = all.get(at) {
        let next = all.get(at + 1).copied().unwrap_or_default();
        if let (Some(from), Some(to)) = (line.strip_prefix("--- "), next.strip_prefix("+++ ")) {
            let file = FilePatch { from: name(from)?, to: name(to)?, hunks: Vec::new() };
            // What was just said to move has these headers.
            if files.last() != Some(&file) {
                files.push(file);
            }
            at += 2;
        } else if let (Some(from), Some(to)) = (line.strip_prefix("rename from "), next.strip_prefix("rename to ")) {
            // These paths stand without `a/` and `b/` before them.
            let (from, to) = (in_workspace(unquoted(from))?, in_workspace(unquoted(to))?);
            files.push(FilePatch { from: Some(from), to: Some(to), hunks: Vec::new() });
            at += 2;
        } else if line.starts_with("@@") {
            let file =
                files.last_mut().ok_or("a hunk stands before the first file: begin with --- a/path and +++ b/path")?;
            let (hunk, end) = hunk(&all, at)?;
            file.hunks.push(hunk);
            at = end;
        } else {
            // What programs write around a diff: `diff --git`, `index`, a letter.
            at += 1;
        }
    }
    if files.is_empty() {
        return Err(
            "this is no unified diff: it needs --- a/path and +++ b/path, and hunks that begin with @@".to_owned()
        );
    }
    Ok(files)
}

/// The path in a header; none: `/dev/null`.
fn name(header: &str) -> Result<Option<String>, String> {
    let path = unquoted(header);
    if path == "/dev/null" {
        return Ok(None);
    }
    in_workspace(path.strip_prefix("a/").or_else(|| path.strip_prefix("b/")).unwrap_or(path)).map(Some)
}

fn in_workspace(path: &str) -> Result<String, String> {
    crate::text::plain(path).map_err(|_| format!("{path:?} is no path in the workspace"))
}

fn unquoted(path: &str) -> &str {
    // Programs put a tab and a time behind it.
    let path = path.split('\t').next().unwrap_or_default().trim();
    path.strip_prefix('"').and_then(|path| path.strip_suffix('"')).unwrap_or(path)
}

/// The numbers of a hunk's header: where the old lines begin, and how many old and new ones there are.
fn header(line: &str) -> Option<(usize, usize, usize)> {
    let ranges = line.strip_prefix("@@")?.split("@@").next()?.trim();
    let (old, new) = ranges.split_once(' ')?;
    let range = |text: &str, sign: char| {
        let text = text.trim().strip_prefix(sign)?;
        let (at, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((at.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    };
    let ((at, old), (_, new)) = (range(old, '-')?, range(new, '+')?);
    Some((at, old, new))
}

fn hunk(all: &[&str], begin: usize) -> Result<(Hunk, usize), String> {
    let line = all.get(begin).copied().unwrap_or_default();
    let (at, old, new) = match header(line) {
        Some(header) => header,
        // Models write a bare `@@`: the context alone says where it is.
        None if line.trim_end() == "@@" || line.starts_with("@@ ") => (0, usize::MAX, usize::MAX),
        None => return Err(format!("{:?} is no header of a hunk: write @@ -1,3 +1,4 @@", cut(bare(line)))),
    };
    let (mut hunk, mut end, mut seen) = (Hunk { at, lines: Vec::new() }, begin + 1, (0, 0));
    while let Some(line) = all.get(end) {
        let is_whole = seen.0 >= old && seen.1 >= new;
        let next = all.get(end + 1).copied().unwrap_or_default();
        let is_header = line.starts_with("--- ") && next.starts_with("+++ ");
        if line.starts_with("\\ ") {
            // The line before has no ending.
            if let Some((_, last)) = hunk.lines.last_mut() {
                *last = bare_lf(last).to_owned();
            }
            end += 1;
            continue;
        }
        if line.starts_with("@@") || line.starts_with("diff ") || (is_header && (is_whole || old == usize::MAX)) {
            break;
        }
        let (sign, rest) = match line.chars().next() {
            Some(' ') => (Sign::Keep, line.get(1..)),
            Some('-') => (Sign::Remove, line.get(1..)),
            Some('+') => (Sign::Add, line.get(1..)),
            // An empty line of context that has lost its space.
            Some('\n' | '\r') if !is_whole => (Sign::Keep, Some(*line)),
            _ => break,
        };
        if sign != Sign::Add {
            seen.0 += 1;
        }
        if sign != Sign::Remove {
            seen.1 += 1;
        }
        let rest = rest.unwrap_or_default();
        // The last line of a patch may have lost its ending on the way.
        let rest = if rest.ends_with('\n') { rest.to_owned() } else { format!("{rest}\n") };
        hunk.lines.push((sign, rest));
        end += 1;
    }
    if old == usize::MAX {
        // Blank lines behind a hunk without counts belong to nobody.
        while hunk.lines.last().is_some_and(|(sign, line)| *sign == Sign::Keep && bare(line).is_empty()) {
            hunk.lines.pop();
        }
    }
    if hunk.lines.is_empty() {
        return Err(format!("the hunk {:?} has no lines", cut(bare(line))));
    }
    Ok((hunk, end))
}

fn bare_lf(line: &str) -> &str {
    line.strip_suffix('\n').unwrap_or(line)
}

/// Applies the hunks of one file, in their order.
pub(crate) fn apply(text: &str, hunks: &[Hunk]) -> Result<String, String> {
    let all = lines(text);
    let crlf = endings(text) == Endings::CrLf
        && hunks.iter().all(|hunk| hunk.lines.iter().all(|(_, line)| !line.contains('\r')));
    let (mut made, mut done, mut drift) = (String::with_capacity(text.len()), 0_usize, 0_isize);
    for (number, hunk) in hunks.iter().enumerate() {
        let old = hunk.old();
        let hint = hunk.at.saturating_sub(1).saturating_add_signed(drift);
        let place = if old.is_empty() {
            // Only new lines: behind the line that the header names.
            Some(hunk.at.min(all.len()).max(done))
        } else {
            find(&all, &old, done, hint, crlf)
        };
        let Some(place) = place else { return Err(missing(text, &all, hunk, number, hunks.len(), done)) };
        if !old.is_empty() && hunk.at > 0 {
            drift = place as isize - (hunk.at as isize - 1);
        }
        all.iter().take(place).skip(done).for_each(|line| made.push_str(line));
        let mut old_at = place;
        for (sign, line) in &hunk.lines {
            match sign {
                // As it stands in the file.
                Sign::Keep => made.push_str(all.get(old_at).copied().unwrap_or_default()),
                Sign::Remove => {}
                Sign::Add => add(&mut made, line, crlf),
            }
            old_at += usize::from(*sign != Sign::Add);
        }
        done = old_at;
    }
    all.iter().skip(done).for_each(|line| made.push_str(line));
    Ok(made)
}

/// Adds a line. Where the one before has no ending, it gets one: two lines must not become one.
fn add(made: &mut String, line: &str, crlf: bool) {
    if !made.is_empty() && !made.ends_with('\n') {
        made.push_str(if crlf { "\r\n" } else { "\n" });
    }
    match (crlf, line.strip_suffix('\n')) {
        (true, Some(bare)) => {
            made.push_str(bare);
            made.push_str("\r\n");
        }
        _ => made.push_str(line),
    }
}

/// Where these lines stand, nearest to the hint, not before `from`. Lines are equal with their endings; only where none is, a missing
/// line break at the file's end and the endings of a file that has others than the patch are overlooked.
fn find(all: &[&str], old: &[&str], from: usize, hint: usize, crlf: bool) -> Option<usize> {
    let last = all.len().checked_sub(old.len())?;
    let nearest = |same: &dyn Fn(&str, &str) -> bool| {
        let fits = |at: &usize| all.iter().skip(*at).zip(old).all(|(line, old)| same(line, old));
        (from..=last).filter(fits).min_by_key(|at| at.abs_diff(hint))
    };
    let exact = if crlf { None } else { nearest(&|line, old| line == old) };
    exact.or_else(|| nearest(&|line, old| bare(line) == bare(old)))
}

/// Says which hunk stands nowhere, and what stands where it should.
fn missing(text: &str, all: &[&str], hunk: &Hunk, number: usize, count: usize, done: usize) -> String {
    let old = hunk.old();
    let first = old.first().copied().unwrap_or_default();
    let mut told = format!("hunk {} of {count} does not fit: ", number + 1);
    // The longest beginning of the hunk that stands somewhere says where the difference is.
    let best = (done..all.len())
        .map(|at| (all.iter().skip(at).zip(&old).take_while(|(line, old)| bare(line) == bare(old)).count(), at))
        .max_by_key(|(fitting, at)| (*fitting, std::cmp::Reverse(at.abs_diff(hunk.at.saturating_sub(1)))));
    match best {
        Some((fitting, at)) if fitting > 0 => {
            let line = at + fitting + 1;
            let wanted = old.get(fitting).map_or("the end of the hunk", |line| bare(line));
            let _ = writeln!(
                told,
                "its first {fitting} lines stand at line {}, but then line {line} should be {:?}. There stands:",
                at + 1,
                cut(wanted)
            );
            show(&mut told, text, at + 1, old.len().clamp(fitting + 1, 12));
        }
        _ => {
            let near = hunk.at.max(1);
            let _ = writeln!(
                told,
                "its first line {:?} stands nowhere{}. At line {near} stands:",
                cut(bare(first)),
                if done > 0 { " behind the hunk before" } else { "" }
            );
            show(&mut told, text, near, old.len().clamp(1, 8));
        }
    }
    told
}
