//! A newcomer's first minute: what is printed works as it stands.

use super::rig::{Up, command};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The blocks that begin with `curl`.
fn curls(printed: &str) -> Vec<&str> {
    printed.split("\n\n").filter(|block| block.starts_with("curl ")).collect()
}

/// Runs a printed block in a shell; the JSON answers of its calls.
fn run(block: &str) -> Vec<Value> {
    let ran = Command::new("sh").args(["-c", block]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_ne!(ran.status.code(), Some(127), "this test needs curl: {err}");
    assert!(ran.status.success(), "{block}\n{out}{err}");
    serde_json::Deserializer::from_str(&out).into_iter().map(|answer| answer.unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_prints_keys_and_three_calls_that_work_and_a_restart_keeps_it_all() {
    let data = testkit::temp_dir("up").unwrap().join("not/yet/there");
    let up = Up::start(&data).await;
    let printed = up.process.stdout();
    let (all, events) = up.keys();
    assert!(printed.contains(&format!("listens on {}\n", up.url())), "{printed}");
    for page in ["/", "/docs"] {
        assert!(printed.contains(&format!(" {}{page} ", up.url())), "{printed}");
        let answer = testkit::http::Client::at(up.addr).get(page).await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    }
    for shown in [&all, &events, &data.join("abstream.db").display().to_string()] {
        assert!(printed.contains(shown.as_str()), "{printed}");
    }

    let blocks = curls(&printed);
    assert_eq!(blocks.len(), 3, "{printed}");
    let [created, started] = &run(blocks[0])[..] else { panic!("{}", blocks[0]) };
    assert_eq!((&created["status"], &started["status"]), (&"draft".into(), &"running".into()));
    let sent = &run(blocks[1])[0];
    assert_eq!((&sent["status"], &sent["recorded"]), (&"applied".into(), &2.into()), "{sent}");
    assert!(blocks[1].contains(&events) && !blocks[1].contains(&all), "sent with the key for browsers");
    let answer = &run(blocks[2])[0];
    assert_eq!((&answer["users"], &answer["metrics"][0]["arms"][1]["converters"]), (&1.into(), &1.into()));

    assert_eq!(mode(&data), 0o700);
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    up.end().await;

    let again = Up::start(&data).await;
    assert_eq!(again.keys(), (all.clone(), events.clone()));
    let printed = again.process.stdout();
    assert!(printed.contains(&data.join("keys").display().to_string()), "{printed}");
    assert!(!printed.contains(&all) && !printed.contains(&events) && curls(&printed).is_empty(), "{printed}");
    let kept = again.admin().get("/api/v1/experiments/checkout/live-stats").await.unwrap();
    assert_eq!(kept.json().unwrap()["users"], 1);
    again.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_one_line_of_json() {
    let data = testkit::temp_dir("up").unwrap();
    let (command, addr) = command(&data);
    let up = Up::of(command.arg("--json"), addr, &data).await;
    let (all, events) = up.keys();
    let line: Value = serde_json::from_str(&up.process.stdout()).unwrap();
    let file = |name: &str| Value::from(data.join(name).display().to_string());
    assert_eq!(line["url"], up.url());
    assert_eq!((&line["database"], &line["keys_file"]), (&file("abstream.db"), &file("keys")));
    assert_eq!(line["keys"], serde_json::json!({"all": all, "events": events}));
    up.end().await;
}
