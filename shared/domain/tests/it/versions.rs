//! Two plan versions at once: while a cursor moves over the users, in whatever order events and steps come, the sums of
//! both versions stay those of the ladders.

use crate::streams::{Event, Stream, USERS, definition, stream};
use crate::world::{Arm, FIRST_DAY, arm_of};
use domain::fold::{self, Exposed, Fact, Seen};
use domain::ladder::{Dated, changes, ladder, rebuild, shifts};
use domain::{Day, Enrollment, ExperimentId, Moments, Plan, Unit};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The experiment whose second version is built.
const CHANGED: ExperimentId = ExperimentId(1);

type Rows = BTreeMap<Arm, BTreeMap<Day, Moments>>;

/// A partition with one experiment's second version half built.
struct Building {
    plans: Vec<Plan>,
    next: Plan,
    units: BTreeMap<u8, Unit>,
    stored: BTreeMap<(u8, i64, u16), (Day, crate::streams::Conversion)>,
    /// Running totals, and of the version being built what changed on each day.
    served: Rows,
    building: Rows,
    /// Users below it have tallies of both versions.
    cursor: u8,
    day: Day,
}

impl Building {
    fn plan_of(&self, e: &Enrollment) -> Option<&Plan> {
        self.plans
            .iter()
            .chain([&self.next])
            .find(|p| (p.experiment, p.version) == (e.experiment, e.plan_version))
    }

    fn conversions(&self, user: u8) -> Vec<Dated<'_>> {
        let own = self.stored.values().filter(|(_, c)| c.user == user);
        own.map(|(day, c)| Dated { day: *day, fact: fact(c) }).collect()
    }

    fn apply(&mut self, event: &Event) {
        let user = event.user();
        let before = self.units.get(&user).cloned().unwrap_or_default();
        let mut unit = before.clone();
        match event {
            Event::Exposure { experiment, variation, phase, at, .. } => {
                let plan = self.plans.iter().find(|p| p.experiment.0 == *experiment).unwrap();
                let seen = Seen { variation: *variation, at: *at, day: self.day, phase: *phase };
                let past = self.conversions(user);
                let exposed =
                    fold::expose(&mut unit, plan, seen, past.iter().map(|d| d.fact.clone())).unwrap();
                if exposed == Exposed::Enrolled && plan.experiment == CHANGED && user < self.cursor {
                    rebuild(&mut unit, &self.next, &past).unwrap();
                }
            }
            Event::Told { experiment, attribute, .. } => {
                fold::tell(&mut unit, ExperimentId(*experiment), *attribute, self.day);
            }
            Event::Conversion(c) => {
                let key = (user, c.experiment, c.key);
                if !self.stored.contains_key(&key) {
                    fold::convert(&mut unit, &fact(c), |e| self.plan_of(e)).unwrap();
                    self.stored.insert(key, (self.day, c.clone()));
                }
            }
        }
        for after in &unit.enrollments {
            let earlier = before.enrollment_of(after.experiment, after.plan_version);
            let plan = self.plan_of(after).unwrap().clone();
            for (from, to) in shifts(earlier, after) {
                let arm = arm_of(to.or(from).unwrap());
                let (rows, from_last) = match after.plan_version == self.next.version {
                    true => (&mut self.building, false),
                    false => (&mut self.served, true),
                };
                let days = rows.entry(arm).or_default();
                let last = days.values().next_back().cloned().filter(|_| from_last).unwrap_or_default();
                days.entry(self.day).or_insert(last).shift(&plan, from, to).unwrap();
            }
        }
        self.units.insert(user, unit);
    }

    /// The next user.
    fn step(&mut self) {
        let user = self.cursor;
        if user == USERS {
            return;
        }
        self.cursor += 1;
        let Some(mut unit) = self.units.get(&user).cloned() else { return };
        let steps = rebuild(&mut unit, &self.next, &self.conversions(user)).unwrap();
        for (day, from, to) in changes(&steps) {
            let days = self.building.entry(arm_of(to.or(from).unwrap())).or_default();
            days.entry(day).or_default().shift(&self.next, from, to).unwrap();
        }
        self.units.insert(user, unit);
    }

    /// The rows of an experiment under a plan, from the raw rows.
    fn ladders(&self, plan: &Plan) -> Rows {
        let mut rows = Rows::new();
        for (user, unit) in &self.units {
            let Some(enrollment) = unit.enrollment(plan.experiment) else { continue };
            let steps = ladder(plan, enrollment, &self.conversions(*user)).unwrap();
            for (day, from, to) in changes(&steps) {
                let days = rows.entry(arm_of(to.or(from).unwrap())).or_default();
                days.entry(day).or_default().shift(plan, from, to).unwrap();
            }
        }
        totals(rows)
    }
}

fn totals(mut rows: Rows) -> Rows {
    for days in rows.values_mut() {
        let mut total = Moments::default();
        for row in days.values_mut() {
            total.add(row).unwrap();
            *row = total.clone();
        }
    }
    rows
}

fn fact(c: &crate::streams::Conversion) -> Fact<'_> {
    Fact { experiment: ExperimentId(c.experiment), event: c.event, value: c.value, at: c.at }
}

/// The same at the end of every day.
fn assert_same(found: &Rows, expected: &Rows, last: Day) {
    let none = BTreeMap::new();
    for arm in found.keys().chain(expected.keys()) {
        for day in (FIRST_DAY..=last.0).map(Day) {
            let [found, expected] = [found, expected].map(|rows| {
                let days = rows.get(arm).unwrap_or(&none);
                days.range(..=day).next_back().map(|(_, m)| m.clone()).unwrap_or_default()
            });
            assert!(found.same(&expected), "{arm:?} {day}: {found:?}, expected {expected:?}");
        }
    }
}

fn run(stream: &Stream, next: &domain::definition::Definition, steps: &[u8]) -> Building {
    let plans = (1i64..).zip(&stream.definitions).map(|(id, d)| Plan::new(ExperimentId(id), 1, d)).collect();
    let mut building = Building {
        plans,
        next: Plan::new(CHANGED, 2, next),
        units: BTreeMap::new(),
        stored: BTreeMap::new(),
        served: Rows::new(),
        building: Rows::new(),
        cursor: 0,
        day: Day(FIRST_DAY),
    };
    let mut steps = steps.iter();
    for (days, events) in &stream.batches {
        building.day = Day(building.day.0 + days);
        for event in events {
            building.apply(event);
            (0..steps.next().copied().unwrap_or(0)).for_each(|_| building.step());
        }
    }
    (0..USERS).for_each(|_| building.step());
    building
}

proptest! {
    #![proptest_config(crate::cases(400))]

    #[test]
    fn both_versions_are_what_their_ladders_say(
        stream in stream(),
        next in definition(),
        steps in vec(prop_oneof![8 => Just(0u8), 1 => Just(1), 1 => Just(2)], 0..60),
    ) {
        let world = run(&stream, &next, &steps);
        let last = world.day;
        assert_same(&totals(world.building.clone()), &world.ladders(&world.next), last);
        let served: Rows = world.plans.iter().flat_map(|plan| world.ladders(plan)).collect();
        assert_same(&world.served, &served, last);
        // And so does every user's own state.
        for (user, unit) in &world.units {
            for e in &unit.enrollments {
                let plan = world.plan_of(e).unwrap();
                let steps = ladder(plan, e, &world.conversions(*user)).unwrap();
                prop_assert_eq!(steps.last().map(|(_, last)| last), Some(e));
            }
            let versions = unit.enrollments.iter().filter(|e| e.experiment == CHANGED).count();
            prop_assert!(versions == 0 || versions == 2, "{versions}");
        }
    }
}
