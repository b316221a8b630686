use std::fs;
use std::path::Path;

use tempfile::TempDir;
use vivarium_domain::Manifest;
use wasmtime_wasi::p2::{StreamError, StreamResult};

use super::*;
use crate::capability::{Grant, LogLevel, LogSink};
use crate::guest::Role;
use crate::limits::Limits;

struct NoLog;

impl LogSink for NoLog {
    fn line(&self, _level: LogLevel, _line: &str) {}
    fn progress(&self, _message: &str, _fraction: Option<f32>) {}
}

const ROOMY: FileQuota = FileQuota { bytes: 10_000, files: 10 };

fn workspace(folder: &TempDir, quota: FileQuota) -> Arc<Workspace> {
    Workspace::open(folder.path().to_owned(), quota).unwrap()
}

fn guest_that(asks: &str, granted: Option<FileAccess>, workspace: Option<&Arc<Workspace>>) -> Guest {
    let manifest = format!(
        r#"{{"name":"a/b","version":"1.0.0","contract":"0.1.0","description":"d",
            "modes":[{{"name":"m","title":"t","description":"d","defaultMaxCycles":1}}],"requests":{{{asks}}}}}"#
    );
    let manifest = Arc::new(Manifest::from_json(manifest.as_bytes()).unwrap());
    let grant = Arc::new(Grant { files: granted, ..Grant::default() });
    let (limits, sink) = (Arc::new(Limits::for_tool()), Arc::new(NoLog));
    Guest::new(Role::Tool, manifest, Setting { grant, workspace: workspace.cloned(), limits, sink })
}

fn writer(workspace: &Arc<Workspace>) -> Guest {
    guest_that(r#""files":"write""#, Some(FileAccess::Write), Some(workspace))
}

fn root(guest: &mut Guest) -> Resource<Descriptor> {
    preopens::Host::get_directories(guest).unwrap().remove(0).0
}

fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

type Opened = Result<Resource<Descriptor>, ErrorCode>;

fn code<T>(result: FsResult<T>) -> Result<T, ErrorCode> {
    result.map_err(|error| error.downcast().unwrap())
}

async fn open(guest: &mut Guest, root: &Resource<Descriptor>, path: &str, open: OpenFlags) -> Opened {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    code(guest.open_at(borrow(root), PathFlags::SYMLINK_FOLLOW, path.to_owned(), open, flags).await)
}

async fn create(guest: &mut Guest, root: &Resource<Descriptor>, path: &str) -> Opened {
    open(guest, root, path, OpenFlags::CREATE).await
}

async fn read_only_open(guest: &mut Guest, root: &Resource<Descriptor>, path: &str) -> Opened {
    let (flags, open) = (DescriptorFlags::READ, OpenFlags::empty());
    code(guest.open_at(borrow(root), PathFlags::SYMLINK_FOLLOW, path.to_owned(), open, flags).await)
}

async fn write(guest: &mut Guest, file: &Resource<Descriptor>, bytes: usize, at: u64) -> Result<u64, ErrorCode> {
    code(guest.write(borrow(file), vec![b'x'; bytes], at).await)
}

async fn stream_in(guest: &mut Guest, stream: &Resource<DynOutputStream>, bytes: usize) -> StreamResult<()> {
    let stream = guest.ctx().table.get_mut(stream).unwrap();
    stream.blocking_write_and_flush(Bytes::from(vec![b'x'; bytes])).await
}

fn denials(guest: &Guest) -> Vec<String> {
    guest.denials.take().into_iter().map(|denial| format!("{}: {}", denial.capability, denial.message)).collect()
}

#[tokio::test]
async fn a_file_that_one_call_writes_the_next_one_of_the_session_reads() {
    let folder = TempDir::new().unwrap();
    let workspace = workspace(&folder, ROOMY);
    let mut first = writer(&workspace);
    let names: Vec<String> =
        preopens::Host::get_directories(&mut first).unwrap().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["/", "/workspace"]);
    let folder_of_first = root(&mut first);
    let file = create(&mut first, &folder_of_first, "notes.txt").await.unwrap();
    assert_eq!(write(&mut first, &file, 5, 0).await, Ok(5));

    let mut second = guest_that(r#""files":"read""#, Some(FileAccess::Write), Some(&workspace));
    let folder_of_second = root(&mut second);
    let file = read_only_open(&mut second, &folder_of_second, "notes.txt").await.unwrap();
    assert_eq!(code(second.read(file, 100, 0).await).unwrap().0, b"xxxxx");
    assert!(
        second.host_calls().load(std::sync::atomic::Ordering::Relaxed) >= 3,
        "calls of files are host calls like all others"
    );
}

#[tokio::test]
async fn without_a_grant_there_is_no_folder_and_who_asked_for_one_is_told() {
    let folder = TempDir::new().unwrap();
    let workspace = workspace(&folder, ROOMY);
    let mut asks = guest_that(r#""files":"read""#, None, Some(&workspace));
    assert!(preopens::Host::get_directories(&mut asks).unwrap().is_empty());
    assert_eq!(
        denials(&asks),
        ["files: files are not granted to this plugin; a grant of `files: \"read\"` or `\"write\"` would allow it"]
    );
    let mut never_asked = guest_that("", Some(FileAccess::Write), Some(&workspace));
    assert!(preopens::Host::get_directories(&mut never_asked).unwrap().is_empty());
    assert!(denials(&never_asked).is_empty(), "std asks always");
    let mut outside_of_a_session = guest_that(r#""files":"read""#, Some(FileAccess::Read), None);
    assert!(preopens::Host::get_directories(&mut outside_of_a_session).unwrap().is_empty());
}

#[tokio::test]
async fn no_path_and_no_planted_link_leads_out_of_the_workspace() {
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("inside");
    fs::create_dir_all(inner.join("sub")).unwrap();
    fs::write(outer.path().join("secret.txt"), "secret").unwrap();
    let workspace = Workspace::open(inner.clone(), ROOMY).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path(), inner.join("out")).unwrap();
        std::os::unix::fs::symlink("../secret.txt", inner.join("relative")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("new.txt"), inner.join("dangling")).unwrap();
    }
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    let absolute = outer.path().join("secret.txt").display().to_string();
    for path in [
        "..",
        "../secret.txt",
        "sub/../../secret.txt",
        "out/secret.txt",
        "relative",
        "dangling",
        "/etc/passwd",
        "/proc/self/environ",
        &absolute,
    ] {
        let opened = read_only_open(&mut guest, &root, path).await;
        assert!(matches!(opened, Err(ErrorCode::NotPermitted)), "{path}: {opened:?}");
        let created = create(&mut guest, &root, path).await;
        assert!(matches!(created, Err(ErrorCode::NotPermitted)), "{path}: {created:?}");
        let stat = guest.stat_at(borrow(&root), PathFlags::SYMLINK_FOLLOW, path.to_owned()).await;
        assert!(stat.is_err(), "{path}");
    }
    assert!(!outer.path().join("new.txt").exists());
    assert_eq!(workspace.used().await.files, 4, "what was refused is not counted: sub and three links");
}

#[tokio::test]
async fn a_rename_can_neither_leave_the_workspace_nor_fetch_from_outside() {
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("inside");
    fs::create_dir_all(&inner).unwrap();
    fs::write(outer.path().join("secret.txt"), "secret").unwrap();
    fs::write(inner.join("mine.txt"), "mine").unwrap();
    let workspace = Workspace::open(inner.clone(), ROOMY).unwrap();
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    for (from, to) in [("mine.txt", "../stolen.txt"), ("../secret.txt", "got.txt"), ("mine.txt", "/tmp/stolen.txt")] {
        let renamed = code(guest.rename_at(borrow(&root), from.to_owned(), borrow(&root), to.to_owned()).await);
        assert_eq!(renamed, Err(ErrorCode::NotPermitted), "{from} to {to}");
    }
    code(guest.rename_at(borrow(&root), "mine.txt".to_owned(), borrow(&root), "moved.txt".to_owned()).await).unwrap();
    assert!(inner.join("moved.txt").exists() && outer.path().join("secret.txt").exists());
}

#[tokio::test]
async fn links_are_not_made() {
    let folder = TempDir::new().unwrap();
    let mut guest = writer(&workspace(&folder, ROOMY));
    let root = root(&mut guest);
    create(&mut guest, &root, "a").await.unwrap();
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let hard = guest.link_at(borrow(&root), PathFlags::empty(), a.clone(), borrow(&root), b.clone()).await;
    assert_eq!(code(hard), Err(ErrorCode::NotPermitted));
    assert_eq!(code(guest.symlink_at(borrow(&root), a, b).await), Err(ErrorCode::NotPermitted));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_grant_to_read_changes_nothing_and_says_what_would_allow_it() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a"), "text").unwrap();
    let workspace = workspace(&folder, ROOMY);
    let mut guest = guest_that(r#""files":"write""#, Some(FileAccess::Read), Some(&workspace));
    let root = root(&mut guest);
    let refused = Err(ErrorCode::ReadOnly);
    let name = |name: &str| name.to_owned();
    for flags in [OpenFlags::CREATE, OpenFlags::TRUNCATE, OpenFlags::empty()] {
        assert_eq!(open(&mut guest, &root, "a", flags).await.map(drop), refused, "{flags:?}");
    }
    let file = read_only_open(&mut guest, &root, "a").await.unwrap();
    assert_eq!(write(&mut guest, &file, 1, 0).await.map(drop), refused);
    assert_eq!(code(guest.write_via_stream(borrow(&file), 0)).map(drop), refused);
    assert_eq!(code(guest.append_via_stream(borrow(&file))).map(drop), refused);
    assert_eq!(code(guest.set_size(borrow(&file), 0).await), refused);
    let now = NewTimestamp::Now;
    assert_eq!(code(guest.set_times(borrow(&file), now, now).await), refused);
    assert_eq!(code(guest.create_directory_at(borrow(&root), name("d")).await), refused);
    assert_eq!(code(guest.unlink_file_at(borrow(&root), name("a")).await), refused);
    assert_eq!(code(guest.remove_directory_at(borrow(&root), name("a")).await), refused);
    assert_eq!(code(guest.rename_at(borrow(&root), name("a"), borrow(&root), name("b")).await), refused);
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "text");
    assert_eq!(
        denials(&guest),
        ["files: writing files is not granted to this plugin; a grant of `files: \"write\"` would allow it"]
    );
    // A manifest that asks for less than is granted gets what it asks for.
    let mut modest = guest_that(r#""files":"read""#, Some(FileAccess::Write), Some(&workspace));
    let root = preopens::Host::get_directories(&mut modest).unwrap().remove(0).0;
    assert_eq!(create(&mut modest, &root, "b").await.map(drop), refused);
    assert!(denials(&modest)[0].contains("the plugin's manifest asks to read files only"));
}

#[tokio::test]
async fn no_way_of_writing_goes_past_the_quota_of_bytes() {
    let folder = TempDir::new().unwrap();
    let workspace = workspace(&folder, FileQuota { bytes: 1_000, files: 10 });
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    let file = create(&mut guest, &root, "a").await.unwrap();

    assert_eq!(write(&mut guest, &file, 600, 0).await, Ok(600));
    assert_eq!(write(&mut guest, &file, 600, 100).await, Ok(600), "what is written over takes no new room");
    assert_eq!(write(&mut guest, &file, 301, 700).await, Err(ErrorCode::Quota));
    assert_eq!(write(&mut guest, &file, 1, u64::MAX).await, Err(ErrorCode::Quota), "a hole counts");
    assert_eq!(write(&mut guest, &file, 1, 1_000).await, Err(ErrorCode::Quota), "a hole counts");
    assert_eq!(code(guest.set_size(borrow(&file), 1_001).await), Err(ErrorCode::Quota));
    assert_eq!(code(guest.set_size(borrow(&file), u64::MAX).await), Err(ErrorCode::Quota));

    let stream = code(guest.write_via_stream(borrow(&file), 700)).unwrap();
    stream_in(&mut guest, &stream, 200).await.unwrap();
    assert!(matches!(stream_in(&mut guest, &stream, 101).await, Err(StreamError::LastOperationFailed(_))));
    assert!(matches!(stream_in(&mut guest, &stream, 1).await, Err(StreamError::Closed)));
    let append = code(guest.append_via_stream(borrow(&file))).unwrap();
    stream_in(&mut guest, &append, 50).await.unwrap();
    stream_in(&mut guest, &append, 50).await.unwrap();
    let Err(StreamError::LastOperationFailed(error)) = stream_in(&mut guest, &append, 1).await else {
        panic!("the stream went past the quota")
    };
    let error = guest.ctx().table.push(error).unwrap();
    assert_eq!(types::Host::filesystem_error_code(&mut guest, error).unwrap(), Some(ErrorCode::Quota));

    assert_eq!(fs::metadata(folder.path().join("a")).unwrap().len(), 1_000);
    assert_eq!(workspace.used().await, FileQuota { bytes: 1_000, files: 1 });
    let noted = denials(&guest);
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(noted[0].contains("may hold 1000 bytes") && noted[0].contains("`limits.fileBytes`"), "{noted:?}");
}

#[tokio::test]
async fn a_stream_takes_no_more_than_it_permits_and_does_not_write_before_it_is_ready() {
    let folder = TempDir::new().unwrap();
    let mut guest = writer(&workspace(&folder, FileQuota { bytes: 1 << 20, files: 10 }));
    let root = root(&mut guest);
    let file = create(&mut guest, &root, "a").await.unwrap();
    let stream = code(guest.write_via_stream(borrow(&file), 0)).unwrap();
    let stream = guest.ctx().table.get_mut(&stream).unwrap();
    let permit = stream.check_write().unwrap();
    assert!(matches!(stream.write(Bytes::from(vec![0; permit + 1])), Err(StreamError::Trap(_))));
    stream.write(Bytes::from(vec![0; permit])).unwrap();
    assert_eq!(stream.check_write().unwrap(), 0);
    assert!(matches!(stream.write(Bytes::from_static(b"x")), Err(StreamError::Trap(_))));
    stream.ready().await;
    stream.write(Bytes::from_static(b"x")).unwrap();
    stream.ready().await;
    assert_eq!(fs::metadata(folder.path().join("a")).unwrap().len(), permit as u64 + 1);
}

#[tokio::test]
async fn files_and_folders_are_counted_and_what_was_removed_makes_room_again() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("there"), "12345").unwrap();
    let workspace = workspace(&folder, FileQuota { bytes: 10, files: 3 });
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    code(guest.create_directory_at(borrow(&root), "d".to_owned()).await).unwrap();
    assert!(code(guest.create_directory_at(borrow(&root), "d".to_owned()).await).is_err());
    assert!(create(&mut guest, &root, "no/such/folder").await.is_err());
    let file = create(&mut guest, &root, "d/a").await.unwrap();
    create(&mut guest, &root, "d/a").await.expect("to open what is there makes nothing");
    assert_eq!(create(&mut guest, &root, "b").await.map(drop), Err(ErrorCode::Quota));
    assert_eq!(code(guest.create_directory_at(borrow(&root), "e".to_owned()).await), Err(ErrorCode::Quota));
    assert_eq!(write(&mut guest, &file, 6, 0).await, Err(ErrorCode::Quota));

    code(guest.unlink_file_at(borrow(&root), "there".to_owned()).await).unwrap();
    create(&mut guest, &root, "b").await.unwrap();
    assert_eq!(write(&mut guest, &file, 6, 0).await, Ok(6));
    code(guest.set_size(borrow(&file), 1).await).unwrap();
    assert_eq!(write(&mut guest, &file, 9, 1).await, Ok(9));
    open(&mut guest, &root, "d/a", OpenFlags::TRUNCATE).await.unwrap();
    assert_eq!(write(&mut guest, &file, 10, 0).await, Ok(10));
    assert_eq!(workspace.used().await, FileQuota { bytes: 10, files: 3 });
}

#[cfg(unix)]
#[tokio::test]
async fn a_removed_file_that_is_still_open_takes_its_room() {
    let folder = TempDir::new().unwrap();
    let workspace = workspace(&folder, FileQuota { bytes: 100, files: 3 });
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    let file = create(&mut guest, &root, "a").await.unwrap();
    assert_eq!(write(&mut guest, &file, 100, 0).await, Ok(100));
    code(guest.unlink_file_at(borrow(&root), "a".to_owned()).await).unwrap();
    let other = create(&mut guest, &root, "b").await.unwrap();
    assert_eq!(write(&mut guest, &other, 1, 0).await, Err(ErrorCode::Quota));
    assert_eq!(write(&mut guest, &file, 1, 100).await, Err(ErrorCode::Quota));
    HostDescriptor::drop(&mut guest, file).unwrap();
    assert_eq!(write(&mut guest, &other, 100, 0).await, Ok(100));
}

#[tokio::test]
async fn calls_of_one_session_at_the_same_time_share_one_quota() {
    let folder = TempDir::new().unwrap();
    let workspace = workspace(&folder, FileQuota { bytes: 1_000, files: 8 });
    let calls = (0..8).map(|number| {
        let workspace = Arc::clone(&workspace);
        tokio::spawn(async move {
            let mut guest = writer(&workspace);
            let root = root(&mut guest);
            let file = create(&mut guest, &root, &format!("{number}")).await.unwrap();
            let mut written = 0;
            while let Ok(bytes) = write(&mut guest, &file, 7, written).await {
                written += bytes;
            }
            assert_eq!(create(&mut guest, &root, &format!("{number} more")).await.map(drop), Err(ErrorCode::Quota));
            written
        })
    });
    let mut all = 0;
    for call in calls.collect::<Vec<_>>() {
        all += call.await.unwrap();
    }
    let on_disk = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!((on_disk(folder.path()).sum::<u64>(), on_disk(folder.path()).count()), (all, 8));
    assert!((994..=1_000).contains(&all), "{all}");
}

#[tokio::test]
async fn no_more_than_a_bounded_number_of_files_is_open() {
    let folder = TempDir::new().unwrap();
    let workspace = workspace(&folder, ROOMY);
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    create(&mut guest, &root, "a").await.unwrap();
    let mut opened = Vec::new();
    let error = loop {
        match read_only_open(&mut guest, &root, "a").await {
            Ok(file) => opened.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!((opened.len(), error), (127, ErrorCode::Busy));
    drop(guest);
    let mut next = writer(&workspace);
    let root = preopens::Host::get_directories(&mut next).unwrap().remove(0).0;
    read_only_open(&mut next, &root, "a").await.expect("the files of a call are closed with it");
}

#[tokio::test]
async fn a_folder_that_can_not_be_measured_counts_as_full() {
    let folder = TempDir::new().unwrap();
    for number in 0..5 {
        fs::write(folder.path().join(number.to_string()), "x").unwrap();
    }
    let workspace = workspace(&folder, FileQuota { bytes: 1_000, files: 4 });
    let mut guest = writer(&workspace);
    let root = root(&mut guest);
    let file = open(&mut guest, &root, "0", OpenFlags::empty()).await.unwrap();
    assert_eq!(write(&mut guest, &file, 1, 0).await, Ok(1), "what asks for no room gets it");
    assert_eq!(write(&mut guest, &file, 1, 1).await, Err(ErrorCode::Quota));
    code(guest.unlink_file_at(borrow(&root), "4".to_owned()).await).unwrap();
    assert_eq!(write(&mut guest, &file, 1, 1).await, Ok(1));
}
