//! How an entry gets to Redis: the one thing in which clients of Redis differ here.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::Partition;
use uuid::Uuid;

use crate::numbering::{Outcome, Stamp};

/// As it is written, and written again, until its outcome is known.
pub(super) struct Entry {
    pub(super) partition: Partition,
    pub(super) writer: Uuid,
    pub(super) stamp: Stamp,
    pub(super) payload: Bytes,
    /// So many must have confirmed it, within this time.
    pub(super) replicas: Option<(u32, Duration)>,
}

/// A client of Redis, as the writer of one stream needs it. It never sends anything twice by itself.
#[async_trait]
pub(super) trait Wire: Send + Sync {
    /// One attempt: XADD, the writer's total, and if wanted WAIT, on one connection and in this order.
    async fn send(&mut self, entry: &Entry) -> Attempt;
}

pub(super) enum Attempt {
    Made(Outcome, Option<Trouble>),
    /// Nothing was carried out: no attempt at all.
    NotConnected(Trouble),
}

/// What went wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The server's, if it answered.
    pub(super) code: Option<String>,
    pub(super) source: Box<dyn Error + Send + Sync>,
}

/// What the server says to a command.
pub(super) enum Reply {
    Id,
    Number(i64),
    Error(Trouble),
    Unexpected,
}

/// The attempt's outcome by the replies to the XADD and to the WAIT.
pub(super) fn judge(added: Reply, waited: Option<Reply>, replicas: Option<(u32, Duration)>) -> Attempt {
    match added {
        Reply::Id => {}
        // Redis checks before it writes: an error in reply to the XADD itself means it was not carried out.
        Reply::Error(trouble) => return Attempt::Made(Outcome::Refused, Some(trouble)),
        Reply::Number(_) | Reply::Unexpected => return Attempt::Made(Outcome::Unknown, None),
    }
    let Some((wanted, _)) = replicas else { return Attempt::Made(Outcome::Written, None) };
    match waited {
        Some(Reply::Number(confirmed)) if confirmed >= i64::from(wanted) => {
            Attempt::Made(Outcome::Written, None)
        }
        Some(Reply::Error(trouble)) => Attempt::Made(Outcome::Unknown, Some(trouble)),
        _ => Attempt::Made(Outcome::Unknown, None),
    }
}
