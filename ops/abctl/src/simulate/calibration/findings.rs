//! What the methods said of the experiments, counted.

use super::LIFT;
use super::experiment::{DAYS, Look};
use analyzer::decision::rules::Decision;
use analyzer::metric::adjusted::Cuped;
use analyzer::metric::comparison::Comparison;
use analyzer::metric::reading::Readings;
use analyzer::sample_ratio::SampleRatio;
use analyzer::stats::Alpha;
use analyzer::stats::arms::ProportionArm;
use analyzer::stats::small_counts::wilson;
use serde::Serialize;

/// One method over all experiments.
#[derive(Debug, Serialize)]
pub struct Line {
    pub method: &'static str,
    /// The share promised; none: shown for comparison.
    pub promised: Option<Promise>,
    pub runs: u32,
    pub found: u32,
    pub share: f64,
    /// Wilson's, at 99%.
    pub interval: [f64; 2],
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    AtMost(f64),
    AtLeast(f64),
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Promise::AtMost(share) => write!(f, "<= {:.0}%", 100.0 * share),
            Promise::AtLeast(share) => write!(f, ">= {:.0}%", 100.0 * share),
        }
    }
}

impl Line {
    fn of(method: &'static str, promised: Option<Promise>, found: u32, runs: u32) -> Line {
        let arm = ProportionArm { n: runs.into(), converters: found.into() };
        let interval = Alpha::new(0.01).and_then(|alpha| wilson(&arm, alpha).ok()).unwrap_or([0.0, 1.0]);
        Line { method, promised, runs, found, share: f64::from(found) / f64::from(runs.max(1)), interval }
    }

    /// The promised share is not outside the interval on the wrong side.
    pub fn holds(&self) -> bool {
        match self.promised {
            Some(Promise::AtMost(most)) => self.interval[0] <= most,
            Some(Promise::AtLeast(least)) => self.interval[1] >= least,
            None => true,
        }
    }
}

const ALPHA: f64 = 0.05;
const LAST: u16 = DAYS - 1;

/// How an effect is estimated: plainly, adjusted by the time before the exposure, averaged over strata.
fn estimates<'a>(comparison: &'a Comparison<'_>) -> [Option<&'a Readings>; 3] {
    let adjusted = match &comparison.cuped {
        Cuped::Ok(adjustment) => Some(&adjustment.readings),
        Cuped::Unavailable { .. } => None,
    };
    [Some(&comparison.readings), adjusted, comparison.post_stratified.as_ref()]
}

fn mean<'a>(look: &'a Look<'_>) -> Option<&'a Comparison<'a>> {
    look.stats.metrics.first().and_then(|metric| metric.comparisons.first())
}

fn fixed(readings: &Readings) -> bool {
    readings.relative.ok().is_some_and(|test| test.p_value < ALPHA)
}

fn sequential(readings: &Readings) -> bool {
    readings.sequential.relative.ok().is_some_and(|at| at.p_value < ALPHA)
}

/// Of experiments without an effect.
#[derive(Default)]
pub struct Found {
    now: [bool; FOUND.len()],
    total: [u32; FOUND.len()],
}

/// In the order of [`Found::see`].
const FOUND: [(&str, Option<Promise>); 11] = [
    ("fixed, once", Some(Promise::AtMost(ALPHA))),
    ("fixed, cuped, once", Some(Promise::AtMost(ALPHA))),
    ("fixed, post-stratified, once", Some(Promise::AtMost(ALPHA))),
    ("fixed, proportion, once", Some(Promise::AtMost(ALPHA))),
    ("fixed, at any look", None),
    ("sequential, at any look", Some(Promise::AtMost(ALPHA))),
    ("sequential, cuped, at any look", Some(Promise::AtMost(ALPHA))),
    ("bayesian, flat prior, once", Some(Promise::AtMost(ALPHA))),
    ("srm chi-square, once", Some(Promise::AtMost(ALPHA))),
    ("srm always-valid, at any look", Some(Promise::AtMost(ALPHA))),
    ("decision ships, at any look", Some(Promise::AtMost(ALPHA))),
];

impl Found {
    pub fn see(&mut self, look: &Look<'_>) {
        let (once, Some(comparison)) = (look.day == LAST, mean(look)) else { return };
        let [plain, cuped, stratified] = estimates(comparison);
        let proportion = look.stats.metrics.get(1).and_then(|metric| metric.comparisons.first());
        let believed = comparison.readings.bayesian.relative.ok().is_some_and(|belief| {
            belief.chance_to_win < ALPHA / 2.0 || belief.chance_to_win > 1.0 - ALPHA / 2.0
        });
        let (chi_square, always_valid) = match &look.stats.srm {
            SampleRatio::Ok(tested) => (tested.chi_square.mismatch, tested.always_valid.mismatch),
            SampleRatio::MismatchCertain { .. } => (true, true),
            SampleRatio::Undefined { .. } => (false, false),
        };
        let said = [
            once && plain.is_some_and(fixed),
            once && cuped.is_some_and(fixed),
            once && stratified.is_some_and(fixed),
            once && proportion.is_some_and(|of| fixed(&of.readings)),
            plain.is_some_and(fixed),
            plain.is_some_and(sequential),
            cuped.is_some_and(sequential),
            once && believed,
            once && chi_square,
            always_valid,
            look.decided.decision == Decision::Ship,
        ];
        self.now.iter_mut().zip(said).for_each(|(now, said)| *now |= said);
    }

    pub fn end(&mut self) {
        self.total.iter_mut().zip(self.now).for_each(|(total, now)| *total += u32::from(now));
        self.now = Default::default();
    }

    pub fn lines(&self, runs: u32) -> Vec<Line> {
        FOUND.iter().zip(self.total).map(|((name, promised), n)| Line::of(name, *promised, n, runs)).collect()
    }
}

/// Of experiments with one.
#[derive(Default)]
pub struct Holding {
    missed: bool,
    found: [bool; POWER.len()],
    covered: [u32; COVERAGE.len()],
    power: [u32; POWER.len()],
}

const COVERAGE: [(&str, f64); 4] = [
    ("fixed, once", 1.0 - ALPHA),
    ("fixed, cuped, once", 1.0 - ALPHA),
    ("fixed, post-stratified, once", 1.0 - ALPHA),
    ("sequential, at every look", 1.0 - ALPHA),
];
const POWER: [&str; 4] =
    ["fixed, once", "fixed, cuped, once", "fixed, post-stratified, once", "sequential, at any look"];

impl Holding {
    pub fn see(&mut self, look: &Look<'_>) {
        let Some(comparison) = mean(look) else { return };
        let holds = |ci: [f64; 2]| ci[0] <= LIFT && LIFT <= ci[1];
        let readings = &comparison.readings;
        self.missed |= readings.sequential.relative.ok().is_some_and(|at| !holds(at.ci));
        self.found[3] |= sequential(readings);
        if look.day != LAST {
            return;
        }
        for (i, readings) in estimates(comparison).into_iter().enumerate() {
            let test = readings.and_then(|readings| readings.relative.ok());
            self.covered[i] += u32::from(test.is_some_and(|test| holds(test.ci)));
            self.found[i] = readings.is_some_and(fixed);
        }
    }

    pub fn end(&mut self) {
        self.covered[3] += u32::from(!self.missed);
        self.power.iter_mut().zip(self.found).for_each(|(total, found)| *total += u32::from(found));
        (self.missed, self.found) = Default::default();
    }

    pub fn coverage(&self, runs: u32) -> Vec<Line> {
        let line = |((name, least), n): (&(&'static str, f64), u32)| {
            Line::of(name, Some(Promise::AtLeast(*least)), n, runs)
        };
        COVERAGE.iter().zip(self.covered).map(line).collect()
    }

    pub fn power(&self, runs: u32) -> Vec<Line> {
        POWER.iter().zip(self.power).map(|(name, n)| Line::of(name, None, n, runs)).collect()
    }
}
