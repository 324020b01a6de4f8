//! The analyzer's side: writing the projection.

use std::collections::{BTreeMap, BTreeSet};

use domain::ExperimentId;
use redis::{RedisError, RedisResult, Value};
use uuid::Uuid;

use super::{COMPLETE, EVERYTHING, Entry, VERSION, id_field, key_field, uses_prefix};
use crate::QueueError;
use crate::commands;
use crate::connection::Link;
use crate::error::unexpected_reply;

const RESPONSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const CHANGE: &str = include_str!("change.lua");
const RECONCILE: &str = include_str!("reconcile.lua");
/// Most names in one message; beyond, gateways are told to forget everything.
const NAMES_MAX: usize = 1_000;

/// Writes the catalogue; clones share a connection.
#[derive(Clone)]
pub struct Projection {
    link: Link,
}

/// The state of the catalogue before the database was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// The catalogue is as the database was; so many fields were not.
    Done { changed: usize },
    /// Somebody wrote since [`Projection::begin`], and nothing was done: begin again.
    Superseded,
}

impl Projection {
    pub fn new(url: &str) -> Result<Projection, QueueError> {
        Ok(Projection { link: Link::new(url, RESPONSE_TIMEOUT)? })
    }

    /// Writes one experiment after its change was committed, and tells the gateways. Nothing happens if a newer
    /// revision is there already.
    pub async fn put(&self, entry: &Entry) -> Result<(), QueueError> {
        let json = json(entry)?;
        self.change(&entry.tenant, entry.id, &entry.key, &json, entry.revision, &entry.metrics).await
    }

    /// Removes one experiment after its deletion was committed, and tells the gateways. A [`Projection::put`] of an
    /// earlier change that arrives later brings it back until the next reconciliation; owners discard what gateways
    /// accept meanwhile.
    pub async fn remove(&self, tenant: &str, id: ExperimentId, key: &str) -> Result<(), QueueError> {
        self.change(tenant, id, key, "", 0, &[]).await
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
        self.script(CHANGE, &arguments)
            .await
            .map(|_| ())
            .map_err(|e| QueueError::new("write the catalogue", e))
    }

    /// Must come before the database is read for [`Projection::reconcile`].
    pub async fn begin(&self) -> Result<Ticket, QueueError> {
        let reply = self.link.run_one(&commands::catalogue_fields(&[VERSION])).await;
        let version: RedisResult<[Option<String>; 1]> =
            reply.and_then(|reply| Ok(redis::from_redis_value(reply)?));
        let [version] = version.map_err(|e| QueueError::new("read the catalogue's version", e))?;
        Ok(Ticket(version.unwrap_or_default()))
    }

    /// Makes the catalogue hold `all` experiments and nothing else, and marks it complete for so many partitions.
    pub async fn reconcile(
        &self,
        ticket: Ticket,
        all: Vec<Entry>,
        partitions: u16,
    ) -> Result<Reconciled, QueueError> {
        let wanted = fields_of(&all, partitions)?;
        let reply = self.link.run_one(&commands::catalogue_all()).await;
        let stored: RedisResult<BTreeMap<String, String>> =
            reply.and_then(|reply| Ok(redis::from_redis_value(reply)?));
        let mut stored = stored.map_err(|e| QueueError::new("read the catalogue", e))?;
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
        if done.map_err(|e| QueueError::new("reconcile the catalogue", e))? {
            Ok(Reconciled::Done { changed })
        } else {
            Ok(Reconciled::Superseded)
        }
    }

    /// Whether the script did it.
    async fn script(&self, script: &str, arguments: &[&[u8]]) -> Result<bool, RedisError> {
        match self.link.run_one(&commands::catalogue_script(script, arguments)).await? {
            Value::Int(done) => Ok(done == 1),
            _ => Err(unexpected_reply()),
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
        .map_err(|e| QueueError::new("encode a catalogue entry", std::io::Error::from(e).into()))
}

fn new_version() -> String {
    Uuid::new_v4().to_string()
}
