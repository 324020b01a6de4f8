//! PostgreSQL itself: that it keeps what it commits, and that sessions are sessions.

use super::check::Check;
use super::clock::Clocks;
use super::disk;
use crate::simulate::now_ms;
use service::settings::ServiceUrl;
use std::path::Path;
use store::postgres::{Examined, Owners, examine};

/// Tested with 15; earlier ones lack what migrations use.
const OLDEST: u32 = 150_000;
/// Of the connections, in percent.
const BUSY: u64 = 80;

pub async fn look(url: &ServiceUrl, checks: &mut Vec<Check>, clocks: &mut Clocks) {
    let begun = now_ms();
    let found = match examine(url.expose()).await {
        Ok(found) => found,
        Err(error) => {
            let advice =
                format!("{url} must lead to the server: is it running, is the name right, may we in?");
            return checks.push(Check::failed("postgres", &error, advice));
        }
    };
    if let Ok(begun) = begun {
        // The clock is read at the end; only a machine without one fails.
        let _ = clocks.read("clock of postgres", begun, found.now);
    }
    let Examined { version, connections, max_connections, .. } = found;
    let shown = format!("version {}.{}", version / 10_000, version % 10_000);
    checks.push(Check::of("postgres", version >= OLDEST, shown, "abstream needs PostgreSQL 15 or later"));
    checks.push(match found.is_standby {
        true => Check::fail("postgres role", "a standby", "name the primary in AB_DATABASE_URL"),
        false => Check::ok("postgres role", "primary"),
    });
    settings(&found, checks);
    checks.push(match found.is_pooled {
        true => Check::fail(
            "postgres sessions",
            "two connections share a session: a pooler of transactions is in between",
            "give workers the server itself, or pooling by session: they hold locks for as long as they live",
        ),
        false => Check::ok("postgres sessions", "a session each"),
    });
    let said = format!("{connections} of {max_connections} used");
    let advice = "raise max_connections, or lower AB_DB_POOL_SIZE of the tiers";
    checks.push(match u64::from(connections) * 100 >= u64::from(max_connections) * BUSY {
        true => Check::warn("postgres connections", said, advice),
        false => Check::ok("postgres connections", said),
    });
    if let Some(directory) = &found.data_directory {
        disk::look("postgres disk", Path::new(directory), checks);
    }
    owners(&found.owners, checks);
}

fn settings(found: &Examined, checks: &mut Vec<Check>) {
    let of = |name: &str| found.settings.get(name).map_or("unknown", String::as_str);
    let advice = "set it to on: a crash of the machine may lose what was committed, or the database";
    for name in ["fsync", "full_page_writes"] {
        let called = if name == "fsync" { "postgres fsync" } else { "postgres full_page_writes" };
        checks.push(Check::of(called, of(name) == "on", of(name), advice));
    }
    let commit = of("synchronous_commit");
    let advice = "set it to on, for this role and database too: workers tell Redis what it may forget";
    checks.push(Check::of("postgres synchronous_commit", commit != "off", commit, advice));
}

fn owners(owners: &Owners, checks: &mut Vec<Check>) {
    let Owners { living, silent, held, held_by_silent } = *owners;
    let said = format!("{living} workers live, {silent} are silent; {held} partitions are held");
    checks.push(match (living, silent, held_by_silent) {
        (_, _, 1..) => Check::fail(
            "owners",
            format!("{said}, {held_by_silent} of them by silent workers"),
            "start a worker, which frees them within seconds; if one runs, its role lacks pg_signal_backend",
        ),
        (0, _, _) => Check::warn("owners", said, "start a worker: nothing is applied until one runs"),
        (_, 1.., _) => Check::warn("owners", said, "a worker ended without a word; the others forget it"),
        _ => Check::ok("owners", said),
    });
}
