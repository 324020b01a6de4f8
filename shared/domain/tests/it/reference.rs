//! The reference event set: what 9,069 lines, folded in order of receipt, must roll up to.

use crate::definition;
use domain::fold::{self, Fact, Seen};
use domain::ladder::{Dated, ladder};
use domain::plan::Feature;
use domain::{Day, Decimal, ExperimentId, Moments, Plan, Timestamp, Unit};
use ethnum::I256;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(serde::Deserialize)]
struct Line {
    experiment: String,
    user_id: String,
    occurred_at: String,
    idempotency_key: String,
    /// Exposures have one.
    variation_index: Option<i16>,
    metric: Option<String>,
    value: Option<Decimal>,
}

const KEYS: [&str; 2] = ["exp_checkout", "exp_banner"];

/// Everything as received on one day.
struct Folded {
    plans: Vec<Plan>,
    units: BTreeMap<String, Unit>,
    /// Distinct conversions of a user: experiment, event, value, time.
    conversions: HashMap<String, Vec<(ExperimentId, String, Decimal, Timestamp)>>,
    duplicates: usize,
}

fn id(key: &str) -> ExperimentId {
    ExperimentId(1 + KEYS.iter().position(|k| *k == key).unwrap() as i64)
}

fn plan(key: &str, arms: usize) -> Plan {
    let variations: Vec<Value> = (0..arms).map(|i| json!({"key": format!("v{i}")})).collect();
    let metrics = json!([
        {"key": "revenue", "event": "purchase", "type": "mean"},
        {"key": "purchase", "type": "count"},
        {"key": "signup", "type": "mean"},
        {"key": "signups", "event": "signup", "type": "count"},
    ]);
    let read = definition::read(json!({"key": key, "variations": variations, "metrics": metrics}));
    Plan::new(id(key), 1, &read)
}

fn fold_all() -> Folded {
    let mut f = Folded {
        plans: vec![plan(KEYS[0], 3), plan(KEYS[1], 2)],
        units: BTreeMap::new(),
        conversions: HashMap::new(),
        duplicates: 0,
    };
    let mut keys = HashSet::new();
    for line in include_str!("../data/events_small.ndjson").lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let (experiment, at) = (id(&line.experiment), Timestamp::parse(&line.occurred_at).unwrap());
        let unit = f.units.entry(line.user_id.clone()).or_default();
        let stored = f.conversions.entry(line.user_id.clone()).or_default();
        if let Some(variation) = line.variation_index {
            let plan = &f.plans[experiment.0 as usize - 1];
            fold::expose(unit, plan, Seen { variation, at, day: Day(0), phase: 0 }, stored.iter().map(fact))
                .unwrap();
        } else if keys.insert((line.user_id, experiment, line.idempotency_key)) {
            stored.push((experiment, line.metric.unwrap(), line.value.unwrap(), at));
            let plans = &f.plans;
            fold::convert(unit, &fact(stored.last().unwrap()), |e| {
                plans.iter().find(|p| p.experiment == e.experiment)
            })
            .unwrap();
        } else {
            f.duplicates += 1;
        }
    }
    f
}

fn fact((experiment, event, value, at): &(ExperimentId, String, Decimal, Timestamp)) -> Fact<'_> {
    Fact { experiment: *experiment, event, value: *value, at: *at }
}

/// A decimal string in units of 10^-places.
fn scaled(text: &str, places: usize) -> I256 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<places$}").parse().unwrap()
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../data/expected.json")).unwrap()
}

fn sums(plan: &Plan, m: &Moments, event: &str) -> [I256; 5] {
    let e = plan.event_index(event).unwrap() as u16;
    let of = |a, b| m.product(plan, a, b);
    let (count, sum) = (Feature::Count(e), Feature::Sum(e));
    [
        of(Feature::One, Feature::Converted(e)),
        of(Feature::One, count),
        of(count, count),
        of(Feature::One, sum),
        of(sum, sum),
    ]
}

#[test]
fn the_event_set_rolls_up_to_the_expected_numbers() {
    let (f, expected) = (fold_all(), expected());
    assert_eq!(f.duplicates as u64, expected["totals"]["duplicates_dropped"]["conversion"].as_u64().unwrap());
    let (mut counted, mut before) = (0, 0);
    for (key, plan) in KEYS.iter().zip(&f.plans) {
        let wanted = &expected["experiments"][key];
        let mut arms = vec![Moments::default(); usize::from(plan.variations)];
        for e in f.units.values().filter_map(|u| u.enrollment(plan.experiment)) {
            arms[e.variation as usize].shift(plan, None, Some(e)).unwrap();
            before += e.before;
            counted += e.tallies.iter().map(|t| t.count).sum::<u32>();
        }
        let crossovers: i64 = arms.iter().map(|m| m.heads.crossovers).sum();
        assert_eq!(wanted["multiple_exposure_users"], crossovers);
        for (metric, wanted) in wanted["metrics"].as_object().unwrap() {
            for (i, (m, wanted)) in arms.iter().zip(wanted["arms"].as_array().unwrap()).enumerate() {
                assert_eq!(wanted["n"], m.heads.enrolled);
                assert_eq!(m.contributing(plan), I256::from(m.heads.enrolled));
                let whole = |name: &str| I256::from(wanted[name].as_i64().unwrap());
                let exact = |name: &str, places| scaled(wanted[name].as_str().unwrap(), places);
                let wanted = [
                    whole("converters"),
                    whole("conversions"),
                    whole("count_sum_squares"),
                    exact("sum_exact", 6),
                    exact("sum_squares_exact", 12),
                ];
                assert_eq!(sums(plan, m, metric), wanted, "{key} {metric} arm {i}");
            }
        }
    }
    assert_eq!(expected["totals"]["conversions_counted"], counted);
    assert_eq!(expected["totals"]["conversions_skipped"]["before_exposure"], before);
}

/// The same ladder by day of occurrence draws the chart of a backfill.
#[test]
fn the_ladder_by_day_of_occurrence_gives_the_daily_series() {
    let (f, expected) = (fold_all(), expected());
    let mut series = 0;
    for (key, plan) in KEYS.iter().zip(&f.plans) {
        let mut days: BTreeMap<Day, Vec<Moments>> = BTreeMap::new();
        let arms = usize::from(plan.variations);
        for (user, unit) in &f.units {
            let Some(e) = unit.enrollment(plan.experiment) else { continue };
            let conversions: Vec<Dated<'_>> =
                f.conversions[user].iter().map(|c| Dated { day: c.3.day(), fact: fact(c) }).collect();
            let mut occurred = e.clone();
            occurred.day = e.exposed_at.day();
            occurred.crossed.clear();
            occurred.earlier_seen = None;
            let mut last = None;
            for (day, step) in ladder(plan, &occurred, &conversions).unwrap() {
                let row = days.entry(day).or_insert_with(|| vec![Moments::default(); arms]);
                row[e.variation as usize].shift(plan, last.as_ref(), Some(&step)).unwrap();
                last = Some(step);
            }
        }
        let mut totals = vec![Moments::default(); arms];
        let mut by_day = days.into_iter().peekable();
        for wanted in expected["experiments"][key]["metrics"]["purchase"]["daily_cumulative_by_occurrence"]
            .as_array()
            .unwrap()
        {
            let day = Day::parse(wanted["day"].as_str().unwrap()).unwrap();
            while let Some((_, rows)) = by_day.next_if(|d| d.0 <= day) {
                totals.iter_mut().zip(&rows).for_each(|(t, r)| t.add(r).unwrap());
            }
            for (m, wanted) in totals.iter().zip(wanted["arms"].as_array().unwrap()) {
                let [converters, _, _, sum, squares] = sums(plan, m, "purchase");
                assert_eq!(wanted["n"], m.heads.enrolled, "{key} {day}");
                assert_eq!(I256::from(wanted["converters"].as_i64().unwrap()), converters, "{key} {day}");
                // Printed by a float: two and four decimals are exact in it.
                assert_eq!(scaled(&wanted["sum"].to_string(), 6), sum, "{key} {day}");
                assert_eq!(scaled(&wanted["sum_squares"].to_string(), 12), squares, "{key} {day}");
            }
            series += 1;
        }
    }
    assert!(series > 20, "{series} days compared");
}
