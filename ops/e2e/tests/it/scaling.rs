//! Workers come and go under load: partitions change hands, nothing is lost, nobody waits for ever.

use domain::Partition;
use e2e::{Deployment, Load, Setup, System, run};
use std::collections::HashMap;
use std::time::Duration;
use testkit::{PostgresClient, Process};
use tokio::time::Instant;

/// Until partitions have changed hands and much more is applied.
const LIMIT: Duration = Duration::from_secs(120);
/// Applied before the next thing happens.
const EVENTS: i64 = 1_500;

/// What a partition waited for at most while something of it was not applied.
struct Lulls<'s> {
    system: &'s System,
    sql: PostgresClient,
    applied: HashMap<Partition, (i64, Instant)>,
    longest: Duration,
}

impl<'s> Lulls<'s> {
    async fn of(system: &'s System) -> Lulls<'s> {
        let sql = system.postgres.connect(&system.database).await.unwrap();
        Lulls { system, sql, applied: HashMap::new(), longest: Duration::ZERO }
    }

    /// How much is applied.
    async fn look(&mut self) -> anyhow::Result<i64> {
        let books = self.system.books().await?;
        let now = Instant::now();
        for (partition, book) in books.partitions {
            let applied = book.received - book.in_flight;
            let (last, since) = self.applied.entry(partition).or_insert((applied, now));
            if *last != applied || book.in_flight == 0 {
                (*last, *since) = (applied, now);
            }
            self.longest = self.longest.max(now - *since);
        }
        Ok(books.total.received - books.total.in_flight)
    }

    /// Looks until so many processes hold partitions, and until much more is applied; the longest lull.
    async fn until(&mut self, holding: i64) -> Duration {
        let (deadline, mut goal) = (Instant::now() + LIMIT, None);
        loop {
            let applied = self.look().await;
            if let Ok(applied) = applied {
                if goal.is_none() && self.holders().await == holding {
                    goal = Some(applied + EVENTS);
                }
                if goal.is_some_and(|goal| applied >= goal) {
                    return std::mem::take(&mut self.longest);
                }
            }
            assert!(Instant::now() < deadline, "{holding} hold, then {goal:?} are applied: {applied:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Processes that hold the lock of a partition.
    async fn holders(&self) -> i64 {
        let sql = "SELECT count(DISTINCT w.worker) FROM workers w, unnest(w.pids) AS pid \
                   JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory'";
        self.sql.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// The books, in which nothing is wrong.
async fn whole(system: &System, load: Load) -> store::Book {
    let (simulation, outcome) = load.finish().await.unwrap();
    let (books, found) = run::faults(system, &simulation, &outcome).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    books.total
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_becomes_four_and_then_two_under_load() {
    let system = System::start(Setup::default()).await.unwrap();
    let load = Load::start(&system, 51).await.unwrap();
    let mut lulls = Lulls::of(&system).await;
    println!("one worker: longest lull {:?}", lulls.until(1).await);
    let mut others: Vec<Process> = (0..3).map(|_| system.another_worker().unwrap().0).collect();
    println!("1 -> 4 workers: longest lull {:?}", lulls.until(4).await);
    // One leaves in good order, one does not.
    others.pop().unwrap().terminate(LIMIT).await.unwrap();
    others.pop().unwrap().kill().unwrap();
    println!("4 -> 2 workers: longest lull {:?}", lulls.until(2).await);
    println!("{}", whole(&system, load).await);
    drop(others);
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_is_freed_by_the_others_and_finds_its_place_again() {
    let system = System::start(Setup::default()).await.unwrap();
    let (mut other, _) = system.another_worker().unwrap();
    let load = Load::start(&system, 52).await.unwrap();
    let mut lulls = Lulls::of(&system).await;
    println!("two workers: longest lull {:?}", lulls.until(2).await);
    // At whatever it does: reading, in COPY, between statements.
    for _ in 0..2 {
        other.pause().unwrap();
        // The stopped worker holds nothing any more.
        println!("one stopped: longest lull {:?}", lulls.until(1).await);
        other.resume().unwrap();
        println!("it goes on: longest lull {:?}", lulls.until(2).await);
    }
    println!("{}", whole(&system, load).await);
    drop(other);
    system.stop().await.unwrap();
}
