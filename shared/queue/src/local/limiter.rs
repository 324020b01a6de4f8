use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lru::LruCache;
use tokio::time::Instant;

use crate::limiter::{Allowance, BURST, Limiter, Taken};

/// Tenants come from the keys; the least recent of more than this begin anew.
const REMEMBERED: usize = 10_000;

/// Of each tenant and thing, when all is used up.
#[derive(Clone)]
pub(super) struct LocalLimiter(Arc<Mutex<LruCache<(String, &'static str), Instant>>>);

impl LocalLimiter {
    pub(super) fn new() -> LocalLimiter {
        LocalLimiter(Arc::new(Mutex::new(LruCache::new(
            NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN),
        ))))
    }
}

#[async_trait]
impl Limiter for LocalLimiter {
    async fn take(&self, allowance: Allowance<'_>, amount: u64) -> Taken {
        let Allowance { tenant, what, per_second } = allowance;
        let mut used_until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let used = used_until.get_or_insert_mut((tenant.to_owned(), what), || now);
        let begin = now.max(*used);
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second.max(1));
        let end = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if end <= now + BURST || begin == now {
            *used = end;
            return Taken::Yes;
        }
        Taken::No(if amount > per_second { begin - now } else { end - now - BURST })
    }
}
