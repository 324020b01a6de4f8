//! Servers fail in every way that operators meet, under a steady load. Nobody lends a hand: when the fault is over the
//! system applies all that it accepted, and says what it could not keep. `ops/docs/runbook.md` has a row for each.

mod losses;
mod memory;
mod outage;
mod postgres;
mod redis;
mod slow;
mod standby;

use crate::support::eventually;
use e2e::diary::Account;
use e2e::{Deployment, Load, Setup, System, run};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::http::Client;

/// For a fault to show, and for what it delayed to be made up for.
const LIMIT: Duration = Duration::from_secs(60);

/// Events of which every experiment and arm has some.
const ENOUGH: i64 = 10_000;

/// A system under load to which things are done.
struct Patient {
    system: System,
    load: Load,
}

impl Patient {
    async fn admit(setup: Setup, seed: u64) -> Patient {
        let system = System::start(setup).await.unwrap();
        let load = Load::start(&system, seed).await.unwrap();
        let patient = Patient { system, load };
        patient.heals("it is well").await;
        patient
    }

    async fn heals(&self, what: &str) {
        heals(&self.system, what).await;
    }

    /// Waits until a sum of the worker's metrics is above what it was.
    async fn shows(&self, metric: &str, before: f64) {
        shows(&self.system, metric, before).await;
    }

    async fn worker(&self, metric: &str) -> f64 {
        worker(&self.system, metric).await
    }

    /// Everything that was acknowledged is there once, as the oracle says; books, recomputation and answers agree.
    #[allow(clippy::print_stdout)] // for whoever runs the test
    async fn discharge(self) {
        let enough = async || applied(&self.system).await.is_some_and(|(applied, _)| applied > ENOUGH);
        eventually("there is something to compare", LIMIT, enough).await;
        let (simulation, outcome) = self.load.finish().await.unwrap();
        let (books, found) = run::faults(&self.system, &simulation, &outcome).await.unwrap();
        println!("{} retries; {}", outcome.answers.retries, books.total);
        assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{}", found.len());
        let wrong = run::wrong_answers(&self.system, &simulation, &outcome).await.unwrap();
        assert_eq!(wrong, Vec::<String>::new());
        self.system.stop().await.unwrap();
    }
}

/// Events applied so far, and those accepted; `None` while nobody can say.
async fn applied(system: &System) -> Option<(i64, i64)> {
    let total = system.books().await.ok()?.total;
    Some((total.received - total.in_flight, total.received))
}

/// What has been accepted by now is applied, and more comes in.
async fn heals(system: &System, what: &str) {
    let mut goal = None;
    eventually(&format!("{what}: all is applied"), LIMIT, async || {
        let Some((applied, received)) = applied(system).await else { return false };
        applied > *goal.get_or_insert(received)
    })
    .await;
}

/// Nothing is doubled, and what is counted as lost is lost.
#[allow(clippy::print_stdout)] // for whoever runs the test
fn assert_counted(account: &Account) {
    let Account { books, comparison, doubted, faults } = account;
    println!("{} lost of {}, {doubted} in doubt; {}", comparison.lost, comparison.acknowledged, books.total);
    assert_eq!(faults.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(comparison.double, 0);
}

/// Waits until a sum of the worker's metrics is above what it was.
async fn shows(system: &System, metric: &str, before: f64) {
    let risen = async || worker(system, metric).await > before;
    eventually(&format!("{metric} above {before}"), LIMIT, risen).await;
}

async fn gateway(system: &System, metric: &str) -> f64 {
    sum(system.internal[0], metric).await
}

async fn worker(system: &System, metric: &str) -> f64 {
    sum(system.internal[1], metric).await
}

async fn analyzer(system: &System, metric: &str) -> f64 {
    sum(system.internal[2], metric).await
}

/// Sum of all lines of a process's metrics that begin so.
async fn sum(internal: SocketAddr, name: &str) -> f64 {
    let answer = Client::at(internal).get("/metrics").await.unwrap();
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name)).collect();
    assert!(!lines.is_empty(), "there is no metric {name}");
    lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
