//! Two proportions as beliefs: each rate has a uniform prior, so its posterior is Beta(1 + converters, 1 + others), and
//! the chance that one exceeds the other is a finite sum (Miller 2014; the expected losses after Stucchio 2015). Exact
//! also where the normal posterior is not, with few conversions or none. Assumes independent users. Not for values or
//! counts per user, and without a prior of one's own: one uniform prior says that any rate is as likely.

use statrs::function::beta::ln_beta;

use super::{Undefined, arms::ProportionArm, bayes::Better};

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BetaBinomial {
    /// That the treatment's rate is better.
    pub chance_to_win: f64,
    /// Expected loss, in the rate, of keeping the control.
    pub risk_control: f64,
    /// Expected loss, in the rate, of shipping the treatment.
    pub risk_treatment: f64,
}

pub fn beta_binomial(
    control: &ProportionArm,
    treatment: &ProportionArm,
    better: Better,
) -> Result<BetaBinomial, Undefined> {
    let (a, b) = (Beta::of(control)?, Beta::of(treatment)?);
    let (lower, higher) = chances(&a, &b);
    let higher = BetaBinomial {
        chance_to_win: higher,
        risk_control: b.expected_excess(&a, higher),
        risk_treatment: a.expected_excess(&b, lower),
    };
    Ok(match better {
        Better::Higher => higher,
        Better::Lower => BetaBinomial {
            chance_to_win: lower,
            risk_control: higher.risk_treatment,
            risk_treatment: higher.risk_control,
        },
    })
}

/// A posterior; both parameters are whole numbers, at least 1.
#[derive(Clone, Copy)]
struct Beta {
    won: u64,
    lost: u64,
}

impl Beta {
    fn of(arm: &ProportionArm) -> Result<Beta, Undefined> {
        let others = arm.n.checked_sub(arm.converters).ok_or(Undefined::Inconsistent)?;
        if arm.n == 0 {
            return Err(Undefined::NoUnits);
        }
        Ok(Beta { won: arm.converters + 1, lost: others + 1 })
    }

    fn mean(self) -> f64 {
        self.won as f64 / (self.won as f64 + self.lost as f64)
    }

    /// P(this > other) = sum over i below `won` of
    /// B(other.won + i, other.lost + lost) / ((lost + i) B(1 + i, lost) B(other.won, other.lost)).
    /// The terms rise to a mode and fall behind it, so few of them matter however many there are.
    fn exceeds(self, other: &Beta) -> f64 {
        let (a, b) = (other.won as f64, other.lost as f64);
        let lost = self.lost as f64;
        let last = (self.won - 1) as f64;
        let ln_term =
            |i: f64| ln_beta(a + i, b + lost) - (lost + i).ln() - ln_beta(1.0 + i, lost) - ln_beta(a, b);
        // Term i + 1 over term i.
        let ratio = |i: f64| (a + i) * (lost + i) / ((a + b + lost + i) * (1.0 + i));
        let mode = ((a * lost - a - b - lost) / (1.0 + b)).ceil().clamp(0.0, last);
        let first = ln_term(mode).exp();
        let mut sum = first;
        let (mut term, mut i) = (first, mode);
        while i < last && term > sum * NOTHING {
            term *= ratio(i);
            i += 1.0;
            sum += term;
        }
        (term, i) = (first, mode);
        while i > 0.0 && term > sum * NOTHING {
            i -= 1.0;
            term /= ratio(i);
            sum += term;
        }
        sum.min(1.0)
    }

    /// E[max(this - other, 0)], where P(this > other) is `chance`. With g that chance as a function of the four
    /// parameters and h = B(won + other.won, lost + other.lost) / (B(won, lost) B(other.won, other.lost)),
    /// g is h / won more when `won` is one more, and h / other.won less when `other.won` is (Cook 2005): what is left of
    /// mean g(won + 1, ..) - other.mean g(.., other.won + 1, ..).
    fn expected_excess(self, other: &Beta, chance: f64) -> f64 {
        let (won, lost) = (self.won as f64, self.lost as f64);
        let (a, b) = (other.won as f64, other.lost as f64);
        let h = (ln_beta(won + a, lost + b) - ln_beta(won, lost) - ln_beta(a, b)).exp();
        (chance * (self.mean() - other.mean()) + h * (1.0 / (won + lost) + 1.0 / (a + b))).max(0.0)
    }
}

/// P(a > b) and P(b > a). The one of the lower mean is summed, and the other is what is left of 1: so both keep their
/// digits.
fn chances(a: &Beta, b: &Beta) -> (f64, f64) {
    if a.mean() < b.mean() {
        let chance = a.exceeds(b);
        (chance, 1.0 - chance)
    } else {
        let chance = b.exceeds(a);
        (1.0 - chance, chance)
    }
}

/// Share of a sum below which no further terms matter.
const NOTHING: f64 = 1e-18;
