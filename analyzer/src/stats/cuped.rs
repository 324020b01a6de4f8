//! CUPED: the effect adjusted by what users did before they were exposed (Deng, Xu, Kohavi, Walker 2013), with one
//! covariate or several at once.
//!
//! With outcome y and covariates x, theta = X^-1 C from both arms pooled (X the total covariances of x, C those of x
//! with y), the adjusted mean of an arm is m_y - theta' m_x and its unit variance v_y + theta' V_x theta - 2 theta' c.
//! Unbiased for any theta, because the covariates are fixed before the treatment and randomised with the users; the
//! variance falls by the share of y's variance that x explains. The relative effect divides by the *unadjusted* control
//! mean, and its variance is the delta method's over all means involved.
//!
//! Assumes covariates that only contain what occurred before the exposure, in a window of equal length for all users.
//! Of no use for new users, who have no history: their x is 0, which dilutes the reduction but biases nothing.

use ethnum::I256;

use super::{
    Undefined,
    arms::{Pair, Scale, Summary, centred, mean_difference},
    effect::{Effect, Measure, effect, flags_of, welch_dof},
    finite,
    special::to_f64,
};

/// Sums over the users of one arm of several per-user quantities: the outcome, then the covariates. Invariant of the
/// caller: as many scales, sums and rows as quantities, the same for both arms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub n: u64,
    pub scales: Vec<Scale>,
    pub sums: Vec<I256>,
    /// Sums of products: row i holds those of column i with columns 0..=i.
    pub products: Vec<Vec<I256>>,
}

/// What a covariance is divided by, after n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divisor {
    /// n - 1, of means and counts.
    Sample,
    /// n, of proportions: their variance is p(1-p), and covariances must match it.
    Population,
}

/// An adjusted difference of two arms.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjusted {
    /// One per covariate; 0 where a covariate does not vary or says nothing new.
    pub theta: Vec<f64>,
    /// 1 - adjusted / unadjusted variance of the absolute effect.
    pub variance_reduction: f64,
    /// Adjusted unit variances of control and treatment.
    pub variances: [f64; 2],
    unadjusted: Pair,
    difference: f64,
    /// Unit variance of what the control contributes to the relative effect, times the squared baseline.
    control_relative: f64,
}

/// Adjusts `pair` by the covariates of its two arms, whose first column is the outcome of `pair`.
pub fn adjust(
    pair: &Pair,
    control: &Columns,
    treatment: &Columns,
    divisor: Divisor,
) -> Result<Adjusted, Undefined> {
    let theta = theta(control, treatment)?;
    let mut difference = pair.difference;
    for (i, theta) in (1..).zip(&theta) {
        let apart = mean_difference((control.sums[i], control.n), (treatment.sums[i], treatment.n))?;
        difference -= theta * apart / control.steps(i);
    }
    let ratio = pair.treatment.mean / pair.control.mean;
    let variance = |arm: &Columns, summary: &Summary, by: f64| arm.adjusted(summary, &theta, divisor, by);
    let variances = [variance(control, &pair.control, 1.0)?, variance(treatment, &pair.treatment, 1.0)?];
    let [a, b] = [variances[0] / pair.control.n as f64, variances[1] / pair.treatment.n as f64];
    let before = pair.control.mean_variance() + pair.treatment.mean_variance();
    let control_relative = if ratio.is_finite() { variance(control, &pair.control, ratio)? } else { 0.0 };
    Ok(Adjusted {
        theta,
        variance_reduction: if before > 0.0 { finite(1.0 - (a + b) / before)? } else { 0.0 },
        unadjusted: *pair,
        difference: finite(difference)?,
        variances,
        control_relative,
    })
}

impl Adjusted {
    pub fn effect(&self, measure: Measure) -> Result<Effect, Undefined> {
        let pair = &self.unadjusted;
        if self.theta.iter().all(|theta| *theta == 0.0) {
            return effect(pair, measure);
        }
        let constant = pair.control.unit_variance == 0.0 || pair.treatment.unit_variance == 0.0;
        let users = [pair.control.n, pair.treatment.n];
        let [a, b] = [self.variances[0] / users[0] as f64, self.variances[1] / users[1] as f64];
        let baseline = pair.control.mean;
        let (estimate, variance) = match measure {
            Measure::Absolute => (self.difference, a + b),
            Measure::Relative if baseline == 0.0 => return Err(Undefined::ZeroBaseline),
            Measure::Relative if constant => return Err(Undefined::ZeroVariance),
            Measure::Relative => {
                let control = self.control_relative / users[0] as f64;
                (self.difference / baseline.abs(), (b + control) / baseline / baseline)
            }
        };
        if variance == 0.0 {
            return Err(Undefined::ZeroVariance);
        }
        Ok(Effect {
            measure,
            estimate: finite(estimate)?,
            variance: finite(variance)?,
            dof: welch_dof([a, b], users)?,
            users,
            baseline,
            flags: flags_of(pair, measure),
        })
    }
}

impl Columns {
    /// n (n - 1) times the sample covariance of two columns, in units of one.
    fn centred(&self, i: usize, j: usize) -> Result<f64, Undefined> {
        let value = centred(self.n, self.products[i.max(j)][i.min(j)], self.sums[i], self.sums[j])?;
        finite(to_f64(value) / self.steps(i) / self.steps(j))
    }

    fn steps(&self, i: usize) -> f64 {
        self.scales[i].steps_per_one()
    }

    /// Unit variance of `by` y - theta' x.
    fn adjusted(&self, of: &Summary, theta: &[f64], divisor: Divisor, by: f64) -> Result<f64, Undefined> {
        let n = self.n as f64;
        let per = n * if divisor == Divisor::Population { n } else { n - 1.0 };
        let own = of.unit_variance * by * by;
        let (mut square, mut linear) = (0.0, 0.0);
        for (i, theta_i) in (1..).zip(theta) {
            linear += 2.0 * by * theta_i * self.centred(i, 0)? / per;
            for (j, theta_j) in (1..).zip(theta) {
                square += theta_i * theta_j * self.centred(i, j)? / per;
            }
        }
        let variance = own + square - linear;
        let noise = ROUNDING * (own + square);
        if variance < -noise {
            return Err(Undefined::Inconsistent);
        }
        finite(if variance <= noise { 0.0 } else { variance })
    }

    /// The users of both arms together.
    fn pooled(&self, other: &Columns) -> Result<Columns, Undefined> {
        let add = |a: &I256, b: &I256| a.checked_add(*b).ok_or(Undefined::OutOfRange);
        let all = |a: &[I256], b: &[I256]| a.iter().zip(b).map(|(a, b)| add(a, b)).collect();
        let rows = self.products.iter().zip(&other.products);
        Ok(Columns {
            n: self.n.checked_add(other.n).ok_or(Undefined::OutOfRange)?,
            scales: self.scales.clone(),
            sums: all(&self.sums, &other.sums)?,
            products: rows.map(|(a, b)| all(a, b)).collect::<Result<_, Undefined>>()?,
        })
    }
}

/// Solves X theta = C by elimination on correlations. A covariate that the ones before it explain gets 0.
fn theta(control: &Columns, treatment: &Columns) -> Result<Vec<f64>, Undefined> {
    let both = control.pooled(treatment)?;
    let k = both.sums.len().saturating_sub(1);
    let spread: Vec<f64> =
        (1..=k).map(|i| both.centred(i, i).map(|v| v.max(0.0).sqrt())).collect::<Result<_, _>>()?;
    let scaled = |value: f64, by: f64| if by > 0.0 { value / by } else { 0.0 };
    // Each row a covariate's correlations with all of them, then its covariance with the outcome.
    let mut rows = Vec::with_capacity(k);
    for i in 0..k {
        let mut row = Vec::with_capacity(k + 1);
        for j in 0..k {
            row.push(scaled(both.centred(i + 1, j + 1)?, spread[i] * spread[j]));
        }
        row.push(scaled(both.centred(i + 1, 0)?, spread[i]));
        rows.push(row);
    }
    for i in 0..k {
        // What is left on the diagonal is the share of variance that the covariates before leave unexplained.
        if rows[i][i] < COLLINEAR {
            rows[i].fill(0.0);
            continue;
        }
        let pivot = rows[i].clone();
        for row in &mut rows[i + 1..] {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    let mut theta = vec![0.0; k];
    for i in (0..k).rev() {
        let known: f64 = (i + 1..k).map(|j| rows[i][j] * theta[j]).sum();
        theta[i] = scaled(rows[i][k] - known, rows[i][i]);
    }
    theta.iter().zip(&spread).map(|(theta, spread)| finite(scaled(*theta, *spread))).collect()
}

/// Of a variance: what rounding alone can leave of a true zero.
const ROUNDING: f64 = 1e-12;
/// Share of a covariate's variance that the ones before it must leave unexplained.
const COLLINEAR: f64 = 1e-9;
