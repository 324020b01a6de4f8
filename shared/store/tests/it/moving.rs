//! Moving up: all that a file holds is found in PostgreSQL, column by column, and work goes on there.

use crate::db::{ACTOR, Backend, Db, TENANT, definition, nowhere};
use crate::owner::{Owner, TODAY, conversion, enrolled, key, moments, unit_of};
use domain::codec::encode_unit;
use domain::{BatchId, Day, ExperimentId, Partition, Timestamp, Unit, UnitId};
use std::collections::{BTreeMap, BTreeSet};
use store::apply::{
    Advance, Changes, Count, DeadLetter, HistoryOf, MomentsRow, NewConversion, NewLoss, NewReceipt, NewUnit,
};
use store::moving::{Stood, Table};
use store::postgres::{Import, PgStore};
use store::sqlite::SqliteStore;
use store::{
    Answers, ErrorKind, Experiments, Location, NewKey, PurgeOf, RawRows, Status, StoreError, Upkeep,
};
use uuid::Uuid;

const TARGET_PARTITIONS: u16 = 16;
/// Rows of a slice: fewer than there are of anything.
const SLICE: u32 = 2;
const NOTHING: Stood = Stood { day: TODAY, accepted: 0, lost: 0 };
const USERS: [&str; 5] = ["u", "v", "ü", "", "somebody"];

/// A file with something of everything.
async fn source() -> Db {
    let db = Db::new(Backend::Sqlite).await;
    let one = db.experiment("one").await;
    let (gone, theirs) = (db.experiment("gone").await, db.experiment_of("other", "theirs").await);
    db.set_status(TENANT, one.id, Status::Running, ACTOR).await.unwrap();
    db.set_status(TENANT, one.id, Status::Stopped, ACTOR).await.unwrap();
    db.delete_experiment(TENANT, gone.id, ACTOR).await.unwrap();
    for n in 0..4 {
        let key = NewKey { digest: [250 + n; 32], name: "ü", scopes: "events", last_digits: "wxyz" };
        let key = db.create_key(TENANT, key, ACTOR).await.unwrap().unwrap();
        if n == 1 {
            db.revoke_key(TENANT, key.id, ACTOR).await.unwrap();
        }
    }
    for partition in [0, 3] {
        let mut owner = Owner::of(&*db, partition).await;
        for n in 0..3_u16 {
            let day = Day(TODAY.0 + i32::from(n) * i32::from(partition + 1));
            let to = format!("{}-0", n + 1);
            let advance = Advance { day, lost: 1, ..owner.advance(&to, 10) };
            owner.apply.begin(&advance, &[]).await.unwrap().unwrap();
            let conversions = sales(partition, n, one.id);
            owner.apply.record(day, &HistoryOf::default(), &conversions).await.unwrap();
            let sums = moments(&one.plan(), i64::from(n) + 1);
            let new = n == 0;
            let changes = Changes {
                new_units: if new { users(partition, &enrolled(&one, day)) } else { Vec::new() },
                moments: [(0, ""), (1, "gold")]
                    .map(|(variation, stratum)| MomentsRow {
                        key: key(&one, owner.partition, variation, stratum),
                        day,
                        moments: &sums,
                        is_new: new,
                    })
                    .into(),
                counters: vec![
                    // The same key in both partitions.
                    count(one.id, 0, "exposures"),
                    count(theirs.id, -1, "late"),
                    count(ExperimentId::NONE, -1, "conversions"),
                ],
                receipts: vec![receipt(n), receipt(n + 10 * (partition + 1))],
                dead_letters: vec![letter(&to), unkept(&to)],
                losses: vec![loss(&to), NewLoss { writer: None, ..loss(&to) }],
                ..Changes::default()
            };
            owner.finish(advance, &changes).await.unwrap();
        }
    }
    db.execute(include_str!("moving.sql")).await;
    db
}

fn users(partition: u16, unit: &Unit) -> Vec<NewUnit<'static>> {
    let of =
        |user_id| NewUnit { id: id(partition, user_id), tenant: TENANT, user_id, state: encode_unit(unit) };
    USERS.map(of).into()
}

/// Not the hash: what the id says is nobody's business here.
fn id(partition: u16, user: &str) -> UnitId {
    let mut id = unit_of(user);
    id.0[0] = u8::try_from(partition * 64).unwrap();
    id
}

fn sales(partition: u16, n: u16, experiment: ExperimentId) -> Vec<NewConversion<'static>> {
    let of = |user: &'static str| NewConversion {
        unit: id(partition, user),
        key: format!("k{n}").into(),
        experiment: if n == 1 { experiment } else { ExperimentId::NONE },
        occurred_given: (n == 2).then_some(Timestamp(-5)),
        ..conversion(user, "", i64::MIN + i64::from(n))
    };
    USERS.map(of).into()
}

fn count(experiment: ExperimentId, variation: i16, name: &'static str) -> Count<'static> {
    Count { tenant: TENANT, experiment, variation, name, n: 3 }
}

fn receipt(part: u16) -> NewReceipt<'static> {
    NewReceipt {
        tenant: TENANT,
        batch: BatchId(Uuid::from_u128(7)),
        request_id: "r",
        part,
        parts: 100,
        recorded: 1,
        deduplicated: 2,
        conflicts: 3,
        dead_lettered: 4,
    }
}

fn letter(entry: &str) -> DeadLetter<'static> {
    DeadLetter {
        tenant: TENANT,
        experiment: ExperimentId(5),
        entry: entry.into(),
        batch: Some(BatchId(Uuid::from_u128(9))),
        request_id: Some("r"),
        reason: "overflow",
        detail: "a sum".into(),
        events: 2,
        payload: vec![0, 255, 7].into(),
        digest: None,
    }
}

fn loss(entry: &str) -> NewLoss {
    NewLoss {
        writer: Some(Uuid::from_u128(5)),
        first: 3,
        last: 4,
        events: 1,
        entry: entry.into(),
        why: "missing_entries",
    }
}

/// Past its tenant's bound.
fn unkept(entry: &str) -> DeadLetter<'static> {
    let payload = Vec::new().into();
    DeadLetter { batch: None, request_id: None, payload, digest: Some([255; 32]), ..letter(entry) }
}

/// Where nothing is but the schema.
async fn target() -> (Db, PgStore) {
    let (location, tables) = nowhere(Backend::Postgres).await;
    let Location::Postgres { url, pool_size } = &location else { panic!("of the other kind") };
    let store = PgStore::connect(url, *pool_size).await.unwrap();
    store.migrate().await.unwrap();
    store.check(TARGET_PARTITIONS).await.unwrap();
    (Db::of(Backend::Postgres, location, tables).await, store)
}

/// Everything but the end.
async fn import(from: &SqliteStore, into: &Import) {
    for table in Table::ALL {
        let mut offset = 0;
        while let Some(rows) = from.export(table, SLICE, offset).await.unwrap() {
            into.rows(table, &rows).await.unwrap();
            offset += u64::from(SLICE);
        }
        assert!(offset > u64::from(SLICE), "several slices of {table:?}");
    }
    let all = Partition(0).unit_range(1);
    let mut after = None;
    loop {
        let units = from.units(all, after, i64::from(SLICE)).await.unwrap();
        let Some(last) = units.last() else { break };
        into.units(&units).await.unwrap();
        for unit in &units {
            let conversions = from.conversions(unit.id, unit.id).await.unwrap();
            let rows: Vec<_> = conversions.iter().map(|c| (unit.tenant.as_str(), c)).collect();
            into.conversions(&rows).await.unwrap();
        }
        after = Some(last.id);
    }
    for e in from.all_experiments().await.unwrap() {
        into.moments(&from.moments_rows(e.id, e.plan_version).await.unwrap()).await.unwrap();
    }
}

async fn moved() -> (Db, Db) {
    let from = source().await;
    let (into, store) = target().await;
    let importing = store.import().await.unwrap();
    let Location::Sqlite { file } = &from.location else { panic!("of the other kind") };
    let reader = SqliteStore::connect(file).await.unwrap();
    import(&reader, &importing).await;
    let stood = reader.stood().await.unwrap();
    assert_eq!(stood, Stood { day: Day(TODAY.0 + 8), accepted: 60, lost: 6 });
    importing.finish(TARGET_PARTITIONS, stood).await.unwrap();
    (from, into)
}

/// Tables that are not moved row by row, and why.
const OTHERWISE: [(&str, &str); 7] = [
    ("settings", "the number of partitions is another"),
    ("partitions", "streams are new, what they came to is the first one's: see the answers"),
    ("writers", "of streams that are gone"),
    ("counters", "all of them are the first partition's: see the answers"),
    ("counter_totals", "the database adds up what is counted there"),
    ("purges", "go on in the new partitions: see below"),
    ("rebuilds", "nothing is moved while there is one"),
];
/// Of processes that live, which SQLite has no tables of.
const OF_PROCESSES: [&str; 3] = ["workers", "view_units", "view_conversions"];
/// Of tables that are: another number of partitions, and who was sending.
const NEW_COLUMNS: [(&str, &str); 4] = [
    ("dead_letters", "partition"),
    ("losses", "partition"),
    ("erasures", "partition"),
    ("webhooks", "claim"),
];

async fn tables(db: &Db) -> BTreeSet<String> {
    let sql = match db.backend {
        Backend::Postgres => {
            "SELECT CAST(table_name AS text) FROM information_schema.tables WHERE table_schema = 'public'"
        }
        Backend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    };
    let all = db.texts(sql).await.into_iter();
    all.filter(|table| table != "refinery_schema_history").collect()
}

/// The columns of a table, each with how its values are spelled the same in both databases.
async fn columns(db: &Db, table: &str) -> BTreeMap<String, String> {
    let sql = match db.backend {
        Backend::Postgres => format!(
            "SELECT column_name || ' ' || udt_name FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name = '{table}'"
        ),
        Backend::Sqlite => format!("SELECT name || ' ' || type FROM pragma_table_info('{table}')"),
    };
    let spelled = |column: String| {
        let (name, kind) = column.split_once(' ').unwrap();
        let value = match kind {
            "timestamptz" => format!("CAST(CAST(extract(epoch FROM {name}) * 1000000 AS int8) AS text)"),
            "date" => format!("CAST({name} - DATE '1970-01-01' AS text)"),
            "uuid" => format!("replace(CAST({name} AS text), '-', '')"),
            "bytea" => format!("encode({name}, 'hex')"),
            "_text" => format!("CAST(to_json({name}) AS text)"),
            "BLOB" => format!("CASE WHEN {name} IS NOT NULL THEN lower(hex({name})) END"),
            _ => format!("CAST({name} AS text)"),
        };
        (name.to_owned(), value)
    };
    db.texts(&sql).await.into_iter().map(spelled).collect()
}

/// Every row as one text, sorted.
async fn rows(db: &Db, columns: &BTreeMap<String, String>, table: &str) -> Vec<String> {
    let values: Vec<String> = columns.values().map(|value| format!("coalesce({value}, '-')")).collect();
    let mut rows = db.texts(&format!("SELECT {} FROM {table}", values.join(" || '|' || "))).await;
    rows.sort_unstable();
    rows
}

/// Whether some row says something else in each column than one that does not speak of it: so what is left behind shows.
async fn every_column_speaks(from: &Db, table: &str) {
    let sql = format!("SELECT name || ' ' || coalesce(dflt_value, 'NULL') FROM pragma_table_info('{table}')");
    for column in from.texts(&sql).await {
        let (name, default) = column.split_once(' ').unwrap();
        let sql = format!("SELECT 'x' FROM {table} WHERE {name} IS NOT ({default}) LIMIT 1");
        assert_eq!(from.texts(&sql).await.len(), 1, "let some row of the source have {table}.{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_every_row_is_moved() {
    let (from, into) = moved().await;
    let (ours, mut theirs) = (tables(&from).await, tables(&into).await);
    assert!(OF_PROCESSES.iter().all(|table| theirs.remove(*table)));
    assert_eq!(ours, theirs);
    for table in ours.iter().filter(|table| !OTHERWISE.iter().any(|(other, _)| other == table)) {
        every_column_speaks(&from, table).await;
        let (mut ours, mut theirs) = (columns(&from, table).await, columns(&into, table).await);
        assert!(ours.keys().eq(theirs.keys()), "{table}");
        for (_, column) in NEW_COLUMNS.iter().filter(|(of, _)| of == table) {
            assert!(ours.remove(*column).is_some() && theirs.remove(*column).is_some());
        }
        let (moved, stored) = (rows(&into, &theirs, table).await, rows(&from, &ours, table).await);
        assert!(stored.len() > 2, "{table}");
        assert_eq!(moved, stored, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_be_erased_and_what_is_to_be_purged_finds_its_partitions() {
    let (_, into) = moved().await;
    let found = into.texts("SELECT replace(unit::text, '-', '') || ' ' || partition FROM erasures").await;
    assert_eq!(found.len(), 5);
    for erasure in found {
        let (unit, partition) = erasure.split_once(' ').unwrap();
        let unit = UnitId(u128::from_str_radix(unit, 16).unwrap().to_be_bytes());
        assert_eq!(partition.parse(), Ok(unit.partition(TARGET_PARTITIONS).0), "{erasure}");
    }
    // One partition was not done: all begin anew. The dry run is over.
    let purge = into.last_purge(false).await.unwrap().unwrap();
    assert_eq!((purge.done_partitions, purge.partitions), (0, TARGET_PARTITIONS));
    assert_eq!(purge.conversions, Some(PurgeOf { before: Day(20_000), rows: 6 }));
    assert_eq!((purge.dead_letters, purge.audit), (None, Some(PurgeOf { before: Day(19_000), rows: 7 })));
    let dry_run = into.last_purge(true).await.unwrap().unwrap();
    assert_eq!((dry_run.done_partitions, dry_run.partitions), (TARGET_PARTITIONS, TARGET_PARTITIONS));
    assert_eq!(dry_run.dead_letters, Some(PurgeOf { before: Day(20_001), rows: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_the_same() {
    let (from, into) = moved().await;
    let experiments = from.all_experiments().await.unwrap();
    assert_eq!(into.all_experiments().await.unwrap(), experiments);
    for e in &experiments {
        for as_of in [None, Some(TODAY), Some(Day(TODAY.0 + 4))] {
            let (mut theirs, mut ours) =
                (into.answer(e, as_of).await.unwrap(), from.answer(e, as_of).await.unwrap());
            theirs.sort_by(|a, b| a.key.cmp(&b.key));
            ours.sort_by(|a, b| a.key.cmp(&b.key));
            assert_eq!(theirs, ours);
        }
    }
    for tenant in [TENANT, "other"] {
        let counters = from.counters(tenant, None, None).await.unwrap();
        assert_eq!(into.counters(tenant, None, None).await.unwrap(), counters);
    }
    // The books close as they did, in partition 0.
    let ours = from.accounting().await.unwrap().partitions;
    let theirs = into.accounting().await.unwrap().partitions;
    assert_eq!(theirs.len(), usize::from(TARGET_PARTITIONS));
    assert!(theirs.iter().all(|a| a.position == "0-0"));
    assert_eq!((theirs[0].accepted, theirs[0].lost), (60, 6));
    assert_eq!(theirs[0].recorded, ours.iter().map(|a| a.recorded).sum::<i64>());
    assert!(theirs[1..].iter().all(|a| (a.accepted, a.recorded, a.lost) == (0, 0, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_where_it_was_moved_to() {
    let (from, into) = moved().await;
    // Keys stay used and ids go on.
    let refused = into.create_experiment(TENANT, &definition("gone"), ACTOR).await.unwrap_err();
    assert!(matches!(refused, StoreError::KeyUsed(_)), "{refused}");
    let highest = from.texts("SELECT CAST(max(id) AS text) FROM experiments").await[0].parse().unwrap();
    assert!(into.experiment("new").await.id > ExperimentId(highest));

    // An owner finds users and conversions, goes on from the last day, and keeps the sums' keys.
    let one = into.store.experiment(TENANT, "one").await.unwrap().unwrap();
    let mut owner = Owner::of(&*into, 0).await;
    assert_eq!((owner.state.position.as_str(), owner.state.day), ("0-0", Day(TODAY.0 + 8)));
    let advance = owner.advance("1-0", 1);
    let loaded = owner.apply.begin(&advance, &[id(0, "u")]).await.unwrap().unwrap();
    assert_eq!(loaded, [(id(0, "u"), enrolled(&one, TODAY))]);
    let known = owner.apply.experiments(Partition(0), &[one.id]).await.unwrap();
    assert_eq!(known.moments.len(), 2);
    let sale = sales(0, 0, one.id).remove(0);
    let (_, outcomes) = owner.apply.record(advance.day, &HistoryOf::default(), &[sale]).await.unwrap();
    assert!(matches!(outcomes[..], [store::apply::Outcome::Known { .. }]), "{outcomes:?}");
    let (dead_letters, losses) = (vec![letter("1-0")], vec![loss("1-0")]);
    let changes = Changes { dead_letters, losses, ..Changes::default() };
    owner.finish(advance, &changes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_database_is_imported_into() {
    let (into, store) = target().await;
    for (holds, row) in [
        ("experiments", "(tenant, key, definition, status) VALUES ('a', 'k', '{}', 'deleted')"),
        ("units", "VALUES ('00000000-0000-0000-0000-000000000000', 'a', 'u', '')"),
        (
            "conversions",
            "VALUES ('00000000-0000-0000-0000-000000000000', 0, 1, now(), now(),
             '00000000-0000-0000-0000-000000000000', now(), NULL, 'a', 'm', 'k')",
        ),
        ("counters", "VALUES ('a', 0, 0, -1, now(), 'late', 1)"),
        ("partitions", "(partition, position) VALUES (0, '1-0')"),
        (
            "api_keys",
            "(tenant, digest, name, scopes, last_digits) VALUES ('a', sha256('x'), 'n', 'read', 'wxyz')",
        ),
        ("webhooks", "(tenant, url, events, secret) VALUES ('a', 'http://x/', '{}', '')"),
        (
            "audit_log",
            "(tenant, actor, action, subject, request_id, detail) VALUES ('a', 'b', 'c', 'd', 'e', '')",
        ),
    ] {
        into.execute(&format!("INSERT INTO {holds} {row}")).await;
        let refused = store.import().await.err().unwrap();
        assert!(matches!(refused, StoreError::InUse), "{holds}: {refused}");
        assert_eq!(refused.kind(), ErrorKind::Fatal);
        into.execute(&format!("DELETE FROM {holds}")).await;
    }
    // Partitions that somebody has only looked at are no obstacle, and he is told.
    let mut early = Owner::of(&*into, 0).await;
    let importing = store.import().await.unwrap();
    importing.finish(TARGET_PARTITIONS, NOTHING).await.unwrap();
    assert_eq!(early.apply.begin(&early.advance("1-0", 1), &[]).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_given_up_or_refused_leaves_nothing() {
    let from = source().await;
    let Location::Sqlite { file } = &from.location else { panic!("of the other kind") };
    let reader = SqliteStore::connect(file).await.unwrap();
    let (into, store) = target().await;
    let importing = store.import().await.unwrap();
    import(&reader, &importing).await;
    drop(importing);
    // The next one waits for its end, and finds nothing.
    let importing = store.import().await.unwrap();
    let twice = reader.export(Table::Experiments, SLICE, 0).await.unwrap().unwrap();
    importing.rows(Table::Experiments, &twice).await.unwrap();
    let refused = importing.rows(Table::Experiments, &twice).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
    assert!(importing.finish(TARGET_PARTITIONS, NOTHING).await.is_err());
    for table in ["experiments", "units", "conversions", "moments", "moments_keys", "counters"] {
        assert_eq!(into.count(table).await, 0, "{table}");
    }
}
