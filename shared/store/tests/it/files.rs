//! What can happen to a database file: full and read-only disks, other processes, things that are no database.

use crate::db::{ACTOR, Backend, Db, PARTITIONS, PATIENCE, TENANT, definition};
use crate::elsewhere::{disk, play_on_disk, read_elsewhere, reads, tell};
use crate::owner::{Owner, conversion};
use domain::Partition;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use store::apply::{Changes, HistoryOf};
use store::{ErrorKind, Location, Store, StoreError};

fn at(file: &Path) -> Location {
    Location::Sqlite { file: file.to_owned() }
}

fn new_file() -> PathBuf {
    testkit::temp_dir("sqlite").unwrap().join("abstream.db")
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let file = new_file();
    let missing = store::connect(&at(&file)).await.err().unwrap();
    assert!(matches!(&missing, StoreError::NoFile(path) if *path == file), "{missing}");
    assert_eq!(missing.kind(), ErrorKind::Fatal);
    assert!(!file.exists());

    let text = b"this is somebody's letter, longer than the hundred bytes that a database file begins with, "
        .repeat(9);
    fs::write(&file, &text).unwrap();
    for opened in [store::connect(&at(&file)).await, store::open(&at(&file), 1, PATIENCE).await] {
        let refused = opened.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Fatal, "{refused}");
        assert_eq!(refused.to_string(), "the database file: the file is not a database (SQLite code 26)");
    }
    assert_eq!(fs::read(&file).unwrap(), text);

    let foreign = file.with_file_name("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE units (name)").unwrap();
    let reader = store::connect(&at(&foreign)).await.unwrap();
    assert!(matches!(reader.check(1).await, Err(StoreError::Schema { found: 0, .. })));
    let refused = reader.units(Partition(0).unit_range(1), None, 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fatal);
    assert_eq!(refused.to_string(), "the database file: unexpected (SQLite code 1)");

    let nowhere = file.with_file_name("missing/abstream.db");
    let refused = store::open(&at(&nowhere), 1, PATIENCE).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Transient, "a disk may yet be mounted: {refused}");
    assert!(is_unopened(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_what_is_written_and_writes_nothing() {
    let db = Db::new(Backend::Sqlite).await;
    let reader = store::connect(&db.location).await.unwrap();
    reader.check(PARTITIONS).await.unwrap();
    let mut owner = Owner::of(&*db, 0).await;
    let all = Partition(0).unit_range(1);
    for n in 1..=3 {
        let key = format!("k{n}");
        owner.record(&format!("{n}-0"), &[conversion("u", &key, n)]).await;
        assert_eq!(reader.conversions(all.0, all.1).await.unwrap().len(), usize::try_from(n).unwrap());
    }
    let refusals = [
        reader.create_experiment(TENANT, &definition("one"), ACTOR).await.err(),
        reader.connect().await.err(),
        reader.migrate().await.err(),
        reader.write_probe().await.err(),
    ];
    for refused in refusals {
        assert!(matches!(refused, Some(StoreError::OpenedForReading)), "{refused:?}");
    }
    // The last one to leave carries the log over; a reader finds all there is without it.
    drop((owner, reader));
    let Db { location, store, .. } = db;
    drop(store);
    let reader = store::connect(&location).await.unwrap();
    assert_eq!(reader.conversions(all.0, all.1).await.unwrap().len(), 3);
}

const FULL: &str = "the database file: the disk is full (SQLite code 13)";

/// A disk of 24 MiB, and keys to be stored.
struct Disk {
    dir: PathBuf,
    file: PathBuf,
    keys: std::vec::IntoIter<String>,
    acknowledged: Vec<String>,
}

impl Disk {
    fn at(dir: PathBuf) -> Disk {
        let keys: Vec<String> = (0..100_000).map(|n| format!("key-{n:060}")).collect();
        let file = dir.join("abstream.db");
        Disk { dir, file, keys: keys.into_iter(), acknowledged: Vec::new() }
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) {
        let file = fs::File::options().create(true).append(true).open(self.dir.join("ballast")).unwrap();
        let df = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.dir).output().unwrap();
        let available: u64 =
            String::from_utf8(df.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap();
        let ballast = vec![7; usize::try_from(available - free).unwrap()];
        (&file).write_all(&ballast).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.dir.join("ballast")).unwrap();
    }

    /// One transaction; acknowledged if it says so.
    async fn store(&mut self, owner: &mut Owner, rows: usize) -> Result<(), StoreError> {
        let keys: Vec<String> = self.keys.by_ref().take(rows).collect();
        let rows: Vec<_> = keys.iter().map(|key| conversion(key, key, 1)).collect();
        owner.state = owner.apply.load(owner.partition).await?;
        let advance = owner.advance(&format!("{}-0", self.keys.len()), 1);
        assert!(owner.apply.begin(&advance, &[]).await?.is_some());
        owner.apply.record(advance.day, &HistoryOf::default(), &rows).await?;
        owner.finish(advance, &Changes::default()).await?;
        self.acknowledged.extend(keys);
        Ok(())
    }

    async fn assert_stored(&self, store: &dyn Store) {
        let all = Partition(0).unit_range(1);
        let mut stored: Vec<String> =
            store.conversions(all.0, all.1).await.unwrap().into_iter().map(|c| c.key).collect();
        stored.sort_unstable();
        assert_eq!(stored.len(), self.acknowledged.len());
        assert_eq!(stored, self.acknowledged);
    }
}

fn is_full(error: &StoreError) -> bool {
    (error.to_string().as_str(), error.kind()) == (FULL, ErrorKind::Transient)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_acknowledged_and_work_goes_on() {
    let Some(dir) = disk() else {
        return play_on_disk("files::a_full_disk_loses_nothing_acknowledged_and_work_goes_on", 24);
    };
    let mut disk = Disk::at(dir);
    let location = at(&disk.file);
    let store = store::open(&location, 1, PATIENCE).await.unwrap();
    let mut owner = Owner::of(&*store, 0).await;
    for _ in 0..4 {
        disk.store(&mut owner, 500).await.unwrap();
    }

    // To the last byte: nothing fits, the probe says so, and all can be read.
    disk.fill(0);
    for _ in 0..3 {
        let refused = disk.store(&mut owner, 500).await.unwrap_err();
        assert!(is_full(&refused), "{refused}");
        let probed = store.write_probe().await.unwrap_err();
        assert!(is_full(&probed), "{probed}");
    }
    disk.assert_stored(&*store).await;

    // It fills up in the middle of a transaction.
    disk.empty();
    store.write_probe().await.unwrap();
    disk.fill(3 * 1024 * 1024);
    let refused = loop {
        if let Err(error) = disk.store(&mut owner, 500).await {
            break error;
        }
    };
    assert!(is_full(&refused), "{refused}");
    assert!(disk.acknowledged.len() > 2_000, "some fitted");
    disk.assert_stored(&*store).await;

    // With room again the same connections go on.
    disk.empty();
    disk.store(&mut owner, 500).await.unwrap();
    disk.assert_stored(&*store).await;

    // Closed on a full disk, the log cannot be carried over, and stays for those who come later.
    disk.fill(0);
    drop((owner, store));
    let reader = store::connect(&location).await.unwrap();
    disk.assert_stored(&*reader).await;
    drop(reader);
    disk.empty();
    drop(store::open(&location, 1, PATIENCE).await.unwrap());

    // Closed in good order, with nothing beside the file: whoever starts on a full disk is told.
    disk.fill(0);
    for opened in [store::open(&location, 1, PATIENCE).await, store::connect(&location).await] {
        let refused = opened.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Transient);
        assert!(refused.to_string().contains("the disk is full"), "{refused}");
    }
    disk.empty();
    let store = store::open(&location, 1, PATIENCE).await.unwrap();
    disk.store(&mut Owner::of(&*store, 0).await, 500).await.unwrap();
    disk.assert_stored(&*store).await;
}

fn is_unopened(error: &StoreError) -> bool {
    error.kind() == ErrorKind::Transient && error.to_string().contains("is the directory there and writable?")
}

fn mount(arguments: &[&str], dir: &Path) {
    assert!(Command::new("mount").args(arguments).arg(dir).status().unwrap().success(), "{arguments:?}");
}

async fn read_here(file: &Path) {
    let all = Partition(0).unit_range(1);
    let read = async {
        let store = store::connect(&at(file)).await?;
        store.check(1).await?;
        store.conversions(all.0, all.1).await
    };
    match read.await {
        Ok(rows) => tell(&rows.len().to_string()),
        Err(error) => tell(&error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_told_and_can_be_read_while_a_writer_runs() {
    const TEST: &str = "files::a_read_only_disk_is_told_and_can_be_read_while_a_writer_runs";
    if let Some(file) = reads() {
        return read_here(&file).await;
    }
    let Some(dir) = disk() else { return play_on_disk(TEST, 24) };
    mount(&["-o", "remount,bind,ro"], &dir);
    let refused = store::open(&at(&dir.join("abstream.db")), 1, PATIENCE).await.err().unwrap();
    assert!(is_unopened(&refused), "{refused}");
    mount(&["-o", "remount,bind,rw"], &dir);

    // The same files twice: where they can be written, and where not.
    let (writable, readable) = (dir.join("writable"), dir.join("readable"));
    for dir in [&writable, &readable] {
        fs::create_dir(dir).unwrap();
    }
    mount(&["--bind", writable.to_str().unwrap()], &readable);
    mount(&["-o", "remount,bind,ro"], &readable);
    let mut disk = Disk::at(writable.clone());
    let elsewhere = readable.join("abstream.db");
    let store = store::open(&at(&disk.file), 1, PATIENCE).await.unwrap();
    let mut owner = Owner::of(&*store, 0).await;
    for rows in ["500", "1000"] {
        disk.store(&mut owner, 500).await.unwrap();
        assert_eq!(read_elsewhere(TEST, &disk.file), rows);
        assert_eq!(read_elsewhere(TEST, &elsewhere), rows);
    }
    let refused = store::open(&at(&elsewhere), 1, PATIENCE).await.err().unwrap();
    assert!(refused.to_string().contains("read-only"), "{refused}");

    // What a killed writer leaves is read as well.
    let killed = dir.join("killed");
    fs::create_dir(&killed).unwrap();
    for name in ["abstream.db", "abstream.db-wal", "abstream.db-shm"] {
        fs::copy(writable.join(name), killed.join(name)).unwrap();
    }
    // What one that ended in good order leaves is not: there is nothing to read the log by.
    drop((owner, store));
    assert!(!writable.join("abstream.db-wal").exists());
    assert!(read_elsewhere(TEST, &elsewhere).contains("is the directory there and writable?"));
    assert_eq!(read_elsewhere(TEST, &disk.file), "1000");
    mount(&["-o", "remount,bind,ro"], &dir);
    assert_eq!(read_elsewhere(TEST, &killed.join("abstream.db")), "1000");
}
