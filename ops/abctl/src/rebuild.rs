//! `abctl rebuild`: all sums of an experiment counted anew from its raw rows, over HTTP.

use crate::api::Api;
use crate::cli::duration;
use crate::client::{Answer, segment};
use crate::output;
use crate::table::clean;
use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde::Deserialize;
use service::settings::Settings;
use std::time::{Duration, Instant};

/// Count all sums of an experiment anew from the raw rows, in the background; exit 1 if they are not served in time.
///
/// The old sums are served until the new ones are there. Where nothing was damaged, no answer changes.
#[derive(Args)]
pub struct Rebuild {
    /// Key or id.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    experiment: String,
    /// Wait this long until the new sums are served.
    #[arg(long, default_value = "0s", value_parser = duration)]
    wait: Duration,
}

/// Between two looks while waiting.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// What the analyzer says of an experiment's sums.
#[derive(Debug, Deserialize)]
struct Sums {
    key: String,
    plan_version: u32,
    rebuilding: Option<Rebuilding>,
}

#[derive(Debug, Deserialize)]
struct Rebuilding {
    version: u32,
    done_partitions: u16,
    partitions: u16,
}

impl Rebuild {
    /// Whether the new sums are served, or nobody waits for that.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut api = Api::of(settings)?;
        let path = format!("/api/v1/experiments/{}", segment(&self.experiment));
        let mut answer = api.post(&format!("{path}/rebuild"), "").await?;
        let deadline = Instant::now() + self.wait;
        let mut sums: Sums = api.read(&answer)?;
        while sums.rebuilding.is_some() && Instant::now() < deadline {
            tokio::time::sleep(POLL_EVERY).await;
            answer = api.get(&path).await?;
            sums = api.read(&answer)?;
        }
        show(&answer, &sums, json)?;
        Ok(sums.rebuilding.is_none() || self.wait.is_zero())
    }
}

fn show(answer: &Answer, sums: &Sums, json: bool) -> Result<()> {
    if json {
        return Ok(output::untouched(&answer.body)?);
    }
    let key = clean(&sums.key);
    let line = match &sums.rebuilding {
        Some(Rebuilding { version, done_partitions, partitions }) => format!(
            "{key}: plan version {version} is being built, {done_partitions} of {partitions} partitions are done"
        ),
        None => format!("{key}: plan version {} is served", sums.plan_version),
    };
    Ok(output::lines(&[line])?)
}
