//! Receipts: to the waiter they are for, part by part, and to nobody else.

use std::time::Duration;

use domain::BatchId;
use queue::reader::EntryId;
use queue::receipts::{ReceiptMessage, Receipts, Totals};
use tokio::time::Instant;

use super::of_each;
use super::rig::{Kind, Rig};
use crate::support::{P0, soon};

of_each! {
    the_parts_of_a_request_add_up,
    the_same_request_twice_at_once_is_told_twice,
    every_address_hears_its_own,
    a_waiter_gives_up_at_its_deadline,
}

fn batch() -> BatchId {
    BatchId(uuid::Uuid::now_v7())
}

fn receipt(receipts: &dyn Receipts, batch: BatchId, request_id: &str, part: u16) -> ReceiptMessage {
    ReceiptMessage {
        address: receipts.address().to_owned(),
        request_id: request_id.to_owned(),
        batch,
        part,
        recorded: 10 + u32::from(part),
        deduplicated: 2,
        conflicts: 1,
        dead_lettered: 3,
    }
}

async fn tell(rig: &Rig, receipts: &[ReceiptMessage]) {
    rig.queue.reporter().report(P0, &[], receipts, EntryId::ZERO, Duration::ZERO).await;
}

async fn the_parts_of_a_request_add_up(kind: Kind) {
    let rig = kind.rig().await;
    let receipts = rig.receipts().await;
    let (batch, name) = (batch(), "request \"1\"");
    let waiter = receipts.expect(batch, name, 70);
    let another = receipts.expect(self::batch(), name, 1);
    let mut parts: Vec<_> = (0..70).rev().map(|part| receipt(&*receipts, batch, name, part)).collect();
    // Told twice, told of nobody, told of a part that there is not, told to nobody.
    parts.insert(3, parts[2].clone());
    parts.insert(0, receipt(&*receipts, batch, "unknown", 0));
    parts.insert(0, receipt(&*receipts, batch, name, 70 + 64));
    parts.insert(0, ReceiptMessage { address: String::new(), ..receipt(&*receipts, batch, name, 0) });
    tell(&rig, &parts[..40]).await;
    tell(&rig, &parts[40..]).await;
    let recorded = (0..70).map(|part| 10 + part).sum();
    let totals = Totals { recorded, deduplicated: 140, conflicts: 70, dead_lettered: 210 };
    assert_eq!(waiter.wait(soon()).await, Some(totals));
    assert_eq!(another.wait(Instant::now()).await, None);
}

async fn the_same_request_twice_at_once_is_told_twice(kind: Kind) {
    let rig = kind.rig().await;
    let receipts = rig.receipts().await;
    let batch = batch();
    let [first, second, dropped] = [(); 3].map(|()| receipts.expect(batch, "r", 1));
    drop(dropped);
    tell(&rig, &[receipt(&*receipts, batch, "r", 0)]).await;
    assert!(first.wait(soon()).await.is_some());
    assert!(second.wait(soon()).await.is_some());
    // Nothing is left of them.
    let waiter = receipts.expect(batch, "r", 1);
    tell(&rig, &[receipt(&*receipts, batch, "r", 0)]).await;
    assert!(waiter.wait(soon()).await.is_some());
}

async fn every_address_hears_its_own(kind: Kind) {
    let rig = kind.rig().await;
    let (here, there) = (rig.receipts().await, rig.receipts().await);
    assert_ne!(here.address(), there.address());
    let batch = batch();
    let at = |receipts: &dyn Receipts| receipts.expect(batch, "r", 1);
    let (waits_here, waits_there) = (at(&*here), at(&*there));
    tell(&rig, &[receipt(&*there, batch, "r", 0)]).await;
    assert!(waits_there.wait(soon()).await.is_some());
    // Told after the one above, which it would have heard by now.
    let other = at(&*here);
    let only_other = receipt(&*here, self::batch(), "r", 0);
    tell(&rig, &[only_other]).await;
    assert_eq!(waits_here.wait(Instant::now()).await, None);
    drop((there, other));
    // Nobody listens there any more: no harm done.
    let gone = ReceiptMessage { address: "nobody's".to_owned(), ..receipt(&*here, batch, "r", 0) };
    let waiter = at(&*here);
    tell(&rig, &[gone, receipt(&*here, batch, "r", 0)]).await;
    assert!(waiter.wait(soon()).await.is_some());
}

async fn a_waiter_gives_up_at_its_deadline(kind: Kind) {
    let rig = kind.rig().await;
    let receipts = rig.receipts().await;
    let waiter = receipts.expect(batch(), "r", 2);
    assert_eq!(waiter.wait(Instant::now()).await, None);
    // Told already is told, however late it is asked for.
    let batch = batch();
    let (waiter, marker) = (receipts.expect(batch, "r", 1), receipts.expect(batch, "marker", 1));
    let both = ["r", "marker"].map(|name| receipt(&*receipts, batch, name, 0));
    tell(&rig, &both).await;
    assert!(marker.wait(soon()).await.is_some());
    assert!(waiter.wait(Instant::now()).await.is_some());
}
