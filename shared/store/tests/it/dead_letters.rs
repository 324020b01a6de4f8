//! Dead letters: written by an owner, looked at and deleted by whoever operates the tenant.

use crate::db::{Db, TENANT};
use crate::owner::Owner;
use domain::{BatchId, ExperimentId, Partition};
use store::apply::{Changes, DeadLetter};
use store::{Actor, Counter, LetterFilter, Removal};
use uuid::Uuid;

on_both!(
    a_letter_is_found_by_its_tenant_only,
    lists_come_in_pages_of_what_is_wanted,
    deleting_is_audited_and_deletes_nobody_elses,
    payloads_come_in_pages_where_they_were_kept,
    what_is_redriven_leaves_the_books_once,
    letters_with_a_payload_are_counted_up_to_a_limit,
);

const NONE: [i64; 0] = [];
const ALL: LetterFilter<'static> = LetterFilter { experiment: None, reason: None };

fn letter(tenant: &'static str, experiment: i64, reason: &'static str) -> DeadLetter<'static> {
    DeadLetter {
        tenant,
        experiment: ExperimentId(experiment),
        entry: "1-0".into(),
        batch: Some(BatchId(Uuid::from_u128(7))),
        request_id: Some("r-ü"),
        reason,
        detail: "why".into(),
        events: 1,
        payload: vec![0, 255, 1].into(),
        digest: None,
    }
}

async fn write(db: &Db, letters: Vec<DeadLetter<'_>>) {
    let mut owner = Owner::of(&**db, 2).await;
    owner.write("1-0", &Changes { dead_letters: letters, ..Changes::default() }).await;
}

async fn ids(db: &Db, tenant: &str, filter: LetterFilter<'_>) -> Vec<i64> {
    db.dead_letters(tenant, filter, 0, 100).await.unwrap().into_iter().map(|l| l.id).collect()
}

async fn a_letter_is_found_by_its_tenant_only(db: Db) {
    let digest = [9; 32];
    let unread = DeadLetter { batch: None, request_id: None, events: 12, ..letter("", 0, "kills_worker") };
    let unkept =
        DeadLetter { payload: Vec::new().into(), digest: Some(digest), ..letter(TENANT, 0, "refused") };
    write(&db, vec![letter(TENANT, 5, "overflow"), unread, unkept]).await;

    let listed = db.dead_letters(TENANT, ALL, 0, 100).await.unwrap();
    let [full, unkept] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(
        (full.experiment, full.partition, full.entry.as_str()),
        (ExperimentId(5), Partition(2), "1-0")
    );
    assert_eq!((full.batch, full.request_id.as_deref()), (Some(BatchId(Uuid::from_u128(7))), Some("r-ü")));
    assert_eq!((full.reason.as_str(), full.detail.as_str(), full.events), ("overflow", "why", 1));
    assert_eq!((full.digest, unkept.digest), (None, Some(digest)));
    assert!(full.created_at.0 > 1_577_836_800_000_000, "after 2020");
    assert_eq!(db.dead_letter(TENANT, full.id).await.unwrap(), Some((full.clone(), vec![0, 255, 1])));
    assert_eq!(db.dead_letter(TENANT, unkept.id).await.unwrap(), Some((unkept.clone(), Vec::new())));

    let unknown = db.dead_letters("", ALL, 0, 100).await.unwrap();
    let [unread] = unknown.as_slice() else { panic!("{unknown:?}") };
    assert_eq!((unread.batch, unread.request_id.as_deref(), unread.events), (None, None, 12));
    assert!(db.dead_letter("", unread.id).await.unwrap().is_some());
    for (tenant, id) in [("other", full.id), ("", full.id), (TENANT, unread.id), (TENANT, 999), (TENANT, -1)]
    {
        assert_eq!(db.dead_letter(tenant, id).await.unwrap(), None, "{tenant:?} {id}");
    }
    assert_eq!(db.dead_letters("other", ALL, 0, 100).await.unwrap(), []);
}

async fn lists_come_in_pages_of_what_is_wanted(db: Db) {
    let reasons = ["overflow", "refused"];
    let of = |n: usize| letter(TENANT, i64::try_from(n % 3).unwrap(), reasons[n % 2]);
    write(&db, (0..12).map(of).chain([letter("other", 1, "refused")]).collect()).await;
    let all = ids(&db, TENANT, ALL).await;
    assert_eq!(all.len(), 12);
    assert!(all.is_sorted());
    let picked = |wanted: fn(usize) -> bool| {
        let numbered = all.iter().enumerate().filter(|(n, _)| wanted(*n));
        numbered.map(|(_, id)| *id).collect::<Vec<i64>>()
    };
    let refused = LetterFilter { reason: Some("refused"), ..ALL };
    assert_eq!(ids(&db, TENANT, refused).await, picked(|n| n % 2 == 1));
    let tenants = LetterFilter { experiment: Some(ExperimentId::NONE), ..ALL };
    assert_eq!(ids(&db, TENANT, tenants).await, picked(|n| n % 3 == 0));
    let both = LetterFilter { experiment: Some(ExperimentId(1)), reason: Some("refused") };
    assert_eq!(ids(&db, TENANT, both).await, picked(|n| n % 6 == 1));
    assert_eq!(ids(&db, TENANT, LetterFilter { reason: Some("nothing"), ..ALL }).await, NONE);
    // A page begins after the last one, whatever the filter.
    let second = db.dead_letters(TENANT, refused, all[3], 2).await.unwrap();
    assert_eq!(second.iter().map(|l| l.id).collect::<Vec<_>>(), [all[5], all[7]]);
    assert_eq!(db.dead_letters(TENANT, ALL, all[11], 2).await.unwrap(), []);
}

async fn deleting_is_audited_and_deletes_nobody_elses(db: Db) {
    write(&db, vec![letter(TENANT, 0, "a"), letter("other", 0, "a"), letter(TENANT, 0, "a")]).await;
    let (ours, theirs) = (ids(&db, TENANT, ALL).await, ids(&db, "other", ALL).await);
    let actor = Actor { name: "admin key", request_id: "r-2" };
    let delete = async |tenant, ids: &[i64]| {
        db.delete_dead_letters(tenant, ids, Removal::Dropped, actor).await.unwrap()
    };
    assert_eq!(delete(TENANT, &[]).await, NONE);
    assert_eq!(delete(TENANT, &theirs).await, NONE);
    assert_eq!(delete(TENANT, &[ours[1], theirs[0], 999, ours[0], ours[1]]).await, ours);
    assert_eq!(delete(TENANT, &ours).await, NONE, "they are gone");
    assert_eq!((ids(&db, TENANT, ALL).await, ids(&db, "other", ALL).await), (vec![], theirs));
    let columns =
        "tenant || '|' || actor || '|' || action || '|' || subject || '|' || request_id || '|' || detail";
    let audited = db.texts(&format!("SELECT {columns} FROM audit_log")).await;
    let [first, second] = ours[..] else { panic!("{ours:?}") };
    assert_eq!(audited, [format!("acme|admin key|dead_letters.drop|dead_letters|r-2|{first},{second}")]);
}

async fn payloads_come_in_pages_where_they_were_kept(db: Db) {
    let unkept = DeadLetter { payload: Vec::new().into(), digest: Some([9; 32]), ..letter(TENANT, 0, "a") };
    let other = DeadLetter { payload: vec![7].into(), ..letter(TENANT, 0, "a") };
    write(&db, vec![letter(TENANT, 0, "a"), unkept, letter("other", 0, "a"), other]).await;
    let all = ids(&db, TENANT, ALL).await;
    let whole = vec![(all[0], vec![0, 255, 1]), (all[2], vec![7])];
    assert_eq!(db.dead_letter_payloads(TENANT, 0, 100).await.unwrap(), whole);
    assert_eq!(db.dead_letter_payloads(TENANT, 0, 1).await.unwrap(), whole[..1]);
    assert_eq!(db.dead_letter_payloads(TENANT, all[0], 100).await.unwrap(), whole[1..]);
    assert_eq!(db.dead_letter_payloads(TENANT, all[2], 100).await.unwrap(), []);
}

async fn what_is_redriven_leaves_the_books_once(db: Db) {
    let dead = |tenant, experiment, n| store::apply::Count {
        tenant,
        experiment: ExperimentId(experiment),
        variation: -1,
        name: "dead_lettered",
        n,
    };
    let three = DeadLetter { events: 3, ..letter(TENANT, 0, "a") };
    let changes = Changes {
        dead_letters: vec![three, letter(TENANT, 5, "a"), letter(TENANT, 5, "a"), letter("other", 5, "a")],
        counters: vec![dead(TENANT, 0, 3), dead(TENANT, 5, 2), dead("other", 5, 1)],
        ..Changes::default()
    };
    let mut owner = Owner::of(&*db, 2).await;
    let advance = owner.advance("1-0", 6);
    assert!(owner.apply.begin(&advance, &[]).await.unwrap().is_some());
    owner.finish(advance, &changes).await.unwrap();
    let account = async || {
        let partitions = db.accounting().await.unwrap().partitions;
        let a = partitions.iter().find(|a| a.partition == Partition(2)).unwrap();
        (a.accepted, a.dead_lettered)
    };
    assert_eq!(account().await, (6, 6));
    let actor = Actor { name: "admin key", request_id: "r-2" };
    let (ours, theirs) = (ids(&db, TENANT, ALL).await, ids(&db, "other", ALL).await);
    let remove =
        async |ids: &[i64], removal| db.delete_dead_letters(TENANT, ids, removal, actor).await.unwrap();
    // Twice, and somebody else's: what is not there any more is not counted again.
    assert_eq!(remove(&[ours[0], ours[1], theirs[0]], Removal::Redriven).await, ours[..2]);
    assert_eq!(remove(&ours[..2], Removal::Redriven).await, NONE);
    assert_eq!(account().await, (2, 2));
    // What is dropped stays dead-lettered.
    assert_eq!(remove(&ours, Removal::Dropped).await, ours[2..]);
    assert_eq!(account().await, (2, 2));
    let counted = db.counters(TENANT, None, None).await.unwrap();
    let counter = |experiment, name: &str, n| Counter {
        experiment: ExperimentId(experiment),
        variation: -1,
        name: name.into(),
        n,
    };
    let expected = [
        counter(0, "dead_lettered", 3),
        counter(0, "redriven", 3),
        counter(5, "dead_lettered", 2),
        counter(5, "redriven", 1),
    ];
    assert_eq!(counted, expected);
    let actions = db.texts("SELECT action FROM audit_log ORDER BY id").await;
    assert_eq!(actions, ["dead_letters.redrive", "dead_letters.drop"]);
}

async fn letters_with_a_payload_are_counted_up_to_a_limit(db: Db) {
    let unkept = || DeadLetter { digest: Some([0; 32]), ..letter(TENANT, 0, "a") };
    write(&db, vec![letter(TENANT, 0, "a"), unkept(), letter("", 0, "a"), letter(TENANT, 0, "b"), unkept()])
        .await;
    let mut owner = Owner::of(&*db, 0).await;
    owner.begin("5-0").await;
    for (tenant, limit, kept) in
        [(TENANT, 100, 2), (TENANT, 2, 2), (TENANT, 1, 1), (TENANT, 0, 0), ("", 9, 1), ("x", 9, 0)]
    {
        assert_eq!(owner.apply.dead_letters_kept(tenant, limit).await.unwrap(), kept, "{tenant:?} {limit}");
    }
    // Those of the same transaction are seen.
    let advance = owner.advance("5-0", 0);
    let more = Changes { dead_letters: vec![letter("", 0, "c")], ..Changes::default() };
    owner.apply.write(&advance, &more).await.unwrap();
    assert_eq!(owner.apply.dead_letters_kept("", u64::MAX).await.unwrap(), 2);
    owner.apply.rollback().await.unwrap();
}
