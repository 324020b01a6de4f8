//! Random streams: a few users, experiments with every kind of rule, several days, keys that repeat.

use crate::definition;
use domain::attributes::Attribute;
use domain::definition::{Crossovers, Definition};
use domain::{BatchId, Decimal, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

pub const USERS: u8 = 4;
/// Event names; the last two are used by no metric, and the last by nothing.
pub const NAMES: [&str; 5] = ["signup", "purchase", "profit", "visit", "unused"];
/// 2026-03-02T00:00:00Z
const MIDNIGHT: i64 = 1_772_409_600_000_000;
const SECOND: i64 = 1_000_000;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Exposure { user: u8, experiment: i64, variation: i16, phase: u16, at: Timestamp },
    Conversion(Conversion),
    Told { user: u8, experiment: i64, attribute: Attribute<'static> },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    pub user: u8,
    /// 0 = the tenant's.
    pub experiment: i64,
    pub event: &'static str,
    pub value: Decimal,
    pub at: Timestamp,
    pub key: u16,
}

impl Event {
    pub fn user(&self) -> u8 {
        match self {
            Event::Exposure { user, .. } | Event::Told { user, .. } => *user,
            Event::Conversion(c) => c.user,
        }
    }
}

/// Events applied in one transaction, `days` after the one before it.
pub type Batch = (i32, Vec<Event>);

#[derive(Debug, Clone)]
pub struct Stream {
    /// Experiments 1, 2, ..
    pub definitions: Vec<Definition>,
    pub batches: Vec<Batch>,
}

impl Stream {
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.batches.iter().flat_map(|b| &b.1)
    }
}

pub fn definition() -> impl Strategy<Value = Definition> {
    let all = definition::all_kinds();
    let metrics = proptest::sample::subsequence(all.metrics.clone(), 1..=all.metrics.len());
    let windows = (
        select(vec![None, None, Some(1), Some(24), Some(48)]),
        select(vec![0, 0, 1, 3600]),
        select(vec![0, 1, 2, 14]),
        select(vec![0, 60, 1440]),
    );
    let covariates = proptest::sample::subsequence(vec!["visit".to_owned(), "purchase".to_owned()], 0..=2);
    let filters =
        (select(vec![None, None, Some(1), Some(3)]), select(vec![Crossovers::Keep, Crossovers::Exclude]));
    (metrics, windows, covariates, filters).prop_map(move |(metrics, windows, covariates, filters)| {
        let mut d = Definition { metrics, ..all.clone() };
        (d.attribution.window_hours, d.attribution.tolerance_seconds) = (windows.0, windows.1);
        (d.analysis.cuped.lookback_days, d.analysis.cuped.gap_minutes) = (windows.2, windows.3);
        d.analysis.cuped.covariates = covariates;
        (d.spike_limit, d.crossovers) = filters;
        d
    })
}

/// Close to one another, so that the edges of windows are hit exactly and missed by a microsecond.
fn instant() -> impl Strategy<Value = Timestamp> {
    let jitter = select(vec![0, 0, 0, -1, 1, -SECOND, SECOND, SECOND - 1]);
    (-72i64..96, jitter).prop_map(|(hours, jitter)| Timestamp(MIDNIGHT + hours * 3600 * SECOND + jitter))
}

fn value() -> impl Strategy<Value = Decimal> {
    const MOST: i64 = 9_199_999_999_999_999_999;
    prop_oneof![
        4 => (0i64..50).prop_map(|n| n * 500_000),
        2 => -20_000_000i64..20_000_000,
        1 => select(vec![0, 1, -1, MOST, -MOST, 12_500_000, 12_500_001]),
    ]
    .prop_map(Decimal)
}

fn event(experiments: i64) -> impl Strategy<Value = Event> {
    let exposure = (0..USERS, 1..=experiments, -1i16..3, 0u16..2, instant()).prop_map(
        |(user, experiment, variation, phase, at)| Event::Exposure { user, experiment, variation, phase, at },
    );
    let conversion = (0..USERS, 0..=experiments, select(NAMES.to_vec()), value(), instant(), 0u16..25)
        .prop_map(|(user, experiment, event, value, at, key)| {
            Event::Conversion(Conversion { user, experiment, event, value, at, key })
        });
    let told = (0..USERS, 1..=experiments, attribute())
        .prop_map(|(user, experiment, attribute)| Event::Told { user, experiment, attribute });
    prop_oneof![2 => exposure, 5 => conversion, 2 => told]
}

fn attribute() -> impl Strategy<Value = Attribute<'static>> {
    let at = || proptest::option::of(instant());
    let names = vec!["", "visit", "purchase", "unused"];
    prop_oneof![
        (select(vec!["DE", "FR"]), at()).prop_map(|(value, at)| Attribute::Stratum { value, at }),
        (select(names), value(), at()).prop_map(|(name, value, at)| Attribute::Covariate { name, value, at }),
        (any::<bool>(), any::<u128>()).prop_map(|(excluded, batch)| Attribute::Exclusion {
            excluded,
            reason: None,
            batch: BatchId(uuid::Uuid::from_u128(batch)),
        }),
    ]
}

pub fn stream() -> impl Strategy<Value = Stream> {
    vec(definition(), 1..4).prop_flat_map(|definitions| {
        let event = event(definitions.len() as i64);
        let batches = vec((0i32..2, vec(event, 0..12)), 1..10);
        batches.prop_map(move |batches| Stream { definitions: definitions.clone(), batches })
    })
}

/// A stream whose conversions are distinct or exact copies, and the same one re-ordered (but for the exposures of one
/// user in one experiment and what is told of the user there), partly doubled and cut into other batches.
pub fn re_ordered() -> impl Strategy<Value = (Stream, Stream)> {
    (stream().prop_map(without_conflicts), vec(any::<Index>(), 0..20), vec(0i32..2, 1..12)).prop_flat_map(
        |(stream, again, days)| {
            let mut order: Vec<usize> = (0..stream.events().count()).collect();
            let copies: Vec<usize> =
                again.iter().filter(|_| !order.is_empty()).map(|i| *i.get(&order)).collect();
            order.extend(copies);
            (Just(stream), Just(order).prop_shuffle(), Just(days)).prop_map(|(stream, order, days)| {
                let events: Vec<Event> = stream.events().cloned().collect();
                let order = restore_exposures(&events, order);
                let size = order.len() / days.len() + 1;
                let mut chunks = order.chunks(size);
                let batches = days
                    .iter()
                    .map(|day| {
                        (*day, chunks.next().unwrap_or_default().iter().map(|i| events[*i].clone()).collect())
                    })
                    .collect();
                let other = Stream { definitions: stream.definitions.clone(), batches };
                (stream, other)
            })
        },
    )
}

fn without_conflicts(mut stream: Stream) -> Stream {
    let mut seen = std::collections::HashMap::new();
    for (_, events) in &mut stream.batches {
        events.retain(|e| match e {
            Event::Exposure { .. } | Event::Told { .. } => true,
            Event::Conversion(c) => {
                *seen.entry((c.user, c.experiment, c.key)).or_insert_with(|| c.clone()) == *c
            }
        });
    }
    stream
}

/// Puts exposures and what is told of each (user, experiment) back into their first order, at the places they now hold.
fn restore_exposures(events: &[Event], mut order: Vec<usize>) -> Vec<usize> {
    let identity = |i: usize| match &events[i] {
        Event::Exposure { user, experiment, .. } | Event::Told { user, experiment, .. } => {
            Some((*user, *experiment))
        }
        Event::Conversion(_) => None,
    };
    for pair in (0..USERS).flat_map(|u| (1..4).map(move |e| (u, e))) {
        let places: Vec<usize> = (0..order.len()).filter(|p| identity(order[*p]) == Some(pair)).collect();
        let mut exposures: Vec<usize> = places.iter().map(|p| order[*p]).collect();
        exposures.sort_unstable();
        for (place, exposure) in places.into_iter().zip(exposures) {
            order[place] = exposure;
        }
    }
    order
}
