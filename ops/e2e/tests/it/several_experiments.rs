//! One user in three experiments, one conversion of the tenant.

use crate::support::{applied, assert_verified, counted, two_arms};
use e2e::Deployment;
use serde_json::{Value, json};

fn exposure(user: &str, experiment: &str) -> Value {
    json!({"type": "exposure", "user_id": user, "experiment": experiment, "variation": "treatment",
        "occurred_at": "2026-03-01T10:00:00Z"})
}

fn purchase(user: &str) -> Value {
    json!({"type": "conversion", "user_id": user, "metric": "purchase", "value": 12.5,
        "occurred_at": "2026-03-01T11:00:00Z", "idempotency_key": "order-1"})
}

async fn a_tenant_conversion_counts_once_in_each_experiment_whose_metric_it_is(system: &dyn Deployment) {
    for key in ["one", "two", "three", "running_without_the_user"] {
        system.experiment(two_arms(key, &["purchase"])).await.unwrap();
    }
    system.experiment(two_arms("other_metric", &["signup"])).await.unwrap();
    let client = system.ingest();
    let send = async |events: Vec<Value>| {
        applied(&client, "/api/v1/events", &[], json!({"events": events}).to_string()).await
    };

    // Before the exposures, after them, between them, and twice in each way.
    let users = ["before", "after", "between", "one request"];
    for user in users {
        let seen: Vec<Value> =
            ["one", "two", "three", "other_metric"].iter().map(|e| exposure(user, e)).collect();
        let requests = match user {
            "before" => vec![vec![purchase(user)], vec![purchase(user)], seen],
            "after" => vec![seen, vec![purchase(user)], vec![purchase(user)]],
            "between" => {
                let (first, rest) = seen.split_at(2);
                vec![first.to_vec(), vec![purchase(user)], rest.to_vec(), vec![purchase(user)]]
            }
            _ => vec![[vec![purchase(user)], seen, vec![purchase(user)]].concat()],
        };
        let (mut recorded, mut deduplicated) = (0, 0);
        for events in requests {
            let answer = send(events).await;
            recorded += answer["recorded"].as_u64().unwrap();
            deduplicated += answer["deduplicated"].as_u64().unwrap();
        }
        assert_eq!((recorded, deduplicated), (5, 1), "{user}");
    }

    let everybody = i64::try_from(users.len()).unwrap();
    for key in ["one", "two", "three"] {
        assert_eq!(counted(system, key, 1).await, (everybody, everybody, everybody), "{key}");
        assert_eq!(counted(system, key, 0).await, (0, 0, 0), "{key}");
    }
    assert_eq!(counted(system, "other_metric", 1).await, (everybody, 0, 0));
    for arm in [0, 1] {
        assert_eq!(counted(system, "running_without_the_user", arm).await, (0, 0, 0));
    }
    assert_verified(system, &["one", "two", "three", "running_without_the_user", "other_metric"]).await;
}

async fn a_conversion_that_names_an_experiment_counts_only_there(system: &dyn Deployment) {
    for key in ["one", "two"] {
        system.experiment(two_arms(key, &["purchase"])).await.unwrap();
    }
    let client = system.ingest();
    let at = "2026-03-01T10:00:00Z";
    for key in ["one", "two"] {
        let body = json!({"exposures": [{"user_id": "u", "variation_index": 0, "occurred_at": at}]});
        let path = format!("/api/v1/experiments/{key}/exposures");
        applied(&client, &path, &[], body.to_string()).await;
    }
    let order = json!({"conversions": [{"user_id": "u", "metric": "purchase", "idempotency_key": "k"}]});
    // The same key once with and once without an experiment is two events.
    for (path, recorded) in
        [("/api/v1/experiments/one/conversions", 1), ("/api/v1/conversions", 1), ("/api/v1/conversions", 0)]
    {
        assert_eq!(applied(&client, path, &[], order.to_string()).await["recorded"], recorded, "{path}");
    }
    assert_eq!(counted(system, "one", 0).await, (1, 1, 2));
    assert_eq!(counted(system, "two", 0).await, (1, 1, 1));
    assert_verified(system, &["one", "two"]).await;
}

on_both!(
    a_tenant_conversion_counts_once_in_each_experiment_whose_metric_it_is,
    a_conversion_that_names_an_experiment_counts_only_there,
);
