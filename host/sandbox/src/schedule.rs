//! Who gets the processor.
//!
//! Guests are polled like any other future, and left alone that would be first come, first served: sixty-four spinning
//! guests of one tenant would each take a tick before a call of another tenant, that needs a fraction of one, gets its
//! turn. So a guest asks for a *turn* before it is polled, and gives it back after. There are as many turns as cores;
//! where all are taken, they go around by payer, by what each has used of them and by its weight ([`FairLines`]), and within one
//! payer by age. A turn is asked for, and not just taken by
//! being polled, because the executor's queue knows no payers: who has no turn is not in that queue.
//!
//! Who computes for long is *heavy*: its call is moved to threads of their own, of a lower priority and with turns of their
//! own, so that a light call waits for other light calls and never for a tick of a heavy one. The operating system does
//! the rest: whatever else the host does comes before heavy guests, and they have what is left.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use vivarium_domain::{FairLines, FairTurn};

use crate::LoadError;
use crate::limits::CpuMeter;

/// From so much processor time on a call is heavy.
const LIGHT: Duration = Duration::from_millis(20);

/// How much less heavy guests matter to the operating system than all else, as `nice` counts.
const HEAVY_NICENESS: i32 = 10;

/// Who a call's processor time is shared out to; calls of one payer share one part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Payer {
    /// Who.
    pub id: Arc<str>,
    /// How large the part is, compared with those of others.
    pub weight: u32,
}

impl Default for Payer {
    /// Nobody in particular.
    fn default() -> Self {
        Self { id: "".into(), weight: 1 }
    }
}

/// The processor, shared out.
#[derive(Clone)]
pub(crate) struct Scheduler {
    light: Arc<Gate>,
    heavy: Arc<Heavy>,
}

struct Heavy {
    gate: Arc<Gate>,
    /// Dropped in the background: a runtime must not be dropped where futures are polled.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Drop for Heavy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Scheduler {
    pub(crate) fn new() -> Result<Self, LoadError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // One core is left to whoever is light.
        let heavy = cores.saturating_sub(1).max(1);
        let runtime = Builder::new_multi_thread()
            .worker_threads(heavy)
            .thread_name("heavy-guests")
            .enable_all()
            .on_thread_start(|| {
                // Without it heavy guests only matter as much as all else.
                if let Err(error) = rustix::process::nice(HEAVY_NICENESS) {
                    tracing::debug!(%error, "heavy guests can not be given a lower priority");
                }
            })
            .build()
            .map_err(|error| LoadError::Engine(format!("the threads of heavy guests can not start: {error}")))?;
        let handle = runtime.handle().clone();
        let heavy = Arc::new(Heavy { gate: Gate::new(heavy), runtime: Some(runtime), handle });
        Ok(Self { light: Gate::new(cores), heavy })
    }

    /// Lets a guest's work be polled in turns.
    pub(crate) fn share<F>(&self, payer: Payer, meter: Arc<CpuMeter>, work: F) -> Shared<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let turns = Turns { work: Box::pin(work), meter, turn: Turn::new(Arc::clone(&self.light), payer) };
        Shared { state: State::Light(turns), heavy: Arc::clone(&self.heavy) }
    }
}

/// A guest's work, wherever it is polled. Dropping it ends the work.
pub(crate) struct Shared<T> {
    state: State<T>,
    heavy: Arc<Heavy>,
}

enum State<T> {
    Light(Turns<T>),
    Heavy(Moved<T>),
    /// Between the two, and after the end.
    Gone,
}

/// The work on the threads of heavy guests.
struct Moved<T>(JoinHandle<T>);

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Future for Shared<T> {
    /// None: the host's own code panicked in it.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        loop {
            match &mut self.state {
                State::Light(turns) if turns.meter.spent() <= LIGHT => {
                    let done = ready!(Pin::new(turns).poll(context));
                    self.state = State::Gone;
                    return Poll::Ready(Some(done));
                }
                State::Light(_) => {
                    let State::Light(turns) = std::mem::replace(&mut self.state, State::Gone) else { continue };
                    let Turns { work, meter, turn } = turns;
                    let turn = Turn::new(Arc::clone(&self.heavy.gate), turn.payer.clone());
                    let moved = self.heavy.handle.spawn(Turns { work, meter, turn });
                    self.state = State::Heavy(Moved(moved));
                }
                State::Heavy(moved) => {
                    let done = ready!(Pin::new(&mut moved.0).poll(context));
                    self.state = State::Gone;
                    return Poll::Ready(done.ok());
                }
                State::Gone => return Poll::Ready(None),
            }
        }
    }
}

/// Work that is polled only when it has a turn, with its processor time measured.
struct Turns<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
    meter: Arc<CpuMeter>,
    turn: Turn,
}

impl<T> Future for Turns<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if !self.turn.take(context.waker()) {
            return Poll::Pending;
        }
        let this = &mut *self;
        let polled = this.meter.measure(|| this.work.as_mut().poll(context));
        this.turn.give_back();
        polled
    }
}

/// Turns, and who waits for one.
struct Gate {
    state: Mutex<GateState>,
}

struct GateState {
    free: usize,
    next_ticket: u64,
    /// Who waits, by payer; each line in the order of arrival.
    lines: FairLines<Arc<str>, Waiting>,
    /// Turns that were handed to who waited, and not used yet.
    granted: HashMap<u64, FairTurn>,
}

struct Waiting {
    ticket: u64,
    waker: Waker,
}

impl Gate {
    fn new(turns: usize) -> Arc<Self> {
        let lines = FairLines::new(turns);
        let state = GateState { free: turns, next_ticket: 0, lines, granted: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        // Nothing between two changes of the state can panic but a waker, and that is called outside.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn back that was used for so long, and gives it to the next in line, if somebody waits; else it is free.
    fn pass_on(&self, payer: &Payer, turn: FairTurn, used: Duration) {
        let waker = {
            let mut state = self.lock();
            state.lines.give_back(&payer.id, turn, u64::try_from(used.as_nanos()).unwrap_or(u64::MAX));
            state.pass_on()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl GateState {
    fn pass_on(&mut self) -> Option<Waker> {
        match self.lines.take_next() {
            Some((_, Waiting { ticket, waker }, turn)) => {
                self.granted.insert(ticket, turn);
                Some(waker)
            }
            None => {
                self.free += 1;
                None
            }
        }
    }
}

/// One work's share in a gate.
struct Turn {
    gate: Arc<Gate>,
    payer: Payer,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Away,
    Waiting(u64),
    Has(FairTurn, Instant),
}

impl Turn {
    fn new(gate: Arc<Gate>, payer: Payer) -> Self {
        Self { gate, payer, standing: Standing::Away }
    }

    /// Whether there is a turn now. If not, the waker is called when there is.
    fn take(&mut self, waker: &Waker) -> bool {
        let mut state = self.gate.lock();
        match self.standing {
            Standing::Has(..) => return true,
            Standing::Waiting(ticket) => {
                if let Some(turn) = state.granted.remove(&ticket) {
                    self.standing = Standing::Has(turn, Instant::now());
                    return true;
                }
                if let Some(waiting) = state.lines.find(&self.payer.id, |waiting| waiting.ticket == ticket) {
                    waiting.waker.clone_from(waker);
                }
                return false;
            }
            Standing::Away => {}
        }
        if state.free > 0
            && let Some(turn) = state.lines.take(&self.payer.id, self.payer.weight)
        {
            state.free -= 1;
            self.standing = Standing::Has(turn, Instant::now());
            return true;
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.lines.wait(&self.payer.id, self.payer.weight, Waiting { ticket, waker: waker.clone() });
        self.standing = Standing::Waiting(ticket);
        false
    }

    fn give_back(&mut self) {
        if let Standing::Has(turn, since) = self.standing {
            self.standing = Standing::Away;
            self.gate.pass_on(&self.payer, turn, since.elapsed());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.standing {
            Standing::Away => {}
            Standing::Has(..) => self.give_back(),
            Standing::Waiting(ticket) => {
                let mut state = self.gate.lock();
                match state.granted.remove(&ticket) {
                    Some(turn) => {
                        drop(state);
                        self.gate.pass_on(&self.payer, turn, Duration::ZERO);
                    }
                    None => state.lines.forget(&self.payer.id, |waiting| waiting.ticket == ticket),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    fn turn(gate: &Arc<Gate>, payer: &str) -> Turn {
        Turn::new(Arc::clone(gate), Payer { id: payer.into(), weight: 1 })
    }

    #[test]
    fn turns_go_around_by_payer_and_not_by_arrival() {
        let (gate, waker) = (Gate::new(1), noop_waker());
        let mut held = turn(&gate, "flood");
        assert!(held.take(&waker));
        let mut flood: Vec<Turn> = (0..10).map(|_| turn(&gate, "flood")).collect();
        assert!(flood.iter_mut().all(|turn| !turn.take(&waker)));
        let mut other = turn(&gate, "other");
        assert!(!other.take(&waker));
        held.give_back();
        assert!(flood.iter_mut().all(|turn| !turn.take(&waker)), "the flood has had a turn");
        assert!(other.take(&waker), "it is the other payer's turn, before ten of the flood");
        other.give_back();
        assert_eq!(flood.iter_mut().filter_map(|turn| turn.take(&waker).then_some(())).count(), 1);
    }

    #[test]
    fn who_leaves_the_line_or_does_not_use_a_turn_passes_it_on() {
        let (gate, waker) = (Gate::new(1), noop_waker());
        let mut held = turn(&gate, "a");
        assert!(held.take(&waker));
        let mut leaving = turn(&gate, "a");
        let mut granted = turn(&gate, "b");
        let mut last = turn(&gate, "c");
        assert!(!leaving.take(&waker) && !granted.take(&waker) && !last.take(&waker));
        drop(leaving);
        drop(held);
        // `b` has the turn now and never comes for it.
        drop(granted);
        assert!(last.take(&waker));
        drop(last);
        let state = gate.lock();
        assert!(state.free == 1 && state.lines.is_empty() && state.granted.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_light_work_comes_through_while_another_payer_spins_on_every_core() {
        let scheduler = Scheduler::new().unwrap();
        let spin = |scheduler: &Scheduler| {
            let work = async {
                loop {
                    let until = std::time::Instant::now() + Duration::from_millis(2);
                    while std::time::Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::spawn(scheduler.share::<_>(Payer { id: "spinner".into(), weight: 1 }, CpuMeter::new(), work))
        };
        let spinners: Vec<JoinHandle<Option<()>>> = (0..32).map(|_| spin(&scheduler)).collect();
        // Once they are heavy, what they use is no longer in the way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for number in 0..50 {
            let meter = CpuMeter::new();
            let answered = scheduler.share(Payer { id: "other".into(), weight: 1 }, meter, async move { number });
            let answered = tokio::time::timeout(Duration::from_secs(5), answered).await;
            assert_eq!(answered.expect("it waits behind no spinner"), Some(number));
        }
        for spinner in &spinners {
            spinner.abort();
        }
        for spinner in spinners {
            assert!(spinner.await.is_err_and(|error| error.is_cancelled()));
        }
        let state = scheduler.light.lock();
        assert!(state.lines.is_empty() && state.granted.is_empty(), "who is gone holds no turn");
    }
}
