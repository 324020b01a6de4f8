//! `abctl webhooks`: whom a tenant has told of facts, over HTTP.

use crate::api::Api;
use crate::cli::duration;
use crate::client::segment;
use crate::listing::{self, Look};
use crate::output;
use crate::results::minute;
use crate::table::{clean, painted};
use anstyle::Style;
use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use service::settings::Settings;
use std::time::{Duration, Instant};
use tokio::time::sleep;

#[derive(Subcommand)]
pub enum Webhooks {
    /// List webhooks and how many deliveries wait for each.
    List,
    Create(Create),
    /// Delete a webhook, with what waits for it.
    Delete(Which),
    Deliveries(Deliveries),
    Test(Test),
}

/// Have an address told of facts; prints the secret its deliveries are signed with, once.
#[derive(Args)]
pub struct Create {
    /// http:// or https://, reachable from everywhere unless AB_WEBHOOK_ALLOW_PRIVATE of the analyzer permits it.
    url: String,
    /// Only these facts, several times for several; otherwise all.
    #[arg(long = "event", value_parser = EVENTS)]
    events: Vec<String>,
}

const EVENTS: [&str; 4] = ["decision_changed", "srm_mismatch", "guardrail_harmed", "dead_letters"];

#[derive(Args)]
pub struct Which {
    /// Id, as listed.
    id: i64,
}

/// List what became of the deliveries to a webhook, the latest first.
#[derive(Args)]
pub struct Deliveries {
    #[command(flatten)]
    which: Which,
    /// Only those.
    #[arg(long, value_parser = ["waiting", "delivered", "given_up"])]
    state: Option<String>,
}

/// Send a webhook a delivery that says nothing, behind those that wait; exit 1 if it was not delivered in time.
#[derive(Args)]
pub struct Test {
    #[command(flatten)]
    which: Which,
    /// Wait this long for the outcome.
    #[arg(long, default_value = "30s", value_parser = duration)]
    wait: Duration,
}

#[derive(Deserialize)]
struct Webhook {
    id: i64,
    url: String,
    events: Vec<String>,
    waiting: u64,
    next_at: Option<String>,
    secret: Option<String>,
}

#[derive(Deserialize)]
struct Delivery {
    number: i64,
    event: String,
    state: String,
    attempts: u32,
    status: Option<u16>,
    error: Option<String>,
    created_at: String,
    tried_at: Option<String>,
}

#[derive(Deserialize)]
struct Tested {
    number: i64,
}

const PATH: &str = "/api/v1/webhooks";
const ASK_EVERY: Duration = Duration::from_millis(200);

impl Webhooks {
    /// Whether what was asked for was done.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut api = Api::of(settings)?;
        match self {
            Webhooks::List => {
                let look = Look { heads, line, empty: "no webhooks\n" };
                listing::show(&mut api, PATH, &[], &look, json).await?;
            }
            Webhooks::Create(create) => create.run(&mut api, json).await?,
            Webhooks::Delete(Which { id }) => {
                api.delete(&format!("{PATH}/{id}")).await?;
                match json {
                    true => output::json(&json!({"deleted": id}))?,
                    false => output::text(&format!("webhook {id} is deleted\n"))?,
                }
            }
            Webhooks::Deliveries(Deliveries { which, state }) => {
                let look = Look { heads: delivery_heads, line: delivery_line, empty: "no deliveries\n" };
                let path = format!("{PATH}/{}/deliveries", which.id);
                listing::show(&mut api, &path, &[("state", state.as_deref())], &look, json).await?;
            }
            Webhooks::Test(test) => return test.run(&mut api, json).await,
        }
        Ok(true)
    }
}

impl Create {
    async fn run(&self, api: &mut Api, json: bool) -> Result<()> {
        let body = match self.events.is_empty() {
            true => json!({"url": self.url}),
            false => json!({"url": self.url, "events": self.events}),
        };
        let answer = api.post(PATH, body.to_string()).await?;
        if json {
            return Ok(output::untouched(&answer.body)?);
        }
        let Webhook { id, secret, .. } = api.read(&answer)?;
        let secret = clean(&secret.unwrap_or_default());
        let text = format!(
            "webhook {id}\nsecret  {secret}\nThe secret is not shown again; `abctl webhooks test {id}` tries it out.\n"
        );
        Ok(output::text(&text)?)
    }
}

impl Test {
    async fn run(&self, api: &mut Api, json: bool) -> Result<bool> {
        let path = format!("{PATH}/{}", self.which.id);
        let deadline = Instant::now() + self.wait;
        let answer = api.post(&format!("{path}/test"), "").await?;
        let Tested { number } = api.read(&answer)?;
        let after = segment(&(number + 1).to_string());
        loop {
            let answer = api.get(&format!("{path}/deliveries?limit=1&cursor={after}")).await?;
            let page: listing::Page = api.read(&answer)?;
            let Some(item) = page.items.first() else { anyhow::bail!("the webhook is gone") };
            let delivery: Delivery = api.parse(item.get().as_bytes())?;
            let delivered = delivery.state == "delivered";
            if delivered || delivery.state == "given_up" || Instant::now() >= deadline {
                match json {
                    true => output::untouched(item.get().as_bytes())?,
                    false => output::text(&format!("{}{}", delivery_heads(), delivery_line(&delivery)))?,
                }
                return Ok(delivered);
            }
            sleep(ASK_EVERY).await;
        }
    }
}

/// Fixed widths, because a page is shown before the next one is known; what is of any length comes last.
fn heads() -> String {
    let line = format!("{:>6}  {:>7}  {:<20}  url, events", "id", "waiting", "next attempt");
    format!("{}\n", painted(&line, Style::new().dimmed()))
}

fn line(webhook: &Webhook) -> String {
    let Webhook { id, url, events, waiting, next_at, .. } = webhook;
    let next = next_at.as_deref().map_or_else(|| "-".into(), minute);
    format!("{id:>6}  {waiting:>7}  {next:<20}  {}  {}\n", clean(url), clean(&events.join(" ")))
}

fn delivery_heads() -> String {
    let line = format!(
        "{:>8}  {:<20}  {:<20}  {:<9}  {:>8}  {:<20}  outcome",
        "number", "since", "tried", "state", "attempts", "event"
    );
    format!("{}\n", painted(&line, Style::new().dimmed()))
}

fn delivery_line(delivery: &Delivery) -> String {
    let Delivery { number, event, state, attempts, status, error, created_at, tried_at } = delivery;
    let tried = tried_at.as_deref().map_or_else(|| "-".into(), minute);
    let outcome = match (status, error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => clean(error),
        (None, None) => "-".into(),
    };
    let (since, state, event) = (minute(created_at), clean(state), clean(event));
    format!("{number:>8}  {since:<20}  {tried:<20}  {state:<9}  {attempts:>8}  {event:<20}  {outcome}\n")
}
