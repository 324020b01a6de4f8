//! The analyzer as a part of a process: the whole of it in this tier, one of three in `abctl up`.

use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use service::boot::{Boot, BootError};
use service::logs::causes;
use store::Store;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::Analyzer;
use crate::catalogue::Catalogue;
use crate::keys::Issuer;
use crate::watch::Watch;
use crate::webhooks::{Look, Policy, Sender, sender::Counts};

/// What the writers of redriven events get to end in.
const WRITERS_END: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(500);

pub struct Part {
    analyzer: Arc<Analyzer>,
    reconciler: JoinHandle<()>,
    publisher: JoinHandle<()>,
    watch: JoinHandle<()>,
    look: JoinHandle<()>,
    sender: JoinHandle<()>,
}

impl Part {
    /// Brings the catalogue up to date, and keeps it so until the boot's shutdown begins.
    pub async fn start(boot: &Boot, store: Arc<dyn Store>, queue: Arc<dyn Queue>) -> Result<Part, BootError> {
        let (settings, stop) = (&boot.settings, boot.shutdown.token());
        let partitions = settings.partitions()?;
        let unregistered = |error| BootError::failed("register metrics", error);
        let catalogue = Catalogue::new(store.clone(), queue.projection(), &boot.metrics);
        let catalogue = catalogue.map_err(unregistered)?;
        let watch = Watch::new(store.clone(), queue.clone(), partitions, &boot.metrics);
        let watch = watch.map_err(unregistered)?;
        let counts = Counts::new(&boot.metrics).map_err(unregistered)?;
        let look = Look::new(store.clone(), &settings.webhooks, counts.clone(), &boot.metrics);
        let look = look.map_err(unregistered)?;
        let sender = Sender::new(store.clone(), Policy::of(&settings.webhooks), counts);
        complete(&catalogue, settings.lifecycle.startup_timeout).await?;
        let catalogue = Arc::new(catalogue);
        let issuer = Issuer::new(store.clone(), queue.issued_keys(), boot.keys.clone(), &boot.metrics);
        let issuer = Arc::new(issuer.map_err(unregistered)?);
        // Before anybody asks; what fails here is tried again.
        if let Err(error) = issuer.publish().await {
            issuer.not_written(&error);
        }
        service::auth::follow(&boot.keys, queue.issued_keys(), &boot.metrics, stop.clone())
            .map_err(unregistered)?;
        let publisher = tokio::spawn(issuer.clone().keep_published(stop.clone()));
        let analyzer = Analyzer::new(store, catalogue.clone(), issuer, queue, partitions, boot)
            .map_err(|error| BootError::failed("build the routes", error))?;
        let reconciler = tokio::spawn(catalogue.keep_reconciled(stop.clone()));
        let watch = tokio::spawn(watch.run(stop.clone()));
        let look = tokio::spawn(look.run(stop.clone()));
        let sender = tokio::spawn(sender.run(stop));
        Ok(Part { analyzer: Arc::new(analyzer), reconciler, publisher, watch, look, sender })
    }

    pub fn app(&self) -> Arc<Analyzer> {
        Arc::clone(&self.analyzer)
    }

    /// Once no request is open any more.
    pub async fn end(self) -> Result<(), BootError> {
        if !self.analyzer.drain(Instant::now() + WRITERS_END).await {
            tracing::warn!("ended with events whose writing was not confirmed; their dead letters are kept");
        }
        self.sender.await.map_err(|error| BootError::failed("send to webhooks", error))?;
        self.look.await.map_err(|error| BootError::failed("look for what webhooks are told", error))?;
        self.watch.await.map_err(|error| BootError::failed("watch books and experiments", error))?;
        self.publisher.await.map_err(|error| BootError::failed("keep issued keys published", error))?;
        self.reconciler.await.map_err(|error| BootError::failed("keep the catalogue reconciled", error))
    }
}

/// Gateways can answer as soon as this has succeeded once.
async fn complete(catalogue: &Catalogue, patience: Duration) -> Result<(), BootError> {
    let deadline = Instant::now() + patience;
    loop {
        match catalogue.reconcile().await {
            Ok(true) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(BootError::failed("write the catalogue", error));
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "the catalogue is not written; trying again");
            }
            // Another analyzer is writing it: it is complete, or will be in a moment.
            Ok(false) if Instant::now() >= deadline => return Ok(()),
            Ok(false) => {}
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
