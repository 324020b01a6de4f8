//! Sample ratios at every look, and what befalls the users of some arms more than of others.

use crate::answers::{DAY, after, converting, in_cell, running};
use crate::random::{Rng, interval_99};
use analyzer::known::Known;
use analyzer::live_stats::LiveStats;
use analyzer::stats::imbalance::{Befallen, imbalance};
use analyzer::stats::srm::{Srm, SrmArm, srm};
use analyzer::stats::srm_anytime::srm_anytime;
use analyzer::stats::{Alpha, Flag, Undefined};
use proptest::prelude::*;
use serde_json::json;
use store::{Experiment, Phase};

const ALPHA: f64 = 0.05;

fn alpha() -> Alpha {
    Alpha::new(ALPHA).unwrap()
}

fn arms(observed: &[u64], weights: &[f64]) -> Vec<SrmArm> {
    observed.iter().zip(weights).map(|(&observed, &weight)| SrmArm { observed, weight }).collect()
}

fn befallen(arms: &[(u64, u64)]) -> Vec<Befallen> {
    arms.iter().map(|&(users, affected)| Befallen { users, affected }).collect()
}

/// 2,000 sound experiments looked at 100 times: the anytime check keeps its level, chi-square does not; and of unsound
/// ones both find out.
#[test]
fn checking_at_every_look_costs_the_anytime_check_nothing() {
    let mut rng = Rng::new(42);
    let mut run = |share: f64| {
        let mut observed = [0, 0];
        let mut looks = Vec::new();
        for _ in 0..100 {
            for _ in 0..200 {
                observed[usize::from(rng.unit() >= share)] += 1;
            }
            looks.push(vec![arms(&observed, &[1.0, 1.0])]);
        }
        let once = |look: &Vec<Vec<SrmArm>>| srm(look, alpha()).unwrap().mismatch();
        (srm_anytime(&looks, alpha()).unwrap()[99].mismatch, looks.iter().any(once))
    };
    let (runs, mut anytime, mut fixed) = (2000, 0, 0);
    for _ in 0..runs {
        let (a, f) = run(0.5);
        anytime += u32::from(a);
        fixed += u32::from(f);
    }
    let ([_, high], [low, _]) = (interval_99(anytime, runs), interval_99(fixed, runs));
    assert!(high < ALPHA + 0.01, "{anytime} of {runs}");
    assert!(low > 3.0 * ALPHA, "chi-square at every look: {fixed} of {runs}");
    let found = (0..100).filter(|_| run(0.48).0).count();
    assert!(found > 95, "{found} of 100 mismatches of two percentage points");
}

proptest! {
    #![proptest_config(crate::cases(300))]

    #[test]
    fn the_anytime_check_ignores_order_and_unit_of_weights(
        given in proptest::collection::vec((0u64..1_000_000, 1u32..1000), 2..10), factor in 1u32..1000,
    ) {
        let of = |arms: &mut dyn Iterator<Item = &(u64, u32)>, by: f64| {
            let arms = arms.map(|(observed, w)| SrmArm { observed: *observed, weight: f64::from(*w) * by }).collect();
            srm_anytime(&[vec![arms]], alpha()).unwrap()[0]
        };
        let (x, y) = (of(&mut given.iter(), 1.0), of(&mut given.iter().rev(), f64::from(factor)));
        prop_assert!((x.ln_bayes_factor - y.ln_bayes_factor).abs() <= 1e-6 + 1e-9 * x.ln_bayes_factor.abs());
        prop_assert!(x.p_value > 0.0 && x.p_value <= 1.0 && x.ln_bayes_factor.is_finite());
    }

    #[test]
    fn imbalance_of_two_arms_is_the_square_of_pooled_z(n in 100u64..10_000, m in 100u64..10_000, x in 10u64..90, y in 10u64..90) {
        let test = imbalance(&befallen(&[(n, x), (m, y)]), alpha()).unwrap();
        let (a, b) = (x as f64 / n as f64, y as f64 / m as f64);
        let rate = (x + y) as f64 / (n + m) as f64;
        let z = (a - b) / (rate * (1.0 - rate) * (1.0 / n as f64 + 1.0 / m as f64)).sqrt();
        prop_assert!((test.chi_square - z * z).abs() <= 1e-9 * (1.0 + z * z));
        prop_assert_eq!(test.dof, 1);
        // Arms nobody is in say nothing.
        prop_assert_eq!(imbalance(&befallen(&[(n, x), (0, 0), (m, y)]), alpha()).unwrap(), test);
    }
}

#[test]
fn reasons_and_cautions_of_imbalance() {
    let of = |arms: &[(u64, u64)]| imbalance(&befallen(arms), alpha());
    assert_eq!(of(&[(0, 0), (0, 0)]), Err(Undefined::NoUnits));
    assert_eq!(of(&[(9, 1), (0, 0)]), Err(Undefined::TooFewArms));
    assert_eq!(of(&[(9, 0), (9, 0)]), Err(Undefined::ZeroVariance));
    assert_eq!(of(&[(9, 9), (9, 9)]), Err(Undefined::ZeroVariance));
    assert_eq!(of(&[(9, 10), (9, 1)]), Err(Undefined::Inconsistent));
    let few = of(&[(1000, 8), (1000, 0)]).unwrap();
    assert!(few.p_value < ALPHA && !few.mismatch && few.flags == [Flag::LowData], "{few:?}");
    assert!(of(&[(1000, 50), (1000, 90)]).unwrap().mismatch);
}

#[test]
fn phases_of_other_weights_are_checked_each_by_its_own() {
    let first = arms(&[90_000, 10_000], &[9.0, 1.0]);
    let second = arms(&[50_000, 50_000], &[1.0, 1.0]);
    let both = srm_anytime(&[vec![first.clone(), second.clone()]], alpha()).unwrap()[0];
    let apart = [first, second].map(|p| srm_anytime(&[vec![p]], alpha()).unwrap()[0].ln_bayes_factor);
    assert!((both.ln_bayes_factor - apart.iter().sum::<f64>()).abs() < 1e-9 && !both.mismatch);
    let merged = arms(&[140_000, 60_000], &[1.0, 1.0]);
    assert!(srm_anytime(&[vec![merged]], alpha()).unwrap()[0].mismatch);
    let negative = arms(&[1, 1], &[1.0, -1.0]);
    assert_eq!(srm_anytime(&[vec![negative]], alpha()), Err(Undefined::Inconsistent));
}

/// Nine to one, then one to one: the statistic and its degrees of freedom are added over the phases, each by its weights.
#[test]
fn an_answer_checks_each_phase_by_the_weights_it_had() {
    let mut e = running(json!({
        "key": "phased",
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "signup", "type": "proportion"}],
    }));
    let arm = |users| converting(&e.plan(), users, &[users / 10]);
    let rows = [
        in_cell((0, "gold"), 0, DAY, arm(45_000)),
        in_cell((0, "gold"), 1, DAY, arm(5_100)),
        in_cell((0, ""), 0, DAY, arm(45_000)),
        in_cell((0, ""), 1, DAY, arm(5_000)),
        in_cell((1, ""), 0, DAY, arm(50_000)),
        in_cell((1, ""), 1, DAY, arm(50_200)),
    ];
    let checked = |e: &Experiment| {
        let known = Known::of(e, &rows, None, after(1)).unwrap();
        serde_json::to_value(LiveStats::of(&known)).unwrap()["srm"].clone()
    };
    assert_eq!(checked(&e)["mismatch"], true);
    let phase = |control: f64| Phase { began_at: DAY.start(), coverage: 1.0, weights: vec![control, 1.0] };
    e.phases = vec![phase(9.0), phase(1.0)];
    let srm = checked(&e);
    assert_eq!((&srm["dof"], &srm["mismatch"]), (&json!(2), &json!(false)));
    let alone =
        [arms(&[90_000, 10_100], &[9.0, 1.0]), arms(&[50_000, 50_200], &[1.0, 1.0])].map(
            |period| match srm_of(&[period]) {
                Srm::Tested(test) => test.chi_square,
                Srm::CertainMismatch => panic!("both arms have weights"),
            },
        );
    assert!((srm["chi_square"].as_f64().unwrap() - alone.iter().sum::<f64>()).abs() < 1e-9, "{srm}");
}

fn srm_of(periods: &[Vec<SrmArm>]) -> Srm {
    srm(periods, alpha()).unwrap()
}
