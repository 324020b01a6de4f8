//! A variation asked for, shown, and kept; and what is stored of the user.

use crate::support::{applied, two_arms};
use e2e::Deployment;
use serde_json::{Value, json};

async fn the_variation_that_was_shown_sticks(system: &dyn Deployment) {
    system.experiment(two_arms("checkout", &["purchase"])).await.unwrap();
    let (client, admin) = (system.ingest(), system.admin());
    let assigned = async |user: &str| -> Value {
        let path = "/api/v1/experiments/checkout/assign";
        let answer = admin.post_json(path, &json!({"user_id": user})).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().unwrap()
    };
    for user in ["ann", "bob", "zoë 1/2"] {
        let first = assigned(user).await;
        assert_eq!(first["reason"], "assigned");
        // A client that had another idea showed the other one.
        let shown = 1 - first["variation_index"].as_u64().unwrap();
        let exposures = json!({"exposures": [
            {"user_id": user, "variation_index": shown, "occurred_at": "2026-03-01T12:00:00Z"},
        ]});
        applied(&client, "/api/v1/experiments/checkout/exposures", &[], exposures.to_string()).await;
        let conversions = json!({"conversions": [
            {"user_id": user, "metric": "purchase", "value": "2.5", "occurred_at": "2026-03-01T13:00:00Z"},
            {"user_id": user, "metric": "purchase", "occurred_at": "2026-02-01T13:00:00Z"},
        ]});
        applied(&client, "/api/v1/conversions", &[], conversions.to_string()).await;
        let again = assigned(user).await;
        assert_eq!((&again["reason"], &again["variation_index"]), (&json!("sticky"), &json!(shown)));
    }
    let user = admin.get("/api/v1/experiments/checkout/users/zo%C3%AB%201%2F2").await.unwrap();
    let user = user.json().unwrap();
    assert_eq!(user["enrollment"]["exposed_at"], "2026-03-01T12:00:00Z");
    let fell: Vec<&Value> = user["conversions"].as_array().unwrap().iter().map(|c| &c["fell"]).collect();
    assert_eq!(fell, ["before_exposure", "counted"]);
    assert_eq!(
        (&user["metrics"][0]["converted"], &user["metrics"][0]["conversions"]),
        (&json!(true), &json!("1"))
    );
}

on_both!(the_variation_that_was_shown_sticks);
