//! A steady load that knows of every single event whether it was acknowledged: for faults that take events away, to hold
//! what is counted as lost against what is.
//!
//! No two events are of the same kind and user, so that each that is lost shows.

use crate::chaos::judge::{experiment_id, stored};
use crate::chaos::ledger::{Comparison, Content, Ledger, Open, Place, What};
use crate::deployment::Deployment;
use crate::{API_TOKEN, run};
use abctl::client::{Answer, Client};
use abctl::verify::verify;
use anyhow::{Result, bail};
use domain::{Decimal, ExperimentId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::Books;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const TENANT: &str = "default";
const KEY: &str = "diary";
const WRITERS: u16 = 4;
/// Of one request; each brings an exposure and a conversion.
const USERS: u16 = 8;
/// Most events that are written and not acknowledged yet, or acknowledged and not counted yet.
pub const UNDER_WAY: u16 = WRITERS * USERS * 2;
/// Between two requests of a writer.
const EVERY: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

pub struct Diary {
    writers: JoinSet<Result<Ledger>>,
    stop: Arc<AtomicBool>,
    /// Events acknowledged so far.
    acknowledged: Arc<AtomicU64>,
    /// Events of attempts that were not answered 202: they may lie in the queue, besides those acknowledged later.
    doubted: Arc<AtomicU64>,
}

/// What came of it.
pub struct Account {
    pub books: Books,
    pub comparison: Comparison,
    pub doubted: u64,
    /// What is wrong; that something is lost is not.
    pub faults: Vec<String>,
}

impl Diary {
    /// Creates the experiment and begins to send.
    pub async fn start(system: &dyn Deployment) -> Result<Diary> {
        let arms = json!([{"key": "control"}, {"key": "treatment"}]);
        let metrics = json!([{"key": "purchase", "type": "mean"}]);
        system.experiment(json!({"key": KEY, "variations": arms, "metrics": metrics})).await?;
        let experiment = experiment_id(system.store(), TENANT, KEY).await?;
        let (stop, acknowledged, doubted) = Default::default();
        let mut diary = Diary { writers: JoinSet::new(), stop, acknowledged, doubted };
        for number in 0..WRITERS {
            let client = Client::new(&system.gateway_url(), Some(API_TOKEN))?;
            let (stop, acknowledged) = (diary.stop.clone(), diary.acknowledged.clone());
            let doubted = diary.doubted.clone();
            let writer = Writer { number, client, experiment, stop, acknowledged, doubted };
            diary.writers.spawn(writer.run());
        }
        Ok(diary)
    }

    /// Waits until so many events more are acknowledged.
    pub async fn fill(&self, events: u64) -> Result<()> {
        let goal = self.acknowledged.load(Ordering::Relaxed) + events;
        let filled = async || self.acknowledged.load(Ordering::Relaxed) >= goal;
        testkit::eventually("more events are acknowledged", PATIENCE, filled).await
    }

    /// Events acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops sending; everything begun is acknowledged.
    pub async fn close(&mut self) -> Result<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::default();
        while let Some(written) = self.writers.join_next().await {
            ledger.merge(written??);
        }
        Ok(ledger)
    }

    /// Once nothing is in flight: what is stored, against what was acknowledged and what the books say.
    pub async fn account(mut self, system: &dyn Deployment) -> Result<Account> {
        let ledger = self.close().await?;
        let books = run::settled(system).await?;
        let mut comparison = ledger.compare(&stored(system.store(), system.partitions()).await?);
        let mut faults = std::mem::take(&mut comparison.differences);
        let report = verify(system.store(), system.partitions(), TENANT, KEY).await?;
        faults.extend(report.differences.iter().map(|d| format!("verify: {d:?}")));
        if !books.partitions.iter().all(|(_, book)| book.closes()) || books.total.in_flight != 0 {
            faults.push(format!("the books do not close: {}", books.total));
        }
        if u64::try_from(books.total.recorded) != Ok(comparison.applied) {
            faults.push(format!("{} stored: {}", comparison.applied, books.total));
        }
        let (doubted, counted) = (self.doubted.load(Ordering::Relaxed), u64::try_from(books.total.lost)?);
        // An attempt in doubt may be lost while the next one of the same request is not.
        if counted < comparison.lost || counted > comparison.lost + doubted {
            let lost = comparison.lost;
            faults.push(format!("{lost} are lost ({doubted} in doubt): {}", books.total));
        }
        Ok(Account { books, comparison, doubted, faults })
    }
}

struct Writer {
    number: u16,
    client: Client,
    experiment: ExperimentId,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    doubted: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self) -> Result<Ledger> {
        let (mut ledger, begun) = (Ledger::default(), Instant::now());
        for request in 0u32.. {
            sleep_until(begun + EVERY * request).await;
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let (claims, events) = self.write(&mut ledger, request.into());
            self.send(request, &json!({"events": events}).to_string(), claims.len() as u64).await?;
            claims.iter().for_each(|claim| ledger.acknowledge(claim));
        }
        Ok(ledger)
    }

    fn write(&self, ledger: &mut Ledger, request: u64) -> (Vec<Open>, Vec<Value>) {
        let (mut claims, mut events) = (Vec::new(), Vec::new());
        for n in 0..USERS {
            let user = format!("u-{}-{request}-{n}", self.number);
            let mut claim = |key: Option<&str>, what| {
                let (tenant, key) = (TENANT.to_owned(), key.map(str::to_owned));
                let place = Place { tenant, user: user.clone(), experiment: self.experiment, key };
                claims.push(ledger.claim(place, Content { what, at: None }));
            };
            claim(None, What::Variation(i16::from(n % 2 == 1)));
            events.push(
                json!({"type": "exposure", "user_id": user, "experiment": KEY, "variation_index": n % 2}),
            );
            let value = Decimal(3_000_000);
            claim(Some("bought"), What::Conversion { metric: "purchase".into(), value });
            events
                .push(json!({"type": "conversion", "user_id": user, "experiment": KEY, "metric": "purchase",
                "value": 3, "idempotency_key": "bought"}));
        }
        (claims, events)
    }

    /// Until it is acknowledged.
    async fn send(&mut self, request: u32, body: &str, events: u64) -> Result<()> {
        let key = format!("diary-{}-{request}", self.number);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer =
                self.client.post("/api/v1/events", &[("idempotency-key", &key)], body.to_owned()).await;
            let (last, doubted) = match answer {
                Ok(answer) if answer.status == 202 => break,
                // Before anything is written.
                Ok(answer) if refused(&answer, "catalogue_unavailable") => (answer.text(), 0),
                Ok(answer) if answer.status == 503 => (answer.text(), events),
                Ok(answer) => bail!("refused: {} {}", answer.status, answer.text()),
                Err(error) => (error.to_string(), events),
            };
            self.doubted.fetch_add(doubted, Ordering::Relaxed);
            if Instant::now() >= deadline {
                bail!("not acknowledged within {PATIENCE:?}: {last}");
            }
            sleep(PAUSE).await;
        }
        self.acknowledged.fetch_add(events, Ordering::Relaxed);
        Ok(())
    }
}

fn refused(answer: &Answer, code: &str) -> bool {
    answer.json::<Value>().is_ok_and(|body| body["error_code"] == code)
}
