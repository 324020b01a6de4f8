//! `abctl keys` and `abctl audit` against a real analyzer: what they print, what they do, how they exit.

use crate::deployment::{Deployment, Ran, abctl};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_issued_used_listed_and_revoked() {
    let deployment = Deployment::start().await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["keys"], arguments].concat());
    assert_eq!(run(&["list"]).ok(), "no keys issued\n");
    let Ran { code, out, error } = run(&["create", "nightly\u{202e} job", "--scope", "read,events"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(error, "key 1 (nightly\u{fffd} job) may events,read; it is not shown again:\n");
    let key = out.trim_end();
    assert!(key.starts_with("abk_") && key.len() == 47, "the key alone: {out}");
    let with_it = abctl(
        &["experiments", "list", "--json"],
        &[("AB_URL", &deployment.url), ("AB_API_TOKEN", key)],
        None,
    );
    assert_eq!(with_it.ok(), "{\"items\":[],\"next_cursor\":null}\n");

    let listed = run(&["list"]).ok();
    let mut lines = listed.lines();
    assert_eq!(
        lines.next().unwrap(),
        "    id  digits  scopes                    created               revoked               name"
    );
    let line = lines.next().unwrap();
    assert!(line.starts_with(&format!("     1  ..{}  events,read               ", &key[43..])), "{line}");
    assert!(line.ends_with("  -                     nightly\u{fffd} job"), "{line}");
    let json: Value = serde_json::from_str(&run(&["list", "--json"]).ok()).unwrap();
    assert_eq!(
        (&json["items"][0]["id"], &json["items"][0]["scopes"]),
        (&json!(1), &json!(["events", "read"]))
    );
    assert!(!listed.contains(key) && !json.to_string().contains(key));

    assert_eq!(run(&["revoke", "1", "1"]).ok(), "key 1: revoked\nkey 1: revoked\n");
    let refused =
        abctl(&["experiments", "list"], &[("AB_URL", &deployment.url), ("AB_API_TOKEN", key)], None)
            .failed(1);
    assert!(refused.contains("unknown_key"), "{refused}");
    assert!(!refused.contains(key), "{refused}");
    let unknown = run(&["revoke", "99"]).failed(1);
    assert!(unknown.contains("there is no such key; `abctl keys list` shows what there is"), "{unknown}");
    assert!(run(&["create", "n", "--scope", "operator"]).failed(1).contains("invalid_scopes"));
    assert_eq!(run(&["create", "n"]).code, 2);
    assert_eq!(run(&["create", "", "--scope", "read"]).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_shown_as_a_table_as_json_and_as_csv() {
    let deployment = Deployment::start().await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["audit"], arguments].concat());
    assert_eq!(run(&[]).ok(), "nothing was changed yet\n");
    assert_eq!(run(&["--csv"]).ok(), "id,at,actor,action,subject,request_id,detail\n");
    assert_eq!(deployment.abctl(&["keys", "create", "=1+1", "--scope", "read"]).code, 0);
    deployment.abctl(&["keys", "revoke", "1"]).ok();
    let shown = run(&[]).ok();
    let lines: Vec<&str> = shown.lines().collect();
    let [head, revoked, created] = lines.as_slice() else { panic!("{shown}") };
    assert!(head.starts_with("at                    actor                         action "), "{head}");
    assert!(revoked.contains("  AB_ADMIN_TOKEN                key.revoke            1  "), "{revoked}");
    assert!(created.contains("key.create") && created.ends_with("\"scopes\":\"read\"}"), "{created}");
    let json: Value = serde_json::from_str(&run(&["--json", "--action", "key.create"]).ok()).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), 1);
    assert_eq!(json["items"][0]["detail"]["name"], "=1+1");
    assert_eq!(run(&["--json", "--csv"]).code, 2);

    // More than two pages, each row once, one header row.
    let many = "INSERT INTO audit_log (tenant, actor, action, subject, request_id, detail)
                SELECT 'default', 'somebody', 'test.many', n::text, 'r', '=x' FROM generate_series(1, 450) AS n";
    testkit::postgres().await.execute(&deployment.database, many).await.unwrap();
    let csv = run(&["--csv", "--action", "test."]).ok();
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let subjects: Vec<String> = rows.iter().map(|row| row[4].to_owned()).collect();
    assert_eq!(subjects, (1..=450).rev().map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| &row[6] == "'=x"));
}

/// Answers connections with these one after the other; returns the lines that asked for them.
fn pages(pages: [&'static str; 2]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move |page: &str| {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut more) = (Vec::new(), [0; 4_096]);
        while !head.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut more).unwrap();
            head.extend_from_slice(&more[..read]);
        }
        let (link, body) = page.split_once('\n').unwrap();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nlink: {link}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
        String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
    };
    (url, std::thread::spawn(move || pages.map(serve).into()))
}

#[test]
fn the_next_page_is_where_the_service_says_and_of_no_other_host() {
    let first = "</other/place?cursor=x>; rel=\"next\"\nid,at\n9,x\n";
    let second = "<//evil.example/page>; rel=\"next\"\nid,at\n3,\"y\nz\"\n";
    let (url, asked) = pages([first, second]);
    let env = [("AB_URL", url.as_str()), ("AB_ADMIN_TOKEN", "some-admin-token-0123456789")];
    let csv = abctl(&["audit", "--csv"], &env, None).ok();
    assert_eq!(csv, "id,at\n9,x\n3,\"y\nz\"\n");
    let asked = asked.join().unwrap();
    assert_eq!(asked[0], "GET /api/v1/audit?format=csv&limit=200&action= HTTP/1.1");
    assert_eq!(asked[1], "GET /other/place?cursor=x HTTP/1.1");
}
