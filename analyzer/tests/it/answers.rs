//! Answers from moments in memory: an experiment, and rows as the store would hand them over.

use domain::definition::Definition;
use domain::plan::Feature;
use domain::{Day, ExperimentId, Moments, Partition, Plan, Timestamp};
use ethnum::I256;
use serde_json::{Value, json};
use store::{ArmRow, Experiment, MomentsKey, Status};

pub const DAY: Day = Day(20_513);

/// Started at the beginning of [`DAY`].
pub fn running(definition: Value) -> Experiment {
    let definition: Definition = serde_json::from_str(&definition.to_string()).unwrap();
    let definition = definition.checked().unwrap();
    Experiment {
        id: ExperimentId(1),
        tenant: "a".into(),
        key: definition.key.clone(),
        definition,
        plan_version: 1,
        revision: 1,
        status: Status::Running,
        created_at: DAY.start(),
        started_at: Some(DAY.start()),
        stopped_at: None,
        rebuild: None,
        phases: Vec::new(),
        purged_at: None,
    }
}

/// `days` and a little after the start.
pub fn after(days: i32) -> Timestamp {
    Day(DAY.0 + days).start().plus(1_000_000)
}

/// Moments of `users` users, all of them contributing, with some sums of products.
pub fn moments(plan: &Plan, users: i64, sums: &[(Feature, Feature, I256)]) -> Moments {
    let mut moments = Moments { products: vec![I256::ZERO; plan.products.len()], ..Moments::default() };
    moments.heads.enrolled = users;
    for (a, b, value) in sums.iter().chain([&(Feature::One, Feature::One, I256::from(users))]) {
        let at = plan.product_index(*a, *b).unwrap();
        moments.products[at] = *value;
    }
    moments
}

/// Users, and converters of each event of the plan.
pub fn converting(plan: &Plan, users: i64, converters: &[i64]) -> Moments {
    let sums: Vec<_> = converters
        .iter()
        .zip(0u16..)
        .flat_map(|(n, event)| {
            let (converted, n) = (Feature::Converted(event), I256::from(*n));
            [(Feature::One, converted, n), (converted, converted, n)]
        })
        .collect();
    moments(plan, users, &sums)
}

pub fn row(variation: i16, day: Day, moments: Moments) -> ArmRow {
    in_cell((0, ""), variation, day, moments)
}

/// In a phase and a stratum.
pub fn in_cell((phase, stratum): (u16, &str), variation: i16, day: Day, moments: Moments) -> ArmRow {
    let key = MomentsKey {
        experiment: ExperimentId(1),
        plan_version: 1,
        partition: Partition(0),
        variation,
        stratum: stratum.into(),
        phase,
    };
    ArmRow { key, day, moments }
}

/// Two arms, `mde` two percent, and a guardrail that may get one percent worse.
pub fn guarded(analysis: Value) -> Value {
    let mut definition = json!({
        "key": "guarded",
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [
            {"key": "signup", "type": "proportion"},
            {"key": "refund", "type": "proportion", "role": "guardrail", "direction": "down", "margin": 0.1},
        ],
        "analysis": {"mde": 0.02},
    });
    for (name, value) in analysis.as_object().unwrap() {
        definition["analysis"][name] = value.clone();
    }
    definition
}
