//! The bound on dead letters, and what is counted of them.

use crate::rig::{Rig, TENANT, conversions, frame};
use domain::{BatchId, ExperimentId};
use queue::frame::Frame;
use std::collections::BTreeMap;
use uuid::Uuid;

on_both!(
    past_its_bound_a_tenant_gets_letters_without_payload,
    a_letter_that_is_gone_makes_room,
    a_bound_of_none_keeps_no_payload,
);

/// A frame of `tenant` whose every conversion the database refuses, one for each key.
fn refused<'a>(tenant: &'a str, keys: &[&'a str]) -> Vec<Frame<'a>> {
    let conversion = |key: &&'a str| conversions(ExperimentId::NONE, &[("u", "purchase", 1, 5, *key)]);
    let alone = |key| Frame { tenant, ..frame(BatchId(Uuid::now_v7()), vec![conversion(key)]) };
    keys.iter().map(alone).collect()
}

/// (kept with their payload, without one).
async fn kept(rig: &Rig) -> (usize, usize) {
    let letters = rig.letters().await;
    let (without, with): (Vec<_>, Vec<_>) = letters.into_iter().partition(|l| l.digest.is_some());
    assert!(with.iter().all(|l| !l.payload.is_empty()) && without.iter().all(|l| l.payload.is_empty()));
    (with.len(), without.len())
}

async fn past_its_bound_a_tenant_gets_letters_without_payload(mut rig: Rig) {
    rig.max_letters = 3;
    let entry = rig.entry(&refused(TENANT, &["a\0", "b\0"]));
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((kept(&rig).await, applied.letters.without_payload), ((2, 0), 0));
    // The bound is reached inside a transaction; another tenant, and whoever is unknown, has one of its own.
    let over = refused(TENANT, &["c\0", "d\0", "e\0"]);
    let payload = queue::frame::encode(&Frame { receipt: None, ..over[2].clone() }).unwrap();
    let unknown = refused("", &["x"]);
    let entry = rig.entry(&[over, refused("other", &["c\0", "d\0"]), unknown].concat());
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!(kept(&rig).await, (3 + 2 + 1, 2));
    assert_eq!(applied.letters.without_payload, 2);
    assert_eq!(applied.letters.events, BTreeMap::from([("refused", 5), ("malformed_frame", 1)]));
    // Everything else is told, and the payload can be recognised.
    let last = rig.letters().await.into_iter().rfind(|l| l.digest.is_some()).unwrap();
    assert_eq!((last.reason.as_str(), last.events), ("refused", 1));
    assert_eq!(last.digest.unwrap(), sha256(&payload));
    rig.assert_books(&[]).await;
}

async fn a_letter_that_is_gone_makes_room(mut rig: Rig) {
    rig.max_letters = 1;
    let entry = rig.entry(&refused(TENANT, &["a\0", "b\0"]));
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(kept(&rig).await, (1, 1));
    let ids: Vec<i64> = letters(&rig).await;
    let actor = store::Actor { name: "test", request_id: "r" };
    let dropped = rig.store.delete_dead_letters(TENANT, &ids[..1], store::Removal::Dropped, actor).await;
    assert_eq!(dropped.unwrap(), ids[..1]);
    let entry = rig.entry(&refused(TENANT, &["c\0"]));
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(kept(&rig).await, (1, 1));
}

async fn a_bound_of_none_keeps_no_payload(mut rig: Rig) {
    rig.max_letters = 0;
    let entry = rig.entry(&refused(TENANT, &["a\0"]));
    rig.apply(&[entry]).await.unwrap();
    assert_eq!(kept(&rig).await, (0, 1));
}

async fn letters(rig: &Rig) -> Vec<i64> {
    let found = rig.store.dead_letters(TENANT, store::LetterFilter::default(), 0, 10).await.unwrap();
    found.into_iter().map(|l| l.id).collect()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}
