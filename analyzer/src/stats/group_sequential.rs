//! Tests at planned looks: the error level is spent look by look (Lan, DeMets 1983) in the manner of O'Brien and
//! Fleming, so that early looks cost next to nothing and the last one is nearly the plain test.
//!
//! Spent after the information fraction t, both sides together: a(t) = 4 (1 - Phi(z_{1-alpha/4} / sqrt(t))). The
//! boundary of each look is the |z| whose first crossing has just the probability newly spent, found by integrating the
//! joint density of the looks recursively (Armitage, McPherson, Rowe 1969); looks correlate by sqrt(t_i / t_j).
//! Looks that were not planned must not be tested. Assumes a maximum size fixed in advance; narrower than
//! [`super::sequential`] for that reason.

use super::{Alpha, Undefined, finite, normal, special::GAUSS_LEGENDRE_16};

/// A look that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Users of both arms, as a share of those planned; past 1 where more came.
    pub share: f64,
    /// Error level spent so far, both sides.
    pub spent: f64,
}

/// The looks taken at these sizes, ascending, of a plan that ends at `planned`; what is at or past it is the last.
pub fn looks(users: &[u64], planned: u64, alpha: Alpha) -> Vec<Look> {
    let look = |share: f64| Look { share, spent: spending(share.min(1.0), alpha) };
    users.iter().map(|n| look(*n as f64 / planned as f64)).collect()
}

/// a(t), 0 < t <= 1.
pub fn spending(fraction: f64, alpha: Alpha) -> f64 {
    let z = normal::upper_quantile(alpha.get() / 4.0);
    4.0 * normal::upper_tail(z / fraction.sqrt())
}

/// The |z| at or past which each look ends the experiment, two-sided.
pub fn boundaries(looks: &[Look]) -> Result<Vec<f64>, Undefined> {
    let ordered =
        looks.windows(2).all(|pair| pair[0].share < pair[1].share && pair[0].spent <= pair[1].spent);
    if !ordered {
        return Err(Undefined::Inconsistent);
    }
    let mut found = Vec::with_capacity(looks.len());
    let (mut paths, mut spent) = (Paths { time: 0.0, nodes: Vec::new() }, 0.0);
    for (i, look) in looks.iter().enumerate() {
        let (time, spend) = (look.share, look.spent - spent);
        spent = look.spent;
        if spend < SMALLEST_SPEND {
            // It ends next to nothing, so the paths go on as they are.
            found.push(if spend > f64::MIN_POSITIVE {
                normal::upper_quantile(0.5 * spend)
            } else {
                FARTHEST
            });
            continue;
        }
        let bound = paths.bound(time, spend);
        found.push(finite(bound / time.sqrt())?);
        if let Some(next) = looks.get(i + 1) {
            paths = paths.advance(time, bound, next.share);
        }
    }
    Ok(found)
}

/// Where the paths stand that no look has ended: the density of a Brownian motion at the time of a look, by nodes and
/// their integrated weights on the positive side; the negative one mirrors it. No nodes: all are at zero.
struct Paths {
    time: f64,
    nodes: Vec<(f64, f64)>,
}

impl Paths {
    /// Standard deviation of what happens until `time`.
    fn width(&self, time: f64) -> f64 {
        (time - self.time).max(SHORTEST_STEP).sqrt()
    }

    /// Density at `x` at `time`.
    fn density(&self, x: f64, time: f64) -> f64 {
        let width = self.width(time);
        let kernel = |u: f64| normal::density((x - u) / width) / width;
        if self.nodes.is_empty() {
            return kernel(0.0);
        }
        self.nodes.iter().map(|(u, weight)| weight * (kernel(*u) + kernel(-u))).sum()
    }

    /// Probability to be at or past `bound` on either side at `time`.
    fn beyond(&self, bound: f64, time: f64) -> f64 {
        let width = self.width(time);
        let tail = |u: f64| normal::upper_tail((bound - u) / width);
        if self.nodes.is_empty() {
            return 2.0 * tail(0.0);
        }
        self.nodes.iter().map(|(u, weight)| 2.0 * weight * (tail(*u) + tail(-u))).sum()
    }

    /// The bound past which `spend` of all paths are at `time`.
    fn bound(&self, time: f64, spend: f64) -> f64 {
        let (mut low, mut high) = (0.0, FARTHEST * time.sqrt());
        let mut at = (normal::upper_quantile(0.5 * spend.min(1.0)) * time.sqrt()).min(high);
        for _ in 0..MAX_STEPS {
            let excess = self.beyond(at, time) - spend;
            if excess > 0.0 {
                low = at
            } else {
                high = at
            }
            let newton = at + excess / (2.0 * self.density(at, time));
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            let done = (next - at).abs() <= 1e-12 * (1.0 + at);
            at = next;
            if done {
                break;
            }
        }
        at
    }

    /// Those within `bound` at `time`, on a grid that the way to the time after it, `next`, needs.
    fn advance(&self, time: f64, bound: f64, next: f64) -> Paths {
        let reach = bound.min(FARTHEST_PATH * time.sqrt());
        let finest = self.width(time).min((next - time).max(SHORTEST_STEP).sqrt());
        let wanted = (reach / (PANEL_PER_WIDTH * finest)).ceil();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 2 and MAX_PANELS
        let panels = wanted.clamp(2.0, MAX_PANELS) as u32;
        let half = 0.5 * reach / f64::from(panels);
        let mut nodes = Vec::with_capacity(panels as usize * 2 * GAUSS_LEGENDRE_16.len());
        for panel in 0..panels {
            let middle = half * f64::from(2 * panel + 1);
            for (node, weight) in GAUSS_LEGENDRE_16 {
                for u in [middle - half * node, middle + half * node] {
                    nodes.push((u, weight * half * self.density(u, time)));
                }
            }
        }
        Paths { time, nodes }
    }
}

/// As a share of the planned size: closer looks are taken as this far apart.
const SHORTEST_STEP: f64 = 1e-3;
/// |z| that stands for "cannot be reached", and the most that is searched for.
const FARTHEST: f64 = 37.0;
/// |z| past which no path is counted.
const FARTHEST_PATH: f64 = 9.0;
/// Below it what a look ends is not seen in the level of the others.
const SMALLEST_SPEND: f64 = 1e-16;
const MAX_STEPS: u32 = 100;
/// Width of an integration panel, in standard deviations of the next step.
const PANEL_PER_WIDTH: f64 = 3.0;
const MAX_PANELS: f64 = 100.0;
