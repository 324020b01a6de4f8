//! What is told of users: strata, pre-period values, exclusions.

use crate::rig::{Rig, conversions, exposures, frame};
use domain::plan::Feature;
use domain::{BatchId, Decimal, ExperimentId, Moments};
use queue::frame::{Control, Events, Group};
use store::Experiment;
use uuid::Uuid;

const REVENUE: &str = r#"[{"key":"revenue","event":"purchase","type":"mean"}]"#;

on_both!(
    each_kind_has_its_effect_once,
    what_is_told_late_moves_the_user_and_yesterday_stays,
    a_user_nobody_has_seen_waits,
    what_cannot_be_told_is_a_dead_letter,
    strata_past_the_bound_are_merged,
);

fn told<'a>(experiment: ExperimentId, controls: Vec<Control<'a>>) -> Group<'a> {
    Group { experiment, after_stop: false, events: Events::Controls(controls) }
}

fn value<'a>(user_id: &'a str, covariate: Option<&'a str>, value: i64) -> Control<'a> {
    Control::PrePeriod { user_id, covariate, value: Decimal(value * 1_000_000), occurred_given: None }
}

fn country<'a>(user_id: &'a str, stratum: &'a str) -> Control<'a> {
    Control::Stratum { user_id, stratum, occurred_given: None }
}

fn exclusion(user_id: &str, excluded: bool) -> Control<'_> {
    Control::Exclusion { user_id, reason: Some("bot"), excluded }
}

fn batch() -> BatchId {
    BatchId(Uuid::now_v7())
}

/// Variation and stratum, users, excluded, users of metrics, sum before the exposure.
async fn arms(rig: &Rig, e: &Experiment) -> Vec<(i16, String, i64, i64, i64, i64)> {
    let plan = e.plan();
    let mut arms: Vec<_> = rig
        .store
        .answer(e, None)
        .await
        .unwrap()
        .into_iter()
        .map(|row| {
            let m: &Moments = &row.moments;
            let pre = m.product(&plan, Feature::One, Feature::PreSum(0)).as_i64() / 1_000_000;
            let users = m.contributing(&plan).as_i64();
            (row.key.variation, row.key.stratum, m.heads.enrolled, m.heads.excluded, users, pre)
        })
        .collect();
    arms.sort();
    arms
}

fn arm(variation: i16, stratum: &str, counts: [i64; 4]) -> (i16, String, i64, i64, i64, i64) {
    let [enrolled, excluded, users, pre] = counts;
    (variation, stratum.to_owned(), enrolled, excluded, users, pre)
}

async fn each_kind_has_its_effect_once(mut rig: Rig) {
    let e = rig.experiment("one", REVENUE).await;
    let request = frame(
        batch(),
        vec![
            told(e.id, vec![country("u", "DE"), country("v", "DE"), country("w", "FR")]),
            told(
                e.id,
                vec![value("u", Some("purchase"), 7), value("v", None, 5), value("w", Some("age"), 40)],
            ),
            exposures(&e, &[("u", 0, 0), ("v", 0, 0), ("w", 1, 0), ("h", -1, 0)]),
            conversions(e.id, &[("v", "purchase", 9, 60, "k")]),
            told(e.id, vec![exclusion("v", true)]),
        ],
    );
    let (first, again) = (rig.entry(std::slice::from_ref(&request)), rig.entry(&[request]));
    let applied = rig.apply(&[first]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.deduplicated), (12, 0));
    let expected = [arm(-1, "", [1, 0, 1, 0]), arm(0, "DE", [2, 1, 1, 7]), arm(1, "FR", [1, 0, 1, 0])];
    assert_eq!(arms(&rig, &e).await, expected);
    let applied = rig.apply(&[again]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.deduplicated), (0, 12));
    assert_eq!(rig.counter("conflicts").await, 0);

    let other = frame(
        batch(),
        vec![told(e.id, vec![country("u", "FR"), value("u", Some("purchase"), 8), exclusion("v", false)])],
    );
    let entry = rig.entry(&[other]);
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.deduplicated), (1, 2));
    assert_eq!(rig.counter("conflicts").await, 2);
    let expected = [arm(-1, "", [1, 0, 1, 0]), arm(0, "DE", [2, 0, 2, 12]), arm(1, "FR", [1, 0, 1, 0])];
    assert_eq!(arms(&rig, &e).await, expected);
    for (name, n) in [("pre_period", 3), ("strata", 3), ("exclusions", 2), ("exposures", 4)] {
        assert_eq!(rig.counter(name).await, n, "{name}");
    }
    rig.assert_books(&[&e]).await;
}

async fn what_is_told_late_moves_the_user_and_yesterday_stays(mut rig: Rig) {
    let e = rig.experiment("one", REVENUE).await;
    let seen = exposures(&e, &[("u", 0, 0)]);
    let monday = rig.entry(&[frame(batch(), vec![seen, conversions(e.id, &[("u", "purchase", 2, 9, "k")])])]);
    rig.next_day();
    let tuesday = rig.entry(&[frame(
        batch(),
        vec![told(e.id, vec![country("u", "DE"), value("u", None, 3), exclusion("u", true)])],
    )]);
    rig.apply(&[monday]).await.unwrap();
    let before = rig.store.answer(&e, None).await.unwrap();
    rig.apply(&[tuesday]).await.unwrap();
    assert_eq!(arms(&rig, &e).await, [arm(0, "", [0, 0, 0, 0]), arm(0, "DE", [1, 1, 0, 0])]);
    let rows = rig.store.answer(&e, None).await.unwrap();
    let late: i64 = rows.iter().map(|row| row.moments.heads.after_exposure).sum();
    assert_eq!(late, 1);
    assert_eq!(rig.store.answer(&e, Some(crate::rig::today())).await.unwrap(), before);
    rig.assert_books(&[&e]).await;
}

/// The state is read back from the database before the exposure comes.
async fn a_user_nobody_has_seen_waits(mut rig: Rig) {
    let e = rig.experiment("one", REVENUE).await;
    let early = rig.entry(&[frame(
        batch(),
        vec![told(e.id, vec![country("u", "DE"), value("u", None, 3), exclusion("x", false)])],
    )]);
    let applied = rig.apply(&[early]).await.unwrap();
    // Nobody was excluded, so lifting it says nothing new.
    assert_eq!((applied.totals.recorded, applied.totals.deduplicated), (2, 1));
    assert_eq!(arms(&rig, &e).await, []);
    rig.reconnect().await;
    let seen = rig.entry(&[frame(batch(), vec![exposures(&e, &[("u", 1, 0)])])]);
    rig.apply(&[seen]).await.unwrap();
    assert_eq!(arms(&rig, &e).await, [arm(1, "DE", [1, 0, 1, 3])]);
    rig.assert_books(&[&e]).await;
}

async fn what_cannot_be_told_is_a_dead_letter(mut rig: Rig) {
    let e = rig.experiment("one", REVENUE).await;
    let names: Vec<String> = (0..=domain::attributes::COVARIATES_MAX).map(|i| format!("c{i}")).collect();
    let many = names.iter().map(|name| value("u", Some(name), 1)).collect();
    let nowhere = told(ExperimentId::NONE, vec![country("u", "DE")]);
    let gone = told(ExperimentId(e.id.0 + 1), vec![country("u", "DE")]);
    let entry = rig.entry(&[frame(batch(), vec![told(e.id, many), nowhere, gone])]);
    let applied = rig.apply(&[entry]).await.unwrap();
    let totals = applied.totals;
    assert_eq!((totals.recorded, totals.dead_lettered, totals.discarded), (20, 2, 1));
    let reasons: Vec<String> = rig.letters().await.into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["no_experiment", "too_many_covariates"]);
    rig.assert_books(&[&e]).await;
}

/// Whether told before the exposure or behind it, in one transaction or in several.
async fn strata_past_the_bound_are_merged(mut rig: Rig) {
    let e = rig.experiment("one", REVENUE).await;
    let users: Vec<String> = (0..110).map(|i| format!("u{i}")).collect();
    let strata: Vec<String> = (0..110).map(|i| format!("s{i}")).collect();
    let of = |range: std::ops::Range<usize>| -> Vec<Control<'_>> {
        range.map(|i| country(&users[i], &strata[i])).collect()
    };
    let seen = |range: std::ops::Range<usize>| -> Vec<(&str, i16, i64)> {
        range.map(|i| (users[i].as_str(), 0, 0)).collect()
    };
    for groups in [
        vec![told(e.id, of(0..90)), exposures(&e, &seen(0..90))],
        vec![exposures(&e, &seen(90..105)), told(e.id, of(90..105))],
        vec![told(e.id, of(105..110))],
        vec![exposures(&e, &seen(105..110)), told(e.id, vec![country(&users[0], "s0")])],
        vec![told(e.id, vec![country(&users[109], "s109")])],
    ] {
        let entry = rig.entry(&[frame(batch(), groups)]);
        rig.apply(&[entry]).await.unwrap();
    }
    let arms = arms(&rig, &e).await;
    let others: Vec<_> = arms.iter().filter(|arm| arm.1 == "(other)").collect();
    assert_eq!(others, [&arm(0, "(other)", [10, 0, 10, 0])]);
    assert_eq!(arms.iter().filter(|arm| arm.1.starts_with('s') && arm.2 == 1).count(), 100);
    assert_eq!((rig.counter("strata_merged").await, rig.counter("conflicts").await), (10, 0));
    rig.assert_books(&[&e]).await;
}
