//! What a tier needs before it starts, and what production refuses on top of it.

use super::{Refusal, Settings, Source, Tier};
use crate::auth::{Keys, Scopes};

pub fn is_production(environment: &str) -> bool {
    matches!(environment, "production" | "prod")
}

pub fn check(settings: &Settings) -> Result<(), Refusal> {
    match settings.tier {
        Tier::Gateway => {
            settings.redis_url()?;
        }
        Tier::Worker | Tier::Analyzer => {
            settings.redis_url()?;
            settings.database_url()?;
        }
        Tier::OneProcess => check_one_process(settings)?,
        Tier::Tool => {}
    }
    match settings.tier {
        Tier::Gateway | Tier::Analyzer | Tier::OneProcess => check_keys(settings),
        Tier::Worker | Tier::Tool => Ok(()),
    }
}

/// Nothing falls back to a lesser store or queue; in production no key comes from anywhere but the settings.
fn check_one_process(settings: &Settings) -> Result<(), Refusal> {
    if settings.queue.redis_url.is_none() && settings.queue.replicas > 0 {
        return Err(Refusal::new(
            "AB_QUEUE_REPLICAS",
            "needs AB_REDIS_URL: the queue in the process has none",
        ));
    }
    if !settings.is_production() {
        return Ok(());
    }
    let given = |name| settings.effective().iter().any(|s| s.name == name && s.source != Source::Default);
    let (variable, reason) = if settings.database.url.is_none() {
        (
            "AB_DATABASE_URL",
            "production needs PostgreSQL, postgres://..; SQLite is for trials, laptops, small teams",
        )
    } else if settings.queue.redis_url.is_none() {
        (
            "AB_REDIS_URL",
            "production needs Redis, redis://..; the queue in the process is for trials, laptops, small teams",
        )
    } else if given("AB_DATA") {
        (
            "AB_DATA",
            "production keeps neither database nor keys in a directory; give its file of keys as AB_API_KEYS_FILE",
        )
    } else {
        return Ok(());
    };
    Err(Refusal::new(variable, reason))
}

fn check_keys(settings: &Settings) -> Result<(), Refusal> {
    let keys = Keys::new(&settings.auth, settings.is_production())?;
    let ingest = Scopes::EVENTS.union(Scopes::INGEST);
    match settings.is_production() && !keys.any_with(ingest) {
        true => Err(Refusal::new("AB_API_TOKEN", "production needs an ingest key: set it or AB_API_KEYS")),
        false => Ok(()),
    }
}
