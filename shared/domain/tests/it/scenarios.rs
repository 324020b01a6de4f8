//! The contract's sentences, one by one, on one user.

use crate::definition;
use crate::streams::{Conversion, Event, Stream};
use crate::world::{FIRST_DAY, World};
use domain::definition::Crossovers;
use domain::{Day, Decimal, ExperimentId, Timestamp};

const AT: Timestamp = Timestamp(1_772_409_600_000_000);
const HOUR: i64 = 3_600_000_000;

fn exposure(experiment: i64, variation: i16, after: i64) -> Event {
    Event::Exposure { user: 0, experiment, variation, phase: 0, at: AT.plus(after) }
}

fn purchase(experiment: i64, key: u16, after: i64) -> Event {
    Event::Conversion(Conversion {
        user: 0,
        experiment,
        event: "purchase",
        value: Decimal::ONE,
        at: AT.plus(after),
        key,
    })
}

fn world(experiments: usize, batches: &[(i32, Vec<Event>)]) -> World {
    World::of(&Stream { definitions: vec![definition::all_kinds(); experiments], batches: batches.to_vec() })
}

/// Whatever comes first and however often: once in each experiment the user is in, nothing in the fourth.
#[test]
fn a_tenants_conversion_counts_once_in_every_experiment_of_the_user() {
    let (a, b, c, buy) = (exposure(1, 0, 0), exposure(2, 1, 0), exposure(3, 2, 0), purchase(0, 1, HOUR));
    let orders = [
        vec![&a, &b, &c, &buy],
        vec![&buy, &a, &b, &c],
        vec![&a, &buy, &b, &c],
        vec![&buy, &a, &buy, &b, &buy, &c, &buy],
    ];
    for order in orders {
        let events: Vec<Event> = order.into_iter().cloned().collect();
        let together = world(4, &[(0, events.clone())]);
        let apart = world(4, &events.into_iter().map(|e| (1, vec![e])).collect::<Vec<_>>());
        for w in [together, apart] {
            let unit = w.unit(0);
            assert_eq!(unit.enrollments.iter().map(|e| e.experiment.0).collect::<Vec<_>>(), [1, 2, 3]);
            for e in &unit.enrollments {
                assert_eq!((e.tallies[1].count, e.tallies[1].sum), (1, 1_000_000));
            }
        }
    }
}

#[test]
fn a_key_is_one_event_per_experiment_and_one_for_the_tenant() {
    let w = world(
        2,
        &[(
            0,
            vec![
                exposure(1, 0, 0),
                exposure(2, 0, 0),
                purchase(0, 1, HOUR),
                purchase(1, 1, HOUR),
                purchase(1, 1, 2 * HOUR),
                purchase(2, 9, HOUR),
            ],
        )],
    );
    let counts: Vec<u32> = w.unit(0).enrollments.iter().map(|e| e.tallies[1].count).collect();
    assert_eq!(counts, [2, 2]);
}

/// What arrives before the exposure waits, and shows from the enrollment's day on.
#[test]
fn early_facts_take_effect_on_the_enrollments_day() {
    let w = world(1, &[(0, vec![purchase(1, 1, HOUR)]), (2, vec![exposure(1, 0, 0)])]);
    let steps = w.ladder(0, w.unit(0).enrollment(ExperimentId(1)).unwrap());
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].0, Day(FIRST_DAY + 2));
    assert_eq!(steps[0].1.tallies[1].count, 1);
    assert_eq!(w.as_of((1, 0, 0), Day(FIRST_DAY + 1)).heads.enrolled, 0);
}

/// As of the day before, the user still contributes: an answer about a past day never changes.
#[test]
fn a_crossover_is_excluded_from_the_day_it_is_seen() {
    let mut d = definition::all_kinds();
    d.crossovers = Crossovers::Exclude;
    let days = [
        vec![exposure(1, 0, 0)],
        vec![purchase(1, 1, HOUR)],
        vec![exposure(1, 2, -HOUR)],
        vec![purchase(1, 2, HOUR)],
    ];
    let w = World::of(&Stream { definitions: vec![d], batches: days.into_iter().map(|e| (1, e)).collect() });
    let plan = &w.plans[&1];
    let shown = |day: i32| {
        let m = w.as_of((1, 0, 0), Day(FIRST_DAY + day));
        let h = m.heads;
        (
            h.enrolled,
            h.excluded,
            h.earlier_seen,
            m.contributing(plan),
            m.product(plan, domain::plan::Feature::One, domain::plan::Feature::Sum(1)),
        )
    };
    let at = |enrolled, excluded, earlier, contributing: i64, sum: i64| {
        (enrolled, excluded, earlier, contributing.into(), sum.into())
    };
    assert_eq!(shown(1), at(1, 0, 0, 1, 0));
    assert_eq!(shown(2), at(1, 0, 0, 1, 1_000_000));
    assert_eq!(shown(3), at(1, 1, 1, 0, 0));
    assert_eq!(shown(4), at(1, 1, 1, 0, 0));
    // The ladder goes on counting what the filter hides: lifting it would show it again.
    let steps = w.ladder(0, &w.unit(0).enrollments[0]);
    assert_eq!(steps.iter().map(|s| s.1.tallies[1].count).collect::<Vec<_>>(), [0, 1, 1, 2]);
}

/// `before` counts every conversion before the exposure, whether or not it fell into the pre-exposure window.
#[test]
fn conversions_before_the_exposure_are_reported() {
    let far = 15 * 24 * HOUR;
    let events = vec![
        exposure(1, 0, 0),
        purchase(1, 1, -1),
        purchase(1, 2, -2 * HOUR),
        purchase(1, 3, -far),
        purchase(1, 4, 0),
    ];
    let w = world(1, &[(0, events)]);
    let e = &w.unit(0).enrollments[0];
    assert_eq!((e.before, e.tallies[1].pre_count, e.tallies[1].count), (3, 1, 1));
}
