//! The oracle against `domain`: two statements of the same rules that share no code.

use crate::deployment::abctl;
use crate::pipeline::{Body, play, plot};
use abctl::simulate::expect;
use abctl::simulate::lane::Lane;
use abctl::simulate::script::Habits;
use abctl::simulate::world::World;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

#[test]
fn oracle_and_fold_agree_on_everything_that_can_happen() {
    for seed in 0..6 {
        let plot = plot(World::varied("x-"), Habits::varied(), seed);
        let (pipeline, oracle) = play(&plot, 3, 6_000, 97);
        assert_eq!(oracle.counts, pipeline.counts, "seed {seed}");
        assert_eq!(oracle.never_exposed, pipeline.never_exposed, "seed {seed}");
        let truths = oracle.holdouts.iter().zip(&oracle.arms);
        for ((plan, definition), (holdout, arms)) in
            pipeline.plans.iter().zip(&pipeline.definitions).zip(truths)
        {
            for (variation, arm) in (-1..).zip([holdout].into_iter().chain(arms)) {
                let moments = pipeline.total(plan.experiment, variation);
                assert_eq!(expect::differences(definition, plan, &moments, arm), Vec::<String>::new());
                let strata = pipeline.strata(plan.experiment, variation);
                let expected: Vec<_> = arm.strata.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect();
                assert_eq!(strata, expected, "seed {seed}");
            }
        }
        let rows = oracle.rows.unwrap();
        let stored: usize = pipeline.users.values().map(|u| u.conversions.len()).sum();
        let enrolled: usize = pipeline.users.values().map(|u| u.unit.enrollments.len()).sum();
        assert_eq!((rows.conversions.len(), rows.enrollments.len()), (stored, enrolled));
    }
}

#[test]
fn a_varied_run_holds_every_case() {
    let plot = plot(World::varied("x-"), Habits::varied(), 7);
    let (_, oracle) = play(&plot, 2, 30_000, 500);
    let total = oracle.total();
    assert!(total.deduplicated > 1000 && total.conflicts > 20 && total.keyless > 100, "{total:?}");
    assert!(oracle.counts.iter().all(|c| c.conversions > 50), "{:?}", oracle.counts);
    assert!(total.strata > 500 && total.pre_period > 500 && total.exclusions > 500, "{total:?}");
    assert!(oracle.never_exposed.iter().any(|n| *n > 10), "{:?}", oracle.never_exposed);
    assert!(oracle.holdouts.iter().all(|h| h.enrolled > 20 && h.crossovers > 0), "{:?}", oracle.holdouts);
    let arms: Vec<_> = oracle.arms.iter().flatten().collect();
    assert!(arms.iter().all(|a| a.strata.len() == 4 && a.told_late > 10 && a.excluded > 5));
    assert!(arms.iter().all(|a| a.enrolled > 300));
    assert!(arms.iter().map(|a| a.before).sum::<i64>() > 100);
    assert!(arms.iter().any(|a| a.after_window > 10) && arms.iter().any(|a| a.excluded > 10));
    assert!(arms.iter().any(|a| a.crossovers > 10) && arms.iter().any(|a| a.earlier_seen > 10));
    assert!(arms.iter().flat_map(|a| &a.metrics).any(|m| m.y_pre != 0));
}

#[test]
fn no_time_lies_after_the_seventh_day() {
    let plot = plot(World::varied("x-"), Habits::varied(), 8);
    let last = plot.start + 7 * 86_400_000;
    let mut lane = Lane::new(&plot, 0, 20_000);
    while let Some(batch) = lane.next(1000) {
        let body: Body = serde_json::from_slice(&batch.body).unwrap();
        let numbers = body.events.iter().filter_map(|i| i.occurred_at.as_ref()?.as_i64());
        assert!(numbers.max().is_none_or(|at| at < last));
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let plot = plot(World::varied("x-"), Habits::varied(), 3);
    let bodies = |lane| {
        let mut lane = Lane::new(&plot, lane, 2_000);
        std::iter::from_fn(|| lane.next(300)).map(|b| (b.key.clone(), b.body)).collect::<Vec<_>>()
    };
    assert_eq!(bodies(0), bodies(0));
    assert_ne!(bodies(0), bodies(1));
}

#[test]
fn a_user_belongs_to_one_lane_and_a_plain_run_is_the_mixed_load() {
    let plot = plot(World::plain("x-"), Habits::plain(), 11);
    let mut lane_of = HashMap::new();
    let (mut exposures, mut repeats, mut conversions) = (0u32, 0u32, 0u32);
    for number in 0..3 {
        let mut lane = Lane::new(&plot, number, 20_000);
        let mut exposed = HashSet::new();
        while let Some(batch) = lane.next(1000) {
            let body: Body = serde_json::from_slice(&batch.body).unwrap();
            for item in body.events {
                assert_eq!(*lane_of.entry(item.user_id.clone()).or_insert(number), number);
                match item.kind.as_str() {
                    "exposure" => {
                        exposures += 1;
                        repeats += u32::from(!exposed.insert(item.user_id));
                    }
                    _ => {
                        conversions += 1;
                        assert!(item.idempotency_key.is_some());
                    }
                }
            }
        }
    }
    let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole);
    assert!((share(conversions, 60_000) - 0.3).abs() < 0.02, "{conversions}");
    assert!((share(repeats, exposures) - 0.2).abs() < 0.02, "{repeats} of {exposures}");
}

/// Experiments in this process keep the promises of every method; the same seed says the same.
#[test]
fn methods_keep_their_promises_on_experiments_without_an_effect() {
    let asked = ["--json", "simulate", "--aa", "--runs", "150", "--seed", "7"];
    let ran = |arguments: &[&str]| abctl(arguments, &[], None).ok();
    let shown = ran(&asked);
    let calibration: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&calibration["runs"], &calibration["looks"]), (&json!(150), &json!(10)));
    let share = |list: &str, method: &str| {
        let lines = calibration[list].as_array().unwrap();
        lines.iter().find(|line| line["method"] == method).unwrap()["share"].as_f64().unwrap()
    };
    // Looking every day costs the fixed test its level, and adjusting finds more.
    let peeking = calibration["false_positives"].as_array().unwrap();
    let peeking = peeking.iter().find(|line| line["method"] == "fixed, at any look").unwrap();
    assert!(peeking["promised"].is_null() && peeking["interval"][0].as_f64().unwrap() > 0.05, "{peeking}");
    assert!(share("power", "fixed, cuped, once") > share("power", "fixed, once"));
    assert_eq!(ran(&asked), shown);
    let table = ran(&["simulate", "--aa", "--runs", "20"]);
    assert!(
        table.contains("sequential, at any look") && table.contains("<= 5%") && !table.contains("broken"),
        "{table}"
    );
}
