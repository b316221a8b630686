//! Weighted fair queueing: who is next where several share what there is not enough of. A plain structure that knows no
//! clock and wakes nobody.
//!
//! Each sharer has a line and a *pass*: what it has used, by its weight, in nanoseconds. Next is the line with the lowest
//! pass, and a line that was empty begins where the others are, so nobody saves up turns and nobody waits for ever. What a
//! turn will cost is not known when it is given: it is charged what the sharer's turns usually cost, and what it did cost when it
//! is given back. So one that holds what it gets for long is next less often than one that gives it back at once. Every step costs by
//! the logarithm of how many lines there are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// What a turn costs at least, however short it was: handing it out is work, too. A tenth of a millisecond.
const LEAST: u64 = 100_000;

/// How far a pass is ahead of the others at most, by its weight: what one has used while nobody else wanted it must not keep it
/// out for long. Ten seconds.
const MOST_AHEAD: u64 = 10_000_000_000;

/// How much of what turns usually cost is the last one: an eighth.
const NEWEST: u64 = 8;

/// Where a line stands: its pass, and when it came there, so that of two with one pass the first to come is the first.
type Standing = (u64, u64);

#[derive(Debug)]
struct Line<W> {
    weight: u32,
    held: usize,
    waiting: VecDeque<W>,
    pass: u64,
    /// What its turns usually cost, in nanoseconds.
    usual: u64,
    /// Where it stands among those that can be next, or among those that only have their pass left.
    standing: Option<Standing>,
}

impl<W> Line<W> {
    fn can_be_next(&self, most: usize) -> bool {
        self.held < most && !self.waiting.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.held == 0 && self.waiting.is_empty()
    }
}

/// A turn that was given, to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it is taken until it is given back"]
pub struct FairTurn {
    charged: u64,
}

/// The lines of all sharers. `K` says whose a line is, `W` is who waits in it.
#[derive(Debug)]
pub struct FairLines<K, W> {
    most: usize,
    clock: u64,
    arrivals: u64,
    lines: HashMap<K, Line<W>>,
    ready: BTreeMap<Standing, K>,
    /// Lines without anybody that are ahead of the others: who comes back must not begin anew.
    ahead: BTreeMap<Standing, K>,
    active: usize,
}

impl<K: Clone + Eq + Hash, W> FairLines<K, W> {
    /// With at most so many turns for one sharer at one time.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            clock: 0,
            arrivals: 0,
            lines: HashMap::new(),
            ready: BTreeMap::new(),
            ahead: BTreeMap::new(),
            active: 0,
        }
    }

    /// How many turns a sharer has.
    #[must_use]
    pub fn held(&self, key: &K) -> usize {
        self.lines.get(key).map_or(0, |line| line.held)
    }

    /// How many wait in a sharer's line.
    #[must_use]
    pub fn waiting(&self, key: &K) -> usize {
        self.lines.get(key).map_or(0, |line| line.waiting.len())
    }

    /// Who waits, in any line.
    pub fn waiters(&self) -> impl Iterator<Item = &W> {
        self.lines.values().flat_map(|line| &line.waiting)
    }

    /// Nothing is held, nobody waits and nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// A turn at once, where one is free: if the sharer may have one more and nobody waits in its line.
    pub fn take(&mut self, key: &K, weight: u32) -> Option<FairTurn> {
        let (most, alone) = (self.most, self.ready.is_empty());
        let line = self.enter(key, weight);
        if line.held >= most || !line.waiting.is_empty() {
            self.rest(key);
            return None;
        }
        let pass = line.pass;
        if alone {
            // Nobody is behind: what is used now is used by who wants it.
            self.advance(pass);
        }
        let turn = self.charge(key);
        self.rest(key);
        turn
    }

    /// Waits in the sharer's line.
    pub fn wait(&mut self, key: &K, weight: u32, waiter: W) {
        self.enter(key, weight).waiting.push_back(waiter);
        self.rest(key);
    }

    /// The next in turn, and its turn.
    pub fn take_next(&mut self) -> Option<(K, W, FairTurn)> {
        let ((pass, _), key) = self.ready.pop_first()?;
        self.advance(pass);
        let line = self.lines.get_mut(&key)?;
        line.standing = None;
        let waiter = line.waiting.pop_front()?;
        let turn = self.charge(&key)?;
        self.rest(&key);
        Some((key, waiter, turn))
    }

    /// Gives a turn back that was used for so long, in nanoseconds.
    pub fn give_back(&mut self, key: &K, turn: FairTurn, used: u64) {
        self.leave(key);
        let clock = self.clock;
        if let Some(line) = self.lines.get_mut(key) {
            let used = used.max(LEAST);
            line.held = line.held.saturating_sub(1);
            line.usual = if line.usual == 0 { used } else { line.usual - line.usual / NEWEST + used / NEWEST };
            let cost = used / u64::from(line.weight);
            let pass = line.pass.saturating_add(cost).saturating_sub(turn.charged);
            line.pass = pass.min(clock.saturating_add(MOST_AHEAD / u64::from(line.weight)));
        }
        self.rest(key);
    }

    /// Takes out of a sharer's line who is meant.
    pub fn forget(&mut self, key: &K, is_meant: impl Fn(&W) -> bool) {
        if self.waiting(key) == 0 {
            return;
        }
        self.leave(key);
        if let Some(line) = self.lines.get_mut(key) {
            line.waiting.retain(|waiter| !is_meant(waiter));
        }
        self.rest(key);
    }

    /// One of those who wait in a sharer's line.
    pub fn find(&mut self, key: &K, is_meant: impl Fn(&W) -> bool) -> Option<&mut W> {
        self.lines.get_mut(key)?.waiting.iter_mut().find(|waiter| is_meant(waiter))
    }

    /// The line of a sharer, out of the order; one that was empty begins where the others are.
    fn enter(&mut self, key: &K, weight: u32) -> &mut Line<W> {
        self.leave(key);
        let clock = self.clock;
        let line = self.lines.entry(key.clone()).or_insert_with(|| Line {
            weight,
            held: 0,
            waiting: VecDeque::new(),
            pass: clock,
            usual: 0,
            standing: None,
        });
        line.weight = weight.max(1);
        if line.waiting.is_empty() {
            line.pass = line.pass.max(clock);
        }
        if line.is_idle() {
            self.active += 1;
        }
        line
    }

    /// Charges a line for one turn more.
    fn charge(&mut self, key: &K) -> Option<FairTurn> {
        let clock = self.clock;
        let line = self.lines.get_mut(key)?;
        line.held += 1;
        let charged = line.usual.max(LEAST) / u64::from(line.weight);
        line.pass = line.pass.max(clock).saturating_add(charged);
        Some(FairTurn { charged })
    }

    /// Takes a line out of the order.
    fn leave(&mut self, key: &K) {
        if let Some(line) = self.lines.get_mut(key)
            && let Some(standing) = line.standing.take()
            && self.ready.remove(&standing).is_none()
        {
            self.ahead.remove(&standing);
        }
    }

    /// Puts a line into the order where it belongs, or forgets it.
    fn rest(&mut self, key: &K) {
        let (most, arrival) = (self.most, self.arrivals);
        let Some(line) = self.lines.get_mut(key) else { return };
        self.arrivals += 1;
        let standing = (line.pass, arrival);
        if line.can_be_next(most) {
            line.standing = Some(standing);
            self.ready.insert(standing, key.clone());
        } else if line.is_idle() {
            self.active = self.active.saturating_sub(1);
            if line.pass > self.clock {
                line.standing = Some(standing);
                self.ahead.insert(standing, key.clone());
            } else {
                self.lines.remove(key);
            }
        }
        if self.active == 0 {
            // Whoever comes now is the only one.
            self.lines.clear();
            self.ahead.clear();
            self.clock = 0;
        }
    }

    /// The others are here now: whose pass is no longer ahead is forgotten.
    fn advance(&mut self, pass: u64) {
        self.clock = self.clock.max(pass);
        while let Some(first) = self.ahead.first_entry().filter(|first| first.key().0 <= self.clock) {
            self.lines.remove(&first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Sharers that always want more, each turn of which takes so long: how much each has used after so many turns.
    fn used(sharers: &[(u32, u64)], places: usize, turns: usize) -> Vec<u64> {
        let mut lines = FairLines::new(places);
        let mut used = vec![0; sharers.len()];
        for (key, (weight, _)) in sharers.iter().enumerate() {
            (0..places + 1).for_each(|_| lines.wait(&key, *weight, ()));
        }
        // When turns end, in order, and whose they are.
        let (mut ends, mut now, mut number) = (BTreeMap::new(), 0, 0_usize);
        for _ in 0..turns {
            while ends.len() < places {
                let (key, (), turn) = lines.take_next().unwrap();
                ends.insert((now + sharers[key].1, number), (key, turn));
                number += 1;
            }
            let ((at, _), (key, turn)) = ends.pop_first().unwrap();
            now = at;
            used[key] += sharers[key].1;
            lines.give_back(&key, turn, sharers[key].1);
            lines.wait(&key, sharers[key].0, ());
        }
        used
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn in_the_long_run_each_has_the_part_that_its_weight_says(
            sharers in proptest::collection::vec((1..=8_u32, 1..=20_u64), 2..6),
            places in 1..6_usize,
        ) {
            let sharers: Vec<(u32, u64)> = sharers.into_iter().map(|(weight, ms)| (weight, ms * MS)).collect();
            let used = used(&sharers, places, 20_000);
            let (all, weights) = (used.iter().sum::<u64>() as f64, sharers.iter().map(|(weight, _)| *weight).sum::<u32>());
            for (key, (weight, _)) in sharers.iter().enumerate() {
                let (has, should) = (used[key] as f64 / all, f64::from(*weight) / f64::from(weights));
                // A turn more or less, of a sharer whose turns are twenty times as long as another's.
                prop_assert!((has - should).abs() < 0.02 + should * 0.1, "{key}: {has} for {should} of {sharers:?}");
            }
        }

        #[test]
        fn nobody_waits_for_longer_than_its_part_whatever_the_others_do(
            flood in 1..200_usize, weight in 1..=8_u32, hold in 1..100_u64,
        ) {
            // One place; a flood of the heaviest weight, and one of the lightest that comes late.
            let mut lines = FairLines::new(1);
            (0..flood).for_each(|_| lines.wait(&"flood", weight, ()));
            for _ in 0..flood / 2 {
                let (key, (), turn) = lines.take_next().unwrap();
                lines.give_back(&key, turn, hold * MS);
                lines.wait(&"flood", weight, ());
            }
            lines.wait(&"late", 1, ());
            let before = std::iter::from_fn(|| {
                let (key, (), turn) = lines.take_next().unwrap();
                lines.give_back(&key, turn, hold * MS);
                (key != "late").then_some(())
            });
            prop_assert!(before.count() <= weight as usize + 1);
        }

        #[test]
        fn what_comes_and_goes_leaves_nothing_behind(steps in proptest::collection::vec((0..4_u8, 0..5_usize, 0..50_u64), 0..300)) {
            let (mut lines, mut held, mut number) = (FairLines::new(3), Vec::new(), 0_u64);
            for (step, key, ms) in steps {
                match step {
                    0 => held.extend(lines.take(&key, 1 + key as u32).map(|turn| (key, turn))),
                    1 => {
                        lines.wait(&key, 1 + key as u32, number);
                        number += 1;
                    }
                    2 => held.extend(lines.take_next().map(|(key, _, turn)| (key, turn))),
                    _ if !held.is_empty() => {
                        let (key, turn) = held.swap_remove(ms as usize % held.len());
                        lines.give_back(&key, turn, ms * MS);
                    }
                    _ => lines.forget(&key, |waiter| waiter % 2 == 0),
                }
                for key in 0..5 {
                    prop_assert_eq!(lines.held(&key), held.iter().filter(|(of, _)| *of == key).count());
                    prop_assert!(lines.held(&key) <= 3);
                }
            }
            while let Some((key, _, turn)) = lines.take_next() {
                lines.give_back(&key, turn, MS);
            }
            held.into_iter().for_each(|(key, turn)| lines.give_back(&key, turn, MS));
            while let Some((key, _, turn)) = lines.take_next() {
                lines.give_back(&key, turn, MS);
            }
            prop_assert!(lines.is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn who_holds_what_it_gets_for_long_is_next_less_often() {
        let used = used(&[(1, 1000 * MS), (1, MS)], 1, 5000);
        assert!(used[0].abs_diff(used[1]) <= 2000 * MS, "{used:?}");
    }

    #[test]
    fn what_was_used_while_nobody_else_was_there_keeps_nobody_out_for_long() {
        let mut lines = FairLines::new(1);
        for _ in 0..1000 {
            let turn = lines.take(&"alone", 1).unwrap();
            lines.wait(&"alone", 1, ());
            lines.give_back(&"alone", turn, 60_000 * MS);
            let (_, (), turn) = lines.take_next().unwrap();
            lines.give_back(&"alone", turn, 60_000 * MS);
        }
        lines.wait(&"alone", 1, ());
        lines.wait(&"other", 1, ());
        let mut turns = 0;
        while let Some((key, (), turn)) = lines.take_next() {
            lines.give_back(&key, turn, 100 * MS);
            if key == "alone" {
                break;
            }
            turns += 1;
            lines.wait(&"other", 1, ());
        }
        assert!(turns <= 110, "ten seconds of the other's at most, and it had {turns} turns of a tenth each");
    }

    #[test]
    fn the_next_of_many_is_found_without_looking_at_all_of_them() {
        let time = |sharers: u32| {
            let mut lines = FairLines::new(1);
            (0..sharers).for_each(|key| (0..2).for_each(|_| lines.wait(&key, 1 + key % 8, ())));
            let begun = std::time::Instant::now();
            for _ in 0..20_000 {
                let (key, (), turn) = lines.take_next().unwrap();
                lines.give_back(&key, turn, MS);
                lines.wait(&key, 1, ());
            }
            begun.elapsed()
        };
        let (few, many) = (time(10), time(10_000));
        // A walk over all of them would be a thousand times as long.
        assert!(many < few * 50, "{few:?} with 10, {many:?} with 10,000");
    }
}
