//! Allowances in Redis.
//!
//! A gateway takes more than it needs at the moment, twice what it used in the last tenth of a second, and lives on that
//! for as long: so it asks some ten times a second and not with every request. What it did not use it gives back the next
//! time it asks. Nothing is used that was not taken, so together gateways never exceed the rate; what lies unused in their
//! hands is at most twice a tenth of a second's use.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lru::LruCache;
use redis::RedisError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::limiter::{Allowance, Limiter, Taken};
use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::unexpected_reply;
use crate::redis::server::Server;

/// How long what was taken, and what was heard, holds.
const LEASE: Duration = Duration::from_millis(100);
/// A limit is not worth more of a request's time.
const ANSWER: Duration = Duration::from_millis(250);
/// Tenants come from the keys; the least recent of more than this lose what they hold.
const REMEMBERED: usize = 10_000;
const LIMIT: &str = include_str!("limit.lua");

type Leases = LruCache<(String, &'static str), Arc<Mutex<Lease>>>;

pub(crate) struct RedisLimiter {
    link: Link,
    leases: Lock<Leases>,
    failing: AtomicBool,
}

/// Of one tenant and thing.
#[derive(Default)]
struct Lease {
    /// Taken and not used.
    left: u64,
    /// Used since it was taken.
    used: u64,
    taken_at: Option<Instant>,
    /// What was refused, and until when it is refused without asking.
    refused: Option<(u64, Instant)>,
    /// Until then nothing is limited: Redis did not answer.
    open_until: Option<Instant>,
}

impl RedisLimiter {
    pub(crate) fn new(server: &Server) -> RedisLimiter {
        let leases = Lock::new(LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN)));
        RedisLimiter { link: Link::new(server, ANSWER), leases, failing: AtomicBool::default() }
    }

    fn lease(&self, allowance: &Allowance<'_>) -> Arc<Mutex<Lease>> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (allowance.tenant.to_owned(), allowance.what);
        Arc::clone(leases.get_or_insert(key, Arc::default))
    }

    /// Given, or how long to wait.
    async fn ask(
        &self,
        allowance: Allowance<'_>,
        back: u64,
        least: u64,
        most: u64,
    ) -> Result<(u64, Duration), RedisError> {
        let (slot, script) = commands::limit(LIMIT, allowance, back, least, most);
        let reply = timeout(self.link.response_timeout(), self.link.run_one(slot, &script)).await;
        let reply =
            reply.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        let (given, micros): (u64, u64) = redis::from_redis_value(reply)?;
        if given != 0 && given < least {
            return Err(unexpected_reply());
        }
        Ok((given, Duration::from_micros(micros)))
    }

    /// Logs the first failure of a row.
    fn note(&self, error: Option<&RedisError>) {
        let failed_before = self.failing.swap(error.is_some(), Ordering::Relaxed);
        if let Some(error) = error.filter(|_| !failed_before) {
            tracing::warn!(error = %error, "rates are not limited: Redis cannot be asked");
        }
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn take(&self, allowance: Allowance<'_>, amount: u64) -> Taken {
        let lease = self.lease(&allowance);
        // Whoever comes while one asks takes of what that one brings.
        let mut lease = lease.lock().await;
        let now = Instant::now();
        if lease.open_until.is_some_and(|until| now < until) {
            return Taken::Yes;
        }
        if let Some((refused, until)) = lease.refused
            && amount >= refused
            && now < until
        {
            return Taken::No(until - now);
        }
        let fresh = lease.taken_at.is_some_and(|at| at.elapsed() < LEASE);
        if fresh && amount <= lease.left {
            lease.left -= amount;
            lease.used += amount;
            return Taken::Yes;
        }
        let most = amount.max((2 * lease.used).min(allowance.per_second / 10));
        let asked = self.ask(allowance, lease.left, amount, most).await;
        self.note(asked.as_ref().err());
        // Also when nothing was heard: it may have been given back.
        let before = std::mem::take(&mut *lease);
        match asked {
            Ok((0, wait)) => {
                lease.refused = Some((amount, now + wait.min(LEASE)));
                lease.used = before.used;
                Taken::No(wait)
            }
            Ok((given, _)) => {
                lease.left = given - amount;
                lease.used = amount;
                lease.taken_at = Some(Instant::now());
                Taken::Yes
            }
            Err(_) => {
                lease.open_until = Some(now + LEASE);
                Taken::Yes
            }
        }
    }
}
