//! How many events go into one transaction: as many as may, fewer where the database is too slow for so many.
//!
//! A transaction that takes longer than its time limit fails, and the same one would again. So each failure has the next
//! ones smaller, down to a single entry, and each commit lets them grow.

/// After a failure: so many times fewer.
const SMALLER: u64 = 4;
/// Where it grows from when it was down to a single entry.
const LEAST: u64 = 16;

pub struct Pace {
    events: u64,
    most: u64,
}

impl Pace {
    pub fn new(most: u64) -> Pace {
        Pace { events: most, most }
    }

    /// Events per transaction; 0 is a single entry, however many it has.
    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn failed(&mut self) {
        self.events /= SMALLER;
    }

    pub fn committed(&mut self) {
        self.events = self.events.saturating_mul(2).max(LEAST).min(self.most);
    }
}
