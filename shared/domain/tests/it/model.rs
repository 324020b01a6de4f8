//! The contract written a second time, naively: from all events up to a day, what every arm must show.
//! Uses neither the fold nor the plan.

use crate::streams::{Conversion, Event, NAMES, Stream};
use crate::world::{Arm, FIRST_DAY};
use domain::attributes::Attribute;
use domain::contribution::Heads;
use domain::definition::{Crossovers, Definition, Metric, MetricKind, Role};
use domain::{Day, Moments, Plan, Timestamp};
use ethnum::I256;
use std::collections::{BTreeMap, HashMap};

/// What an arm shows, metric by metric.
#[derive(Debug, Default, PartialEq)]
pub struct Shown {
    heads: Heads,
    contributing: I256,
    metrics: Vec<Sums>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Sums {
    converters: I256,
    conversions: I256,
    y: I256,
    yy: I256,
    denominator: [I256; 3],
    pre: [I256; 3],
    pre_converters: I256,
    /// Of each named covariate, and its products with the one before it.
    named: Vec<[I256; 3]>,
    crossed: I256,
}

/// What one user did of one event.
#[derive(Default, Clone, Copy)]
struct Did {
    count: i128,
    sum: i128,
    pre_converted: bool,
    pre_count: i128,
    pre_sum: i128,
}

/// Every arm with an enrolled user at the end of `day`.
pub fn expected(stream: &Stream, day: Day) -> BTreeMap<Arm, Shown> {
    let mut today = FIRST_DAY;
    let mut known: Vec<&Event> = Vec::new();
    for (days, events) in &stream.batches {
        today += days;
        if today <= day.0 {
            known.extend(events);
        }
    }
    let mut conversions: HashMap<(u8, i64, u16), &Conversion> = HashMap::new();
    for event in &known {
        if let Event::Conversion(c) = event {
            conversions.entry((c.user, c.experiment, c.key)).or_insert(c);
        }
    }
    let mut arms = BTreeMap::new();
    for (experiment, definition) in (1i64..).zip(&stream.definitions) {
        let mut exposures: BTreeMap<u8, Vec<(i16, u16, i64)>> = BTreeMap::new();
        let mut attributes: BTreeMap<u8, Vec<(Attribute<'_>, bool)>> = BTreeMap::new();
        for event in &known {
            match event {
                Event::Exposure { user, experiment: e, variation, phase, at } if *e == experiment => {
                    exposures.entry(*user).or_default().push((*variation, *phase, at.0));
                }
                Event::Told { user, experiment: e, attribute } if *e == experiment => {
                    let enrolled = exposures.contains_key(user);
                    attributes.entry(*user).or_default().push((*attribute, enrolled));
                }
                _ => {}
            }
        }
        for (user, seen) in exposures {
            let relevant =
                conversions.values().filter(|c| c.user == user && [0, experiment].contains(&c.experiment));
            let told = Known::of(attributes.get(&user).map_or(&[], Vec::as_slice), seen[0].2);
            let stratum = told.stratum.unwrap_or_default().to_owned();
            let arm: &mut Shown = arms.entry((experiment, seen[0].0, seen[0].1, stratum)).or_default();
            arm.metrics.resize(definition.metrics.len(), Sums::default());
            add_user(arm, definition, &seen, &relevant.copied().collect::<Vec<_>>(), &told);
        }
    }
    arms
}

/// What was told of a user who is enrolled.
#[derive(Default)]
struct Known {
    stratum: Option<&'static str>,
    /// By name; `None` = of a time not before the exposure.
    covariates: HashMap<&'static str, Option<i128>>,
    excluded: bool,
    late: bool,
}

impl Known {
    /// Each with whether the user was enrolled before.
    fn of(told: &[(Attribute<'static>, bool)], exposed: i64) -> Known {
        let mut known = Known::default();
        for (attribute, enrolled) in told {
            let after = |at: &Option<Timestamp>| at.is_some_and(|at| at.0 >= exposed);
            match attribute {
                Attribute::Stratum { value, at } if known.stratum.is_none() => {
                    known.stratum = Some(value);
                    known.late |= *enrolled || after(at);
                }
                Attribute::Covariate { name, value, at } if !known.covariates.contains_key(name) => {
                    known.covariates.insert(name, (!after(at)).then_some(value.0.into()));
                    known.late |= *enrolled || after(at);
                }
                Attribute::Exclusion { excluded, .. } => known.excluded = *excluded,
                _ => {}
            }
        }
        known
    }

    /// Of an event, if anything is told of it: by its name, or as the primary metric's.
    fn of_event(&self, d: &Definition, event: &str) -> Option<i128> {
        let primary = d.metrics.iter().find(|m| m.role == Some(Role::Primary));
        let own = primary.filter(|m| numerator(m) == event).and_then(|_| self.covariates.get(""));
        self.covariates.get(event).or(own).copied().flatten()
    }
}

fn add_user(
    arm: &mut Shown,
    d: &Definition,
    seen: &[(i16, u16, i64)],
    conversions: &[&Conversion],
    told: &Known,
) {
    let (variation, _, exposed) = seen[0];
    let second = 1_000_000i64;
    let begins = exposed - i64::from(d.attribution.tolerance_seconds) * second;
    let ends = d.attribution.window_hours.map(|h| exposed + i64::from(h) * 3600 * second);
    let pre_begins = exposed - i64::from(d.analysis.cuped.lookback_days) * 86_400 * second;
    let pre_ends = exposed - i64::from(d.analysis.cuped.gap_minutes) * 60 * second;
    let measured =
        |name: &str| d.metrics.iter().any(|m| numerator(m) == name || m.denominator.as_deref() == Some(name));
    let named = &d.analysis.cuped.covariates;
    let used = |name: &str| measured(name) || named.iter().any(|n| n == name);

    let mut did: HashMap<&str, Did> = HashMap::new();
    let mut counted = 0;
    for c in conversions.iter().filter(|c| used(c.event)) {
        let of = did.entry(c.event).or_default();
        if c.at.0 < begins {
            arm.heads.before += 1;
            if pre_begins <= c.at.0 && c.at.0 < pre_ends {
                of.pre_converted = true;
                of.pre_count += 1;
                of.pre_sum += i128::from(c.value.0);
            }
        } else if ends.is_some_and(|ends| c.at.0 >= ends) {
            arm.heads.after_window += 1;
        } else {
            counted += u32::from(measured(c.event));
            of.count += 1;
            of.sum += i128::from(c.value.0);
        }
    }
    let crossed = seen.iter().any(|s| s.0 != variation);
    for event in NAMES {
        if let Some(value) = told.of_event(d, event) {
            let of = did.entry(event).or_default();
            (of.pre_converted, of.pre_count, of.pre_sum) = (value != 0, value / 1_000_000, value);
        }
    }
    let excluded = told.excluded || (crossed && d.crossovers == Crossovers::Exclude);
    let filtered = !excluded && d.spike_limit.is_some_and(|limit| counted > limit);
    arm.heads.enrolled += 1;
    arm.heads.crossovers += i64::from(crossed);
    arm.heads.earlier_seen += i64::from(seen.iter().any(|s| s.2 < exposed));
    arm.heads.excluded += i64::from(excluded);
    arm.heads.after_exposure += i64::from(told.late);
    arm.heads.filtered += i64::from(filtered);
    if excluded || filtered {
        return;
    }
    arm.contributing += I256::ONE;
    for (m, sums) in d.metrics.iter().zip(&mut arm.metrics) {
        sums.add(m, named, &did);
    }
}

fn numerator(m: &Metric) -> &str {
    m.numerator.as_deref().or(m.event.as_deref()).unwrap_or(&m.key)
}

impl Sums {
    fn add(&mut self, m: &Metric, named: &[String], did: &HashMap<&str, Did>) {
        let of = |name: &str| did.get(name).copied().unwrap_or_default();
        let n = of(numerator(m));
        let cap = m.cap.map_or(i128::MAX, |c| i128::from(c.0));
        let (y, pre) = match m.kind {
            MetricKind::Proportion => (i128::from(n.count > 0), i128::from(n.pre_converted)),
            MetricKind::Mean => (n.sum.min(cap), n.pre_sum),
            MetricKind::Count => {
                (n.count.min(cap / if m.cap.is_some() { 1_000_000 } else { 1 }), n.pre_count)
            }
            MetricKind::Ratio => (n.sum, 0),
        };
        let below = match (&m.denominator, m.kind) {
            (_, MetricKind::Proportion | MetricKind::Mean | MetricKind::Count) => 0,
            (Some(name), _) => of(name).sum,
            (None, _) => n.count,
        };
        let [y, pre, below] = [y, pre, below].map(I256::from);
        self.converters += I256::from(n.count > 0);
        self.conversions += I256::from(n.count);
        self.y += y;
        self.yy += y * y;
        for (sums, x) in [(&mut self.denominator, below), (&mut self.pre, pre)] {
            sums[0] += x;
            sums[1] += x * x;
            sums[2] += x * y;
        }
        if m.kind == MetricKind::Ratio {
            return;
        }
        self.pre_converters += I256::from(n.pre_converted);
        let values: Vec<I256> = named.iter().map(|name| I256::from(of(name).pre_sum)).collect();
        self.named.resize(named.len(), Default::default());
        for (sums, x) in self.named.iter_mut().zip(&values) {
            *sums = [sums[0] + x, sums[1] + x * x, sums[2] + x * y];
        }
        self.crossed += values.windows(2).map(|pair| pair[0] * pair[1]).sum::<I256>();
    }
}

/// The same view of a row of moments, through the accessors that the analyzer uses.
pub fn shown(definition: &Definition, plan: &Plan, moments: &Moments) -> Shown {
    let sums = |m: &Metric| {
        use domain::plan::Feature::{self, One};
        let f = plan.metric(m);
        let of = |a, b| moments.product(plan, a, b);
        let names = definition.analysis.cuped.covariates.iter();
        let event = |name| u16::try_from(plan.event_index(name).unwrap()).unwrap();
        let named: Vec<_> = names.map(|name| Feature::PreSum(event(name))).collect();
        let beside = |x: Option<_>| x.map_or([I256::ZERO; 3], |x| [of(One, x), of(x, x), of(x, f.outcome)]);
        Sums {
            converters: of(One, f.converted),
            conversions: of(One, f.count),
            y: of(One, f.outcome),
            yy: of(f.outcome, f.outcome),
            denominator: beside(f.denominator),
            pre: beside(f.pre),
            pre_converters: f.pre_converted.map_or(I256::ZERO, |had| of(One, had)),
            crossed: match (&named[..], m.kind) {
                ([a, b], MetricKind::Proportion | MetricKind::Mean | MetricKind::Count) => of(*a, *b),
                _ => I256::ZERO,
            },
            named: match (m.kind, moments.contributing(plan) > 0) {
                (MetricKind::Ratio, _) | (_, false) => Vec::new(),
                _ => named.iter().map(|x| beside(Some(*x))).collect(),
            },
        }
    };
    Shown {
        heads: moments.heads,
        contributing: moments.contributing(plan),
        metrics: definition.metrics.iter().map(sums).collect(),
    }
}
