//! Decisions and series as routes give them.

use domain::Day;
use domain::plan::Feature;
use ethnum::I256;
use serde_json::json;

use crate::answers::{DAY, moments};
use crate::rig::{Rig, code, two_arms};

#[tokio::test]
async fn decisions_and_series_are_answered_over_http() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("shown")).await;
    let arm = |users, converters: u32| {
        let converted = Feature::Converted(0);
        moments(&e.plan(), users, &[(Feature::One, converted, I256::from(converters))])
    };
    for (n, users) in [(0, 500), (1, 900)] {
        rig.moments(&e, 0, 0, Day(DAY.0 + n), &arm(users, 50)).await;
        rig.moments(&e, 1, 1, Day(DAY.0 + n), &arm(users, 60)).await;
    }
    let base = "/api/v1/experiments/shown";
    let decision = rig.ok(&format!("{base}/decision")).await;
    assert_eq!((&decision["decision"], &decision["full_days"]), (&json!("keep_running"), &json!(0)));
    assert_eq!(decision["treatments"][0]["missing"]["days"], 7);
    // Before it was started.
    let early = rig.ok(&format!("{base}/decision?as_of={DAY}")).await;
    assert_eq!(early["reasons"][0], "not_started");
    let series = rig.ok(&format!("{base}/timeseries")).await;
    let second = Day(DAY.0 + 1).to_string();
    assert_eq!(
        (&series["days"], &series["day_basis"]),
        (&json!([DAY.to_string(), second]), &json!("received"))
    );
    assert_eq!(series["metrics"][0]["points"][1]["arms"][1]["new"]["users"], 400);
    let as_of = rig.ok(&format!("{base}/timeseries?as_of={DAY}")).await;
    assert_eq!(as_of["metrics"][0]["points"], json!([series["metrics"][0]["points"][0]]));
    let stepped =
        rig.ok(&format!("{base}/timeseries?from={DAY}&to={second}&step=2&day_basis=received")).await;
    assert_eq!(stepped["days"], json!([second]));
    // No raw rows: nothing occurred.
    let occurred = rig.ok(&format!("{base}/timeseries?day_basis=occurred")).await;
    assert_eq!((&occurred["days"], &occurred["metrics"][0]["points"]), (&json!([]), &json!([])));
    for (query, refused) in [
        ("step=0", "invalid_parameter"),
        ("step=367", "invalid_parameter"),
        ("day_basis=guessed", "invalid_parameter"),
        ("from=yesterday", "invalid_parameter"),
        ("until=2026-03-01", "unknown_parameter"),
        ("from=2024-01-01", "too_many_points"),
    ] {
        let answer = rig.get(&format!("{base}/timeseries?{query}")).await;
        assert_eq!((answer.status, code(&answer).as_str()), (422, refused), "{query}");
    }
    for path in ["decision", "timeseries"] {
        let unknown = rig.get(&format!("/api/v1/experiments/none/{path}")).await;
        assert_eq!((unknown.status, code(&unknown).as_str()), (404, "unknown_experiment"));
        let posted = rig.post(&format!("{base}/{path}")).await;
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
        let first = rig.get(&format!("{base}/{path}?as_of={DAY}")).await;
        let tag = first.header("etag").unwrap().to_owned();
        let again = rig
            .admin
            .request("GET", &format!("{base}/{path}?as_of={DAY}"), &[("if-none-match", &tag)], "")
            .await
            .unwrap();
        assert_eq!(again.status, 304, "{path}");
    }
}
