//! Rows that cannot be sent, or are refused: each in the list of rejects with its line and a reason.

use super::rig::{Rig, numbers};
use crate::up::rig::definition;
use abctl::replay::Reason;
use ingest_gateway::codes::Code;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of one file: its name and further arguments, the good row, and the bad ones with their reasons.
struct Case {
    file: &'static str,
    arguments: &'static [&'static str],
    /// First line of a CSV.
    head: &'static str,
    /// `#` stands for a number of its own in each.
    good: &'static str,
    bad: Vec<(&'static str, String)>,
}

/// Refused as a whole request, or answered by trying again: none of them is of a row.
const OF_REQUESTS: [&str; 15] = [
    "invalid_body",
    "empty_batch",
    "batch_too_large",
    "too_many_events",
    "invalid_sent_at",
    "invalid_idempotency_header",
    "unknown_query_parameter",
    "invalid_query_parameter",
    "invalid_items",
    "event_ignored",
    "unused_metric",
    "rate_limited",
    "queue_full",
    "queue_unavailable",
    "catalogue_unavailable",
];

fn cases() -> Vec<Case> {
    let csv = |row: &str| row.to_owned();
    let conversion =
        |more: &str| format!(r#"{{"type":"conversion","user_id":"u","metric":"purchase"{more}}}"#);
    let exposure = |more: &str| format!(r#"{{"type":"exposure","user_id":"u","experiment":"load"{more}}}"#);
    let deep = "[".repeat(40) + &"]".repeat(40);
    let long = "x".repeat(201);
    vec![
        Case {
            file: "events.csv",
            arguments: &[],
            head: "type,user_id,experiment,variation,variation_index,metric,value,idempotency_key,occurred_at,properties\n",
            good: "conversion,good-csv-#,,,,purchase,1,,,",
            bad: vec![
                ("wrong_number_of_cells", csv("conversion,u,,,,purchase,1")),
                ("export_cut", csv("# cut after 7 rows: there are more")),
                ("missing_field", csv("conversion,,,,,purchase,1,,,")),
                ("invalid_type", csv("conversion,u,,,,purchase,1,,,[]")),
                ("unknown_field", csv("conversion,u,,a,,purchase,1,,,")),
                ("unknown_event_type", csv("click,u,,,,purchase,1,,,")),
                ("invalid_user_id", format!("conversion,{long},,,,purchase,1,,,")),
                ("invalid_metric", format!("conversion,u,,,,{long},1,,,")),
                ("invalid_idempotency_key", csv("conversion,u,,,,purchase,1,@1,,")),
                ("ambiguous_variation", csv("exposure,u,load,a,0,,,,,")),
                ("unknown_variation", csv("exposure,u,load,z,,,,,,")),
                ("invalid_value", csv("conversion,u,,,,purchase,much,,,")),
                ("value_out_of_range", csv("conversion,u,,,,purchase,1e30,,,")),
                ("invalid_occurred_at", csv("conversion,u,,,,purchase,1,,yesterday,")),
                ("occurred_in_future", csv("conversion,u,,,,purchase,1,,2200-01-01T00:00:00Z,")),
                ("occurred_too_long_ago", csv("conversion,u,,,,purchase,1,,1990-01-01T00:00:00Z,")),
                (
                    "invalid_properties",
                    format!("conversion,u,,,,purchase,1,,,\"{{\"\"x\"\":\"\"{}\"\"}}\"", "y".repeat(9000)),
                ),
                ("unknown_experiment", csv("exposure,u,nope,a,,,,,,")),
                ("experiment_archived", csv("exposure,u,old,a,,,,,,")),
                ("experiment_not_started", csv("exposure,u,draft,a,,,,,,")),
            ],
        },
        Case {
            file: "events.ndjson",
            arguments: &[],
            head: "",
            good: r#"{"type":"conversion","user_id":"good-ndjson-#","metric":"purchase"}"#,
            bad: vec![
                ("malformed_json", "{\"type\":".into()),
                ("invalid_item", "[1, 2]".into()),
                ("line_too_long", format!("{{\"user_id\":\"{}\"}}", "x".repeat(300_000))),
                ("duplicate_field", conversion(r#","metric":"purchase""#)),
                ("json_too_deep", conversion(&format!(r#","properties":{{"x":{deep}}}"#))),
                ("ambiguous_variation", exposure(r#","variation":"a","variation_index":0"#)),
                ("export_cut", r#"{"type":"cut","rows":7}"#.into()),
            ],
        },
        Case {
            file: "strata.csv",
            arguments: &["--kind", "strata", "--experiment", "load"],
            head: "user_id,stratum\n",
            good: "good-stratum-#,DE",
            bad: vec![("invalid_stratum", format!("u,{long}"))],
        },
        Case {
            file: "before.csv",
            arguments: &["--kind", "pre-period", "--experiment", "load"],
            head: "user_id,value,covariate_name\n",
            good: "good-before-#,1,age",
            bad: vec![("invalid_covariate_name", format!("u,1,{long}"))],
        },
        Case {
            file: "exclusions.csv",
            arguments: &["--kind", "exclusions", "--experiment", "load"],
            head: "user_id,exclusion_reason\n",
            good: "good-excluded-#,bot",
            bad: vec![("invalid_exclusion_reason", format!("u,{long}"))],
        },
        Case {
            file: "units.csv",
            arguments: &["--kind", "units"],
            head: "user_id,experiment,variation_index,exposed_at\n",
            good: "good-unit-#,load,0,2026-10-01T00:00:00Z",
            bad: vec![
                ("invalid_item", csv("u,,0,2026-10-01T00:00:00Z")),
                ("invalid_occurred_at", csv("u,load,0,yesterday")),
            ],
        },
    ]
}

/// What cannot be written as text: it has a test of its own.
const OF_BYTES: [&str; 2] = ["invalid_utf8", "content_too_large"];

fn read(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_reason_that_the_code_knows_has_a_row() {
    let own = Reason::ALL.iter().map(|reason| reason.as_str());
    let known: BTreeSet<&str> = own.chain(Code::ALL.iter().map(|code| code.as_str())).collect();
    let cases = cases();
    let shown = cases.iter().flat_map(|case| case.bad.iter().map(|(reason, _)| *reason));
    let covered: BTreeSet<&str> =
        shown.chain(OF_REQUESTS).chain(OF_BYTES).chain(["deadline_exceeded"]).collect();
    assert_eq!(covered, known);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_once_and_every_good_row_recorded() {
    let rig = Rig::of(&[("AB_MAX_EVENT_AGE", "3650d")]).await;
    for key in ["old", "draft"] {
        let created = rig.up.admin().post_json("/api/v1/experiments", &definition(key)).await.unwrap();
        assert_eq!(created.status, 201, "{}", created.text());
    }
    let archived = rig.up.admin().post("/api/v1/experiments/old/archive", &[], "").await.unwrap();
    assert_eq!(archived.status, 200, "{}", archived.text());
    let mut good = 0;
    for case in cases() {
        let mut text = case.head.to_owned();
        for (i, (_, row)) in case.bad.iter().enumerate() {
            text += &format!("{row}\n{}\n", case.good.replace('#', &i.to_string()));
        }
        let file = rig.file(case.file, &text);
        let run = rig.replay_all(&[&[file.as_str()], case.arguments].concat());
        let n = numbers(&run.out);
        let rows = case.bad.len() as u64;
        assert_eq!(
            (run.code, n["received"], n["recorded"], n["rejected"]),
            (1, rows, rows, rows),
            "{file}: {}",
            run.error
        );
        good += case.bad.len();
        let rejects = read(&rig.dir.join(format!("{}.rejects.ndjson", case.file)));
        let told: Vec<(u64, &str)> = rejects
            .iter()
            .map(|r| (r["line"].as_u64().unwrap(), r["error_code"].as_str().unwrap()))
            .collect();
        let head = u64::from(!case.head.is_empty());
        let expected: Vec<(u64, &str)> =
            (0..).zip(&case.bad).map(|(i, (code, _))| (2 * i + 1 + head, *code)).collect();
        assert_eq!(told, expected, "{file}");
        for (reject, (_, row)) in rejects.iter().zip(&case.bad) {
            assert_eq!(reject["file"], Value::from(file.as_str()));
            // A sentence of words, none of them a value of the row.
            let detail = reject["detail"].as_str().unwrap();
            assert!(
                detail.contains(' ') && detail.len() > 10 && !detail.contains(&"x".repeat(50)),
                "{reject}"
            );
            assert!(row.starts_with(reject["record"].as_str().unwrap()), "{reject}");
        }
        assert!(run.out.contains("rejected rows and why: "), "{}", run.out);
    }
    assert_eq!(rig.stored().await.keys().filter(|user| user.starts_with("good-")).count(), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_text_and_rows_too_large_for_the_gateway() {
    let rig = Rig::of(&[("AB_MAX_REQUEST_BODY_BYTES", "4096")]).await;
    let path = rig.dir.join("bytes.csv");
    let large = format!("conversion,u,purchase,\"{{\"\"x\"\":\"\"{}\"\"}}\"\n", "y".repeat(5_000));
    let bytes = [
        b"type,user_id,metric,properties\nconversion,\xff,purchase,\n",
        large.as_bytes(),
        b"conversion,ann,purchase,\n",
    ];
    std::fs::write(&path, bytes.concat()).unwrap();
    let run = rig.replay(&[path.to_str().unwrap()]);
    assert_eq!((run.code, numbers(&run.out)["recorded"]), (1, 1), "{}", run.error);
    let rejects = read(&rig.dir.join("bytes.csv.rejects.ndjson"));
    let told: Vec<&str> = rejects.iter().map(|r| r["error_code"].as_str().unwrap()).collect();
    assert_eq!(told, OF_BYTES);
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
