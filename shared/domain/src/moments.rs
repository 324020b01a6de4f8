//! The sums of one arm: head counts, and for every product of features its sum over units, exact.

use crate::contribution::Heads;
use crate::plan::Feature;
use crate::{Contribution, Enrollment, Overflow, Plan};
use ethnum::I256;

/// Additive sufficient statistics of a set of units. A stored row is the cumulative value of its key at the end
/// of a UTC day; a change of one unit is [`Moments::shift`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moments {
    pub heads: Heads,
    /// One per [`Plan::products`]; empty = all zero. A product of two sums is in millionths squared (1e-12).
    pub products: Vec<I256>,
}

const OVERFLOW: Overflow = Overflow { what: "a sum of an arm" };

impl Moments {
    /// Takes `before` out and puts `after` in: moments += contribution(after) - contribution(before).
    /// On overflow nothing changes.
    pub fn shift(
        &mut self,
        plan: &Plan,
        before: Option<&Enrollment>,
        after: Option<&Enrollment>,
    ) -> Result<(), Overflow> {
        let contribution = |e: Option<&Enrollment>| e.map(|e| Contribution::of(e, plan)).unwrap_or_default();
        let (old, new) = (contribution(before), contribution(after));
        if old == new {
            return Ok(());
        }
        let heads =
            zip_heads(zip_heads(self.heads, new.heads, i64::checked_add)?, old.heads, i64::checked_sub)?;
        let change = |&(a, b): &(u16, u16)| {
            let plus = product(new.feature(a), new.feature(b));
            plus.checked_sub(product(old.feature(a), old.feature(b))).ok_or(OVERFLOW)
        };
        // In place, since this is done for every event.
        let length = self.products.len();
        self.products.resize(plan.products.len(), I256::ZERO);
        for i in 0..plan.products.len() {
            let Some(next) = change(&plan.products[i]).ok().and_then(|c| self.products[i].checked_add(c))
            else {
                for (sum, pair) in self.products.iter_mut().zip(&plan.products).take(i) {
                    *sum -= change(pair)?;
                }
                self.products.truncate(length);
                return Err(OVERFLOW);
            };
            self.products[i] = next;
        }
        self.heads = heads;
        Ok(())
    }

    /// Adds another set of units (another partition, stratum or day) of the same plan version.
    pub fn add(&mut self, other: &Moments) -> Result<(), Overflow> {
        let heads = zip_heads(self.heads, other.heads, i64::checked_add)?;
        let mut products = self.products.clone();
        products.resize(products.len().max(other.products.len()), I256::ZERO);
        for (sum, more) in products.iter_mut().zip(&other.products) {
            *sum = sum.checked_add(*more).ok_or(OVERFLOW)?;
        }
        *self = Moments { heads, products };
        Ok(())
    }

    /// The sum over units of the product of two features; 0 where the plan does not keep it.
    pub fn product(&self, plan: &Plan, a: Feature, b: Feature) -> I256 {
        plan.product_index(a, b).and_then(|i| self.products.get(i)).copied().unwrap_or_default()
    }

    /// Units that contribute to metrics.
    pub fn contributing(&self, plan: &Plan) -> I256 {
        self.product(plan, Feature::One, Feature::One)
    }

    /// Same value, whether or not trailing zeros are spelled out.
    pub fn same(&self, other: &Moments) -> bool {
        let longest = self.products.len().max(other.products.len());
        let at = |m: &Moments, i: usize| m.products.get(i).copied().unwrap_or_default();
        self.heads == other.heads && (0..longest).all(|i| at(self, i) == at(other, i))
    }
}

/// |a|, |b| <= 2^127, so the product always fits. Most are small, and then one instruction multiplies them.
fn product(a: i128, b: i128) -> I256 {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => I256::from(i128::from(a) * i128::from(b)),
        _ => I256::from(a).wrapping_mul(I256::from(b)),
    }
}

fn zip_heads(a: Heads, b: Heads, op: fn(i64, i64) -> Option<i64>) -> Result<Heads, Overflow> {
    let mut values = a.to_array();
    for (x, y) in values.iter_mut().zip(b.to_array()) {
        *x = op(*x, y).ok_or(OVERFLOW)?;
    }
    Ok(Heads::from_array(values))
}
