use service::health::Health;
use service::logs::causes;
use service::settings::{Refusal, Settings, Tier};
use std::sync::Arc;
use store::{Location, Migration, Store, StoreError};

/// The SQLite database in `AB_DATA`.
pub const DATABASE_FILE: &str = "abstream.db";

/// A database, and how it is called in a refusal.
struct Place {
    location: Location,
    variable: &'static str,
    shown: String,
}

/// Why a tool has no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{shown}")]
    Failed { shown: String, source: StoreError },
}

/// Connected, on this release's schema and partition count, and writable; waits for a server that is not there yet.
/// `pool_size` connections at most, besides those that apply.
pub async fn open_store(settings: &Settings, pool_size: usize) -> Result<Arc<dyn Store>, Refusal> {
    let (place, patience) = (place(settings, pool_size)?, settings.lifecycle.startup_timeout);
    check_sessions(settings, &place).await?;
    let opened = store::open(&place.location, settings.partitions()?, patience).await;
    opened.map_err(|error| refusal(&place, &error))
}

/// What [`open_store`] refuses, with nothing changed.
pub async fn examine_store(settings: &Settings) -> Result<(), Refusal> {
    let place = place(settings, settings.database.pool_size)?;
    let patience = settings.lifecycle.startup_timeout;
    check_sessions(settings, &place).await?;
    let examined = store::examine(&place.location, settings.partitions()?, patience).await;
    examined.map(drop).map_err(|error| refusal(&place, &error))
}

/// Who owns partitions does so by a lock of a session.
async fn check_sessions(settings: &Settings, place: &Place) -> Result<(), Refusal> {
    if !matches!(settings.tier, Tier::Worker | Tier::OneProcess) {
        return Ok(());
    }
    let kept = store::keeps_sessions(&place.location, settings.lifecycle.startup_timeout).await;
    kept.map_err(|error| refusal(place, &error))
}

fn refusal(place: &Place, error: &StoreError) -> Refusal {
    match error {
        StoreError::Partitions { .. } => Refusal::new("AB_PARTITIONS", error.to_string()),
        _ => Refusal::new(place.variable, format!("{}: {}", place.shown, causes(error))),
    }
}

/// As tools connect: nothing is changed and nothing waited for. With the number of partitions, which is recorded in
/// the database; `AB_PARTITIONS`, if set, must say the same.
pub async fn connect_store(settings: &Settings) -> Result<(Arc<dyn Store>, u16), OpenError> {
    let place = place(settings, settings.database.pool_size)?;
    let failed = |source| OpenError::Failed { shown: place.shown.clone(), source };
    let store = store::connect(&place.location).await.map_err(failed)?;
    let partitions = match settings.queue.partitions {
        Some(partitions) => partitions,
        None => store.partitions().await.map_err(failed)?.ok_or_else(|| {
            Refusal::new(place.variable, format!("{}: no deployment has used it yet", place.shown))
        })?,
    };
    store.check(partitions).await.map_err(failed)?;
    Ok((store, partitions))
}

/// Connected, whatever the schema is.
pub async fn reach_store(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    let place = place(settings, settings.database.pool_size)?;
    store::connect(&place.location).await.map_err(|source| OpenError::Failed { shown: place.shown, source })
}

/// The same, to write: a file must be nobody else's.
pub async fn reach_store_to_write(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    let place = place(settings, settings.database.pool_size)?;
    let store = store::connect_to_write(&place.location).await;
    store.map_err(|source| OpenError::Failed { shown: place.shown, source })
}

/// Brings the schema to this release's version.
pub async fn migrate(settings: &Settings, store: &dyn Store) -> Result<(), OpenError> {
    let shown = place(settings, settings.database.pool_size)?.shown;
    store.migrate().await.map_err(|source| OpenError::Failed { shown, source })
}

/// Every migration that the database has or this release knows.
pub async fn schema(settings: &Settings, store: &dyn Store) -> Result<Vec<Migration>, OpenError> {
    let shown = place(settings, settings.database.pool_size)?.shown;
    store.migrations().await.map_err(|source| OpenError::Failed { shown, source })
}

/// Ready while the schema is this release's and a write can be made, and rolled back.
pub fn watch_database(health: Health, store: Arc<dyn Store>, partitions: u16) -> Health {
    health.check("database", move || {
        let store = Arc::clone(&store);
        async move {
            let probe = async {
                store.check(partitions).await?;
                store.write_probe().await
            };
            match probe.await {
                Ok(()) => Ok("a write was made and rolled back".into()),
                Err(error) => Err(causes(&error)),
            }
        }
    })
}

/// `abctl up` falls back to its file because that is what it is for; everybody else has to say which database.
fn place(settings: &Settings, pool_size: usize) -> Result<Place, Refusal> {
    match (&settings.database.url, &settings.data) {
        (Some(_), Some(_)) if settings.tier == Tier::Tool => {
            Err(Refusal::new("AB_DATA", "names a database, and so does AB_DATABASE_URL: unset one of them"))
        }
        (None, Some(directory)) => {
            let file = directory.join(DATABASE_FILE);
            Ok(Place {
                shown: file.display().to_string(),
                location: Location::Sqlite { file },
                variable: "AB_DATA",
            })
        }
        _ => {
            let url = settings.database_url()?;
            Ok(Place {
                location: Location::Postgres { url: url.expose().to_owned(), pool_size },
                variable: "AB_DATABASE_URL",
                shown: url.to_string(),
            })
        }
    }
}
