//! A worker among others: its signs of life, its share, and an end for connections of one that lives no more.

use crate::shares::{Share, Shares};
use crate::source;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::StoreError;
use store::apply::{Connect, Members, Session};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Until the first share is known, so that a start does not wait for seconds.
const FIRST_BEATS: Duration = Duration::from_millis(200);
/// Who judges others must have been on time.
const ON_TIME: Duration = Duration::from_millis(1_500);
const LIMIT: Duration = Duration::from_secs(5);

/// The apply connections of this process, one per lane.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<Vec<Session>>>);

/// A connection listed, while this lives.
pub struct Listed {
    sessions: Sessions,
    session: Option<Session>,
}

impl Sessions {
    pub fn list(&self, session: Option<Session>) -> Listed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(session);
        Listed { sessions: self.clone(), session }
    }

    fn all(&self) -> Vec<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|s| Some(*s) != self.session);
    }
}

/// Beats until `stop`. While the database cannot be asked the share stays: it is the compare-and-set that keeps the
/// books.
pub async fn run(
    connect: Arc<dyn Connect>,
    me: Uuid,
    sessions: Sessions,
    share: watch::Sender<Share>,
    stop: CancellationToken,
) {
    let mut backoff = source::backoff();
    let mut shares = Shares::new(me);
    while !stop.is_cancelled() {
        match beat_until(&*connect, me, &sessions, &mut shares, &share, &stop).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "no sign of life could be given; trying again"),
        }
        source::pause(&mut backoff, &stop).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum BeatError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database does not answer")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// The life of one connection.
async fn beat_until(
    connect: &dyn Connect,
    me: Uuid,
    sessions: &Sessions,
    shares: &mut Shares,
    share: &watch::Sender<Share>,
    stop: &CancellationToken,
) -> Result<(), BeatError> {
    let Some(mut members) = timeout(LIMIT, connect.members()).await?? else {
        share.send_replace(Share::ALL);
        return Ok(());
    };
    let mut last: Option<Instant> = None;
    loop {
        let everybody = timeout(LIMIT, members.beat(me, &sessions.all())).await??;
        let on_time = last.is_some_and(|last| last.elapsed() < ON_TIME);
        last = Some(Instant::now());
        let living = everybody.iter().filter(|m| !m.silent).map(|m| m.id).collect();
        let mine = shares.see(living);
        share.send_if_modified(|share| std::mem::replace(share, mine) != mine);
        for silent in everybody.iter().filter(|m| m.silent && on_time) {
            free(&mut *members, silent.id).await?;
        }
        let pause = if mine == Share::NOTHING { FIRST_BEATS } else { BEAT_EVERY };
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            timeout(LIMIT, members.leave(me)).await??;
            return Ok(());
        }
    }
}

async fn free(members: &mut dyn Members, silent: Uuid) -> Result<(), BeatError> {
    let ended = timeout(LIMIT, members.free(silent)).await??;
    tracing::warn!(worker = %silent, connections = ended, "a silent worker's connections were ended");
    Ok(())
}
