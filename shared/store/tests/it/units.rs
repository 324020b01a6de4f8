//! Units: loaded by an owner, read in ranges.

use crate::db::{Db, TENANT};
use crate::owner::{Owner, TODAY, enrolled, unit_of};
use domain::codec::encode_unit;
use domain::{Day, Partition, Unit, UnitId};
use store::apply::{Changes, NewUnit};
use store::{StoreError, UnitRow};

on_both!(an_owner_loads_what_was_stored, ranges_come_in_slices, a_damaged_state_is_told);

fn new<'a>(id: UnitId, user_id: &'a str, unit: &Unit) -> NewUnit<'a> {
    NewUnit { id, tenant: TENANT, user_id, state: encode_unit(unit) }
}

async fn an_owner_loads_what_was_stored(db: Db) {
    let e = db.experiment("one").await;
    let (small, mut large) = (Unit::default(), enrolled(&e, TODAY));
    // Larger than a page of either database.
    for n in 1..2_000 {
        let mut another = large.enrollments[0].clone();
        another.experiment.0 += n;
        large.enrollments.push(another);
    }
    let mut owner = Owner::of(&*db, 0).await;
    let new_units =
        vec![new(unit_of("u"), "u", &small), new(unit_of("v"), "v", &large), new(unit_of(""), "", &small)];
    owner.write("1-0", &Changes { new_units, ..Changes::default() }).await;

    let ids = [unit_of("v"), unit_of("nobody"), unit_of("u")];
    let advance = owner.advance("2-0", 0);
    let mut loaded = owner.apply.begin(&advance, &ids).await.unwrap().unwrap();
    loaded.sort_by_key(|(id, _)| *id != unit_of("u"));
    assert_eq!(loaded, [(unit_of("u"), small), (unit_of("v"), large.clone())]);
    // Larger and smaller than before.
    let changed_units =
        vec![(unit_of("v"), encode_unit(&enrolled(&e, Day(1)))), (unit_of("u"), encode_unit(&large))];
    owner.finish(advance, &Changes { changed_units, ..Changes::default() }).await.unwrap();
    let advance = owner.advance("3-0", 0);
    let mut loaded = owner.apply.begin(&advance, &ids).await.unwrap().unwrap();
    loaded.sort_by_key(|(id, _)| *id != unit_of("u"));
    assert_eq!(loaded, [(unit_of("u"), large), (unit_of("v"), enrolled(&e, Day(1)))]);
    owner.apply.rollback().await.unwrap();
}

async fn ranges_come_in_slices(db: Db) {
    let e = db.experiment("one").await;
    let id = |n: u128| UnitId(n.to_be_bytes());
    let numbers = [0, 1, 5, 6, 7, 1 << 100, u128::MAX];
    let names: Vec<String> = numbers.iter().map(|n| format!("ü{n}")).collect();
    let day = |i: usize| Day(i32::try_from(i).unwrap());
    let mut new_units: Vec<_> =
        (0..numbers.len()).map(|i| new(id(numbers[i]), &names[i], &enrolled(&e, day(i)))).collect();
    new_units.reverse();
    let mut owner = Owner::of(&*db, 0).await;
    owner.write("1-0", &Changes { new_units, ..Changes::default() }).await;
    let expected: Vec<UnitRow> = (0..numbers.len())
        .map(|i| UnitRow {
            id: id(numbers[i]),
            tenant: TENANT.into(),
            user_id: names[i].clone(),
            unit: enrolled(&e, day(i)),
        })
        .collect();

    let read = async |first, last, after: Option<u128>, limit| -> Vec<UnitRow> {
        db.units((id(first), id(last)), after.map(id), limit).await.unwrap()
    };
    assert_eq!(read(0, u128::MAX, None, 100).await, expected);
    assert_eq!(read(1, 6, None, 100).await, expected[1..4]);
    assert_eq!(read(1, 7, None, 2).await, expected[1..3]);
    assert_eq!(read(1, 7, Some(5), 2).await, expected[3..5]);
    assert_eq!(read(1, 7, Some(7), 2).await, []);
    assert_eq!(read(8, 9, None, 2).await, []);
    // The partitions' ranges are all there is.
    let mut all = Vec::new();
    for partition in (0..16).map(Partition) {
        all.extend(db.units(partition.unit_range(16), None, 100).await.unwrap());
    }
    assert_eq!(all, expected);
}

async fn a_damaged_state_is_told(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let damaged = NewUnit { id: unit_of("u"), tenant: TENANT, user_id: "u", state: vec![250, 1, 2] };
    owner.write("1-0", &Changes { new_units: vec![damaged], ..Changes::default() }).await;
    let advance = owner.advance("2-0", 0);
    let told = owner.apply.begin(&advance, &[unit_of("u")]).await.unwrap_err();
    assert!(matches!(told, StoreError::Codec(_)), "{told}");
    owner.apply.rollback().await.unwrap();
    let told = db.units(Partition(0).unit_range(1), None, 1).await.unwrap_err();
    assert!(matches!(told, StoreError::Codec(_)), "{told}");
    // Others are not concerned.
    owner.write("2-0", &Changes::default()).await;
}
