//! `abctl top` beside a deployment that takes events, and one that goes away.

use crate::deployment::abctl;
use crate::up::rig::{LIMIT, Up, visit};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::Process;

/// The whole lines of what was printed so far.
fn flows(process: &Process) -> Vec<Value> {
    let out = process.stdout();
    let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flows_is_shown_until_nothing_answers_and_then_that() {
    let data = testkit::temp_dir("top").unwrap();
    let up = Up::start(&data).await;
    up.create().await;
    let top = Process::of("abctl").unwrap().arg("top").arg("--json").arg("--every").arg("100ms");
    let mut top = top.env("AB_URL", up.url()).env("AB_ADMIN_TOKEN", up.keys().0).spawn().unwrap();
    let sent = AtomicU32::new(0);
    let shown = || async {
        let user = format!("user-{}", sent.fetch_add(1, Ordering::Relaxed));
        let answer = up.sender().post_json("/api/v1/events", &visit(&user)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let flows_here = |flow: &Value| {
            let rate = |pointer: &str| flow.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
            rate("/columns/recorded/per_second") > 0.0
                && rate("/columns/received/per_second") > 0.0
                && rate("/partitions/0/applied/per_second") > 0.0
                && flow["experiments"].as_array().unwrap().iter().any(|of| of["key"] == "load")
        };
        flows(&top).iter().any(flows_here)
    };
    testkit::eventually("a rate is shown", LIMIT, shown).await.unwrap();
    up.end().await;
    let told = || async { top.stderr().contains("abctl: nothing answers at ") };
    testkit::eventually("it says that nothing answers", LIMIT, told).await.unwrap();
    assert!(top.try_wait().unwrap().is_none(), "{}", top.stderr());
    top.kill().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_sees_what_is_of_the_tenant() {
    let data = testkit::temp_dir("top").unwrap();
    let up = Up::start(&data).await;
    up.create().await;
    assert_eq!(up.sender().post_json("/api/v1/events", &visit("ann")).await.unwrap().status, 200);
    let asked = json!({"name": "reader", "scopes": ["read"]});
    let key = up.admin().post_json("/api/v1/keys", &asked).await.unwrap().json().unwrap();
    let (url, key) = (up.url(), key["key"].as_str().unwrap().to_owned());
    let env = [("AB_URL", url.as_str()), ("AB_API_TOKEN", key.as_str())];
    let once = ["top", "--once", "--every", "100ms"];
    let flow: Value =
        serde_json::from_str(&abctl(&[&once[..], &["--json"]].concat(), &env, None).ok()).unwrap();
    assert_eq!((&flow["partitions"], &flow["columns"]["received"]), (&json!([]), &Value::Null));
    assert_eq!(flow["columns"]["recorded"]["events"], 2);
    let page = abctl(&once, &env, None).ok();
    assert!(page.contains("\nload ") && !page.contains("partition  "), "{page}");
    assert!(!page.contains('\u{1b}'), "{page}");
    let sender = [("AB_URL", url.as_str()), ("AB_API_TOKEN", &up.keys().1)];
    assert!(abctl(&once, &sender, None).failed(1).contains("missing_scope"));
    assert_eq!(abctl(&["top", "--every", "1ms"], &env, None).code, 2);
    up.end().await;
}
