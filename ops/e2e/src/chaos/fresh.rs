//! After it all: an event through every gateway into every partition, committed within 5 s.

use super::fleet::Fleet;
use super::ledger::{Content, Ledger, Place, What};
use super::{HASTY_TOKEN, gateways, hasty};
use anyhow::{Context, Result};
use domain::{ExperimentId, Partition, Timestamp, UnitId};
use serde_json::json;
use std::time::Duration;

/// `Prefer: wait`, in seconds.
const WITHIN: u32 = 5;
/// Of the request: a gateway that answers "not yet" is heard out.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What does not come through, or too late. What is sent is claimed in the ledger.
pub async fn flows(
    fleet: &Fleet,
    experiment: ExperimentId,
    at: i64,
    ledger: &mut Ledger,
) -> Result<Vec<String>> {
    let mut late = Vec::new();
    let prefer = format!("wait={WITHIN}");
    for (gateway, client) in gateways(fleet, HASTY_TOKEN, TIMEOUT)?.iter_mut().enumerate() {
        for partition in (0..fleet.setup.partitions).map(Partition) {
            let user =
                user_of(partition, fleet.setup.partitions, gateway).context("a user of the partition")?;
            let event = json!({"type": "exposure", "user_id": user, "experiment": hasty::EXPERIMENT,
                "variation_index": 0, "occurred_at": at});
            let place = Place { tenant: hasty::TENANT.into(), user, experiment, key: None };
            let content = Content { what: What::Variation(0), at: Some(Timestamp::from_millis(at)) };
            let claim = ledger.claim(place, content);
            let body = json!({"events": [event]}).to_string();
            match client.post("/api/v1/events", &[("prefer", &prefer)], body).await {
                Ok(answer) if answer.status == 200 => ledger.acknowledge(&claim),
                answer => late.push(format!(
                    "a fresh event through gateway {gateway} into partition {partition}: not committed within {WITHIN} s: \
                     {answer:?}"
                )),
            }
        }
    }
    Ok(late)
}

fn user_of(partition: Partition, partitions: u16, gateway: usize) -> Option<String> {
    let mut users = (0..100_000).map(|n| format!("fresh-{gateway}-{n}"));
    users.find(|user| UnitId::of(hasty::TENANT, user).partition(partitions) == partition)
}
