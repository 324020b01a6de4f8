//! Building plan versions between transactions that apply: exact whatever comes, after crashes and beside another owner.

use crate::crash::{Dice, drop_after, stream, unapplied};
use crate::rig::{Rig, TENANT, conversions, exposures, frame};
use domain::definition::Definition;
use domain::{BatchId, Day, ExperimentId, Moments, Partition};
use ingest_worker::apply::ApplyError;
use ingest_worker::cache::PartitionCache;
use ingest_worker::rebuild::{StepError, Stepped, step};
use std::collections::{BTreeMap, BTreeSet};
use store::apply::ApplyStore;
use store::{Actor, Change, Changed, Experiment};

on_both!(
    new_plans_are_built_while_events_come_and_connections_break,
    a_plain_rebuild_changes_no_answer_of_any_day,
    of_two_owners_who_build_one_is_told,
    a_wish_that_is_replaced_leaves_nothing,
);

const ACTOR: Actor<'static> = Actor { name: "test", request_id: "test" };

async fn found(rig: &Rig, id: ExperimentId) -> Experiment {
    rig.store.experiment(TENANT, &id.to_string()).await.unwrap().unwrap()
}

async fn ask(rig: &Rig, of: &Experiment, definition: &Definition) {
    let change = Change { revision: found(rig, of.id).await.revision, definition, detail: "[]" };
    let changed = rig.store.change_definition(TENANT, of.id, change, ACTOR).await.unwrap();
    assert!(matches!(changed, Changed::Done(e) if e.rebuild.is_some()));
}

async fn rebuild(rig: &Rig, of: &Experiment) {
    assert!(matches!(rig.store.rebuild_experiment(TENANT, of.id, ACTOR).await.unwrap(), Changed::Done(_)));
}

/// Another event, a cap, a window and a filter.
fn other(of: &Experiment) -> Definition {
    let mut wanted = of.definition.clone();
    wanted.metrics[1].event = Some("purchase".into());
    wanted.metrics[0].cap = Some(domain::Decimal(60_000_000));
    wanted.attribution.window_hours = Some(1);
    wanted.analysis.cuped.gap_minutes = 0;
    wanted.checked().unwrap()
}

/// Steps until all is built, and serves it.
async fn build(rig: &mut Rig, id: ExperimentId, units: u32) {
    while step(&mut rig.apply, &mut rig.cache, id, 1, units).await.unwrap() == Stepped::More {}
    assert_eq!(rig.apply.serve_rebuilt().await.unwrap(), [id]);
    rig.forget().await;
}

type Key = (i16, String, u16);

/// What every key came to at the end of every day.
async fn answers(rig: &Rig, id: ExperimentId) -> BTreeMap<(Day, Key), Moments> {
    let experiment = found(rig, id).await;
    let rows = rig.store.moments_rows(id, experiment.plan_version).await.unwrap();
    let days: BTreeSet<Day> = rows.iter().map(|r| r.day).collect();
    let mut answers = BTreeMap::new();
    for day in days {
        for row in rig.store.answer(&experiment, Some(day)).await.unwrap() {
            answers.insert((day, (row.key.variation, row.key.stratum, row.key.phase)), row.moments);
        }
    }
    answers
}

async fn new_plans_are_built_while_events_come_and_connections_break(mut rig: Rig) {
    let mut dice = Dice(0x5eed_0001_7f4a_7c15);
    let (stream, experiments) = stream(&mut rig, &mut dice, 300).await;
    let (one, two) = (&experiments[0], &experiments[1]);
    let (mut crashes, mut steps, mut asked) = (0, 0, 0);
    loop {
        let rest = unapplied(&stream, &rig.cache.position);
        let gone = stream.len() - rest.len();
        if gone > 100 && asked == 0 {
            ask(&rig, one, &other(one)).await;
            rebuild(&rig, two).await;
            asked = 1;
        }
        let building: Vec<_> = rig.apply.rebuilding(&[Partition(0)]).await.unwrap();
        if rest.is_empty() && building.is_empty() {
            break;
        }
        let turn = dice.roll(6);
        if turn < 2 && !building.is_empty() || rest.is_empty() {
            steps += 1;
            let (_, id) = building[usize::try_from(dice.roll(building.len() as u64)).unwrap()];
            let (units, polls) = (1 + u32::try_from(dice.roll(2)).unwrap(), dice.roll(14));
            let taken = step(&mut rig.apply, &mut rig.cache, id, 1, units);
            if dice.roll(4) == 0 {
                crashes += 1;
                let _ = drop_after(Box::pin(taken), polls).await;
                rig.reconnect().await;
            } else {
                match taken.await {
                    Ok(_) => {}
                    Err(StepError::Moved(_)) => rig.forget().await,
                    Err(error) => panic!("{error}"),
                }
            }
        } else if !rest.is_empty() {
            let most = rest.len().min(6);
            let (taken, _) = ingest_worker::chunk::one_transaction(rest, rig.cache.day, 1 + dice.roll(10));
            let chunk = &rest[..taken.min(most)];
            if dice.roll(6) == 0 {
                crashes += 1;
                let polls = dice.roll(12);
                let _ = drop_after(Box::pin(rig.apply(chunk)), polls).await;
                rig.reconnect().await;
            } else {
                match rig.apply(chunk).await {
                    Ok(_) => {}
                    Err(ApplyError::Moved(_)) => rig.forget().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        if dice.roll(20) == 0 {
            // The version served meanwhile is exact too.
            rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
        }
    }
    assert!(crashes > 10 && steps > 30, "{crashes} crashes, {steps} steps");
    // Whoever crashed last may have left the connection that served it.
    rig.apply.serve_rebuilt().await.unwrap();
    rig.forget().await;
    assert_eq!(found(&rig, one.id).await.definition, other(one));
    assert_eq!((found(&rig, one.id).await.plan_version, found(&rig, two.id).await.plan_version), (2, 2));
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
    // And stays so.
    let groups = vec![
        exposures(one, &[("late", 0, 5)]),
        conversions(ExperimentId::NONE, &[("late", "purchase", 70, 9, "k")]),
    ];
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), groups)]);
    rig.apply(&[entry]).await.unwrap();
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
}

async fn a_plain_rebuild_changes_no_answer_of_any_day(mut rig: Rig) {
    let mut dice = Dice(0x0ddb_a11c_7f4a_7c15);
    let (stream, experiments) = stream(&mut rig, &mut dice, 200).await;
    for entry in &stream {
        rig.apply(std::slice::from_ref(entry)).await.unwrap();
    }
    for (experiment, units) in experiments.iter().zip([1, 7, 500]) {
        let before = answers(&rig, experiment.id).await;
        assert!(before.len() > 4, "{} rows", before.len());
        rebuild(&rig, experiment).await;
        rig.forget().await;
        build(&mut rig, experiment.id, units).await;
        assert_eq!(answers(&rig, experiment.id).await, before);
        assert_eq!(found(&rig, experiment.id).await.plan_version, 2);
    }
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
}

async fn of_two_owners_who_build_one_is_told(mut rig: Rig) {
    let mut dice = Dice(7);
    let (stream, experiments) = stream(&mut rig, &mut dice, 60).await;
    for entry in &stream {
        rig.apply(std::slice::from_ref(entry)).await.unwrap();
    }
    let one = &experiments[0];
    ask(&rig, one, &other(one)).await;
    let mut apply = rig.store.connect().await.unwrap();
    let mut other = PartitionCache::new(Partition(0), apply.load(Partition(0)).await.unwrap());
    rig.forget().await;
    let mut told = 0;
    // Each takes steps; whoever was overtaken looks again.
    for turn in 0.. {
        let stepped = match turn % 3 {
            0 => step(&mut rig.apply, &mut rig.cache, one.id, 1, 3).await,
            _ => step(&mut *apply, &mut other, one.id, 1, 3).await,
        };
        match stepped {
            Ok(Stepped::Done) => break,
            Ok(Stepped::More) => {}
            Err(StepError::Moved(_)) => {
                told += 1;
                let state = apply.load(Partition(0)).await.unwrap();
                match turn % 3 {
                    0 => rig.cache = PartitionCache::new(Partition(0), state),
                    _ => other = PartitionCache::new(Partition(0), state),
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(told > 2, "{told}");
    assert_eq!(apply.serve_rebuilt().await.unwrap(), [one.id]);
    rig.forget().await;
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
}

async fn a_wish_that_is_replaced_leaves_nothing(mut rig: Rig) {
    let mut dice = Dice(99);
    let (stream, experiments) = stream(&mut rig, &mut dice, 80).await;
    let one = &experiments[0];
    let (first, second) = stream.split_at(40);
    for entry in first {
        rig.apply(std::slice::from_ref(entry)).await.unwrap();
    }
    ask(&rig, one, &other(one)).await;
    rig.forget().await;
    assert_eq!(step(&mut rig.apply, &mut rig.cache, one.id, 1, 5).await.unwrap(), Stepped::More);
    let mut another = other(one);
    another.spike_limit = Some(1);
    ask(&rig, one, &another).await;
    rig.forget().await;
    assert_eq!(step(&mut rig.apply, &mut rig.cache, one.id, 1, 5).await.unwrap(), Stepped::More);
    for entry in second {
        rig.apply(std::slice::from_ref(entry)).await.unwrap();
    }
    build(&mut rig, one.id, 5).await;
    let served = found(&rig, one.id).await;
    assert_eq!((served.plan_version, &served.definition), (3, &another));
    assert_eq!(rig.store.moments_rows(one.id, 2).await.unwrap(), []);
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
    // Back to the first: nothing is left that could be served at once.
    ask(&rig, one, &one.definition).await;
    rig.forget().await;
    build(&mut rig, one.id, 100).await;
    assert_eq!(found(&rig, one.id).await.definition, one.definition);
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
}
