//! How entries are numbered, so that an entry written twice is seen once and one that is gone is missed.
//!
//! Each writer of a stream counts its entries (1, 2, 3 ..) and keeps a running total of their events. Numbers are
//! used up by entries that are, or may be, in the stream: one whose outcome is unknown is sent again, same number and
//! same bytes, until it is known; one that was refused before any doubt arose leaves its number to the next.
//! Pure, so that both sides can be tested against each other without a server.

use std::time::Duration;

/// Owners forget writers that are silent for so much stream time: nothing grows without bound.
pub const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);
/// A writer silent for so long begins anew under another id: the next number of a forgotten one would look like a
/// loss.
pub const RENEW_AFTER: Duration = Duration::from_secs(12 * 3600);

/// A writer's side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbering {
    settled: Stamp,
    open: Option<Open>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    stamp: Stamp,
    doubt: bool,
}

/// Number of an entry, and the writer's events up to and including it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    pub number: u64,
    pub total: u64,
}

/// What became of one attempt to write an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable as promised.
    Written,
    /// Certainly not in the stream.
    Refused,
    /// Timed out, connection lost, or too few replicas.
    Unknown,
}

/// What to do with the entry after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// Never written: the next entry takes the number.
    Dropped,
    /// Send the same number with the same bytes again.
    Resend,
}

impl Numbering {
    /// The stamp of the next entry, which must be settled as done or dropped before the next is opened.
    pub fn open(&mut self, events: u64) -> Stamp {
        let stamp = Stamp { number: self.settled.number + 1, total: self.settled.total + events };
        self.open = Some(Open { stamp, doubt: false });
        stamp
    }

    pub fn settle(&mut self, outcome: Outcome) -> Verdict {
        let Some(open) = self.open.as_mut() else { return Verdict::Done };
        match outcome {
            Outcome::Written => {
                self.settled = open.stamp;
                self.open = None;
                Verdict::Done
            }
            // A refusal of a later attempt says nothing of the earlier one.
            Outcome::Refused if !open.doubt => {
                self.open = None;
                Verdict::Dropped
            }
            Outcome::Refused | Outcome::Unknown => {
                open.doubt = true;
                Verdict::Resend
            }
        }
    }

    /// The last entry known to be written.
    pub fn settled(&self) -> Stamp {
        self.settled
    }
}

/// What an entry means to the owner of the partition, given the last one it applied of the same writer
/// (`Stamp::default()` of an unknown writer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Written twice: skip it.
    Duplicate,
    Next,
    /// Entries between the last and this one are gone, with so many events. Apply this one.
    Jump {
        lost_events: u64,
    },
}

/// Judges an entry that carries `stamp` and, by the headers of its frames, `events` events.
pub fn judge(last: Stamp, stamp: Stamp, events: u64) -> Judgement {
    if stamp.number <= last.number {
        Judgement::Duplicate
    } else if stamp.number == last.number + 1 {
        Judgement::Next
    } else {
        Judgement::Jump { lost_events: stamp.total.saturating_sub(last.total).saturating_sub(events) }
    }
}
