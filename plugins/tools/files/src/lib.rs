//! The tools over the files of a session: `list_files`, `read_file`, `search_files`, `write_file`, `edit_file`, `apply_patch`, `todo`.
//!
//! They change nothing that they have not been shown to know: a file that is there is changed by who gives the hash that it was read
//! with, or by a patch whose lines stand in it. What can not be done is said in a sentence that a model can act on. Line endings, byte
//! order marks and a missing line break at the end stay as they are.

mod arguments;
mod disk;
mod edit;
mod look;
mod patch;
mod search;
#[cfg(test)]
mod tests;
mod text;
mod todo;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vivarium_sdk::files::{FileError, Workspace};
use vivarium_sdk::tool::{Context, Output, ToolError};

use crate::arguments::{EditFile, List, Patch, Read, Search, Status, Todo, Write};
use crate::disk::{Changes, Disk};
use crate::look::{Looking, look};
use crate::text::{about, bare, bytes, failed, hash, is_hash_of, lines, plain};

/// How many files one list shows.
const MAX_LISTED: usize = 1_000;
/// What one answer may take of a model's context.
const MAX_CONTENT_BYTES: usize = 48 << 10;
/// What is shown around a change, before and after it.
const AROUND: usize = 2;

vivarium_sdk::export_tools! {
    "list_files" => list_files,
    "read_file" => read_file,
    "search_files" => search_files,
    "write_file" => write_file,
    "edit_file" => edit_file,
    "apply_patch" => apply_patch,
    "todo" => todo,
}

fn workspace() -> Result<Workspace, ToolError> {
    Workspace::open().map_err(|error| failed("the workspace", &error))
}

fn room(context: &Context) -> usize {
    MAX_CONTENT_BYTES.min(context.max_output_bytes as usize)
}

fn list_files(arguments: List, context: &Context) -> Result<Output, ToolError> {
    list(&workspace()?, &arguments, room(context)).map(Output::text)
}

fn read_file(arguments: Read, context: &Context) -> Result<Output, ToolError> {
    read(&workspace()?, &arguments, room(context)).map(Output::text)
}

fn search_files(arguments: Search, context: &Context) -> Result<Output, ToolError> {
    search::search(&workspace()?, &arguments, room(context)).map(Output::text)
}

fn write_file(arguments: Write, _context: &Context) -> Result<Output, ToolError> {
    write(&mut workspace()?, arguments).map(Output::text)
}

fn edit_file(arguments: EditFile, _context: &Context) -> Result<Output, ToolError> {
    edit(&mut workspace()?, &arguments).map(Output::text)
}

fn apply_patch(arguments: Patch, _context: &Context) -> Result<Output, ToolError> {
    patched(&mut workspace()?, &arguments.patch).map(Output::text)
}

fn todo(arguments: Todo, _context: &Context) -> Result<Output, ToolError> {
    kept_list(&mut workspace()?, arguments).map(Output::text)
}

fn list(disk: &impl Disk, list: &List, max_bytes: usize) -> Result<String, ToolError> {
    let looking = Looking {
        path: plain(list.path.as_deref().unwrap_or_default())?,
        glob: list.glob.clone(),
        depth: list.depth,
        all: list.all.unwrap_or(false),
    };
    let looked = look(disk, &looking)?;
    if looked.files.is_empty() && looked.folders.is_empty() {
        return Ok(match &list.glob {
            Some(glob) => format!("no file fits {glob}"),
            None => "there are no files here yet".to_owned(),
        });
    }
    let (mut told, mut shown) = (String::new(), 0);
    for path in &looked.files {
        let length = disk.length(path).ok().flatten().unwrap_or(0);
        let line = format!("{path} ({length} bytes)\n");
        if shown >= MAX_LISTED || told.len() + line.len() + 200 > max_bytes {
            break;
        }
        told.push_str(&line);
        shown += 1;
    }
    for folder in looked.folders.iter().take(MAX_LISTED) {
        if list.glob.is_none() && told.len() + folder.len() + 200 < max_bytes {
            // Writing to a String does not fail.
            let _ = writeln!(told, "{folder}/");
        }
    }
    let more = looked.files.len() - shown;
    let _ = write!(told, "{} files", looked.files.len());
    if more > 0 || looked.is_cut {
        let _ = write!(told, "; {more} of them are not shown: give a path, a glob or a depth");
    }
    Ok(told)
}

fn read(disk: &impl Disk, read: &Read, max_bytes: usize) -> Result<String, ToolError> {
    let path = plain(&read.path)?;
    let text = text::text(disk, &path)?;
    let all = lines(&text);
    let about = about(&path, &text);
    if all.is_empty() {
        return Ok(format!("{about}; it is empty"));
    }
    let first = read.from_line.unwrap_or(1) as usize;
    let last = read.to_line.map_or(all.len(), |last| (last as usize).min(all.len()));
    if first > all.len() || first > last {
        return Err(ToolError::InvalidArguments(format!(
            "{path} has {} lines, and fromLine {first} to toLine {last} are none of them",
            all.len()
        )));
    }
    let (mut told, mut shown) = (String::new(), first - 1);
    for (at, line) in all.iter().enumerate().take(last).skip(first - 1) {
        let line = format!("{:>6}\t{}\n", at + 1, bare(line));
        if told.len() + line.len() + 300 > max_bytes && shown >= first {
            break;
        }
        if line.len() + 300 > max_bytes {
            let cut = line.floor_char_boundary(max_bytes.saturating_sub(300));
            told.push_str(line.get(..cut).unwrap_or_default());
            told.push_str("… (the line is longer)\n");
        } else {
            told.push_str(&line);
        }
        shown = at + 1;
    }
    let mut head = format!("{about}\n");
    if (first, shown) != (1, all.len()) {
        let _ = writeln!(head, "lines {first} to {shown}:");
    }
    if shown < last {
        let _ = writeln!(told, "… read on with fromLine {}", shown + 1);
    }
    Ok(head + &told)
}

fn write(disk: &mut impl Disk, write: Write) -> Result<String, ToolError> {
    let path = named(&write.path)?;
    let new = write.content.into_bytes();
    let before = match disk.length(&path) {
        Err(FileError::NotFound) => None,
        Err(error) => return Err(failed(&path, &error)),
        Ok(_) => Some(bytes(disk, &path)?),
    };
    match (&before, &write.hash) {
        // As after a call that was made twice.
        (Some(before), _) if *before == new => {
            return Ok(format!("{path} has this content already, hash {}", hash(&new)));
        }
        (Some(before), Some(given)) if is_hash_of(given, before) => {}
        (Some(before), Some(given)) => return Err(stale(&path, given, before)),
        (Some(before), None) => {
            return Err(ToolError::Failed(format!(
                "{path} is there, with {} bytes, and was not overwritten: read it with read_file and give its hash, or change it with \
                 edit_file",
                before.len()
            )));
        }
        (None, Some(_)) => {
            return Err(ToolError::NotFound(format!(
                "{path} is not there, so no hash fits; leave the hash out to make it"
            )));
        }
        (None, None) => {}
    }
    let told = format!(
        "{path} {}: {} bytes, hash {}",
        if before.is_some() { "overwritten" } else { "written" },
        new.len(),
        hash(&new)
    );
    disk.commit(vec![(path.clone(), Some(new))]).map_err(|error| failed(&path, &error))?;
    Ok(told)
}

/// The path of a file that is to be written.
fn named(path: &str) -> Result<String, ToolError> {
    let plain = plain(path)?;
    if plain.is_empty() {
        return Err(ToolError::InvalidArguments("path is empty: name a file".to_owned()));
    }
    Ok(plain)
}

fn stale(path: &str, given: &str, now: &[u8]) -> ToolError {
    ToolError::Failed(format!(
        "{path} is not what it was when its hash was {given:?}: somebody has changed it, its hash is {} now. Nothing was written; read it \
         again with read_file before you change it",
        hash(now)
    ))
}

fn edit(disk: &mut impl Disk, wish: &EditFile) -> Result<String, ToolError> {
    let path = named(&wish.path)?;
    let text = text::text(disk, &path)?;
    if !is_hash_of(&wish.hash, text.as_bytes()) {
        return Err(stale(&path, &wish.hash, text.as_bytes()));
    }
    let new =
        edit::apply(&text, &wish.edits).map_err(|why| ToolError::Failed(format!("{path} was not changed. {why}")))?;
    disk.commit(vec![(path.clone(), Some(new.clone().into_bytes()))]).map_err(|error| failed(&path, &error))?;
    Ok(changed(&path, &text, &new))
}

/// What a change has come to: the file's new hash, and the lines around what has changed.
fn changed(path: &str, before: &str, after: &str) -> String {
    let mut told = about(path, after);
    let (old, new) = (lines(before), lines(after));
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let same_end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let same_end = same_end.min(new.len().saturating_sub(same));
    let first = same.saturating_sub(AROUND);
    let last = (new.len() - same_end + AROUND).min(new.len());
    if last > first && last - first <= 40 {
        told.push_str("\nNow:\n");
        edit::show(&mut told, after, first + 1, last - first);
    }
    told
}

fn patched(disk: &mut impl Disk, text: &str) -> Result<String, ToolError> {
    let refused = |why: String| ToolError::Failed(format!("the patch was not applied, and nothing was changed. {why}"));
    let files = patch::parse(text).map_err(refused)?;
    // What each file is to be; a file that a patch names twice goes on from there.
    let mut after: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut told = String::new();
    for file in &files {
        let source = match &file.from {
            None => None,
            Some(path) => Some(match after.get(path) {
                Some(Some(text)) => text.clone(),
                Some(None) => return Err(refused(format!("{path} is removed by this patch before it is changed."))),
                None => text::text(disk, path).map_err(|error| refused(format!("{}.", said(&error))))?,
            }),
        };
        let name = file.to.as_ref().or(file.from.as_ref()).cloned().unwrap_or_default();
        let is_there = || after.get(&name).map_or_else(|| disk.length(&name).is_ok(), Option::is_some);
        if file.to.is_some() && file.from != file.to && is_there() {
            return Err(refused(match &file.from {
                None => format!(
                    "{name} is there, and the patch says that it is new: make it --- a/{name} with the lines that it has."
                ),
                Some(from) => format!(
                    "{name} is there, and the patch moves {from} to it: remove {name} first, with the lines that it has."
                ),
            }));
        }
        if name.is_empty() || (file.hunks.is_empty() && file.from == file.to) {
            return Err(refused(format!("{name:?} has no hunks.")));
        }
        let result = patch::apply(source.as_deref().unwrap_or_default(), &file.hunks)
            .map_err(|why| refused(format!("{name}: {why}")))?;
        match (&file.from, &file.to) {
            (Some(from), None) => {
                if !result.is_empty() {
                    let left = lines(&result).len();
                    return Err(refused(format!(
                        "{from} would be removed, but {left} lines of it are not in the patch."
                    )));
                }
                let _ = writeln!(told, "{from}: removed");
                after.insert(from.clone(), None);
            }
            (from, Some(to)) => {
                if let Some(from) = from.as_ref().filter(|from| *from != to) {
                    let _ = writeln!(told, "{from}: moved to {to}");
                    after.insert(from.clone(), None);
                }
                let _ = writeln!(told, "{}", about(to, &result));
                after.insert(to.clone(), Some(result));
            }
            (None, None) => return Err(refused("a file in it is neither before nor after.".to_owned())),
        }
    }
    let changes: Changes = after.into_iter().map(|(path, text)| (path, text.map(String::into_bytes))).collect();
    disk.commit(changes).map_err(|error| failed("the patch", &error))?;
    let _ = write!(told, "{} files changed", files.len());
    Ok(told)
}

/// The words of an error.
fn said(error: &ToolError) -> &str {
    match error {
        ToolError::UnknownTool(text)
        | ToolError::InvalidArguments(text)
        | ToolError::Denied(text)
        | ToolError::NotFound(text)
        | ToolError::Unavailable(text)
        | ToolError::Failed(text) => text,
    }
}

fn kept_list(disk: &mut impl Disk, todo: Todo) -> Result<String, ToolError> {
    let path = todo::FILE;
    let Some(items) = todo.items else {
        return match text::text(disk, path) {
            Ok(text) if !text.is_empty() => Ok(text),
            Ok(_) | Err(ToolError::NotFound(_)) => Ok("the list is empty".to_owned()),
            Err(error) => Err(error),
        };
    };
    let text = todo::written(&items);
    // A list with nothing to do on it has done its work, and is no part of the task's.
    let is_done = items.iter().all(|item| item.status == Status::Done);
    if !is_done || disk.length(path).is_ok() {
        let kept = (!is_done).then(|| text.clone().into_bytes());
        disk.commit(vec![(path.to_owned(), kept)]).map_err(|error| failed(path, &error))?;
    }
    Ok(if text.is_empty() {
        "the list is empty".to_owned()
    } else if is_done {
        format!("{text}all is done, and the list is put away")
    } else {
        text
    })
}
