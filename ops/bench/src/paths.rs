//! The four things that every event passes through without any I/O, each by itself and always on the same events: for
//! the micro-benchmarks, and for the guard that counts their instructions.

use abctl::simulate::Simulation;
use abctl::simulate::lane::Lane;
use abctl::simulate::script::Habits;
use abctl::simulate::world::World;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use domain::definition::Definition;
use domain::fold::{self, Fact, Seen};
use domain::{BatchId, Day, Decimal, Enrollment, ExperimentId, Moments, Plan, Timestamp, Unit, UnitId};
use foldhash::fast::FixedState;
use ingest_gateway::body::{self, Form, Shape};
use ingest_gateway::clock::Clock;
use ingest_gateway::frames::{self, Common};
use ingest_gateway::judge::{Judge, Targets};
use queue::catalogue::Entry;
use queue::frame::{self, Events};
use service::settings::{Settings, Tier};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use uuid::Uuid;

const NOW: i64 = 1_772_359_200_000;
const SEED: u64 = 10;
const EXPERIMENT: ExperimentId = ExperimentId(1);
const TENANT: &str = "default";
const PARTITIONS: u16 = 16;
/// Batches of a hundred.
const BATCH: u32 = 100;
pub const EVENTS: u64 = 2_000;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Path {
    /// The gateway: from a body to its frames.
    Accept,
    /// The worker: from frames to events.
    Decode,
    /// Every event into its unit.
    Fold,
    /// Every unit's change into its arm's sums.
    Moments,
}

impl Path {
    pub const ALL: [Path; 4] = [Path::Accept, Path::Decode, Path::Fold, Path::Moments];

    pub fn name(self) -> &'static str {
        match self {
            Path::Accept => "accept",
            Path::Decode => "decode",
            Path::Fold => "fold",
            Path::Moments => "moments",
        }
    }
}

/// The events, as every path wants them.
pub struct Inputs {
    settings: Settings,
    entry: Arc<Entry>,
    plan: Plan,
    bodies: Vec<Bytes>,
    frames: Vec<Vec<u8>>,
    /// In the order of the frames.
    events: Vec<(UnitId, What)>,
    /// One enrollment after the other, each before and after its last event.
    changes: Vec<(Option<Enrollment>, Enrollment)>,
}

/// An event as the fold wants it.
enum What {
    Exposure(Seen),
    Conversion { metric: String, value: Decimal, at: Timestamp },
}

/// Units by id; the same order, and the same cost, in every process.
type Units = HashMap<UnitId, Unit, FixedState>;

impl Inputs {
    pub fn new() -> Result<Inputs> {
        let mut plot = Simulation::varied(NOW, EVENTS, SEED).plot;
        (plot.world, plot.habits, plot.keep_rows) = (Arc::new(World::plain("sim-")), Habits::plain(), false);
        let experiment = plot.world.experiments.first().context("an experiment")?;
        let definition: Definition = serde_json::from_value(experiment.definition())?;
        let entry = Entry {
            id: EXPERIMENT,
            tenant: TENANT.to_owned(),
            key: experiment.key.clone(),
            status: "running".to_owned(),
            variations: experiment.arms.iter().map(|arm| arm.key.to_owned()).collect(),
            metrics: vec!["purchase".to_owned()],
            revision: 1,
        };
        let env = [("AB_REDIS_URL", "redis://127.0.0.1:1/0"), ("AB_API_TOKEN", "not-a-secret-0123456789")];
        let mut inputs = Inputs {
            settings: Settings::for_testing(Tier::Gateway, &env)?,
            entry: Arc::new(entry),
            plan: Plan::new(EXPERIMENT, 1, &definition),
            bodies: Vec::new(),
            frames: Vec::new(),
            events: Vec::new(),
            changes: Vec::new(),
        };
        let mut lane = Lane::new(&plot, 0, EVENTS);
        while let Some(batch) = lane.next(BATCH) {
            inputs.bodies.push(batch.body);
        }
        for body in &inputs.bodies {
            inputs.frames.extend(inputs.accept_one(body)?);
        }
        for frame in &inputs.frames {
            inputs.events.extend(events(frame)?);
        }
        inputs.changes = inputs.changes()?;
        Ok(inputs)
    }

    /// All the events along one path, once.
    pub fn run(&self, path: Path) -> Result<()> {
        match path {
            Path::Accept => {
                for body in &self.bodies {
                    black_box(self.accept_one(body)?);
                }
            }
            Path::Decode => self.decode()?,
            Path::Fold => drop(black_box(self.fold()?)),
            Path::Moments => drop(black_box(self.moments()?)),
        }
        Ok(())
    }

    /// How often one run does what is measured.
    pub fn times(&self, path: Path) -> u64 {
        match path {
            Path::Accept | Path::Decode | Path::Fold => EVENTS,
            Path::Moments => self.changes.len() as u64,
        }
    }

    fn accept_one(&self, body: &[u8]) -> Result<Vec<Vec<u8>>> {
        let rules = &self.settings.ingest;
        let parsed = body::parse(body, Shape::Events, Form::Json, rules.max_batch_events)
            .map_err(|refusal| anyhow!("{refusal:?}"))?;
        let clock = Clock::new(rules, Timestamp::from_millis(NOW), None);
        let known = [(self.entry.key.as_str(), Some(Arc::clone(&self.entry)))];
        let targets = Targets::Named(known.into_iter().collect());
        let judge = Judge { tenant: TENANT, partitions: PARTITIONS, clock, targets, strict: None };
        let mut faults = Vec::new();
        let slots = judge.slots(&parsed.items, &mut faults);
        anyhow::ensure!(faults.is_empty(), "{faults:?}");
        let batch = BatchId(Uuid::from_u128(1));
        let common = Common { batch, tenant: TENANT, request_id: "bench", traceparent: None, receipt: None };
        let frames = frames::encode(common, &clock, &parsed.items, slots)?;
        Ok(frames.into_iter().map(|frame| frame.bytes).collect())
    }

    fn decode(&self) -> Result<()> {
        for frame in &self.frames {
            black_box(frame::decode(frame)?);
        }
        Ok(())
    }

    fn fold(&self) -> Result<Units> {
        let mut units = Units::default();
        for (id, what) in &self.events {
            self.apply(what, units.entry(*id).or_default())?;
        }
        Ok(units)
    }

    fn apply(&self, what: &What, unit: &mut Unit) -> Result<()> {
        match what {
            What::Exposure(seen) => fold::expose(unit, &self.plan, *seen, None).map(|_| ())?,
            What::Conversion { metric, value, at } => {
                let fact = Fact { experiment: EXPERIMENT, event: metric, value: *value, at: *at };
                fold::convert(unit, &fact, |_| Some(&self.plan)).map(|_| ())?;
            }
        }
        Ok(())
    }

    fn changes(&self) -> Result<Vec<(Option<Enrollment>, Enrollment)>> {
        let (mut units, mut changes) = (Units::default(), Vec::new());
        for (id, what) in &self.events {
            let unit = units.entry(*id).or_default();
            let before = unit.enrollment(EXPERIMENT).cloned();
            self.apply(what, unit)?;
            let after = unit.enrollment(EXPERIMENT);
            if let Some(after) = after.filter(|after| before.as_ref() != Some(after)) {
                changes.push((before, after.clone()));
            }
        }
        Ok(changes)
    }

    fn moments(&self) -> Result<Moments> {
        let mut sums = Moments::default();
        for (before, after) in &self.changes {
            sums.shift(&self.plan, before.as_ref(), Some(after))?;
        }
        Ok(sums)
    }
}

fn events(frame: &[u8]) -> Result<Vec<(UnitId, What)>> {
    let mut all = Vec::new();
    let at = |given: Option<Timestamp>| given.unwrap_or(Timestamp::from_millis(NOW));
    for group in frame::decode(frame)?.groups {
        match group.events {
            Events::Exposures(events) => all.extend(events.into_iter().map(|e| {
                let seen =
                    Seen { variation: e.variation, at: at(e.occurred_given), day: Day(20_500), phase: 1 };
                (UnitId::of(TENANT, e.user_id), What::Exposure(seen))
            })),
            Events::Conversions(events) => all.extend(events.into_iter().map(|c| {
                let (metric, at) = (c.metric.to_owned(), at(c.occurred_given));
                (UnitId::of(TENANT, c.user_id), What::Conversion { metric, value: c.value, at })
            })),
            Events::Controls(_) => {}
        }
    }
    Ok(all)
}
