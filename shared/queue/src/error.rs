use redis::{ErrorKind, RedisError};

/// What went wrong between us and Redis. The cause is kept; decisions are made by [`QueueError::is_transient`].
#[derive(Debug, thiserror::Error)]
#[error("Redis: {doing}")]
pub struct QueueError {
    /// What was being done, for the log.
    doing: &'static str,
    #[source]
    source: RedisError,
}

impl QueueError {
    pub(crate) fn new(doing: &'static str, source: RedisError) -> QueueError {
        QueueError { doing, source }
    }

    pub(crate) fn unexpected(doing: &'static str) -> QueueError {
        QueueError::new(doing, unexpected_reply())
    }

    /// False when trying again cannot help: the URL is wrong or the credentials are refused.
    pub fn is_transient(&self) -> bool {
        !matches!(self.source.kind(), ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed)
            && !matches!(self.source.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
    }

    /// Redis' own error code (`OOM`, `READONLY`, ..), if it was Redis that said no.
    pub fn code(&self) -> Option<&str> {
        self.source.code()
    }
}

pub(crate) fn unexpected_reply() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "a reply of an unexpected shape"))
}
