//! What happens to one request: admitted, read, judged, written, answered.

use std::sync::Arc;
use std::time::Duration;

use domain::{BatchId, ExperimentId, Timestamp};
use queue::catalogue::{Catalogue, Entry};
use queue::frame::FrameError;
use queue::producer::{Outgoing, Producer, SendError};
use queue::receipts::Receipts;
use service::http::{App, Found, Method, Payload, Problem, Request, Response};
use service::openapi;
use service::settings::{Budgets, Ingest};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::answer::{Accepted, item_errors, nothing_accepted};
use crate::body::{self, Fault, Form, Parsed, Refusal, Shape};
use crate::clock::{self, Clock};
use crate::codes::Code;
use crate::frames::{self, Common};
use crate::judge::Judge;
use crate::limits::Limits;
use crate::lookup::{Lookup, within};
use crate::options::{Options, Quorum, Reply};
use crate::routes::{self, Events, Handler};
use crate::sdks::{Sdk, Terms, cloudevents};
use crate::stats::Stats;
use crate::tally::Tally;

/// Share of the queue's memory past which nothing new is taken.
const MEMORY_LIMIT: f64 = 0.8;
/// How long a request that waits for its commit waits for the way by which it is told of it: twice as long as that may
/// take to come back. Without it the client finds the receipt by its `Location`.
const LISTEN: Duration = Duration::from_secs(2);

/// The tier: everything a request needs.
pub struct Gateway {
    pub(crate) rules: Ingest,
    pub(crate) partitions: u16,
    /// Events waiting to be applied past which nothing new is taken.
    pub(crate) backlog_limit: u64,
    pub(crate) producer: Box<dyn Producer>,
    pub(crate) receipts: Box<dyn Receipts>,
    pub(crate) catalogue: Box<dyn Catalogue>,
    /// What the queue acknowledges is committed, and its receipts have been told.
    pub(crate) settles_on_commit: bool,
    pub(crate) limits: Limits,
    pub(crate) budgets: Budgets,
    pub(crate) stats: Stats,
    /// Cancelled when the process begins to end: nobody waits for a commit any longer.
    pub(crate) draining: CancellationToken,
}

impl App for Gateway {
    type Handler = Handler;

    fn classes() -> Vec<&'static str> {
        routes::CLASSES.to_vec()
    }

    fn find(&self, method: &Method, path: &str) -> Found<Handler> {
        routes::find(method, path)
    }

    async fn handle(&self, handler: Handler, request: Request) -> Result<Response, Problem> {
        let answered = match &handler {
            Handler::Docs => return openapi::docs(&request),
            Handler::OpenApi => return openapi::document(&request),
            Handler::Events(route) => self.ingest(route, request).await,
            Handler::Sdk(sdk) => self.ingest_of_sdk(*sdk, request).await,
        };
        answered.map_err(|rejection| {
            match &rejection {
                Rejection::Whole(refusal) => self.stats.rejected(refusal.code),
                Rejection::Items { faults, .. } => self.stats.rejected_items(faults),
                Rejection::Limited(_) => self.stats.rejected(Code::RateLimited),
                Rejection::Kit(_) => {}
            }
            rejection.into_problem()
        })
    }
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
    Limited(Problem),
    /// The kit's own: 408, 413, 415.
    Kit(Problem),
}

impl Rejection {
    fn into_problem(self) -> Problem {
        match self {
            Rejection::Whole(refusal) => refusal.into(),
            Rejection::Items { faults, list, sent } => nothing_accepted(item_errors(&faults, list), sent),
            Rejection::Limited(problem) | Rejection::Kit(problem) => problem,
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

/// A request's items, as its body had them.
struct Sent<'a> {
    parsed: Parsed<'a>,
    shape: Shape,
    /// Of the list in pointers; empty = there is none.
    list: &'static str,
    /// The experiment in the path.
    named: Option<Arc<Entry>>,
}

/// A request turned into frames. Holds nothing of its body: a client may wait long for its answer.
struct Prepared {
    batch: BatchId,
    frames: Vec<Outgoing>,
    received_at: Timestamp,
    tally: Tally,
    /// Of the items that were not accepted.
    faults: Vec<(u32, Fault)>,
}

impl Gateway {
    async fn ingest(&self, route: &Events, mut request: Request) -> Result<Response, Rejection> {
        self.admit(&request).await?;
        let mut options = Options::read(&request, route.shape, self.rules.default_wait)?;
        if self.settles_on_commit {
            options.reply = options.reply.after_commit();
        }
        let payload = request.payload().or_else(|problem| match route.cloudevents {
            // Of a binary event it is the data's, which may have none.
            true => Ok(Payload::Json),
            false => Err(problem),
        })?;
        let body = request.read_body().await?;
        let deadline = self.deadline(&request, route.experiment.as_deref());
        let (sent, received_at) = self.take_apart(route, &request, payload, &body, deadline).await?;
        let list = sent.list;
        let prepared = self.prepare(&request, &options, sent, received_at, deadline).await?;
        drop(body);
        self.write(&request, &options, prepared, list, deadline).await
    }

    /// The same for an SDK that is not ours.
    async fn ingest_of_sdk(&self, sdk: Sdk, mut request: Request) -> Result<Response, Rejection> {
        self.admit(&request).await?;
        let options = Options::of_sdk(&request)?;
        let body = request.read_body().await?;
        let (deadline, received_at) = (self.deadline(&request, None), clock::now());
        let text = body::text(&body)?;
        let parsed = sdk.decode(request.headers(), text, self.terms(&request))?;
        let total = parsed.total();
        let sent = Sent { parsed, shape: Shape::Events, list: "", named: None };
        let prepared = self.prepare(&request, &options, sent, received_at, deadline).await?;
        let answer = sdk.answer(text, total, &prepared.faults)?;
        self.send(&request, prepared.frames, &prepared.tally, deadline).await?;
        Ok(answer)
    }

    fn terms<'t>(&'t self, request: &'t Request) -> Terms<'t> {
        let tenant = request.principal().tenant.as_ref();
        Terms { tenant, values: &self.rules.sdk_values, max_events: self.rules.max_batch_events }
    }

    /// When a request whose whole body is there must be answered; waiting for the commit because the client asks
    /// comes on top.
    fn deadline(&self, request: &Request, experiment: Option<&str>) -> Instant {
        Instant::now() + self.budgets.ingest(&request.principal().tenant, experiment)
    }

    /// A body of one of our own routes.
    async fn take_apart<'a>(
        &self,
        route: &Events,
        request: &'a Request,
        payload: Payload,
        body: &'a [u8],
        deadline: Instant,
    ) -> Result<(Sent<'a>, Timestamp), Rejection> {
        let (shape, received_at) = (route.shape, clock::now());
        let tenant = request.principal().tenant.as_ref();
        let named = within(deadline, self.lookup(tenant).named(route)).await?;
        if route.cloudevents {
            let parsed = cloudevents::decode(body::text(body)?, request.headers(), self.terms(request))?;
            return Ok((Sent { parsed, shape, list: "", named }, received_at));
        }
        let (form, list) = match payload {
            Payload::Json => (Form::Json, shape.list()),
            Payload::NdJson => (Form::NdJson, ""),
        };
        let parsed = body::parse(body, shape, form, self.rules.max_batch_events)?;
        Ok((Sent { parsed, shape, list, named }, received_at))
    }

    /// From items to frames, or to what is wrong with them.
    async fn prepare(
        &self,
        request: &Request,
        options: &Options,
        sent: Sent<'_>,
        received_at: Timestamp,
        deadline: Instant,
    ) -> Result<Prepared, Rejection> {
        let Sent { mut parsed, shape, list, named } = sent;
        let tenant = request.principal().tenant.as_ref();
        self.limits.events(tenant, parsed.total()).await.map_err(|problem| self.limited(tenant, problem))?;
        let experiment = named.as_ref().map_or(ExperimentId::NONE, |entry| entry.id);
        let (sent, mut faults) = (parsed.total(), std::mem::take(&mut parsed.faults));
        let items = &parsed.items;
        let clock = Clock::new(&self.rules, received_at, parsed.sent_at.or(options.sent_at));
        let lookup = self.lookup(tenant);
        let targets = within(deadline, lookup.targets(shape, named, items)).await?;
        let strict = match options.strict {
            true => Some(within(deadline, lookup.used_metrics(items)).await?),
            false => None,
        };
        let judge = Judge { tenant, partitions: self.partitions, clock, targets, strict };
        let slots = judge.slots(items, &mut faults);

        let too_few = match options.quorum {
            Quorum::All => !faults.is_empty(),
            Quorum::One => !faults.is_empty() && slots.is_empty(),
            Quorum::None => false,
        };
        if too_few {
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
        Ok(Prepared { batch, frames, received_at, tally, faults })
    }

    /// Whether there is room for anything at all, and for one request more of this tenant.
    async fn admit(&self, request: &Request) -> Result<(), Rejection> {
        self.room()?;
        let tenant = &request.principal().tenant;
        self.limits.request(tenant).await.map_err(|problem| self.limited(tenant, problem))
    }

    fn limited(&self, tenant: &str, problem: Problem) -> Rejection {
        self.stats.limited.inc_by(tenant, 1);
        Rejection::Limited(problem)
    }

    fn room(&self) -> Result<(), Refusal> {
        let backlog = self.producer.backlog();
        if !backlog.reachable {
            return Err(Refusal::new(Code::QueueUnavailable, "the queue cannot be reached"));
        }
        if backlog.events >= self.backlog_limit || backlog.memory_fraction >= MEMORY_LIMIT {
            return Err(Refusal::new(Code::QueueFull, "the queue holds as much as it may"));
        }
        Ok(())
    }

    fn lookup<'g>(&'g self, tenant: &'g str) -> Lookup<'g> {
        Lookup { catalogue: &*self.catalogue, tenant }
    }

    /// Writes the frames and answers.
    async fn write(
        &self,
        request: &Request,
        options: &Options,
        prepared: Prepared,
        list: &str,
        deadline: Instant,
    ) -> Result<Response, Rejection> {
        let Prepared { batch, frames, received_at, tally, faults } = prepared;
        let rejected = (options.quorum == Quorum::One).then(|| item_errors(&faults, list));
        drop(faults);
        let request_id = request.id();
        let parts = u16::try_from(frames.len()).unwrap_or(u16::MAX);
        let waiter = match options.reply {
            Reply::Wait { limit, .. } => {
                // What becomes of it is told once: to nobody, if it is committed before we listen.
                drop(timeout(limit.min(LISTEN), self.receipts.heard()).await);
                Some(self.receipts.expect(batch, request_id, parts))
            }
            Reply::Queued | Reply::Async => None,
        };
        // Where an acknowledgement is a commit, who asked to wait for that longer than the budget does so here.
        let (deadline, wait) = match options.reply {
            Reply::Wait { limit, .. } if self.settles_on_commit => {
                (deadline.max(Instant::now() + limit), Duration::ZERO)
            }
            Reply::Wait { limit, .. } => (deadline, limit),
            Reply::Queued | Reply::Async => (deadline, Duration::ZERO),
        };
        self.send(request, frames, &tally, deadline).await?;

        let (received, keyless, rejected) = (tally.events, tally.keyless, rejected.as_ref());
        let answer = Accepted { batch, request_id, received, keyless, parts, received_at, rejected };
        if let (Some(waiter), Reply::Wait { asked, .. }) = (waiter, options.reply) {
            let totals = tokio::select! {
                // What has been told already is the answer, also while the process ends.
                biased;
                totals = waiter.wait(Instant::now() + wait) => totals,
                () = self.draining.cancelled() => None,
            };
            if let Some(totals) = totals {
                return Ok(answer.applied(totals, asked)?);
            }
        }
        Ok(answer.queued(options.reply, self.rules.results_url.as_deref())?)
    }

    /// Ends when every frame is durable, and counts what was accepted.
    async fn send(
        &self,
        request: &Request,
        frames: Vec<Outgoing>,
        tally: &Tally,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        self.producer.send(frames, deadline).await.map_err(|error| unsent(&error, request.id()))?;
        tally.count(&request.principal().tenant, &self.stats);
        Ok(())
    }
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
