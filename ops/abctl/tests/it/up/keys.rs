//! Who may do what with the keys of the directory, and where else keys come from.

use super::directory::refused;
use super::rig::{LIMIT, Up, command, visit};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use testkit::http::Client;

#[tokio::test(flavor = "multi_thread")]
async fn the_key_for_browsers_sends_events_and_nothing_else() {
    let data = testkit::temp_dir("up").unwrap();
    let up = Up::start(&data).await;
    up.create().await;
    let (browser, (_, key)) = (up.sender(), up.keys());
    assert_eq!(browser.post_json("/api/v1/events", &visit("ann")).await.unwrap().status, 200);
    // As navigator.sendBeacon does.
    let beacon = Client::at(up.addr);
    let path = format!("/api/v1/events?key={key}");
    assert_eq!(beacon.post(&path, &[], visit("bob").to_string()).await.unwrap().status, 200);
    for path in ["", "/load", "/load/live-stats", "/load/ingestion"] {
        let answer = browser.get(&format!("/api/v1/experiments{path}")).await.unwrap();
        assert_eq!(answer.status, 403, "{path}");
    }
    for (path, body) in [("", json!({"key": "mine"})), ("/load/stop", json!({}))] {
        let answer = browser.post_json(&format!("/api/v1/experiments{path}"), &body).await.unwrap();
        assert_eq!(answer.status, 403, "{path}");
    }
    for path in ["/api/v1/accounting", "/metrics"] {
        assert!(matches!(browser.get(path).await.unwrap().status, 403 | 404), "{path}");
    }
    assert_eq!(Client::at(up.addr).get("/api/v1/experiments").await.unwrap().status, 401);
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issued_key_counts_at_once_outlives_a_restart_and_not_its_revocation() {
    let data = testkit::temp_dir("up").unwrap();
    let up = Up::start(&data).await;
    up.create().await;
    let body = json!({"name": "page", "scopes": ["events"]});
    let issued = up.admin().post_json("/api/v1/keys", &body).await.unwrap().json().unwrap();
    let key = issued["key"].as_str().unwrap().to_owned();
    let send = async |up: &Up, user: &str| {
        let answer =
            Client::at(up.addr).bearer(&key).post_json("/api/v1/events", &visit(user)).await.unwrap();
        answer.status
    };
    assert_eq!(send(&up, "ann").await, 200);
    up.end().await;
    let up = Up::start(&data).await;
    assert_eq!(send(&up, "bob").await, 200);
    let revoked =
        up.admin().request("DELETE", &format!("/api/v1/keys/{}", issued["id"]), &[], "").await.unwrap();
    assert_eq!(revoked.status, 204);
    assert_eq!(send(&up, "eve").await, 401);
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_keys_work_besides_and_an_exported_printed_one_does_no_harm() {
    let data = testkit::temp_dir("up").unwrap();
    let up = Up::start(&data).await;
    let (all, events) = up.keys();
    up.end().await;
    let (command, addr) = command(&data);
    let command = command
        .env("AB_API_TOKEN", &all)
        .env("AB_READONLY_API_TOKEN", &events)
        .env("AB_API_KEYS", "another-key:shop:admin");
    let up = Up::of(command, addr, &data).await;
    up.create().await;
    assert_eq!(up.sender().get("/api/v1/experiments").await.unwrap().status, 403, "the file's scopes");
    let other = Client::at(up.addr).bearer("another-key").get("/api/v1/experiments").await.unwrap();
    assert_eq!((other.status, other.json().unwrap()["items"].as_array().unwrap().len()), (200, 0));
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_counts_as_it_is_edited() {
    let data = testkit::temp_dir("up").unwrap();
    let up = Up::start(&data).await;
    let (all, events) = up.keys();
    fs::write(data.join("keys"), format!("{all}:default:read\nnew-key:default:events,admin\n")).unwrap();
    let status = async |key: &str| {
        Client::at(up.addr).bearer(key).post_json("/api/v1/experiments", &json!({})).await.unwrap().status
    };
    let taken = || async { status(&all).await == 403 };
    testkit::eventually("the edited file is taken over", LIMIT, taken).await.unwrap();
    assert_eq!((status("new-key").await, status(&events).await), (422, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_open_to_others_is_closed_and_one_with_a_mistake_refused() {
    let data = testkit::temp_dir("up").unwrap();
    Up::start(&data).await.end().await;
    let file = data.join("keys");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut up = Up::start(&data).await;
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(up.process.stderr().contains("readable by others"), "{}", up.process.stderr());
    up.process.terminate(LIMIT).await.unwrap();

    for (text, what) in [
        ("topkey:default\n", "entry 1: must read key:tenant:scope,scope"),
        ("topkey:default:fly\n", "entry 1: scopes are"),
        ("topkey:default:read\ntopkey:default:events\n", "entry 2: holds a key that is configured twice"),
        ("# none\n\n", "holds no key: remove it, and the next start makes new ones"),
    ] {
        fs::write(&file, text).unwrap();
        let line = refused(command(&data).0).await;
        assert!(line.starts_with(&format!("abctl up: AB_DATA: {}", file.display())), "{line}");
        assert!(line.contains(what) && !line.contains("topkey"), "{line}");
    }
    fs::remove_file(&file).unwrap();
    let up = Up::start(&data).await;
    assert!(up.process.stdout().contains(&up.keys().0), "new keys are shown");
    up.end().await;
}
