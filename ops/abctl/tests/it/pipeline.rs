//! The system's rules in memory: the batches a lane writes, read as JSON and folded by `domain`. What the whole
//! pipeline does, without any of its parts between.

use abctl::simulate::lane::{Batch, Lane, Plot};
use abctl::simulate::oracle::Counts;
use abctl::simulate::script::Habits;
use abctl::simulate::world::World;
use abctl::verify::recompute::{Days, Key};
use domain::attributes::{Attribute, Told};
use domain::definition::Definition;
use domain::fold::{self, Exposed, Fact, Seen};
use domain::ladder::{self, Dated};
use domain::{
    BatchId, Day, Decimal, Enrollment, ExperimentId, Moments, Partition, Plan, Timestamp, Unit, UnitId,
};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub const NOW: i64 = 1_790_000_000_000;
pub const PARTITIONS: u16 = 4;

pub fn plot(world: World, habits: Habits, seed: u64) -> Plot {
    let day = 86_400_000;
    Plot {
        world: Arc::new(world),
        habits,
        seed,
        start: (NOW / day - 8) * day,
        now: NOW,
        prefix: "t-".into(),
        tenant: "default".into(),
        keep_rows: true,
    }
}

#[derive(Deserialize)]
pub struct Body {
    #[serde(alias = "holdout", alias = "strata", alias = "pre_period_values", alias = "exclusions")]
    pub events: Vec<Item>,
}

#[derive(Deserialize, Debug)]
pub struct Item {
    /// None: what the route says.
    #[serde(rename = "type", default)]
    pub kind: String,
    pub user_id: String,
    pub experiment: Option<String>,
    variation: Option<String>,
    variation_index: Option<i16>,
    metric: Option<String>,
    value: Option<Decimal>,
    pub idempotency_key: Option<String>,
    pub occurred_at: Option<serde_json::Value>,
    stratum: Option<String>,
    covariate_name: Option<String>,
    excluded: Option<bool>,
}

pub struct StoredConversion {
    pub experiment: ExperimentId,
    pub event: String,
    value: Decimal,
    at: Timestamp,
    given: Option<Timestamp>,
    day: Day,
}

#[derive(Default)]
pub struct User {
    pub unit: Unit,
    pub conversions: BTreeMap<(ExperimentId, String), StoredConversion>,
}

pub struct Pipeline {
    pub plans: Vec<Plan>,
    pub definitions: Vec<Definition>,
    /// In their order, so that what a test picks from them is the same in every run.
    pub users: BTreeMap<String, User>,
    /// Running totals at the end of each day, as stored.
    pub moments: HashMap<ExperimentId, Days>,
    pub counts: Vec<Counts>,
    pub never_exposed: Vec<u64>,
    pub keys: Vec<String>,
}

impl Pipeline {
    pub fn new(world: &World) -> Pipeline {
        let definitions: Vec<Definition> = world
            .experiments
            .iter()
            .map(|e| {
                serde_json::from_str::<Definition>(&e.definition().to_string()).unwrap().checked().unwrap()
            })
            .collect();
        let plans: Vec<Plan> =
            (1..).zip(&definitions).map(|(i, d)| Plan::new(ExperimentId(i), 1, d)).collect();
        let counts = vec![Counts::default(); definitions.len() + 1];
        let keys = definitions.iter().map(|d| d.key.clone()).collect();
        let never_exposed = vec![0; plans.len()];
        let (users, moments) = (BTreeMap::new(), HashMap::new());
        Pipeline { plans, definitions, users, moments, counts, never_exposed, keys }
    }

    /// Applies a batch on `day`; moments rows are the running totals of that day.
    pub fn apply(&mut self, batch: &Batch, day: Day) {
        let body: Body = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!(body.events.len(), batch.events as usize);
        let route: Vec<&str> = batch.path.split('/').collect();
        let id = BatchId::derived("default", ExperimentId::NONE, "any", &batch.key);
        for (index, mut item) in body.events.into_iter().enumerate() {
            if let ["", "api", "v1", "experiments", experiment, kind] = route[..] {
                (item.experiment, item.kind) = (Some(experiment.to_owned()), kind.to_owned());
            }
            self.item(&item, id, &format!("@{}/{index}", batch.key), day);
        }
    }

    fn item(&mut self, item: &Item, batch: BatchId, keyless: &str, day: Day) {
        let slot = item.experiment.as_ref().map(|e| self.keys.iter().position(|k| k == e).unwrap());
        let given = item.occurred_at.as_ref().map(|t| match t {
            serde_json::Value::String(text) => Timestamp::parse(text).unwrap(),
            number => Timestamp::from_unix_number(&number.to_string()).unwrap(),
        });
        let at = given.unwrap_or(Timestamp::from_millis(NOW));
        let counts = slot.unwrap_or(self.plans.len());
        self.counts[counts].sent += 1;
        let user = self.users.entry(item.user_id.clone()).or_default();
        let before = user.unit.clone();
        match item.kind.as_str() {
            "exposure" | "holdout" => {
                let plan = &self.plans[slot.unwrap()];
                let by_key = item
                    .variation
                    .as_ref()
                    .map(|v| self.definitions[slot.unwrap()].variation_index(v).unwrap());
                let variation = match item.kind.as_str() {
                    "holdout" => -1,
                    _ => item.variation_index.unwrap_or_else(|| by_key.unwrap().try_into().unwrap()),
                };
                let history: Vec<Fact<'_>> = user.conversions.values().map(StoredConversion::fact).collect();
                match fold::expose(&mut user.unit, plan, Seen { variation, at, day, phase: 0 }, history)
                    .unwrap()
                {
                    Exposed::Enrolled => {
                        self.counts[counts].exposures += 1;
                        let named = user.conversions.keys().filter(|key| key.0 == plan.experiment);
                        self.never_exposed[counts] -= named.count() as u64;
                    }
                    Exposed::Repeated { .. } => self.counts[counts].deduplicated += 1,
                }
            }
            "conversion" => {
                let experiment = slot.map_or(ExperimentId::NONE, |s| self.plans[s].experiment);
                let key = (experiment, item.idempotency_key.clone().unwrap_or(keyless.to_owned()));
                let new = StoredConversion {
                    experiment,
                    event: item.metric.clone().unwrap(),
                    value: item.value.unwrap_or(Decimal::ONE),
                    at,
                    given,
                    day,
                };
                if let Some(old) = user.conversions.get(&key) {
                    let conflict = (&old.event, old.value) != (&new.event, new.value)
                        || (old.given.is_some() && new.given.is_some() && old.given != new.given);
                    self.counts[counts].deduplicated += 1;
                    self.counts[counts].conflicts += u64::from(conflict);
                    return;
                }
                self.counts[counts].conversions += 1;
                if slot.is_some() && user.unit.enrollment(experiment).is_none() {
                    self.never_exposed[counts] += 1;
                }
                self.counts[counts].keyless += u64::from(item.idempotency_key.is_none());
                let plans = &self.plans;
                fold::convert(&mut user.unit, &new.fact(), |e| {
                    plans.iter().find(|p| p.experiment == e.experiment)
                })
                .unwrap();
                user.conversions.insert(key, new);
            }
            told => {
                let value = item.value.unwrap_or_default();
                let name = item.covariate_name.as_deref().unwrap_or_default();
                let excluded = item.excluded.unwrap_or(true);
                let told_at = given;
                let attribute = match told {
                    "strata" => Attribute::Stratum { value: item.stratum.as_deref().unwrap(), at: told_at },
                    "pre-period" => Attribute::Covariate { name, value, at: told_at },
                    "exclusions" => Attribute::Exclusion { excluded, reason: None, batch },
                    other => panic!("type {other}"),
                };
                let experiment = self.plans[slot.unwrap()].experiment;
                let counts = &mut self.counts[counts];
                match (fold::tell(&mut user.unit, experiment, attribute, day), told) {
                    (Told::Changed, "strata") => counts.strata += 1,
                    (Told::Changed, "pre-period") => counts.pre_period += 1,
                    (Told::Changed, _) => counts.exclusions += 1,
                    (Told::Same, _) => counts.deduplicated += 1,
                    (Told::Conflict, _) => {
                        counts.deduplicated += 1;
                        counts.conflicts += 1;
                    }
                    (Told::TooMany, _) => panic!("{item:?}"),
                }
            }
        }
        let (after, partition) = (user.unit.clone(), partition(&item.user_id));
        for e in &after.enrollments {
            self.shift(partition, before.enrollment(e.experiment), e, day);
        }
    }

    fn shift(&mut self, partition: Partition, before: Option<&Enrollment>, after: &Enrollment, day: Day) {
        let plan = self.plans.iter().find(|p| p.experiment == after.experiment).unwrap();
        if before == Some(after) {
            return;
        }
        for (from, to) in ladder::shifts(before, after) {
            let of = to.or(from).unwrap();
            let stratum = of.stratum().to_owned();
            let key = Key { partition, variation: of.variation, stratum, phase: of.phase };
            let days = self.moments.entry(of.experiment).or_default().entry(key).or_default();
            let last = days.range(..=day).next_back().map(|(_, m)| m.clone()).unwrap_or_default();
            days.entry(day).or_insert(last).shift(plan, from, to).unwrap();
        }
    }

    /// Users by stratum, of one arm.
    pub fn strata(&self, experiment: ExperimentId, variation: i16) -> Vec<(String, i64)> {
        let mut users = BTreeMap::<String, i64>::new();
        for (key, days) in self.moments.get(&experiment).into_iter().flatten() {
            if key.variation == variation {
                let last = days.values().next_back().unwrap();
                *users.entry(key.stratum.clone()).or_default() += last.heads.enrolled;
            }
        }
        users.into_iter().filter(|(_, n)| *n != 0).collect()
    }

    /// Of one arm, over all partitions.
    pub fn total(&self, experiment: ExperimentId, variation: i16) -> Moments {
        let mut total = Moments::default();
        for (key, days) in self.moments.get(&experiment).into_iter().flatten() {
            if key.variation == variation {
                total.add(days.values().next_back().unwrap()).unwrap();
            }
        }
        total
    }
}

impl StoredConversion {
    pub fn fact(&self) -> Fact<'_> {
        Fact { experiment: self.experiment, event: &self.event, value: self.value, at: self.at }
    }

    pub fn dated(&self) -> Dated<'_> {
        Dated { day: self.day, fact: self.fact() }
    }
}

pub fn partition(user_id: &str) -> Partition {
    UnitId::of("default", user_id).partition(PARTITIONS)
}

/// Everything `lanes` lanes write, one lane after the other, each on days of its own.
pub fn play(plot: &Plot, lanes: u32, events: u64, size: u32) -> (Pipeline, abctl::simulate::oracle::Oracle) {
    let mut pipeline = Pipeline::new(&plot.world);
    let mut oracle = abctl::simulate::oracle::Oracle::new(&plot.world.experiments, plot.keep_rows);
    let mut batches = 0;
    for number in 0..lanes {
        let mut lane = Lane::new(plot, number, events);
        while let Some(batch) = lane.next(size) {
            batches += 1;
            let day = Day(20_700 + batches / 7);
            pipeline.apply(&batch, day);
            if batch.resend {
                pipeline.apply(&batch, day);
                lane.resent(&batch);
            }
        }
        oracle.merge(lane.finish());
    }
    (pipeline, oracle)
}
