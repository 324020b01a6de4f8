//! `abctl keys`: keys of the tenant issued, listed and revoked, over HTTP.

mod list;

use crate::api::Api;
use crate::output;
use crate::table::clean;
use anyhow::Result;
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde::Deserialize;
use service::settings::Settings;

#[derive(Subcommand)]
pub enum Keys {
    /// List the keys issued, revoked ones too, the latest first.
    List,
    /// Issue a key of the tenant; it is shown this once.
    ///
    /// The key counts at every gateway as soon as it is shown. Standard output is the key alone, so that it can be
    /// kept without being seen: abctl keys create page --scope events > page.key
    Create {
        /// What the key is for, as lists and the audit log show it.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// What it may do: events (send events from browsers and apps), ingest (send everything), read, admin; at least one.
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
    },
    /// Revoke keys: every gateway refuses them from then on.
    Revoke {
        /// Ids, as listed.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
}

const PATH: &str = "/api/v1/keys";

/// A key as it is listed.
#[derive(Deserialize)]
struct Key {
    id: i64,
    name: String,
    scopes: Vec<String>,
    last_digits: String,
    created_at: String,
    revoked_at: Option<String>,
}

#[derive(Deserialize)]
struct Issued {
    id: i64,
    name: String,
    scopes: Vec<String>,
    key: String,
}

impl Keys {
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        let mut api = Api::of(settings)?;
        match self {
            Keys::List => list::show(&mut api, json).await,
            Keys::Create { name, scopes } => {
                let body = serde_json::json!({ "name": name, "scopes": scopes }).to_string();
                let answer = api.post(PATH, body).await?;
                if json {
                    return Ok(output::untouched(&answer.body)?);
                }
                let Issued { id, name, scopes, key } = api.read(&answer)?;
                let (name, scopes) = (clean(&name), scopes.join(","));
                output::notice(&format!("key {id} ({name}) may {scopes}; it is not shown again:"));
                Ok(output::lines(&[key])?)
            }
            Keys::Revoke { ids } => {
                for id in ids {
                    api.delete(&format!("{PATH}/{id}")).await?;
                    match json {
                        true => output::json(&serde_json::json!({ "id": id, "status": "revoked" }))?,
                        false => output::lines(&[format!("key {id}: revoked")])?,
                    }
                }
                Ok(())
            }
        }
    }
}
