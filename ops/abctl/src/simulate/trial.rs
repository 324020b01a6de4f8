//! A finished run put to the test: books, raw rows, moments, and the recomputation, against the oracle.

use super::check::{CheckError, Checker};
use super::{Outcome, Simulation};
use crate::verify::{self, Report, VerifyError};
use store::{Books, Store};

/// What came out of a simulation that was the only one to send anything to its deployment.
pub struct Trial<'a> {
    pub simulation: &'a Simulation,
    pub outcome: &'a Outcome,
    pub store: &'a dyn Store,
    pub partitions: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl Trial<'_> {
    /// `verify` of every experiment, and everything that is wrong; nothing may be under way any more.
    pub async fn faults(&self, books: &Books) -> Result<(Vec<Report>, Vec<String>), TrialError> {
        let mut found = self.book_faults(books);
        let plot = &self.simulation.plot;
        let (tenant, world) = (plot.tenant.as_str(), plot.world.as_ref());
        let checker = Checker { store: self.store, tenant, world, exact: self.is_exact() };
        found.extend(checker.differences(&self.outcome.oracle, self.partitions).await?);
        let mut reports = Vec::new();
        for experiment in &world.experiments {
            let report = verify::verify(self.store, self.partitions, tenant, &experiment.key).await?;
            found.extend(report.differences.iter().map(|d| format!("verify {}: {d:?}", report.experiment)));
            reports.push(report);
        }
        Ok((reports, found))
    }

    /// A request that was retried after a lost answer may have been accepted twice.
    fn is_exact(&self) -> bool {
        self.outcome.answers.retries == 0
    }

    fn book_faults(&self, books: &Books) -> Vec<String> {
        let (total, answers, expected) = (books.total, self.outcome.answers, self.outcome.oracle.total());
        let mut found = Vec::new();
        let mut hold = |what: &str, holds: bool| {
            if !holds {
                found.push(format!("{what}: {total}; {answers:?}; expected {expected:?}"));
            }
        };
        let is = |told: i64, expected: u64| u64::try_from(told) == Ok(expected);
        hold("the books close in every partition", books.are_good());
        hold("nothing is in flight", total.in_flight == 0);
        hold("nothing is dead or discarded", total.dead_lettered == 0 && total.discarded == 0);
        hold("acknowledged as sent", answers.received == expected.sent);
        hold("recorded as expected", is(total.recorded, expected.recorded()));
        let more = u64::try_from(total.received).is_ok_and(|received| received > answers.received);
        let received = is(total.received, answers.received) || (more && !self.is_exact());
        hold("received as acknowledged", received);
        found
    }
}
