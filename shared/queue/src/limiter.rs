//! How much a tenant may send: one allowance for all gateways together.
//!
//! The generic cell rate algorithm: of an allowance is kept up to when it is used up; it refills at its rate, and a
//! second's worth may be used at once.

use std::time::Duration;

use async_trait::async_trait;

/// A second's worth may be used at once.
pub(crate) const BURST: Duration = Duration::from_secs(1);

/// So much a second of one thing for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance<'a> {
    pub tenant: &'a str,
    /// `events` or `requests`: counted apart.
    pub what: &'static str,
    /// Not zero.
    pub per_second: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Nothing was taken. The same is there after so long if nobody else takes anything.
    No(Duration),
}

#[async_trait]
pub trait Limiter: Send + Sync {
    /// Takes all of `amount` or nothing. More than a second's worth is given when nothing is used, and then has to be
    /// waited for. Where the queue cannot be asked, nothing is limited: what passes is not accepted by it either.
    async fn take(&self, allowance: Allowance<'_>, amount: u64) -> Taken;
}
