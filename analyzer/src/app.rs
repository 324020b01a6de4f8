//! Which path is whose: routes, methods and scopes of the analyzer.

use std::sync::{Arc, OnceLock};

use matchit::{InsertError, Router};
use queue::Queue;
use queue::producer::Producer;
use service::auth::Scopes;
use service::http::{Access, App, Found, Method, Problem, Request, Response, Route};
use store::{Status, Store};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::catalogue::Catalogue;
use crate::{
    accounting, batches, calculators, dead_letters, decision, experiments, ingestion, live_stats, timeseries,
};

pub struct Analyzer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) catalogue: Arc<Catalogue>,
    /// For what is in flight; accounting asks the queue itself.
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) partitions: u16,
    /// Held while an answer reads every user.
    pub(crate) scans: Semaphore,
    /// For what is sent again; made when first used.
    producer: OnceLock<Box<dyn Producer>>,
    routes: Router<Path>,
}

#[derive(Debug, Clone, Copy)]
enum Path {
    Experiments,
    Experiment,
    Become(Status),
    Restore,
    History,
    Ingestion,
    LiveStats,
    Decision,
    Timeseries,
    Calculator(Calculator),
    Batch,
    Accounting,
    DeadLetters,
    DeadLetter,
    Redrive,
    Drop,
}

#[derive(Debug, Clone, Copy)]
pub enum Calculator {
    Power,
    Srm,
    MultipleTesting,
}

/// A route with its path parameter, the id of a batch or a dead letter, or an experiment's key or id.
#[derive(Debug)]
pub enum Handler {
    Create,
    List,
    Get(String),
    Put(String),
    Patch(String),
    Delete(String),
    Become(String, Status),
    Restore(String),
    History(String),
    Ingestion(String),
    LiveStats(String),
    Decision(String),
    Timeseries(String),
    Calculator(Calculator),
    Batch(String),
    Accounting,
    DeadLetters,
    DeadLetter(String),
    Redrive,
    Drop,
}

const BASE: &str = "/api/v1";
/// Who may read; whoever may change experiments may see them.
const READ: Scopes = Scopes::READ.union(Scopes::ADMIN);
/// Each sees other letters.
const LETTERS: Scopes = Scopes::ADMIN.union(Scopes::OPERATOR);
const SEND: Scopes = Scopes::EVENTS.union(Scopes::INGEST);

impl Analyzer {
    pub fn new(
        store: Arc<dyn Store>,
        catalogue: Arc<Catalogue>,
        queue: Arc<dyn Queue>,
        partitions: u16,
    ) -> Result<Analyzer, InsertError> {
        let mut routes = Router::new();
        for (path, name) in [
            ("/experiments", Path::Experiments),
            ("/experiments/{id}", Path::Experiment),
            ("/experiments/{id}/start", Path::Become(Status::Running)),
            ("/experiments/{id}/stop", Path::Become(Status::Stopped)),
            ("/experiments/{id}/archive", Path::Become(Status::Archived)),
            ("/experiments/{id}/restore", Path::Restore),
            ("/experiments/{id}/history", Path::History),
            ("/experiments/{id}/ingestion", Path::Ingestion),
            ("/experiments/{id}/live-stats", Path::LiveStats),
            ("/experiments/{id}/decision", Path::Decision),
            ("/experiments/{id}/timeseries", Path::Timeseries),
            ("/stats/power", Path::Calculator(Calculator::Power)),
            ("/stats/srm", Path::Calculator(Calculator::Srm)),
            ("/stats/multiple-testing", Path::Calculator(Calculator::MultipleTesting)),
            ("/batches/{id}", Path::Batch),
            ("/accounting", Path::Accounting),
            ("/dead-letters", Path::DeadLetters),
            ("/dead-letters/{id}", Path::DeadLetter),
            ("/dead-letters/redrive", Path::Redrive),
            ("/dead-letters/drop", Path::Drop),
        ] {
            routes.insert(format!("{BASE}{path}"), name)?;
        }
        let (scans, producer) = (Semaphore::new(1), OnceLock::new());
        Ok(Analyzer { store, catalogue, queue, partitions, scans, producer, routes })
    }

    pub(crate) fn producer(&self) -> &dyn Producer {
        &**self.producer.get_or_init(|| self.queue.producer())
    }

    /// Ends the writers, if there are any; false if the deadline came first.
    pub(crate) async fn drain(&self, deadline: Instant) -> bool {
        match self.producer.get() {
            Some(producer) => producer.drain(deadline).await,
            None => true,
        }
    }
}

impl App for Analyzer {
    type Handler = Handler;

    fn classes() -> Vec<&'static str> {
        vec![
            "experiments",
            "ingestion",
            "live-stats",
            "decision",
            "timeseries",
            "stats",
            "batches",
            "accounting",
            "dead-letters",
        ]
    }

    fn find(&self, method: &Method, path: &str) -> Found<Handler> {
        let Ok(found) = self.routes.at(path) else { return Found::NotFound };
        let id = || found.params.get("id").unwrap_or_default().to_owned();
        let (handler, class, any_of) = match (*found.value, method) {
            (Path::Experiments, &Method::POST) => (Handler::Create, "experiments", Scopes::ADMIN),
            (Path::Experiments, &Method::GET) => (Handler::List, "experiments", READ),
            (Path::Experiments, _) => return Found::MethodNotAllowed("GET, POST"),
            (Path::Experiment, &Method::GET) => (Handler::Get(id()), "experiments", READ),
            (Path::Experiment, &Method::PUT) => (Handler::Put(id()), "experiments", Scopes::ADMIN),
            (Path::Experiment, &Method::PATCH) => (Handler::Patch(id()), "experiments", Scopes::ADMIN),
            (Path::Experiment, &Method::DELETE) => (Handler::Delete(id()), "experiments", Scopes::ADMIN),
            (Path::Experiment, _) => return Found::MethodNotAllowed("GET, PUT, PATCH, DELETE"),
            (Path::Become(to), &Method::POST) => (Handler::Become(id(), to), "experiments", Scopes::ADMIN),
            (Path::Restore, &Method::POST) => (Handler::Restore(id()), "experiments", Scopes::ADMIN),
            (Path::Become(_) | Path::Restore, _) => return Found::MethodNotAllowed("POST"),
            (Path::History, &Method::GET) => (Handler::History(id()), "experiments", READ),
            (Path::Ingestion, &Method::GET) => (Handler::Ingestion(id()), "ingestion", READ),
            (Path::LiveStats, &Method::GET) => (Handler::LiveStats(id()), "live-stats", READ),
            (Path::Decision, &Method::GET) => (Handler::Decision(id()), "decision", READ),
            (Path::Timeseries, &Method::GET) => (Handler::Timeseries(id()), "timeseries", READ),
            (Path::Calculator(which), &Method::POST) => (Handler::Calculator(which), "stats", READ),
            (Path::Calculator(_), _) => return Found::MethodNotAllowed("POST"),
            (Path::Batch, &Method::GET) => (Handler::Batch(id()), "batches", READ.union(SEND)),
            (Path::Accounting, &Method::GET) => (Handler::Accounting, "accounting", READ),
            (Path::DeadLetters, &Method::GET) => (Handler::DeadLetters, "dead-letters", LETTERS),
            (Path::DeadLetter, &Method::GET) => (Handler::DeadLetter(id()), "dead-letters", LETTERS),
            (Path::Redrive, &Method::POST) => (Handler::Redrive, "dead-letters", LETTERS),
            (Path::Drop, &Method::POST) => (Handler::Drop, "dead-letters", LETTERS),
            (Path::Redrive | Path::Drop, _) => return Found::MethodNotAllowed("POST"),
            (Path::History | Path::Ingestion | Path::LiveStats | Path::Decision | Path::Timeseries, _)
            | (Path::Batch | Path::Accounting | Path::DeadLetters | Path::DeadLetter, _) => {
                return Found::MethodNotAllowed("GET");
            }
        };
        Found::Route(Route { handler, class, access: Access::Key { any_of, beacon: false } })
    }

    async fn handle(&self, handler: Handler, request: Request) -> Result<Response, Problem> {
        match handler {
            Handler::Create => experiments::create(self, request).await,
            Handler::List => experiments::list(self, &request).await,
            Handler::Get(id) => experiments::get(self, &request, &id).await,
            Handler::Put(id) => experiments::change::put(self, request, &id).await,
            Handler::Patch(id) => experiments::change::patch(self, request, &id).await,
            Handler::Delete(id) => experiments::delete(self, &request, &id).await,
            Handler::Become(id, to) => experiments::become_status(self, request, &id, to).await,
            Handler::Restore(id) => experiments::restore(self, request, &id).await,
            Handler::History(id) => experiments::history::get(self, &request, &id).await,
            Handler::Ingestion(id) => ingestion::get(self, &request, &id).await,
            Handler::LiveStats(id) => live_stats::get(self, &request, &id).await,
            Handler::Decision(id) => decision::get(self, &request, &id).await,
            Handler::Timeseries(id) => timeseries::get(self, &request, &id).await,
            Handler::Calculator(Calculator::Power) => calculators::power(request).await,
            Handler::Calculator(Calculator::Srm) => calculators::srm(request).await,
            Handler::Calculator(Calculator::MultipleTesting) => calculators::multiple_testing(request).await,
            Handler::Batch(id) => batches::get(self, &request, &id).await,
            Handler::Accounting => accounting::get(self, &request).await,
            Handler::DeadLetters => dead_letters::list(self, &request).await,
            Handler::DeadLetter(id) => dead_letters::get(self, &request, &id).await,
            Handler::Redrive => dead_letters::redrive(self, request).await,
            Handler::Drop => dead_letters::drop(self, request).await,
        }
    }
}
