//! Keys that admins issue: every tier has the same ones, soon.

use queue::keys::{Edition, IssuedKey, IssuedKeys};

use super::of_each;
use super::rig::Kind;
use crate::support::eventually;

of_each! {
    nothing_is_known_before_the_first_edition,
    an_edition_is_read_as_it_was_written,
    an_edition_that_was_not_seen_is_never_replaced,
    whoever_follows_hears_of_every_new_edition,
}

fn key(id: i64) -> IssuedKey {
    IssuedKey {
        id,
        tenant: "acme".into(),
        name: "nächtlich, \"quoted\"".into(),
        digest: format!("{id:064x}"),
        scopes: "events,read".into(),
    }
}

/// Its version.
async fn replace(keys: &dyn IssuedKeys, seen: Option<&str>, all: &[IssuedKey]) -> String {
    assert!(keys.write(seen, all).await.unwrap());
    let Edition { version, keys: read } = keys.read().await.unwrap().unwrap();
    assert_eq!((keys.version().await.unwrap().as_deref(), read.as_slice()), (Some(&*version), all));
    version
}

async fn nothing_is_known_before_the_first_edition(kind: Kind) {
    let rig = kind.rig().await;
    let keys = rig.queue.issued_keys();
    assert_eq!((keys.version().await.unwrap(), keys.read().await.unwrap()), (None, None));
    assert!(!keys.write(Some("1"), &[]).await.unwrap(), "that edition is not there");
    replace(&*keys, None, &[]).await;
}

async fn an_edition_is_read_as_it_was_written(kind: Kind) {
    let rig = kind.rig().await;
    let (here, there) = (rig.queue.issued_keys(), rig.queue.issued_keys());
    let many: Vec<IssuedKey> = (1..2_000).map(key).collect();
    let first = replace(&*here, None, &many).await;
    let second = replace(&*there, Some(&first), &many[..1]).await;
    assert_ne!(first, second);
    assert_eq!(here.read().await.unwrap(), Some(Edition { version: second, keys: vec![key(1)] }));
}

async fn an_edition_that_was_not_seen_is_never_replaced(kind: Kind) {
    let rig = kind.rig().await;
    let keys = rig.queue.issued_keys();
    let first = replace(&*keys, None, &[key(1)]).await;
    let second = replace(&*keys, Some(&first), &[key(2)]).await;
    for stale in [None, Some(first.as_str()), Some("other")] {
        assert!(!keys.write(stale, &[key(3)]).await.unwrap(), "{stale:?}");
    }
    assert_eq!(keys.read().await.unwrap(), Some(Edition { version: second, keys: vec![key(2)] }));
}

async fn whoever_follows_hears_of_every_new_edition(kind: Kind) {
    let rig = kind.rig().await;
    let (writer, follower) = (rig.queue.issued_keys(), rig.queue.issued_keys());
    let mut seen = None;
    for id in 1..=5 {
        let version = replace(&*writer, seen.as_deref(), &[key(id)]).await;
        // A subscription that came up late tells that too.
        eventually("the change is heard", || async {
            follower.changed().await;
            follower.version().await.unwrap().as_deref() == Some(&*version)
        })
        .await;
        seen = Some(version);
    }
}
