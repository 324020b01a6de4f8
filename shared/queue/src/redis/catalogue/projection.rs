//! Writing the hash.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::ExperimentId;
use redis::{RedisError, RedisResult, Value};
use uuid::Uuid;

use super::{COMPLETE, EVERYTHING, VERSION, id_field, key_field, uses_prefix};
use crate::QueueError;
use crate::catalogue::{Entry, Projection, Reconciled, Ticket};
use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::{failed, unexpected_reply};
use crate::redis::server::Server;

const RESPONSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const CHANGE: &str = include_str!("change.lua");
const RECONCILE: &str = include_str!("reconcile.lua");
/// Most names in one message; beyond, gateways are told to forget everything.
const NAMES_MAX: usize = 1_000;

pub(crate) struct RedisProjection {
    link: Link,
    partitions: u16,
}

impl RedisProjection {
    pub(crate) fn new(server: &Server, partitions: u16) -> RedisProjection {
        RedisProjection { link: Link::new(server, RESPONSE_TIMEOUT), partitions }
    }

    async fn change(
        &self,
        tenant: &str,
        id: ExperimentId,
        key: &str,
        json: &str,
        revision: u64,
        metrics: &[String],
    ) -> Result<(), QueueError> {
        let (version, number, revision) = (new_version(), id.to_string(), revision.to_string());
        let (id, key, prefix) = (id_field(tenant, id), key_field(tenant, key), uses_prefix(tenant));
        let mut arguments: Vec<&[u8]> = vec![version.as_bytes(), number.as_bytes(), id.as_bytes()];
        arguments.extend([key.as_bytes(), json.as_bytes(), revision.as_bytes(), prefix.as_bytes()]);
        arguments.extend(metrics.iter().map(String::as_bytes));
        self.script(CHANGE, &arguments).await.map(|_| ()).map_err(|e| failed("write the catalogue", e))
    }

    async fn field(&self, name: &str) -> RedisResult<Option<String>> {
        let fields = commands::catalogue_fields(&[name]);
        let reply = self.link.run_one(commands::catalogue_slot(), &fields).await?;
        let [field] = redis::from_redis_value::<[Option<String>; 1]>(reply)?;
        Ok(field)
    }

    /// Whether the script did it.
    async fn script(&self, script: &str, arguments: &[&[u8]]) -> Result<bool, RedisError> {
        match self
            .link
            .run_one(commands::catalogue_slot(), &commands::catalogue_script(script, arguments))
            .await?
        {
            Value::Int(done) => Ok(done == 1),
            _ => Err(unexpected_reply()),
        }
    }
}

#[async_trait]
impl Projection for RedisProjection {
    async fn put(&self, entry: &Entry) -> Result<(), QueueError> {
        let json = json(entry)?;
        self.change(&entry.tenant, entry.id, &entry.key, &json, entry.revision, &entry.metrics).await
    }

    async fn remove(&self, tenant: &str, id: ExperimentId, key: &str) -> Result<(), QueueError> {
        self.change(tenant, id, key, "", 0, &[]).await
    }

    async fn is_complete(&self) -> Result<bool, QueueError> {
        let complete = self.field(COMPLETE).await;
        Ok(complete.map_err(|e| failed("look for the catalogue", e))?.is_some())
    }

    async fn begin(&self) -> Result<Ticket, QueueError> {
        let version = self.field(VERSION).await;
        Ok(Ticket(version.map_err(|e| failed("read the catalogue's version", e))?.unwrap_or_default()))
    }

    async fn reconcile(&self, ticket: Ticket, all: Vec<Entry>) -> Result<Reconciled, QueueError> {
        let wanted = fields_of(&all, self.partitions)?;
        let reply = self.link.run_one(commands::catalogue_slot(), &commands::catalogue_all()).await;
        let stored: RedisResult<BTreeMap<String, String>> =
            reply.and_then(|reply| Ok(redis::from_redis_value(reply)?));
        let mut stored = stored.map_err(|e| failed("read the catalogue", e))?;
        if stored.remove(VERSION).unwrap_or_default() != ticket.0 {
            return Ok(Reconciled::Superseded);
        }
        let gone: Vec<&String> = stored.keys().filter(|field| !wanted.contains_key(*field)).collect();
        let differing: Vec<(&String, &String)> =
            wanted.iter().filter(|(field, value)| stored.get(*field) != Some(value)).collect();
        let changed = gone.len() + differing.len();
        if changed == 0 {
            return Ok(Reconciled::Done { changed });
        }
        let names: Vec<&str> = gone
            .iter()
            .copied()
            .chain(differing.iter().map(|(field, _)| *field))
            .map(String::as_str)
            .collect();
        // "Incomplete" is an answer about every field.
        let everything = names.len() > NAMES_MAX || names.contains(&COMPLETE);
        let message = if everything { EVERYTHING.to_owned() } else { names.join("\n") };
        let (version, deletes) = (new_version(), gone.len().to_string());
        let mut arguments =
            vec![version.as_bytes(), ticket.0.as_bytes(), message.as_bytes(), deletes.as_bytes()];
        arguments.extend(gone.iter().map(|field| field.as_bytes()));
        arguments.extend(differing.iter().flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]));
        let done = self.script(RECONCILE, &arguments).await;
        if done.map_err(|e| failed("reconcile the catalogue", e))? {
            Ok(Reconciled::Done { changed })
        } else {
            Ok(Reconciled::Superseded)
        }
    }
}

/// Every field but the version.
fn fields_of(all: &[Entry], partitions: u16) -> Result<BTreeMap<String, String>, QueueError> {
    let mut fields = BTreeMap::from([(COMPLETE.to_owned(), partitions.to_string())]);
    let mut uses: BTreeMap<String, BTreeSet<ExperimentId>> = BTreeMap::new();
    for entry in all {
        let json = json(entry)?;
        fields.insert(id_field(&entry.tenant, entry.id), json.clone());
        fields.insert(key_field(&entry.tenant, &entry.key), json);
        for metric in &entry.metrics {
            uses.entry(uses_prefix(&entry.tenant) + metric).or_default().insert(entry.id);
        }
    }
    for (field, ids) in uses {
        let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        fields.insert(field, ids.join(","));
    }
    Ok(fields)
}

fn json(entry: &Entry) -> Result<String, QueueError> {
    serde_json::to_string(entry)
        .map_err(|e| failed("encode a catalogue entry", std::io::Error::from(e).into()))
}

fn new_version() -> String {
    Uuid::new_v4().to_string()
}
