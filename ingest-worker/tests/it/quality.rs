//! What is counted of events beside their fate: in the arm their user was in by then, or in none.

use crate::rig::{Rig, TENANT, at, conversions, exposures, frame};
use domain::event::{Conversion, Key};
use domain::{BatchId, Decimal, ExperimentId, Partition};
use ingest_worker::erase::erase;
use queue::frame::{Events, Frame, Group};
use std::collections::BTreeMap;
use store::apply::ApplyStore;
use store::{Actor, Experiment};
use uuid::Uuid;

on_both!(
    events_are_counted_in_the_arm_of_their_user,
    conversions_wait_for_the_exposure_of_their_user,
    metrics_of_no_plan_are_counted_by_name_up_to_a_bound,
);

const PURCHASE: &str = r#"[{"key":"purchase","type":"proportion"}]"#;
const DAY: i64 = 86_400;

fn batch() -> BatchId {
    BatchId(Uuid::now_v7())
}

/// The experiment's counters of these names, by name and arm.
async fn counted(rig: &Rig, e: &Experiment, names: &[&str]) -> BTreeMap<(String, i16), i64> {
    let counters = rig.store.counters(&e.tenant, Some(e.id), None).await.unwrap();
    let wanted = counters.into_iter().filter(|c| names.contains(&c.name.as_str()) && c.n != 0);
    wanted.map(|c| ((c.name, c.variation), c.n)).collect()
}

fn of(all: &[(&str, i16, i64)]) -> BTreeMap<(String, i16), i64> {
    all.iter().map(|(name, arm, n)| ((String::from(*name), *arm), *n)).collect()
}

fn keyless<'a>(e: &Experiment, user_id: &'a str) -> Group<'a> {
    let conversion = Conversion {
        user_id,
        metric: "purchase",
        value: Decimal::ONE,
        occurred_given: Some(at(20)),
        key: Key::Index(0),
    };
    Group { experiment: e.id, after_stop: false, events: Events::Conversions(vec![conversion]) }
}

async fn events_are_counted_in_the_arm_of_their_user(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let seen = [("ann", 0, -DAY), ("bob", 1, 10), ("held", -1, 10)];
    let first = rig.entry(&[frame(batch(), vec![keyless(&e, "ann"), exposures(&e, &seen)])]);
    let bought = [
        ("ann", "purchase", 5, 20, "a"),
        ("bob", "purchase", 5, -DAY, "b"),
        ("held", "purchase", 1, 20, "h"),
    ];
    let shifted = Frame { clock_shift: 3, ..frame(batch(), vec![conversions(e.id, &bought)]) };
    let second = rig.entry(&[shifted]);
    let other = [
        ("bob", "purchase", 6, -DAY, "b"),
        ("bob", "purchase", 7, -DAY, "b"),
        ("cat", "purchase", 1, 1, "c"),
    ];
    let third = rig.entry(&[frame(batch(), vec![conversions(e.id, &other), keyless(&e, "bob")])]);
    // Another sender of a key that a user without an arm has used.
    let again = rig.entry(&[frame(batch(), vec![conversions(e.id, &[("cat", "purchase", 2, 1, "c")])])]);
    rig.apply(&[first, second, third, again]).await.unwrap();
    let names = ["keyless", "late", "clock_corrected", "conflicts"];
    let expected = of(&[
        // Before the exposure in the stream: in no arm then.
        ("keyless", -1, 1),
        ("keyless", 1, 1),
        ("late", 0, 1),
        ("late", 1, 1),
        ("clock_corrected", 0, 1),
        ("clock_corrected", 1, 1),
        ("clock_corrected", -1, 1),
        ("conflicts", 1, 2),
        ("conflicts", -1, 1),
    ]);
    assert_eq!(counted(&rig, &e, &names).await, expected);
    rig.assert_books(&[&e]).await;
}

async fn conversions_wait_for_the_exposure_of_their_user(mut rig: Rig) {
    let (one, two) = (rig.experiment("one", PURCHASE).await, rig.experiment("two", PURCHASE).await);
    let waiting = async |rig: &Rig, e: &Experiment| counted(rig, e, &["never_exposed"]).await;
    // Of three users, also of a metric without a plan; of the tenant nobody waits for anybody.
    let bought = [
        ("ann", "purchase", 1, 5, "a"),
        ("ann", "page", 1, 5, "b"),
        ("bob", "purchase", 1, 5, "a"),
        ("cat", "purchase", 1, 5, "a"),
    ];
    let groups = vec![
        conversions(one.id, &bought),
        conversions(ExperimentId::NONE, &[("ann", "purchase", 1, 5, "t")]),
        conversions(two.id, &[("ann", "purchase", 1, 5, "a")]),
    ];
    let entry = rig.entry(&[frame(batch(), groups)]);
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(waiting(&rig, &one).await, of(&[("never_exposed", -1, 4)]));
    assert_eq!(waiting(&rig, &two).await, of(&[("never_exposed", -1, 1)]));
    // One is exposed, in the entry of another conversion of hers, which came before.
    rig.forget().await;
    let groups = vec![
        conversions(one.id, &[("ann", "purchase", 1, 6, "c"), ("ann", "purchase", 1, 5, "a")]),
        exposures(&one, &[("ann", 0, 0), ("ann", 1, 0)]),
        conversions(one.id, &[("ann", "purchase", 1, 7, "d")]),
    ];
    let entry = rig.entry(&[frame(batch(), groups)]);
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(waiting(&rig, &one).await, of(&[("never_exposed", -1, 2)]));
    assert_eq!(waiting(&rig, &two).await, of(&[("never_exposed", -1, 1)]));
    // Who is erased waits for nobody.
    rig.store.erase_user(TENANT, "bob", 1, Actor { name: "test", request_id: "r" }).await.unwrap();
    for (_, row) in rig.apply.erasures(&[Partition(0)]).await.unwrap() {
        erase(&mut rig.apply, &mut rig.cache, &row).await.unwrap();
    }
    assert_eq!(waiting(&rig, &one).await, of(&[("never_exposed", -1, 1)]));
    rig.assert_books(&[&one, &two]).await;
}

async fn metrics_of_no_plan_are_counted_by_name_up_to_a_bound(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let names: Vec<String> = (0..120).map(|n| format!("metric-{n}")).collect();
    let all: Vec<_> = names.iter().map(|name| ("ann", name.as_str(), 1, 5, name.as_str())).collect();
    for part in [&all[..60], &all[60..], &all[..60]] {
        let entry = rig.entry(&[frame(batch(), vec![conversions(e.id, part)])]);
        rig.apply(&[entry]).await.unwrap();
    }
    let again: Vec<_> = names[..50].iter().map(|name| ("bob", name.as_str(), 1, 5, name.as_str())).collect();
    let entry = rig.entry(&[frame(batch(), vec![conversions(e.id, &again)])]);
    rig.apply(&[entry]).await.unwrap();
    let counters = rig.store.counters(&e.tenant, Some(e.id), None).await.unwrap();
    let unused: BTreeMap<&str, i64> =
        counters.iter().filter_map(|c| Some((c.name.strip_prefix("unused:")?, c.n))).collect();
    assert_eq!(unused.len(), 101);
    assert_eq!((unused["metric-0"], unused["metric-99"], unused["(other)"]), (2, 1, 20));
    assert_eq!(rig.counter("conversions").await, 170);
}
