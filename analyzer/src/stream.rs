//! live-stats as server-sent events: the answer as it is, then again whenever it has changed, at most once a second.
//!
//! However many clients follow an experiment, it is read once a second ([`Feeds`]) and a client that is slow misses
//! answers that were overtaken meanwhile, never the last. An event's id is the entity tag of its answer: a client that
//! comes back with `Last-Event-ID` gets the next answer that is another one. A stream ends when the experiment is
//! deleted, when the process ends, and after a while, so that its key is looked at again; clients come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::ExperimentId;
use service::http::header::{HeaderName, HeaderValue};
use service::http::{Broken, Problem, Request, Response, StatusCode};
use store::{Asked, Experiment, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Parameters, storage, tag, written};
use crate::app::Analyzer;
use crate::clock;
use crate::known::{Known, rows_needed};
use crate::live_stats::LiveStats;

/// Streams of this process; more are refused.
pub const MAX_STREAMS: usize = 256;
const READ_EVERY: Duration = Duration::from_secs(1);
/// A comment this often tells proxies and clients that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// A client that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// For a proxy that would collect events before it passes them on.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the followers of each experiment are told, from one reader for all of them.
pub struct Feeds {
    store: Arc<dyn Store>,
    /// A feed is here as long as its reader lives.
    feeds: Mutex<HashMap<ExperimentId, watch::Sender<Option<Arc<Event>>>>>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
}

/// One answer.
struct Event {
    /// Its entity tag, without quotes.
    id: String,
    bytes: Bytes,
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    let slot = Arc::clone(&app.feeds.slots).try_acquire_owned().map_err(|_| {
        Problem::unavailable("too_many_streams", "the service has too many streams: poll instead", 10)
    })?;
    let seen = request.header("last-event-id").map(str::to_owned);
    let feed = app.feeds.follow(experiment);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(tell(sender, feed, seen, app.feeds.stop.clone(), slot));
    let response = Response::stream(StatusCode::OK, "text/event-stream", receiver);
    Ok(response.with(NO_BUFFERING, HeaderValue::from_static("no")))
}

/// Until the client, the feed, the process or the stream's time ends.
async fn tell(
    client: mpsc::Sender<Result<Bytes, Broken>>,
    mut feed: watch::Receiver<Option<Arc<Event>>>,
    mut seen: Option<String>,
    stop: CancellationToken,
    _slot: OwnedSemaphorePermit,
) {
    let end = Instant::now() + LONGEST;
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        let bytes = tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(end) => return,
            () = client.closed() => return,
            changed = feed.changed() => {
                if changed.is_err() {
                    return;
                }
                let event = feed.borrow_and_update().clone();
                let Some(event) = event.filter(|event| seen.as_ref() != Some(&event.id)) else { continue };
                seen = Some(event.id.clone());
                event.bytes.clone()
            }
            _ = heartbeat.tick() => Bytes::from_static(b":\n\n"),
        };
        let sent = stop.run_until_cancelled(timeout(PATIENCE, client.send(Ok(bytes)))).await;
        if !matches!(sent, Some(Ok(Ok(())))) {
            return;
        }
    }
}

impl Feeds {
    pub fn new(store: Arc<dyn Store>, stop: CancellationToken) -> Arc<Feeds> {
        let (feeds, slots) = (Mutex::default(), Arc::new(Semaphore::new(MAX_STREAMS)));
        Arc::new(Feeds { store, feeds, slots, stop })
    }

    /// The feed of an experiment, with its latest answer as news.
    fn follow(self: &Arc<Self>, experiment: Experiment) -> watch::Receiver<Option<Arc<Event>>> {
        let id = experiment.id;
        let mut feeds = self.locked();
        let feed = feeds.entry(id).or_insert_with(|| {
            tokio::spawn(Arc::clone(self).keep_reading(experiment));
            watch::Sender::new(None)
        });
        let mut receiver = feed.subscribe();
        receiver.mark_changed();
        receiver
    }

    /// While anybody follows.
    async fn keep_reading(self: Arc<Self>, experiment: Experiment) {
        let mut every = interval(READ_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let id = experiment.id;
        while self.stop.run_until_cancelled(every.tick()).await.is_some() {
            let read = self.read(&experiment.tenant, id).await;
            let mut feeds = self.locked();
            let gone = matches!(read, Ok(None));
            // Nobody can begin to follow meanwhile: that takes the lock.
            let Some(feed) = feeds.get(&id).filter(|feed| feed.receiver_count() > 0 && !gone) else {
                feeds.remove(&id);
                return;
            };
            // What went wrong is in the log; the next second tries again.
            let Ok(Some(event)) = read else { continue };
            feed.send_if_modified(|last| {
                let other = last.as_ref().is_none_or(|last| last.id != event.id);
                *last = Some(Arc::new(event));
                other
            });
        }
        self.locked().remove(&id);
    }

    /// None: there is no such experiment any more.
    async fn read(&self, tenant: &str, id: ExperimentId) -> Result<Option<Event>, Problem> {
        let asked = Asked { counters: true, ..Asked::of(None, rows_needed) };
        let found = self.store.snapshot(tenant, &id.to_string(), &asked).await.map_err(storage)?;
        let Some(snapshot) = found else { return Ok(None) };
        let known = Known::from(&snapshot, None, clock::now())?;
        let body = written(&LiveStats::of(&known))?;
        let id = tag(&body).trim_matches('"').to_owned();
        let bytes = [b"event: live-stats\nid: ", id.as_bytes(), b"\ndata: ", &body, b"\n\n"].concat();
        Ok(Some(Event { id, bytes: bytes.into() }))
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<ExperimentId, watch::Sender<Option<Arc<Event>>>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
