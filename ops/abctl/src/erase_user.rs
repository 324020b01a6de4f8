//! `abctl erase-user`: a user is forgotten, over HTTP.

use crate::api::Api;
use crate::cli::duration;
use crate::output;
use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde::Deserialize;
use service::settings::Settings;
use std::time::{Duration, Instant};

/// Forget a user for good: no event and no name is kept, nothing is left in any sum, later events are discarded; exit 1 if it takes too long.
#[derive(Args)]
pub struct EraseUser {
    /// As the events name the user.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    user_id: String,
    /// Wait this long until it is done.
    #[arg(long, default_value = "60s", value_parser = duration)]
    wait: Duration,
}

const PATH: &str = "/api/v1/admin/users/erase";

#[derive(Deserialize)]
struct Erasure {
    status: String,
}

impl EraseUser {
    /// Whether it is done.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut api = Api::of(settings)?;
        let deadline = Instant::now() + self.wait;
        let body = serde_json::json!({ "user_id": self.user_id }).to_string();
        loop {
            // Each answer takes its time: the service waits for the owner of the user's partition.
            let answer = api.post(PATH, body.clone()).await?;
            let Erasure { status } = api.read(&answer)?;
            let done = status == "erased";
            if done || Instant::now() >= deadline {
                match json {
                    true => output::untouched(&answer.body)?,
                    false => output::lines(&[format!("erase-user: {status}")])?,
                }
                return Ok(done);
            }
        }
    }
}
