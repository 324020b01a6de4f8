//! What a request is told became of it.

use crate::support::{applied, assert_verified, counted, two_arms};
use e2e::Deployment;
use e2e::run::{self, silent};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;

async fn every_200_adds_up_and_all_of_them_together_are_what_must_be_recorded(system: &dyn Deployment) {
    let mut simulation = run::varied(20_000, 21);
    simulation.manner.wait = Some(30);
    simulation.manner.batch = 150;
    let outcome = run::send(system, &simulation, silent()).await.unwrap();
    let (answers, expected) = (outcome.answers, outcome.oracle.total());
    // Every single answer was held against received = recorded + deduplicated + dead_lettered on its way.
    assert_eq!(answers.applied, answers.received);
    assert_eq!((answers.recorded, answers.dead_lettered), (expected.recorded(), 0));
    assert_eq!((answers.deduplicated, answers.conflicts), (expected.deduplicated, expected.conflicts));
    let (_, found) = run::faults(system, &simulation, &outcome).await.unwrap();
    assert_eq!(found, Vec::<String>::new());

    // The same once more: the same bytes, keyless events under the same `Idempotency-Key`.
    let again = simulation.run(&system.gateway_url(), Some(e2e::API_TOKEN), &silent()).await.unwrap();
    assert_eq!((again.answers.recorded, again.answers.deduplicated), (0, again.answers.received));
    let total = run::settled(system).await.unwrap().total;
    assert_eq!(u64::try_from(total.recorded).unwrap(), expected.recorded());
    let keys: Vec<&str> = simulation.plot.world.experiments.iter().map(|e| e.key.as_str()).collect();
    assert_verified(system, &keys).await;
}

async fn a_gzip_batch_of_ten_thousand_keyed_conversions_is_taken_with_default_settings(
    system: &dyn Deployment,
) {
    system.experiment(two_arms("big", &["purchase"])).await.unwrap();
    let client = system.ingest();
    let exposures: Vec<Value> =
        (0..10_000).map(|i| json!({"user_id": format!("user-{i:08}"), "variation_index": i % 2})).collect();
    let path = "/api/v1/experiments/big/exposures";
    let answer = applied(&client, path, &[], json!({"exposures": exposures}).to_string()).await;
    assert_eq!(answer["recorded"], 10_000);
    let conversions: Vec<Value> = (0..10_000)
        .map(|i| {
            json!({"user_id": format!("user-{i:08}"), "metric": "purchase", "value": format!("{i}.25"),
                "idempotency_key": format!("0198f0c4-5b1e-7c55-b3f2-{i:012}")})
        })
        .collect();
    let plain = json!({"conversions": conversions}).to_string();
    assert!(plain.len() > 1_000_000, "larger than a plain body may be");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    for (recorded, deduplicated) in [(10_000, 0), (0, 10_000)] {
        let headers = [("content-encoding", "gzip")];
        let answer = applied(&client, "/api/v1/conversions", &headers, packed.clone()).await;
        assert_eq!((&answer["recorded"], &answer["deduplicated"]), (&recorded.into(), &deduplicated.into()));
    }
    assert_eq!(counted(system, "big", 0).await, (5_000, 5_000, 5_000));
    assert_eq!(counted(system, "big", 1).await, (5_000, 5_000, 5_000));
    assert_verified(system, &["big"]).await;
}

on_both!(
    every_200_adds_up_and_all_of_them_together_are_what_must_be_recorded,
    a_gzip_batch_of_ten_thousand_keyed_conversions_is_taken_with_default_settings,
);
