//! `abctl dead-letters`: what was accepted and could not be applied, looked at, sent again, dropped, over HTTP.

mod change;
mod list;
mod model;
mod show;

use crate::api::Api;
use crate::output;
use anyhow::Result;
use change::Change;
use clap::{Args, Subcommand};
use list::List;
use service::settings::Settings;

#[derive(Subcommand)]
pub enum DeadLetters {
    List(List),
    /// Show a dead letter and the events in it.
    Show {
        /// Id, as listed.
        id: i64,
    },
    /// Send the events of dead letters again, with their original ids: what was applied meanwhile counts no second time.
    ///
    /// A letter is deleted once the queue has its events. An event that still cannot be applied becomes a letter again.
    Redrive(Change),
    /// Delete dead letters: their events are given up for good.
    Drop(Change),
}

/// Which letters.
#[derive(Args)]
struct Filter {
    /// Only events of this experiment, by key or id; 0: of those that named none.
    #[arg(long)]
    experiment: Option<String>,
    /// Only this reason, as listed.
    #[arg(long)]
    reason: Option<String>,
    /// Those whose tenant is not known, because nobody could read them; for operators.
    #[arg(long)]
    unknown_tenant: bool,
}

const PATH: &str = "/api/v1/dead-letters";

impl DeadLetters {
    /// Whether everything asked for was done.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut api = Api::of(settings)?;
        match self {
            DeadLetters::List(list) => list.run(&mut api, json).await.map(|()| true),
            DeadLetters::Show { id } => {
                let answer = api.get(&format!("{PATH}/{id}")).await?;
                if json {
                    output::untouched(&answer.body)?;
                } else {
                    output::text(&show::page(&api.read(&answer)?))?;
                }
                Ok(true)
            }
            DeadLetters::Redrive(change) => change.run(&mut api, "redrive", "redriven", json).await,
            DeadLetters::Drop(change) => change.run(&mut api, "drop", "dropped", json).await,
        }
    }
}

impl Filter {
    fn parameters(&self) -> [(&str, Option<&str>); 3] {
        [
            ("experiment", self.experiment.as_deref()),
            ("reason", self.reason.as_deref()),
            ("unknown_tenant", self.unknown_tenant.then_some("true")),
        ]
    }
}
