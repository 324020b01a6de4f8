//! Rows that cannot be sent, or are refused: each in the list of rejects with its line and a reason.

use super::rig::{Rig, numbers};
use serde_json::Value;
use std::collections::BTreeMap;

/// A good line after every bad one: line, reason, text.
fn bad() -> Vec<(&'static str, String)> {
    let conversion =
        |more: &str| format!(r#"{{"type":"conversion","user_id":"u","metric":"purchase"{more}}}"#);
    let exposure = |more: &str| format!(r#"{{"type":"exposure","user_id":"u","experiment":"load"{more}}}"#);
    let deep = "[".repeat(40) + &"]".repeat(40);
    vec![
        ("malformed_json", "{\"type\":".into()),
        ("invalid_item", "[1, 2]".into()),
        ("line_too_long", format!("{{\"user_id\":\"{}\"}}", "x".repeat(300_000))),
        ("missing_field", r#"{"type":"conversion","metric":"purchase"}"#.into()),
        ("invalid_type", r#"{"type":"conversion","user_id":"u","metric":7}"#.into()),
        ("unknown_field", conversion(r#","colour":"red""#)),
        ("duplicate_field", conversion(r#","metric":"purchase""#)),
        ("unknown_event_type", r#"{"type":"click","user_id":"u"}"#.into()),
        ("invalid_user_id", r#"{"type":"conversion","user_id":"","metric":"purchase"}"#.into()),
        ("invalid_metric", r#"{"type":"conversion","user_id":"u","metric":""}"#.into()),
        ("invalid_idempotency_key", conversion(r#","idempotency_key":"@1""#)),
        ("ambiguous_variation", exposure(r#","variation":"a","variation_index":0"#)),
        ("unknown_variation", exposure(r#","variation":"z""#)),
        ("invalid_value", conversion(r#","value":"much""#)),
        ("value_out_of_range", conversion(r#","value":1e30"#)),
        ("invalid_occurred_at", conversion(r#","occurred_at":"yesterday""#)),
        ("occurred_in_future", conversion(r#","occurred_at":"2200-01-01T00:00:00Z""#)),
        ("invalid_properties", conversion(&format!(r#","properties":{{"x":"{}"}}"#, "y".repeat(9000)))),
        ("unknown_experiment", exposure(r#","variation":"a""#).replace("load", "nope")),
        ("json_too_deep", conversion(&format!(r#","properties":{{"x":{deep}}}"#))),
    ]
}

fn read(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_once_and_every_good_row_recorded() {
    let rig = Rig::start().await;
    let cases = bad();
    let mut text = String::new();
    for (i, (_, line)) in cases.iter().enumerate() {
        text +=
            &format!("{line}\n{{\"type\":\"conversion\",\"user_id\":\"good{i}\",\"metric\":\"purchase\"}}\n");
    }
    let file = rig.file("mixed.ndjson", &text);
    let run = rig.replay(&[&file]);
    let n = numbers(&run.out);
    assert_eq!(
        (run.code, n["received"], n["recorded"]),
        (1, cases.len() as u64, cases.len() as u64),
        "{}",
        run.error
    );
    let rejects = read(&rig.dir.join("mixed.ndjson.rejects.ndjson"));
    let told: Vec<(u64, &str)> =
        rejects.iter().map(|r| (r["line"].as_u64().unwrap(), r["error_code"].as_str().unwrap())).collect();
    let expected: Vec<(u64, &str)> = (0..).zip(&cases).map(|(i, (code, _))| (2 * i + 1, *code)).collect();
    assert_eq!(told, expected);
    for (reject, (_, line)) in rejects.iter().zip(&cases) {
        assert_eq!(reject["file"], Value::from(file.as_str()));
        assert!(reject["detail"].as_str().unwrap().len() > 10, "{reject}");
        assert!(line.starts_with(reject["record"].as_str().unwrap()));
    }
    assert_eq!(rig.stored().await.len(), cases.len());
    assert!(run.out.contains("rejected rows and why: "), "{}", run.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_rows_keep_their_numbers() {
    let rig = Rig::start().await;
    let file = rig.file(
        "mixed.csv",
        "type,user_id,metric,value\nconversion,ann,purchase,1\nconversion,bob,purchase\n\
         conversion,\"c\na\ny\",purchase,1\nconversion,,purchase,2\nconversion,dan,purchase,x\n",
    );
    let run = rig.replay(&[&file]);
    assert_eq!((run.code, numbers(&run.out)["recorded"]), (1, 1), "{}", run.error);
    let rejects = read(&rig.dir.join("mixed.csv.rejects.ndjson"));
    let lines: BTreeMap<u64, &str> =
        rejects.iter().map(|r| (r["line"].as_u64().unwrap(), r["error_code"].as_str().unwrap())).collect();
    let expected =
        [(3, "wrong_number_of_cells"), (4, "invalid_user_id"), (7, "missing_field"), (8, "invalid_value")];
    assert_eq!(lines, BTreeMap::from(expected));
    assert_eq!(rejects.last().unwrap()["record"], "conversion,dan,purchase,x");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_refusals_in_a_request_each_has_its_reason() {
    let rig = Rig::start().await;
    let line = |i: u32| {
        format!("{{\"type\":\"conversion\",\"user_id\":\"u{i}\",\"metric\":\"m\",\"value\":\"x{i}\"}}\n")
    };
    let file = rig.file("bad.ndjson", &(0..450).map(line).collect::<String>());
    let run = rig.replay(&[&file, "--concurrency", "1"]);
    assert_eq!((run.code, numbers(&run.out)["rejected"]), (1, 450));
    let rejects = read(&rig.dir.join("bad.ndjson.rejects.ndjson"));
    assert!(
        rejects.iter().zip(1_u64..).all(|(r, line)| r["line"] == line && r["error_code"] == "invalid_value")
    );
    assert_eq!(rejects.len(), 450);
}
