//! The rules of a decision, in one table: the first rule that holds decides.

use domain::definition::{Direction, Mode};
use serde::Serialize;

use crate::metric::guardrail::{Guarded, Outcome};
use crate::metric::reading::Reading;
use crate::metric::verdict::Verdict;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Ship,
    NoShip,
    KeepRunning,
}

/// Stable codes: why, or what is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    NotStarted,
    SrmMismatch,
    FilterImbalance,
    GuardrailHarmed,
    PrimaryWorse,
    EffectTooSmall,
    NoPrimaryMetric,
    PrimaryUndefined,
    PlannedSizeNotReached,
    NotSignificant,
    MdeMissing,
    MinDaysNotReached,
    GuardrailUndecided,
    Won,
    /// Stopped before anything else was certain.
    EndedUndecided,
}

/// What the rules look at, for one treatment.
pub struct Facts<'a> {
    pub started: bool,
    pub over: bool,
    pub srm_mismatch: bool,
    pub filter_imbalance: bool,
    pub guardrails: &'a [Reading<Guarded>],
    /// Of the primary metric; none: there is no primary metric.
    pub primary: Option<&'a Reading<Verdict>>,
    pub direction: Direction,
    pub mde: Option<f64>,
    pub full_days: i64,
    pub min_days: i64,
}

pub struct Rule {
    pub code: Code,
    pub decides: Decision,
    holds: fn(&Facts<'_>) -> bool,
}

const fn rule(code: Code, decides: Decision, holds: fn(&Facts<'_>) -> bool) -> Rule {
    Rule { code, decides, holds }
}

#[rustfmt::skip]
pub const RULES: [Rule; 14] = [
    rule(Code::NotStarted,            Decision::KeepRunning, |f| !f.started),
    // The arms are not comparable: no number below means anything.
    rule(Code::SrmMismatch,           Decision::NoShip,      |f| f.srm_mismatch),
    rule(Code::FilterImbalance,       Decision::NoShip,      |f| f.filter_imbalance),
    // Harm needs no further proof.
    rule(Code::GuardrailHarmed,       Decision::NoShip,      |f| f.guarded(Outcome::Harm)),
    rule(Code::PrimaryWorse,          Decision::NoShip,      |f| f.verdict().is_some_and(|v| v.significant && !v.improved)),
    // The interval leaves out every effect that is worth shipping.
    rule(Code::EffectTooSmall,        Decision::NoShip,      |f| f.days_reached() && f.size_reached() && f.too_small()),
    rule(Code::NoPrimaryMetric,       Decision::KeepRunning, |f| f.primary.is_none()),
    rule(Code::PrimaryUndefined,      Decision::KeepRunning, |f| f.primary.is_some() && f.verdict().is_none()),
    rule(Code::PlannedSizeNotReached, Decision::KeepRunning, |f| !f.size_reached()),
    rule(Code::NotSignificant,        Decision::KeepRunning, |f| f.verdict().is_some_and(|v| !v.significant)),
    rule(Code::MdeMissing,            Decision::KeepRunning, |f| f.mde.is_none()),
    rule(Code::MinDaysNotReached,     Decision::KeepRunning, |f| !f.days_reached()),
    // A margin is a promise to prove, not to hope.
    rule(Code::GuardrailUndecided,    Decision::KeepRunning, |f| f.unproven()),
    rule(Code::Won,                   Decision::Ship,        |f| f.verdict().is_some_and(|v| v.significant && v.improved)),
];

impl Facts<'_> {
    fn verdict(&self) -> Option<&Verdict> {
        self.primary.and_then(Reading::ok)
    }

    fn guarded(&self, outcome: Outcome) -> bool {
        self.guardrails.iter().any(|guarded| guarded.ok().is_some_and(|g| g.outcome == outcome))
    }

    /// A guardrail with a margin that has not passed, or one that cannot be read.
    fn unproven(&self) -> bool {
        let unproven = |g: &Guarded| g.margin.is_some() && g.outcome == Outcome::Undecided;
        self.guardrails.iter().any(|guarded| guarded.ok().is_none_or(unproven))
    }

    fn days_reached(&self) -> bool {
        self.full_days >= self.min_days
    }

    /// Only a fixed test has a size before which it says nothing.
    fn size_reached(&self) -> bool {
        self.verdict()
            .is_none_or(|v| v.mode != Mode::Fixed || v.users_needed.is_some_and(|needed| v.users >= needed))
    }

    fn too_small(&self) -> bool {
        self.verdict().zip(self.mde).is_some_and(|(v, mde)| match self.direction {
            Direction::Up => v.ci[1] < mde,
            Direction::Down => v.ci[0] > -mde,
        })
    }
}

/// The decision on one treatment, the codes that made it, and all that is in the way of shipping.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    pub decision: Decision,
    pub reasons: Vec<Code>,
    pub blockers: Vec<Code>,
}

pub fn judge(facts: &Facts<'_>) -> Judgement {
    let holding: Vec<&Rule> = RULES.iter().filter(|rule| (rule.holds)(facts)).collect();
    let decides = holding.first().map_or(Decision::KeepRunning, |rule| rule.decides);
    let codes = |of: &dyn Fn(Decision) -> bool| {
        holding.iter().filter(|rule| of(rule.decides)).map(|rule| rule.code).collect::<Vec<_>>()
    };
    let blockers = codes(&|decision| decision != Decision::Ship);
    match decides {
        Decision::KeepRunning if facts.over => {
            Judgement { decision: Decision::NoShip, reasons: vec![Code::EndedUndecided], blockers }
        }
        decision => Judgement { decision, reasons: codes(&|d| d == decision), blockers },
    }
}
