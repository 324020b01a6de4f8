//! What the tier has, and what of it does what a route ([`crate::routes`]) asks for.

use std::sync::{Arc, OnceLock};

use matchit::InsertError;
use queue::Queue;
use queue::producer::Producer;
use service::auth::Keys;
use service::boot::Boot;
use service::http::{App, Found, Method, Networks, Problem, Request, Response};
use service::openapi;
use service::settings::{Secret, Settings};
use store::{Kept, Store};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::catalogue::Catalogue;
use crate::export::Exports;
use crate::keys::Issuer;
use crate::routes::{self, Action, Handler, Routes};
use crate::stream::{self, Feeds};
use crate::{
    accounting, assign, audit, batches, calculators, dead_letters, decision, diagnostics, erase, experiments,
    export, ingestion, keys, live_stats, page, purge, timeseries, users, webhooks, workspace,
};

pub struct Analyzer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) issuer: Arc<Issuer>,
    /// For what is in flight; accounting asks the queue itself.
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) partitions: u16,
    /// What is kept unless a purge says otherwise.
    pub(crate) kept: Kept,
    pub(crate) settings: Arc<Settings>,
    pub(crate) keys: Arc<Keys>,
    /// Held while an answer reads every user.
    pub(crate) scans: Semaphore,
    /// For what is sent again; made when first used.
    producer: OnceLock<Box<dyn Producer>>,
    pub(crate) feeds: Arc<Feeds>,
    /// Addresses webhooks may have although they are not public.
    pub(crate) webhook_targets: Networks,
    pub(crate) exports: Exports,
    /// Signs definitions that leave, and what comes must be signed with.
    pub(crate) signing_key: Option<Secret>,
    routes: Routes,
}

impl Analyzer {
    pub fn new(
        store: Arc<dyn Store>,
        catalogue: Arc<Catalogue>,
        issuer: Arc<Issuer>,
        queue: Arc<dyn Queue>,
        partitions: u16,
        boot: &Boot,
    ) -> Result<Analyzer, InsertError> {
        let (settings, keys) = (Arc::clone(&boot.settings), Arc::clone(&boot.keys));
        let stop = boot.shutdown.token();
        let (routes, feeds) = (Routes::new()?, Feeds::new(store.clone(), stop.clone()));
        let exports = Exports::new(stop);
        let (webhook_targets, signing_key) =
            (settings.webhooks.allow_private.clone(), settings.auth.workspace_signing_key.clone());
        let (scans, producer) = (Semaphore::new(1), OnceLock::new());
        let kept = backends::kept(&settings);
        Ok(Analyzer {
            store,
            catalogue,
            issuer,
            queue,
            partitions,
            settings,
            keys,
            kept,
            scans,
            producer,
            feeds,
            exports,
            webhook_targets,
            signing_key,
            routes,
        })
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
        let mut classes: Vec<&str> = routes::ROWS.iter().map(|row| row.class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn find(&self, method: &Method, path: &str) -> Found<Handler> {
        self.routes.find(method, path)
    }

    fn experiment<'h>(&self, handler: &'h Handler) -> Option<&'h str> {
        Some(&handler.id)
    }

    /// Given up before its end, because its time is over or nobody waits any more, it asks the database nothing more.
    async fn handle(&self, handler: Handler, request: Request) -> Result<Response, Problem> {
        store::abandonable(self.act(handler, request)).await
    }
}

impl Analyzer {
    async fn act(
        &self,
        Handler { action, id, user }: Handler,
        request: Request,
    ) -> Result<Response, Problem> {
        match action {
            Action::Page => page::get(&request),
            Action::Docs => openapi::docs(&request),
            Action::OpenApi => openapi::document(&request),
            Action::Create => experiments::create(self, request).await,
            Action::List => experiments::list(self, &request).await,
            Action::Get => experiments::get(self, &request, &id).await,
            Action::Put => experiments::change::put(self, request, &id).await,
            Action::Patch => experiments::change::patch(self, request, &id).await,
            Action::Delete => experiments::delete(self, &request, &id).await,
            Action::Become(to) => experiments::become_status(self, request, &id, to).await,
            Action::Restore => experiments::restore(self, request, &id).await,
            Action::EraseUser => erase::post(self, request).await,
            Action::Purge => purge::post(self, request).await,
            Action::LastPurge => purge::get(self, &request).await,
            Action::Rebuild => experiments::rebuild::post(self, request, &id).await,
            Action::History => experiments::history::get(self, &request, &id).await,
            Action::Ingestion => ingestion::get(self, &request, &id).await,
            Action::LiveStats => live_stats::get(self, &request, &id).await,
            Action::Stream => stream::get(self, &request, &id).await,
            Action::Decision => decision::get(self, &request, &id).await,
            Action::Timeseries => timeseries::get(self, &request, &id).await,
            Action::Assign => assign::post(self, request, &id).await,
            Action::Export => export::get(self, &request, &id).await,
            Action::ExportWorkspace => workspace::export(self, &request).await,
            Action::ValidateWorkspace => workspace::import(self, request, false).await,
            Action::ImportWorkspace => workspace::import(self, request, true).await,
            Action::User => users::get(self, &request, &id, &user).await,
            Action::Power => calculators::power(request).await,
            Action::Srm => calculators::srm(request).await,
            Action::MultipleTesting => calculators::multiple_testing(request).await,
            Action::Batch => batches::get(self, &request, &id).await,
            Action::Accounting => accounting::get(self, &request).await,
            Action::DeadLetters => dead_letters::list(self, &request).await,
            Action::DeadLetter => dead_letters::get(self, &request, &id).await,
            Action::Redrive => dead_letters::redrive(self, request).await,
            Action::CreateKey => keys::create(self, request).await,
            Action::ListKeys => keys::list(self, &request).await,
            Action::RevokeKey => keys::revoke(self, &request, &id).await,
            Action::Diagnostics => diagnostics::get(self, &request).await,
            Action::Audit => audit::get(self, &request).await,
            Action::Drop => dead_letters::drop(self, request).await,
            Action::Webhooks => webhooks::routes::list(self, &request).await,
            Action::CreateWebhook => webhooks::routes::create(self, request).await,
            Action::DeleteWebhook => webhooks::routes::delete(self, &request, &id).await,
            Action::Deliveries => webhooks::routes::deliveries(self, &request, &id).await,
            Action::TestWebhook => webhooks::routes::test(self, request, &id).await,
        }
    }
}
