use std::error::Error;

/// What went wrong between us and the queue. The cause is kept; decisions are made by [`QueueError::is_transient`].
#[derive(Debug, thiserror::Error)]
#[error("queue: {doing}")]
pub struct QueueError {
    /// What was being done, for the log.
    doing: &'static str,
    transient: bool,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl QueueError {
    pub(crate) fn new(
        doing: &'static str,
        transient: bool,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> QueueError {
        QueueError { doing, transient, source: source.into() }
    }

    /// False when trying again cannot help: the queue's address is wrong or the credentials are refused.
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}
