use std::io::{Cursor, Write as _};
use std::path::Path;
use std::sync::Arc;

use tar::EntryType;
use tempfile::TempDir;
use vivarium_domain::{ChangeKind, RunId, SessionId, Snapshot, SnapshotReason, TenantId};

use crate::{
    ArchiveFormat, Bounds, Existing, Expected, FilePath, FileQuota, FilesError, NewSnapshot, State, Whole, Workspaces,
    WorkspacesConfig,
};

const QUOTA: FileQuota = FileQuota { bytes: 100_000, files: 20 };

struct World {
    root: TempDir,
    workspaces: Arc<Workspaces>,
    tenant: TenantId,
    session: SessionId,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = WorkspacesConfig { folder: root.path().to_owned(), max_snapshots: 3, max_snapshot_bytes: 50_000 };
        let (tenant, session) = ("t".parse().unwrap(), "s".parse().unwrap());
        Self { workspaces: Arc::new(Workspaces::new(config)), root, tenant, session }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.workspaces.path(&self.tenant, &self.session)
    }

    async fn body(&self, bytes: &[u8]) -> Whole {
        let mut incoming = self.workspaces.incoming(10_000_000).await.unwrap();
        incoming.add(bytes.to_vec().into()).await.unwrap();
        incoming.whole().await.unwrap()
    }

    async fn write(&self, path: &str, text: &str) -> Result<bool, FilesError> {
        self.write_if(path, text, Expected::Anything).await
    }

    async fn write_if(&self, path: &str, text: &str, expected: Expected) -> Result<bool, FilesError> {
        let (path, body) = (path.parse::<FilePath>().unwrap(), self.body(text.as_bytes()).await);
        let written = self.workspaces.write(&self.tenant, &self.session, QUOTA, path, body, expected).await?;
        Ok(written.1)
    }

    async fn unpack(&self, format: ArchiveFormat, bytes: &[u8], existing: Existing) -> Result<FileQuota, FilesError> {
        let body = self.body(bytes).await;
        self.workspaces.unpack(&self.tenant, &self.session, QUOTA, body, format, existing).await
    }

    async fn snapshot(&self, reason: SnapshotReason, run: Option<RunId>) -> Result<Snapshot, FilesError> {
        let new = NewSnapshot { label: None, reason, run };
        self.workspaces.snapshot(&self.tenant, &self.session, QUOTA, new).await
    }

    /// The files as they stand, with their texts.
    fn texts(&self) -> Vec<(String, String)> {
        let found = crate::tree::walk(&self.folder()).unwrap();
        let text = |path: &str| std::fs::read_to_string(self.folder().join(path)).unwrap();
        found
            .into_iter()
            .filter(|found| !found.is_folder)
            .map(|found| (found.path.clone(), text(&found.path)))
            .collect()
    }

    fn objects(&self) -> usize {
        let objects = self.folder().with_extension("snapshots").join("objects");
        std::fs::read_dir(objects).map_or(0, Iterator::count)
    }

    fn left_aside(&self) -> usize {
        std::fs::read_dir(self.root.path().join(".aside")).map_or(0, Iterator::count)
    }
}

/// A tar of entries whose names nobody has looked at.
fn tar_of(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[tokio::test]
async fn hostile_archives_are_refused_with_the_entrys_name_and_change_nothing() {
    use ArchiveFormat::{Tar, Zip};
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let world = World::new();
    world.write("kept.txt", "kept").await.unwrap();
    let tar = |entries: &[(&str, EntryType, &str)]| (Tar, tar_of(&[&[("first.txt", Regular, "1")], entries].concat()));
    let zip = |entries: &[(&str, &[u8])]| (Zip, zip_of(&[&[("first.txt", &b"1"[..])], entries].concat()));
    let large = "x".repeat(99_000);
    let mut symlink = zip::ZipWriter::new(Cursor::new(Vec::new()));
    symlink.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let symlink = symlink.finish().unwrap().into_inner();
    let many: Vec<String> = (0..30).map(|n| format!("f{n}")).collect();
    let many_in_tar: Vec<_> = many.iter().map(|name| (name.as_str(), Regular, "")).collect();
    let many_in_zip: Vec<_> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let cases = [
        (tar(&[("../out", Regular, "x")]), "\"../out\" has a name that is not taken"),
        (tar(&[("a/../../out", Regular, "x")]), "\"a/../../out\" has a name that is not taken"),
        (tar(&[("/etc/passwd", Regular, "x")]), "\"/etc/passwd\" has a name that is not taken"),
        (tar(&[("a\\b", Regular, "x")]), "has a name that is not taken"),
        (tar(&[("link", Symlink, "")]), "\"link\" is a symbolic link"),
        (tar(&[("link", Link, "")]), "\"link\" is a hard link"),
        (tar(&[("dev", Char, "")]), "\"dev\" is a device"),
        (tar(&[("dev", Block, "")]), "\"dev\" is a device"),
        (tar(&[("pipe", Fifo, "")]), "\"pipe\" is a pipe"),
        (tar(&[("a", Regular, "x"), ("a", Regular, "y")]), "\"a\" is there twice"),
        (tar(&[("a", Regular, "x"), ("./a", Regular, "y")]), "\"./a\" is there twice"),
        (tar(&[("a", Regular, "x"), ("a/b", Regular, "y")]), "is below \"a\", which is a file"),
        (tar(&[("a", Regular, "x"), ("a", Directory, "")]), "is there twice"),
        (tar(&[("a/b", Regular, "x"), ("a", Regular, "y")]), "is there twice"),
        (tar(&[("big", Regular, &large), ("more", Regular, &large)]), "\"more\" goes beyond the 100000 bytes"),
        (tar(&many_in_tar), "goes beyond the 20 files and folders"),
        ((Tar, tar_of(&[("a", Regular, &large)])[..50_000].to_vec()), "it is no whole tar"),
        ((Tar, vec![b'x'; 5_000]), "it is no whole tar"),
        (zip(&[("../out", b"x")]), "\"../out\" has a name that is not taken"),
        (zip(&[("/etc/passwd", b"x")]), "\"/etc/passwd\" has a name that is not taken"),
        (zip(&[("bomb", &vec![0; 5_000_000])]), "\"bomb\" goes beyond the 100000 bytes"),
        (zip(&many_in_zip), "it has 31 entries, and a session may have 20"),
        ((Zip, symlink), "\"link\" is a symbolic link"),
        ((Zip, replaced(&zip_of(&[("name1", b"a"), ("name2", b"b")]), b"name2", b"name1")), "\"name1\" is there twice"),
        ((Zip, [zip_of(&[("a", b"x")]), vec![0; 10]].concat()), "its directory is not at its end"),
        ((Zip, [vec![0; 10], zip_of(&[("a", b"x")])].concat()), "does not stand right before its end"),
        ((Zip, b"PK".to_vec()), "its directory is not at its end"),
        ((Zip, Vec::new()), "its directory is not at its end"),
    ];
    for (number, ((format, bytes), expected)) in cases.into_iter().enumerate() {
        let error = world.unpack(format, &bytes, Existing::Keep).await.unwrap_err();
        assert!(matches!(error, FilesError::Archive { .. }), "case {number}: {error}");
        assert!(error.to_string().contains(expected), "case {number}: {error}");
        assert_eq!(world.texts(), [("kept.txt".to_owned(), "kept".to_owned())], "case {number}");
    }
    assert!(!world.root.path().join("out").exists() && !world.root.path().join("t/out").exists());
}

#[tokio::test]
async fn an_archive_that_is_packed_is_unpacked_as_it_was() {
    let world = World::new();
    let deep = format!("{}/f.txt", ["d".repeat(60), "e".repeat(60)].join("/"));
    for (path, text) in [("a.txt", "one"), ("src/ü b.txt", "two"), (deep.as_str(), "three"), ("empty", "")] {
        world.write(path, text).await.unwrap();
    }
    let before = world.texts();
    for format in [ArchiveFormat::Tar, ArchiveFormat::Zip] {
        let mut bytes = Vec::new();
        let mut packed = world.workspaces.pack(&world.tenant, &world.session, format).await.unwrap();
        std::io::Read::read_to_end(&mut packed, &mut bytes).unwrap();
        world.write("a.txt", "other").await.unwrap();
        world.write("more.txt", "more").await.unwrap();
        let holds = world.unpack(format, &bytes, Existing::Keep).await.unwrap();
        assert_eq!(holds.files, 8, "five files and three folders");
        let with_more: Vec<_> = before.iter().cloned().chain([("more.txt".to_owned(), "more".to_owned())]).collect();
        let mut now = world.texts();
        now.sort();
        let mut expected = with_more;
        expected.sort();
        assert_eq!(now, expected);
        world.unpack(format, &bytes, Existing::Remove).await.unwrap();
        assert_eq!(world.texts(), before);
    }
}

#[tokio::test]
async fn a_file_is_changed_by_who_knows_what_it_is_and_never_beyond_the_quota() {
    let world = World::new();
    assert!(world.write("a/b.txt", "one").await.unwrap());
    assert!(!world.write("a/b.txt", "two").await.unwrap());
    let hash = vivarium_domain::ContentHash::of(b"two");
    assert!(world.write_if("a/b.txt", "three", Expected::Content(hash)).await.is_ok());
    for (path, expected) in [
        ("a/b.txt", Expected::Content(hash)),
        ("a/b.txt", Expected::Absent),
        ("none", Expected::Present),
        ("none", Expected::Content(hash)),
    ] {
        let error = world.write_if(path, "four", expected).await.unwrap_err();
        assert!(matches!(error, FilesError::Changed { .. }), "{error}");
    }
    assert!(matches!(world.write("a", "x").await, Err(FilesError::WrongKind(_))));
    assert!(matches!(world.write("a/b.txt/c", "x").await, Err(FilesError::WrongKind(_))));
    assert!(matches!(world.write("big", &"x".repeat(100_001)).await, Err(FilesError::Full(_))));
    world.write("big", &"x".repeat(99_000)).await.unwrap();
    assert!(matches!(world.write("more", &"x".repeat(2_000)).await, Err(FilesError::Full(_))));
    for n in 0..17 {
        world.write(&format!("f{n}"), "").await.unwrap();
    }
    assert!(matches!(world.write("one-too-many", "").await, Err(FilesError::Full(_))));
    let path = || "a/b.txt".parse().unwrap();
    let remove = |expected| world.workspaces.remove(&world.tenant, &world.session, QUOTA, path(), expected);
    assert!(matches!(remove(Expected::Content(hash)).await, Err(FilesError::Changed { .. })));
    remove(Expected::Anything).await.unwrap();
    assert!(!world.folder().join("a").exists(), "a folder goes with its last file");
    assert!(matches!(remove(Expected::Anything).await, Err(FilesError::NoSuchFile(_))));
    assert_eq!(world.left_aside(), 0, "nothing is left of what was refused");
}

#[tokio::test]
async fn snapshots_share_what_is_equal_are_bounded_and_bring_back_what_was() {
    let world = World::new();
    world.write("a.txt", "one\n").await.unwrap();
    world.write("b.txt", "same\n").await.unwrap();
    let first = world.snapshot(SnapshotReason::Asked, None).await.unwrap();
    assert_eq!((first.files, first.bytes, world.objects()), (2, 9, 2));
    world.write("a.txt", "two\n").await.unwrap();
    world.write("c/d.txt", "new\n").await.unwrap();
    let second = world.snapshot(SnapshotReason::Asked, None).await.unwrap();
    assert_eq!(world.objects(), 4, "the file that is the same is kept once");
    world.snapshot(SnapshotReason::Asked, None).await.unwrap();
    let error = world.snapshot(SnapshotReason::Asked, None).await.unwrap_err();
    assert!(error.to_string().contains("has 3 snapshots"), "{error}");
    let (tenant, session) = (&world.tenant, &world.session);
    let (page, next) = world.workspaces.snapshots(tenant, session, None, 2).await.unwrap();
    assert_eq!((page.len(), next), (2, Some(second.id)));
    let (rest, next) = world.workspaces.snapshots(tenant, session, next, 2).await.unwrap();
    assert_eq!((rest, next), (vec![first.clone()], None));

    let after = world.texts();
    world.workspaces.restore(tenant, session, QUOTA, first.id).await.unwrap();
    assert_eq!(world.texts(), [("a.txt".into(), "one\n".into()), ("b.txt".into(), "same\n".into())]);
    world.workspaces.restore(tenant, session, QUOTA, second.id).await.unwrap();
    assert_eq!(world.texts(), after);
    world.workspaces.delete_snapshot(tenant, session, QUOTA, first.id).await.unwrap();
    assert_eq!(world.objects(), 3, "what no other snapshot has goes");
    assert!(matches!(
        world.workspaces.restore(tenant, session, QUOTA, first.id).await,
        Err(FilesError::NoSuchSnapshot)
    ));
    assert_eq!(world.texts(), after);
}

#[tokio::test]
async fn snapshots_of_runs_make_room_for_others_and_a_clients_own_stay() {
    let world = World::new();
    let mine = world.snapshot(SnapshotReason::Asked, None).await.unwrap();
    let runs: Vec<RunId> = (0..25).map(|_| RunId::new()).collect();
    for (n, run) in runs.iter().enumerate() {
        world.write("f", &format!("{n}")).await.unwrap();
        let began = world.snapshot(SnapshotReason::RunBegan, Some(*run)).await.unwrap();
        let again = world.snapshot(SnapshotReason::RunBegan, Some(*run)).await.unwrap();
        assert_eq!(began, again, "a run that is taken up again began once");
    }
    let (all, _) = world.workspaces.snapshots(&world.tenant, &world.session, None, 100).await.unwrap();
    assert_eq!(all.len(), 21, "of twenty runs, and the client's own");
    assert_eq!(all.last().map(|last| last.id), Some(mine.id));
    // Larger than what is left beside them, and than what may be at all.
    world.write("f", &"x".repeat(49_990)).await.unwrap();
    world.snapshot(SnapshotReason::Asked, None).await.unwrap();
    let (all, _) = world.workspaces.snapshots(&world.tenant, &world.session, None, 100).await.unwrap();
    assert!(all.len() < 21, "{}", all.len());
    world.write("f", &"y".repeat(50_001)).await.unwrap();
    let error = world.snapshot(SnapshotReason::Asked, None).await.unwrap_err();
    assert!(error.to_string().contains("may have 50000 bytes together"), "{error}");
}

#[tokio::test]
async fn a_difference_shows_what_came_went_and_changed_and_is_bounded() {
    let world = World::new();
    for (path, text) in [("changed.txt", "a\nb\nc\n"), ("gone.txt", "x\n"), ("same.txt", "s\n"), ("bytes", "\0")] {
        world.write(path, text).await.unwrap();
    }
    let from = State::Then(world.snapshot(SnapshotReason::Asked, None).await.unwrap().id);
    for (path, text) in [("changed.txt", "a\nB\nc"), ("new.txt", "n\n"), ("bytes", "\0\0"), ("empty", "")] {
        world.write(path, text).await.unwrap();
    }
    std::fs::remove_file(world.folder().join("gone.txt")).unwrap();
    let bounds = |files, bytes, prefix: &str| Bounds { files, bytes, prefix: prefix.to_owned() };
    let diff = |bounds| world.workspaces.diff(&world.tenant, &world.session, from, State::Now, bounds);
    let told = diff(bounds(10, 10_000, "")).await.unwrap();
    let kinds: Vec<_> = told.files.iter().map(|file| (file.path.as_str(), file.change, file.binary)).collect();
    let expected = [
        ("bytes", ChangeKind::Changed, true),
        ("changed.txt", ChangeKind::Changed, false),
        ("empty", ChangeKind::Added, false),
        ("gone.txt", ChangeKind::Removed, false),
        ("new.txt", ChangeKind::Added, false),
    ];
    assert_eq!(kinds, expected);
    let text = "Binary files a/bytes and b/bytes differ\n--- a/changed.txt\n+++ b/changed.txt\n@@ -1,3 +1,3 @@\n a\n-b\n-c\n+B\n+c\n\\ No newline at end of file\n\
                --- /dev/null\n+++ b/empty\n--- a/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+n\n";
    assert_eq!(told.diff, text);
    assert_eq!(
        (told.files[1].added_lines, told.files[1].removed_lines, told.more_lines, told.more_files),
        (2, 2, 0, 0)
    );
    let cut = diff(bounds(2, 60, "")).await.unwrap();
    assert_eq!((cut.files.len(), cut.more_files), (2, 3));
    assert!(cut.diff.len() <= 60 && cut.more_lines > 0 && text.starts_with(&cut.diff));
    assert_eq!(diff(bounds(10, 1_000, "new")).await.unwrap().files.len(), 1);
}

#[tokio::test]
async fn what_is_in_use_is_not_replaced_and_what_a_start_finds_unfinished_goes() {
    let world = World::new();
    world.write("a", "1").await.unwrap();
    let snapshot = world.snapshot(SnapshotReason::Asked, None).await.unwrap();
    let open = world.workspaces.open(&world.tenant, &world.session, QUOTA).unwrap();
    let restore = || world.workspaces.restore(&world.tenant, &world.session, QUOTA, snapshot.id);
    assert!(matches!(restore().await, Err(FilesError::InUse)));
    drop(open);
    restore().await.unwrap();
    drop(world.workspaces.scratch(&world.tenant, &world.session));
    assert!(world.texts().is_empty() && !world.workspaces.has_snapshots(&world.tenant, &world.session));
    let left: &Path = &world.root.path().join(".aside/left");
    std::fs::create_dir_all(left).unwrap();
    let _again = Workspaces::new(world.workspaces.config.clone());
    assert!(!left.exists());
}
