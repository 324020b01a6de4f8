//! `abctl up`: gateway, worker and analyzer in one process on one public port.
//!
//! Of one event's journey all is the same but the two things it passes: without `AB_REDIS_URL` the queue is a list in
//! this process, and a request is answered once its events are committed; without `AB_DATABASE_URL` the store is a
//! SQLite file in `AB_DATA`. The [`directory`] also holds the [`keys`] that the first start makes.
//!
//! The end is in the order of that journey: no new requests, open ones answered (their events are still being
//! applied), the writers, then the lanes, then the rest.

mod banner;
mod directory;
mod keys;

pub use directory::Directory;
pub use keys::Made;

use ingest_worker::{Lanes, Ownership};
use keys::Keys;
use queue::Queue;
use service::boot::{Boot, BootError};
use service::health::Health;
use service::http::Both;
use service::settings::Settings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A start that takes longer says so.
const SLOW: Duration = Duration::from_secs(2);

/// What there is to know about a process that serves.
pub struct Ready {
    /// Where a client on this machine finds it.
    pub url: String,
    pub database: String,
    pub queue: String,
    pub keys_file: Option<String>,
    /// Keys that this start made.
    pub made: Option<Made>,
}

/// Serves until told to end; prints where, and with what keys.
pub async fn run(boot: Boot, json: bool) -> Result<(), BootError> {
    serve(boot, |ready| {
        let shown = if json { banner::show_json(ready) } else { banner::show(ready) };
        if let Err(error) = shown {
            tracing::warn!(%error, "where it listens could not be printed");
        }
    })
    .await
}

/// The same for whoever has a use for it beside a terminal.
pub async fn serve(boot: Boot, ready: impl FnOnce(&Ready)) -> Result<(), BootError> {
    let settings = &boot.settings;
    // Production keeps nothing in a directory, and its settings see to that.
    let mut directory = match &settings.data {
        Some(path) if !settings.is_production() => Some(Directory::hold(path)?),
        _ => None,
    };
    let listeners = boot.listen().await?;
    let address = listeners.public_addr().map_err(|error| BootError::failed("read the address", error))?;
    if let Some(directory) = &mut directory {
        directory.held_at(address)?;
    }
    // Told to stop before there is anything to drain, it ends at once.
    let opened = boot.shutdown.token().run_until_cancelled(open(&boot, directory.as_ref())).await;
    let Some(opened) = opened else { return Ok(()) };
    let Opened { store, queue, analyzer, gateway } = opened?;
    // Made when nothing can fail any more, so that no key is made that nobody is shown.
    let keys = directory.as_ref().map(Directory::keys).transpose()?;
    if let Some(keys) = &keys {
        boot.keys.keep(&keys.file, &keys.entries)?;
    }
    let stop_lanes = CancellationToken::new();
    let lanes = Lanes::start(&boot, &store, &queue, Ownership::Lock, stop_lanes.clone())?;

    ready(&Ready::new(settings, address, directory.as_ref(), keys));
    let health = backends::watch_database(Health::new(settings), store, settings.partitions()?);
    let health = lanes.checks(gateway.checks(health));
    let app = Arc::new(Both(gateway.app(), analyzer.app()));
    let served = listeners.serve(&boot, app, health).await;
    gateway.end().await;
    stop_lanes.cancel();
    lanes.ended().await?;
    analyzer.end().await?;
    served
}

struct Opened {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    analyzer: analyzer::Part,
    gateway: ingest_gateway::Part,
}

/// Everything that may take long or fail.
async fn open(boot: &Boot, directory: Option<&Directory>) -> Result<Opened, BootError> {
    let settings = &boot.settings;
    let _notice = AbortOnDropHandle::new(tokio::spawn(say_when_slow()));
    if let (Some(directory), None) = (directory, &settings.database.url) {
        directory.database()?;
    }
    let (store, queue) = backends::open(settings, settings.database.pool_size).await?;
    let analyzer = analyzer::Part::start(boot, store.clone(), queue.clone()).await?;
    let gateway = ingest_gateway::Part::start(boot, queue.clone()).await?;
    Ok(Opened { store, queue, analyzer, gateway })
}

async fn say_when_slow() {
    tokio::time::sleep(SLOW).await;
    tracing::warn!("the start takes long: the database is waited for, migrated, or recovering from a crash");
}

impl Ready {
    fn new(
        settings: &Settings,
        address: SocketAddr,
        directory: Option<&Directory>,
        keys: Option<Keys>,
    ) -> Ready {
        let in_directory = |name: &str| directory.map(|d| d.path().join(name).display().to_string());
        let database = match &settings.database.url {
            Some(url) => url.to_string(),
            None => in_directory(backends::DATABASE_FILE).unwrap_or_default(),
        };
        let queue = settings.queue.redis_url.as_ref().map(ToString::to_string);
        let (keys_file, made) = keys.map(|k| (k.file.display().to_string(), k.made)).unzip();
        Ready {
            url: format!("http://{}", reachable(address)),
            database,
            queue: queue.unwrap_or_else(|| "in this process; answers wait for the commit".into()),
            keys_file,
            made: made.flatten(),
        }
    }
}

/// A client cannot connect to "every address".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
