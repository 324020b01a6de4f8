//! A worker in memory: applies batches the way the apply transaction does, and keeps what the store would keep.

use crate::streams::{Conversion, Event, Stream};
use domain::codec::{decode_moments, decode_unit, encode_moments, encode_unit};
use domain::fold::{self, Fact, Seen};
use domain::ladder::{Dated, ladder};
use domain::{Day, Enrollment, ExperimentId, Moments, Plan, Unit};
use std::collections::BTreeMap;

pub const FIRST_DAY: i32 = 20_514;

/// Experiment, variation, phase, stratum: what a row of moments belongs to (besides its day).
pub type Arm = (i64, i16, u16, String);

pub fn arm_of(e: &Enrollment) -> Arm {
    (e.experiment.0, e.variation, e.phase, e.stratum().to_owned())
}

#[derive(Default)]
pub struct World {
    pub plans: BTreeMap<i64, Plan>,
    /// As stored.
    units: BTreeMap<u8, Vec<u8>>,
    /// Accepted conversions by (user, experiment, key), with the day they were applied.
    stored: BTreeMap<(u8, i64, u16), (Day, Conversion)>,
    /// As stored: the cumulative value at the end of the day.
    rows: BTreeMap<Arm, BTreeMap<Day, Vec<u8>>>,
    pub day: Day,
}

impl World {
    pub fn new(stream: &Stream) -> World {
        let plans = (1..).zip(&stream.definitions).map(|(id, d)| (id, Plan::new(ExperimentId(id), 1, d)));
        World { plans: plans.collect(), day: Day(FIRST_DAY), ..World::default() }
    }

    pub fn of(stream: &Stream) -> World {
        let mut world = World::new(stream);
        for (days, events) in &stream.batches {
            world.apply(*days, events);
        }
        world
    }

    /// One transaction, `days` after the last.
    pub fn apply(&mut self, days: i32, events: &[Event]) {
        self.day = Day(self.day.0 + days);
        let mut touched: BTreeMap<u8, Unit> = BTreeMap::new();
        for event in events {
            let user = event.user();
            let unit = touched.entry(user).or_insert_with(|| {
                self.units.get(&user).map(|b| decode_unit(b).unwrap()).unwrap_or_default()
            });
            match event {
                Event::Exposure { experiment, variation, phase, at, .. } => {
                    let seen = Seen { variation: *variation, at: *at, day: self.day, phase: *phase };
                    let history = self.stored.values().filter(|(_, c)| c.user == user).map(|(_, c)| fact(c));
                    fold::expose(unit, &self.plans[experiment], seen, history).unwrap();
                }
                Event::Told { experiment, attribute, .. } => {
                    fold::tell(unit, ExperimentId(*experiment), *attribute, self.day);
                }
                Event::Conversion(c) => {
                    let key = (c.user, c.experiment, c.key);
                    if !self.stored.contains_key(&key) {
                        self.stored.insert(key, (self.day, c.clone()));
                        fold::convert(unit, &fact(c), |e| self.plans.get(&e.experiment.0)).unwrap();
                    }
                }
            }
        }
        for (user, unit) in touched {
            self.store(user, &unit);
        }
    }

    fn store(&mut self, user: u8, unit: &Unit) {
        let before = self.unit(user);
        for enrollment in &unit.enrollments {
            let plan = &self.plans[&enrollment.experiment.0].clone();
            let earlier = before.enrollment(enrollment.experiment);
            let moved = earlier.filter(|e| e.stratum() != enrollment.stratum());
            if let Some(earlier) = moved {
                self.shift(plan, arm_of(earlier), Some(earlier), None);
            }
            let earlier = earlier.filter(|_| moved.is_none());
            self.shift(plan, arm_of(enrollment), earlier, Some(enrollment));
        }
        self.units.insert(user, encode_unit(unit));
    }

    fn shift(&mut self, plan: &Plan, arm: Arm, before: Option<&Enrollment>, after: Option<&Enrollment>) {
        let days = self.rows.entry(arm).or_default();
        let mut moments = days.values().next_back().map(|b| decode_moments(b).unwrap()).unwrap_or_default();
        moments.shift(plan, before, after).unwrap();
        days.insert(self.day, encode_moments(&moments));
    }

    pub fn unit(&self, user: u8) -> Unit {
        self.units.get(&user).map(|b| decode_unit(b).unwrap()).unwrap_or_default()
    }

    pub fn users(&self) -> impl Iterator<Item = u8> + '_ {
        self.units.keys().copied()
    }

    pub fn arms(&self) -> impl Iterator<Item = Arm> + '_ {
        self.rows.keys().cloned()
    }

    pub fn rows(&self, arm: &Arm) -> Vec<(Day, Moments)> {
        self.rows.get(arm).into_iter().flatten().map(|(day, b)| (*day, decode_moments(b).unwrap())).collect()
    }

    /// The arm as known at the end of `day`: the last row up to then, else zero.
    pub fn as_of(&self, arm: &Arm, day: Day) -> Moments {
        as_of(&self.rows(arm), day)
    }

    /// What verify computes of one enrollment, from raw rows alone.
    pub fn ladder(&self, user: u8, enrollment: &Enrollment) -> Vec<(Day, Enrollment)> {
        let raw = self.stored.values().filter(|(_, c)| c.user == user);
        let conversions: Vec<Dated<'_>> = raw.map(|(day, c)| Dated { day: *day, fact: fact(c) }).collect();
        ladder(&self.plans[&enrollment.experiment.0], enrollment, &conversions).unwrap()
    }
}

pub fn as_of(rows: &[(Day, Moments)], day: Day) -> Moments {
    rows.iter().rev().find(|r| r.0 <= day).map(|r| r.1.clone()).unwrap_or_default()
}

fn fact(c: &Conversion) -> Fact<'_> {
    Fact { experiment: ExperimentId(c.experiment), event: c.event, value: c.value, at: c.at }
}
