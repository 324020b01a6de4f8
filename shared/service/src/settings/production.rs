//! What a tier needs before it starts, and what production refuses on top of it.

use super::{Refusal, Settings, Tier, mask_url};
use crate::auth::{Keys, Scopes};

pub fn is_production(environment: &str) -> bool {
    matches!(environment, "production" | "prod")
}

pub fn check(settings: &Settings) -> Result<(), Refusal> {
    if settings.tier != Tier::Tool {
        settings.redis_url()?;
    }
    if matches!(settings.tier, Tier::Worker | Tier::Analyzer) {
        settings.database_url()?;
    }
    let production = settings.is_production();
    if production {
        check_database(settings)?;
    }
    if matches!(settings.tier, Tier::Gateway | Tier::Analyzer) {
        check_keys(settings)?;
    }
    Ok(())
}

/// Nothing falls back to a lesser store.
fn check_database(settings: &Settings) -> Result<(), Refusal> {
    match &settings.database.url {
        Some(url) if !matches!(url.scheme(), "postgres" | "postgresql") => Err(Refusal::new(
            "AB_DATABASE_URL",
            format!("production needs postgres:// or postgresql://, not {}", mask_url(url.expose())),
        )),
        _ => Ok(()),
    }
}

fn check_keys(settings: &Settings) -> Result<(), Refusal> {
    let keys = Keys::new(&settings.auth, settings.is_production())?;
    let ingest = Scopes::EVENTS.union(Scopes::INGEST);
    match settings.is_production() && !keys.any_with(ingest) {
        true => Err(Refusal::new("AB_API_TOKEN", "production needs an ingest key: set it or AB_API_KEYS")),
        false => Ok(()),
    }
}
