//! Webhooks: facts are told once whoever looks, in order, to those who want them; a delivery has one sender at a time.

use crate::db::{ACTOR, Db, TENANT};
use domain::ExperimentId;
use std::collections::BTreeSet;
use std::time::Duration;
use store::{
    Attempt, Claimed, DeliveryState, Mark, NewWebhook, Note, Then, WAITING_MAX, WEBHOOKS_MAX, Webhook,
};

on_both!(
    webhooks_are_their_tenants,
    a_fact_is_told_once_however_many_saw_it,
    deliveries_go_one_by_one_and_in_order,
    a_claim_that_ran_out_is_somebody_elses,
    what_waits_is_bounded,
    the_log_is_forgotten_and_what_waits_is_not,
    one_look_at_a_time,
    dead_letters_are_counted_by_tenant,
);

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(3_600);
const CHECKOUT: ExperimentId = ExperimentId(7);

async fn webhook(db: &Db, tenant: &str, events: &[&str]) -> Webhook {
    let events: Vec<String> = events.iter().map(|&event| event.into()).collect();
    let new = NewWebhook { url: "https://example.com/hook", events: &events, secret: b"secret" };
    db.create_webhook(tenant, new, ACTOR).await.unwrap().unwrap()
}

fn note(body: &str) -> Note {
    Note { event: "decision_changed", body: body.into() }
}

async fn tell(db: &Db, tenant: &str, body: &str) {
    let mark = db.mark(tenant, CHECKOUT).await.unwrap();
    assert!(db.tell(tenant, CHECKOUT, &mark, &[note(body)]).await.unwrap().is_some());
}

async fn claim(db: &Db) -> Vec<Claimed> {
    db.claim_deliveries(LEASE, 10).await.unwrap()
}

async fn claim_one(db: &Db) -> Claimed {
    let mut claimed = claim(db).await;
    assert_eq!(claimed.len(), 1);
    claimed.pop().unwrap()
}

async fn settle(db: &Db, claimed: &Claimed, then: Then) -> bool {
    let (status, error) = if then == Then::Delivered { (200, None) } else { (500, Some("status")) };
    db.settle_delivery(claimed, Attempt { status: Some(status), error, then }).await.unwrap()
}

async fn webhooks_are_their_tenants(db: Db) {
    let ours = webhook(&db, TENANT, &["decision_changed", "dead_letters"]).await;
    assert_eq!(ours.events, ["decision_changed", "dead_letters"]);
    assert_eq!((ours.url.as_str(), ours.waiting, ours.next_at), ("https://example.com/hook", 0, None));
    assert!(ours.created_at.0 > 1_577_836_800_000_000, "after 2020");
    let theirs = webhook(&db, "other", &["decision_changed"]).await;
    assert_eq!(db.webhooks(TENANT).await.unwrap(), std::slice::from_ref(&ours));
    assert_eq!(db.tenants_with_webhooks().await.unwrap(), ["acme", "other"]);
    assert_eq!(db.tell_one(TENANT, theirs.id, &note("{}")).await.unwrap(), None);
    assert!(!db.delete_webhook(TENANT, theirs.id, ACTOR).await.unwrap());

    db.tell_one(TENANT, ours.id, &Note { event: "test", body: "{}".into() }).await.unwrap().unwrap();
    assert_eq!(db.webhooks(TENANT).await.unwrap()[0].waiting, 1);
    assert!(db.delete_webhook(TENANT, ours.id, ACTOR).await.unwrap());
    assert!(!db.delete_webhook(TENANT, ours.id, ACTOR).await.unwrap());
    assert_eq!((db.count("webhooks").await, db.count("webhook_deliveries").await), (1, 0));
    let audited = db.texts("SELECT action || '|' || detail FROM audit_log WHERE tenant = 'acme' ORDER BY id");
    assert_eq!(audited.await, ["webhook.create|https://example.com/hook", "webhook.delete|"]);

    for _ in 0..WEBHOOKS_MAX {
        webhook(&db, TENANT, &[]).await;
    }
    let new = NewWebhook { url: "https://example.com", events: &[], secret: b"s" };
    assert_eq!(db.create_webhook(TENANT, new, ACTOR).await.unwrap(), None);
}

async fn a_fact_is_told_once_however_many_saw_it(db: Db) {
    let wants = webhook(&db, TENANT, &["decision_changed"]).await;
    webhook(&db, TENANT, &["dead_letters"]).await;
    webhook(&db, "other", &["decision_changed"]).await;
    let seen = db.mark(TENANT, CHECKOUT).await.unwrap();
    assert_eq!(seen, Mark::default());
    let moved = Mark { state: "ship".into(), ..seen };
    // Both looked before either told.
    let notes = [note("ship"), note("and why")];
    let told = db.tell(TENANT, CHECKOUT, &moved, &notes).await.unwrap().unwrap();
    let numbered: Vec<_> = told.iter().map(|t| (t.webhook, t.number, t.given_up)).collect();
    assert_eq!(numbered, [(wants.id, 1, false), (wants.id, 2, false)]);
    assert_eq!(db.tell(TENANT, CHECKOUT, &moved, &notes).await.unwrap(), None);
    assert_eq!(db.count("webhook_deliveries").await, 2);
    let mark = db.mark(TENANT, CHECKOUT).await.unwrap();
    assert_eq!(mark, Mark { revision: 1, state: "ship".into() });
    // Of another experiment, and with nothing to tell.
    let none = db.tell(TENANT, ExperimentId(8), &Mark::default(), &[]).await.unwrap();
    assert_eq!(none, Some(Vec::new()));
    assert_eq!(db.tell(TENANT, CHECKOUT, &mark, &[note("stop")]).await.unwrap().unwrap().len(), 1);
    assert_eq!(db.mark(TENANT, CHECKOUT).await.unwrap().revision, 2);
}

async fn deliveries_go_one_by_one_and_in_order(db: Db) {
    let (a, b) = (
        webhook(&db, TENANT, &["decision_changed"]).await,
        webhook(&db, "other", &["decision_changed"]).await,
    );
    assert!(claim(&db).await.is_empty());
    for body in ["1", "2", "3"] {
        tell(&db, TENANT, body).await;
    }
    tell(&db, "other", "x").await;
    let claimed = claim(&db).await;
    let first: BTreeSet<_> =
        claimed.iter().map(|c| (c.webhook, c.number, c.body.as_str(), c.attempts)).collect();
    assert_eq!(first, [(a.id, 1, "1", 1), (b.id, 1, "x", 1)].into());
    assert!(claim(&db).await.is_empty(), "the second waits for the first");
    let one = claimed.iter().find(|c| c.webhook == a.id).unwrap();
    assert_eq!(
        (one.tenant.as_str(), one.secret.as_slice(), one.event.as_str()),
        ("acme", &b"secret"[..], "decision_changed")
    );
    // The same delivery again, not the next.
    assert!(settle(&db, one, Then::TryAgain(Duration::ZERO)).await);
    let again = claim_one(&db).await;
    assert_eq!((again.number, again.id, again.attempts), (1, one.id, 2));
    assert!(settle(&db, &again, Then::GiveUp).await);
    let second = claim_one(&db).await;
    assert_eq!(second.body, "2");
    assert!(settle(&db, &second, Then::Delivered).await);
    assert!(!settle(&db, &second, Then::Delivered).await, "settled once");
    let third = claim_one(&db).await;
    assert!(settle(&db, &third, Then::TryAgain(LEASE)).await);
    assert!(claim(&db).await.is_empty(), "not due");

    let log = db.deliveries(a.id, None, None, 10).await.unwrap();
    let lines: Vec<_> =
        log.iter().map(|d| (d.number, d.state, d.attempts, d.status, d.error.as_deref())).collect();
    let expected = [
        (3, DeliveryState::Waiting, 1, Some(500), Some("status")),
        (2, DeliveryState::Delivered, 1, Some(200), None),
        (1, DeliveryState::GivenUp, 2, Some(500), Some("status")),
    ];
    assert_eq!(lines, expected);
    assert!(log.iter().all(|d| d.tried_at.is_some_and(|at| at >= d.created_at)));
    assert_eq!(log[2].id, one.id);
    let page = db.deliveries(a.id, Some(3), None, 1).await.unwrap();
    assert_eq!(page, log[1..2]);
    let waiting = db.deliveries(a.id, None, Some(DeliveryState::Waiting), 10).await.unwrap();
    assert_eq!(waiting, log[..1]);
    assert_eq!(db.waiting_deliveries().await.unwrap().deliveries, 2);
    assert!(db.webhooks(TENANT).await.unwrap()[0].next_at.is_some());
}

async fn a_claim_that_ran_out_is_somebody_elses(db: Db) {
    webhook(&db, TENANT, &["decision_changed"]).await;
    tell(&db, TENANT, "1").await;
    // Its sender was killed.
    let lost = db.claim_deliveries(Duration::ZERO, 10).await.unwrap().pop().unwrap();
    let found = claim_one(&db).await;
    assert_eq!((found.id, found.attempts), (lost.id, 2));
    assert!(!settle(&db, &lost, Then::GiveUp).await, "it was only slow");
    assert!(settle(&db, &found, Then::Delivered).await);
    assert!(claim(&db).await.is_empty());
}

async fn what_waits_is_bounded(db: Db) {
    let hook = webhook(&db, TENANT, &["decision_changed"]).await;
    let many: Vec<Note> = (0..WAITING_MAX).map(|n| note(&n.to_string())).collect();
    let told = db.tell(TENANT, CHECKOUT, &Mark::default(), &many).await.unwrap().unwrap();
    assert!(told.iter().all(|t| !t.given_up));
    let over = db.tell_one(TENANT, hook.id, &note("over")).await.unwrap().unwrap();
    assert!(over.given_up);
    let [last] = &db.deliveries(hook.id, None, None, 1).await.unwrap()[..] else { panic!() };
    assert_eq!((last.state, last.error.as_deref()), (DeliveryState::GivenUp, Some("too_many_waiting")));
    assert_eq!((last.id, last.attempts, last.tried_at), (over.id, 0, None));
    let first = claim_one(&db).await;
    assert_eq!(first.number, 1);
    assert!(settle(&db, &first, Then::Delivered).await);
    assert!(!db.tell_one(TENANT, hook.id, &note("room")).await.unwrap().unwrap().given_up);
}

async fn the_log_is_forgotten_and_what_waits_is_not(db: Db) {
    let hook = webhook(&db, TENANT, &["decision_changed"]).await;
    for body in ["1", "2", "3"] {
        tell(&db, TENANT, body).await;
    }
    for then in [Then::Delivered, Then::GiveUp] {
        let claimed = claim_one(&db).await;
        assert!(settle(&db, &claimed, then).await);
    }
    assert_eq!(db.forget_deliveries(LEASE, 100).await.unwrap(), 0);
    match db.backend {
        crate::db::Backend::Postgres => {
            db.execute("UPDATE webhook_deliveries SET ended_at = ended_at - interval '2 hours'").await;
        }
        crate::db::Backend::Sqlite => {
            db.execute("UPDATE webhook_deliveries SET ended_at = ended_at - 7200000000").await;
        }
    }
    assert_eq!(db.forget_deliveries(LEASE, 1).await.unwrap(), 1, "in small steps");
    assert_eq!(db.forget_deliveries(LEASE, 100).await.unwrap(), 1);
    let [left] = &db.deliveries(hook.id, None, None, 10).await.unwrap()[..] else { panic!() };
    assert_eq!((left.number, left.state), (3, DeliveryState::Waiting));
}

async fn one_look_at_a_time(db: Db) {
    assert!(db.take_look(LEASE).await.unwrap(), "nobody ever looked");
    assert!(!db.take_look(LEASE).await.unwrap());
    assert!(db.take_look(Duration::ZERO).await.unwrap());
}

async fn dead_letters_are_counted_by_tenant(db: Db) {
    assert_eq!(db.dead_lettered(TENANT).await.unwrap(), 0);
    let (day, rows) = match db.backend {
        crate::db::Backend::Postgres => ("'2026-03-01'", ["'2026-03-02'"]),
        crate::db::Backend::Sqlite => ("20513", ["20514"]),
    };
    let insert = "INSERT INTO counters (tenant, experiment, partition, variation, day, name, n) VALUES";
    db.execute(&format!(
        "{insert} ('acme', 0, 0, -1, {day}, 'dead_lettered', 3), ('acme', 7, 1, -1, {}, 'dead_lettered', 4),
         ('acme', 7, 1, -1, {day}, 'recorded', 100), ('other', 7, 1, -1, {day}, 'dead_lettered', 50)",
        rows[0]
    ))
    .await;
    assert_eq!(db.dead_lettered(TENANT).await.unwrap(), 7);
    assert_eq!(db.dead_lettered("other").await.unwrap(), 50);
}
