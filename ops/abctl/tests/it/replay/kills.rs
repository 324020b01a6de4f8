//! Runs that end in the middle, and runs beside each other.

use super::rig::{Rig, events, numbers};
use crate::up::rig::LIMIT;
use std::fs::File;
use std::path::Path;
use testkit::Process;

const EVENTS: u32 = 30_000;

pub fn settled(checkpoint: &Path) -> u64 {
    let saved = std::fs::read(checkpoint).unwrap_or_else(|_| b"{}".to_vec());
    let saved: serde_json::Value = serde_json::from_slice(&saved).unwrap();
    saved["settled_lines"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_killed_three_times_counts_every_event_once() {
    let rig = Rig::start().await;
    let file = rig.file("backfill.ndjson.gz", &events(EVENTS));
    let checkpoint = rig.dir.join("backfill.ndjson.gz.checkpoint");
    for _ in 0..3 {
        let before = settled(&checkpoint);
        // Whoever kills it late finds it under way all the same: it would go on for half a minute.
        let arguments = ["replay", file.as_str(), "--rate", "1000", "--batch", "20"];
        let command = arguments.iter().fold(Process::of("abctl").unwrap(), |command, a| command.arg(a));
        let mut run =
            command.env("AB_URL", rig.up.url()).env("AB_API_TOKEN", rig.up.keys().1).spawn().unwrap();
        let further = || async { settled(&checkpoint) > before };
        testkit::eventually("lines are settled", LIMIT, further).await.unwrap();
        run.kill().unwrap();
    }
    let resumed = settled(&checkpoint);
    assert!(resumed > 0 && resumed < EVENTS.into(), "{resumed} lines were settled by the killed runs");
    let last = rig.replay(&[&file, "--json"]);
    let last: serde_json::Value = serde_json::from_str(&last.out).unwrap();
    assert_eq!((&last["lines"], &last["resumed_lines"]), (&EVENTS.into(), &resumed.into()));
    // Every row once, however often it was sent; what was acknowledged behind the last checkpoint is known by now.
    let count = |name: &str| last[name].as_u64().unwrap();
    assert_eq!(count("received"), u64::from(EVENTS), "{last}");
    assert_eq!(count("recorded") + count("deduplicated"), u64::from(EVENTS), "{last}");
    assert_eq!((count("queued"), count("dead_lettered"), count("rejected")), (0, 0, 0), "{last}");
    assert!(!checkpoint.exists() && !rig.dir.join("backfill.ndjson.gz.rejects.ndjson").exists());

    let stored = rig.stored().await;
    let conversions: usize = stored.values().map(|(_, keys)| keys.len()).sum();
    let enrolled: usize = stored.values().map(|(unit, _)| unit.enrollments.len()).sum();
    let exposed = (0..EVENTS).filter(|i| i % 3 == 0).map(|i| i.wrapping_mul(2_654_435_761) % (EVENTS / 4));
    let exposed = exposed.collect::<std::collections::HashSet<_>>().len();
    assert_eq!((conversions, enrolled), (EVENTS as usize / 3 * 2, exposed));
    // The same events in another packing are the same events.
    let plain = rig.file("again.ndjson", &events(EVENTS));
    let again = numbers(&rig.replay(&[&plain]).out);
    assert_eq!((again["received"], again["recorded"]), (EVENTS.into(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_and_packing_change_nothing() {
    let text = events(EVENTS);
    let mut states = Vec::new();
    for (name, concurrency) in [("e.ndjson", "1"), ("e.ndjson.gz", "16"), ("e.ndjson.zst", "5")] {
        let rig = Rig::start().await;
        let file = rig.file(name, &text);
        let run = rig.replay(&[&file, "--concurrency", concurrency, "--batch", "77"]);
        assert_eq!((run.code, numbers(&run.out)["received"]), (0, EVENTS.into()), "{}", run.error);
        states.push(rig.stored().await);
    }
    assert!(states[0].len() > 5000);
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "users differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_belongs_to_one_run() {
    let rig = Rig::start().await;
    let file = rig.file("e.ndjson", &events(100));
    let checkpoint = rig.dir.join("e.ndjson.checkpoint");
    let saved = r#"{"run":["other"],"settled_lines":50,"rejects_bytes":0,"totals":{"received":0,"recorded":0,
        "deduplicated":0,"dead_lettered":0,"queued":0,"rejected":0,"skipped":0}}"#;
    std::fs::write(&checkpoint, saved).unwrap();
    let line = rig.replay(&[&file]).failed(1);
    assert!(line.contains("is of a replay of other files or with other options"), "{line}");
    std::fs::write(&checkpoint, "garbage").unwrap();
    let line = rig.replay(&[&file]).failed(1);
    assert!(line.contains("is no checkpoint of abctl replay"), "{line}");
    std::fs::remove_file(&checkpoint).unwrap();

    let rejects = File::create(rig.dir.join("e.ndjson.rejects.ndjson")).unwrap();
    rejects.lock().unwrap();
    let line = rig.replay(&[&file]).failed(1);
    assert!(line.contains("another replay writes"), "{line}");
    rejects.unlock().unwrap();
    assert_eq!(numbers(&rig.replay(&[&file]).ok())["received"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_it_gives_up_and_says_how_to_go_on() {
    let rig = Rig::start().await;
    let file = rig.file("e.ndjson", &events(100));
    let url = format!("http://127.0.0.1:{}", testkit::free_port().unwrap());
    let line = rig.replay(&[&file, "--url", &url, "--patience", "1s"]).failed(1);
    assert!(line.contains("0 lines are settled; run the same command again to go on"), "{line}");
    assert!(line.contains("no gateway took a batch within 1s"), "{line}");
    // Of several gateways one is enough.
    std::fs::remove_file(rig.dir.join("e.ndjson.checkpoint")).unwrap();
    let both = format!("{url},{}", rig.up.url());
    assert_eq!(numbers(&rig.replay(&[&file, "--url", &both]).ok())["recorded"], 100 - repeats(100));
}

/// Exposures of users who had one before.
fn repeats(count: u32) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let users = (0..count).filter(|i| i % 3 == 0).map(|i| i.wrapping_mul(2_654_435_761) % (count / 4));
    users.filter(|user| !seen.insert(*user)).count() as u64
}
