//! Forgetting a user: what is left is what there would be had the user never been, whatever came before and comes after.

use crate::crash::{Dice, drop_after, stream, unapplied};
use crate::rig::{Rig, TENANT, conversions, exposures, frame};
use domain::{BatchId, Day, ExperimentId, Moments, Partition, Unit, UnitId};
use ingest_worker::apply::ApplyError;
use ingest_worker::erase::erase;
use ingest_worker::rebuild::{StepError, Stepped, step};
use queue::reader::Entry;
use std::collections::BTreeMap;
use store::apply::ApplyStore;
use store::{Actor, Changed, Erasure, Experiment};

on_both!(
    what_is_left_is_what_others_added,
    while_sums_are_rebuilt_and_connections_break,
    nothing_more_is_taken_of_whoever_was_erased,
    of_a_user_nobody_knows_nothing_is_taken_later,
);

const ACTOR: Actor<'static> = Actor { name: "privacy desk", request_id: "r-9" };

async fn ask(rig: &Rig, user: &str) -> Erasure {
    rig.store.erase_user(TENANT, user, 1, ACTOR).await.unwrap()
}

/// Does what is asked for.
async fn forget(rig: &mut Rig) {
    for (_, row) in rig.apply.erasures(&[Partition(0)]).await.unwrap() {
        erase(&mut rig.apply, &mut rig.cache, &row).await.unwrap();
    }
}

/// Every key's sums at the end of every day on which any key of `days` changed.
async fn answers(rig: &Rig, experiments: &[Experiment]) -> BTreeMap<(i64, i16, u16, Day), Moments> {
    let mut answers = BTreeMap::new();
    for e in experiments {
        let served = rig.store.experiment(TENANT, &e.key).await.unwrap().unwrap();
        for row in rig.store.moments_rows(e.id, served.plan_version).await.unwrap() {
            if row.moments.heads.enrolled > 0 {
                answers.insert((e.id.0, row.key.variation, row.key.phase, row.day), row.moments);
            }
        }
    }
    answers
}

/// The stream without a user's events.
fn without(rig: &mut Rig, stream: &[Entry], user: &str) -> Vec<Entry> {
    let _ = rig;
    let mut rest = Vec::new();
    for entry in stream {
        let mut entry = entry.clone();
        let mut payload = Vec::new();
        for part in queue::frame::split(&entry.payload) {
            let mut part = part.unwrap();
            for group in &mut part.groups {
                match &mut group.events {
                    queue::frame::Events::Exposures(items) => items.retain(|e| e.user_id != user),
                    queue::frame::Events::Conversions(items) => items.retain(|c| c.user_id != user),
                    queue::frame::Events::Controls(_) => {}
                }
            }
            payload.extend(queue::frame::encode(&part).unwrap());
        }
        entry.payload = payload.into();
        rest.push(entry);
    }
    rest
}

async fn what_is_left_is_what_others_added(mut rig: Rig) {
    let mut dice = Dice(0xfeed_0001_7f4a_7c15);
    let (stream, experiments) = stream(&mut rig, &mut dice, 200).await;
    for entry in &stream {
        rig.apply(std::slice::from_ref(entry)).await.unwrap();
    }
    let all: Vec<&Experiment> = experiments.iter().collect();
    for user in ["user-1", "user-7", "user-39", "nobody"] {
        assert_eq!(ask(&rig, user).await, Erasure::Asked);
        assert_eq!(ask(&rig, user).await, Erasure::Asked);
    }
    forget(&mut rig).await;
    rig.assert_books(&all).await;
    assert_eq!(ask(&rig, "user-7").await, Erasure::Done);
    assert_eq!(rig.apply.erasures(&[Partition(0)]).await.unwrap(), []);
    let left = answers(&rig, &experiments).await;

    // The same without them from the beginning.
    let mut other = rig.another().await;
    let mut others = stream.clone();
    for user in ["user-1", "user-7", "user-39"] {
        others = without(&mut other, &others, user);
    }
    for e in &experiments {
        other.experiment(&e.key, &serde_json::to_string(&e.definition.metrics).unwrap()).await;
    }
    for entry in &others {
        other.apply(std::slice::from_ref(entry)).await.unwrap();
    }
    let expected = answers(&other, &experiments).await;
    assert!(expected.len() > 10);
    for (key, sums) in &expected {
        assert!(left.get(key).is_some_and(|found| found.same(sums)), "{key:?}");
    }
    // No row, no name, no event; who asked is told.
    let (first, last) = (UnitId::of(TENANT, "user-7"), UnitId::of(TENANT, "user-7"));
    assert_eq!(rig.store.conversions(first, last).await.unwrap(), []);
    let row = rig.store.units((first, last), None, 1).await.unwrap().remove(0);
    assert_eq!((row.user_id.as_str(), row.unit), ("", Unit { erased: true, ..Unit::default() }));
    assert_eq!(
        rig.count("SELECT count(*) FROM audit_log WHERE action = 'user.erase' AND actor = 'privacy desk'")
            .await,
        4
    );
    assert_eq!(rig.count("SELECT count(*) FROM audit_log WHERE subject LIKE '%user-%'").await, 0);
}

async fn while_sums_are_rebuilt_and_connections_break(mut rig: Rig) {
    let mut dice = Dice(0xdead_0003_7f4a_7c15);
    let (stream, experiments) = stream(&mut rig, &mut dice, 200).await;
    let all: Vec<&Experiment> = experiments.iter().collect();
    let (mut erased, mut crashes, mut asked) = (0, 0, false);
    loop {
        let rest = unapplied(&stream, &rig.cache.position);
        if rest.len() < 150 && !asked {
            asked = true;
            let rebuilt = rig.store.rebuild_experiment(TENANT, experiments[0].id, ACTOR).await.unwrap();
            assert!(matches!(rebuilt, Changed::Done(_)));
        }
        if rest.len() < 170 && dice.roll(8) == 0 {
            ask(&rig, &format!("user-{}", dice.roll(40))).await;
        }
        let building = rig.apply.rebuilding(&[Partition(0)]).await.unwrap();
        let erasing = rig.apply.erasures(&[Partition(0)]).await.unwrap();
        if rest.is_empty() && building.is_empty() && erasing.is_empty() {
            break;
        }
        let (polls, crash) = (dice.roll(14), dice.roll(5) == 0);
        let stepped = if let Some((_, row)) = erasing.first() {
            erased += 1;
            let erasing = erase(&mut rig.apply, &mut rig.cache, row);
            if crash { drop_after(Box::pin(erasing), polls).await } else { Some(erasing.await) }
        } else if (dice.roll(4) == 0 || rest.is_empty()) && !building.is_empty() {
            let stepping = step(&mut rig.apply, &mut rig.cache, experiments[0].id, 1, 2);
            let stepping = async { stepping.await.map(|_: Stepped| ()) };
            if crash { drop_after(Box::pin(stepping), polls).await } else { Some(stepping.await) }
        } else {
            match rig.apply(&rest[..1]).await {
                Ok(_) => {}
                Err(ApplyError::Moved(_)) => rig.forget().await,
                Err(error) => panic!("{error}"),
            }
            continue;
        };
        match stepped {
            None => {
                crashes += 1;
                rig.reconnect().await;
            }
            Some(Ok(())) => {}
            Some(Err(StepError::Moved(_))) => rig.forget().await,
            Some(Err(error)) => panic!("{error}"),
        }
        if dice.roll(10) == 0 {
            rig.assert_books(&all).await;
        }
    }
    assert!(erased > 5 && crashes > 3, "{erased} erased, {crashes} crashes");
    rig.apply.serve_rebuilt().await.unwrap();
    rig.forget().await;
    assert_eq!(rig.store.experiment(TENANT, "one").await.unwrap().unwrap().plan_version, 2);
    rig.assert_books(&all).await;
}

async fn nothing_more_is_taken_of_whoever_was_erased(mut rig: Rig) {
    let e = rig.experiment("one", r#"[{"key":"purchase","type":"mean"}]"#).await;
    let sale = |key| conversions(ExperimentId::NONE, &[("u", "purchase", 3, 9, key)]);
    let first =
        rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)]), sale("k")])]);
    rig.apply(&[first]).await.unwrap();
    ask(&rig, "u").await;
    forget(&mut rig).await;
    // The same again and something new, with a cache and without.
    for key in ["k", "k2"] {
        let groups = vec![exposures(&e, &[("u", 1, 0), ("v", 1, 0)]), sale(key)];
        let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), groups)]);
        rig.apply(&[entry]).await.unwrap();
        rig.forget().await;
    }
    assert_eq!(rig.counter("discarded:erased").await, 4);
    let row = rig.store.units(Partition(0).unit_range(1), None, 9).await.unwrap();
    assert_eq!(row.iter().filter(|u| u.unit.erased).count(), 1);
    assert_eq!(rig.count("SELECT count(*) FROM conversions").await, 0);
    rig.assert_books(&[&e]).await;
}

async fn of_a_user_nobody_knows_nothing_is_taken_later(mut rig: Rig) {
    let e = rig.experiment("one", r#"[{"key":"purchase","type":"mean"}]"#).await;
    ask(&rig, "u").await;
    forget(&mut rig).await;
    assert_eq!(ask(&rig, "u").await, Erasure::Done);
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)])])]);
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(rig.counter("discarded:erased").await, 1);
    rig.assert_books(&[&e]).await;
}
