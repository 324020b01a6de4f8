//! Series of answers: cumulative, per step, and what all looks say together.

use crate::answers::{DAY, converting, in_cell, row, running};
use analyzer::known::{Days, Known};
use analyzer::metric::methods::Methods;
use analyzer::timeseries::{History, Series, Wanted, received};
use domain::{Day, Timestamp};
use serde_json::{Value, json};
use store::{ArmRow, Experiment};

fn day(n: i32) -> Day {
    Day(DAY.0 + n)
}

fn experiment() -> Experiment {
    running(json!({
        "key": "series",
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "signup", "type": "proportion"}],
        "analysis": {"srm_alpha": 0.001},
    }))
}

/// Users and converters of both arms by day; days without rows in between.
fn rows(e: &Experiment) -> Vec<ArmRow> {
    let plan = e.plan();
    let arm = |users, converters| converting(&plan, users, &[converters]);
    vec![
        row(0, day(0), arm(400, 40)),
        row(1, day(0), arm(50, 5)),
        row(1, day(1), arm(420, 44)),
        row(0, day(3), arm(3_000, 300)),
        row(1, day(3), arm(3_000, 390)),
        row(0, day(6), arm(4_000, 400)),
        row(1, day(6), arm(4_000, 430)),
    ]
}

fn history(e: &Experiment, rows: &[ArmRow]) -> History {
    received(Days::of(e, rows)).unwrap()
}

fn series(e: &Experiment, history: &History, points: &[Day]) -> (Vec<Value>, Vec<Value>) {
    let (plan, methods) = (e.plan(), Methods::of(&e.definition).unwrap());
    let series = Series { experiment: e, plan: &plan, methods: &methods, history };
    let metrics = serde_json::to_value(series.metrics(points)).unwrap();
    let srm = serde_json::to_value(series.srm(points).unwrap()).unwrap();
    (metrics[0]["points"].as_array().unwrap().clone(), srm.as_array().unwrap().clone())
}

fn wanted(from: Option<i32>, to: Option<i32>, step: u16) -> Wanted {
    Wanted { from: from.map(day), to: to.map(day), step }
}

#[test]
fn a_point_a_day_carries_what_was_known_at_its_end() {
    let e = experiment();
    let rows = rows(&e);
    let history = history(&e, &rows);
    let days = wanted(None, None, 1).points(&history).unwrap();
    assert_eq!(days, (0..=6).map(day).collect::<Vec<_>>());
    let (points, _) = series(&e, &history, &days);
    let users = |arm: usize| points.iter().map(|p| p["arms"][arm]["users"].clone()).collect::<Vec<_>>();
    assert_eq!(users(0), [400, 400, 400, 3000, 3000, 3000, 4000].map(Value::from));
    assert_eq!(users(1), [50, 420, 420, 3000, 3000, 3000, 4000].map(Value::from));
    let new = |name: &str| points.iter().map(|p| p["arms"][1]["new"][name].clone()).collect::<Vec<_>>();
    assert_eq!(new("users"), [50, 370, 0, 2580, 0, 0, 1000].map(Value::from));
    assert_eq!(new("sum"), ["5", "39", "0", "346", "0", "0", "40"].map(Value::from));
    // Each point is the answer as of its day.
    for (point, at) in points.iter().zip(&days) {
        let known: Vec<ArmRow> = rows.iter().filter(|row| row.day <= *at).cloned().collect();
        let known = Known::of(&e, &known, Some(*at), Timestamp(0)).unwrap();
        let answer = serde_json::to_value(analyzer::live_stats::LiveStats::of(&known)).unwrap();
        let metric = &answer["metrics"][0];
        let (effect, comparison) = (&point["comparisons"][0], &metric["comparisons"][0]);
        assert_eq!(effect["effect"], comparison["relative"]["effect"], "{at}");
        assert_eq!(effect["ci"], comparison["relative"]["ci"]);
        assert_eq!(effect["sequential_ci"], comparison["sequential"]["relative"]["ci"]);
        assert_eq!(point["arms"][0]["sum"], metric["arms"][0]["sum"]);
    }
}

#[test]
fn what_all_looks_say_does_not_depend_on_which_are_shown() {
    let e = experiment();
    let history = history(&e, &rows(&e));
    let (daily, srm_daily) = series(&e, &history, &wanted(None, None, 1).points(&history).unwrap());
    let days = wanted(Some(0), None, 3).points(&history).unwrap();
    assert_eq!(days, [day(0), day(3), day(6)]);
    let (every_third, srm) = series(&e, &history, &days);
    let running = |point: &Value| point["comparisons"][0]["running"].clone();
    for (shown, n) in every_third.iter().zip([0, 3, 6]) {
        assert_eq!(running(shown), running(&daily[n]), "{n}");
    }
    assert_eq!([&srm[1], &srm[2]], [&srm_daily[3], &srm_daily[6]]);
    // Per step what came since the step before; the first since the day before it.
    let new = |n: usize| every_third[n]["arms"][0]["new"]["users"].clone();
    assert_eq!([new(0), new(1), new(2)], [400, 2600, 1000].map(Value::from));
    // Fifty users are not enough for an answer at every look; then the least p is kept, the effect shrinking again.
    assert_eq!(running(&daily[0]), json!({"ci": null, "p_value": null}));
    let p = |n: usize| running(&daily[n])["p_value"].as_f64().unwrap();
    assert!(p(1) > p(3) && p(3) == p(6), "{} {} {}", p(1), p(3), p(6));
    let now = daily[6]["comparisons"][0]["sequential_p_value"].as_f64().unwrap();
    assert!(p(6) < now, "{} {now}", p(6));
    let ci = |n: usize| [0, 1].map(|i| running(&daily[n])["ci"][i].as_f64().unwrap());
    assert!(ci(3)[0] >= ci(1)[0] && ci(3)[1] <= ci(1)[1] && ci(6)[0] >= ci(3)[0] && ci(6)[1] <= ci(3)[1]);
    // 400 against 50 on the first day is not forgotten when it evens out.
    assert_eq!(srm_daily[6]["p_value"], srm_daily[0]["p_value"]);
    assert!(srm_daily[6]["p_value"].as_f64().unwrap() < 0.01, "{}", srm_daily[6]);
    assert!(srm_daily[6]["ln_bayes_factor"].as_f64().unwrap() < 0.0);
}

#[test]
fn looks_that_exclude_each_other_are_no_interval() {
    let e = experiment();
    let arm = |users, converters| converting(&e.plan(), users, &[converters]);
    let rows = [
        row(0, day(0), arm(50_000, 5_000)),
        row(1, day(0), arm(50_000, 10_000)),
        row(0, day(1), arm(500_000, 50_000)),
        row(1, day(1), arm(500_000, 30_000)),
        row(1, day(2), arm(500_000, 31_000)),
    ];
    let history = history(&e, &rows);
    let (points, _) = series(&e, &history, &wanted(None, None, 1).points(&history).unwrap());
    let running = |n: usize| points[n]["comparisons"][0]["running"]["ci"].clone();
    assert!(running(0).is_array());
    assert_eq!((running(1), running(2)), (json!(null), json!(null)));
}

#[test]
fn ranges_reach_past_what_is_known_and_are_bounded() {
    let e = experiment();
    let history = history(&e, &rows(&e));
    let days = wanted(Some(-2), Some(8), 5).points(&history).unwrap();
    assert_eq!(days, [day(-2), day(3), day(8)]);
    let (points, srm) = series(&e, &history, &days);
    assert_eq!(points[0]["arms"][0]["users"], 0);
    assert_eq!(points[0]["comparisons"][0]["reason"], "no_units");
    assert_eq!((&srm[0]["status"], &srm[0]["reason"]), (&json!("undefined"), &json!("no_units")));
    assert_eq!(points[2]["arms"][0]["users"], 4000);
    assert_eq!(wanted(Some(3), Some(2), 1).points(&history), Some(vec![]));
    assert_eq!(wanted(Some(0), Some(399), 1).points(&history).map(|p| p.len()), Some(400));
    assert_eq!(wanted(Some(0), Some(400), 1).points(&history), None);
    let ever = Wanted { from: Some(Day(i32::MIN)), to: Some(Day(i32::MAX)), step: 366 };
    assert_eq!(ever.points(&history), None);
    assert_eq!(wanted(None, None, 1).points(&History::new()), Some(vec![]));
}

/// The same users in one partition's rows or spread over phases and days: the same sums.
#[test]
fn splitting_rows_changes_no_sum() {
    let e = experiment();
    let whole = history(&e, &rows(&e));
    let mut split = Vec::new();
    for row in rows(&e) {
        for phase in 0..2 {
            let mut part = row.moments.clone();
            part.heads.enrolled /= 2;
            part.products.iter_mut().for_each(|p| *p /= 2);
            split.push(in_cell((phase, ""), row.key.variation, row.day, part));
        }
    }
    // All numbers are even but for day 0's five converters of fifty.
    let split = history(&e, &split);
    for ((day, a), (other, b)) in whole.iter().zip(&split).skip(1) {
        assert_eq!(day, other);
        assert!(a.all.iter().zip(&b.all).all(|(a, b)| a.same(b)), "{day}");
        assert_eq!(b.cells.len(), 2);
    }
}

/// The users of all arms together against those kept out of them.
#[test]
fn a_holdout_is_compared_with_all_arms_together() {
    let e = experiment();
    let arm = |users, converters| converting(&e.plan(), users, &[converters]);
    let mut rows = vec![row(0, day(0), arm(5_000, 500)), row(1, day(0), arm(5_000, 600))];
    let answer = |rows: &[ArmRow]| {
        let known = Known::of(&e, rows, None, Timestamp(0)).unwrap();
        serde_json::to_value(analyzer::live_stats::LiveStats::of(&known)).unwrap()
    };
    let without = answer(&rows);
    assert_eq!(without["holdout"], json!(null));
    rows.push(row(-1, day(0), arm(1_000, 100)));
    let with = answer(&rows);
    assert_eq!(
        (&with["srm"], &with["users"], &with["metrics"]),
        (&without["srm"], &without["users"], &without["metrics"])
    );
    let held = &with["holdout"];
    assert_eq!((&held["users"], &held["metrics"][0]["key"]), (&json!(1_000), &json!("signup")));
    assert!((held["metrics"][0]["relative"]["effect"].as_f64().unwrap() - 0.1).abs() < 1e-12);
}
