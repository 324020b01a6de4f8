//! What of a replay is settled.

use super::row::Reject;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A row's place: its input, the line it begins on, and of several rows of a line which one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    #[serde(skip)]
    pub input: usize,
    pub line: u64,
    /// Wide form: the metric.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub column: String,
}

/// What became of rows so far, those of earlier runs included as far as they were settled then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Acknowledged.
    pub received: u64,
    /// Of those answered after their commit: new, known before, put aside.
    pub recorded: u64,
    pub deduplicated: u64,
    pub dead_lettered: u64,
    /// Acknowledged, not yet committed when they were.
    pub queued: u64,
    pub rejected: u64,
    /// Outside `--since` and `--until`.
    pub skipped: u64,
}

impl Totals {
    pub fn add(&mut self, more: Totals) {
        self.received += more.received;
        self.recorded += more.recorded;
        self.deduplicated += more.deduplicated;
        self.dead_lettered += more.dead_lettered;
        self.queued += more.queued;
        self.rejected += more.rejected;
        self.skipped += more.skipped;
    }
}

/// A line of the rejects file.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    pub file: String,
    #[serde(flatten)]
    pub place: Place,
    pub error_code: String,
    pub detail: String,
    /// The row as it stands in the file.
    pub record: String,
}

/// Shared by the reader, the lanes, and whoever writes checkpoints. Lines are counted over all inputs, from 1.
#[derive(Default)]
pub struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    /// Line and number of the first row of every batch handed to a lane and not settled.
    outstanding: BTreeSet<(u64, u64)>,
    /// No row of a line below is still to be handed out by the reader.
    handed: u64,
    totals: Totals,
    /// Not yet in the file; the number keeps those of one line apart.
    rejects: BTreeMap<(u64, u64), Rejected>,
    next: u64,
}

impl Ledger {
    pub fn of(totals: Totals) -> Ledger {
        Ledger(Mutex::new(State { totals, ..State::default() }))
    }

    // Every change is one assignment or insertion: what a panicking thread left behind is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch whose first row is on `line` goes to a lane. Returns its ticket.
    pub fn hand_out(&self, line: u64) -> (u64, u64) {
        let mut state = self.state();
        state.next += 1;
        let ticket = (line, state.next);
        state.outstanding.insert(ticket);
        ticket
    }

    /// All rows of lines below `line` are handed out or settled.
    pub fn read_up_to(&self, line: u64) {
        self.state().handed = line;
    }

    /// Everything of the batch is acknowledged or rejected.
    pub fn settle(&self, ticket: (u64, u64), totals: Totals) {
        let mut state = self.state();
        state.outstanding.remove(&ticket);
        state.totals.add(totals);
    }

    pub fn skip(&self) {
        self.state().totals.skipped += 1;
    }

    pub fn reject(
        &self,
        line: u64,
        inputs: &[super::input::Input],
        place: Place,
        reject: Reject,
        record: String,
    ) {
        let file = inputs.get(place.input).map(|i| i.name.clone()).unwrap_or_default();
        let Reject { error_code, detail } = reject;
        let rejected = Rejected { file, place, error_code: error_code.into_owned(), detail, record };
        let mut state = self.state();
        state.next += 1;
        let at = (line, state.next);
        state.rejects.insert(at, rejected);
        state.totals.rejected += 1;
    }

    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// Up to which line everything is settled, and the rejects up to there that are not in the file yet.
    pub fn settled(&self) -> (u64, Vec<Rejected>, Totals) {
        let mut state = self.state();
        let open = state.outstanding.first().map_or(u64::MAX, |first| first.0);
        let settled = open.min(state.handed).saturating_sub(1);
        let later = state.rejects.split_off(&(settled + 1, 0));
        let rejects = std::mem::replace(&mut state.rejects, later).into_values().collect();
        (settled, rejects, state.totals)
    }
}
