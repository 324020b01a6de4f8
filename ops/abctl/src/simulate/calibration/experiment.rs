//! One simulated experiment: users who differ, come over ten days and buy before and after their exposure, folded as a
//! worker folds them and answered as the analyzer answers.

use super::CalibrationError;
use crate::simulate::rng::Rng;
use analyzer::decision::Decided;
use analyzer::known::Known;
use analyzer::live_stats::LiveStats;
use domain::attributes::Attribute;
use domain::definition::Definition;
use domain::fold::{self, Fact, Seen};
use domain::{Day, Decimal, ExperimentId, Moments, Partition, Plan, Timestamp, Unit};
use serde_json::json;
use std::collections::BTreeMap;
use store::{ArmRow, Experiment, MomentsKey, Status};

pub const USERS: u32 = 2_000;
pub const DAYS: u16 = 10;

/// What an experiment says at the end of a day.
pub struct Look<'a> {
    pub day: u16,
    pub stats: &'a LiveStats<'a>,
    pub decided: &'a Decided<'a>,
}

/// What becomes of one user.
pub struct Life {
    pub variation: i16,
    pub stratum: &'static str,
    pub at: Timestamp,
    /// When, and for how much.
    pub purchases: Vec<(Timestamp, i64)>,
}

pub struct Trial {
    experiment: Experiment,
    plan: Plan,
    lift: f64,
}

/// 2024-10-04.
const START: Day = Day(20_000);
const DAY_SECONDS: f64 = 86_400.0;
/// Before the exposure, what treatments cannot reach; and after it, what counts.
const BEFORE_DAYS: f64 = 3.0;
const GAP_SECONDS: f64 = 3_600.0;
/// Purchases of one user a day; who buys much before buys much after.
const RATES: [f64; 2] = [0.2, 3.0];

impl Trial {
    /// `lift`: what the treatment adds to the rate of purchases, and so to their mean value.
    pub fn new(lift: f64) -> Result<Trial, CalibrationError> {
        let definition: Definition = serde_json::from_value(json!({
            "key": "calibration",
            "variations": [{"key": "control"}, {"key": "treatment"}],
            "metrics": [
                {"key": "revenue", "event": "purchase", "type": "mean"},
                {"key": "bought", "event": "purchase", "type": "proportion"},
            ],
            "attribution": {"window_hours": 24},
            "analysis": {"mde": 0.02, "srm_alpha": 0.05, "cuped": {"lookback_days": 3, "gap_minutes": 60}},
        }))?;
        let definition = definition.checked()?;
        let id = ExperimentId(1);
        let plan = Plan::new(id, 1, &definition);
        let experiment = Experiment {
            id,
            tenant: "default".into(),
            key: definition.key.clone(),
            definition,
            plan_version: 1,
            revision: 1,
            status: Status::Running,
            created_at: START.start(),
            started_at: Some(START.start()),
            stopped_at: None,
            rebuild: None,
            phases: Vec::new(),
            purged_at: None,
        };
        Ok(Trial { experiment, plan, lift })
    }

    /// Looks at the end of every day.
    pub fn run(&self, seed: u64, run: u64, mut see: impl FnMut(&Look<'_>)) -> Result<(), CalibrationError> {
        let mut lives = self.lives(seed, run);
        let mut sums: BTreeMap<(i16, &str), Moments> = BTreeMap::new();
        for day in 0..DAYS {
            for life in lives.by_ref().take(USERS as usize / usize::from(DAYS)) {
                self.fold(&life, &mut sums)?;
            }
            let today = Day(START.0 + i32::from(day));
            let rows: Vec<ArmRow> = sums.iter().map(|(key, sums)| self.row(*key, today, sums)).collect();
            let now = Day(today.0 + 1).start();
            let known = Known::of(&self.experiment, &rows, None, now)?;
            let (stats, decided) = (LiveStats::of(&known), Decided::of(&known, now));
            see(&Look { day, stats: &stats, decided: &decided });
        }
        Ok(())
    }

    /// As it is asked for over HTTP.
    pub fn definition(&self) -> &Definition {
        &self.experiment.definition
    }

    /// Everybody of a run, in the order in which they come.
    pub fn lives(&self, seed: u64, run: u64) -> impl Iterator<Item = Life> {
        let mut rng = Rng::new(seed, run);
        let days = (0..DAYS).flat_map(|day| (0..USERS / u32::from(DAYS)).map(move |_| day));
        days.map(move |day| self.life(&mut rng, day))
    }

    fn life(&self, rng: &mut Rng, day: u16) -> Life {
        let variation = i16::from(rng.chance(0.5));
        let a_day = RATES[0] + (RATES[1] - RATES[0]) * rng.unit();
        let stratum = if a_day > 0.5 * (RATES[0] + RATES[1]) { "heavy" } else { "light" };
        let at = START.start().plus(micros((f64::from(day) + rng.unit()) * DAY_SECONDS));
        let lift = if variation == 1 { self.lift } else { 0.0 };
        let before = -(BEFORE_DAYS * DAY_SECONDS - GAP_SECONDS);
        let mut purchases = Vec::new();
        for (begin, end, rate) in [(before, 0.0, a_day), (0.0, DAY_SECONDS, a_day * (1.0 + lift))] {
            let mut after = begin - (1.0 - rng.unit()).ln() / rate * DAY_SECONDS;
            while after < end {
                let shift = if end == 0.0 { -GAP_SECONDS } else { 0.0 };
                purchases.push((at.plus(micros(after + shift)), rng.between(5, 51)));
                after -= (1.0 - rng.unit()).ln() / rate * DAY_SECONDS;
            }
        }
        Life { variation, stratum, at, purchases }
    }

    fn fold(&self, life: &Life, sums: &mut BTreeMap<(i16, &str), Moments>) -> Result<(), CalibrationError> {
        let (mut unit, experiment) = (Unit::default(), self.plan.experiment);
        fold::tell(
            &mut unit,
            experiment,
            Attribute::Stratum { value: life.stratum, at: None },
            life.at.day(),
        );
        let seen = Seen { variation: life.variation, at: life.at, day: life.at.day(), phase: 0 };
        fold::expose(&mut unit, &self.plan, seen, [])?;
        for (at, worth) in &life.purchases {
            let value = Decimal(worth * Decimal::ONE.0);
            let fact = Fact { experiment, event: "purchase", value, at: *at };
            fold::convert(&mut unit, &fact, |_| Some(&self.plan))?;
        }
        let sums = sums.entry((life.variation, life.stratum)).or_default();
        sums.shift(&self.plan, None, unit.enrollment(experiment))?;
        Ok(())
    }

    fn row(&self, (variation, stratum): (i16, &str), day: Day, moments: &Moments) -> ArmRow {
        let key = MomentsKey {
            experiment: self.plan.experiment,
            plan_version: self.plan.version,
            partition: Partition(0),
            variation,
            stratum: stratum.to_owned(),
            phase: 0,
        };
        ArmRow { key, day, moments: moments.clone() }
    }
}

#[allow(clippy::cast_possible_truncation)] // within a fortnight
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
