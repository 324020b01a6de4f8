//! What files may look like.

use super::rig::{Rig, events, numbers};
use crate::deployment::abctl;
use crate::up::rig::{Up, command};
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn csv_in_long_form_with_other_names_of_columns() {
    let rig = Rig::start().await;
    let file = rig.file(
        "long.csv",
        "\u{feff}kind,uid,experiment,variation,metric,value,ts,note\r\n\
         exposure,ann,load,b,,,1790000000,\"two\nlines\"\r\n\
         conversion,ann,,,purchase,19.90,2026-09-21T14:00:00Z,x\r\n\
         conversion,ann,,,purchase,,1790000100,y\r\n",
    );
    let run = rig.replay(&[&file, "--map", "type=kind,user_id=uid,occurred_at=ts", "--ignore", "note"]);
    let n = numbers(&run.ok());
    assert_eq!((n["received"], n["recorded"], n["rejected"]), (3, 3, 0));
    let stored = rig.stored().await;
    let (unit, keys) = &stored["ann"];
    assert_eq!((unit.enrollments[0].variation, keys.len()), (1, 2));
    assert!(keys.iter().all(|key| key.starts_with("replay:")), "{keys:?}");
    let line = rig.replay(&[&file, "--map", "type=kind,user_id=uid,occurred_at=ts"]).failed(1);
    assert!(line.contains("column `note` is none of") && line.contains("--ignore note"), "{line}");
    let line = rig.replay(&[&file, "--map", "user=uid"]).failed(2);
    assert!(line.starts_with("abctl: --map: --map user=uid: the fields are type, user_id,"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_in_wide_form() {
    let rig = Rig::start().await;
    let file = rig.file(
        "wide.csv",
        "user_id,experiment,variation,purchase,visits,idempotency_key\n\
         ann,load,a,5,2,k1\nbob,load,b,,1,\ncay,load,b,0,,k3\n",
    );
    for recorded in [7, 0] {
        let n = numbers(&rig.replay(&[&file, "--wide"]).ok());
        assert_eq!((n["received"], n["recorded"]), (7, recorded));
    }
    let stored = rig.stored().await;
    let keys = |user: &str| stored[user].1.clone();
    assert_eq!(
        (keys("ann"), keys("cay")),
        (vec!["k1/purchase".into(), "k1/visits".into()], vec!["k3/purchase".into()])
    );
    assert!(keys("bob")[0].ends_with(":3/visits"), "{:?}", keys("bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kind_of_one_experiment() {
    let rig = Rig::start().await;
    let exposures = rig.file(
        "e.ndjson",
        "{\"user_id\":\"ann\",\"variation\":\"b\"}\n\n{\"user_id\":\"bob\",\"variation\":\"a\"}",
    );
    let n = numbers(&rig.replay(&[&exposures, "--kind", "exposures", "--experiment", "load"]).ok());
    assert_eq!((n["received"], n["recorded"]), (2, 2));
    let conversions = rig.file("c.csv", "user_id,metric\nann,purchase\nann,purchase\n");
    let n = numbers(&rig.replay(&[&conversions, "--kind", "conversions"]).ok());
    assert_eq!((n["received"], n["recorded"]), (2, 2));
    let line = rig.replay(&[&exposures, "--kind", "exposures"]).failed(2);
    assert_eq!(line, "abctl: --experiment: this kind needs it");
    let line = rig.replay(&[&exposures, "--kind", "exposures", "--experiment", "nope"]).failed(1);
    assert!(line.contains("unknown_experiment"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_by_pattern_and_standard_input() {
    let rig = Rig::start().await;
    let text = events(300);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    rig.file("day-1.ndjson", &lines[..100].concat());
    rig.file("day-2.ndjson.gz", &lines[100..].concat());
    let pattern = rig.dir.join("day-*").to_str().unwrap().to_owned();
    assert_eq!(numbers(&rig.replay(&[&pattern]).ok())["received"], 300);
    let none = rig.dir.join("night-*").to_str().unwrap().to_owned();
    assert!(rig.replay(&[&none]).failed(1).contains("no such file"));

    let all = rig.file("all.ndjson", &text);
    let (checkpoint, rejects) = (rig.dir.join("c"), rig.dir.join("r"));
    let places = ["--checkpoint", checkpoint.to_str().unwrap(), "--rejects", rejects.to_str().unwrap()];
    let from_input =
        |source: &[&str]| rig.replay_input(&[&["-"], source, &places].concat(), Some(Path::new(&all)));
    assert!(from_input(&[]).failed(1).contains("name it with --source"));
    for (source, recorded) in [("export-1", 200), ("export-1", 0), ("export-2", 200)] {
        assert_eq!(numbers(&from_input(&["--source", source]).ok())["recorded"], recorded, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_time_and_a_dry_run() {
    let rig = Rig::start().await;
    let file = rig.file("e.ndjson", &events(1000));
    let run = rig.replay(&[&file, "--dry-run"]);
    assert_eq!((numbers(&run.ok())["received"], rig.stored().await.len()), (1000, 0));
    let bad =
        rig.file("bad.ndjson", &(events(2) + "{\"type\":\"conversion\",\"user_id\":\"x\",\"metric\":5}\n"));
    let run = rig.replay(&[&bad, "--dry-run"]);
    assert_eq!((run.code, numbers(&run.out)["rejected"], rig.stored().await.len()), (1, 1, 0));
    let strata = rig.file("strata.ndjson", "{\"user_id\":\"a\",\"stratum\":\"DE\"}\n{\"user_id\":\"b\"}\n");
    let run = rig.replay(&[&strata, "--dry-run", "--kind", "strata", "--experiment", "load"]);
    let n = numbers(&run.out);
    assert_eq!((run.code, n["received"], n["rejected"]), (1, 1, 1), "{}", run.error);
    // 1,790,000,000 is 2026-09-21T14:13:20Z.
    let part = ["--since", "2026-09-21T14:13:30Z", "--until", "2026-09-21T14:13:40Z"];
    let run = rig.replay(&[&[file.as_str(), "--json"], &part[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!((&told["received"], &told["skipped"]), (&10.into(), &990.into()));
    let line = rig.replay(&[&file, "--since", "yesterday"]);
    assert!(line.code == 2 && line.error.contains("a date such as"), "{}", line.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn exposures_in_the_order_of_time() {
    let rig = Rig::start().await;
    let exposure = |user: &str, index: u8, at: u32| {
        format!(
            r#"{{"type":"exposure","experiment":"load","user_id":"{user}","variation_index":{index},"occurred_at":{at}}}"#
        ) + "\n"
    };
    let late: String = (0..500).map(|i| exposure(&format!("u{i}"), 0, 1_790_001_000 + i)).collect();
    let early: String = (0..500).map(|i| exposure(&format!("u{i}"), 1, 1_790_000_000 + i)).collect();
    let bought =
        "{\"type\":\"conversion\",\"user_id\":\"u7\",\"metric\":\"purchase\",\"occurred_at\":1790000500}\n";
    let file = rig.file("e.ndjson", &[bought, &late, "no json\n", &early].concat());
    let run = rig.replay(&[&file, "--sort-exposures", "--batch", "50"]);
    let n = numbers(&run.out);
    assert_eq!((n["received"], n["recorded"], n["rejected"]), (1001, 501, 1), "{}", run.error);
    let stored = rig.stored().await;
    assert!(
        stored
            .values()
            .all(|(unit, _)| unit.enrollments[0].variation == 1 && unit.enrollments[0].crossed.len() == 1)
    );
    assert_eq!(stored["u7"].0.enrollments[0].tallies[0].count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_damaged_file_is_sent() {
    let rig = Rig::start().await;
    let file = rig.file("cut.ndjson.gz", &events(5000));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let line = rig.replay(&[&file]).failed(1);
    assert!(line.contains("cut.ndjson.gz cannot be read"), "{line}");
    let unknown = rig.file("events.parquet", "");
    assert!(rig.replay(&[&unknown]).failed(1).contains("say which with --format"));
    let empty = rig.file("empty.ndjson", "");
    assert_eq!(numbers(&rig.replay(&[&empty]).ok())["received"], 0);
    assert_eq!(rig.stored().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn straight_to_the_queue() {
    let redis = Redis::start().await.unwrap();
    let data = testkit::temp_dir("replay").unwrap();
    let (command, addr) = command(&data);
    let up = Up::of(command.env("AB_REDIS_URL", redis.url()), addr, &data).await;
    up.create().await;
    let rig = Rig { up, dir: testkit::temp_dir("replay").unwrap() };
    let file = rig.file("e.ndjson", &events(3000));
    let (url, arguments) = (redis.url(), ["replay", &file, "--direct", "--partitions", "1"]);
    let ran = abctl(&arguments, &[("AB_REDIS_URL", &url)], None);
    let recorded = numbers(&ran.ok())["recorded"];
    let enrolled = rig.stored().await.values().filter(|(unit, _)| !unit.enrollments.is_empty()).count();
    assert_eq!(recorded, 2000 + enrolled as u64);
    assert_eq!(numbers(&abctl(&arguments, &[("AB_REDIS_URL", &url)], None).ok())["recorded"], 0);
    let line = abctl(&arguments, &[], None).failed(2);
    assert!(line.starts_with("abctl: AB_REDIS_URL: must be set"), "{line}");
}

/// What a terminal of 200 columns is sent by a run of so many rows.
fn on_a_terminal(rig: &Rig, arguments: &str) -> String {
    let abctl = testkit::bin("abctl").unwrap();
    let command = format!("stty cols 200; {} replay {arguments}", abctl.display());
    let mut script = Command::new("script");
    script.env_clear().env("TERM", "xterm").env("PATH", "/usr/bin:/bin");
    script.env("AB_URL", rig.up.url()).env("AB_API_TOKEN", rig.up.keys().1);
    let ran = script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_how_far_it_is_and_what_the_server_says() {
    let rig = Rig::start().await;
    // Several windows of the ledger, and looks at it while there is much to come.
    let file = rig.file("e.ndjson", &events(3_000));
    let shown = on_a_terminal(&rig, &format!("{file} --rate 1000 --batch 20"));
    let is_bar = |line: &str| {
        let has = |parts: &[&str]| parts.iter().all(|part| line.contains(part));
        has(&["/3,000 events, ", "/s, ", "s left: ", " recorded"])
    };
    assert!(shown.split('\r').any(is_bar), "{shown:?}");
    assert!(shown.contains("replay: received=3000 "), "{shown:?}");
    // Elsewhere there are lines for people, of which a short run has none.
    let again = rig.replay(&[&file]).ok();
    assert!(!again.contains('\u{1b}') && again.contains("replay: received=3000 recorded=0 "), "{again}");
}
