//! Every write by an admin is found in the audit log: who, what, when, under which request id.

use serde_json::{Value, json};
use store::Actor;

use crate::rig::{Rig, code, two_arms};

const AUDIT: &str = "/api/v1/audit";

/// Writes of every kind, in order: method, path, body, and the action and subject it must be found under.
async fn write_all(rig: &Rig) -> Vec<(String, String)> {
    let mut wanted = Vec::new();
    let created = rig.admin.post_json("/api/v1/experiments", &two_arms("checkout")).await.unwrap();
    let id = created.json().unwrap()["id"].to_string();
    wanted.push(("experiment.create".to_owned(), id.clone()));
    let one = format!("/api/v1/experiments/{id}");
    for (method, path, body, action) in [
        ("PATCH", one.clone(), "{\"name\": \"=1+1\"}", "experiment.change"),
        ("POST", format!("{one}/start"), "", "experiment.status"),
        ("POST", format!("{one}/rebuild"), "", "experiment.rebuild"),
        ("POST", format!("{one}/stop"), "", "experiment.status"),
        ("POST", format!("{one}/archive"), "", "experiment.status"),
        ("POST", format!("{one}/restore"), "", "experiment.restore"),
        ("DELETE", one.clone(), "", "experiment.delete"),
    ] {
        let json = [("content-type", "application/json"), ("x-request-id", action)];
        let headers = if body.is_empty() { &json[1..] } else { &json[..] };
        let answer = rig.admin.request(method, &path, headers, body.to_owned()).await.unwrap();
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
        wanted.push((action.to_owned(), id.clone()));
    }
    let key =
        rig.admin.post_json("/api/v1/keys", &json!({"name": "@SUM(1)", "scopes": ["read"]})).await.unwrap();
    let key = key.json().unwrap()["id"].to_string();
    wanted.push(("key.create".to_owned(), key.clone()));
    rig.admin.request("DELETE", &format!("/api/v1/keys/{key}"), &[], "").await.unwrap();
    wanted.push(("key.revoke".to_owned(), key));
    for reason in ["one", "two"] {
        rig.sql(&format!(
            "INSERT INTO dead_letters (tenant, experiment, partition, entry, request_id, reason, detail, events, payload)
             VALUES ('a', 0, 0, '1-0', 'r', '{reason}', '', 1, '')"
        ))
        .await;
    }
    let letters = rig.ok("/api/v1/dead-letters").await;
    let letter = letters["items"][0]["id"].clone();
    let dropped = rig.admin.post_json("/api/v1/dead-letters/drop", &json!({"ids": [letter]})).await.unwrap();
    assert_eq!(dropped.status, 200, "{}", dropped.text());
    wanted.push(("dead_letters.drop".to_owned(), "dead_letters".to_owned()));
    wanted
}

#[tokio::test]
async fn every_write_of_an_admin_is_found_by_whoever_administers_the_tenant() {
    let rig = Rig::start().await;
    let mut wanted = write_all(&rig).await;
    wanted.reverse();
    let page = rig.ok(AUDIT).await;
    let items = page["items"].as_array().unwrap();
    let found: Vec<(String, String)> = items
        .iter()
        .map(|item| {
            (item["action"].as_str().unwrap().to_owned(), item["subject"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(found, wanted);
    for item in items {
        // The first digits of SHA-256 of "admin-a".
        assert!(item["actor"].as_str().unwrap().starts_with("sha256:"), "{item}");
        assert!(item["at"].as_str().unwrap().ends_with('Z'), "{item}");
        assert!(!item["request_id"].as_str().unwrap().is_empty(), "{item}");
    }
    let change = items.iter().find(|item| item["action"] == "experiment.change").unwrap();
    assert_eq!(change["request_id"], "experiment.change");
    assert_eq!(change["detail"][0]["pointer"], "/name", "structured: {change}");

    assert_eq!(rig.client("admin-b").get(AUDIT).await.unwrap().json().unwrap()["items"], json!([]));
    for key in ["read-a", "send-a", "operator-a"] {
        let answer = rig.client(key).get(AUDIT).await.unwrap();
        assert_eq!((answer.status, code(&answer)), (403, "missing_scope".into()), "{key}");
    }
    let keys = rig.ok(&format!("{AUDIT}?action=key.")).await;
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);

    let mut paged: Vec<Value> = Vec::new();
    let mut query = "limit=5".to_owned();
    loop {
        let page = rig.ok(&format!("{AUDIT}?{query}")).await;
        paged.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("limit=5&cursor={next}");
    }
    assert_eq!(&paged, items);
}

#[tokio::test]
async fn as_csv_it_is_the_same_and_no_cell_is_a_formula() {
    let rig = Rig::start().await;
    write_all(&rig).await;
    let store = rig.store().await;
    let deed = store::Deed { action: "webhook.create", subject: "=cmd()", detail: "a \"quoted\",\nline" };
    store.audit("a", deed, Actor { name: "+robot", request_id: "r" }).await.unwrap();
    let json = rig.ok(&format!("{AUDIT}?limit=200")).await;

    let (mut path, mut rows) = (format!("{AUDIT}?format=csv&limit=4"), Vec::new());
    loop {
        let answer = rig.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        let text = answer.text();
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(
            csv.headers().unwrap(),
            &["id", "at", "actor", "action", "subject", "request_id", "detail"][..]
        );
        rows.extend(csv.records().map(Result::unwrap));
        let Some(link) = answer.header("link") else { break };
        path = link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap().0.to_owned();
    }
    let items = json["items"].as_array().unwrap();
    assert_eq!(rows.len(), items.len());
    for (row, item) in rows.iter().zip(items) {
        assert_eq!((&row[0], &row[3]), (item["id"].to_string().as_str(), item["action"].as_str().unwrap()));
        assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
    }
    assert_eq!((&rows[0][2], &rows[0][4], &rows[0][6]), ("'+robot", "'=cmd()", "a \"quoted\",\nline"));
    let answer = rig.get(&format!("{AUDIT}?format=xml")).await;
    assert_eq!((answer.status, code(&answer)), (422, "invalid_parameter".into()));
}
