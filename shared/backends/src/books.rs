use queue::producer::WriterTotals;
use queue::{Queue, QueueError};
use std::collections::HashMap;
use store::{Books, Sent, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The books as they are now.
pub async fn books(store: &dyn Store, queue: &dyn Queue, partitions: u16) -> Result<Books, BooksError> {
    let before = queue.sent_totals().await?;
    let accounts = store.accounting().await?;
    let after = queue.sent_totals().await?;
    Ok(Books::balance(&accounts, &around(&before, &after), partitions))
}

/// What the queue said before and after the accounts were read. Sent is what was sent `after`, so that nothing in
/// flight is missed. Applied, asked only of writers that the database does not know, is what was applied `before`:
/// one of which it has forgotten everything; a new one whose first entry came in between still is in flight.
pub fn around(before: &[WriterTotals], after: &[WriterTotals]) -> Vec<Sent> {
    let applied: HashMap<_, u64> = before.iter().map(|t| ((t.partition, t.writer), t.applied)).collect();
    let one = |t: &WriterTotals| Sent {
        partition: t.partition,
        writer: t.writer,
        sent: t.sent,
        applied: applied.get(&(t.partition, t.writer)).copied().unwrap_or(0),
    };
    after.iter().map(one).collect()
}
