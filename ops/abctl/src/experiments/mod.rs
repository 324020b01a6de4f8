//! `abctl experiments`: create, list, show, start, stop and archive experiments of any deployment over HTTP.

pub mod create;
mod list;
mod show;

use crate::api::{Api, ApiError};
use crate::client::{Answer, segment};
use crate::output;
use crate::results::life;
use crate::results::model::Experiment;
use crate::table::clean;
use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use create::Create;
use list::List;
use service::settings::Settings;

#[derive(Subcommand)]
pub enum Experiments {
    Create(Create),
    List(List),
    /// Show an experiment's definition and state.
    Show(Reference),
    /// Open an experiment for exposures; one that was stopped goes on.
    Start(Reference),
    /// Enroll nobody any more. Conversions of those enrolled still count, until their window ends.
    Stop(Reference),
    /// Refuse all further events; the answers stay.
    Archive(Reference),
}

#[derive(Args)]
pub struct Reference {
    /// Key or id.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    experiment: String,
}

impl Experiments {
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        let mut api = Api::of(settings)?;
        match self {
            Experiments::Create(create) => create.run(&mut api, json).await,
            Experiments::List(list) => list.run(&mut api, json).await,
            Experiments::Show(Reference { experiment }) => {
                let answer = api.get(&path(experiment)).await?;
                if json {
                    return Ok(output::untouched(&answer.body)?);
                }
                Ok(output::text(&show::page(&api.read(&answer)?))?)
            }
            Experiments::Start(which) => which.action(&mut api, "start", json).await,
            Experiments::Stop(which) => which.action(&mut api, "stop", json).await,
            Experiments::Archive(which) => which.action(&mut api, "archive", json).await,
        }
    }
}

impl Reference {
    async fn action(&self, api: &mut Api, action: &str, json: bool) -> Result<()> {
        let answer = act(api, &self.experiment, action).await?;
        if json {
            return Ok(output::untouched(&answer.body)?);
        }
        let experiment: Experiment = api.read(&answer)?;
        Ok(output::text(&format!("{}  {}\n", clean(&experiment.key), life(&experiment)))?)
    }
}

async fn act(api: &mut Api, reference: &str, action: &str) -> Result<Answer, ApiError> {
    api.post(&format!("{}/{action}", path(reference)), "").await
}

fn path(reference: &str) -> String {
    format!("/api/v1/experiments/{}", segment(reference))
}
