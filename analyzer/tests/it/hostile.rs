//! Answers to data that nobody wishes for: values at the ends of their range, arms nobody is in, users who are all
//! excluded, denominators that are zero, up to ten arms, error levels at the ends of theirs. Each is an answer whose
//! numbers are numbers, or a reason.

use crate::answers::{DAY, after, in_cell, running};
use analyzer::decision::Decided;
use analyzer::known::Known;
use analyzer::live_stats::LiveStats;
use domain::attributes::Attribute;
use domain::fold::{self, Fact, Seen};
use domain::{BatchId, Decimal, Moments, Plan, Unit};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{ArmRow, Experiment};

/// 9.2e12 in millionths, as much as a gateway lets in.
const MOST: i64 = 9_000_000_000_000_000_000;
const EVENTS: [&str; 2] = ["purchase", "visit"];

#[derive(Debug, Clone)]
struct User {
    arm: i16,
    excluded: bool,
    crossed: bool,
    /// Index of the event, hours after the exposure, and worth in millionths.
    events: Vec<(usize, i64, i64)>,
}

fn user(arms: i16) -> impl Strategy<Value = User> {
    let worth = prop_oneof![
        Just(0),
        Just(1),
        Just(-1),
        Just(MOST),
        Just(-MOST),
        Just(1_000_000),
        -5_000_000i64..5_000_000
    ];
    let events = vec((0usize..2, -100i64..200, worth), 0..4);
    (-1..arms, prop::bool::weighted(0.2), prop::bool::weighted(0.2), events)
        .prop_map(|(arm, excluded, crossed, events)| User { arm, excluded, crossed, events })
}

#[derive(Debug, Clone)]
struct Case {
    arms: i16,
    mode: &'static str,
    alpha: f64,
    cap: Option<&'static str>,
    all_excluded: bool,
    users: Vec<User>,
}

fn case() -> impl Strategy<Value = Case> {
    let mode = prop::sample::select(vec!["sequential", "fixed", "bayesian", "group_sequential"]);
    let alpha = prop::sample::select(vec![1e-12, 0.001, 0.05, 0.5, 0.999_999]);
    let cap = prop::sample::select(vec![None, Some("0.000001"), Some("1"), Some("9000000000000")]);
    (2i16..=10, mode, alpha, cap, prop::bool::weighted(0.1)).prop_flat_map(
        |(arms, mode, alpha, cap, all_excluded)| {
            vec(user(arms), 0..40).prop_map(move |users| Case { arms, mode, alpha, cap, all_excluded, users })
        },
    )
}

impl Case {
    fn experiment(&self) -> Experiment {
        let variations: Vec<Value> = (0..self.arms).map(|i| json!({"key": format!("v{i}")})).collect();
        let mut capped = json!({"key": "capped", "event": "purchase", "type": "mean"});
        if let Some(cap) = self.cap {
            capped["cap"] = json!(cap);
        }
        let mut analysis = json!({"mode": self.mode, "alpha": self.alpha, "power": 0.999_999_9, "mde": 0.05,
            "cuped": {"lookback_days": 3, "gap_minutes": 60, "covariates": ["visit"]}});
        if self.mode == "group_sequential" {
            analysis["looks"] = json!([10, 20]);
        }
        running(json!({
            "key": "hostile",
            "variations": variations,
            "metrics": [
                {"key": "revenue", "event": "purchase", "type": "mean"},
                capped,
                {"key": "bought", "event": "purchase", "type": "proportion"},
                {"key": "orders", "event": "purchase", "type": "count"},
                {"key": "basket", "type": "ratio", "numerator": "purchase"},
                {"key": "per_visit", "type": "ratio", "numerator": "purchase", "denominator": "visit"},
                {"key": "guard", "event": "visit", "type": "mean", "role": "guardrail", "margin": 0.01},
            ],
            "attribution": {"window_hours": 72},
            "crossovers": "exclude",
            "analysis": analysis,
        }))
    }

    fn rows(&self, plan: &Plan) -> Vec<ArmRow> {
        let mut sums: std::collections::BTreeMap<i16, Moments> = std::collections::BTreeMap::new();
        for user in &self.users {
            let unit = self.unit(user, plan);
            let enrolled = unit.enrollment(plan.experiment);
            sums.entry(user.arm).or_default().shift(plan, None, enrolled).unwrap();
        }
        sums.into_iter().map(|(arm, moments)| in_cell((0, ""), arm, DAY, moments)).collect()
    }

    fn unit(&self, user: &User, plan: &Plan) -> Unit {
        let (mut unit, at) = (Unit::default(), DAY.start().plus(43_200_000_000));
        let seen = |variation| Seen { variation, at, day: DAY, phase: 0 };
        fold::expose(&mut unit, plan, seen(user.arm), []).unwrap();
        if user.crossed {
            fold::expose(&mut unit, plan, seen((user.arm + 1) % self.arms), []).unwrap();
        }
        if user.excluded || self.all_excluded {
            let batch = BatchId(uuid::Uuid::nil());
            let told = Attribute::Exclusion { excluded: true, reason: None, batch };
            fold::tell(&mut unit, plan.experiment, told, DAY);
        }
        for (event, hours, worth) in &user.events {
            let at = at.plus(hours * 3_600_000_000);
            let (experiment, event) = (plan.experiment, EVENTS[*event]);
            let fact = Fact { experiment, event, value: Decimal(*worth), at };
            fold::convert(&mut unit, &fact, |_| Some(plan)).unwrap();
        }
        unit
    }
}

/// Numbers that were none are written as null: what is said to be there holds none.
const NUMBERS: [&str; 9] = [
    "effect",
    "standard_error",
    "p_value",
    "ln_p_value",
    "posterior_mean",
    "posterior_stddev",
    "chance_to_win",
    "chi_square",
    "variance_reduction",
];

fn holes(at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let there = fields.get("status").is_some_and(|status| status == "ok");
            for (name, of) in fields {
                let at = format!("{at}/{name}");
                if there && of.is_null() && NUMBERS.contains(&name.as_str()) {
                    found.push(at.clone());
                }
                if there && name == "ci" && of.as_array().is_some_and(|ci| ci.iter().all(Value::is_null)) {
                    found.push(at.clone());
                }
                holes(&at, of, found);
            }
            if fields.get("status").is_some_and(|status| status == "undefined")
                && !fields.contains_key("reason")
            {
                found.push(format!("{at}: no reason"));
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, of)| holes(&format!("{at}/{i}"), of, found));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(crate::cases(24))]

    #[test]
    fn answers_are_numbers_or_reasons(case in case()) {
        let e = case.experiment();
        let rows = case.rows(&e.plan());
        // A day before the start, the first day, and long after.
        for days in [-1, 0, 40] {
            let known = Known::of(&e, &rows, None, after(days)).unwrap();
            let mut found = Vec::new();
            holes("", &serde_json::to_value(LiveStats::of(&known)).unwrap(), &mut found);
            holes("", &serde_json::to_value(Decided::of(&known, after(days))).unwrap(), &mut found);
            found.retain(|at| !at.ends_with("/verdict/p_value"));
            prop_assert!(found.is_empty(), "{found:?} {}", case.mode);
        }
    }
}
