//! Looking for a regular expression, line by line.

use std::fmt::Write as _;

use regex::RegexBuilder;
use vivarium_sdk::tool::ToolError;

use crate::arguments::Search;
use crate::disk::Disk;
use crate::edit::cut;
use crate::look::{Looking, look};
use crate::text::{MAX_BYTES, bare, lines, plain};

/// How many lines that match are shown where nobody says.
const MATCHES: usize = 100;
/// How large a compiled expression may be: it comes from a model.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The lines that match, by file.
pub(crate) fn search(disk: &impl Disk, search: &Search, max_bytes: usize) -> Result<String, ToolError> {
    let regex = RegexBuilder::new(&search.pattern)
        .case_insensitive(search.ignore_case.unwrap_or(false))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| {
            ToolError::InvalidArguments(format!("pattern is no regular expression that is taken here: {error}"))
        })?;
    let looking = Looking {
        path: plain(search.path.as_deref().unwrap_or_default())?,
        glob: search.glob.clone(),
        depth: None,
        all: search.all.unwrap_or(false),
    };
    let looked = look(disk, &looking)?;
    let (most, context) =
        (search.max_matches.map_or(MATCHES, |most| most as usize), search.context.unwrap_or(0) as usize);
    let (mut told, mut found, mut files, mut skipped, mut is_full) = (String::new(), 0_usize, 0_usize, 0_usize, false);
    for path in &looked.files {
        let text = match disk.length(path) {
            Ok(Some(length)) if length <= MAX_BYTES => {
                disk.read(path, usize::MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            }
            _ => None,
        };
        let Some(text) = text.filter(|text| !text.contains('\0')) else {
            skipped += 1;
            continue;
        };
        let all = lines(&text);
        let matching: Vec<usize> =
            all.iter().enumerate().filter(|(_, line)| regex.is_match(bare(line))).map(|(at, _)| at).collect();
        files += usize::from(!matching.is_empty());
        let room = most.saturating_sub(found);
        found += matching.len();
        if is_full {
            continue;
        }
        let shown = matching.get(..room.min(matching.len())).unwrap_or_default();
        let part = part(path, &all, shown, context);
        if told.len() + part.len() > max_bytes {
            is_full = true;
            continue;
        }
        told.push_str(&part);
    }
    let mut summary = match found {
        0 => format!("nothing matches in {} files", looked.files.len()),
        _ => format!("{found} lines match in {files} of {} files", looked.files.len()),
    };
    if found > most || is_full {
        summary.push_str("; not all are shown: narrow it with path, glob or a longer pattern");
    }
    if skipped > 0 {
        // Writing to a String does not fail.
        let _ = write!(summary, "; {skipped} files are not text or too large, and were not searched");
    }
    if looked.is_cut {
        summary.push_str("; there are more files than are gone through");
    }
    Ok(if told.is_empty() { summary } else { format!("{told}\n{summary}") })
}

/// What is shown of one file: `path:12: the line`, and lines of context with `-` in place of `:`.
fn part(path: &str, all: &[&str], matching: &[usize], context: usize) -> String {
    let (mut told, mut next) = (String::new(), 0_usize);
    for at in matching {
        let first = at.saturating_sub(context).max(next);
        if context > 0 && next > 0 && first > next {
            told.push_str("--\n");
        }
        let last = (at + context).min(all.len().saturating_sub(1));
        for (number, line) in all.iter().enumerate().take(last + 1).skip(first) {
            let sign = if matching.contains(&number) { ':' } else { '-' };
            let _ = writeln!(told, "{path}{sign}{}{sign} {}", number + 1, cut(bare(line)));
        }
        next = next.max(last + 1);
    }
    told
}
