//! Instances that wait for the next call: for plugins whose manifest says that their tools may be called again.
//!
//! The pool belongs to whoever makes the calls and comes with each of them; there is one per plugin within one tenant, so
//! that no instance can serve two tenants. An instance goes back only after a call that went well, and only if the guest
//! has let go of what it held: what one call has opened must not be there for the next. Files are the exception, because
//! the C library asks once for the folders and keeps them; such an instance serves only the same workspace again.
//!
//! While an instance waits it holds nothing of its last call: no grant, no workspace, no log. It does hold a place of the
//! engine's pool, so all that wait, of all tenants, get a part of the places and no more.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::guest::{Guest, Setting};

/// The most instances that wait in one pool.
const MAX_IDLE: usize = 4;
/// How long one waits.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);
/// How many calls one serves: what a guest leaks of its own memory comes to an end.
const MAX_CALLS: u32 = 1_000;
/// One of so many places of the engine may be held by instances that wait.
const SHARE_OF_PLACES: u32 = 4;

/// The places that all waiting instances share.
pub(crate) fn idle_room(max_instances: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_instances.div_ceil(SHARE_OF_PLACES) as usize))
}

/// A store, its instance once there is one, and how often it was called.
pub(crate) struct Seat {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Option<Instance>,
    calls: u32,
}

impl Seat {
    pub(crate) fn new(store: Store<Guest>) -> Self {
        Self { store, instance: None, calls: 0 }
    }
}

struct Idle {
    seat: Seat,
    /// The loaded plugin that it is an instance of.
    plugin: Arc<()>,
    since: Instant,
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Waiting {
    idle: Vec<Idle>,
    swept: bool,
}

/// The waiting instances of one plugin within one tenant. Dropping the pool drops them.
#[derive(Default)]
pub struct WarmPool(Mutex<Waiting>);

impl std::fmt::Debug for WarmPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WarmPool").field("idle", &self.idle()).finish()
    }
}

impl WarmPool {
    /// How many instances wait.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).idle.len()
    }

    /// Drops all waiting instances: their grant or their plugin has changed.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).idle);
        drop(dropped);
    }

    /// An instance for a call in this setting, if one waits that fits. What can fit no more is dropped.
    pub(crate) fn take(&self, plugin: &Arc<()>, setting: &Setting) -> Option<Seat> {
        let mut dropped = Vec::new();
        let mut taken = None;
        {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut kept = Vec::with_capacity(waiting.idle.len());
            // The last one that came is the likeliest to be in the processor's caches.
            while let Some(mut idle) = waiting.idle.pop() {
                if !Arc::ptr_eq(&idle.plugin, plugin) || idle.since.elapsed() > MAX_IDLE_TIME {
                    dropped.push(idle);
                } else if taken.is_none() && idle.seat.store.data_mut().begin(setting) {
                    taken = Some(idle.seat);
                } else {
                    kept.push(idle);
                }
            }
            kept.reverse();
            waiting.idle = kept;
        }
        // Outside of the lock: dropping an instance is a system call or more.
        drop(dropped);
        taken
    }

    /// Keeps an instance after a call that went well, if it may serve another one.
    pub(crate) fn put(self: &Arc<Self>, plugin: &Arc<()>, mut seat: Seat, room: &Arc<Semaphore>) {
        seat.calls = seat.calls.saturating_add(1);
        if seat.calls >= MAX_CALLS || seat.instance.is_none() || !seat.store.data_mut().rest() {
            return;
        }
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else { return };
        let idle = Idle { seat, plugin: Arc::clone(plugin), since: Instant::now(), _room: permit };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.idle.len() >= MAX_IDLE {
            drop(waiting);
            drop(idle);
            return;
        }
        waiting.idle.push(idle);
        if !std::mem::replace(&mut waiting.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Drops what has waited too long; whether anything is left.
    fn drop_old(&self) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, kept) =
            std::mem::take(&mut waiting.idle).into_iter().partition(|idle| idle.since.elapsed() >= MAX_IDLE_TIME);
        waiting.idle = kept;
        waiting.swept = !waiting.idle.is_empty();
        let left = waiting.swept;
        drop(waiting);
        drop::<Vec<Idle>>(old);
        left
    }
}

/// Runs while anything waits.
async fn sweep(pool: Weak<WarmPool>) {
    loop {
        tokio::time::sleep(MAX_IDLE_TIME / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.drop_old() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use vivarium_domain::{FileAccess, Manifest};
    use wasmtime::Engine;
    use wasmtime::component::{Component, Linker};
    use wasmtime_wasi::WasiView as _;
    use wasmtime_wasi::p2::bindings::filesystem::preopens;

    use super::*;
    use crate::capability::files::{FileQuota, Workspace};
    use crate::capability::{Grant, LogLevel, LogSink};
    use crate::guest::Role;
    use crate::limits::Limits;

    struct NoLog;

    impl LogSink for NoLog {
        fn line(&self, _level: LogLevel, _line: &str) {}
        fn progress(&self, _message: &str, _fraction: Option<f32>) {}
    }

    fn setting(files: Option<FileAccess>, workspace: Option<&Arc<Workspace>>) -> Setting {
        let grant = Arc::new(Grant { files, ..Grant::default() });
        let workspace = workspace.cloned();
        Setting { grant, workspace, limits: Arc::new(Limits::for_tool()), sink: Arc::new(NoLog) }
    }

    fn guest(setting: Setting) -> Guest {
        let manifest = br#"{"name":"a/b","version":"1.0.0","contract":"0.1.0","description":"d",
            "modes":[{"name":"m","title":"t","description":"d","defaultMaxCycles":1}],"requests":{"files":"write"}}"#;
        Guest::new(Role::Tool, Arc::new(Manifest::from_json(manifest).unwrap()), setting)
    }

    async fn seat() -> Seat {
        let engine = Engine::default();
        let component = Component::new(&engine, "(component)").unwrap();
        let mut seat = Seat::new(Store::new(&engine, guest(setting(None, None))));
        seat.instance = Some(Linker::new(&engine).instantiate_async(&mut seat.store, &component).await.unwrap());
        seat
    }

    #[tokio::test]
    async fn no_more_wait_than_a_pool_and_the_host_have_room_for() {
        let (pool, plugin, room) = (Arc::new(WarmPool::default()), Arc::default(), Arc::new(Semaphore::new(5)));
        for _ in 0..10 {
            pool.put(&plugin, seat().await, &room);
        }
        assert_eq!((pool.idle(), room.available_permits()), (MAX_IDLE, 5 - MAX_IDLE));
        let other = Arc::new(WarmPool::default());
        for _ in 0..2 {
            other.put(&plugin, seat().await, &room);
        }
        assert_eq!((other.idle(), room.available_permits()), (1, 0));
        drop(pool);
        assert_eq!(room.available_permits(), MAX_IDLE);
    }

    #[tokio::test]
    async fn what_has_waited_too_long_or_served_too_often_is_dropped() {
        let (pool, plugin, room) = (Arc::new(WarmPool::default()), Arc::default(), Arc::new(Semaphore::new(9)));
        let age = |pool: &WarmPool| {
            for idle in &mut pool.0.lock().unwrap().idle {
                idle.since -= MAX_IDLE_TIME + Duration::from_secs(1);
            }
        };
        pool.put(&plugin, seat().await, &room);
        assert!(pool.drop_old(), "it has waited for a moment only");
        age(&pool);
        assert!(!pool.drop_old());
        assert_eq!((pool.idle(), room.available_permits()), (0, 9));
        pool.put(&plugin, seat().await, &room);
        age(&pool);
        assert!(pool.take(&plugin, &setting(None, None)).is_none());

        let mut served = seat().await;
        served.calls = MAX_CALLS - 2;
        pool.put(&plugin, served, &room);
        let served = pool.take(&plugin, &setting(None, None)).unwrap();
        pool.put(&plugin, served, &room);
        assert_eq!(pool.idle(), 0);
    }

    #[tokio::test]
    async fn a_guest_that_was_shown_files_serves_the_same_workspace_only() {
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let [one, other] = folders
            .each_ref()
            .map(|it| Workspace::open(it.path().to_owned(), FileQuota { bytes: 9, files: 9 }).unwrap());
        let (read, write) = (Some(FileAccess::Read), Some(FileAccess::Write));
        let mut shown = guest(setting(write, Some(&one)));
        assert_eq!(preopens::Host::get_directories(&mut shown).unwrap().len(), 2);
        assert!(shown.rest(), "the C library keeps its folders");
        assert!(shown.workspace.is_none() && shown.grant.files.is_none(), "while it waits it has nothing");
        for strange in
            [setting(write, Some(&other)), setting(read, Some(&one)), setting(write, None), setting(None, None)]
        {
            assert!(!shown.begin(&strange));
        }
        assert!(shown.begin(&setting(write, Some(&one))));

        let mut shown_nothing = guest(setting(None, None));
        assert!(preopens::Host::get_directories(&mut shown_nothing).unwrap().is_empty());
        assert!(shown_nothing.rest());
        assert!(!shown_nothing.begin(&setting(write, Some(&one))), "it would look for its folders in vain");
        let mut never_asked = guest(setting(None, None));
        assert!(never_asked.rest() && never_asked.begin(&setting(write, Some(&one))));

        let open = std::fs::File::open(folders[0].path()).unwrap();
        let perms = (wasmtime_wasi::FsPerms::ReadOnly, wasmtime_wasi::OpenMode::READ);
        let file = wasmtime_wasi::filesystem::Dir::new(open, perms.0, perms.1, false);
        never_asked.ctx().table.push(wasmtime_wasi::filesystem::Descriptor::Dir(file)).unwrap();
        assert!(!never_asked.rest(), "a folder that it has opened itself is of its call");
    }
}
