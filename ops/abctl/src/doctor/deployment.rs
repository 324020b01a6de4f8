//! What the deployment has made of the two: schema, partitions, permissions, and how far behind it is.

use super::check::Check;
use super::disk;
use queue::reader::EntryId;
use service::settings::Settings;
use std::time::Duration;
use store::{Book, Migration, Store};

/// Older than this is nothing that a worker has got on with.
const BEHIND: Duration = Duration::from_secs(60);

pub async fn look(settings: &Settings, checks: &mut Vec<Check>) {
    if let Some(directory) = &settings.data {
        disk::look("disk", directory, checks);
    }
    let store = match backends::reach_store(settings).await {
        Ok(store) => store,
        // A server that cannot be reached has been told of.
        Err(_) if settings.database.url.is_some() => return,
        Err(error) => {
            return checks.push(Check::failed("database", &error, "run `abctl up` once, with AB_DATA"));
        }
    };
    let Some(partitions) = schema(settings, &*store, checks).await else { return };
    if settings.database.url.is_some() {
        let advice =
            "GRANT the role of AB_DATABASE_URL what it needs: all on the schema's tables and sequences";
        checks.push(match store.write_probe().await {
            Ok(()) => Check::ok("permissions", "a write was made and rolled back"),
            Err(error) => Check::failed("permissions", &error, advice),
        });
        backlog(settings, &*store, partitions, checks).await;
    }
}

/// The number of partitions, if the deployment has one.
async fn schema(settings: &Settings, store: &dyn Store, checks: &mut Vec<Check>) -> Option<u16> {
    let advice = "let the role of AB_DATABASE_URL read the schema's tables";
    let migrations = match store.migrations().await {
        Ok(migrations) => migrations,
        Err(error) => {
            checks.push(Check::failed("schema", &error, advice));
            return None;
        }
    };
    let last =
        |of: fn(&&Migration) -> bool| migrations.iter().filter(of).map(|m| m.version).max().unwrap_or(0);
    let (found, wanted) = (last(|m| m.applied_at.is_some()), last(|m| m.known));
    let said = format!("version {found}, {wanted} wanted");
    let (lacks, knows) =
        (migrations.iter().any(|m| m.applied_at.is_none()), migrations.iter().all(|m| m.known));
    if lacks || !knows {
        let advice = if knows {
            "abctl migrate up (workers and analyzers do it when they start)"
        } else {
            "a later release was here: run that one, or restore a backup of before"
        };
        checks.push(Check::fail("schema", said, advice));
        return None;
    }
    checks.push(Check::ok("schema", said));
    let recorded = match store.partitions().await {
        Ok(recorded) => recorded,
        Err(error) => {
            checks.push(Check::failed("partitions", &error, advice));
            return None;
        }
    };
    let Some(recorded) = recorded else {
        checks.push(Check::ok("partitions", "not recorded yet: the first start does"));
        return None;
    };
    let said = format!("{recorded} recorded");
    checks.push(match settings.queue.partitions {
        Some(set) if set != recorded => {
            let advice = "set AB_PARTITIONS to what is recorded: it is fixed for a deployment";
            Check::fail("partitions", format!("{said}, AB_PARTITIONS says {set}"), advice)
        }
        _ => Check::ok("partitions", said),
    });
    Some(recorded)
}

async fn backlog(settings: &Settings, store: &dyn Store, partitions: u16, checks: &mut Vec<Check>) {
    // A queue that cannot be reached has been told of.
    let Ok(queue) = backends::open_queue(settings, partitions) else { return };
    let Ok(books) = backends::books(store, &*queue, partitions).await else { return };
    let Ok(accounts) = store.accounting().await else { return };
    let positions = accounts.partitions.iter();
    let positions: Vec<_> =
        positions.map(|a| (a.partition, a.position.parse().unwrap_or(EntryId::ZERO))).collect();
    let Ok(ages) = queue.ages(&positions).await else { return };
    let oldest = ages.iter().filter_map(|age| age.waiting).max().unwrap_or_default();
    let Book { in_flight, lost, .. } = books.total;
    let said = format!("{in_flight} events in flight, the oldest waits {} s", oldest.as_secs());
    checks.push(match oldest > BEHIND {
        true => Check::fail("backlog", said, "start or add workers; ops/docs/runbook/backlog-grows.md"),
        false => Check::ok("backlog", said),
    });
    let closes = books.partitions.iter().all(|(_, book)| book.closes());
    checks.push(match (closes, lost) {
        (false, _) => Check::fail("books", "do not close", "ops/docs/runbook/books-do-not-close.md"),
        (true, 1..) => {
            Check::warn("books", format!("close, {lost} events are lost"), "ops/docs/runbook/events-lost.md")
        }
        _ => Check::ok("books", "close, nothing is lost"),
    });
}
