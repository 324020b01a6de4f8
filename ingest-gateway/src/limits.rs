//! How much a tenant may send, and what it is told when that was it.

use queue::limiter::{Allowance, Limiter, Taken};
use service::http::{Problem, RateLimit, StatusCode};
use service::settings::Rates;

use crate::codes::Code;

pub(crate) struct Limits {
    pub(crate) rates: Rates,
    pub(crate) limiter: Box<dyn Limiter>,
}

impl Limits {
    /// Before anything of a request is read.
    pub(crate) async fn request(&self, tenant: &str) -> Result<(), Problem> {
        self.take(tenant, "requests", self.rates.of(tenant).requests, 1).await
    }

    /// As many as the body has, the ones that will be refused included.
    pub(crate) async fn events(&self, tenant: &str, events: usize) -> Result<(), Problem> {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.take(tenant, "events", self.rates.of(tenant).events, events).await
    }

    async fn take(
        &self,
        tenant: &str,
        what: &'static str,
        limit: Option<u64>,
        amount: u64,
    ) -> Result<(), Problem> {
        let Some(per_second) = limit.filter(|_| amount > 0) else { return Ok(()) };
        match self.limiter.take(Allowance { tenant, what, per_second }, amount).await {
            Taken::Yes => Ok(()),
            Taken::No(wait) => {
                let detail = format!("the tenant may send {per_second} {what} a second");
                let code = Code::RateLimited.as_str();
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
                Err(problem.rate_limit(RateLimit { what, per_second, wait }))
            }
        }
    }
}
