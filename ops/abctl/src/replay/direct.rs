//! `--direct`: a gateway inside this command, so that rows are judged and framed by the same code as everywhere, and
//! the queue has them from an ordered writer of this command's own.

use anyhow::Result;
use ingest_gateway::Part;
use service::boot::{Boot, BootError, Listeners};
use service::health::Health;
use service::settings::{Refusal, Secret, Settings};
use service::shutdown::Shutdown;
use std::sync::Arc;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub struct Direct {
    pub url: String,
    /// Known to nobody else.
    pub token: String,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), BootError>>,
}

impl Direct {
    /// On a port of loopback that the system chooses.
    pub async fn start(settings: &Settings) -> Result<Direct> {
        if settings.queue.redis_url.is_none() {
            return Err(
                Refusal::new("AB_REDIS_URL", "must be set: --direct writes to the queue itself").into()
            );
        }
        let token = format!("direct-{}", Uuid::new_v4());
        let mut settings = settings.clone();
        settings.auth.api_token = Some(Secret::new(token.clone()));
        let boot = Boot::embedded(settings)?;
        let queue = backends::open_queue(&boot.settings, boot.settings.partitions()?)?;
        let part = Part::start(&boot, queue).await?;
        let listeners = Listeners::loopback().await?;
        let url = format!("http://{}", listeners.public_addr()?);
        let shutdown = boot.shutdown.clone();
        let serving = tokio::spawn(async move {
            let health = part.checks(Health::new(&boot.settings));
            let served = listeners.serve(&boot, Arc::clone(&part.app()), health).await;
            part.end().await;
            served
        });
        Ok(Direct { url, token, shutdown, serving })
    }

    /// Once nothing is sent any more.
    pub async fn end(self) -> Result<()> {
        self.shutdown.begin();
        Ok(self.serving.await??)
    }
}
