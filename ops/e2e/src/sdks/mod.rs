//! Real SDKs, unmodified, against a running system: each sends a known set of events while the gateway is killed and
//! started again, and what comes out is held against the plan, the books, and the same data sent through `/events`.

mod client;
mod plan;

pub use client::{ALL, Lab};

use crate::deployment::Deployment;
use crate::system::READY;
use crate::{API_TOKEN, Setup, System, run};
use anyhow::{Context, Result, ensure};
use client::{Said, said};
use plan::{Plan, Truth};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::Process;

/// Key of tenant `default` with `events` only: what a browser, and GrowthBook's address, may hold.
const EVENTS_KEY: &str = "sdks-events-key";
/// Between two groups of 50 events, so that kills fall among them.
const PAUSE: Duration = Duration::from_millis(15);
/// How long there is no gateway; rudder-sdk-node gives up after 1.4 s by default.
const DOWN: Duration = Duration::from_millis(300);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Events of a request through `/events`.
const BATCH: usize = 500;
/// Users of a run in which nothing is killed, for clients that never send twice.
const CALM_USERS: u64 = 1_000;

/// The system all clients send to, one after the other.
pub async fn system() -> Result<System> {
    let keys = format!("{EVENTS_KEY}:default:events");
    System::start(Setup { environment: vec![("AB_API_KEYS", keys)], ..Setup::default() }).await
}

/// Lets a client send `2 * users` events, and says in one line how it went.
pub async fn run_client(system: &mut System, lab: &Lab, client: &str, users: u64) -> Result<String> {
    let plan = Plan::of(client, users);
    system.experiment(plan.definition()).await?;
    let before = run::settled(system).await?.total;
    let mut process = lab.start(client, &plan, key_of(client), system.gateway_addr, PAUSE)?;
    kill_among(system, &mut process, &plan).await?;
    let Said { sent, ignored, acknowledged } = said(&mut process).await?;

    let books = run::settled(system).await?;
    ensure!(books.are_good() && books.total.in_flight == 0, "the books do not close: {}", books.total);
    let fates = books.total;
    ensure!(fates.dead_lettered + fates.discarded + fates.lost == 0, "not all has taken effect: {fates}");
    let (recorded, resent) = (fates.recorded - before.recorded, fates.deduplicated - before.deduplicated);
    let results = live_stats(system, &plan).await?;
    let line = match acknowledged {
        None => {
            ensure!(u64::try_from(recorded) == Ok(sent), "{recorded} recorded of {sent} sent");
            same_as_by_events(system, &plan, &results).await?;
            format!("sent={sent} recorded={recorded} resent={resent} keyless=0")
        }
        Some(acknowledged) => {
            let conversions = keyless(&plan, &results, acknowledged)?;
            calmly(system, lab, client).await?;
            format!(
                "sent={sent} recorded={recorded} resent={resent} keyless={conversions} (of {users}, {acknowledged} acknowledged)"
            )
        }
    };
    Ok(format!("{line} ignored={ignored} kills=2 accounting=closed results=equal"))
}

fn key_of(client: &str) -> &'static str {
    // GrowthBook's is in the address, where no other key is taken.
    if client.starts_with("growthbook") { EVENTS_KEY } else { API_TOKEN }
}

/// Kills the gateway among the exposures and among the conversions.
async fn kill_among(system: &mut System, process: &mut Process, plan: &Plan) -> Result<()> {
    let third = i64::try_from(plan.users / 3)?;
    for reached in [reached_exposures as fn(&[Truth; 2]) -> i64, reached_conversions] {
        loop {
            let ended = process.try_wait()?;
            let done = reached(&arms(&live_stats(system, plan).await?)?);
            ensure!(
                ended.is_none(),
                "it ended ({ended:?}) before the gateway could be killed: {}",
                process.stderr()
            );
            if done >= third {
                break;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        system.gateway.kill()?;
        tokio::time::sleep(DOWN).await;
        system.gateway.respawn()?;
        system.gateway.wait_ready(system.gateway_addr, "/readyz", READY).await?;
    }
    Ok(())
}

fn reached_exposures(arms: &[Truth; 2]) -> i64 {
    arms.iter().map(|arm| arm.users).sum()
}

fn reached_conversions(arms: &[Truth; 2]) -> i64 {
    arms.iter().map(|arm| arm.conversions).sum()
}

async fn live_stats(system: &System, plan: &Plan) -> Result<Value> {
    let answer = system.admin().get(&format!("/api/v1/experiments/{}/live-stats", plan.experiment)).await?;
    ensure!(answer.status == 200, "live-stats: {} {}", answer.status, answer.text());
    answer.json()
}

/// The sums of both arms, by the revenue metric.
fn arms(results: &Value) -> Result<[Truth; 2]> {
    let arm = |index: usize| -> Result<Truth> {
        let arm = &results["metrics"][1]["arms"][index];
        let number = |name: &str| arm[name].as_i64().with_context(|| format!("{name} in {arm}"));
        let sum = arm["sum"].as_str().context("a sum")?;
        let (whole, cents) = sum.split_once('.').unwrap_or((sum, ""));
        Ok(Truth {
            users: number("users")?,
            converters: number("converters")?,
            conversions: number("conversions")?,
            cents: format!("{whole}{cents:0<2}").parse().with_context(|| format!("cents of {sum}"))?,
        })
    };
    Ok([arm(0)?, arm(1)?])
}

/// The plan's own sums, and every number of the answer as when the same data goes through `/events`.
async fn same_as_by_events(system: &System, plan: &Plan, results: &Value) -> Result<()> {
    let (found, expected) = (arms(results)?, plan.truth());
    ensure!(found == expected, "results differ: {found:?}, expected {expected:?}");
    let twin = plan.twin();
    system.experiment(twin.definition()).await?;
    for items in twin.items() {
        for items in items.chunks(BATCH) {
            let answer = system.ingest().post_json("/api/v1/events", &json!({"events": items})).await?;
            ensure!(answer.status == 202, "/events: {} {}", answer.status, answer.text());
        }
    }
    run::settled(system).await?;
    let by_events = live_stats(system, &twin).await?;
    for part in ["metrics", "arms", "srm"] {
        let (sdk, own) = (&results[part], &by_events[part]);
        ensure!(sdk == own, "{part} differ from the same data through /events: {sdk} and {own}");
    }
    Ok(())
}

/// Conversions without ids are sent once: those under way when the gateway died may be missing, no other.
fn keyless(plan: &Plan, results: &Value, acknowledged: u64) -> Result<i64> {
    let (found, expected) = (arms(results)?, plan.truth());
    let users = |arms: &[Truth; 2]| arms.each_ref().map(|arm| arm.users);
    ensure!(users(&found) == users(&expected), "users differ: {found:?}, expected {expected:?}");
    let recorded = reached_conversions(&found);
    let within = i64::try_from(acknowledged)? <= recorded && recorded <= reached_conversions(&expected);
    ensure!(within, "{recorded} conversions recorded, {acknowledged} acknowledged");
    Ok(recorded)
}

/// The same client with nothing killed: then nothing may be missing.
async fn calmly(system: &System, lab: &Lab, client: &str) -> Result<()> {
    let plan = Plan::of(&format!("{client}-calm"), CALM_USERS);
    system.experiment(plan.definition()).await?;
    let mut process = lab.start(client, &plan, key_of(client), system.gateway_addr, Duration::ZERO)?;
    let said = said(&mut process).await?;
    ensure!(said.acknowledged == Some(CALM_USERS), "not all was acknowledged: {said:?}");
    run::settled(system).await?;
    same_as_by_events(system, &plan, &live_stats(system, &plan).await?).await
}
