//! Which files a listing or a search goes through: by glob, by depth, and without what `.gitignore` files leave out.

use globset::{Glob, GlobMatcher};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use vivarium_sdk::files::FileError;
use vivarium_sdk::tool::ToolError;

use crate::disk::Disk;
use crate::text::{failed, join};

/// How many files and folders one call goes through.
const MAX_LOOKED: usize = 20_000;

/// What to go through.
#[derive(Default)]
pub(crate) struct Looking {
    /// The folder, or one file.
    pub(crate) path: String,
    pub(crate) glob: Option<String>,
    pub(crate) depth: Option<u32>,
    pub(crate) all: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The files, by path.
    pub(crate) files: Vec<String>,
    /// Folders that were not gone into because of the depth, or that are empty.
    pub(crate) folders: Vec<String>,
    /// There is more than is gone through.
    pub(crate) is_cut: bool,
}

/// Goes through the workspace.
pub(crate) fn look(disk: &impl Disk, looking: &Looking) -> Result<Looked, ToolError> {
    let glob = looking.glob.as_deref().map(matcher).transpose()?;
    let fits = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        // A glob without a slash is one of names, as it is in .gitignore.
        glob.as_ref().is_none_or(|(glob, of_names)| glob.is_match(path) || (*of_names && glob.is_match(name)))
    };
    let mut looked = Looked::default();
    match if looking.path.is_empty() { Ok(None) } else { disk.length(&looking.path) } {
        Ok(Some(_)) => {
            looked.files.push(looking.path.clone());
            return Ok(looked);
        }
        Err(FileError::NotFound) => {
            let path = &looking.path;
            return Err(ToolError::NotFound(format!(
                "there is no folder {path}; list_files without a path shows what is there"
            )));
        }
        Err(error) => return Err(failed(&looking.path, &error)),
        Ok(None) => {}
    }
    let mut ignores = Vec::new();
    if !looking.all {
        // What the folders above say counts, too.
        let above = looking.path.match_indices('/').map(|(at, _)| looking.path.get(..at).unwrap_or_default());
        for folder in std::iter::once("").chain(above).filter(|folder| *folder != looking.path) {
            ignores.extend(rules(disk, folder));
        }
    }
    let mut ahead = vec![(looking.path.clone(), 1, ignores)];
    let mut count = 0;
    while let Some((folder, depth, mut ignores)) = ahead.pop() {
        if !looking.all {
            ignores.extend(rules(disk, &folder));
        }
        let entries = disk.entries(&folder).map_err(|error| failed(&folder, &error))?;
        if entries.is_empty() && !folder.is_empty() {
            looked.folders.push(folder.clone());
        }
        for entry in entries {
            count += 1;
            if count > MAX_LOOKED {
                looked.is_cut = true;
                break;
            }
            let path = join(&folder, &entry.name);
            if !looking.all && (entry.name == ".git" || is_ignored(&ignores, &path, entry.is_folder)) {
                continue;
            }
            if !entry.is_folder {
                if fits(&path) {
                    looked.files.push(path);
                }
            } else if looking.depth.is_some_and(|most| depth >= most) {
                looked.folders.push(path);
            } else {
                ahead.push((path, depth + 1, ignores.clone()));
            }
        }
    }
    looked.files.sort();
    looked.folders.sort();
    Ok(looked)
}

fn matcher(glob: &str) -> Result<(GlobMatcher, bool), ToolError> {
    let plain = glob.trim_start_matches("./").trim_start_matches('/');
    let made = globset::GlobBuilder::new(plain).literal_separator(true).build();
    let made: Result<Glob, _> = made;
    let glob = made.map_err(|error| ToolError::InvalidArguments(format!("glob is none: {error}")))?;
    Ok((glob.compile_matcher(), !plain.contains('/')))
}

/// What a folder's `.gitignore` says.
fn rules(disk: &impl Disk, folder: &str) -> Option<Gitignore> {
    let bytes = disk.read(&join(folder, ".gitignore"), 64 << 10).ok()?;
    let mut rules = GitignoreBuilder::new(format!("/{folder}"));
    for line in String::from_utf8_lossy(&bytes).lines() {
        // A line that is no rule leaves nothing out.
        let _ = rules.add_line(None, line);
    }
    rules.build().ok()
}

/// The nearest rule that says anything counts.
fn is_ignored(ignores: &[Gitignore], path: &str, is_folder: bool) -> bool {
    let path = format!("/{path}");
    let said = ignores.iter().rev().map(|rules| rules.matched(&path, is_folder)).find(|said| !said.is_none());
    said.is_some_and(|said| said.is_ignore())
}
