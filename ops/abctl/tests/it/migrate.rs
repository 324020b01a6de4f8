//! The schema, looked at and brought up to date.

use crate::deployment::abctl;
use serde_json::Value;

fn known(directory: &str) -> usize {
    let path = format!("{}/../../migrations/{directory}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_dir(path).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_shown_and_brought_up_to_date() {
    let postgres = testkit::postgres().await;
    let database = postgres.create_database().await.unwrap();
    let url = postgres.url_for(&database);
    let env = [("AB_DATABASE_URL", url.as_str())];
    let status = || abctl(&["migrate", "status"], &env, None);

    let empty = status();
    assert_eq!((empty.code, empty.error.as_str()), (1, ""));
    let first = |line: &str| line.split_whitespace().collect::<Vec<_>>() == ["1", "schema", "no"];
    assert!(empty.out.lines().any(first) && empty.out.contains("schema: version 0, "), "{}", empty.out);
    let up = abctl(&["migrate", "up"], &env, None).ok();
    assert!(up.ends_with(": this release's\n"), "{up}");
    assert_eq!(status().ok(), up);
    // Once more changes nothing.
    assert_eq!(abctl(&["migrate", "up"], &env, None).ok(), up);
    let json: Value =
        serde_json::from_str(&abctl(&["migrate", "status", "--json"], &env, None).ok()).unwrap();
    assert_eq!(json["version"], json["wanted"]);
    assert_eq!(json["migrations"].as_array().unwrap().len(), known("postgres"));

    // A later release was here.
    let later = "INSERT INTO refinery_schema_history VALUES (999, 'later', '2026-01-01T00:00:00Z', '1')";
    postgres.execute(&database, later).await.unwrap();
    let later = status();
    assert_eq!(later.code, 1);
    assert!(later.out.contains(" later ") && later.out.contains("unknown to this release"), "{}", later.out);

    // One who may not is told so, and by which name.
    postgres.execute(&database, "CREATE ROLE looker LOGIN PASSWORD 'hunter2-never'").await.unwrap();
    let empty = postgres.create_database().await.unwrap();
    let url = format!("postgres://looker:hunter2-never@{}/{empty}", postgres.addr());
    let line = abctl(&["migrate", "up"], &[("AB_DATABASE_URL", &url)], None).failed(1);
    assert!(
        line.contains("looker") && line.contains("permission denied") && !line.contains("hunter2"),
        "{line}"
    );
}

#[test]
fn a_file_of_abctl_up_is_migrated_while_nobody_holds_it() {
    let directory = testkit::temp_dir("migrate").unwrap();
    let env = [("AB_DATA", directory.to_str().unwrap())];
    let line = abctl(&["migrate", "status"], &env, None).failed(1);
    assert!(line.contains("there is no database file"), "{line}");
    assert!(abctl(&["migrate", "up"], &env, None).ok().ends_with(": this release's\n"));
    let json: Value =
        serde_json::from_str(&abctl(&["migrate", "status", "--json"], &env, None).ok()).unwrap();
    assert_eq!(json["migrations"].as_array().unwrap().len(), known("sqlite"));
    let held = abctl::up::Directory::hold(&directory).unwrap();
    let line = abctl(&["migrate", "up"], &env, None).failed(2);
    assert!(line.contains("is in use"), "{line}");
    drop(held);
}
