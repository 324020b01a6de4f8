//! Receipts: what became of a request, part by part, for 24 hours.

use crate::db::{Backend, Db, TENANT};
use crate::owner::Owner;
use domain::BatchId;
use store::ReceiptPart;
use store::apply::{Changes, NewReceipt};
use uuid::Uuid;

on_both!(
    parts_are_found_by_batch_and_request,
    a_part_is_written_once,
    old_receipts_are_deleted_some_at_a_time
);

const BATCH: BatchId = BatchId(Uuid::from_u128(7));

fn receipt(request_id: &str, part: u16, recorded: u64) -> NewReceipt<'_> {
    NewReceipt {
        tenant: TENANT,
        batch: BATCH,
        request_id,
        part,
        parts: 2,
        recorded,
        deduplicated: 3,
        conflicts: 2,
        dead_lettered: 1,
    }
}

fn part(request_id: &str, part: u16, recorded: u64) -> ReceiptPart {
    let request_id = request_id.into();
    ReceiptPart { request_id, part, parts: 2, recorded, deduplicated: 3, conflicts: 2, dead_lettered: 1 }
}

async fn write(owner: &mut Owner, to: &str, receipts: Vec<NewReceipt<'_>>) {
    owner.write(to, &Changes { receipts, ..Changes::default() }).await;
}

async fn parts_are_found_by_batch_and_request(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let other_batch = NewReceipt { batch: BatchId(Uuid::from_u128(8)), ..receipt("r1", 0, 9) };
    write(&mut owner, "1-0", vec![receipt("r2", 1, 5), receipt("r1", 1, 4), other_batch]).await;
    write(&mut owner, "2-0", vec![receipt("r1", 0, u64::try_from(i64::MAX).unwrap())]).await;
    let first = part("r1", 0, u64::try_from(i64::MAX).unwrap());
    let of_one = [first, part("r1", 1, 4)];
    assert_eq!(db.receipt(TENANT, BATCH, Some("r1")).await.unwrap(), of_one);
    let [first, second] = of_one;
    assert_eq!(db.receipt(TENANT, BATCH, None).await.unwrap(), [first, second, part("r2", 1, 5)]);
    assert_eq!(db.receipt(TENANT, BATCH, Some("r3")).await.unwrap(), []);
    assert_eq!(db.receipt("other", BATCH, Some("r1")).await.unwrap(), []);
    assert_eq!(db.receipt(TENANT, BatchId(Uuid::nil()), None).await.unwrap(), []);
}

async fn a_part_is_written_once(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, "1-0", vec![receipt("r", 0, 5)]).await;
    // The frame came a second time: all of it is known by then, and the first answer holds.
    write(&mut owner, "2-0", vec![receipt("r", 0, 0)]).await;
    assert_eq!(db.receipt(TENANT, BATCH, None).await.unwrap(), [part("r", 0, 5)]);
}

async fn old_receipts_are_deleted_some_at_a_time(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let names: Vec<String> = (0..10).map(|i| format!("r{i}")).collect();
    write(&mut owner, "1-0", names.iter().map(|name| receipt(name, 0, 1)).collect()).await;
    assert_eq!(owner.apply.expire_receipts(100).await.unwrap(), 0);
    db.execute(match db.backend {
        Backend::Postgres => {
            "UPDATE receipts SET created_at = created_at - interval '25 hours' WHERE request_id < 'r7'"
        }
        Backend::Sqlite => {
            "UPDATE receipts SET created_at = created_at - 90000000000 WHERE request_id < 'r7'"
        }
    })
    .await;
    assert_eq!(owner.apply.expire_receipts(4).await.unwrap(), 4);
    assert_eq!(db.count("receipts").await, 6);
    assert_eq!(owner.apply.expire_receipts(4).await.unwrap(), 3);
    assert_eq!(owner.apply.expire_receipts(4).await.unwrap(), 0);
    let left = db.receipt(TENANT, BATCH, None).await.unwrap();
    assert_eq!(left, [part("r7", 0, 1), part("r8", 0, 1), part("r9", 0, 1)]);
}
