//! What gateways know of experiments, and how it is brought up to date.

use domain::ExperimentId;
use queue::catalogue::{Catalogue, Entry, Projection, Reconciled, Unavailable};

use super::of_each;
use super::rig::{Kind, Rig};
use crate::support::eventually;

of_each! {
    an_experiment_is_found_by_key_and_by_id_and_only_by_its_tenant,
    until_reconciled_the_answer_is_never_no,
    changes_reach_the_gateways,
    an_older_revision_never_overwrites_a_newer_one,
    uses_of_metrics_follow_every_change,
    reconciliation_makes_the_catalogue_equal,
    reconciliation_undoes_nothing_it_has_not_seen,
}

/// Both sides of a catalogue.
struct Sides {
    _rig: Rig,
    projection: Box<dyn Projection>,
    catalogue: Box<dyn Catalogue>,
}

impl Sides {
    async fn of(kind: Kind) -> Sides {
        let rig = kind.rig().await;
        Sides { projection: rig.queue.projection(), catalogue: rig.queue.catalogue(100), _rig: rig }
    }

    async fn reconcile(&self, all: &[Entry]) -> Reconciled {
        let ticket = self.projection.begin().await.unwrap();
        self.projection.reconcile(ticket, all.to_vec()).await.unwrap()
    }

    async fn put(&self, entry: &Entry) {
        self.projection.put(entry).await.unwrap();
    }

    async fn eventually_status(&self, reference: &str, wanted: Option<&str>) {
        eventually("the change is known", || async {
            let found = self.catalogue.lookup("acme", reference).await;
            found.is_ok_and(|entry| entry.map(|entry| entry.status.clone()).as_deref() == wanted)
        })
        .await;
    }

    async fn eventually_uses(&self, metric: &str, wanted: bool) {
        eventually("the use is known", || async {
            self.catalogue.uses_metric("acme", metric).await.is_ok_and(|uses| uses == wanted)
        })
        .await;
    }
}

fn entry(id: i64, status: &str, revision: u64) -> Entry {
    Entry {
        id: ExperimentId(id),
        tenant: "acme".to_owned(),
        key: format!("exp-{id}"),
        status: status.to_owned(),
        variations: vec!["control".to_owned(), "treatment".to_owned()],
        metrics: vec!["purchase".to_owned()],
        revision,
    }
}

fn with(id: i64, revision: u64, metrics: &[&str]) -> Entry {
    Entry { metrics: metrics.iter().map(|&m| m.to_owned()).collect(), ..entry(id, "running", revision) }
}

async fn an_experiment_is_found_by_key_and_by_id_and_only_by_its_tenant(kind: Kind) {
    let sides = Sides::of(kind).await;
    let theirs = Entry { tenant: "other".to_owned(), ..entry(8, "draft", 1) };
    sides.reconcile(&[entry(7, "running", 1), theirs]).await;
    for reference in ["exp-7", "7"] {
        let found = sides.catalogue.lookup("acme", reference).await.unwrap().unwrap();
        assert_eq!(*found, entry(7, "running", 1));
        assert!(sides.catalogue.lookup("other", reference).await.unwrap().is_none());
    }
    let long = "x".repeat(5000);
    for reference in
        ["07", "+7", "-7", "0", "", "8", "exp-8", "exp-7\n", "99999999999999999999", "a/7", &long]
    {
        assert!(sides.catalogue.lookup("acme", reference).await.unwrap().is_none(), "{reference:?}");
    }
    for (tenant, metric, used) in
        [("acme", "purchase", true), ("acme", "refund", false), ("none", "purchase", false)]
    {
        assert_eq!(sides.catalogue.uses_metric(tenant, metric).await.unwrap(), used);
    }
    assert!(!sides.catalogue.uses_metric("acme", &long).await.unwrap());
}

async fn until_reconciled_the_answer_is_never_no(kind: Kind) {
    let sides = Sides::of(kind).await;
    sides.put(&entry(7, "running", 1)).await;
    assert!(matches!(sides.catalogue.check().await, Err(Unavailable::Incomplete)));
    for reference in ["exp-7", "exp-8", "7"] {
        let found = sides.catalogue.lookup("acme", reference).await;
        assert!(matches!(found, Err(Unavailable::Incomplete)));
    }
    let used = sides.catalogue.uses_metric("acme", "x").await;
    assert!(matches!(used, Err(Unavailable::Incomplete)));
    assert!(!sides.projection.is_complete().await.unwrap());
    // Complete, also when there is nothing to hold.
    assert!(matches!(sides.reconcile(&[]).await, Reconciled::Done { changed } if changed > 0));
    sides.catalogue.check().await.unwrap();
    assert!(sides.projection.is_complete().await.unwrap());
    sides.eventually_status("exp-7", None).await;
}

async fn changes_reach_the_gateways(kind: Kind) {
    let sides = Sides::of(kind).await;
    let late = sides._rig.queue.catalogue(100);
    sides.reconcile(&[entry(7, "running", 1)]).await;
    sides.eventually_status("exp-7", Some("running")).await;
    sides.put(&entry(7, "stopped", 2)).await;
    sides.eventually_status("exp-7", Some("stopped")).await;
    sides.eventually_status("exp-8", None).await;
    sides.put(&entry(8, "draft", 1)).await;
    sides.eventually_status("exp-8", Some("draft")).await;
    sides.eventually_status("8", Some("draft")).await;
    sides.projection.remove("acme", ExperimentId(8), "exp-8").await.unwrap();
    sides.eventually_status("exp-8", None).await;
    sides.eventually_status("8", None).await;
    sides.projection.remove("nobody", ExperimentId(7), "exp-7").await.unwrap();
    sides.reconcile(&[entry(7, "archived", 3)]).await;
    sides.eventually_status("7", Some("archived")).await;
    assert_eq!(late.lookup("acme", "7").await.unwrap().unwrap().status, "archived");
}

async fn an_older_revision_never_overwrites_a_newer_one(kind: Kind) {
    let sides = Sides::of(kind).await;
    sides.reconcile(&[]).await;
    sides.put(&entry(7, "stopped", 3)).await;
    sides.put(&with(7, 2, &["refund"])).await;
    // Heard after whatever the older one may have caused.
    sides.put(&entry(9, "draft", 1)).await;
    sides.eventually_status("9", Some("draft")).await;
    sides.eventually_status("exp-7", Some("stopped")).await;
    assert!(!sides.catalogue.uses_metric("acme", "refund").await.unwrap());
    sides.put(&entry(7, "running", 3)).await;
    sides.eventually_status("exp-7", Some("running")).await;
    sides.put(&entry(7, "archived", 4)).await;
    sides.eventually_status("exp-7", Some("archived")).await;
}

async fn uses_of_metrics_follow_every_change(kind: Kind) {
    let sides = Sides::of(kind).await;
    sides.reconcile(&[]).await;
    sides.put(&with(9, 1, &["a", "b"])).await;
    sides.put(&with(10, 1, &["b"])).await;
    for (metric, used) in [("a", true), ("b", true), ("c", false)] {
        sides.eventually_uses(metric, used).await;
    }
    sides.put(&with(9, 2, &["c"])).await;
    for (metric, used) in [("a", false), ("b", true), ("c", true)] {
        sides.eventually_uses(metric, used).await;
    }
    // What the changes came to is what reconciliation computes.
    let all = [with(9, 2, &["c"]), with(10, 1, &["b"])];
    assert_eq!(sides.reconcile(&all).await, Reconciled::Done { changed: 0 });
    sides.projection.remove("acme", ExperimentId(10), "exp-10").await.unwrap();
    sides.eventually_uses("b", false).await;
    assert_eq!(sides.reconcile(&all[..1]).await, Reconciled::Done { changed: 0 });
}

async fn reconciliation_makes_the_catalogue_equal(kind: Kind) {
    let sides = Sides::of(kind).await;
    let changed = |reconciled| matches!(reconciled, Reconciled::Done { changed } if changed > 0);
    let all = [entry(1, "running", 1), entry(2, "draft", 1)];
    assert!(changed(sides.reconcile(&all).await));
    assert_eq!(sides.reconcile(&all).await, Reconciled::Done { changed: 0 });
    // Missing, another, one too many; the database is right, also about an older revision.
    sides.projection.remove("acme", ExperimentId(1), "exp-1").await.unwrap();
    sides.put(&entry(2, "running", 5)).await;
    sides.put(&with(3, 1, &["refund"])).await;
    assert!(changed(sides.reconcile(&all).await));
    sides.eventually_status("exp-1", Some("running")).await;
    sides.eventually_status("exp-2", Some("draft")).await;
    sides.eventually_status("exp-3", None).await;
    sides.eventually_uses("refund", false).await;
    assert_eq!(sides.reconcile(&all).await, Reconciled::Done { changed: 0 });
    assert!(changed(sides.reconcile(&[]).await));
    sides.eventually_status("1", None).await;
    sides.eventually_uses("purchase", false).await;
}

async fn reconciliation_undoes_nothing_it_has_not_seen(kind: Kind) {
    let sides = Sides::of(kind).await;
    let old = [entry(1, "running", 1), entry(2, "draft", 1)];
    sides.reconcile(&old).await;
    for change in [Some(entry(3, "draft", 1)), Some(entry(1, "stopped", 2)), None] {
        let ticket = sides.projection.begin().await.unwrap();
        // The database is read here; then somebody else commits a change and projects it.
        match &change {
            Some(entry) => sides.put(entry).await,
            None => sides.projection.remove("acme", ExperimentId(2), "exp-2").await.unwrap(),
        }
        let done = sides.projection.reconcile(ticket, old.to_vec()).await.unwrap();
        assert_eq!(done, Reconciled::Superseded);
    }
    sides.eventually_status("1", Some("stopped")).await;
    sides.eventually_status("2", None).await;
    sides.eventually_status("3", Some("draft")).await;
    // A reconciliation supersedes one that began before it, and one that finds nothing to do does not.
    let (first, second) = (sides.projection.begin().await.unwrap(), sides.projection.begin().await.unwrap());
    let now = vec![entry(1, "stopped", 2)];
    let done = sides.projection.reconcile(first, now.clone()).await.unwrap();
    assert!(matches!(done, Reconciled::Done { changed } if changed > 0));
    assert_eq!(sides.projection.reconcile(second, old.to_vec()).await.unwrap(), Reconciled::Superseded);
    assert_eq!(sides.reconcile(&now).await, Reconciled::Done { changed: 0 });
}
