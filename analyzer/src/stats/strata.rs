//! Post-stratification: the effect as the average over cells (strata, phases) of the effects within them, each weighed
//! by the cell's share of all users (Miratrix, Sekhon, Yu 2013). Removes the chance imbalance of the cells between arms
//! from the estimate and its variance from the noise; needed where the shares of the arms differ between cells, as they
//! do when weights change mid-run.
//!
//! With shares f_k, control means c_k and differences d_k: C = sum f c, D = sum f d, and every pooled (co)variance is
//! (sum f x y - X Y + sum f V_k) / n, whose first part is the sampling of the shares themselves. Relative: D / |C| by the
//! delta method. Assumes cells fixed at or before the exposure. A cell without variance in an arm, or with fewer than
//! two users in one, is merged into the largest.

use super::{
    Undefined,
    arms::{Pair, Summary},
    effect::{Effect, Measure, effect, flags_of},
    finite,
};

/// The arms of each cell must come as sums that can be merged.
pub trait Merge: Sized {
    fn merge(&self, other: &Self) -> Result<Self, Undefined>;
    fn pair(&self) -> Result<Pair, Undefined>;
    /// Of both arms.
    fn users(&self) -> u64;
}

/// `whole`: the same arms without regard to cells, for degrees of freedom, the flags and a single cell.
pub fn post_stratified<C: Merge>(cells: Vec<C>, whole: &Pair, measure: Measure) -> Result<Effect, Undefined> {
    let pairs = usable(cells)?;
    if pairs.len() < 2 {
        return effect(whole, measure);
    }
    let users = |summary: &Summary| summary.n as f64;
    let n: f64 = pairs.iter().map(|pair| users(&pair.control) + users(&pair.treatment)).sum();
    let (mut means, mut squares, mut within) = ([0.0; 2], [0.0; 3], [0.0; 3]);
    for pair in &pairs {
        let n_k = users(&pair.control) + users(&pair.treatment);
        let (share, c, d) = (n_k / n, pair.control.mean, pair.difference);
        let of_control = pair.control.mean_variance() * n_k;
        let of_both = of_control + pair.treatment.mean_variance() * n_k;
        means = [means[0] + share * c, means[1] + share * d];
        for (sum, value) in squares.iter_mut().zip([c * c, d * d, c * d]) {
            *sum += share * value;
        }
        for (sum, value) in within.iter_mut().zip([of_control, of_both, -of_control]) {
            *sum += share * value;
        }
    }
    let [c, d] = means;
    let variance = |i: usize, x: f64, y: f64| (squares[i] - x * y + within[i]) / n;
    let (cc, dd, cd) = (variance(0, c, c), variance(1, d, d), variance(2, c, d));
    let (estimate, variance) = match measure {
        Measure::Absolute => (d, dd),
        Measure::Relative if c == 0.0 => return Err(Undefined::ZeroBaseline),
        Measure::Relative => {
            let ratio = d / c;
            (d / c.abs(), (dd + ratio * ratio * cc - 2.0 * ratio * cd) / (c * c))
        }
    };
    if variance <= 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let plain = effect(whole, Measure::Absolute)?;
    Ok(Effect {
        measure,
        estimate: finite(estimate)?,
        variance: finite(variance)?,
        dof: plain.dof,
        users: plain.users,
        baseline: c,
        flags: flags_of(whole, measure),
    })
}

/// The pairs of the cells, those that cannot stand on their own merged into the largest.
fn usable<C: Merge>(cells: Vec<C>) -> Result<Vec<Pair>, Undefined> {
    let varies = |pair: &Pair| pair.control.unit_variance > 0.0 && pair.treatment.unit_variance > 0.0;
    let mut cells = cells;
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.users()));
    let mut cells = cells.into_iter();
    let Some(mut largest) = cells.next() else { return Ok(Vec::new()) };
    let mut pairs = Vec::new();
    for cell in cells {
        match cell.pair() {
            Ok(pair) if varies(&pair) => pairs.push(pair),
            Ok(_) | Err(Undefined::NoUnits | Undefined::TooFewUnits | Undefined::ZeroDenominator) => {
                largest = largest.merge(&cell)?;
            }
            Err(reason) => return Err(reason),
        }
    }
    pairs.push(largest.pair()?);
    Ok(pairs)
}
