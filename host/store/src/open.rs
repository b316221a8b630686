//! Opening: makes or finds the folders, brings what a crash left in the journal into the trees, and says what it did.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vivarium_domain::TenantId;

use crate::StoreError;
use crate::blobs::{Blobs, sync_folder};
use crate::journal::{self, Journal, Turn};
use crate::migrate;
use crate::remove;
use crate::settle::{Disk, prepare};
use crate::table::Table;
use crate::view::{Trees, View, guarded};

/// How long a lock that is held is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The form of the whole store: which trees there are and what their keys and records look like.
pub(crate) const SCHEMA: u32 = 3;
/// The forms before it, which are brought into the present one.
const FIRST_SCHEMA: u32 = 1;
const SECOND_SCHEMA: u32 = 2;
/// sled's page cache. What a host reads while it serves is recent and small; the operating system caches the rest.
const CACHE_BYTES: u64 = 32 << 20;
/// How often sled tidies up its segments. It does so only in its background thread, which must not be turned off: without
/// it no space is ever reused.
const TIDY_MS: u64 = 1000;

/// How a store is laid out. The default is what a host should use.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// The size of each of the two journal files, in bytes. What fits into one is also what memory holds of it.
    pub journal_bytes: u64,
    /// Room that must be free on the disk, in bytes, before anything is added to the trees.
    pub reserve_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        // 16 MiB are a second of the heaviest load that was measured: long enough that most of what changes again does so
        // before it reaches the trees, short enough to be prepared in 0.05 s at the first start. A settled file needs at
        // most a few times its size in the trees.
        Self { journal_bytes: 16 << 20, reserve_bytes: 128 << 20 }
    }
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// There was no store: this one is new.
    pub created: bool,
    /// Groups of batches that were acknowledged, and that a crash had kept from the trees.
    pub replayed_groups: u64,
    /// A group at the journal's end was cut off by a crash, and dropped; it was acknowledged to nobody.
    pub dropped_torn_group: bool,
    /// Files that a crash left half-written, and that were removed.
    pub swept_files: u64,
    /// Sessions whose removal a crash had interrupted, and that are gone now.
    pub finished_removals: u64,
    /// Runs whose logs' removal a crash had interrupted, and whose logs are gone now.
    pub finished_logs: u64,
    /// The store was in the form of an earlier version, with this schema, and was brought into the present one.
    pub migrated_from: Option<u32>,
}

impl OpenReport {
    /// The last stop was a clean one.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { replayed_groups, dropped_torn_group, swept_files, finished_removals, finished_logs, .. } = self;
        !dropped_torn_group && replayed_groups + swept_files + finished_removals + finished_logs == 0
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return f.write_str("a new store");
        }
        if let Some(schema) = self.migrated_from {
            write!(f, "the store was brought from schema {schema} to {SCHEMA}; ")?;
        }
        if self.is_clean() {
            return f.write_str("the store was closed cleanly");
        }
        write!(f, "the store was not closed cleanly: {} groups of writes recovered", self.replayed_groups)?;
        if self.dropped_torn_group {
            f.write_str(", one that nobody was told of dropped")?;
        }
        if self.swept_files > 0 {
            write!(f, ", {} half-written files removed", self.swept_files)?;
        }
        if self.finished_removals > 0 {
            write!(f, ", {} half-removed sessions removed", self.finished_removals)?;
        }
        if self.finished_logs > 0 {
            write!(f, ", {} half-removed logs removed", self.finished_logs)?;
        }
        Ok(())
    }
}

/// Everything that is open.
pub(crate) struct Opened {
    pub(crate) view: View,
    pub(crate) disk: Disk,
    pub(crate) blobs: Blobs,
    pub(crate) journal: Journal,
    pub(crate) generation: u64,
    /// The other journal file; not prepared yet.
    pub(crate) spare: PathBuf,
    /// The number of the last record of the journal; the trees hold it.
    pub(crate) last: u64,
    pub(crate) report: OpenReport,
    /// The tenants whose removal is under way.
    pub(crate) closed: Vec<TenantId>,
}

/// Opens the store in `folder`, or makes one.
pub(crate) fn open(folder: &Path, options: StoreOptions) -> Result<Opened, StoreError> {
    let failed = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", folder.display()));
    let journals = folder.join("journal");
    fs::create_dir_all(&journals).map_err(failed)?;
    let (disk, trees, found) = open_trees(&folder.join("tree"), options.reserve_bytes)?;
    // Behind the lock of the trees: files that another process is about to write must not be swept.
    let (blobs, swept_files) = Blobs::open(folder)?;

    let turns = read_turns(&journals)?;
    let mut report = OpenReport { created: found == Form::None, swept_files, ..OpenReport::default() };
    let last = replay(&turns, &trees, &disk, &mut report)?;
    let view = View::new(trees);
    if matches!(found, Form::First | Form::Second) {
        tracing::info!("the store is brought into the form of this version; that may take a while");
        if found == Form::First {
            migrate::from_first(&view)?;
        }
        report.migrated_from = Some(if found == Form::First { FIRST_SCHEMA } else { SECOND_SCHEMA });
        migrate::from_second(&view)?;
        disk.sync()?;
        disk.note_schema(SCHEMA)?;
    }
    let finished = remove::finish(&view, &blobs)?;
    (report.finished_removals, report.finished_logs) = (finished.sessions, finished.logs);
    disk.sync()?;
    let closed = remove::closed_tenants(&view)?;
    closed.iter().for_each(|tenant| blobs.close(tenant));

    let generation = turns.iter().map(|turn| turn.generation).max().unwrap_or(0) + 1;
    let file = prepare(&journals.join("0"), options.journal_bytes)?;
    let journal = Journal::begin(file, options.journal_bytes, generation, last + 1).map_err(failed)?;
    for folder in [&journals, folder] {
        sync_folder(folder).map_err(failed)?;
    }
    Ok(Opened { view, disk, blobs, journal, generation, spare: journals.join("1"), last, report, closed })
}

/// Opens sled. It lets go of its lock on threads of its own, a moment after the last handle of a store is dropped: whoever
/// opens the folder again at once waits for that, and is refused where somebody else goes on holding it.
fn open_db(config: &sled::Config, what: &str) -> Result<sled::Db, StoreError> {
    let begun = Instant::now();
    loop {
        match guarded(what, || config.open()) {
            Err(StoreError::Unavailable(reason)) if reason.contains("could not acquire lock") => {
                if begun.elapsed() >= LOCK_PATIENCE {
                    return Err(StoreError::Unavailable(format!("{what} is open in another process")));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn open_trees(folder: &Path, reserve_bytes: u64) -> Result<(Disk, Trees, Form), StoreError> {
    let (db, meta) = open_meta(folder)?;
    let found = check_schema(&meta)?;
    let (disk, trees) = open_tables(folder, db, meta, reserve_bytes)?;
    if found == Form::None {
        disk.note_schema(SCHEMA)?;
    }
    Ok((disk, trees, found))
}

/// Makes trees in which nothing is kept yet, as those of a store of this schema.
pub(crate) fn make_trees(folder: &Path, schema: u32) -> Result<(Disk, Trees), StoreError> {
    if !(FIRST_SCHEMA..=SCHEMA).contains(&schema) {
        return Err(StoreError::Refused(format!(
            "it is of a store of schema {schema}; this program reads {FIRST_SCHEMA} to {SCHEMA}"
        )));
    }
    let (db, meta) = open_meta(folder)?;
    if check_schema(&meta)? != Form::None {
        return Err(StoreError::Refused(format!("{} holds a store already", folder.display())));
    }
    let (disk, trees) = open_tables(folder, db, meta, 0)?;
    disk.note_schema(schema)?;
    Ok((disk, trees))
}

fn open_meta(folder: &Path) -> Result<(sled::Db, sled::Tree), StoreError> {
    let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(TIDY_MS));
    let what = folder.display().to_string();
    let db = open_db(&config, &what)?;
    let meta = guarded("meta", || db.open_tree("meta"))?;
    Ok((db, meta))
}

fn open_tables(folder: &Path, db: sled::Db, meta: sled::Tree, reserve: u64) -> Result<(Disk, Trees), StoreError> {
    let mut trees = BTreeMap::new();
    for table in Table::ALL {
        trees.insert(table, guarded(table.name(), || db.open_tree(table.name()))?);
    }
    Ok((Disk::new(db, meta, folder, reserve)?, Trees::new(trees)))
}

/// What form the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// It is new.
    None,
    First,
    Second,
    Present,
}

/// In which form the store is; an error where another version of the program wrote it.
fn check_schema(meta: &sled::Tree) -> Result<Form, StoreError> {
    match guarded("meta", || meta.get(b"schema"))? {
        None => Ok(Form::None),
        Some(found) if *found == SCHEMA.to_be_bytes() => Ok(Form::Present),
        Some(found) if *found == FIRST_SCHEMA.to_be_bytes() => Ok(Form::First),
        Some(found) if *found == SECOND_SCHEMA.to_be_bytes() => Ok(Form::Second),
        Some(found) => Err(StoreError::Unavailable(format!(
            "the store was written by another version of the program: it has schema <{}>, this program reads \
             {FIRST_SCHEMA} to {SCHEMA}",
            hex::encode(found)
        ))),
    }
}

/// The turns that the journal files hold, oldest first.
fn read_turns(journals: &Path) -> Result<Vec<Turn>, StoreError> {
    let mut turns = Vec::new();
    for name in ["0", "1"] {
        turns.extend(journal::read(&journals.join(name))?);
    }
    turns.sort_by_key(|turn| turn.generation);
    Ok(turns)
}

/// Brings what is only in the journal into the trees. Gives the number of the last record that the trees hold now.
fn replay(turns: &[Turn], trees: &Trees, disk: &Disk, report: &mut OpenReport) -> Result<u64, StoreError> {
    let settled = disk.settled()?;
    let mut last = settled;
    for turn in turns {
        if turn.first > last + 1 {
            let (first, path) = (turn.first, turn.path.display());
            return Err(StoreError::Corrupt(format!(
                "journal {path} begins with record {first}, and the trees hold those up to {last}: what lies between is lost"
            )));
        }
        for (number, ops) in (turn.first..).zip(&turn.records).filter(|(number, _)| *number > settled) {
            // Record by record, not joined: so what a settling that the crash cut short has joined already goes back to
            // what it was, and no part of it stays behind.
            trees.apply(ops.iter().map(|op| (op.table, op.key.clone(), op.value.clone())))?;
            report.replayed_groups += 1;
            last = number;
        }
        // A file whose turn is settled was cut back to its size, maybe through its last record.
        report.dropped_torn_group |= turn.torn && turn.first + turn.records.len() as u64 > settled;
    }
    if last > settled {
        disk.note_settled(last)?;
    }
    Ok(last)
}
