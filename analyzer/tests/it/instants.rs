//! Every answer is of one instant, however much is written meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::answers::{DAY, moments};
use crate::rig::{Rig, two_arms};
use domain::codec::encode_moments;
use serde_json::Value;

const CHANGES: i64 = 150;

/// Users of both arms, and what the counters say where they are shown.
fn numbers(answer: &Value) -> Vec<i64> {
    let arms = answer["arms"].as_array().unwrap();
    let named = |name: &str| arms.iter().filter_map(|arm| arm[name].as_i64()).collect::<Vec<_>>();
    [named("users"), named("exposures")].concat()
}

#[tokio::test]
async fn what_one_answer_says_was_true_at_one_time() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("moving")).await;
    let of = |n: i64| moments(&e.plan(), n, &[]);
    for variation in [0, 1] {
        rig.moments(&e, 0, variation, DAY, &of(1)).await;
        rig.counter(e.id.0, 0, variation, "exposures", 1).await;
    }
    let done = AtomicBool::new(false);
    let writing = async {
        for n in 2..=CHANGES {
            let vector: String = encode_moments(&of(n)).iter().map(|b| format!("{b:02x}")).collect();
            // One transaction: statements of one message.
            rig.sql(&format!(
                "UPDATE moments SET vector = '\\x{vector}' WHERE variation = 0;
                 UPDATE counters SET n = {n} WHERE name = 'exposures' AND variation = 0;
                 UPDATE moments SET vector = '\\x{vector}' WHERE variation = 1;
                 UPDATE counters SET n = {n} WHERE name = 'exposures' AND variation = 1"
            ))
            .await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let reading = async {
        let mut last = 0;
        while last < CHANGES {
            // Nothing is written any more while the last answers are made.
            let ended = done.load(Ordering::Relaxed);
            for (path, expected) in [
                ("ingestion", 4),
                ("live-stats", 2),
                ("live-stats?by=stratum", 2),
                ("decision", 2),
                ("timeseries", 2),
            ] {
                let numbers = numbers(&rig.ok(&format!("/api/v1/experiments/moving/{path}")).await);
                assert_eq!(numbers, vec![numbers[0]; expected], "{path}");
                assert!(numbers[0] >= last, "{path}: {} after {last}", numbers[0]);
                last = numbers[0];
            }
            assert!(!ended || last == CHANGES, "{last} of {CHANGES}");
        }
    };
    tokio::join!(writing, reading);
}
