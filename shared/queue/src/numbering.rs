//! How entries are numbered, so that an entry written twice is seen once and one that is gone is missed.
//!
//! Each writer of a stream counts its entries (1, 2, 3 ..) and keeps a running total of their events. Numbers are
//! used up by entries that are, or may be, in the stream: one whose outcome is unknown is sent again, same number and
//! same bytes, until it is known; one that was refused before any doubt arose leaves its number to the next.
//! Pure, so that both sides can be tested against each other without a server.

use std::time::Duration;

/// Of stream time: 24 hours.
const FORGET_AFTER_MS: u64 = 24 * 3600 * 1000;
/// A writer silent for so long begins anew under another id: the next number of one that owners have forgotten would
/// look like a loss.
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

/// Whether the owner of a partition forgets a writer last seen at `seen_ms`, when the newest entry applied is of
/// `newest_ms`: so that the writers remembered do not grow without bound.
pub fn is_forgotten(seen_ms: u64, newest_ms: u64) -> bool {
    seen_ms.saturating_add(FORGET_AFTER_MS) < newest_ms
}

/// What an entry means to the owner of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Applied before: written twice, or met again after its writer was forgotten. Skip it.
    Duplicate,
    Apply(Since),
}

/// What an entry to be applied says of its writer's events since the last one applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// By the totals: events of this entry, and of those in between that are gone.
    pub events: u64,
    /// None is gone in between: all the events are, or were, in this entry.
    pub contiguous: bool,
}

/// Judges the entry `stamp` of `ms`, given the last one applied of the same writer (`None`: of an unknown writer) and
/// the time of the newest entry applied of any.
pub fn judge(last: Option<Stamp>, stamp: Stamp, ms: u64, newest_ms: u64) -> Judgement {
    // Unknown, and silent already when others were forgotten: a stream that is read again from its beginning shows
    // those once more.
    if last.is_none() && is_forgotten(ms, newest_ms) {
        return Judgement::Duplicate;
    }
    let last = last.unwrap_or_default();
    if stamp.number <= last.number {
        return Judgement::Duplicate;
    }
    Judgement::Apply(Since {
        events: stamp.total.saturating_sub(last.total),
        contiguous: stamp.number == last.number + 1,
    })
}

impl Since {
    /// Events that are gone when `found` are in the entry: those of entries in between, and those that the entry
    /// itself had and has not any more.
    pub fn lost(self, found: u64) -> u64 {
        self.events.saturating_sub(found)
    }

    /// Events to account for. Frames are believed when they hold more than the totals say.
    pub fn accepted(self, found: u64) -> u64 {
        self.events.max(found)
    }
}
