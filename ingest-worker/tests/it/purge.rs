//! Retention: whatever is purged when, no conversion counts twice, nobody is enrolled again, and the sums of whatever is
//! not sealed are those of the raw rows that are left.

use crate::crash::{Dice, drop_after};
use crate::rig::{Rig, TENANT, conversions, exposures, frame, today};
use domain::{BatchId, Day, ExperimentId, Partition, Timestamp, UnitId};
use ingest_worker::apply::ApplyError;
use ingest_worker::purge::{Purging, step};
use ingest_worker::rebuild::StepError;
use std::collections::BTreeMap;
use store::apply::ApplyStore;
use store::{Actor, Changed, Experiment, Kept, PurgeCounts, Restored, UnitRow};

on_both!(
    no_interleaving_counts_twice_or_enrolls_again,
    what_may_still_be_counted_stays,
    sealed_sums_stay_and_are_not_counted_anew,
    letters_and_audit_entries_go_by_age,
    nothing_goes_while_a_partition_is_verified,
);

const ACTOR: Actor<'static> = Actor { name: "operator", request_id: "r-1" };
const ALL: (UnitId, UnitId) = (UnitId([0; 16]), UnitId([255; 16]));
const CONVERSIONS: Kept = Kept { conversions: Some(1), dead_letters: None, audit: None };
const METRICS: &str = r#"[{"key":"purchase","type":"mean"}]"#;

/// Carries a purge out, in steps of `units`, of what was applied before `day`.
async fn purge(rig: &mut Rig, dry_run: bool, day: Day, units: u32, dice: &mut Dice) -> PurgeCounts {
    rig.store.purge("operators", CONVERSIONS, dry_run, 1, ACTOR).await.unwrap();
    let mut sum = PurgeCounts::default();
    while let Some(mut row) = next(rig, dry_run).await {
        row.conversions = Some(day);
        let stepping = step(&mut rig.apply, &mut rig.cache, &row, 1, units);
        // A dry run, and what is compared with one, is not interrupted: its steps are counted here.
        let stepped = if units > 2 || dice.roll(3) > 0 {
            Some(stepping.await)
        } else {
            drop_after(Box::pin(stepping), dice.roll(12)).await
        };
        match stepped {
            None => rig.reconnect().await,
            Some(Ok(Purging::Done(counts) | Purging::More { counts, .. })) => {
                sum.conversions += counts.conversions;
            }
            Some(Err(StepError::Moved(_))) => rig.forget().await,
            Some(other) => panic!("{other:?}"),
        }
    }
    sum
}

async fn next(rig: &mut Rig, dry_run: bool) -> Option<store::apply::PurgeRow> {
    rig.apply.purges(&[Partition(0)]).await.unwrap().into_iter().find(|row| row.dry_run == dry_run)
}

async fn units(rig: &Rig) -> Vec<UnitRow> {
    rig.store.units(ALL, None, 1_000).await.unwrap()
}

async fn restored(rig: &Rig, key: &str) -> Restored {
    rig.store.restore_experiment(TENANT, key, ACTOR).await.unwrap()
}

async fn stored(rig: &Rig) -> Vec<String> {
    let rows = rig.store.conversions(ALL.0, ALL.1).await.unwrap();
    rows.into_iter().map(|c| c.key).collect()
}

/// What was counted in an experiment: the value of the n-th event is the n-th power of four, so that a digit says how
/// often it was.
async fn counted(rig: &Rig, experiment: &Experiment) -> i128 {
    let units = units(rig).await;
    let enrolled = units.iter().filter_map(|row| row.unit.enrollment(experiment.id));
    enrolled.flat_map(|e| &e.tallies).map(|tally| (tally.sum + tally.pre_sum) / 1_000_000).sum()
}

/// The highest digit of any event.
fn most(mut counted: i128) -> i128 {
    let mut most = 0;
    while counted > 0 {
        most = most.max(counted % 4);
        counted /= 4;
    }
    most
}

type Enrolled = BTreeMap<(UnitId, ExperimentId), (i16, Timestamp)>;

async fn enrolled(rig: &Rig) -> Enrolled {
    let units = units(rig).await;
    let of = |row: &UnitRow| {
        let id = row.id;
        let each = move |e: &domain::Enrollment| ((id, e.experiment), (e.variation, e.exposed_at));
        row.unit.enrollments.iter().map(each).collect::<Vec<_>>()
    };
    units.iter().flat_map(of).collect()
}

/// An event, as often as it is sent.
#[derive(Clone, Copy)]
enum Sent {
    Exposure { experiment: usize, user: usize, variation: i16, at: i64 },
    Conversion { experiment: Option<usize>, user: usize, number: usize, at: i64 },
}

async fn send(rig: &mut Rig, experiments: &[Experiment], sent: Sent) {
    let users: Vec<String> = (0..4).map(|user| format!("user-{user}")).collect();
    let key;
    let group = match sent {
        Sent::Exposure { experiment, user, variation, at } => {
            exposures(&experiments[experiment], &[(&users[user], variation, at)])
        }
        Sent::Conversion { experiment, user, number, at } => {
            let id = experiment.map_or(ExperimentId::NONE, |e| experiments[e].id);
            key = format!("key-{number}");
            // Some of what no plan uses.
            let metric = if number % 3 == 0 { "other" } else { "purchase" };
            let value = 4_i64.pow(u32::try_from(number).unwrap());
            conversions(id, &[(&users[user], metric, value, at, &key)])
        }
    };
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![group])]);
    loop {
        match rig.apply(std::slice::from_ref(&entry)).await {
            Ok(_) => return,
            Err(ApplyError::Moved(_)) => rig.forget().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn no_interleaving_counts_twice_or_enrolls_again(mut rig: Rig) {
    let (mut purged, mut duplicates, mut counted_events) = (0, 0, 0);
    for seed in 1..=4_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut other = rig.another().await;
        let mut experiments = Vec::new();
        for key in ["one", "two", "three"] {
            experiments.push(rig.experiment(key, METRICS).await);
            other.experiment(key, METRICS).await;
        }
        let (mut history, mut number, mut day): (Vec<Sent>, usize, i64) = (Vec::new(), 0, 0);
        let mut seen = Enrolled::new();
        let mut sealed: BTreeMap<usize, Vec<store::ArmRow>> = BTreeMap::new();
        for _ in 0..110 {
            let user = usize::try_from(dice.roll(4)).unwrap();
            let experiment = usize::try_from(dice.roll(3)).unwrap();
            // Some of it long before and some of it soon after the last exposures.
            let at = day * 86_400 + i64::try_from(dice.roll(40 * 86_400)).unwrap() - 39 * 86_400;
            let sent = match dice.roll(10) {
                0 | 1 => {
                    Sent::Exposure { experiment, user, variation: i16::try_from(dice.roll(2)).unwrap(), at }
                }
                2..=4 if number < 20 => {
                    number += 1;
                    let experiment = Some(experiment).filter(|_| dice.roll(3) == 0);
                    Sent::Conversion { experiment, user, number: number - 1, at }
                }
                5 | 6 if !history.is_empty() => {
                    duplicates += 1;
                    history[usize::try_from(dice.roll(history.len() as u64)).unwrap()]
                }
                7 => {
                    day += 5;
                    (0..5).for_each(|_| {
                        rig.next_day();
                        other.next_day();
                    });
                    continue;
                }
                8 if dice.roll(12) == 0 && !sealed.contains_key(&experiment) => {
                    rig.put_away(&experiments[experiment]).await;
                    sealed.insert(experiment, Vec::new());
                    continue;
                }
                _ => {
                    let before =
                        Day(today().0 + i32::try_from(day).unwrap() - i32::try_from(dice.roll(12)).unwrap());
                    if dice.roll(2) == 0 {
                        let dry = purge(&mut rig, true, before, 500, &mut dice).await;
                        let gone = purge(&mut rig, false, before, 500, &mut dice).await;
                        assert_eq!(dry, gone, "seed {seed}");
                        purged += gone.conversions;
                    } else {
                        let rows = stored(&rig).await.len();
                        purge(&mut rig, false, before, 1, &mut dice).await;
                        purged += (rows - stored(&rig).await.len()) as u64;
                    }
                    for (experiment, rows) in sealed.iter_mut().filter(|(_, rows)| rows.is_empty()) {
                        let e = &experiments[*experiment];
                        assert!(
                            rig.store.experiment(TENANT, &e.key).await.unwrap().unwrap().purged_at.is_some()
                        );
                        *rows = rig.store.moments_rows(e.id, 1).await.unwrap();
                    }
                    continue;
                }
            };
            history.push(sent);
            send(&mut rig, &experiments, sent).await;
            send(&mut other, &experiments, sent).await;
            let now = enrolled(&rig).await;
            assert!(seen.iter().all(|(who, what)| now.get(who) == Some(what)), "seed {seed}");
            seen = now;
        }
        for (at, e) in experiments.iter().enumerate() {
            let (here, there) = (counted(&rig, e).await, counted(&other, e).await);
            assert!(most(here) <= 1 && most(there) <= 1, "seed {seed}: {here} and {there} in {}", e.key);
            // No digit that is not in the other: neither borrows when one is taken from the other.
            assert_eq!(here & !there, 0, "seed {seed}: {here} and {there} in {}", e.key);
            counted_events += here.count_ones();
            match sealed.get(&at).filter(|rows| !rows.is_empty()) {
                Some(rows) => assert_eq!(&rig.store.moments_rows(e.id, 1).await.unwrap(), rows),
                None => rig.assert_books(&[e]).await,
            }
        }
        other.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
        rig = rig.another().await;
    }
    assert!(purged > 10 && duplicates > 30 && counted_events > 20, "{purged} {duplicates} {counted_events}");
}

async fn what_may_still_be_counted_stays(mut rig: Rig) {
    let (one, two) = (rig.experiment("one", METRICS).await, rig.experiment("two", METRICS).await);
    let mut dice = Dice(7);
    let day = 86_400;
    let groups = vec![
        exposures(&one, &[("a", 0, 0)]),
        conversions(one.id, &[("b", "purchase", 1, 0, "of one")]),
        conversions(two.id, &[("b", "purchase", 1, 0, "of two")]),
        conversions(ExperimentId::NONE, &[("a", "purchase", 1, 5, "after")]),
        conversions(ExperimentId::NONE, &[("a", "other", 1, 6, "of no plan")]),
        conversions(ExperimentId::NONE, &[("a", "purchase", 1, -13 * day, "window before")]),
        conversions(ExperimentId::NONE, &[("a", "other", 1, -13 * day, "window before, of no plan")]),
        conversions(ExperimentId::NONE, &[("a", "purchase", 1, -15 * day, "too early")]),
        conversions(ExperimentId::NONE, &[("a", "other", 1, -15 * day, "long before")]),
        conversions(ExperimentId::NONE, &[("b", "purchase", 1, 5, "of nobody enrolled")]),
    ];
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), groups)]);
    rig.apply(&[entry]).await.unwrap();
    rig.next_day();
    let late = conversions(ExperimentId::NONE, &[("b", "purchase", 1, 5, "of today")]);
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![late])]);
    rig.apply(&[entry]).await.unwrap();
    let tomorrow = Day(today().0 + 1);
    // What was deleted long ago keeps nothing, what was deleted just now what it counts.
    rig.put_away(&two).await;
    for e in [&one, &two] {
        assert!(rig.store.delete_experiment(TENANT, e.id, ACTOR).await.unwrap());
    }
    rig.forget().await;

    let kept = [
        "of one",
        "after",
        "of no plan",
        "window before",
        "window before, of no plan",
        "too early",
        "of today",
    ];
    let dry = purge(&mut rig, true, tomorrow, 500, &mut dice).await;
    assert_eq!((dry.conversions, stored(&rig).await.len()), (3, 10));
    let gone = purge(&mut rig, false, tomorrow, 500, &mut dice).await;
    assert_eq!(gone.conversions, 3);
    let mut left = stored(&rig).await;
    left.sort_unstable();
    let mut expected = kept.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert!(matches!(restored(&rig, "one").await, Restored::Done(_)));
    assert_eq!(restored(&rig, "two").await, Restored::Purged);
    rig.forget().await;
    rig.assert_books(&[&one]).await;
    // On the next day the last of the tenant's goes; the unit says what it has.
    let gone = purge(&mut rig, false, Day(tomorrow.0 + 1), 500, &mut dice).await;
    assert_eq!(gone.conversions, 1);
    rig.assert_books(&[&one]).await;
    let state = rig.store.last_purge(false).await.unwrap().unwrap();
    assert_eq!(
        (state.done_partitions, state.partitions, state.dead_letters, state.audit),
        (1, 1, None, None)
    );
    assert_eq!(state.conversions.unwrap().rows, 1);
    rig.put_away(&one).await;
    assert!(rig.store.delete_experiment(TENANT, one.id, ACTOR).await.unwrap());
    rig.forget().await;
    assert_eq!(purge(&mut rig, false, tomorrow, 1, &mut Dice(9)).await.conversions, 6);
    assert!(units(&rig).await.iter().all(|row| !row.unit.has_conversions));
}

async fn sealed_sums_stay_and_are_not_counted_anew(mut rig: Rig) {
    let one = rig.experiment("one", METRICS).await;
    let groups = vec![
        exposures(&one, &[("a", 1, 0)]),
        conversions(ExperimentId::NONE, &[("a", "purchase", 3, 5, "k")]),
    ];
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), groups.clone())]);
    rig.apply(&[entry]).await.unwrap();
    rig.put_away(&one).await;
    let sums = rig.store.moments_rows(one.id, 1).await.unwrap();
    assert_eq!(purge(&mut rig, false, Day(today().0 + 1), 500, &mut Dice(1)).await.conversions, 1);
    // The same again, and more.
    rig.forget().await;
    let more = vec![exposures(&one, &[("a", 0, 0), ("b", 0, 0)])];
    let again = [frame(BatchId(uuid::Uuid::now_v7()), groups), frame(BatchId(uuid::Uuid::now_v7()), more)];
    let entry = rig.entry(&again);
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(rig.store.moments_rows(one.id, 1).await.unwrap(), sums);
    assert_eq!(rig.counter("discarded").await, 3);
    // Who asks for more than there is is told so.
    let sealed = rig.store.experiment(TENANT, "one").await.unwrap().unwrap();
    assert!(sealed.purged_at.is_some() && sealed.revision > one.revision);
    assert_eq!(rig.store.rebuild_experiment(TENANT, one.id, ACTOR).await.unwrap(), Changed::Purged);
    assert_eq!(restored(&rig, "one").await, Restored::Purged);
    let refused = abctl::verify::verify(&*rig.store, 1, TENANT, "one").await.unwrap_err();
    let wanted = format!(
        "the raw rows of one are purged since {}: its sums stay as they are, and cannot be recomputed",
        sealed.purged_at.unwrap()
    );
    assert_eq!(refused.to_string(), wanted);
    let audit = "SELECT count(*) FROM audit_log WHERE action = 'experiment.purge' AND actor = 'operator'";
    assert_eq!(rig.count(audit).await, 1);
}

async fn letters_and_audit_entries_go_by_age(mut rig: Rig) {
    let one = rig.experiment("one", METRICS).await;
    for _ in 0..5 {
        let entry = rig.raw_entry(b"no frame".to_vec(), 1);
        rig.apply(&[entry]).await.unwrap();
    }
    rig.age().await;
    rig.experiment("two", METRICS).await;
    let entry = rig.raw_entry(b"no frame either".to_vec(), 1);
    rig.apply(&[entry]).await.unwrap();
    let kept = Kept { conversions: None, dead_letters: Some(3), audit: Some(30) };
    // The purge itself is an entry.
    for (dry_run, left) in [(true, (6, 2)), (false, (1, 2))] {
        rig.store.purge("operators", kept, dry_run, 1, ACTOR).await.unwrap();
        while let Some(row) = next(&mut rig, dry_run).await {
            step(&mut rig.apply, &mut rig.cache, &row, 1, 2).await.unwrap();
        }
        let state = rig.store.last_purge(dry_run).await.unwrap().unwrap();
        assert_eq!((state.dead_letters.unwrap().rows, state.audit.unwrap().rows), (5, 1));
        let letters = rig.count("SELECT count(*) FROM dead_letters").await;
        assert_eq!((letters, rig.count("SELECT count(*) FROM audit_log").await), left);
    }
    // In the books they stay.
    rig.assert_books(&[&one]).await;
}

async fn nothing_goes_while_a_partition_is_verified(mut rig: Rig) {
    let one = rig.experiment("one", METRICS).await;
    let group = conversions(ExperimentId::NONE, &[("a", "purchase", 3, 5, "k")]);
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![group])]);
    rig.apply(&[entry]).await.unwrap();
    let mut view = rig.store.view(one.id, Partition(0)).await.unwrap().unwrap();
    rig.store.purge("operators", CONVERSIONS, false, 1, ACTOR).await.unwrap();
    rig.forget().await;
    let row = next(&mut rig, false).await.unwrap();
    // SQLite's view is a snapshot, in which nothing goes.
    let stepped = step(&mut rig.apply, &mut rig.cache, &row, 1, 500).await.unwrap();
    let slice = view.slice(ALL.0, ALL.1, 10).await.unwrap().unwrap();
    assert_eq!(slice.conversions.len(), 1);
    view.close().await.unwrap();
    if stepped == Purging::Waits {
        assert_eq!(stored(&rig).await.len(), 1);
        step(&mut rig.apply, &mut rig.cache, &row, 1, 500).await.unwrap();
    }
    assert_eq!(stored(&rig).await.len(), 0);
}
