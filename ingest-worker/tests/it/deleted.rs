//! Deleted and restored: an experiment is as one beside it that never was away, but for what named it meanwhile.

use crate::rig::{Rig, TENANT, conversions, exposures, frame};
use domain::{BatchId, Day, ExperimentId, Moments, Partition};
use ingest_worker::erase::erase;
use ingest_worker::rebuild::{Stepped, step};
use queue::frame::Group;
use store::apply::ApplyStore;
use store::{Actor, Changed, Erasure, Experiment, Restored, Status};

on_both!(
    sums_are_kept_up_and_what_names_it_is_discarded,
    what_is_being_built_is_finished,
    a_user_is_erased_in_it_too,
);

const ACTOR: Actor<'static> = Actor { name: "test", request_id: "test" };
const METRICS: &str = r#"[{"key":"revenue","event":"purchase","type":"mean"}]"#;

/// One that is going to be deleted, and one that is not; the same users in both, who have bought.
async fn two(rig: &mut Rig) -> [Experiment; 2] {
    let both = [rig.experiment("gone", METRICS).await, rig.experiment("kept", METRICS).await];
    for e in &both {
        rig.store.set_status(TENANT, e.id, Status::Running, ACTOR).await.unwrap();
    }
    rig.forget().await;
    for e in &both {
        send(rig, exposures(e, &[("ann", 0, 10), ("bob", 1, 10), ("cat", 1, 10)])).await;
        send(rig, conversions(e.id, &[("ann", "purchase", 3, 20, "named")])).await;
    }
    send(rig, conversions(ExperimentId::NONE, &[("bob", "purchase", 5, 20, "before")])).await;
    both
}

/// (recorded, discarded)
async fn send(rig: &mut Rig, group: Group<'_>) -> (u64, u64) {
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![group])]);
    let applied = rig.apply(&[entry]).await.unwrap();
    (applied.totals.recorded, applied.totals.discarded)
}

async fn delete(rig: &mut Rig, e: &Experiment) {
    assert!(rig.store.delete_experiment(TENANT, e.id, ACTOR).await.unwrap());
    rig.forget().await;
}

async fn restore(rig: &mut Rig, e: &Experiment) -> Experiment {
    let restored = rig.store.restore_experiment(TENANT, &e.key, ACTOR).await.unwrap();
    rig.forget().await;
    match restored {
        Restored::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

/// Sums by variation and day, of the version served.
async fn sums(rig: &Rig, e: &Experiment) -> Vec<(i16, Day, Moments)> {
    let served = rig.store.experiment(TENANT, &e.key).await.unwrap().unwrap();
    let rows = rig.store.moments_rows(e.id, served.plan_version).await.unwrap();
    let mut sums: Vec<_> = rows.into_iter().map(|r| (r.key.variation, r.day, r.moments)).collect();
    sums.sort_by_key(|(variation, day, _)| (*variation, *day));
    sums
}

async fn assert_alike(rig: &Rig, [gone, kept]: &[Experiment; 2]) {
    assert_eq!(sums(rig, gone).await, sums(rig, kept).await);
    rig.assert_books(&[gone, kept]).await;
}

async fn sums_are_kept_up_and_what_names_it_is_discarded(mut rig: Rig) {
    let both = two(&mut rig).await;
    let [gone, _] = &both;
    delete(&mut rig, gone).await;
    rig.next_day();
    let late = [("ann", "purchase", 7, 30, "named late")];
    assert_eq!(send(&mut rig, conversions(gone.id, &late)).await, (0, 1));
    assert_eq!(send(&mut rig, exposures(gone, &[("dan", 0, 30)])).await, (0, 1));
    let tenants = [("ann", "purchase", 9, 30, "t"), ("cat", "purchase", 1, 30, "t")];
    assert_eq!(send(&mut rig, conversions(ExperimentId::NONE, &tenants)).await, (2, 0));

    let back = restore(&mut rig, gone).await;
    assert_eq!((back.status, back.plan_version, &back.rebuild), (Status::Stopped, 1, &None));
    assert_alike(&rig, &both).await;
    // What was discarded is nowhere: it counts when it is sent again, once.
    assert_eq!(send(&mut rig, conversions(gone.id, &late)).await, (1, 0));
    assert_eq!(send(&mut rig, conversions(gone.id, &late)).await, (0, 0));
    assert_eq!(send(&mut rig, conversions(both[1].id, &late)).await, (1, 0));
    rig.next_day();
    assert_eq!(
        send(&mut rig, conversions(ExperimentId::NONE, &[("bob", "purchase", 2, 40, "after")])).await,
        (1, 0)
    );
    assert_alike(&rig, &both).await;
    assert_eq!(rig.counter("discarded:deleted_experiment").await, 2);
}

async fn what_is_being_built_is_finished(mut rig: Rig) {
    let both = two(&mut rig).await;
    let [gone, _] = &both;
    let asked = rig.store.rebuild_experiment(TENANT, gone.id, ACTOR).await.unwrap();
    assert!(matches!(asked, Changed::Done(_)));
    rig.forget().await;
    assert_eq!(step(&mut rig.apply, &mut rig.cache, gone.id, 1, 1).await.unwrap(), Stepped::More);
    delete(&mut rig, gone).await;
    send(&mut rig, conversions(ExperimentId::NONE, &[("cat", "purchase", 1, 30, "t")])).await;
    assert_eq!(rig.apply.rebuilding(&[Partition(0)]).await.unwrap(), [(Partition(0), gone.id)]);
    assert_eq!(step(&mut rig.apply, &mut rig.cache, gone.id, 1, 1).await.unwrap(), Stepped::More);
    // Back in the middle of it.
    let back = restore(&mut rig, gone).await;
    assert_eq!((back.plan_version, back.rebuild.map(|next| next.version)), (1, Some(2)));
    assert_alike(&rig, &both).await;
    delete(&mut rig, gone).await;
    while step(&mut rig.apply, &mut rig.cache, gone.id, 1, 1).await.unwrap() == Stepped::More {}
    assert_eq!(rig.apply.serve_rebuilt().await.unwrap(), [gone.id]);
    rig.forget().await;
    send(&mut rig, conversions(ExperimentId::NONE, &[("ann", "purchase", 4, 30, "t")])).await;
    let back = restore(&mut rig, gone).await;
    assert_eq!((back.plan_version, &back.rebuild), (2, &None));
    assert_alike(&rig, &both).await;
}

async fn a_user_is_erased_in_it_too(mut rig: Rig) {
    let both = two(&mut rig).await;
    delete(&mut rig, &both[0]).await;
    assert_eq!(rig.store.erase_user(TENANT, "bob", 1, ACTOR).await.unwrap(), Erasure::Asked);
    for (_, row) in rig.apply.erasures(&[Partition(0)]).await.unwrap() {
        erase(&mut rig.apply, &mut rig.cache, &row).await.unwrap();
    }
    restore(&mut rig, &both[0]).await;
    let enrolled: i64 = sums(&rig, &both[0]).await.iter().map(|(_, _, sums)| sums.heads.enrolled).sum();
    assert_eq!(enrolled, 2);
    assert_alike(&rig, &both).await;
}
