//! The same answer for the users of each stratum alone.

use crate::answers::{DAY, after, converting, in_cell, moments, running};
use crate::rig::{Rig, code, two_arms};
use analyzer::known::Known;
use analyzer::live_stats::LiveStats;
use analyzer::strata::{MOST, StratumView, apart};
use domain::Day;
use domain::plan::Feature;
use ethnum::I256;
use serde_json::{Value, json};
use store::{ArmRow, Experiment};

fn by_stratum(e: &Experiment, rows: &[ArmRow]) -> Vec<Value> {
    let strata = apart(e, rows, None, after(3)).unwrap();
    strata.iter().map(|(name, known)| serde_json::to_value(StratumView::of(name, known)).unwrap()).collect()
}

/// What is told of a stratum is what would be told if there were no users but its own.
#[test]
fn each_stratum_is_an_answer_of_its_own() {
    for analysis in [json!({}), json!({"mode": "group_sequential", "looks": [9_000, 20_000]})] {
        let mut definition = two_arms("cut");
        definition["analysis"] = analysis;
        let e = running(definition);
        let arm = |users, converters| converting(&e.plan(), users, &[converters]);
        let rows = [
            in_cell((0, "gold"), 0, DAY, arm(5_000, 500)),
            in_cell((0, "gold"), 1, DAY, arm(5_000, 650)),
            in_cell((1, "gold"), 0, DAY, arm(800, 70)),
            in_cell((1, "gold"), 1, DAY, arm(850, 60)),
            in_cell((0, ""), 0, DAY, arm(40_000, 4_000)),
            in_cell((0, ""), 1, Day(DAY.0 + 1), arm(41_500, 3_900)),
            in_cell((0, "new"), 1, DAY, arm(7, 0)),
            in_cell((0, "gold"), -1, DAY, arm(100, 9)),
        ];
        let strata = by_stratum(&e, &rows);
        let names: Vec<&str> = strata.iter().map(|s| s["stratum"].as_str().unwrap()).collect();
        assert_eq!(names, ["", "gold", "new"]);
        for stratum in &strata {
            let own: Vec<ArmRow> = rows
                .iter()
                .filter(|row| row.key.variation >= 0 && stratum["stratum"] == row.key.stratum.as_str())
                .cloned()
                .collect();
            let known = Known::of(&e, &own, None, after(3)).unwrap();
            let alone = serde_json::to_value(LiveStats::of(&known)).unwrap();
            for field in ["users", "srm", "arms", "metrics"] {
                assert_eq!(stratum[field], alone[field], "{names:?} {field}");
            }
        }
        // The broken ratio is of those without a stratum.
        let broken: Vec<bool> = strata.iter().map(|s| s["srm"]["mismatch"] == true).collect();
        assert_eq!(broken, [true, false, false]);
        assert_eq!(strata[2]["srm"]["chi_square"], 7.0);
    }
}

#[test]
fn the_largest_strata_are_shown() {
    let e = running(two_arms("many"));
    let rows: Vec<ArmRow> =
        (1..=150).map(|n| in_cell((0, &format!("s{n}")), 0, DAY, converting(&e.plan(), n, &[0]))).collect();
    let strata = by_stratum(&e, &rows);
    assert_eq!((strata.len(), &strata[0]["stratum"]), (MOST, &json!("s150")));
    assert_eq!(strata[MOST - 1]["users"], 51);
}

#[tokio::test]
async fn strata_are_answered_when_asked_for_and_arms_by_every_answer() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("cut")).await;
    for (variation, converters) in [(0, 50u32), (1, 70)] {
        let mut arm =
            moments(&e.plan(), 500, &[(Feature::One, Feature::Converted(0), I256::from(converters))]);
        arm.heads.crossovers = 3;
        rig.moments(&e, 0, variation, DAY, &arm).await;
    }
    let base = "/api/v1/experiments/cut";
    let whole = rig.ok(&format!("{base}/live-stats")).await;
    assert_eq!(whole["strata"], Value::Null);
    let cut = rig.ok(&format!("{base}/live-stats?by=stratum&as_of={DAY}")).await;
    assert_eq!(cut["strata"].as_array().unwrap().len(), 1);
    assert_eq!((&cut["strata"][0]["metrics"], &cut["strata"][0]["stratum"]), (&whole["metrics"], &json!("")));
    let refused = rig.get(&format!("{base}/live-stats?by=phase")).await;
    assert_eq!((refused.status, code(&refused).as_str()), (422, "invalid_parameter"));
    // Whatever is asked, the quality of the data is told with it.
    assert_eq!(whole["arms"][1]["data_quality"]["crossovers"], 3);
    for path in ["decision", "timeseries"] {
        assert_eq!(rig.ok(&format!("{base}/{path}")).await["arms"], whole["arms"], "{path}");
    }
}
