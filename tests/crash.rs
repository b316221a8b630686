//! Many runs, and a host that is killed again and again: at the end all of them have ended as if nothing had happened. A few runs
//! and deaths here; `VIVARIUM_CRASH_RUNS=200 VIVARIUM_CRASH_KILLS=50` makes it the long one, and `VIVARIUM_CRASH_SEED` is what
//! chance comes from.

mod client;
mod dice;
mod house;
mod judge;
mod provider;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use vivarium_tests::http_client;

use self::client::{Followed, Visitor};
use self::dice::Dice;
use self::house::{House, LONGEST};
use self::provider::Provider;

/// What runs do, and with how many tool calls at most.
const KINDS: [(&str, u64); 5] = [("talk", 0), ("often", 3), ("once", 3), ("careful", 2), ("line", 0)];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

fn chance() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into()
}

/// Does runs one after the other until it is over, and gives what its clients have of them.
async fn visit(visitor: Visitor, number: usize, mut dice: Dice, over: Arc<AtomicBool>) -> Vec<Followed> {
    let mut all = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (kind, most_calls) = KINDS[number % KINDS.len()];
        let name = format!("v{number}-{}", all.len());
        if kind == "line" {
            // Two messages in one session: the second waits for the first.
            let (first, second) = (format!("talk {name}-first 0"), format!("often {name}-second 1"));
            let begun = visitor.start(&first, &name).await;
            let (first, second) = tokio::join!(visitor.follow(first, begun), visitor.run(second, &name));
            all.extend([first, second]);
        } else {
            let calls = if most_calls == 0 { 0 } else { dice.between(1, most_calls) };
            all.push(visitor.run(format!("{kind} {name} {calls}"), &name).await);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_whose_host_is_killed_again_and_again_end_as_if_nothing_had_happened() {
    let visitors = number("VIVARIUM_CRASH_RUNS").unwrap_or(40);
    let kills = number("VIVARIUM_CRASH_KILLS").unwrap_or(8);
    let seed = number("VIVARIUM_CRASH_SEED").unwrap_or_else(chance);
    eprintln!("VIVARIUM_CRASH_RUNS={visitors} VIVARIUM_CRASH_KILLS={kills} VIVARIUM_CRASH_SEED={seed}");
    let mut dice = Dice::new(seed);
    let began = Instant::now();
    let provider = Arc::new(Provider::start().await);
    let mut house = House::build(Arc::clone(&provider)).await;
    let (clerk, mut questions) = mpsc::unbounded_channel();
    let visitor = Visitor { client: http_client(), door: house.door(), clerk };
    let over = Arc::<AtomicBool>::default();
    let visits: Vec<_> = (0..usize::try_from(visitors).unwrap())
        .map(|number| tokio::spawn(visit(visitor.clone(), number, dice.fork(number), Arc::clone(&over))))
        .collect();
    let (of_clerk, clerks_dice) = (visitor.clone(), dice.fork(usize::MAX - 1));
    let decisions = tokio::spawn(async move {
        let mut decided = Vec::new();
        while let Some(question) = questions.recv().await {
            let dice = clerks_dice.fork(decided.len());
            decided.push(tokio::spawn(of_clerk.clone().decide(question, dice)));
        }
        decided
    });

    for kill in 0..kills {
        let life = match dice.between(0, 3) {
            // Once in a while an answer can be ended: a run that comes to nothing new in 25 lives is given up.
            _ if kill % 8 == 7 => Duration::from_secs(3),
            // Some die as soon as they live, while they take up what they have found.
            0 => dice.pause(0, 150),
            _ => dice.pause(300, 1800),
        };
        tokio::time::sleep(life).await;
        house.kill(&mut dice).await;
    }
    over.store(true, Ordering::Relaxed);
    let all_killed = began.elapsed();
    let mut all = Vec::new();
    for visit in visits {
        let followed = tokio::time::timeout(LONGEST, visit).await;
        all.extend(followed.expect("every run comes to its end").unwrap());
    }
    decisions.abort();
    judge::judge(&house, &provider, &all).await;
    let sum = |of: fn(&Followed) -> usize| all.iter().map(of).sum::<usize>();
    eprintln!(
        "{} runs, {} processes of the host, {all_killed:?} of deaths and {:?} until the last run's end; streams broke {} times, \
         {} times what was shown was void",
        all.len(),
        house.lives(),
        began.elapsed() - all_killed,
        sum(|followed| followed.breaks),
        sum(|followed| followed.voids),
    );
}
