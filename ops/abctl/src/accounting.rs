//! `abctl accounting`: in which column every accepted event ended.

use crate::cli::duration;
use crate::output;
use anyhow::Result;
use backends::BooksError;
use clap::Args;
use queue::Queue;
use service::settings::Settings;
use std::time::{Duration, Instant};
use store::{Books, Store};

/// Show in which column every accepted event ended; exit 1 if the books do not close or anything is lost.
#[derive(Args)]
pub struct Accounting {
    /// Wait this long for everything in flight to be applied.
    #[arg(long, default_value = "0s", value_parser = duration)]
    wait: Duration,
}

impl Accounting {
    /// Whether the books are good.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let (store, partitions) = backends::connect_store(settings).await?;
        let queue = backends::open_queue(settings, partitions)?;
        let books = settled(&*store, &*queue, partitions, self.wait).await?;
        if json {
            output::json(&books)?
        } else {
            output::books(&books)?
        }
        Ok(books.are_good())
    }
}

/// Between two looks at the books while waiting.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The books once nothing is in flight, or as they are after `limit`.
pub async fn settled(
    store: &dyn Store,
    queue: &dyn Queue,
    partitions: u16,
    limit: Duration,
) -> Result<Books, BooksError> {
    let deadline = Instant::now() + limit;
    loop {
        let books = backends::books(store, queue, partitions).await?;
        if books.total.in_flight == 0 || Instant::now() >= deadline {
            return Ok(books);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}
