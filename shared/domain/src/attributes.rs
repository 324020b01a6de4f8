//! What is told of a user besides what the user did: a stratum, named covariates, exclusions. Each keeps the day it
//! was applied, so the stored unit is their raw row: ladder, rebuild and verify read them from here.

use crate::{BatchId, Day, Decimal, Timestamp};

/// Covariates of one user in one experiment; past it a further name is refused.
pub const COVARIATES_MAX: usize = 20;
/// Exclusions of one user in one experiment; past it those are forgotten that changed nothing at the end of their day.
pub const EXCLUSIONS_MAX: usize = 16;

/// Where users are whose stratum was one more than whoever folds keeps apart; their own name is not kept.
pub const OTHER_STRATUM: &str = "(other)";

/// Of one user in one experiment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    pub stratum: Option<Said<String>>,
    /// Ascending by name; the empty name is the primary metric's own value.
    pub covariates: Vec<(String, Said<Decimal>)>,
    /// In stream order; before the first, nobody is excluded. Those that changed nothing are kept too: their requests
    /// may come again.
    pub exclusions: Vec<Exclusion>,
}

/// A value that sticks: what is said later changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    pub value: T,
    /// When it was so, if the client gave a time.
    pub at: Option<Timestamp>,
    /// When it was applied.
    pub day: Day,
    /// Accepted behind the user's exposure.
    pub after_exposure: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub excluded: bool,
    pub reason: Option<String>,
    /// The request that said so: when it comes again, it says nothing new.
    pub batch: BatchId,
    /// When it was applied.
    pub day: Day,
}

/// One thing told of a user in an experiment, ready to be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute<'a> {
    Stratum {
        value: &'a str,
        at: Option<Timestamp>,
    },
    /// A value from before the exposure: of the plan's event with this name, or (empty name) of the primary metric's.
    Covariate {
        name: &'a str,
        value: Decimal,
        at: Option<Timestamp>,
    },
    Exclusion {
        excluded: bool,
        reason: Option<&'a str>,
        batch: BatchId,
    },
}

/// What telling it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Changed,
    /// It was so already.
    Same,
    /// Something else was said first, and that sticks.
    Conflict,
    /// One name more than [`COVARIATES_MAX`].
    TooMany,
}

impl Attributes {
    /// `enrolled`: the user's exposure was accepted before this.
    pub fn tell(&mut self, attribute: Attribute<'_>, day: Day, enrolled: bool) -> Told {
        match attribute {
            Attribute::Stratum { value, at } => match &self.stratum {
                Some(said) => said.again(said.value == value || said.value == OTHER_STRATUM),
                None => {
                    self.stratum = Some(Said { value: value.to_owned(), at, day, after_exposure: enrolled });
                    Told::Changed
                }
            },
            Attribute::Covariate { name, value, at } => match self.position(name) {
                Ok(i) => self.covariates[i].1.again(self.covariates[i].1.value == value),
                Err(_) if self.covariates.len() >= COVARIATES_MAX => Told::TooMany,
                Err(i) => {
                    let said = Said { value, at, day, after_exposure: enrolled };
                    self.covariates.insert(i, (name.to_owned(), said));
                    Told::Changed
                }
            },
            Attribute::Exclusion { excluded, reason, batch } => self.exclude(excluded, reason, batch, day),
        }
    }

    pub fn covariate(&self, name: &str) -> Option<&Said<Decimal>> {
        self.position(name).ok().and_then(|i| self.covariates.get(i)).map(|(_, said)| said)
    }

    pub fn excluded(&self) -> bool {
        self.exclusions.last().is_some_and(|e| e.excluded)
    }

    pub fn is_empty(&self) -> bool {
        self.stratum.is_none() && self.covariates.is_empty() && self.exclusions.is_empty()
    }

    /// Values held, for whoever bounds memory by them.
    pub fn len(&self) -> usize {
        usize::from(self.stratum.is_some()) + self.covariates.len() + self.exclusions.len()
    }

    /// Every day on which something was applied.
    pub fn days(&self) -> impl Iterator<Item = Day> {
        let covariates = self.covariates.iter().map(|(_, said)| said.day);
        let exclusions = self.exclusions.iter().map(|e| e.day);
        self.stratum.iter().map(|said| said.day).chain(covariates).chain(exclusions)
    }

    /// As they stood at the end of `day`.
    pub fn as_of(&self, day: Day) -> Attributes {
        Attributes {
            stratum: self.stratum.clone().filter(|said| said.day <= day),
            covariates: self.covariates.iter().filter(|(_, said)| said.day <= day).cloned().collect(),
            exclusions: self.exclusions.iter().filter(|e| e.day <= day).cloned().collect(),
        }
    }

    /// As if everything had been applied on `day`.
    pub fn all_from(&mut self, day: Day) {
        self.stratum.iter_mut().for_each(|said| said.day = day);
        self.covariates.iter_mut().for_each(|(_, said)| said.day = day);
        self.exclusions.iter_mut().for_each(|exclusion| exclusion.day = day);
    }

    fn exclude(&mut self, excluded: bool, reason: Option<&str>, batch: BatchId, day: Day) -> Told {
        // A request that comes again says nothing new, whatever others have said since.
        let known = match self.exclusions.split_last() {
            Some((last, _)) if last.batch == batch => last.excluded == excluded,
            _ => self.exclusions.iter().any(|e| e.batch == batch && e.excluded == excluded),
        };
        if known {
            return Told::Same;
        }
        let told = if self.excluded() == excluded { Told::Same } else { Told::Changed };
        self.exclusions.push(Exclusion { excluded, reason: reason.map(str::to_owned), batch, day });
        if self.exclusions.len() > EXCLUSIONS_MAX {
            self.forget_exclusion();
        }
        told
    }

    /// Forgets the oldest one that no day's end shows.
    fn forget_exclusion(&mut self) {
        let all = &self.exclusions;
        let shows = |i: usize| {
            let before = i.checked_sub(1).is_some_and(|i| all[i].excluded);
            all[i].excluded != before && all[i].day != all[i + 1].day
        };
        if let Some(i) = (0..all.len() - 1).find(|i| !shows(*i)) {
            self.exclusions.remove(i);
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.covariates.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

impl<T> Said<T> {
    /// Whether it was accepted behind the exposure, or is of a time not before it.
    pub fn is_late(&self, exposed_at: Timestamp) -> bool {
        self.after_exposure || self.is_of_after(exposed_at)
    }

    pub(crate) fn is_of_after(&self, exposed_at: Timestamp) -> bool {
        self.at.is_some_and(|at| at >= exposed_at)
    }

    fn again(&self, same: bool) -> Told {
        if same { Told::Same } else { Told::Conflict }
    }
}
