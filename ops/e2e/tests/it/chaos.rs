//! The oracle of `make chaos`, briefly; and its parts for themselves, for an oracle that cannot fail proves nothing.

use domain::{Decimal, ExperimentId, Timestamp};
use e2e::chaos;
use e2e::chaos::ledger::{Content, Ledger, Place, What};
use e2e::chaos::schedule::{CALM, Fault, Kind, LONG_FREEZE, Program, Target, WAVE, schedule, targets};
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_what_was_acknowledged_is_applied_once() {
    // A seed whose short schedule has faults of every class.
    let report = chaos::run(8, Duration::from_secs(24)).await.unwrap();
    println!("{report}");
    let differences = &report.verdict.differences;
    assert_eq!(differences.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{report}");
    assert!(report.is_good(), "{report}");
    // It was not idle, and something did break.
    let compared = &report.verdict.comparison;
    assert!(compared.applied >= compared.acknowledged && compared.acknowledged > 1_000, "{report}");
    assert!(report.answers.retries > 0 && report.hasty.unknown > 0, "{report}");
    for class in ["gateway", "worker", "PostgreSQL", "Redis", "connections"] {
        assert!(report.counts.of(class) > 0, "{class}: {report}");
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn is_long(fault: &Fault) -> bool {
    fault.lasts >= Duration::from_millis(LONG_FREEZE.start)
}

proptest! {
    #[test]
    fn a_schedule_is_its_seeds_and_bounded(seed: u64, length in 12u64..200) {
        let faults = schedule(seed, seconds(length));
        prop_assert_eq!(&faults, &schedule(seed, seconds(length)));
        prop_assert_ne!(&faults, &schedule(seed.wrapping_add(1), seconds(length)));
        prop_assert!(faults.is_sorted_by_key(|fault| fault.at));
        for (i, fault) in faults.iter().enumerate() {
            // Over before the last calm; short ones before the next.
            prop_assert!(fault.ends() + CALM <= seconds(length), "{:?}", fault);
            let wave = fault.at.as_secs() / (WAVE + CALM).as_secs();
            let next_calm = (WAVE + CALM) * u32::try_from(wave).unwrap() + WAVE;
            prop_assert!(fault.ends() <= next_calm || is_long(fault), "{:?}", fault);
            // A target has one trouble at a time.
            let before = faults[..i].iter().filter(|f| f.target == fault.target);
            prop_assert!(before.clone().all(|f| f.ends() <= fault.at), "{:?}", fault);
        }
        // One worker lives.
        let long: Vec<&Fault> = faults.iter().filter(|fault| is_long(fault)).collect();
        for fault in &long {
            let is_worker = matches!(fault.target, Target::Program(Program::Worker(_)));
            prop_assert!(is_worker && fault.kind == Kind::Freeze, "{:?}", fault);
        }
        prop_assert!(long.is_sorted_by(|a, b| a.ends() <= b.at), "{:?}", long);
    }
}

#[test]
fn in_twenty_minutes_everything_happens_to_everybody() {
    let faults = schedule(5, seconds(1_200));
    let mut seen: HashSet<(Target, &str)> = HashSet::new();
    seen.extend(faults.iter().map(|fault| (fault.target, fault.kind.name())));
    let [programs, servers, links] = targets().map(|class| class.len());
    assert_eq!(seen.len(), (programs + servers) * 3 + 4 + 3 + links * 7);
    assert!(faults.iter().any(is_long));
    assert!(schedule(5, seconds(11)).is_empty());
}

fn place(user: &str, key: Option<&str>) -> Place {
    let (tenant, user, key) = ("t".to_owned(), user.to_owned(), key.map(str::to_owned));
    Place { tenant, user, experiment: ExperimentId(1), key }
}

fn shown(variation: i16, at: i64) -> Content {
    Content { what: What::Variation(variation), at: Some(Timestamp::from_millis(at)) }
}

/// Exposures of one user in this order, each acknowledged or not.
fn claims(all: &[(i16, bool)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (at, (variation, acknowledged)) in (0..).zip(all) {
        let claim = ledger.claim(place("u", None), shown(*variation, at));
        if *acknowledged {
            ledger.acknowledge(&claim);
        }
    }
    ledger
}

#[test]
fn the_first_acknowledged_exposure_wins_or_one_before_it_of_which_nothing_is_known() {
    let ledger = claims(&[(0, false), (1, false), (2, true), (0, true), (1, false)]);
    for (at, variation) in [(0, 0), (1, 1), (2, 2)] {
        let compared = ledger.compare(&[(place("u", None), shown(variation, at))]);
        assert_eq!(compared.differences, Vec::<String>::new());
        assert_eq!((compared.acknowledged, compared.applied, compared.lost), (1, 1, 0));
    }
    // Later ones never; nor the variation of one with the time of another.
    for (at, variation) in [(3, 0), (4, 1), (0, 1)] {
        let compared = ledger.compare(&[(place("u", None), shown(variation, at))]);
        assert_eq!(compared.differences.len(), 1, "{variation} at {at}");
    }
    // Nothing acknowledged: any of them, or none.
    let ledger = claims(&[(0, false), (1, false)]);
    for stored in [vec![], vec![(place("u", None), shown(0, 0))], vec![(place("u", None), shown(1, 1))]] {
        let compared = ledger.compare(&stored);
        assert_eq!((compared.differences.len(), compared.acknowledged, compared.lost), (0, 0, 0));
    }
}

#[test]
fn what_is_missing_is_lost_and_what_nobody_sent_is_double() {
    let booked = |value| Content {
        what: What::Conversion { metric: "purchase".into(), value: Decimal(value) },
        at: None,
    };
    let mut ledger = claims(&[(0, true)]);
    let claim = ledger.claim(place("u", Some("k")), booked(7));
    ledger.acknowledge(&claim);
    let exposure = (place("u", None), shown(0, 0));
    let stored = |value| (place("u", Some("k")), Content { at: Some(Timestamp(99)), ..booked(value) });

    let good = ledger.compare(&[exposure.clone(), stored(7)]);
    assert_eq!((good.acknowledged, good.applied, good.lost, good.double), (2, 2, 0, 0));
    assert_eq!(good.differences, Vec::<String>::new());

    let lost = ledger.compare(std::slice::from_ref(&exposure));
    assert_eq!((lost.acknowledged, lost.applied, lost.lost, lost.double), (2, 1, 1, 0));
    assert_eq!((lost.missing.len(), lost.differences.len()), (1, 0));

    let twice = ledger.compare(&[exposure.clone(), stored(7), stored(7)]);
    assert_eq!((twice.applied, twice.double, twice.differences.len()), (2, 1, 1));

    let unknown = (place("u", Some("@another")), booked(7));
    let never_sent = ledger.compare(&[exposure.clone(), stored(7), unknown]);
    assert_eq!((never_sent.double, never_sent.differences.len()), (1, 1));

    let altered = ledger.compare(&[exposure, stored(8)]);
    assert_eq!((altered.lost, altered.double, altered.differences.len()), (0, 0, 1));
}
