//! What webhooks are told of, and when it is news.
//!
//! A decision is news whenever it differs from the one told last, the other way too. A sample ratio mismatch and a
//! harmed guardrail are told once for each version of the plan: their tests hold at every look, so what was proven
//! stays proven, and an alarm that comes and goes around a threshold wakes nobody twice.

use std::collections::BTreeSet;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Experiment, Note};

use crate::decision::Decided;
use crate::metric::guardrail::Outcome;
use crate::metric::reading::Reading;

pub const DECISION_CHANGED: &str = "decision_changed";
pub const SRM_MISMATCH: &str = "srm_mismatch";
pub const GUARDRAIL_HARMED: &str = "guardrail_harmed";
pub const DEAD_LETTERS: &str = "dead_letters";
/// Not chosen: sent when asked for.
pub const TEST: &str = "test";

/// Those a webhook can be for.
pub const EVENTS: [&str; 4] = [DECISION_CHANGED, SRM_MISMATCH, GUARDRAIL_HARMED, DEAD_LETTERS];

/// What was told of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    decision: String,
    variation: Option<String>,
    /// Of which the alarms below are.
    plan_version: u32,
    srm_mismatch: bool,
    /// Guardrail and variation.
    harmed: BTreeSet<(String, String)>,
}

impl Default for Told {
    /// Of a new experiment nothing has to be told.
    fn default() -> Told {
        Told {
            decision: "keep_running".to_owned(),
            variation: None,
            plan_version: 0,
            srm_mismatch: false,
            harmed: BTreeSet::new(),
        }
    }
}

/// What is known now, and what of it is news.
pub fn news(
    told: &Told,
    decided: &Decided<'_>,
    experiment: &Experiment,
    now: Timestamp,
) -> (Told, Vec<Note>) {
    let mut next = told.clone();
    if next.plan_version != experiment.plan_version {
        next = Told {
            plan_version: experiment.plan_version,
            srm_mismatch: false,
            harmed: BTreeSet::new(),
            ..next
        };
    }
    let mut notes = Vec::new();
    let mut tell = |event, mut data: Value| {
        data["experiment"] = json!(decided.experiment);
        notes.push(note(event, &experiment.tenant, now, &data));
    };
    let decision = json!(decided.decision).as_str().unwrap_or_default().to_owned();
    let variation = decided.variation.map(str::to_owned);
    if (&decision, &variation) != (&told.decision, &told.variation) {
        let before = json!({"decision": told.decision, "variation": told.variation});
        let (reasons, blockers) = (&decided.reasons, &decided.blockers);
        tell(
            DECISION_CHANGED,
            json!({
                "decision": decision, "variation": variation, "reasons": reasons, "blockers": blockers, "before": before,
            }),
        );
        (next.decision, next.variation) = (decision, variation);
    }
    if decided.srm.mismatch_at_any_look() && !next.srm_mismatch {
        let users: Vec<Value> = decided
            .arms
            .iter()
            .map(|arm| json!({"key": arm.key, "weight": arm.weight, "users": arm.users}))
            .collect();
        tell(SRM_MISMATCH, json!({"srm": decided.srm, "arms": users}));
        next.srm_mismatch = true;
    }
    for treatment in &decided.treatments {
        for guardrail in &treatment.guardrails {
            let Some(check) = Reading::ok(&guardrail.reading).filter(|g| g.outcome == Outcome::Harm) else {
                continue;
            };
            if next.harmed.insert((guardrail.key.to_owned(), treatment.key.to_owned())) {
                let told = json!({"metric": guardrail.key, "variation": treatment.key, "guardrail": check});
                tell(GUARDRAIL_HARMED, told);
            }
        }
    }
    (next, notes)
}

/// What was told of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Letters {
    /// Events, since the beginning.
    pub dead_lettered: i64,
}

pub fn more_letters(told: Letters, now_dead: Letters, tenant: &str, now: Timestamp) -> Option<Note> {
    let events = now_dead.dead_lettered - told.dead_lettered;
    let data = json!({"events": events, "total": now_dead.dead_lettered});
    (events > 0).then(|| note(DEAD_LETTERS, tenant, now, &data))
}

pub fn note(event: &'static str, tenant: &str, now: Timestamp, data: &Value) -> Note {
    let body = json!({"type": event, "timestamp": now.to_string(), "tenant": tenant, "data": data});
    Note { event, body: body.to_string() }
}
