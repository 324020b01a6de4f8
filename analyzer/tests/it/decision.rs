//! When to ship: every rule of the table, and what each mode asks for.

use crate::answers::{DAY, after, converting, guarded, in_cell, row, running};
use analyzer::decision::Decided;
use analyzer::known::Known;
use domain::Timestamp;
use serde_json::{Value, json};
use store::{ArmRow, Experiment, Status};

/// Users, signups and refunds of both arms on one day.
fn arms(e: &Experiment, control: (i64, i64, i64), treatment: (i64, i64, i64)) -> Vec<ArmRow> {
    let plan = e.plan();
    let arm = |(users, signups, refunds)| converting(&plan, users, &[signups, refunds]);
    vec![row(0, DAY, arm(control)), row(1, DAY, arm(treatment))]
}

fn decided(e: &Experiment, rows: &[ArmRow], now: Timestamp) -> Value {
    let known = Known::of(e, rows, None, now).unwrap();
    serde_json::to_value(Decided::of(&known, now)).unwrap()
}

fn codes(of: &Value) -> Vec<&str> {
    of.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect()
}

/// A clear win, harmless.
const CONTROL: (i64, i64, i64) = (200_000, 40_000, 2_000);
const WINNER: (i64, i64, i64) = (200_000, 42_000, 1_900);

#[test]
fn a_clear_win_ships() {
    let e = running(guarded(json!({})));
    let got = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
    assert_eq!((&got["decision"], &got["variation"]), (&json!("ship"), &json!("treatment")), "{got}");
    assert_eq!((codes(&got["reasons"]), codes(&got["blockers"])), (vec!["won"], vec![]));
    assert_eq!((&got["full_days"], &got["primary"]), (&json!(8), &json!("signup")));
    let treatment = &got["treatments"][0];
    assert_eq!(
        (&treatment["verdict"]["significant"], &treatment["verdict"]["improved"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&treatment["guardrails"][0]["key"], &treatment["guardrails"][0]["outcome"]),
        (&json!("refund"), &json!("pass"))
    );
    assert_eq!(treatment["missing"], json!(null));
}

/// Each a change to the clear win, what is decided, the code that decides, and what else is in the way.
#[test]
fn every_rule_decides_what_its_table_says() {
    let win = || (guarded(json!({})), CONTROL, WINNER, after(8));
    let table = [
        ("keep_running", "not_started", vec!["not_started", "min_days_not_reached"], {
            let (d, c, t, _) = win();
            (d, c, t, Timestamp(DAY.start().0 - 1))
        }),
        ("no_ship", "srm_mismatch", vec!["srm_mismatch"], {
            let (d, c, _, at) = win();
            (d, c, (190_000, 39_900, 1_805), at)
        }),
        ("no_ship", "guardrail_harmed", vec!["guardrail_harmed"], {
            let (d, c, _, at) = win();
            (d, c, (200_000, 42_000, 2_600), at)
        }),
        ("no_ship", "primary_worse", vec!["primary_worse", "effect_too_small"], {
            let (d, c, _, at) = win();
            (d, c, (200_000, 38_000, 1_900), at)
        }),
        ("no_ship", "effect_too_small", vec!["effect_too_small", "not_significant"], {
            let (d, _, _, at) = win();
            (d, (9_000_000, 1_800_000, 90_000), (9_000_000, 1_801_000, 88_000), at)
        }),
        ("keep_running", "not_significant", vec!["not_significant"], {
            let (d, c, _, at) = win();
            (d, c, (200_000, 40_300, 1_900), at)
        }),
        ("keep_running", "mde_missing", vec!["mde_missing"], {
            let (d, c, t, at) = win();
            let mut d = d;
            d["analysis"].as_object_mut().unwrap().remove("mde");
            (d, c, t, at)
        }),
        ("keep_running", "min_days_not_reached", vec!["min_days_not_reached"], {
            let (d, c, t, _) = win();
            (d, c, t, after(6))
        }),
        ("keep_running", "guardrail_undecided", vec!["guardrail_undecided"], {
            let (d, c, _, at) = win();
            (d, c, (200_000, 42_000, 2_080), at)
        }),
        ("keep_running", "primary_undefined", vec!["primary_undefined"], {
            let (d, _, _, at) = win();
            (d, (200_000, 0, 2_000), (200_000, 100, 1_800), at)
        }),
        ("keep_running", "no_primary_metric", vec!["no_primary_metric"], {
            let (mut d, c, t, at) = win();
            d["metrics"][0]["role"] = json!("secondary");
            (d, c, t, at)
        }),
    ];
    for (decision, reason, blockers, (definition, control, treatment, now)) in table {
        let e = running(definition);
        let got = decided(&e, &arms(&e, control, treatment), now);
        assert_eq!(got["decision"], decision, "{reason}: {got}");
        assert_eq!(codes(&got["reasons"])[0], reason, "{got}");
        assert_eq!(codes(&got["blockers"]), blockers, "{reason}: {got}");
        assert_eq!(got["variation"], json!(null));
    }
}

#[test]
fn users_filtered_more_in_one_arm_stop_everything() {
    let mut definition = guarded(json!({}));
    definition["spike_limit"] = json!(50);
    let e = running(definition);
    let mut rows = arms(&e, CONTROL, WINNER);
    (rows[0].moments.heads.filtered, rows[1].moments.heads.filtered) = (1000, 1400);
    let got = decided(&e, &rows, after(8));
    assert_eq!((&got["decision"], codes(&got["reasons"])), (&json!("no_ship"), vec!["filter_imbalance"]));
}

#[test]
fn a_stopped_experiment_is_decided_as_it_stands() {
    let mut e = running(guarded(json!({})));
    e.status = Status::Stopped;
    e.stopped_at = Some(after(9));
    let open = decided(&e, &arms(&e, CONTROL, (200_000, 40_300, 1_900)), after(50));
    assert_eq!((&open["decision"], codes(&open["reasons"])), (&json!("no_ship"), vec!["ended_undecided"]));
    assert_eq!((codes(&open["blockers"]), &open["full_days"]), (vec!["not_significant"], &json!(9)));
    let won = decided(&e, &arms(&e, CONTROL, WINNER), after(50));
    assert_eq!(won["decision"], "ship");
}

#[test]
fn down_is_better_where_the_definition_says_so() {
    let mut definition = guarded(json!({}));
    definition["metrics"][0]["direction"] = json!("down");
    let e = running(definition);
    let less = decided(&e, &arms(&e, CONTROL, (200_000, 38_000, 1_900)), after(8));
    assert_eq!(less["decision"], "ship", "{less}");
    let more = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
    assert_eq!((&more["decision"], codes(&more["reasons"])[0]), (&json!("no_ship"), "primary_worse"));
}

#[test]
fn a_fixed_test_says_nothing_before_its_planned_size() {
    // Planned by hand, then by the smallest effect: some 12,600 users a pair find 5 percent of a fifth.
    for (analysis, planned) in [
        (json!({"mode": "fixed", "looks": [500_000]}), 500_000),
        (json!({"mode": "fixed", "mde": 0.005}), 5_000_000),
    ] {
        let e = running(guarded(analysis));
        let early = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
        assert_eq!(early["decision"], "keep_running");
        assert_eq!(codes(&early["reasons"])[..2], ["planned_size_not_reached", "not_significant"]);
        let verdict = &early["treatments"][0]["verdict"];
        assert_eq!(
            (&verdict["significant"], verdict["p_value"].as_f64().unwrap() < 1e-6),
            (&json!(false), true)
        );
        let needed = verdict["users_needed"].as_i64().unwrap();
        assert!((needed - planned).abs() <= planned / 5, "{needed} {planned}");
        let missing = &early["treatments"][0]["missing"];
        assert_eq!(missing["users"], needed - 400_000);
        // 400,000 came in eight days.
        let rate = missing["days_at_this_rate"].as_i64().unwrap();
        assert!((rate - (needed - 400_000) / 50_000).abs() <= 1, "{missing}");
    }
    let e = running(guarded(json!({"mode": "fixed"})));
    let enough = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
    assert_eq!(enough["decision"], "ship", "{enough}");
    let power = enough["treatments"][0]["verdict"]["power_now"].as_f64().unwrap();
    assert!(power > 0.8, "{power}");
}

#[test]
fn planned_looks_decide_and_nothing_else_does() {
    let e = running(guarded(json!({"mode": "group_sequential", "looks": [300_000, 600_000]})));
    let before = decided(&e, &arms(&e, (100_000, 20_000, 1_000), (100_000, 22_000, 900)), after(8));
    assert_eq!(
        (&before["decision"], codes(&before["reasons"])),
        (&json!("keep_running"), vec!["primary_undefined"])
    );
    assert_eq!(before["treatments"][0]["verdict"]["reason"], "no_look");
    let at_a_look = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
    assert_eq!(at_a_look["decision"], "ship", "{at_a_look}");
}

#[test]
fn beliefs_decide_by_the_credible_interval() {
    let e = running(guarded(json!({"mode": "bayesian", "prior": {"stddev": 0.1}})));
    let sure = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
    assert_eq!(sure["decision"], "ship", "{sure}");
    let verdict = &sure["treatments"][0]["verdict"];
    assert_eq!((&verdict["p_value"], &verdict["family"]), (&json!(null), &json!(1)));
    let e = running(guarded(json!({"mode": "bayesian", "prior": {"stddev": 0.001}})));
    let doubtful = decided(&e, &arms(&e, CONTROL, WINNER), after(8));
    assert_ne!(doubtful["decision"], "ship", "a prior that believes in no effect is believed");
}

/// One p below alpha: alone it counts, among those of nine treatments it does not.
#[test]
fn treatments_are_corrected_for_each_other() {
    let definition = |arms: usize, correction: &str| {
        let variations: Vec<Value> = (0..arms).map(|i| json!({"key": format!("v{i}")})).collect();
        json!({
            "key": "many", "variations": variations, "metrics": [{"key": "signup", "type": "proportion"}],
            "analysis": {"mode": "fixed", "looks": [20_000], "mde": 0.02, "correction": correction},
        })
    };
    let verdict = |arms: usize, correction: &str| {
        let e = running(definition(arms, correction));
        let arm = |converters| converting(&e.plan(), 20_000, &[converters]);
        let mut rows: Vec<_> = (0..arms).map(|i| row(i as i16, DAY, arm(4_000 + i as i64 % 2))).collect();
        rows[1] = row(1, DAY, arm(4_175));
        decided(&e, &rows, after(8))["treatments"][0]["verdict"].clone()
    };
    let alone = verdict(2, "holm");
    let p = alone["p_value"].as_f64().unwrap();
    assert!(p > 0.02 && p < 0.05 && alone["significant"] == json!(true), "{alone}");
    for (correction, family) in [("holm", 9), ("benjamini_hochberg", 9), ("none", 1)] {
        let many = verdict(10, correction);
        assert_eq!((&many["family"], &many["p_value"]), (&json!(family), &alone["p_value"]), "{many}");
        let adjusted = many["adjusted_p_value"].as_f64().unwrap();
        assert!((adjusted - (f64::from(family) * p)).abs() < 1e-12, "{correction}: {adjusted} {p}");
        assert_eq!(many["significant"], json!(correction == "none"));
        let width = |v: &Value| v["ci"][1].as_f64().unwrap() - v["ci"][0].as_f64().unwrap();
        assert_eq!(width(&many) > width(&alone) * 1.2, family > 1);
    }
}

/// Weights changed mid-run and the second phase converts better: merged, the arms would differ without any effect.
#[test]
fn phases_are_compared_each_with_its_own() {
    let mut definition = guarded(json!({}));
    definition["variations"] = json!([{"key": "control", "weight": 1}, {"key": "treatment", "weight": 1}]);
    let e = running(definition);
    let arm =
        |users: i64, rate: f64| converting(&e.plan(), users, &[(users as f64 * rate) as i64, users / 100]);
    let rows = [
        in_cell((0, ""), 0, DAY, arm(90_000, 0.1)),
        in_cell((0, ""), 1, DAY, arm(10_000, 0.1)),
        in_cell((1, ""), 0, DAY, arm(50_000, 0.2)),
        in_cell((1, ""), 1, DAY, arm(50_000, 0.2)),
    ];
    let verdict = decided(&e, &rows, after(8))["treatments"][0]["verdict"].clone();
    assert_eq!(verdict["estimator"], "post_stratified");
    assert!(verdict["effect"].as_f64().unwrap().abs() < 1e-12, "{verdict}");
    let merged: Vec<ArmRow> = rows.iter().map(|r| row(r.key.variation, DAY, r.moments.clone())).collect();
    let naive = decided(&e, &[merged[2].clone(), merged[1].clone()], after(8));
    assert!(naive["treatments"][0]["verdict"]["effect"].as_f64().unwrap() < -0.4);
}
