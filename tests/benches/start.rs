//! How long a person waits: from the start of the process until the server says that it is ready, on a data folder that a server has used
//! before, so that the plugins' compiled forms are there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that can not go on ends")]

use std::fs;
use std::path::Path;

use divan::Bencher;
use tempfile::TempDir;
use tokio::runtime::Builder;
use vivarium_tests::Host;

fn main() {
    divan::main();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn from_start_to_ready(bencher: Bencher<'_, '_>) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let used: TempDir = runtime.block_on(async {
        let (status, data) = Host::builder().start().await.stop().await;
        assert!(status.success(), "{status}");
        data
    });
    // Each start has a folder of its own: the one before may still be closing its store.
    let a_used_folder = || {
        let folder = tempfile::tempdir().unwrap();
        copy(used.path(), folder.path());
        folder
    };
    let _guard = runtime.enter();
    bencher.with_inputs(a_used_folder).bench_local_values(|data| runtime.block_on(Host::builder().data(data).start()));
}
