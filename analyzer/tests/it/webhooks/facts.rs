//! When something is news.

use analyzer::decision::Decided;
use analyzer::known::Known;
use analyzer::webhooks::facts::{Letters, Told, more_letters, news};
use domain::Timestamp;
use serde_json::{Value, json};
use store::{ArmRow, Experiment, Note};

use crate::answers::{DAY, after, converting, guarded, row, running};

/// Users, signups and refunds of an arm.
type Arm = (i64, i64, i64);

const CONTROL: Arm = (200_000, 40_000, 2_000);
const WINNER: Arm = (200_000, 42_000, 1_900);
const HARMFUL: Arm = (200_000, 42_000, 2_600);
const FEW: Arm = (190_000, 39_900, 1_805);

fn rows(e: &Experiment, treatment: Arm) -> Vec<ArmRow> {
    let plan = e.plan();
    let arm = |(users, signups, refunds): Arm| converting(&plan, users, &[signups, refunds]);
    vec![row(0, DAY, arm(CONTROL)), row(1, DAY, arm(treatment))]
}

fn look(e: &Experiment, told: &Told, treatment: Arm, now: Timestamp) -> (Told, Vec<Value>) {
    let rows = rows(e, treatment);
    let known = Known::of(e, &rows, None, now).unwrap();
    let (next, notes) = news(told, &Decided::of(&known, now), e, now);
    // As the mark keeps it.
    let next = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
    (next, notes.iter().map(body).collect())
}

fn body(note: &Note) -> Value {
    let body: Value = serde_json::from_str(&note.body).unwrap();
    assert_eq!(body["type"], note.event);
    body
}

fn types(notes: &[Value]) -> Vec<&str> {
    notes.iter().map(|note| note["type"].as_str().unwrap()).collect()
}

#[test]
fn a_decision_is_told_whenever_it_is_another() {
    let e = running(guarded(json!({})));
    let (told, notes) = look(&e, &Told::default(), WINNER, after(1));
    assert_eq!(types(&notes), Vec::<&str>::new(), "it keeps running, as any new one");
    let (told, notes) = look(&e, &told, WINNER, after(8));
    assert_eq!(types(&notes), ["decision_changed"]);
    let data = &notes[0]["data"];
    assert_eq!((&data["decision"], &data["variation"]), (&json!("ship"), &json!("treatment")));
    assert_eq!(data["before"], json!({"decision": "keep_running", "variation": null}));
    assert_eq!(data["reasons"], json!(["won"]));
    assert_eq!(data["experiment"]["key"], json!(e.key));
    assert_eq!(
        (&notes[0]["tenant"], &notes[0]["timestamp"]),
        (&json!(e.tenant), &json!(after(8).to_string()))
    );
    let (told, notes) = look(&e, &told, WINNER, after(9));
    assert!(notes.is_empty(), "{notes:?}");
    let (_, notes) = look(&e, &told, CONTROL, after(9));
    assert_eq!(notes[0]["data"]["before"], json!({"decision": "ship", "variation": "treatment"}));
}

#[test]
fn alarms_are_told_once_for_each_version_of_the_plan() {
    let mut e = running(guarded(json!({})));
    let (told, notes) = look(&e, &Told::default(), HARMFUL, after(8));
    assert_eq!(types(&notes), ["decision_changed", "guardrail_harmed"]);
    assert_eq!(
        (&notes[1]["data"]["metric"], &notes[1]["data"]["variation"]),
        (&json!("refund"), &json!("treatment"))
    );
    assert_eq!(notes[1]["data"]["guardrail"]["outcome"], json!("harm"));
    // It comes and goes.
    let (told, _) = look(&e, &told, CONTROL, after(8));
    let (told, notes) = look(&e, &told, HARMFUL, after(8));
    assert_eq!(types(&notes), ["decision_changed"]);
    let (told, notes) = look(&e, &told, FEW, after(8));
    assert_eq!(types(&notes), ["srm_mismatch"], "no_ship as before");
    assert_eq!(notes[0]["data"]["arms"][1]["users"], json!(190_000));
    assert_eq!(notes[0]["data"]["srm"]["always_valid"]["mismatch"], json!(true));
    let (told, notes) = look(&e, &told, FEW, after(9));
    assert!(notes.is_empty(), "{notes:?}");
    e.plan_version += 1;
    let (_, notes) = look(&e, &told, FEW, after(9));
    assert_eq!(types(&notes), ["srm_mismatch"]);
}

#[test]
fn dead_letters_are_told_as_they_become_more() {
    let tell = |told, now| {
        more_letters(Letters { dead_lettered: told }, Letters { dead_lettered: now }, "a", after(1))
    };
    assert_eq!(tell(3, 3), None);
    assert_eq!(tell(3, 2), None, "old counters were deleted");
    assert_eq!(body(&tell(3, 10).unwrap())["data"], json!({"events": 7, "total": 10}));
}
