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
