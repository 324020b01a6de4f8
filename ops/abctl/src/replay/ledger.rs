//! What of a replay is settled.

use super::input::Input;
use super::row::Reject;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
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

impl Rejected {
    pub fn of(inputs: &[Input], place: Place, reject: Reject, record: String) -> Rejected {
        let file = inputs.get(place.input).map(|i| i.name.clone()).unwrap_or_default();
        let Reject { error_code, detail } = reject;
        Rejected { file, place, error_code: error_code.into_owned(), detail, record }
    }
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

    /// While it goes on: what there is any of.
    pub fn told(&self) -> String {
        let columns = [
            ("recorded", self.recorded),
            ("deduplicated", self.deduplicated),
            ("dead-lettered", self.dead_lettered),
            ("queued", self.queued),
            ("rejected", self.rejected),
        ];
        let some = columns.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}"));
        some.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { received, recorded, deduplicated, dead_lettered, queued, rejected, skipped: _ } = self;
        write!(
            f,
            "received={received} recorded={recorded} deduplicated={deduplicated} dead={dead_lettered} \
             queued={queued} rejected={rejected}"
        )
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
///
/// Reading goes in windows of lines, and no batch holds rows of two: what became of the lines up to the end of a window
/// is known exactly once all its batches are settled, and only that is ever made durable. So a run that goes on behind
/// it counts no row twice.
pub struct Ledger(Mutex<State>);

struct State {
    /// The oldest that is not settled first; the last one is being read.
    windows: VecDeque<Window>,
    /// Number of the oldest one.
    first: u64,
    /// Up to which line everything is settled, and what became of it.
    settled: u64,
    totals: Totals,
    /// Of settled lines, not yet in the file.
    rejects: Vec<Rejected>,
}

#[derive(Default)]
struct Window {
    /// Its last line; none: it is being read.
    end: Option<u64>,
    /// Batches handed to lanes and not settled.
    outstanding: u64,
    totals: Totals,
    /// With their lines.
    rejects: Vec<(u64, Rejected)>,
}

/// Of which window a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Ledger {
    /// Of a run that goes on behind the line `settled`.
    pub fn of(settled: u64, totals: Totals) -> Ledger {
        let windows = VecDeque::from([Window::default()]);
        Ledger(Mutex::new(State { windows, first: 0, settled, totals, rejects: Vec::new() }))
    }

    // Every change is one assignment or insertion: what a panicking thread left behind is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch of the window being read goes to a lane.
    pub fn hand_out(&self) -> Ticket {
        let mut state = self.state();
        let ticket = state.reading();
        if let Some(window) = state.window(ticket) {
            window.outstanding += 1;
        }
        ticket
    }

    /// The line `end` was the last one of the window being read.
    pub fn close(&self, end: u64) {
        let mut state = self.state();
        if let Some(window) = state.windows.back_mut() {
            window.end = Some(end);
        }
        state.windows.push_back(Window::default());
    }

    /// Everything of the batch is acknowledged or rejected.
    pub fn settle(&self, ticket: Ticket, totals: Totals) {
        if let Some(window) = self.state().window(ticket) {
            window.outstanding -= 1;
            window.totals.add(totals);
        }
    }

    /// A row of the window being read is left out.
    pub fn skip(&self) {
        if let Some(window) = self.state().windows.back_mut() {
            window.totals.skipped += 1;
        }
    }

    /// A row on `line`, of a batch or of the window being read.
    pub fn reject(&self, ticket: Option<Ticket>, line: u64, rejected: Rejected) {
        let mut state = self.state();
        let ticket = ticket.unwrap_or(state.reading());
        if let Some(window) = state.window(ticket) {
            window.totals.rejected += 1;
            window.rejects.push((line, rejected));
        }
    }

    /// Up to which line everything is settled, the rejects up to there not told yet, and what became of those lines.
    pub fn settled(&self) -> (u64, Vec<Rejected>, Totals) {
        let mut state = self.state();
        while let Some(window) = state.windows.pop_front_if(|w| w.end.is_some() && w.outstanding == 0) {
            let Window { end, totals, mut rejects, .. } = window;
            state.first += 1;
            state.settled = end.unwrap_or(state.settled);
            state.totals.add(totals);
            rejects.sort_by_key(|(line, _)| *line);
            state.rejects.extend(rejects.into_iter().map(|(_, rejected)| rejected));
        }
        (state.settled, std::mem::take(&mut state.rejects), state.totals)
    }
}

impl State {
    fn reading(&self) -> Ticket {
        Ticket(self.first + self.windows.len() as u64 - 1)
    }

    fn window(&mut self, Ticket(number): Ticket) -> Option<&mut Window> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.windows.get_mut(at)
    }
}
