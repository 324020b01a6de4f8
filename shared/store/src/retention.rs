//! How long things are kept, and what is said of a purge.

use domain::{Day, Timestamp};

/// Days for which each kind is kept; `None`: for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Raw conversions, from the day on which they were applied. Those that an experiment may still count stay, and
    /// so does an experiment put away for less.
    pub conversions: Option<u32>,
    pub dead_letters: Option<u32>,
    pub audit: Option<u32>,
}

impl Kept {
    /// For the audit log.
    pub(crate) fn told(&self) -> String {
        let days = [
            ("conversions_days", self.conversions),
            ("dead_letters_days", self.dead_letters),
            ("audit_days", self.audit),
        ];
        let said = days.iter().filter_map(|(name, days)| days.map(|days| format!("\"{name}\":{days}")));
        format!("{{{}}}", said.collect::<Vec<_>>().join(","))
    }

    /// Whether nothing ever goes.
    pub fn is_everything(&self) -> bool {
        *self == Kept::default()
    }
}

/// How far a purge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Counts and deletes nothing.
    pub dry_run: bool,
    pub asked_at: Timestamp,
    pub conversions: Option<PurgeOf>,
    pub dead_letters: Option<PurgeOf>,
    pub audit: Option<PurgeOf>,
    pub done_partitions: u16,
    pub partitions: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeOf {
    /// What is of an earlier day goes.
    pub before: Day,
    /// Gone so far; of a dry run, would be.
    pub rows: u64,
}

/// What one step of a purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeCounts {
    pub conversions: u64,
    pub dead_letters: u64,
    pub audit: u64,
    /// Nothing is left to do in this partition.
    pub done: bool,
}
