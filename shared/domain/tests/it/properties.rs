//! The promises P2, P4 and P5 as properties of random streams.

use crate::model;
use crate::streams::{Event, Stream, USERS, re_ordered, stream};
use crate::world::{Arm, FIRST_DAY, World, arm_of, as_of};
use domain::ladder::erase;
use domain::{Attributes, Day, Enrollment, Moments, Unit};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn days(world: &World) -> impl Iterator<Item = Day> + use<> {
    (FIRST_DAY - 1..=world.day.0 + 1).map(Day)
}

/// Everything a unit says but the days on which it came to say so.
fn undated(mut unit: Unit) -> Unit {
    for e in &mut unit.enrollments {
        e.day = Day(0);
        e.crossed.iter_mut().for_each(|c| c.1 = Day(0));
        e.earlier_seen = e.earlier_seen.map(|_| Day(0));
        undate(&mut e.attributes);
    }
    unit.waiting.iter_mut().for_each(|(_, attributes)| undate(attributes));
    unit
}

fn undate(attributes: &mut Attributes) {
    attributes.stratum.iter_mut().for_each(|said| said.day = Day(0));
    attributes.covariates.iter_mut().for_each(|(_, said)| said.day = Day(0));
    attributes.exclusions.iter_mut().for_each(|e| e.day = Day(0));
}

/// Rows as verify computes them: the ladders of all users added up, from nothing.
fn rows_from_ladders(world: &World) -> BTreeMap<Arm, BTreeMap<Day, Moments>> {
    let mut rows: BTreeMap<Arm, BTreeMap<Day, Moments>> = BTreeMap::new();
    for user in world.users() {
        for enrollment in &world.unit(user).enrollments {
            let plan = &world.plans[&enrollment.experiment.0];
            let mut before: Option<Enrollment> = None;
            for (day, after) in world.ladder(user, enrollment) {
                for (e, from, to) in [(before.as_ref(), true, false), (Some(&after), false, true)] {
                    let Some(e) = e else { continue };
                    let row = rows.entry(arm_of(e)).or_default().entry(day).or_default();
                    row.shift(plan, Some(e).filter(|_| from), Some(e).filter(|_| to)).unwrap();
                }
                before = Some(after);
            }
        }
    }
    for days in rows.values_mut() {
        let mut total = Moments::default();
        for step in days.values_mut() {
            total.add(step).unwrap();
            *step = total.clone();
        }
    }
    rows
}

fn without_user(stream: &Stream, user: u8) -> Stream {
    let mut rest = stream.clone();
    for (_, events) in &mut rest.batches {
        events.retain(|e| e.user() != user);
    }
    rest
}

proptest! {
    #![proptest_config(crate::cases(400))]

    #[test]
    fn rows_show_what_the_model_shows_day_by_day(stream in stream()) {
        let world = World::of(&stream);
        for day in days(&world) {
            let expected = model::expected(&stream, day);
            for (arm, expected) in &expected {
                let (definition, plan) = (&stream.definitions[arm.0 as usize - 1], &world.plans[&arm.0]);
                let shown = model::shown(definition, plan, &world.as_of(arm, day));
                prop_assert_eq!(&shown, expected, "{:?} {:?}", arm, day);
            }
            for arm in world.arms().filter(|arm| !expected.contains_key(arm)) {
                prop_assert!(world.as_of(&arm, day).same(&Moments::default()), "{:?} {:?}", arm, day);
            }
        }
    }

    #[test]
    fn rows_equal_the_ladders_day_by_day(stream in stream()) {
        let world = World::of(&stream);
        let recomputed = rows_from_ladders(&world);
        for arm in world.arms().chain(recomputed.keys().cloned()) {
            let rows: Vec<_> = recomputed.get(&arm).into_iter().flatten().map(|(day, m)| (*day, m.clone())).collect();
            for day in days(&world) {
                prop_assert!(as_of(&rows, day).same(&world.as_of(&arm, day)), "{:?} {:?}", arm, day);
            }
        }
    }

    #[test]
    fn a_ladder_ends_with_the_stored_enrollment(stream in stream()) {
        let world = World::of(&stream);
        for user in world.users() {
            for enrollment in &world.unit(user).enrollments {
                let steps = world.ladder(user, enrollment);
                prop_assert_eq!(&steps.last().unwrap().1, enrollment);
                prop_assert_eq!(steps[0].0, enrollment.day);
                prop_assert!(steps.is_sorted_by(|a, b| a.0 < b.0 && a.1 != b.1));
            }
        }
    }

    #[test]
    fn order_batches_and_copies_do_not_matter((one, other) in re_ordered()) {
        let (one, other) = (World::of(&one), World::of(&other));
        for user in 0..USERS {
            prop_assert_eq!(undated(one.unit(user)), undated(other.unit(user)));
        }
        let last = Day(i32::MAX);
        // A row that a user has passed through is zero, or was never written.
        for arm in one.arms().chain(other.arms()) {
            prop_assert!(one.as_of(&arm, last).same(&other.as_of(&arm, last)), "{:?}", arm);
        }
    }

    #[test]
    fn replaying_everything_changes_no_count(stream in stream()) {
        let mut world = World::of(&stream);
        let before: Vec<Unit> = (0..USERS).map(|u| world.unit(u)).collect();
        for (days, events) in &stream.batches {
            world.apply(*days, events);
        }
        for (user, before) in (0..).zip(before) {
            let mut after = world.unit(user);
            // The exposures come again, now behind later ones: only that they were seen may be new.
            for (e, b) in after.enrollments.iter_mut().zip(&before.enrollments) {
                (e.crossed, e.earlier_seen) = (b.crossed.clone(), b.earlier_seen);
            }
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn the_first_exposure_sticks(stream in stream()) {
        let mut world = World::new(&stream);
        for event in stream.events() {
            let Event::Exposure { user, experiment, .. } = event else {
                world.apply(0, std::slice::from_ref(event));
                continue;
            };
            let before = world.unit(*user);
            world.apply(1, std::slice::from_ref(event));
            let mut after = world.unit(*user);
            let id = domain::ExperimentId(*experiment);
            if let Some(b) = before.enrollment(id) {
                let e = &mut after.enrollments_mut(id)[0];
                (e.crossed, e.earlier_seen) = (b.crossed.clone(), b.earlier_seen);
            } else {
                // What waited for the exposure is in the enrollment now.
                let e = after.enrollment(id).unwrap().attributes.clone();
                prop_assert_eq!(Some(&e).filter(|a| !a.is_empty()), before.attributes(id));
                after.enrollments.retain(|e| e.experiment != id);
                after.waiting = before.waiting.clone();
            }
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn erasing_is_the_exact_inverse(stream in stream(), user in 0..USERS) {
        let (with, without) = (World::of(&stream), World::of(&without_user(&stream, user)));
        let unit = with.unit(user);
        for arm in with.arms() {
            let mut rows = with.rows(&arm);
            let ours = |e: &&Enrollment| (e.experiment.0, e.variation, e.phase) == (arm.0, arm.1, arm.2);
            let enrollment = unit.enrollments.iter().find(ours);
            if let Some(enrollment) = enrollment {
                rows = erase(&with.plans[&arm.0], &arm.3, &rows, &with.ladder(user, enrollment)).unwrap();
            }
            for day in days(&with) {
                prop_assert!(as_of(&rows, day).same(&without.as_of(&arm, day)), "{:?} {:?}", arm, day);
            }
        }
    }
}
