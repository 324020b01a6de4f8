//! Changes of definitions, and what they ask of the owners of partitions.

use super::audits::audit;
use super::experiments::{find, raise_epochs};
use crate::step::{Step, phases, step};
use crate::{Actor, Change, Changed, StoreError};
use domain::{ExperimentId, Timestamp};
use rusqlite::Connection;

/// Without a change, what there is is built anew.
pub fn change(
    c: &Connection,
    tenant: &str,
    id: ExperimentId,
    change: Option<Change<'_>>,
    actor: Actor<'_>,
) -> Result<Changed, StoreError> {
    let Some(current) = find(c, tenant, id)? else { return Ok(Changed::NotFound) };
    if change.is_some_and(|change| change.revision != current.revision) {
        return Ok(Changed::Outrun);
    }
    let wanted = change.map_or_else(|| current.wanted(), |change| change.definition);
    let now = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000";
    let now = Timestamp(c.query_row(now, [], |r| r.get(0))?);
    let mut step = step(&current, wanted, change.is_none());
    if matches!(step, Step::Build(_)) && current.purged_at.is_some() {
        return Ok(Changed::Purged);
    }
    let phases = phases(&current, wanted, now);
    if matches!(step, Step::Build(_)) || current.rebuild.is_some() || phases.is_some() {
        raise_epochs(c)?;
    }
    // Nobody is enrolled, and nobody is about to be: there is nothing to build.
    let nobody = "SELECT NOT EXISTS (SELECT 1 FROM moments_keys WHERE experiment = ?1)";
    let nobody: bool = c.query_row(nobody, [id.0], |r| r.get(0))?;
    let phases = phases.filter(|_| !nobody).unwrap_or_else(|| current.phases.clone());
    let phases = serde_json::to_string(&phases)?;
    let text = serde_json::to_string(wanted)?;
    let mut version = current.plan_version;
    if let Step::Build(next) = step {
        version = next;
        step = if nobody { Step::Serve } else { step };
    }
    match step {
        Step::Build(_) => {
            forget(c, id, current.plan_version)?;
            c.execute(include_str!("sql/rebuild/begin.sql"), (id.0, version))?;
            c.execute(include_str!("sql/rebuild/ask.sql"), (id.0, &text, Some(version), &phases))?;
        }
        Step::Follow => {
            let next = current.rebuild.as_ref().map(|r| r.version);
            c.execute(include_str!("sql/rebuild/ask.sql"), (id.0, &text, next, &phases))?;
        }
        Step::Serve => {
            forget(c, id, version)?;
            c.execute("DELETE FROM rebuilds WHERE experiment = ?1", [id.0])?;
            c.execute(include_str!("sql/rebuild/serve.sql"), (id.0, &text, version, &phases))?;
        }
    }
    let (action, detail) = match &change {
        Some(change) => ("experiment.change", change.detail),
        None => ("experiment.rebuild", ""),
    };
    audit(c, tenant, actor, action, &id.to_string(), detail)?;
    let changed = find(c, tenant, id)?.ok_or(StoreError::Corrupt("status"))?;
    Ok(Changed::Done(Box::new(changed)))
}

/// Deletes the sums of all versions but one.
fn forget(c: &Connection, id: ExperimentId, but: u32) -> Result<(), StoreError> {
    c.execute("DELETE FROM moments WHERE experiment = ?1 AND plan_version <> ?2", (id.0, but))?;
    c.execute("DELETE FROM moments_keys WHERE experiment = ?1 AND plan_version <> ?2", (id.0, but))?;
    Ok(())
}
