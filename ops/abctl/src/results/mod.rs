//! `abctl results`: the answer of an experiment, as a page or as the service's own JSON.

mod metric;
pub mod model;
mod number;
mod page;

pub use page::{TrueLift, life, minute, page};

use crate::api::{Api, ApiError};
use crate::client::segment;
use crate::output;
use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use domain::Day;
use model::{Experiment, LiveStats};
use service::settings::Settings;

#[derive(Args)]
pub struct Results {
    /// Key or id.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    experiment: String,
    /// What was known at the end of this UTC day, YYYY-MM-DD.
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<Day>,
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "a date such as 2026-11-20".into())
}

impl Results {
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        let mut api = Api::of(settings)?;
        if json {
            let path = path(&self.experiment, self.as_of);
            return Ok(output::untouched(&api.get(&path).await?.body)?);
        }
        let (experiment, stats) = read(&mut api, &self.experiment, self.as_of).await?;
        Ok(output::text(&page(&experiment, &stats, &[]))?)
    }
}

/// The experiment and what it is known to have done.
pub async fn read(
    api: &mut Api,
    reference: &str,
    as_of: Option<Day>,
) -> Result<(Experiment, LiveStats), ApiError> {
    let experiment = api.get(&format!("/api/v1/experiments/{}", segment(reference))).await?;
    let stats = api.get(&path(reference, as_of)).await?;
    Ok((api.read(&experiment)?, api.read(&stats)?))
}

fn path(reference: &str, as_of: Option<Day>) -> String {
    let query = as_of.map(|day| format!("?as_of={day}")).unwrap_or_default();
    format!("/api/v1/experiments/{}/live-stats{query}", segment(reference))
}
