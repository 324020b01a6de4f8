//! What became of events: ingestion, receipts, accounting.

use std::time::Duration;

use domain::event::{Conversion, Key};
use domain::{BatchId, Decimal, ExperimentId, Partition, Timestamp};
use queue::frame::{Events, Frame, Group, encode};
use queue::producer::Outgoing;
use serde_json::json;
use uuid::Uuid;

use crate::rig::{Rig, code, queue, two_arms};

#[tokio::test]
async fn ingestion_counts_every_fate() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("checkout")).await;
    let id = e.id.0;
    for (partition, variation, name, n) in [
        (0, 0, "exposures", 10),
        (1, 0, "exposures", 5),
        (1, 1, "exposures", 7),
        (0, -1, "conversions", 4),
        (0, -1, "deduplicated", 3),
        (1, -1, "conflicts", 2),
        (1, -1, "dead_lettered", 1),
        (0, -1, "keyless", 6),
        (0, 1, "clock_corrected", 8),
        (0, -1, "clock_corrected", 1),
        (0, 1, "discarded:after_stop", 3),
        (0, 0, "late", 2),
        (1, 0, "late", 1),
        (1, 1, "conflicts", 5),
        (0, -1, "never_exposed", 4),
        (1, -1, "never_exposed", -1),
        (0, -1, "unused:page", 2),
        (1, -1, "unused:page", 1),
        (1, -1, "unused:typo", 9),
        // Added to the definition since.
        (1, -1, "unused:purchase", 9),
    ] {
        rig.counter(id, partition, variation, name, n).await;
    }
    let answer = rig.ok("/api/v1/experiments/checkout/ingestion").await;
    assert_eq!(answer["experiment"]["key"], "checkout");
    for (field, n) in [
        ("exposures", 22),
        ("conversions", 4),
        ("recorded", 26),
        ("deduplicated", 3),
        ("conflicts", 7),
        ("dead_lettered", 1),
        ("discarded", 0),
        ("keyless", 6),
        ("clock_corrected", 9),
    ] {
        assert_eq!(answer[field], n, "{field}");
    }
    assert_eq!((&answer["arms"][0]["exposures"], &answer["arms"][1]["exposures"]), (&json!(15), &json!(7)));
    assert_eq!(answer["arms"][0]["data_quality"]["crossovers"], 0);
    let quality = json!({
        "never_exposed": 3, "after_stop": 3, "late": 3, "clock_corrected": 9, "keyless": 6, "conflicts": 7,
        "strata_merged": 0,
        "unused_metrics": [{"metric": "typo", "conversions": 9}, {"metric": "page", "conversions": 3}],
    });
    // Every answer says the same of the data it is made of.
    for route in ["ingestion", "live-stats", "decision", "timeseries"] {
        let answer = rig.ok(&format!("/api/v1/experiments/checkout/{route}")).await;
        assert_eq!(answer["data_quality"], quality, "{route}");
        let of_arm = |index: usize| {
            let quality = &answer["arms"][index]["data_quality"];
            ["after_stop", "late", "clock_corrected", "keyless", "conflicts", "excluded"]
                .map(|name| quality[name].as_i64().unwrap())
        };
        assert_eq!((of_arm(0), of_arm(1)), ([0, 3, 0, 0, 0, 0], [3, 0, 8, 0, 5, 0]), "{route}");
    }
    let series = rig.ok("/api/v1/experiments/checkout/timeseries?day_basis=occurred").await;
    assert_eq!((series.get("data_quality"), series["arms"][0]["data_quality"].get("late")), (None, None));
    // All of it was counted on one day.
    let mut then = rig.ok("/api/v1/experiments/checkout/ingestion?as_of=2026-03-01").await;
    assert_eq!(then["as_of"].take(), "2026-03-01");
    assert_eq!(then, answer);
    let before = rig.ok("/api/v1/experiments/checkout/ingestion?as_of=2026-02-28").await;
    assert_eq!(
        (&before["recorded"], &before["deduplicated"], &before["keyless"]),
        (&json!(0), &json!(0), &json!(0))
    );
    let refused = rig.get("/api/v1/experiments/checkout/ingestion?day=2026-03-01").await;
    assert_eq!((refused.status, code(&refused).as_str()), (422, "unknown_parameter"));
}

async fn receipt(
    rig: &Rig,
    batch: Uuid,
    request: &str,
    part: u16,
    parts: u16,
    recorded: u32,
    deduplicated: u32,
) {
    rig.sql(&format!(
        "INSERT INTO receipts (batch, request_id, part, parts, tenant, recorded, deduplicated, conflicts, dead_lettered)
         VALUES ('{batch}', '{request}', {part}, {parts}, 'a', {recorded}, {deduplicated}, 0, 1)"
    ))
    .await;
}

#[tokio::test]
async fn receipts_tell_when_all_parts_are_applied() {
    let rig = Rig::start().await;
    let batch = Uuid::now_v7();
    let path = format!("/api/v1/batches/{batch}");
    let now = domain::Timestamp(i64::try_from(batch_ms(batch)).unwrap() * 1000);
    let claim = format!("{path}?request=r1&parts=2&received=9&at={now}");

    // Nothing is known but what the client says it was told.
    let queued = json!({"batch_id": batch, "received": 9, "status": "queued"});
    assert_eq!(rig.ok(&claim).await, queued);
    let unknown = rig.get(&path).await;
    assert_eq!((unknown.status, code(&unknown).as_str()), (404, "unknown_batch"));
    let old = Timestamp(now.0 - 25 * 3600 * 1_000_000);
    assert_eq!(rig.get(&format!("{path}?request=r1&parts=2&received=9&at={old}")).await.status, 404);
    let future = Timestamp(now.0 + 25 * 3600 * 1_000_000);
    assert_eq!(rig.get(&format!("{path}?request=r1&parts=2&received=9&at={future}")).await.status, 404);

    receipt(&rig, batch, "r1", 0, 2, 4, 0).await;
    assert_eq!(rig.ok(&claim).await, queued);
    assert_eq!(rig.ok(&path).await, json!({"batch_id": batch, "status": "queued"}));
    receipt(&rig, batch, "r1", 1, 2, 2, 1).await;
    let applied = json!({
        "batch_id": batch, "received": 9, "recorded": 6, "deduplicated": 1, "conflicts": 0, "dead_lettered": 2,
        "status": "applied",
    });
    assert_eq!(rig.ok(&claim).await, applied);
    assert_eq!(rig.ok(&path).await, applied);

    // A retry of the same batch under another request found only duplicates.
    receipt(&rig, batch, "r0", 0, 1, 0, 8).await;
    assert_eq!(rig.ok(&path).await, applied);
    assert_eq!(rig.ok(&format!("{path}?request=r0")).await["deduplicated"], 8);
    assert_eq!(rig.get(&format!("{path}?request=r9")).await.status, 404);

    // Whoever may send may ask; another tenant sees nothing.
    assert_eq!(rig.client("send-a").get(&path).await.unwrap().json().unwrap(), applied);
    assert_eq!(rig.client("admin-b").get(&path).await.unwrap().status, 404);
    assert_eq!(rig.get("/api/v1/batches/nothing").await.status, 404);
    for query in ["parts=0", "parts=x", "parts=70000", "received=-1", "at=noon", "wait=1"] {
        assert_eq!(rig.get(&format!("{path}?{query}")).await.status, 422, "{query}");
    }
}

/// The clock by which a version 7 id was made.
fn batch_ms(batch: Uuid) -> u64 {
    let (seconds, nanos) = batch.get_timestamp().unwrap().to_unix();
    seconds * 1000 + u64::from(nanos) / 1_000_000
}

#[tokio::test]
async fn the_books_close_and_tenants_see_their_own() {
    let rig = Rig::start().await;
    let id = rig.running(&two_arms("checkout")).await.id.0;
    for (experiment, name, n) in [
        (0, "conversions", 5),
        (0, "deduplicated", 1),
        (id, "exposures", 20),
        (id, "discarded", 2),
        (id, "discarded:deleted_experiment", 2),
        (id, "dead_lettered", 4),
        (id, "redriven", 3),
        (id, "conflicts", 1),
    ] {
        rig.counter(experiment, 0, -1, name, n).await;
    }
    rig.sql(
        "INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
         VALUES ('b', 0, 1, -1, '2026-03-01', 'dead_lettered', 3);
         INSERT INTO partitions (partition, accepted, lost) VALUES (0, 32, 0), (1, 7, 4)
         ON CONFLICT (partition) DO UPDATE SET accepted = EXCLUDED.accepted, lost = EXCLUDED.lost",
    )
    .await;
    let sent = send(&rig, 6).await;
    assert_eq!(sent, 6);

    let answer = rig.ok("/api/v1/accounting").await;
    let fates = |recorded, deduplicated, dead, reasons: serde_json::Value, conflicts| {
        let discarded: i64 = reasons.as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum();
        json!({"recorded": recorded, "deduplicated": deduplicated, "dead_lettered": dead, "discarded": discarded,
            "discarded_by_reason": reasons, "conflicts": conflicts})
    };
    let mut tenant = fates(5, 1, 0, json!({}), 0);
    tenant["id"] = json!(null);
    let deleted = json!({"deleted_experiment": 2});
    let mut experiment = fates(20, 0, 1, deleted.clone(), 1);
    experiment["id"] = json!(id);
    assert_eq!(answer["experiments"], json!([tenant, experiment]));
    assert_eq!(answer["total"], fates(25, 1, 1, deleted, 1));
    assert!(answer.get("partitions").is_none() && answer.get("books").is_none());

    let operator = rig.client("operator-a");
    let full = operator.get("/api/v1/accounting").await.unwrap().json().unwrap();
    assert_eq!(full["total"], answer["total"]);
    let book = |received, recorded, deduplicated, dead, discarded, in_flight, lost| {
        json!({"received": received, "recorded": recorded, "deduplicated": deduplicated, "dead_lettered": dead,
            "discarded": discarded, "in_flight": in_flight, "lost": lost})
    };
    let mut first = book(29, 25, 1, 1, 2, 0, 0);
    first["partition"] = json!(0);
    let mut second = book(13, 0, 0, 3, 0, 6, 4);
    second["partition"] = json!(1);
    assert_eq!(full["partitions"], json!([first, second]));
    assert_eq!(full["books"], book(42, 25, 1, 4, 2, 6, 4));

    // Without the queue nobody knows what is in flight; the tenant's own lines need no queue.
    rig.redis.stop().await.unwrap();
    let refused = operator.get("/api/v1/accounting").await.unwrap();
    assert_eq!((refused.status, code(&refused).as_str()), (503, "queue_unavailable"));
    assert_eq!(rig.ok("/api/v1/accounting").await, answer);
}

/// Sends so many events to partition 1 as a gateway does.
async fn send(rig: &Rig, events: u32) -> u32 {
    let producer = queue(&rig.redis.url()).producer();
    let conversion = |i: u32| Conversion {
        user_id: "u",
        metric: "m",
        value: Decimal::ONE,
        key: Key::Index(i),
        occurred_given: None,
    };
    let frame = Frame {
        batch: BatchId(uuid::Uuid::now_v7()),
        tenant: "a",
        request_id: "r",
        traceparent: None,
        sent_at: None,
        received_at: Timestamp(0),
        clock_shift: 0,
        receipt: None,
        groups: vec![Group {
            experiment: ExperimentId::NONE,
            after_stop: false,
            events: Events::Conversions((0..events).map(conversion).collect()),
        }],
    };
    let outgoing =
        Outgoing { partition: Partition(1), bytes: encode(&frame).unwrap(), events: frame.events() };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    producer.send(vec![outgoing], deadline).await.unwrap();
    frame.events()
}
