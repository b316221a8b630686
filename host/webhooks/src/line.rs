//! Whose delivery is next: tenants take turns, and none has more requests under way than its share, so that one whose servers
//! are slow, or whose deliveries are many, holds up no other.

use std::collections::{HashMap, VecDeque};

use vivarium_domain::{RunId, TenantId};

/// Deliveries that are due, and how many are being made.
pub(crate) struct Line {
    max: usize,
    max_per_tenant: usize,
    sending: usize,
    tenants: HashMap<TenantId, OfTenant>,
    /// The tenants that have something due, the next one first; each once.
    turns: VecDeque<TenantId>,
}

#[derive(Default)]
struct OfTenant {
    due: VecDeque<RunId>,
    sending: usize,
}

impl Line {
    pub(crate) fn new(max: usize, max_per_tenant: usize) -> Self {
        Self { max, max_per_tenant, sending: 0, tenants: HashMap::new(), turns: VecDeque::new() }
    }

    /// A delivery is due.
    pub(crate) fn push(&mut self, tenant: TenantId, run: RunId) {
        let of_tenant = self.tenants.entry(tenant.clone()).or_default();
        if of_tenant.due.is_empty() {
            self.turns.push_back(tenant);
        }
        of_tenant.due.push_back(run);
    }

    /// The next delivery that may be made; [`Line::done`] ends it.
    pub(crate) fn next(&mut self) -> Option<(TenantId, RunId)> {
        if self.sending >= self.max {
            return None;
        }
        // Who has its share already keeps its turn for later.
        for _ in 0..self.turns.len() {
            let tenant = self.turns.pop_front()?;
            let Some(of_tenant) = self.tenants.get_mut(&tenant) else { continue };
            if of_tenant.sending >= self.max_per_tenant {
                self.turns.push_back(tenant);
                continue;
            }
            let run = of_tenant.due.pop_front();
            if !of_tenant.due.is_empty() {
                self.turns.push_back(tenant.clone());
            }
            if let Some(run) = run {
                of_tenant.sending += 1;
                self.sending += 1;
                return Some((tenant, run));
            }
        }
        None
    }

    /// A delivery of this tenant's is no longer being made.
    pub(crate) fn done(&mut self, tenant: &TenantId) {
        self.sending = self.sending.saturating_sub(1);
        if let Some(of_tenant) = self.tenants.get_mut(tenant) {
            of_tenant.sending = of_tenant.sending.saturating_sub(1);
            if of_tenant.sending == 0 && of_tenant.due.is_empty() {
                self.tenants.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn taken(line: &mut Line) -> String {
        std::iter::from_fn(|| line.next()).map(|(tenant, _)| tenant.to_string()).collect()
    }

    #[test]
    fn tenants_take_turns_and_none_has_more_than_its_share() {
        let mut line = Line::new(5, 3);
        for (id, count) in [("a", 10), ("b", 2), ("c", 1)] {
            for _ in 0..count {
                line.push(tenant(id), RunId::new());
            }
        }
        assert_eq!(taken(&mut line), "abcab", "all places are taken");
        line.done(&tenant("c"));
        assert_eq!(taken(&mut line), "a");
        line.done(&tenant("b"));
        assert_eq!(taken(&mut line), "", "a has its share, and nobody else has anything");
        line.push(tenant("d"), RunId::new());
        assert_eq!(taken(&mut line), "d");
    }

    #[test]
    fn nothing_is_remembered_of_a_tenant_that_is_done() {
        let mut line = Line::new(2, 2);
        for _ in 0..3 {
            line.push(tenant("a"), RunId::new());
        }
        assert_eq!(taken(&mut line), "aa");
        line.done(&tenant("a"));
        assert_eq!(taken(&mut line), "a");
        line.done(&tenant("a"));
        line.done(&tenant("a"));
        assert!(line.tenants.is_empty() && line.turns.is_empty() && line.sending == 0);
    }
}
