//! The system's rules in memory: the batches a lane writes, read as JSON and folded by `domain`. What the whole
//! pipeline does, without any of its parts between.

use abctl::simulate::lane::{Batch, Lane, Plot};
use abctl::simulate::oracle::Counts;
use abctl::simulate::script::Habits;
use abctl::simulate::world::World;
use abctl::verify::recompute::{Days, Key};
use domain::definition::Definition;
use domain::fold::{self, Exposed, Fact, Seen};
use domain::ladder::Dated;
use domain::{Day, Decimal, Enrollment, ExperimentId, Moments, Partition, Plan, Timestamp, Unit, UnitId};
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
    pub events: Vec<Item>,
}

#[derive(Deserialize, Debug)]
pub struct Item {
    #[serde(rename = "type")]
    pub kind: String,
    pub user_id: String,
    pub experiment: Option<String>,
    variation: Option<String>,
    variation_index: Option<i16>,
    metric: Option<String>,
    value: Option<Decimal>,
    pub idempotency_key: Option<String>,
    pub occurred_at: Option<serde_json::Value>,
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
    pub users: HashMap<String, User>,
    /// Running totals at the end of each day, as stored.
    pub moments: HashMap<ExperimentId, Days>,
    pub counts: Vec<Counts>,
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
        let plans = (1..).zip(&definitions).map(|(i, d)| Plan::new(ExperimentId(i), 1, d)).collect();
        let counts = vec![Counts::default(); definitions.len() + 1];
        let keys = definitions.iter().map(|d| d.key.clone()).collect();
        Pipeline { plans, definitions, users: HashMap::new(), moments: HashMap::new(), counts, keys }
    }

    /// Applies a batch on `day`; moments rows are the running totals of that day.
    pub fn apply(&mut self, batch: &Batch, day: Day) {
        let body: Body = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!(body.events.len(), batch.events as usize);
        for (index, item) in body.events.iter().enumerate() {
            self.item(item, &format!("@{}/{index}", batch.key), day);
        }
    }

    fn item(&mut self, item: &Item, keyless: &str, day: Day) {
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
            "exposure" => {
                let plan = &self.plans[slot.unwrap()];
                let by_key = item
                    .variation
                    .as_ref()
                    .map(|v| self.definitions[slot.unwrap()].variation_index(v).unwrap());
                let variation = item.variation_index.unwrap_or_else(|| by_key.unwrap().try_into().unwrap());
                let history: Vec<Fact<'_>> = user.conversions.values().map(StoredConversion::fact).collect();
                match fold::expose(&mut user.unit, plan, Seen { variation, at, day, phase: 0 }, history)
                    .unwrap()
                {
                    Exposed::Enrolled => self.counts[counts].exposures += 1,
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
                self.counts[counts].keyless += u64::from(item.idempotency_key.is_none());
                let plans = &self.plans;
                fold::convert(&mut user.unit, &new.fact(), |e| {
                    plans.iter().find(|p| p.experiment == e.experiment)
                })
                .unwrap();
                user.conversions.insert(key, new);
            }
            other => panic!("type {other}"),
        }
        let (after, partition) = (user.unit.clone(), partition(&item.user_id));
        for e in &after.enrollments {
            self.shift(partition, before.enrollment(e.experiment), e, day);
        }
    }

    fn shift(&mut self, partition: Partition, before: Option<&Enrollment>, after: &Enrollment, day: Day) {
        let plan = self.plans.iter().find(|p| p.experiment == after.experiment).unwrap();
        let key = Key { partition, variation: after.variation, stratum: String::new(), phase: after.phase };
        let days = self.moments.entry(after.experiment).or_default().entry(key).or_default();
        if before == Some(after) {
            return;
        }
        let last = days.range(..=day).next_back().map(|(_, m)| m.clone()).unwrap_or_default();
        days.entry(day).or_insert(last).shift(plan, before, Some(after)).unwrap();
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
