//! Confidence sequences and planned looks.

use super::inputs::{alpha, measure, pair_of};
use analyzer::stats::group_sequential::{Look, boundaries, looks, spending};
use analyzer::stats::sequential::{sequential, tuned_to};
use analyzer::stats::{Alpha, Undefined, effect::effect};
use serde_json::Value;

pub fn sequence(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    let effect = effect(&pair_of(&case["input"])?, measure(&params["difference_type"]))?;
    let rho_squared = match params["tuning_parameter"].as_f64() {
        Some(users) => tuned_to(users, alpha(params)),
        None => {
            let tau = params["mixture_stddev"].as_f64().unwrap();
            tau * tau / (effect.variance * effect.users.iter().sum::<u64>() as f64)
        }
    };
    let mut got = serde_json::to_value(sequential(&effect, rho_squared, alpha(params))?).unwrap();
    got["status"] = "ok".into();
    Ok(got)
}

fn level(value: f64) -> Alpha {
    Alpha::new(value).unwrap()
}

fn bounds(users: &[u64], planned: u64) -> Vec<f64> {
    boundaries(&looks(users, planned, level(0.05))).unwrap()
}

/// Five looks from the project's statistics, two and three as published for this spending function.
#[test]
fn boundaries_are_the_published_ones() {
    for (users, expected) in [
        (vec![100], vec![1.959_964]),
        (vec![50, 100], vec![2.9626, 1.9686]),
        (vec![100, 200, 300], vec![3.710, 2.511, 1.993]),
        (vec![20, 40, 60, 80, 100], vec![4.877, 3.357, 2.680, 2.290, 2.031]),
    ] {
        let got = bounds(&users, *users.last().unwrap());
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 5.1e-4, "{users:?}: {got} {expected}");
        }
    }
}

/// By an integral over a plain fine grid, which the boundaries were not found with.
#[test]
fn each_look_spends_what_it_may() {
    let sizes = [130u64, 300, 310, 555, 1000, 1000 + 25];
    let plan = looks(&sizes, 1000, level(0.01));
    let found = boundaries(&plan).unwrap();
    const HALF: i32 = 4000;
    let reach = 6.0 * (sizes[5] as f64).sqrt();
    let at = |i: i32| reach * f64::from(i) / f64::from(HALF);
    let normal = |x: f64, v: f64| (-0.5 * x * x / v).exp() / (2.0 * std::f64::consts::PI * v).sqrt();
    let mut density: Vec<f64> = Vec::new();
    let mut time = 0.0;
    for (look, z) in plan.iter().zip(&found) {
        let users = look.share * 1000.0;
        let step = users - time;
        let next: Vec<f64> = (-HALF..=HALF)
            .map(|i| match density.is_empty() {
                true => normal(at(i), step),
                false => {
                    let width = (9.0 * step.sqrt() / at(1)) as i32;
                    let near = (i - width).max(-HALF)..=(i + width).min(HALF);
                    near.map(|j| density[(j + HALF) as usize] * normal(at(i) - at(j), step)).sum::<f64>()
                        * at(1)
                }
            })
            .collect();
        time = users;
        let bound = z * time.sqrt();
        let inside = |i: i32| (bound - at(i).abs()) / at(1) + 0.5;
        density = (-HALF..=HALF).zip(next).map(|(i, f)| f * inside(i).clamp(0.0, 1.0)).collect();
        let left: f64 = density.iter().sum::<f64>() * at(1);
        assert!((1.0 - left - look.spent).abs() < 2e-5, "{look:?}: spent {}", 1.0 - left);
    }
}

#[test]
fn looks_are_taken_as_they_come() {
    // What was planned does not matter, only what was looked at: a look left out leaves its share to the next.
    // And what was found at a look never changes afterwards.
    assert_eq!(bounds(&[400, 700], 1000)[..], bounds(&[400, 700, 1000, 1200], 1000)[..2]);
    assert!(bounds(&[400, 1000], 1000)[1] > bounds(&[1000], 1000)[0]);
    // Past the plan nothing is left to spend but what the last look may.
    let late = looks(&[500, 2000], 1000, level(0.05));
    assert_eq!(late[1].spent, spending(1.0, level(0.05)));
    assert!((late[1].spent - 0.05).abs() < 1e-12);
    // So early that nothing can be spent: not reachable, and finite.
    let early = bounds(&[1, 1_000_000_000], 1_000_000_000);
    assert!(early[0] > 30.0 && (early[1] - 1.959_964).abs() < 1e-5, "{early:?}");
    // Looks on top of each other.
    let close = bounds(&[999_998, 999_999, 1_000_000], 1_000_000);
    assert!(close.iter().all(|z| (1.9..20.0).contains(z)), "{close:?}");
    assert_eq!(boundaries(&[]), Ok(vec![]));
    let twice = [Look { share: 0.5, spent: 0.01 }, Look { share: 0.5, spent: 0.02 }];
    assert_eq!(boundaries(&twice), Err(Undefined::Inconsistent));
}
