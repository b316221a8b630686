//! Where sessions stand in lists. A session that is made takes the next place of a list (of all sessions, and of those
//! with its agent) and keeps it; one that is removed leaves it empty. So a page is a walk over neighbouring places,
//! wherever it begins.
//!
//! What is left is to find the place that so and so many sessions stand before, without walking over them. Where nothing
//! was ever removed it is a subtraction. Else the empty places are counted: in stretches of 256 places, of 256 × 256 and
//! of 256 × 256 × 256, and the search goes down from the longest. It looks at 256 counts of each level at most (those
//! without empty places have none), and then at 256 places. Making a session counts nothing but the session itself;
//! removing one counts three times.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::StoreError;
use crate::table::{Key, Place, Range, Table, last_number};
use crate::view::{Direction, PIECE, View};

/// How many stretches of one level make one of the next. In tests so few that all levels are used.
pub(crate) const FANOUT: u64 = if cfg!(test) { 4 } else { 256 };

/// The levels of stretches, from the longest.
pub(crate) const LEVELS: [u8; 3] = [3, 2, 1];

/// How many places a stretch of this level has.
pub(crate) fn width(level: u8) -> u64 {
    FANOUT.saturating_pow(u32::from(level))
}

/// The key of the count of a stretch's empty places.
pub(crate) fn gap_key(list: &Key, level: u8, stretch: u64) -> Bytes {
    list.clone().byte(level).number(stretch).into_bytes()
}

/// A number as it is kept.
pub(crate) fn number_of(table: Table, key: &[u8], payload: &[u8]) -> Result<u64, StoreError> {
    let bytes = payload.first_chunk::<8>().filter(|_| payload.len() == 8);
    let no_number = || StoreError::Corrupt(format!("{}: there is no number", Place(table, key)));
    bytes.map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(no_number)
}

/// The head of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// The place that the next session takes.
    pub(crate) next: u64,
    /// How many places are taken.
    pub(crate) taken: u64,
}

impl Head {
    pub(crate) fn read(view: &View, list: &[u8]) -> Result<Self, StoreError> {
        let Some(payload) = view.get(Table::SessionHeads, list)? else { return Ok(Self::default()) };
        let corrupt = || StoreError::Corrupt(format!("{}: there are no two numbers", Place(Table::SessionHeads, list)));
        let (next, taken) = payload.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let taken: [u8; 8] = taken.try_into().map_err(|_| corrupt())?;
        Ok(Self { next: u64::from_be_bytes(*next), taken: u64::from_be_bytes(taken) })
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.next) << 64 | u128::from(self.taken)).to_be_bytes()
    }
}

/// The place below which a page begins that leaves out the newest `skip` sessions. What is made or removed meanwhile may
/// move it by as much.
pub(crate) fn below_the_newest(view: &View, list: &Key, skip: u64) -> Result<u64, StoreError> {
    let Head { next, taken } = Head::read(view, list.as_slice())?;
    if skip >= taken {
        return Ok(0);
    }
    // Of the sessions in `low..high`, so many are left out; those above `high` are, those below `low` are not.
    let (mut low, mut high, mut left_out) = (0, next, skip);
    for level in LEVELS {
        if left_out == 0 {
            return Ok(high);
        }
        let width = width(level);
        let gaps = gaps(view, list, level, low / width, high.div_ceil(width))?;
        while high > low {
            let stretch = (high - 1) / width;
            let start = stretch * width;
            let taken = (high - start).saturating_sub(gaps.get(&stretch).copied().unwrap_or(0));
            if left_out < taken {
                if taken == high - start {
                    return Ok(high - left_out);
                }
                low = start;
                break;
            }
            left_out -= taken;
            high = start;
        }
    }
    walk_down(view, list, low, high, left_out)
}

/// The counts of empty places of the stretches `from..to`, where there are any.
fn gaps(view: &View, list: &Key, level: u8, from: u64, to: u64) -> Result<BTreeMap<u64, u64>, StoreError> {
    let mut found = BTreeMap::new();
    let mut range = Range::prefix(list.clone().byte(level).as_slice())
        .starting_at(&gap_key(list, level, from))
        .before(&gap_key(list, level, to));
    loop {
        let piece = view.walk(Table::SessionGaps, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok(found) };
        range = range.after(last);
        for (key, payload) in piece {
            let empty = number_of(Table::SessionGaps, &key, &payload)?;
            found.extend(last_number(&key).map(|stretch| (stretch, empty)));
        }
    }
}

/// Goes down from `high`, over so many sessions, and no further than `low`.
fn walk_down(view: &View, list: &Key, low: u64, high: u64, left_out: u64) -> Result<u64, StoreError> {
    let mut range = Range::prefix(list.as_slice())
        .starting_at(list.clone().number(low).as_slice())
        .before(list.clone().number(high).as_slice());
    let (mut below, mut left_out) = (high, usize::try_from(left_out).unwrap_or(usize::MAX));
    while left_out > 0 {
        let piece = view.walk(Table::SessionPlaces, &range, Direction::Backward, left_out)?;
        let Some((last, _)) = piece.last() else { break };
        range = range.before(last);
        below = last_number(last).unwrap_or(below);
        left_out -= piece.len();
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vivarium_domain::{AuditAction, AuditBy, Session, SessionId, TenantId, Timestamp};

    use super::*;
    use crate::batch::{Prepared, prepare};
    use crate::resolve::Resolver;
    use crate::view::Trees;
    use crate::{Batch, Write};

    fn new_view() -> View {
        let db = sled::Config::new().temporary(true).flush_every_ms(None).open().unwrap();
        let trees = Table::ALL.map(|table| (table, db.open_tree(table.name()).unwrap()));
        View::new(Trees::new(trees.into_iter().collect()))
    }

    fn made(tenant: &TenantId, number: usize) -> Prepared {
        let id: SessionId = format!("s{number}").parse().unwrap();
        let write = Write::EnsureSession(Box::new(Session::new(id, Timestamp::UNIX_EPOCH)));
        prepare(tenant, Batch { conditions: Vec::new(), writes: vec![write] }).unwrap()
    }

    fn write(view: &View, group: Vec<Prepared>) {
        let mut resolver = Resolver::new(view, std::collections::HashSet::new());
        let mut ops = Vec::new();
        for batch in group {
            ops.extend(resolver.resolve(batch).unwrap());
        }
        ops.extend(resolver.shared());
        view.publish(ops.into_iter());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Some 300 sessions, with four levels of four: whatever was removed, in whatever groups, a page begins where a walk
        /// over all of them would say.
        #[test]
        fn the_place_is_found_that_so_many_sessions_stand_before(
            sessions in 0..300_usize,
            removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..300),
            a_stretch in (any::<prop::sample::Index>(), 0..120_usize),
            group in 1..40_usize,
        ) {
            let (view, tenant): (_, TenantId) = (new_view(), "acme".parse().unwrap());
            let mut there: Vec<usize> = (0..sessions).collect();
            let all: Vec<_> = there.iter().map(|number| made(&tenant, *number)).collect();
            let mut all = all.into_iter().peekable();
            while all.peek().is_some() {
                write(&view, all.by_ref().take(group).collect());
            }
            let mut gone: Vec<usize> = removed.iter().filter(|_| sessions > 0).map(|one| one.index(sessions)).collect();
            if sessions > 0 {
                let start = a_stretch.0.index(sessions);
                gone.extend(start..sessions.min(start + a_stretch.1));
            }
            gone.sort_unstable();
            gone.dedup();
            there.retain(|number| gone.binary_search(number).is_err());
            for numbers in gone.chunks(group) {
                let ids = numbers.iter().map(|number| format!("s{number}").parse().unwrap());
                write(&view, ids.map(|id| Prepared::closing(&tenant, &id, AuditBy::HOST.did(AuditAction::SessionDeleted, &id))).collect());
            }
            let list = Key::of(&tenant).session_list(None);
            let head = Head::read(&view, list.as_slice()).unwrap();
            prop_assert_eq!(head, Head { next: sessions as u64, taken: there.len() as u64 });
            for skip in 0..there.len() {
                let below = below_the_newest(&view, &list, skip as u64).unwrap();
                let expected = there[there.len() - 1 - skip] as u64;
                let range = Range::prefix(list.as_slice()).before(list.clone().number(below).as_slice());
                let (first, _) = view.walk(Table::SessionPlaces, &range, Direction::Backward, 1).unwrap().pop().unwrap();
                prop_assert_eq!(last_number(&first), Some(expected), "skip {}", skip);
            }
            prop_assert_eq!(below_the_newest(&view, &list, there.len() as u64).unwrap(), 0);
        }
    }
}
