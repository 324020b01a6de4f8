//! Experiments changed over HTTP, put away and brought back, and what is known of it afterwards.

use domain::contribution::Heads;
use serde_json::{Value, json};
use testkit::http::{Client, Response};

use crate::rig::{Rig, code, two_arms};

const ONE: &str = "/api/v1/experiments/checkout";

async fn send(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let headers = [&[("content-type", "application/json")], headers].concat();
    client.request(method, path, &headers, body.to_string()).await.unwrap()
}

async fn put(rig: &Rig, headers: &[(&str, &str)], body: &Value) -> Response {
    send(&rig.admin, "PUT", ONE, headers, body).await
}

async fn patch(rig: &Rig, body: &Value) -> Response {
    send(&rig.admin, "PATCH", ONE, &[], body).await
}

fn outcome(answer: &Response) -> (u16, String) {
    (answer.status, if answer.status < 300 { String::new() } else { code(answer) })
}

async fn created(rig: &Rig) -> Response {
    let created = rig.admin.post_json("/api/v1/experiments", &two_arms("checkout")).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    created
}

#[tokio::test]
async fn a_change_is_made_of_what_its_author_saw() {
    let rig = Rig::start().await;
    let first = created(&rig).await;
    let seen = first.header("etag").unwrap().to_owned();
    assert_eq!(rig.get(ONE).await.header("etag"), Some(seen.as_str()));

    let mut wanted = two_arms("checkout");
    wanted["name"] = json!("Shorter checkout");
    wanted["metrics"] = json!([{"key": "revenue", "type": "mean"}, {"key": "visits", "type": "count"}]);
    let changed = put(&rig, &[("if-match", &seen)], &wanted).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let body = changed.json().unwrap();
    assert_eq!((&body["name"], &body["revision"]), (&json!("Shorter checkout"), &json!(2)));
    assert_eq!((&body["plan_version"], &body["metrics"][1]["key"]), (&json!(2), &json!("visits")));
    let read = rig.get(ONE).await;
    assert_eq!((read.json().unwrap(), read.header("etag")), (body, changed.header("etag")));
    // The gateways know by the time the answer is given.
    let entry = rig.catalogue().lookup("a", "checkout").await.unwrap().unwrap();
    assert_eq!((entry.metrics.join(","), entry.revision), ("revenue,visits".to_owned(), 2));

    let latest = changed.header("etag").unwrap().to_owned();
    let refused = (412, "precondition_failed".to_owned());
    for stale in [seen.clone(), format!("W/{latest}"), "\"\"".to_owned(), "nonsense".to_owned()] {
        for (method, path) in
            [("PUT", ONE.to_owned()), ("DELETE", ONE.to_owned()), ("POST", format!("{ONE}/start"))]
        {
            let body = if method == "PUT" { two_arms("checkout") } else { json!({}) };
            let answer = send(&rig.admin, method, &path, &[("if-match", &stale)], &body).await;
            assert_eq!(outcome(&answer), refused, "{method} {path} {stale}");
        }
        let answer = send(&rig.admin, "PATCH", ONE, &[("if-match", &stale)], &json!({"name": "x"})).await;
        assert_eq!(outcome(&answer), refused, "{stale}");
    }
    assert_eq!(rig.get(ONE).await.header("etag"), Some(latest.as_str()), "nothing was changed");
    // What is there already is no change, and any version may be meant.
    let list = format!("{seen}, {latest}");
    for (given, name) in [(list.as_str(), "Shorter checkout"), ("*", "Shorter checkout"), ("*", "Shortest")] {
        wanted["name"] = json!(name);
        assert_eq!(put(&rig, &[("if-match", given)], &wanted).await.status, 200, "{given}");
    }
    let now = rig.get(ONE).await;
    assert_eq!(
        (&now.json().unwrap()["revision"], now.json().unwrap()["plan_version"].as_u64()),
        (&json!(3), Some(2))
    );
    let tag = now.header("etag").unwrap().to_owned();
    let unchanged = rig.admin.request("GET", ONE, &[("if-none-match", &tag)], "").await.unwrap();
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let started =
        rig.admin.request("POST", &format!("{ONE}/start"), &[("if-match", &tag)], "").await.unwrap();
    assert_eq!(started.status, 200, "{}", started.text());
    assert_eq!(started.header("etag"), rig.get(ONE).await.header("etag"));
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let rig = Rig::start().await;
    let before = created(&rig).await.json().unwrap();
    let wanted = json!({
        "description": "One page instead of three.\nSee the wiki.", "labels": ["payments", "q3"],
        "analysis": {"mde": 0.02, "cuped": {"lookback_days": 7}}, "spike_limit": 50,
    });
    let after = patch(&rig, &wanted).await.json().unwrap();
    let mut expected = before.clone();
    expected["description"] = wanted["description"].clone();
    expected["labels"] = wanted["labels"].clone();
    expected["analysis"]["mde"] = json!(0.02);
    expected["analysis"]["cuped"]["lookback_days"] = json!(7);
    expected["spike_limit"] = json!(50);
    expected["revision"] = json!(2);
    expected["plan_version"] = json!(2);
    assert_eq!(after, expected);
    // Null is the default again, and a list is replaced whole.
    let cleared =
        json!({"labels": ["q4"], "spike_limit": null, "analysis": {"mde": null}, "description": null});
    let after = patch(&rig, &cleared).await.json().unwrap();
    assert_eq!((&after["labels"], after.get("description")), (&json!(["q4"]), None));
    assert_eq!((&after["spike_limit"], after["analysis"].get("mde")), (&json!(null), None));
    assert_eq!(after["analysis"]["cuped"]["lookback_days"], 7);
    assert_eq!(patch(&rig, &json!({})).await.json().unwrap(), after);
    let merge_patch = [("content-type", "application/merge-patch+json")];
    let named = rig.admin.request("PATCH", ONE, &merge_patch, r#"{"name":"n"}"#).await.unwrap();
    assert_eq!((named.status, &named.json().unwrap()["name"]), (200, &json!("n")));

    for (body, status, wanted) in [
        ("", 400, "invalid_json"),
        ("{", 400, "invalid_json"),
        ("[]", 422, "invalid_definition"),
        ("7", 422, "invalid_definition"),
        (r#"{"colour": 1}"#, 422, "unknown_field"),
        (r#"{"analysis": {"alhpa": 0.1}}"#, 422, "unknown_field"),
        (r#"{"analysis": {"alpha": 2}}"#, 422, "invalid_definition"),
        (r#"{"variations": null}"#, 422, "invalid_definition"),
        (r#"{"labels": ["a", "a"]}"#, 422, "invalid_definition"),
        (r#"{"labels": [""]}"#, 422, "invalid_definition"),
        (r#"{"description": "a\u0000b"}"#, 422, "invalid_definition"),
        (r#"{"status": "running"}"#, 422, "unknown_field"),
        (r#"{"key": "other"}"#, 409, "key_fixed"),
    ] {
        let answer = rig.admin.request("PATCH", ONE, &merge_patch, body).await.unwrap();
        assert_eq!(outcome(&answer), (status, wanted.to_owned()), "{body}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let answer = rig.admin.request("PATCH", ONE, &merge_patch, deep).await.unwrap();
    assert_eq!(outcome(&answer), (400, "json_too_deep".to_owned()));
    let long = json!({"description": "x".repeat(4_001)});
    assert_eq!(outcome(&patch(&rig, &long).await), (422, "invalid_definition".to_owned()));
    let plain = rig.admin.request("PATCH", ONE, &[("content-type", "text/plain")], "{}").await.unwrap();
    assert_eq!(plain.status, 415);
    assert_eq!(rig.ok(ONE).await, named.json().unwrap(), "refusals changed nothing");
}

#[tokio::test]
async fn what_was_started_keeps_what_its_answers_rest_on() {
    let rig = Rig::start().await;
    let mut definition = two_arms("checkout");
    definition["analysis"] = json!({"looks": [20_000]});
    let running = rig.running(&definition).await;
    let keys = |keys: &[&str]| keys.iter().map(|key| json!({"key": key})).collect::<Value>();
    for (change, wanted) in [
        (json!({"variations": keys(&["control", "treatment", "third"])}), "variations_fixed"),
        (json!({"variations": keys(&["treatment", "control"])}), "variations_fixed"),
        (json!({"variations": keys(&["control", "other"])}), "variations_fixed"),
        (json!({"analysis": {"looks": [30_000]}}), "looks_fixed"),
    ] {
        assert_eq!(outcome(&patch(&rig, &change).await), (409, wanted.to_owned()), "{change}");
    }
    let stored = rig.store().await.experiment("a", "checkout").await.unwrap().unwrap();
    assert_eq!(stored, running);

    let metric = json!({"key": "sales", "event": "purchase", "type": "proportion", "direction": "down"});
    let change = json!({
        "name": "n", "labels": ["l"], "metrics": [metric], "analysis": {"mode": "fixed", "alpha": 0.01, "mde": 0.1},
        "variations": [{"key": "control", "name": "As it was"}, {"key": "treatment"}],
    });
    for status in ["running", "stopped"] {
        let answer = patch(&rig, &change).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json().unwrap();
        assert_eq!((&answer["status"], &answer["plan_version"]), (&json!(status), &json!(1)));
        assert_eq!((&answer["metrics"][0]["key"], &answer["revision"]).0, "sales");
        assert_eq!(patch(&rig, &json!({"name": status})).await.status, 200);
        rig.post(&format!("{ONE}/stop")).await;
    }
    let live = rig.ok(&format!("{ONE}/live-stats")).await;
    assert_eq!((&live["mode"], &live["alpha"]), (&json!("fixed"), &json!(0.01)));
    assert_eq!(rig.post(&format!("{ONE}/archive")).await.status, 200);
    assert_eq!(outcome(&patch(&rig, &json!({"name": "m"})).await), (409, "wrong_status".to_owned()));
}

#[tokio::test]
async fn what_is_counted_may_change_and_answers_stay_until_it_was_counted() {
    let rig = Rig::start().await;
    let running = rig.running(&two_arms("checkout")).await;
    let users = |n| domain::Moments {
        heads: Heads { enrolled: n, ..Heads::default() },
        ..domain::Moments::default()
    };
    for variation in [0, 1] {
        rig.moments(&running, 0, variation, domain::Day(20_000), &users(1_000)).await;
    }
    let change =
        json!({"metrics": [{"key": "visits", "type": "count"}], "attribution": {"window_hours": 24}});
    let answer = patch(&rig, &change).await;
    let changed = answer.json().unwrap();
    let building = json!({"version": 2, "done_partitions": 0, "partitions": 2});
    assert_eq!(
        (answer.status, &changed["plan_version"], &changed["rebuilding"]),
        (200, &json!(1), &building)
    );
    assert_eq!(
        (&changed["metrics"][0]["key"], &changed["attribution"]["window_hours"]),
        (&json!("visits"), &json!(24))
    );
    assert_eq!(rig.ok(ONE).await, changed);
    // The gateways take the new metric for a used one.
    let entry = rig.catalogue().lookup("a", "checkout").await.unwrap().unwrap();
    assert_eq!(entry.metrics.join(","), "visits");
    for path in ["live-stats", "decision", "timeseries", "ingestion"] {
        let live = rig.ok(&format!("{ONE}/{path}")).await;
        assert_eq!(
            (&live["experiment"]["plan_version"], &live["experiment"]["rebuilding"]),
            (&json!(1), &building),
            "{path}"
        );
    }
    assert_eq!(rig.ok(&format!("{ONE}/live-stats")).await["metrics"][0]["key"], "purchase");
    // A patch is made of what is wanted, not of what is served.
    let named = patch(&rig, &json!({"name": "n"})).await.json().unwrap();
    assert_eq!((&named["name"], &named["metrics"]), (&json!("n"), &changed["metrics"]));
    let again = rig.post(&format!("{ONE}/rebuild")).await;
    assert_eq!((again.status, &again.json().unwrap()["rebuilding"]["version"]), (202, &json!(3)));
    assert_eq!(rig.post("/api/v1/experiments/none/rebuild").await.status, 404);
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_made() {
    let rig = Rig::start().await;
    created(&rig).await;
    let mut changing = tokio::task::JoinSet::new();
    for change in [
        json!({"name": "n"}),
        json!({"description": "d"}),
        json!({"labels": ["l"]}),
        json!({"analysis": {"alpha": 0.01}}),
        json!({"analysis": {"mde": 0.2}}),
        json!({"crossovers": "exclude"}),
    ] {
        let client = rig.client("admin-a");
        changing.spawn(async move { send(&client, "PATCH", ONE, &[], &change).await });
    }
    for answer in changing.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let after = rig.ok(ONE).await;
    assert_eq!(
        (&after["name"], &after["description"], &after["labels"]),
        (&json!("n"), &json!("d"), &json!(["l"]))
    );
    assert_eq!((&after["analysis"]["alpha"], &after["analysis"]["mde"]), (&json!(0.01), &json!(0.2)));
    assert_eq!((&after["crossovers"], &after["revision"]), (&json!("exclude"), &json!(7)));

    // Of several made of the same version, one is.
    let tag = rig.get(ONE).await.header("etag").unwrap().to_owned();
    let mut changing = tokio::task::JoinSet::new();
    for n in 0..6 {
        let (client, tag) = (rig.client("admin-a"), tag.clone());
        let change = json!({"name": format!("name {n}")});
        changing
            .spawn(async move { send(&client, "PATCH", ONE, &[("if-match", &tag)], &change).await.status });
    }
    let mut statuses = changing.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412]);
}

#[tokio::test]
async fn history_tells_what_was_done_by_whom() {
    let rig = Rig::start().await;
    let definition = created(&rig).await.json().unwrap();
    let named = [("x-request-id", "rename-1")];
    send(
        &rig.admin,
        "PATCH",
        ONE,
        &named,
        &json!({"name": "n", "labels": ["l"], "analysis": {"alpha": 0.1}}),
    )
    .await;
    for action in ["start", "stop", "archive", "restore"] {
        assert_eq!(rig.post(&format!("{ONE}/{action}")).await.status, 200, "{action}");
    }
    let history = rig.ok(&format!("{ONE}/history")).await;
    let items = history["items"].as_array().unwrap();
    let told: Vec<(&str, &Value)> =
        items.iter().map(|item| (item["action"].as_str().unwrap(), &item["status"])).collect();
    let status = |s: &str| json!(s);
    let (running, stopped, archived) = (status("running"), status("stopped"), status("archived"));
    let none = json!(null);
    assert_eq!(
        told,
        [
            ("restored", &stopped),
            ("moved", &archived),
            ("moved", &stopped),
            ("moved", &running),
            ("changed", &none),
            ("created", &none),
        ]
    );
    assert_eq!(
        items[4]["changes"],
        json!([
            {"pointer": "/analysis/alpha", "from": 0.05, "to": 0.1},
            {"pointer": "/name", "from": "checkout", "to": "n"},
            {"pointer": "/labels", "to": ["l"]},
        ])
    );
    assert_eq!(items[4]["request_id"], "rename-1");
    assert!(items[4]["actor"].as_str().unwrap().starts_with("sha256:"), "{}", items[4]);
    assert_eq!(items[5]["definition"]["variations"], definition["variations"]);
    assert_eq!(history["next_cursor"], json!(null));

    let mut paged = Vec::new();
    let mut query = "limit=4".to_owned();
    loop {
        let page = rig.ok(&format!("{ONE}/history?{query}")).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=4&cursor={cursor}");
    }
    assert_eq!(&paged, items);
    let page = rig.get(&format!("{ONE}/history")).await;
    let tag = page.header("etag").unwrap();
    let again =
        rig.admin.request("GET", &format!("{ONE}/history"), &[("if-none-match", tag)], "").await.unwrap();
    assert_eq!(again.status, 304);
    for query in ["limit=0", "limit=201", "cursor=-1", "cursor=x", "before=1"] {
        assert_eq!(rig.get(&format!("{ONE}/history?{query}")).await.status, 422, "{query}");
    }
}

#[tokio::test]
async fn what_was_put_away_is_brought_back() {
    let rig = Rig::start().await;
    created(&rig).await;
    let restore = || async { rig.post(&format!("{ONE}/restore")).await };
    let status =
        || async { rig.catalogue().lookup("a", "checkout").await.unwrap().map(|e| e.status.clone()) };
    assert_eq!(rig.admin.request("DELETE", ONE, &[], "").await.unwrap().status, 204);
    assert_eq!(status().await, None);
    let back = restore().await;
    assert_eq!((back.status, &back.json().unwrap()["status"]), (200, &json!("draft")));
    assert_eq!((status().await.as_deref(), rig.get(ONE).await.status), (Some("draft"), 200));
    let again = restore().await;
    assert_eq!((again.status, again.json().unwrap()), (200, back.json().unwrap()));

    for action in ["start", "stop", "archive"] {
        assert_eq!(rig.post(&format!("{ONE}/{action}")).await.status, 200, "{action}");
    }
    let stopped_at = rig.ok(ONE).await["stopped_at"].clone();
    let back = restore().await.json().unwrap();
    assert_eq!((&back["status"], &back["stopped_at"]), (&json!("stopped"), &stopped_at));
    assert_eq!(status().await.as_deref(), Some("stopped"));
    assert_eq!(rig.admin.request("DELETE", ONE, &[], "").await.unwrap().status, 204);
    let back = restore().await.json().unwrap();
    assert_eq!((&back["status"], &back["stopped_at"]), (&json!("stopped"), &stopped_at));
    // When it was deleted, it was stopped.
    assert_eq!(rig.post(&format!("{ONE}/start")).await.status, 200);
    assert_eq!(rig.admin.request("DELETE", ONE, &[], "").await.unwrap().status, 204);
    assert_eq!((status().await, rig.get(ONE).await.status), (None, 404));
    let back = restore().await.json().unwrap();
    assert_eq!(back["status"], "stopped");
    assert!(back["stopped_at"].as_str() > stopped_at.as_str(), "{back}");
    assert_eq!(status().await.as_deref(), Some("stopped"));
    assert_eq!(
        outcome(&rig.post("/api/v1/experiments/nothing/restore").await),
        (404, "unknown_experiment".to_owned())
    );
    assert_eq!(rig.admin.post(&format!("{ONE}/restore"), &[], "{\"to\":1}").await.unwrap().status, 422);
}

#[tokio::test]
async fn lists_are_narrowed() {
    let rig = Rig::start().await;
    for (key, labels) in [("a1", json!(["team 1"])), ("a2", json!([])), ("a3", json!(["team 1", "q3"]))] {
        let mut definition = two_arms(key);
        definition["labels"] = labels;
        rig.admin.post_json("/api/v1/experiments", &definition).await.unwrap();
    }
    rig.post("/api/v1/experiments/a3/start").await;
    for (query, wanted) in [
        ("label=team+1", vec!["a1", "a3"]),
        ("label=team%201&status=draft", vec!["a1"]),
        ("status=running", vec!["a3"]),
        ("status=archived", vec![]),
        ("label=none", vec![]),
    ] {
        let page = rig.ok(&format!("/api/v1/experiments?{query}")).await;
        let keys: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap()).collect();
        assert_eq!(keys, wanted, "{query}");
    }
    let first = rig.ok("/api/v1/experiments?label=team+1&limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = rig.ok(&format!("/api/v1/experiments?label=team+1&limit=1&cursor={cursor}")).await;
    assert_eq!((&second["items"][0]["key"], &second["next_cursor"]), (&json!("a3"), &json!(null)));
    assert_eq!(rig.get("/api/v1/experiments?status=deleted").await.status, 422);
}

#[tokio::test]
async fn nobody_changes_what_is_not_theirs() {
    let rig = Rig::start().await;
    created(&rig).await;
    rig.post(&format!("{ONE}/start")).await;
    let before = rig.get(ONE).await.json().unwrap();
    let routes = [
        ("PUT", ONE.to_owned()),
        ("PATCH", ONE.to_owned()),
        ("POST", format!("{ONE}/restore")),
        ("GET", format!("{ONE}/history")),
    ];
    for (method, path) in &routes {
        let body = if *method == "PUT" { two_arms("checkout") } else { json!({}) };
        let other = send(&rig.client("admin-b"), method, path, &[("if-match", "*")], &body).await;
        assert_eq!(outcome(&other), (404, "unknown_experiment".to_owned()), "{method} {path}");
        let sender = send(&rig.client("send-a"), method, path, &[], &body).await;
        assert_eq!(outcome(&sender), (403, "missing_scope".to_owned()), "{method} {path}");
        let stranger = send(&rig.client("stranger"), method, path, &[], &body).await;
        assert_eq!(outcome(&stranger), (401, "unknown_key".to_owned()), "{method} {path}");
        let reader = send(&rig.client("read-a"), method, path, &[], &body).await;
        assert_eq!(reader.status, if *method == "GET" { 200 } else { 403 }, "{method} {path}");
    }
    // Deleted, it is as unknown to the other tenant as it was.
    rig.admin.post_json("/api/v1/experiments", &two_arms("gone")).await.unwrap();
    rig.admin.request("DELETE", "/api/v1/experiments/gone", &[], "").await.unwrap();
    let other = rig.client("admin-b").post("/api/v1/experiments/gone/restore", &[], "").await.unwrap();
    assert_eq!(outcome(&other), (404, "unknown_experiment".to_owned()));
    assert_eq!(rig.get(ONE).await.json().unwrap(), before);
}
