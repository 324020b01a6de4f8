//! The gateway's side: a bounded copy of what it was asked for.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lru::LruCache;
use redis::RedisResult;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{COMPLETE, EVERYTHING, id_field, key_field, uses_prefix};
use crate::QueueError;
use crate::catalogue::{Catalogue, Copies, Entry, Unavailable, id_of};
use crate::redis::commands::{self, CATALOGUE_CHANGES};
use crate::redis::connection::Link;
use crate::redis::error::failed;
use crate::redis::server::Server;
use crate::redis::subscription::{Event, subscribe};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long "there is no such experiment" is believed, and, while changes cannot be heard, anything else.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long a failure is the answer to everybody, so that a Redis in trouble is not asked by every request.
const FAILURE_LIFE: Duration = Duration::from_millis(100);
/// Longest key of an experiment and longest event name, in bytes; what is longer does not exist.
const NAME_MAX: usize = 400;

/// Reads the hash. Dropping it ends its subscription.
pub struct RedisCatalogue {
    link: Link,
    partitions: u16,
    cache: Arc<Cache>,
    _stop: DropGuard,
}

struct Cache {
    state: Mutex<State>,
}

struct State {
    /// Whether changes are heard.
    subscribed: bool,
    misses: u64,
    slots: LruCache<String, Arc<Slot>>,
}

/// One field, loaded or being loaded. It enters the cache before it is read, so a change during the read removes
/// it, and later lookups read again.
struct Slot {
    loaded: OnceCell<(Instant, Loaded)>,
}

type Loaded = Result<Option<Value>, Unavailable>;

#[derive(Clone)]
enum Value {
    Experiment(Arc<Entry>),
    Used,
}

impl RedisCatalogue {
    /// On the current runtime.
    pub(crate) fn start(server: &Server, max_loaded: usize, partitions: u16) -> RedisCatalogue {
        let capacity = NonZeroUsize::new(max_loaded).unwrap_or(NonZeroUsize::MIN);
        let state = State { subscribed: false, misses: 0, slots: LruCache::new(capacity) };
        let cache = Arc::new(Cache { state: Mutex::new(state) });
        let link = Link::new(server, RESPONSE_TIMEOUT);
        let stop = CancellationToken::new();
        let listener = Arc::clone(&cache);
        subscribe(server, CATALOGUE_CHANGES.to_owned(), stop.clone(), move |event| listener.hear(event));
        RedisCatalogue { link, partitions, cache, _stop: stop.drop_guard() }
    }

    /// Whether changes are heard. While not, every answer is read anew after a second.
    pub fn is_subscribed(&self) -> bool {
        self.cache.state().subscribed
    }

    async fn get(&self, field: String, parse: fn(String) -> Result<Value, QueueError>) -> Loaded {
        let slot = self.cache.slot(&field);
        let load = || async {
            let read = self.read(&field).await;
            let parsed = read.and_then(|text| {
                text.map(parse).transpose().map_err(|e| Unavailable::Unreachable(Arc::new(e)))
            });
            (Instant::now(), parsed)
        };
        slot.loaded.get_or_init(load).await.1.clone()
    }

    /// One field, if the catalogue is whole and ours.
    async fn read(&self, field: &str) -> Result<Option<String>, Unavailable> {
        let reply = self
            .link
            .run_one(commands::catalogue_slot(), &commands::catalogue_fields(&[COMPLETE, field]))
            .await;
        let fields: RedisResult<[Option<String>; 2]> =
            reply.and_then(|reply| Ok(redis::from_redis_value(reply)?));
        let [complete, value] =
            fields.map_err(|e| Unavailable::Unreachable(Arc::new(failed("read the catalogue", e))))?;
        match complete {
            None => Err(Unavailable::Incomplete),
            Some(found) if found != self.partitions.to_string() => {
                Err(Unavailable::Partitions { found, wanted: self.partitions })
            }
            Some(_) => Ok(value),
        }
    }
}

#[async_trait]
impl Catalogue for RedisCatalogue {
    async fn lookup(&self, tenant: &str, reference: &str) -> Result<Option<Arc<Entry>>, Unavailable> {
        let field = match id_of(reference) {
            Some(id) => id_field(tenant, id),
            None if is_name(reference) => key_field(tenant, reference),
            None => return Ok(None),
        };
        let experiment = match self.get(field, parse_experiment).await? {
            Some(Value::Experiment(entry)) if entry.tenant == tenant => Some(entry),
            _ => None,
        };
        Ok(experiment)
    }

    async fn uses_metric(&self, tenant: &str, metric: &str) -> Result<bool, Unavailable> {
        if !is_name(metric) {
            return Ok(false);
        }
        let field = uses_prefix(tenant) + metric;
        Ok(self.get(field, |_| Ok(Value::Used)).await?.is_some())
    }

    async fn check(&self) -> Result<(), Unavailable> {
        self.read(COMPLETE).await.map(|_| ())
    }

    fn copies(&self) -> Copies {
        let state = self.cache.state();
        Copies { kept: state.slots.len(), misses: state.misses }
    }
}

impl Cache {
    /// The slot to take the answer from: the one there, unless its answer is too old.
    fn slot(&self, field: &str) -> Arc<Slot> {
        let mut state = self.state();
        let subscribed = state.subscribed;
        if let Some(slot) = state.slots.get(field).filter(|slot| slot.is_valid(subscribed)) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot { loaded: OnceCell::new() });
        state.misses += 1;
        state.slots.put(field.to_owned(), Arc::clone(&slot));
        slot
    }

    fn hear(&self, event: Event<'_>) {
        let mut state = self.state();
        match event {
            Event::Up | Event::Down => {
                state.subscribed = matches!(event, Event::Up);
                state.slots.clear();
            }
            Event::Message(message) => match std::str::from_utf8(message) {
                Ok(names) if names != EVERYTHING => {
                    for name in names.split('\n') {
                        state.slots.pop(name);
                    }
                }
                _ => state.slots.clear(),
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_valid(&self, subscribed: bool) -> bool {
        let Some((at, loaded)) = self.loaded.get() else { return true };
        match loaded {
            Ok(Some(_)) => subscribed || at.elapsed() < SHORT_LIFE,
            Ok(None) => at.elapsed() < SHORT_LIFE,
            Err(_) => at.elapsed() < FAILURE_LIFE,
        }
    }
}

fn parse_experiment(json: String) -> Result<Value, QueueError> {
    let entry = serde_json::from_str(&json)
        .map_err(|e| failed("read a catalogue entry", std::io::Error::from(e).into()))?;
    Ok(Value::Experiment(Arc::new(entry)))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control)
}
