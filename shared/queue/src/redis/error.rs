use redis::{ErrorKind, RedisError};

use crate::QueueError;

/// What Redis said, as the port's error.
pub(crate) fn failed(doing: &'static str, error: RedisError) -> QueueError {
    let for_good = matches!(error.kind(), ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed)
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    QueueError::new(doing, !for_good, error)
}

pub(crate) fn unexpected(doing: &'static str) -> QueueError {
    failed(doing, unexpected_reply())
}

pub(crate) fn unexpected_reply() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "a reply of an unexpected shape"))
}
