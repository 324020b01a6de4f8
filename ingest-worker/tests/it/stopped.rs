//! What arrives once an experiment is stopped.

use crate::rig::{Rig, exposures, frame};
use domain::event::Exposure;
use domain::{BatchId, Timestamp};
use ingest_worker::apply::ApplyError;
use queue::frame::{Events, Group};
use std::collections::BTreeMap;
use store::{Actor, Experiment, Status, Transition};
use uuid::Uuid;

on_both!(an_exposure_after_the_stop_enrolls_nobody, after_a_restart_everybody_may_come_again,);

const PURCHASE: &str = r#"[{"key":"purchase","type":"proportion"}]"#;
const SECOND: i64 = 1_000_000;

async fn status(rig: &Rig, e: &Experiment, to: Status) -> Experiment {
    let actor = Actor { name: "test", request_id: "r" };
    match rig.store.set_status(&e.tenant, e.id, to, actor).await.unwrap() {
        Transition::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

/// As a gateway that knows of the stop marks them.
fn marked<'a>(e: &Experiment, items: &[(&'a str, Timestamp)]) -> Group<'a> {
    let exposure = |&(user_id, at): &(&'a str, Timestamp)| Exposure {
        user_id,
        variation: 0,
        occurred_given: Some(at),
        key: None,
    };
    let events = Events::Exposures(items.iter().map(exposure).collect());
    Group { experiment: e.id, after_stop: true, events }
}

fn batch() -> BatchId {
    BatchId(Uuid::now_v7())
}

async fn an_exposure_after_the_stop_enrolls_nobody(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let e = status(&rig, &e, Status::Running).await;
    let seen = rig.entry(&[frame(batch(), vec![exposures(&e, &[("known", 0, 0)])])]);
    rig.apply(&[seen]).await.unwrap();
    let e = status(&rig, &e, Status::Stopped).await;
    let stop = e.stopped_at.unwrap();
    let items = [
        ("late", stop),
        ("later", stop.plus(SECOND)),
        ("known", stop.plus(SECOND)),
        ("in time", stop.plus(-SECOND)),
    ];
    let entry = rig.entry(&[frame(batch(), vec![marked(&e, &items)])]);
    // The owner learns of the stop before it applies what came behind it.
    let stale = rig.apply(std::slice::from_ref(&entry)).await;
    assert!(matches!(stale, Err(ApplyError::Moved(_))), "{stale:?}");
    rig.forget().await;
    let applied = rig.apply(&[entry]).await.unwrap();
    let totals = applied.totals;
    assert_eq!((totals.recorded, totals.deduplicated, totals.discarded), (1, 1, 2));
    assert_eq!(applied.discards, BTreeMap::from([("after_stop", 2)]));
    assert_eq!(rig.counter("discarded:after_stop").await, 2);
    let enrolled: i64 =
        rig.store.answer(&e, None).await.unwrap().iter().map(|row| row.moments.heads.enrolled).sum();
    assert_eq!(enrolled, 2);
    rig.assert_books(&[&e]).await;
}

async fn after_a_restart_everybody_may_come_again(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    for to in [Status::Running, Status::Stopped] {
        status(&rig, &e, to).await;
    }
    let e = status(&rig, &e, Status::Running).await;
    assert_eq!(e.stopped_at, None);
    // Marked by a gateway that has not heard of the restart yet.
    let at = Timestamp::parse("2100-01-01T00:00:00Z").unwrap();
    let entry = rig.entry(&[frame(batch(), vec![marked(&e, &[("u", at)])])]);
    rig.forget().await;
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.discarded), (1, 0));
    rig.assert_books(&[&e]).await;
}
