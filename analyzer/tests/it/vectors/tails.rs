//! Tails and quantiles against values of many digits.

use super::load;
use analyzer::stats::normal;
use analyzer::stats::special::{StudentT, ln_chi_square_upper_tail};

#[test]
fn tails_are_accurate_at_every_dof_and_distance() {
    let tails = load(include_str!("../../data/tails.json"));
    for row in tails["student"].as_array().unwrap() {
        let (dof, t) = (row["dof"].as_f64().unwrap(), row["t"].as_f64().unwrap());
        let expected = row["ln_p"].as_f64().unwrap();
        let got = StudentT::new(dof).unwrap().ln_upper_tail(t) + std::f64::consts::LN_2;
        // Relative error of p itself, allowing for the rounding of a large logarithm.
        let error = (got - expected).abs() / (1.0 + expected.abs());
        assert!(error < 2e-14, "t = {t}, dof = {dof}: got {got:e}, expected {expected:e}");
    }
    for row in tails["chi_square"].as_array().unwrap() {
        let (dof, x): (u32, f64) =
            (row["dof"].as_u64().unwrap().try_into().unwrap(), row["x"].as_f64().unwrap());
        let expected = row["ln_p"].as_f64().unwrap();
        let got = ln_chi_square_upper_tail(x, dof);
        let error = (got - expected).abs() / (1.0 + expected.abs());
        assert!(error < 1e-13, "x = {x}, dof = {dof}: got {got:e}, expected {expected:e}");
    }
}

#[test]
fn quantiles_invert_the_tail() {
    for dof in [1.0, 2.0, 7.7, 100.0, 2e4, 1e6, 2e9] {
        let t = StudentT::new(dof).unwrap();
        for probability in [0.49, 0.25, 0.05, 0.025, 0.0005, 1e-9, 1e-200] {
            let back = t.ln_upper_tail(t.upper_quantile(probability)).exp();
            assert!((back / probability - 1.0).abs() < 1e-11, "dof {dof}, {probability}: {back}");
            if probability > 1e-10 {
                assert_eq!(t.upper_quantile(1.0 - probability), -t.upper_quantile(1.0 - (1.0 - probability)));
            }
        }
        assert_eq!(t.upper_quantile(0.5), 0.0);
    }
    // Computed with mpmath at 30 digits.
    let at = |dof: f64| StudentT::new(dof).unwrap().upper_quantile(0.025);
    assert!((at(1.0) - 12.706_204_736_174_705).abs() < 1e-11);
    assert!((at(10.0) - 2.228_138_851_986_273_6).abs() < 1e-13);
    assert!((at(1e15) - 1.959_963_984_540_054).abs() < 1e-13);
}

#[test]
fn the_normal_distribution_keeps_its_digits_in_the_tails() {
    let tails = load(include_str!("../../data/tails.json"));
    let mut losses = 0;
    for row in tails["normal"].as_array().unwrap() {
        let (z, expected) = (row["z"].as_f64().unwrap(), row["ln_p"].as_f64().unwrap());
        let got = normal::ln_upper_tail(z);
        assert!((got - expected).abs() <= 1e-14 * (1.0 + expected.abs()), "z = {z}: {got:e}, {expected:e}");
        let ln_loss = row["ln_loss"].as_f64().unwrap();
        if ln_loss > -700.0 {
            let (got, expected) = (normal::loss(z), ln_loss.exp());
            assert!((got / expected - 1.0).abs() < 1e-12, "z = {z}: loss {got:e}, expected {expected:e}");
            losses += 1;
        }
    }
    assert!(losses > 15);
    for row in tails["normal_quantile"].as_array().unwrap() {
        let (p, expected) = (row["p"].as_f64().unwrap(), row["z"].as_f64().unwrap());
        let got = normal::upper_quantile(p);
        assert!((got - expected).abs() <= 1e-14 * (1.0 + expected), "p = {p}: {got}, expected {expected}");
        if p > 1e-9 {
            assert_eq!(normal::upper_quantile(1.0 - p), -normal::upper_quantile(1.0 - (1.0 - p)));
        }
    }
}
