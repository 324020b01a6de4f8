//! Whole answers from users and their events: what must hold however they are spread.

use std::collections::BTreeMap;

use crate::answers::{DAY, after, in_cell, running};
use analyzer::known::Known;
use analyzer::live_stats::LiveStats;
use domain::fold::{self, Fact, Seen};
use domain::ladder::{Dated, ladder};
use domain::{Day, Decimal, Moments, Partition, Plan, Unit};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{ArmRow, Experiment};

#[derive(Debug, Clone)]
struct User {
    partition: u16,
    variation: i16,
    stratum: bool,
    /// Exposed at noon of this day.
    day: i32,
    /// Hours after the exposure, and worth.
    events: Vec<(i32, i64)>,
}

fn user() -> impl Strategy<Value = User> {
    let events = vec((-60i32..100, 1i64..5_000_000), 0..5);
    (0u16..4, 0i16..2, any::<bool>(), 0i32..4, events).prop_map(
        |(partition, variation, stratum, day, events)| User { partition, variation, stratum, day, events },
    )
}

fn experiment() -> Experiment {
    running(json!({
        "key": "whole",
        "variations": [{"key": "a"}, {"key": "b"}],
        "metrics": [
            {"key": "revenue", "event": "purchase", "type": "mean"},
            {"key": "bought", "event": "purchase", "type": "proportion"},
            {"key": "orders", "event": "purchase", "type": "count"},
            {"key": "basket", "type": "ratio", "numerator": "purchase"},
        ],
        "attribution": {"window_hours": 72},
        "analysis": {"cuped": {"lookback_days": 2, "gap_minutes": 60}},
    }))
}

/// The user's enrollment at the end of every day on which it changed.
fn days_of(user: &User, plan: &Plan) -> Vec<(Day, domain::Enrollment)> {
    let day = Day(DAY.0 + user.day);
    let at = day.start().plus(43_200_000_000);
    let fact = |&(hours, worth): &(i32, i64)| {
        let at = at.plus(i64::from(hours) * 3_600_000_000);
        Dated {
            day: at.day(),
            fact: Fact { experiment: plan.experiment, event: "purchase", value: Decimal(worth), at },
        }
    };
    let facts: Vec<Dated<'_>> = user.events.iter().map(fact).collect();
    let mut unit = Unit::default();
    let seen = Seen { variation: user.variation, at, day, phase: 0 };
    fold::expose(&mut unit, plan, seen, []).unwrap();
    ladder(plan, &unit.enrollments[0], &facts).unwrap()
}

/// Rows as a worker keeps them: running totals at the end of each day, by partition; or all in one.
fn rows(users: &[User], plan: &Plan, spread: bool) -> Vec<ArmRow> {
    let last = Day(DAY.0 + 30);
    let mut changes: BTreeMap<(u16, i16, &str, Day), Moments> = BTreeMap::new();
    for user in users {
        let mut before = None;
        for (day, step) in days_of(user, plan) {
            let (partition, day) = if spread { (user.partition, day) } else { (0, last) };
            let stratum = if user.stratum { "gold" } else { "" };
            let sums = changes.entry((partition, user.variation, stratum, day)).or_default();
            sums.shift(plan, before.as_ref(), Some(&step)).unwrap();
            before = Some(step);
        }
    }
    let mut totals: BTreeMap<(u16, i16, &str), Moments> = BTreeMap::new();
    changes
        .into_iter()
        .map(|((partition, variation, stratum, day), change)| {
            let total = totals.entry((partition, variation, stratum)).or_default();
            total.add(&change).unwrap();
            let mut row = in_cell((0, stratum), variation, day, total.clone());
            row.key.partition = Partition(partition);
            row
        })
        .collect()
}

fn answer(users: &[User], spread: bool) -> Value {
    let e = experiment();
    let known = Known::of(&e, &rows(users, &e.plan(), spread), None, after(40)).unwrap();
    serde_json::to_value(LiveStats::of(&known)).unwrap()
}

/// Of metric and comparison, the estimate in each way that it is made.
fn estimates(answer: &Value) -> Vec<[Option<f64>; 3]> {
    let metrics = answer["metrics"].as_array().unwrap().iter();
    let of = |comparison: &Value| {
        [
            &comparison["absolute"],
            &comparison["cuped"]["absolute"],
            &comparison["post_stratified"]["absolute"],
        ]
        .map(|reading| reading["effect"].as_f64())
    };
    metrics.map(|metric| of(&metric["comparisons"][0])).collect()
}

fn close(a: Option<f64>, b: Option<f64>, unit: f64) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * (a.abs() + b.abs() + unit),
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(crate::cases(60))]

    /// Over partitions and days, or all at once: the same bytes.
    #[test]
    fn it_does_not_matter_when_and_where_events_were_applied(users in vec(user(), 0..60)) {
        prop_assert_eq!(answer(&users, true), answer(&users, false));
    }

    #[test]
    fn the_order_of_users_does_not_matter(users in vec(user(), 2..40), turn in 1usize..40) {
        let mut turned = users.clone();
        turned.rotate_left(turn % users.len());
        prop_assert_eq!(answer(&users, true), answer(&turned, true));
    }

    #[test]
    fn swapping_the_arms_flips_every_sign(users in vec(user(), 0..60)) {
        let swapped: Vec<User> = users.iter().map(|u| User { variation: 1 - u.variation, ..u.clone() }).collect();
        let (one, other) = (answer(&users, true), answer(&swapped, true));
        for (a, b) in estimates(&one).into_iter().zip(estimates(&other)) {
            for (a, b) in a.into_iter().zip(b) {
                prop_assert!(close(a, b.map(|b| -b), 1e-3), "{a:?} {b:?}");
            }
        }
        prop_assert_eq!(&one["srm"], &other["srm"]);
    }

    #[test]
    fn worth_times_a_factor_is_an_effect_times_the_factor(users in vec(user(), 0..60), factor in 2i64..1_000) {
        let richer: Vec<User> = users
            .iter()
            .map(|u| User { events: u.events.iter().map(|(at, worth)| (*at, worth * factor)).collect(), ..u.clone() })
            .collect();
        let (one, other) = (answer(&users, true), answer(&richer, true));
        for (i, (a, b)) in estimates(&one).into_iter().zip(estimates(&other)).enumerate() {
            // Mean and ratio are of worth; the others count.
            let by = if i == 0 || i == 3 { factor as f64 } else { 1.0 };
            for (a, b) in a.into_iter().zip(b) {
                prop_assert!(close(a.map(|a| a * by), b, 1e-3 * by), "{i} {a:?} {b:?}");
            }
        }
    }
}
