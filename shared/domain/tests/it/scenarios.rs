//! The contract's sentences, one by one, on one user.

use crate::definition;
use crate::streams::{Conversion, Event, Stream};
use crate::world::{FIRST_DAY, World};
use domain::attributes::{Attribute, Attributes, COVARIATES_MAX, EXCLUSIONS_MAX, Told};
use domain::definition::Crossovers;
use domain::plan::Feature;
use domain::{BatchId, Day, Decimal, ExperimentId, Timestamp};

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
    assert_eq!(w.as_of(&(1, 0, 0, String::new()), Day(FIRST_DAY + 1)).heads.enrolled, 0);
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
        let m = w.as_of(&(1, 0, 0, String::new()), Day(FIRST_DAY + day));
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

const FIRST_REQUEST: BatchId = BatchId(uuid::Uuid::from_u128(1));
const SECOND_REQUEST: BatchId = BatchId(uuid::Uuid::from_u128(2));

fn told(attribute: Attribute<'static>) -> Event {
    Event::Told { user: 0, experiment: 1, attribute }
}

fn country(value: &'static str) -> Event {
    told(Attribute::Stratum { value, at: None })
}

fn excluded(excluded: bool, batch: BatchId) -> Event {
    told(Attribute::Exclusion { excluded, reason: None, batch })
}

fn in_stratum(w: &World, stratum: &str, day: i32) -> (i64, i64) {
    let heads = w.as_of(&(1, 0, 0, stratum.to_owned()), Day(FIRST_DAY + day)).heads;
    (heads.enrolled, heads.after_exposure)
}

#[test]
fn a_stratum_told_early_waits_for_the_exposure() {
    let days = [(0, vec![country("DE")]), (1, vec![country("FR")]), (1, vec![exposure(1, 0, 0)])];
    let w = world(1, &days);
    assert_eq!(w.unit(0).waiting, []);
    assert_eq!([1, 2].map(|day| in_stratum(&w, "DE", day)), [(0, 0), (1, 0)]);
    assert_eq!(w.rows(&(1, 0, 0, String::new())), []);
}

/// The user moves from one row to another on the day it is told; what was answered before stays answered.
#[test]
fn a_stratum_told_late_moves_the_user_and_is_flagged() {
    let days = [(0, vec![exposure(1, 0, 0)]), (1, vec![country("DE")]), (1, vec![country("FR")])];
    let w = world(1, &days);
    assert_eq!([0, 1, 2].map(|day| in_stratum(&w, "", day)), [(1, 0), (0, 0), (0, 0)]);
    assert_eq!([0, 1, 2].map(|day| in_stratum(&w, "DE", day)), [(0, 0), (1, 1), (1, 1)]);
    assert_eq!(in_stratum(&w, "FR", 2), (0, 0));
}

/// A value of a time not before the exposure may hold the treatment's effect.
#[test]
fn a_covariate_counts_unless_it_is_of_after_the_exposure() {
    let value = |name, at: Option<i64>| {
        let at = at.map(|after| AT.plus(after));
        told(Attribute::Covariate { name, value: Decimal(7_000_000), at })
    };
    for (attribute, sum, late) in [
        (value("purchase", None), 7_000_000, 0),
        (value("purchase", Some(-1)), 7_000_000, 0),
        (value("purchase", Some(0)), 0, 1),
        (value("", Some(-1)), 0, 0),
        (value("unused", Some(-1)), 0, 0),
    ] {
        let w = world(1, &[(0, vec![attribute.clone(), exposure(1, 0, 0)])]);
        let m = w.as_of(&(1, 0, 0, String::new()), Day(FIRST_DAY));
        let kept = m.product(&w.plans[&1], Feature::One, Feature::PreSum(1));
        assert_eq!((kept.as_i64(), m.heads.after_exposure), (sum, late), "{attribute:?}");
    }
    // Without a name it is the primary metric's own: whether the user converted.
    let w = world(1, &[(0, vec![value("", None), exposure(1, 0, 0)])]);
    let m = w.as_of(&(1, 0, 0, String::new()), Day(FIRST_DAY));
    assert_eq!(m.product(&w.plans[&1], Feature::One, Feature::PreConverted(0)), 1);
}

#[test]
fn an_exclusion_is_lifted_and_its_request_sent_again_changes_nothing() {
    let days = [
        (0, vec![exposure(1, 0, 0), excluded(true, FIRST_REQUEST)]),
        (1, vec![excluded(false, SECOND_REQUEST)]),
        (1, vec![excluded(true, FIRST_REQUEST)]),
    ];
    let w = world(1, &days);
    let shown = |day: i32| {
        let m = w.as_of(&(1, 0, 0, String::new()), Day(FIRST_DAY + day));
        (m.heads.enrolled, m.heads.excluded, m.contributing(&w.plans[&1]).as_i64())
    };
    assert_eq!([0, 1, 2].map(shown), [(1, 1, 0), (1, 0, 1), (1, 0, 1)]);
}

/// However often it is changed, every day ends as it ended.
#[test]
fn exclusions_without_end_are_bounded() {
    let changes = |n: u128| {
        let batch = |i| BatchId(uuid::Uuid::from_u128(1000 * n + i));
        (0..n).map(|i| excluded(i % 2 == 0, batch(i))).collect::<Vec<_>>()
    };
    let days = [(0, vec![exposure(1, 0, 0)]), (1, changes(99)), (1, changes(100)), (1, changes(101))];
    let w = world(1, &days);
    let unit = w.unit(0);
    assert!(unit.enrollments[0].attributes.exclusions.len() <= EXCLUSIONS_MAX);
    let ended = |day: i32| w.as_of(&(1, 0, 0, String::new()), Day(FIRST_DAY + day)).heads.excluded;
    assert_eq!([0, 1, 2, 3].map(ended), [0, 1, 0, 1]);
    let mut steps = w.ladder(0, &unit.enrollments[0]);
    steps.dedup_by_key(|(_, e)| e.attributes.excluded());
    assert_eq!(steps.iter().map(|s| s.0.0 - FIRST_DAY).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn covariates_without_end_are_refused() {
    let mut attributes = Attributes::default();
    for i in 0..COVARIATES_MAX + 5 {
        let name = format!("c{i}");
        let covariate = Attribute::Covariate { name: &name, value: Decimal(1), at: None };
        let expected = if i < COVARIATES_MAX { Told::Changed } else { Told::TooMany };
        assert_eq!(attributes.tell(covariate, Day(0), false), expected);
    }
    let known = |value| Attribute::Covariate { name: "c0", value: Decimal(value), at: None };
    assert_eq!(attributes.tell(known(1), Day(1), true), Told::Same);
    assert_eq!(attributes.tell(known(2), Day(1), true), Told::Conflict);
}
