//! Tools read the directory's database, while its process runs and afterwards; and other backends in one process.

use super::rig::{LIMIT, Load, Up, command, visit};
use crate::deployment::abctl;
use testkit::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn accounting_and_verify_need_no_server() {
    let data = testkit::temp_dir("up").unwrap();
    let up = Up::start(&data).await;
    up.create().await;
    let env = [("AB_DATA", data.to_str().unwrap())];
    let load = Load::start(&up, "user");
    load.reaches(100).await;
    let events = 2 * load.end().await.len();
    let expected = format!("accounting: received={events} recorded={events} deduplicated=0");
    let books = abctl(&["accounting"], &env, None).ok();
    assert!(books.contains(&expected), "{books}");
    up.end().await;
    let by_flag = abctl(&["accounting", "--data", data.to_str().unwrap()], &[], None).ok();
    assert!(by_flag.contains(&expected) && by_flag.contains(" in_flight=0 lost=0"), "{by_flag}");
    let verified = abctl(&["verify", "load", "--json"], &env, None).ok();
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(
        (&verified["units"], &verified["differences"]),
        (&(events / 2).into(), &serde_json::json!([]))
    );
}

#[test]
fn a_tool_is_told_which_database_it_lacks() {
    let both = [("AB_DATA", "d"), ("AB_DATABASE_URL", "postgres://127.0.0.1:1/x")];
    let line = abctl(&["accounting"], &both, None).failed(2);
    assert!(line.starts_with("abctl: AB_DATA: ") && line.contains("AB_DATABASE_URL"), "{line}");
    let line = abctl(&["accounting"], &[], None).failed(2);
    assert!(line.starts_with("abctl: AB_DATABASE_URL: must be set") && line.contains("AB_DATA"), "{line}");
    let nothing = testkit::temp_dir("up").unwrap();
    let line = abctl(&["verify", "x", "--data", nothing.to_str().unwrap()], &[], None).failed(1);
    assert!(line.contains("there is no database file"), "{line}");
    assert_eq!(std::fs::read_dir(&nothing).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_takes_the_database_and_the_queue_it_is_given() {
    let (postgres, redis) = (testkit::postgres().await, Redis::start().await.unwrap());
    // Without Redis an answer waits for the commit, with it the fsync of the queue is enough.
    for (redis_url, status) in [("", 200), (redis.url().as_str(), 202)] {
        let database = postgres.url_for(&postgres.create_database().await.unwrap());
        let data = testkit::temp_dir("up").unwrap();
        let (command, addr) = command(&data);
        let command = command.env("AB_DATABASE_URL", &database).env("AB_REDIS_URL", redis_url);
        let up = Up::of(command, addr, &data).await;
        assert!(!data.join("abstream.db").exists());
        up.create().await;
        assert_eq!(up.sender().post_json("/api/v1/events", &visit("ann")).await.unwrap().status, status);
        let counted = || async {
            let answer = up.admin().get("/api/v1/experiments/load/live-stats").await.unwrap();
            answer.json().unwrap()["users"] == 1
        };
        testkit::eventually("the user is counted", LIMIT, counted).await.unwrap();
        up.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_it_is_kept_is_purged_by_itself_and_on_demand() {
    let data = testkit::temp_dir("up").unwrap();
    let (command, addr) = command(&data);
    let up = Up::of(command.env("AB_RETENTION_AUDIT_DAYS", "30"), addr, &data).await;
    let done = || async {
        let last = up.admin().get("/api/v1/admin/retention/purge").await.unwrap();
        last.status == 200 && last.json().unwrap()["done"] == true
    };
    testkit::eventually("the purge of the day is done", LIMIT, done).await.unwrap();
    up.create().await;
    assert_eq!(up.sender().post_json("/api/v1/events", &visit("ann")).await.unwrap().status, 200);
    let (url, key) = (up.url(), up.keys().0);
    let env = [("AB_URL", url.as_str()), ("AB_ADMIN_TOKEN", key.as_str())];
    for (dry_run, said) in [(Some("--dry-run"), "purge, dry run: done\n"), (None, "purge: done\n")] {
        let purge = ["purge", "--conversions-days", "1", "--wait", "60s"];
        let purge: Vec<&str> = purge.into_iter().chain(dry_run).collect();
        let out = abctl(&purge, &env, None).ok();
        assert!(out.ends_with(said) && out.contains("dead letters   kept"), "{out}");
    }
    // What was applied today is kept.
    let verified = abctl(&["verify", "load"], &[("AB_DATA", data.to_str().unwrap())], None).ok();
    assert!(verified.starts_with("verify load: equal"), "{verified}");
    up.end().await;
}
