//! A file sent a second time says nothing new, whatever kind its rows are of and however they fall into requests.

use super::rig::{Rig, events, numbers};
use crate::up::rig::LIMIT;
use std::fmt::Write;
use testkit::Process;

/// Whether a user is excluded, told in this order: back and forth, and twice the same.
const TOLD: [bool; 7] = [true, false, true, true, false, true, false];
/// So that all of it is several blocks of lines, each with several turns of a user.
const USERS: usize = 3_200;

fn exclusions() -> String {
    let mut text = String::from("user_id,excluded,exclusion_reason\n");
    for (turn, excluded) in TOLD.into_iter().enumerate() {
        (0..USERS).for_each(|user| {
            let so = if user % 3 == 0 { !excluded } else { excluded };
            writeln!(text, "u{user},{so},reason-{turn}").unwrap();
        });
    }
    text
}

/// Each with how it is to be sent.
fn files(rig: &Rig) -> Vec<(String, Vec<&'static str>)> {
    let of = |kind| vec!["--kind", kind, "--experiment", "load"];
    let lines = |line: &dyn Fn(usize) -> String| (0..300).map(line).collect::<String>();
    let strata = lines(&|i| format!("{{\"user_id\":\"u{i}\",\"stratum\":\"s{}\"}}\n", i % 3));
    let before = lines(&|i| format!("u{i},{},c{}\n", i % 7, i % 2));
    let held = lines(&|i| format!("{{\"user_id\":\"held-{i}\"}}\n"));
    let exposures = lines(&|i| format!("{{\"user_id\":\"e{i}\",\"variation_index\":{}}}\n", i % 2));
    let bought = lines(&|i| format!("u{i},purchase,{i}.5\n"));
    let named = lines(&|i| format!("u{i},purchase,{i}\n"));
    let row = |i: usize| {
        let so = [i.is_multiple_of(2), !i.is_multiple_of(2)]
            .map(|so| format!("{{\"excluded\":{so},\"reason\":null}}"))
            .join(",");
        format!(
            "{{\"user_id\":\"x{i}\",\"experiment\":\"load\",\"variation_index\":{},\"exposed_at\":\"2026-10-01T00:00:00Z\",\"exclusions\":[{so}]}}\n",
            i % 2
        )
    };
    vec![
        (rig.file("strata.ndjson.gz", &strata), of("strata")),
        (rig.file("before.csv", &format!("user_id,value,covariate_name\n{before}")), of("pre-period")),
        (rig.file("events.ndjson", &events(900)), vec![]),
        (rig.file("exposures.ndjson", &exposures), of("exposures")),
        (rig.file("held.ndjson", &held), of("holdout")),
        (rig.file("bought.csv", &format!("user_id,metric,value\n{bought}")), vec!["--kind", "conversions"]),
        (rig.file("named.csv", &format!("user_id,metric,value\n{named}")), of("conversions")),
        (rig.file("exclusions.csv", &exclusions()), of("exclusions")),
        (rig.file("units.ndjson", &lines(&row)), vec!["--kind", "units"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_of_every_kind_records_nothing_and_changes_nothing() {
    let rig = Rig::start().await;
    let files = files(&rig);
    let run = |file: &str, arguments: &[&str], more: &[&str]| {
        let run = rig.replay_all(&[&[file], arguments, more].concat());
        assert_eq!(run.code, 0, "{file}: {}{}", run.out, run.error);
        numbers(&run.out)
    };
    for (file, arguments) in &files {
        assert!(run(file, arguments, &[])["recorded"] > 0, "{file}");
    }
    let (stored, answer) = (rig.stored().await, live(&rig).await);
    assert!(answer["arms"][0]["data_quality"]["excluded"].as_u64().unwrap() > 0, "{answer:#}");
    for manner in [["--concurrency", "1", "--batch", "10000"], ["--concurrency", "5", "--batch", "77"]] {
        for (file, arguments) in &files {
            let again = run(file, arguments, &manner);
            assert_eq!((again["recorded"], again["rejected"], again["dead"]), (0, 0, 0), "{file} {again:?}");
            assert_eq!(again["received"], again["deduplicated"], "{file} {again:?}");
        }
        assert!(rig.stored().await == stored, "users differ after {manner:?}");
        assert_eq!(live(&rig).await, answer);
    }
}

async fn live(rig: &Rig) -> serde_json::Value {
    let answer = rig.up.admin().get("/api/v1/experiments/load/live-stats").await.unwrap();
    answer.json().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusions_of_a_run_that_was_killed_end_as_those_of_one_that_was_not() {
    let mut states = Vec::new();
    for is_killed in [false, true] {
        let rig = Rig::start().await;
        let file = rig.file("exclusions.csv", &exclusions());
        let arguments = [file.as_str(), "--kind", "exclusions", "--experiment", "load", "--batch", "200"];
        if is_killed {
            let checkpoint = rig.dir.join("exclusions.csv.checkpoint");
            // Most is still to come, in ten seconds, when the first block is settled.
            let slow = ["--rate", "1500"];
            let command = arguments
                .iter()
                .chain(&slow)
                .fold(Process::of("abctl").unwrap().arg("replay"), |c, a| c.arg(a));
            let command = command.env("AB_URL", rig.up.url()).env("AB_API_TOKEN", rig.up.keys().0);
            let mut run = command.spawn().unwrap();
            let begun = || async { super::kills::settled(&checkpoint) > 0 };
            testkit::eventually("a block is settled", LIMIT, begun).await.unwrap();
            run.kill().unwrap();
            let settled = super::kills::settled(&checkpoint);
            assert!(settled > 0 && settled < (TOLD.len() * USERS) as u64, "{settled}");
        }
        let end = rig.replay_all(&arguments);
        assert_eq!(
            (end.code, numbers(&end.out)["received"]),
            (0, (TOLD.len() * USERS) as u64),
            "{}",
            end.error
        );
        assert_eq!(numbers(&rig.replay_all(&arguments).out)["recorded"], 0);
        states.push(rig.stored().await);
    }
    assert_eq!(states[0].len(), USERS);
    assert!(states[0] == states[1], "users differ");
}
