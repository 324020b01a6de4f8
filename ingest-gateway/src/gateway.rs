//! The routes, and what happens to one request: admitted, read, judged, written, answered.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::{BatchId, ExperimentId, Timestamp};
use foldhash::{HashMap, HashMapExt};
use queue::catalogue::{Catalogue, Entry, Unavailable};
use queue::frame::FrameError;
use queue::producer::{Outgoing, Producer, SendError};
use queue::receipts::Receipts;
use service::auth::Scopes;
use service::http::{Access, App, Found, ItemErrors, Method, Payload, Problem, Request, Response, Route};
use service::settings::Ingest;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::answer::{Accepted, item_errors, nothing_accepted};
use crate::body::{self, Fault, Form, Item, Refusal, Shape, What};
use crate::clock::{self, Clock};
use crate::codes::Code;
use crate::frames::{self, Common, Slot};
use crate::judge::{Judge, Targets, check_open};
use crate::options::{Options, Reply};
use crate::stats::Stats;

/// Time from a request's whole body to its answer, waiting for the commit not included.
pub const BUDGET: Duration = Duration::from_secs(5);
/// Share of the queue's memory past which nothing new is taken.
const MEMORY_LIMIT: f64 = 0.8;

/// The tier: everything a request needs.
pub struct Gateway {
    pub(crate) rules: Ingest,
    pub(crate) partitions: u16,
    /// Events waiting to be applied past which nothing new is taken.
    pub(crate) backlog_limit: u64,
    pub(crate) producer: Box<dyn Producer>,
    pub(crate) receipts: Box<dyn Receipts>,
    pub(crate) catalogue: Box<dyn Catalogue>,
    pub(crate) stats: Stats,
    /// Cancelled when the process begins to end: nobody waits for a commit any longer.
    pub(crate) draining: CancellationToken,
}

/// A route with its path parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    shape: Shape,
    /// Key or number of the experiment in the path.
    experiment: Option<String>,
}

impl App for Gateway {
    type Handler = Handler;
    const CLASSES: &'static [&'static str] =
        &["events", "conversions", "experiment_exposures", "experiment_conversions"];

    fn find(&self, method: &Method, path: &str) -> Found<Handler> {
        let Some((handler, class)) = route(path) else { return Found::NotFound };
        if method != Method::POST {
            return Found::MethodNotAllowed("POST");
        }
        let access = Access::Key { any_of: Scopes::EVENTS.union(Scopes::INGEST), beacon: true };
        Found::Route(Route { handler, class, access })
    }

    async fn handle(&self, handler: Handler, request: Request) -> Result<Response, Problem> {
        self.ingest(&handler, request).await.map_err(|rejection| {
            match &rejection {
                Rejection::Whole(refusal) => self.stats.rejected(refusal.code),
                Rejection::Items { faults, .. } => self.stats.rejected_items(faults),
                Rejection::Kit(_) => {}
            }
            rejection.into_problem()
        })
    }
}

fn route(path: &str) -> Option<(Handler, &'static str)> {
    let rest = path.strip_prefix("/api/v1/")?;
    let top = |shape| Handler { shape, experiment: None };
    match rest {
        "events" => return Some((top(Shape::Events), "events")),
        "conversions" => return Some((top(Shape::Conversions), "conversions")),
        _ => {}
    }
    let (experiment, list) = rest.strip_prefix("experiments/")?.split_once('/')?;
    let (shape, class) = match list {
        "exposures" => (Shape::Exposures, "experiment_exposures"),
        "conversions" => (Shape::Conversions, "experiment_conversions"),
        _ => return None,
    };
    let handler = Handler { shape, experiment: Some(experiment.to_owned()) };
    (!experiment.is_empty()).then_some((handler, class))
}

/// Why nothing of a request was accepted.
enum Rejection {
    Whole(Refusal),
    /// `list` is its name in pointers, `sent` the number of items.
    Items {
        faults: Vec<(u32, Fault)>,
        list: &'static str,
        sent: usize,
    },
    /// The kit's own: 408, 413, 415.
    Kit(Problem),
}

impl Rejection {
    fn into_problem(self) -> Problem {
        match self {
            Rejection::Whole(refusal) => refusal.into(),
            Rejection::Items { faults, list, sent } => nothing_accepted(item_errors(&faults, list), sent),
            Rejection::Kit(problem) => problem,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        Rejection::Whole(refusal)
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Rejection {
        Rejection::Kit(problem)
    }
}

/// A request turned into frames. Holds nothing of its body: a client may wait long for its answer.
struct Prepared {
    batch: BatchId,
    frames: Vec<Outgoing>,
    received_at: Timestamp,
    tally: Tally,
    /// `None` when the request was all or nothing.
    rejected: Option<ItemErrors>,
}

impl Gateway {
    async fn ingest(&self, handler: &Handler, mut request: Request) -> Result<Response, Rejection> {
        self.admit()?;
        let options = Options::read(&request, handler.shape, self.rules.default_wait)?;
        let form = match request.payload()? {
            Payload::Json => Form::Json,
            Payload::NdJson => Form::NdJson,
        };
        let body = request.read_body().await?;
        let deadline = Instant::now() + BUDGET;
        let prepared = self.prepare(handler, &request, &options, form, &body, deadline).await?;
        drop(body);
        self.write(&request, &options, prepared, deadline).await
    }

    /// From the body to frames, or to what is wrong with it.
    async fn prepare(
        &self,
        handler: &Handler,
        request: &Request,
        options: &Options,
        form: Form,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Prepared, Rejection> {
        let (shape, received_at) = (handler.shape, clock::now());
        let tenant = request.principal().tenant.as_ref();
        let named = within(deadline, self.named_experiment(tenant, handler)).await?;
        let experiment = named.as_ref().map_or(ExperimentId::NONE, |entry| entry.id);
        let mut parsed = body::parse(body, shape, form, self.rules.max_batch_events)?;
        let (sent, mut faults) = (parsed.total(), std::mem::take(&mut parsed.faults));
        let items = &parsed.items;
        let clock = Clock::new(&self.rules, received_at, parsed.sent_at.or(options.sent_at));
        let targets = within(deadline, self.targets(tenant, shape, named, items)).await?;
        let strict = match options.strict {
            true => Some(within(deadline, self.used_metrics(tenant, items)).await?),
            false => None,
        };
        let judge = Judge { tenant, partitions: self.partitions, clock, targets, strict };
        let slots = judge.slots(items, &mut faults);

        let list = if form == Form::Json { shape.list() } else { "" };
        if !faults.is_empty() && (!options.partial || slots.is_empty()) {
            return Err(Rejection::Items { faults, list, sent });
        }
        self.stats.rejected_items(&faults);
        let batch = match &options.idempotency_key {
            Some(key) => BatchId::derived(tenant, experiment, shape.list(), key),
            None => BatchId(uuid::Uuid::now_v7()),
        };
        let receipt = match options.reply {
            Reply::Queued => None,
            Reply::Async => Some(""),
            Reply::Wait { .. } => Some(self.receipts.address()),
        };
        let (request_id, traceparent) = (request.id(), request.traceparent());
        let common = Common { batch, tenant, request_id, traceparent, receipt };
        let tally = Tally::of(items, &slots, &clock);
        let frames = frames::encode(common, &clock, items, slots).map_err(|error| unwritable(&error))?;
        let rejected = options.partial.then(|| item_errors(&faults, list));
        Ok(Prepared { batch, frames, received_at, tally, rejected })
    }

    /// Whether there is room for anything at all.
    fn admit(&self) -> Result<(), Refusal> {
        let backlog = self.producer.backlog();
        if !backlog.reachable {
            return Err(Refusal::new(Code::QueueUnavailable, "the queue cannot be reached"));
        }
        if backlog.events >= self.backlog_limit || backlog.memory_fraction >= MEMORY_LIMIT {
            return Err(Refusal::new(Code::QueueFull, "the queue holds as much as it may"));
        }
        Ok(())
    }

    /// The experiment in the path, if the route has one.
    async fn named_experiment(&self, tenant: &str, handler: &Handler) -> Result<Option<Arc<Entry>>, Refusal> {
        let Some(name) = &handler.experiment else { return Ok(None) };
        let Some(entry) = self.lookup(tenant, name).await? else {
            return Err(Refusal::new(Code::UnknownExperiment, "there is no such experiment"));
        };
        check_open(&entry, handler.shape == Shape::Exposures)
            .map_err(|(code, detail)| Refusal::new(code, detail))?;
        Ok(Some(entry))
    }

    /// Looks up what the items refer to, each experiment once.
    async fn targets<'a>(
        &self,
        tenant: &str,
        shape: Shape,
        named: Option<Arc<Entry>>,
        items: &'a [Item<'_>],
    ) -> Result<Targets<'a>, Refusal> {
        if let Some(entry) = named {
            return Ok(Targets::One(entry));
        }
        if shape != Shape::Events {
            return Ok(Targets::Tenant);
        }
        let mut known = HashMap::new();
        for name in items.iter().filter_map(|item| item.experiment.as_deref()) {
            if !known.contains_key(name) {
                known.insert(name, self.lookup(tenant, name).await?);
            }
        }
        Ok(Targets::Named(known))
    }

    /// Which of the metrics of tenant conversions are in any plan.
    async fn used_metrics<'a>(
        &self,
        tenant: &str,
        items: &'a [Item<'_>],
    ) -> Result<HashSet<&'a str>, Refusal> {
        let metrics = items.iter().filter_map(|item| match &item.what {
            What::Conversion { metric, .. } if item.experiment.is_none() => Some(metric.as_ref()),
            What::Conversion { .. } | What::Exposure(_) => None,
        });
        let mut used = HashSet::new();
        for metric in metrics.collect::<HashSet<&str>>() {
            if self.catalogue.uses_metric(tenant, metric).await.map_err(|e| catalogue_unavailable(&e))? {
                used.insert(metric);
            }
        }
        Ok(used)
    }

    async fn lookup(&self, tenant: &str, name: &str) -> Result<Option<Arc<Entry>>, Refusal> {
        self.catalogue.lookup(tenant, name).await.map_err(|error| catalogue_unavailable(&error))
    }

    /// Writes the frames and answers.
    async fn write(
        &self,
        request: &Request,
        options: &Options,
        prepared: Prepared,
        deadline: Instant,
    ) -> Result<Response, Rejection> {
        let Prepared { batch, frames, received_at, tally, rejected } = prepared;
        let request_id = request.id();
        let parts = u16::try_from(frames.len()).unwrap_or(u16::MAX);
        let waiter = match options.reply {
            Reply::Wait { .. } => Some(self.receipts.expect(batch, request_id, parts)),
            Reply::Queued | Reply::Async => None,
        };
        self.producer.send(frames, deadline).await.map_err(|error| unsent(&error, request_id))?;
        tally.count(&self.stats);

        let (received, keyless, rejected) = (tally.events, tally.keyless, rejected.as_ref());
        let answer = Accepted { batch, request_id, received, keyless, parts, received_at, rejected };
        if let (Some(waiter), Reply::Wait { limit, asked }) = (waiter, options.reply) {
            let totals = tokio::select! {
                totals = waiter.wait(Instant::now() + limit) => totals,
                () = self.draining.cancelled() => None,
            };
            if let Some(totals) = totals {
                return Ok(answer.applied(totals, asked)?);
            }
        }
        Ok(answer.queued(options.reply, self.rules.results_url.as_deref())?)
    }
}

/// What the accepted items of one request add to the counters.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    events: usize,
    exposures: u64,
    keyless: u32,
    rounded: u64,
    shifted: u64,
}

impl Tally {
    fn of(items: &[Item<'_>], slots: &[Slot], clock: &Clock) -> Tally {
        let mut tally = Tally { events: slots.len(), ..Tally::default() };
        for slot in slots {
            let item = &items[slot.position as usize];
            match &item.what {
                What::Exposure(_) => tally.exposures += 1,
                What::Conversion { rounded, .. } => {
                    tally.keyless += u32::from(item.key.is_none());
                    tally.rounded += u64::from(*rounded);
                }
            }
            tally.shifted += u64::from(clock.shift != 0 && item.occurred_given.is_some());
        }
        tally
    }

    fn count(&self, stats: &Stats) {
        stats.exposures.inc_by(self.exposures);
        stats.conversions.inc_by((self.events as u64).saturating_sub(self.exposures));
        stats.keyless.inc_by(self.keyless.into());
        stats.rounded.inc_by(self.rounded);
        stats.clock_corrected.inc_by(self.shifted);
    }
}

async fn within<T>(
    deadline: Instant,
    looking_up: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let late = |_| Refusal::new(Code::DeadlineExceeded, "the experiments could not be looked up in time");
    timeout_at(deadline, looking_up).await.map_err(late)?
}

/// Not knowing is never answered as "there is no such experiment".
fn catalogue_unavailable(error: &Unavailable) -> Refusal {
    tracing::debug!(%error, "catalogue unavailable");
    Refusal::new(Code::CatalogueUnavailable, "the experiments are not known at the moment")
}

/// Reached only with limits set far above their defaults; anything else is a defect.
fn unwritable(error: &FrameError) -> Rejection {
    match error {
        FrameError::BodyTooLarge(_) | FrameError::TooManyEvents(_) => {
            Refusal::new(Code::BatchTooLarge, "too many events of one partition: send smaller batches").into()
        }
        _ => {
            tracing::error!(%error, "frame cannot be written");
            Problem::internal().into()
        }
    }
}

/// Whatever the reason, the same request may be sent again.
fn unsent(error: &SendError, request_id: &str) -> Refusal {
    tracing::debug!(%error, request_id, "request not written");
    match error {
        SendError::Full(_) => Refusal::new(Code::QueueFull, "the queue takes events slower than they come"),
        SendError::Refused { code } if code == "OOM" => {
            Refusal::new(Code::QueueFull, "the queue holds as much as it may")
        }
        _ => Refusal::new(Code::QueueUnavailable, "the queue did not confirm every event in time"),
    }
}
