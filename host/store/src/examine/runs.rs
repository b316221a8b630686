//! Runs, their logs, and what is found by a run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use vivarium_domain::{ContentHash, Delivery, DeliveryStatus, Event, EventBody, Run, RunId, TenantId};

use super::{Examined, Examiner};
use crate::batch::{blob_of, ended_place, list_of};
use crate::table::{Key, Range, Table, last_hash, last_id, last_number, split_tenant};
use crate::view::Direction;
use crate::{IdempotencyRecord, Made};

/// What a run's log says.
#[derive(Default)]
pub(super) struct Log {
    /// The number of its last event.
    pub(super) last: u64,
    /// The number of the event that ends the run.
    end: Option<u64>,
    /// The texts that its sources refer to.
    pub(super) texts: Vec<ContentHash>,
    /// The text with the definitions of its tools.
    pub(super) tools: Option<ContentHash>,
    /// Where it is not as it must be.
    wrong: Option<String>,
}

impl Examiner<'_> {
    /// Runs: each log without gaps, in accord with its run's record, and in all indexes.
    pub(super) fn runs(&self) -> Examined {
        let mut found = Examined::new("runs");
        self.each::<Run>(Table::Runs, |tenant, key, run| {
            found.count += 1;
            let log = self.log(key);
            let name = format!("run {} of tenant {tenant}", run.id);
            if let Some(wrong) = &log.wrong {
                found.error(format!("{name}: its log {wrong}"));
                return;
            }
            if run.log_removed_at.is_some() {
                found.expect(log.last == 0, || {
                    format!("{name}: its log was removed, and {} events are there", log.last)
                });
            } else if run.status.is_terminal() {
                let ended = log.end == Some(log.last);
                found.expect(ended, || format!("{name} has ended, and its log of {} events does not say so", log.last));
                found.expect(run.last_seq == log.last, || {
                    format!("{name}: its record ends with event {}, its log with {}", run.last_seq, log.last)
                });
            } else {
                found.expect(log.end.is_none(), || format!("{name} has not ended, and its log says that it has"));
                found.expect(run.last_seq <= log.last, || {
                    format!("{name}: its record knows event {}, its log ends with {}", run.last_seq, log.last)
                });
            }
            self.run_indexes(&mut found, tenant, key, &run, &name);
        });
        self.logs_of_nothing(&mut found);
        for table in [Table::SessionRuns, Table::Unfinished, Table::AgentRuns, Table::StatusRuns, Table::EndedRuns] {
            self.each_key(table, |tenant, key, _| {
                let there = last_id(key).is_some_and(|id| self.has_run(tenant, RunId::from_bytes(id)));
                found.expect(there, || {
                    format!("the list {} of tenant {tenant} names a run that is not there", table.name())
                });
            });
        }
        self.run_counts(&mut found);
        self.idempotency_keys(&mut found);
        found.done()
    }

    /// How many runs of a tenant have ended is counted beside them.
    fn run_counts(&self, found: &mut Examined) {
        let (mut listed, mut counted) = (BTreeMap::<TenantId, u64>::new(), BTreeMap::<TenantId, u64>::new());
        self.each_key(Table::EndedRuns, |tenant, _, _| *listed.entry(tenant.clone()).or_default() += 1);
        self.each_key(Table::RunCounts, |tenant, _, payload| {
            counted.extend(last_number(payload).map(|count| (tenant.clone(), count)));
        });
        let tenants: BTreeSet<_> = listed.keys().chain(counted.keys()).collect();
        for tenant in tenants {
            let [listed, counted] = [&listed, &counted].map(|of| of.get(tenant).copied().unwrap_or(0));
            found.expect(listed == counted, || {
                format!("tenant {tenant} counts {counted} runs that have ended, and {listed} are in the list of them")
            });
        }
    }

    /// What an idempotency key stands for is there, and knows it.
    fn idempotency_keys(&self, found: &mut Examined) {
        self.each::<IdempotencyRecord>(Table::Idempotency, |tenant, key, record| {
            let Some(hash) = last_hash(key) else { return };
            match record.made {
                Made::Run(run) => {
                    found.expect(self.has_run(tenant, run), || {
                        format!("an idempotency key of tenant {tenant} stands for the run {run}, which is not there")
                    });
                    let of_run = Key::of(tenant).run(run).hash(&hash);
                    found.expect(self.has(Table::RunKeys, of_run.as_slice()), || {
                        format!("the run {run} of tenant {tenant} does not know a key that stands for it")
                    });
                }
                Made::Answer(answer) => {
                    let expiry = Key::of(tenant).time(answer.expires_at).hash(&hash);
                    found.expect(self.has(Table::AnswerExpiries, expiry.as_slice()), || {
                        format!("an idempotency key of tenant {tenant} keeps an answer that is never forgotten")
                    });
                }
            }
        });
    }

    fn run_indexes(&self, found: &mut Examined, tenant: &TenantId, key: &Bytes, run: &Run, name: &str) {
        let is_unfinished = self.has(Table::Unfinished, key);
        found.expect(is_unfinished != run.status.is_terminal(), || {
            format!("{name} is {:?}, and the list of unfinished runs says otherwise", run.status)
        });
        if run.status.is_terminal() {
            let of_status = Key::of(tenant).status(run.status).run(run.id);
            let place = ended_place(tenant, run, run.log_removed_at.is_some());
            let is_listed = self.has(Table::StatusRuns, of_status.as_slice()) && self.has(Table::EndedRuns, &place);
            found.expect(is_listed, || format!("{name} is not in the lists of those that have ended"));
        }
        let of_session = Key::of(tenant).session(&run.session_id).run(run.id);
        found.expect(run.stateless || self.has(Table::SessionRuns, of_session.as_slice()), || {
            format!("{name} is not in the list of its session's")
        });
        let of_agent = run.agent.map(|agent| Key::of(tenant).agent(agent.id).run(run.id));
        found.expect(of_agent.is_none_or(|key| self.has(Table::AgentRuns, key.as_slice())), || {
            format!("{name} is not in the list of its agent's")
        });
    }

    pub(super) fn has_run(&self, tenant: &TenantId, run: RunId) -> bool {
        self.has(Table::Runs, Key::of(tenant).run(run).as_slice())
    }

    /// Reads the log of the run with this key.
    pub(super) fn log(&self, key: &[u8]) -> Log {
        let (mut log, mut range) = (Log::default(), Range::prefix(key));
        loop {
            let piece = match self.view.walk(Table::Events, &range, Direction::Forward, 16) {
                Ok(piece) => piece,
                Err(error) => {
                    log.wrong = Some(format!("does not read after event {}: {error}", log.last));
                    return log;
                }
            };
            let Some((last, _)) = piece.last() else { return log };
            range = range.after(last);
            for (key, payload) in &piece {
                if let Err(wrong) = log.take(key, payload) {
                    log.wrong = Some(wrong);
                    return log;
                }
            }
        }
    }

    fn logs_of_nothing(&self, found: &mut Examined) {
        let mut range = Range::prefix(b"");
        loop {
            let Ok(first) = self.view.walk_damaged(Table::Events, &range, 1) else { return };
            let Some((log, _)) = first.first().and_then(|(key, _)| key.split_last_chunk::<8>()) else { return };
            if !self.has(Table::Runs, log) {
                let run = last_id(log).map(|id| format!(" {}", RunId::from_bytes(id))).unwrap_or_default();
                let tenant = split_tenant(log).map(|(tenant, _)| format!(" of tenant {tenant}")).unwrap_or_default();
                found.warning(format!("there is a log of the run{run}{tenant}, and no such run"));
            }
            range.from = match Range::prefix(log).to {
                Bound::Excluded(next) => Bound::Included(next),
                // No key is the last that there can be.
                _ => return,
            };
        }
    }

    /// Deliveries: their runs are there, and those that are pending are in the list of the pending.
    pub(super) fn deliveries(&self) -> Examined {
        let mut found = Examined::new("deliveries");
        self.each::<Delivery>(Table::Deliveries, |tenant, key, delivery| {
            found.count += 1;
            let run = delivery.run_id;
            found.expect(self.has_run(tenant, run), || {
                format!("the delivery of run {run} of tenant {tenant} has no run")
            });
            let is_pending = delivery.status == DeliveryStatus::Pending;
            found.expect(self.has(Table::PendingDeliveries, key) == is_pending, || {
                format!(
                    "the delivery of run {run} of tenant {tenant} is {:?}, and the list of pending ones says otherwise",
                    delivery.status
                )
            });
        });
        self.each_key(Table::PendingDeliveries, |tenant, key, _| {
            found.expect(self.has(Table::Deliveries, key), || {
                format!("the list of pending deliveries of tenant {tenant} names one that is not there")
            });
        });
        found.done()
    }
}

impl Log {
    fn take(&mut self, key: &[u8], payload: &Bytes) -> Result<(), String> {
        let (first, events) = list_of(Table::Events, key, payload).map_err(|error| error.to_string())?;
        if first != self.last + 1 {
            return Err(format!("goes on with event {first} after {}", self.last));
        }
        for bytes in events {
            let number = self.last + 1;
            let event: Event = serde_json::from_slice(&bytes)
                .map_err(|error| format!("has an event {number} that does not read: {error}"))?;
            if event.seq != number {
                return Err(format!("has event {} in the place of {number}", event.seq));
            }
            if let Some(end) = self.end {
                return Err(format!("goes on after its end, which is event {end}"));
            }
            self.end = event.body.is_terminal().then_some(number);
            self.texts.extend(blob_of(&bytes));
            if let EventBody::RunStarted { tools, .. } = event.body {
                self.tools = tools;
            }
            self.last = number;
        }
        Ok(())
    }
}
