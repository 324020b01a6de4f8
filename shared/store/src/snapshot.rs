//! What an answer about one experiment is made of, as it stood at one instant.

use crate::{ArmRow, ConversionRow, Counter, Experiment, UnitRow};
use domain::{Day, UnitId};

/// What an answer needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The end of this day; none = now.
    pub as_of: Option<Day>,
    /// Which rows of moments, by the experiment as it was found: its definition may say.
    pub moments: fn(&Experiment) -> Rows,
    pub counters: bool,
    pub user: Option<UnitId>,
    /// The user's.
    pub conversions: bool,
}

/// Rows of moments of the served plan version, no later than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    None,
    /// The last one of every key.
    Last,
    /// Every day's, in key order.
    EveryDay,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub experiment: Experiment,
    pub moments: Vec<ArmRow>,
    /// The experiment's, summed over partitions and days.
    pub counters: Vec<Counter>,
    /// None: not asked for, or nobody of the tenant.
    pub user: Option<UserRows>,
}

/// One user and what they did in every experiment, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRows {
    pub unit: UnitRow,
    /// In key order; empty unless asked for.
    pub conversions: Vec<ConversionRow>,
}

impl Asked {
    pub fn of(as_of: Option<Day>, moments: fn(&Experiment) -> Rows) -> Asked {
        Asked { as_of, moments, counters: false, user: None, conversions: false }
    }
}
