//! What a request must know of experiments before its items are judged, asked of the catalogue.

use std::collections::HashSet;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use queue::catalogue::{Catalogue, Entry, Unavailable};
use tokio::time::{Instant, timeout_at};

use crate::body::{Item, Refusal, Shape, What};
use crate::codes::Code;
use crate::judge::{Targets, check_open};
use crate::routes::Events;

/// Questions of one request under way at the same time: a batch may name many experiments, none of them in memory.
const AT_ONCE: usize = 16;

/// The questions of one tenant.
#[derive(Clone, Copy)]
pub struct Lookup<'g> {
    pub catalogue: &'g dyn Catalogue,
    pub tenant: &'g str,
}

impl<'g> Lookup<'g> {
    /// The experiment in the path, if the route has one.
    pub async fn named(self, route: &Events) -> Result<Option<Arc<Entry>>, Refusal> {
        let Some(name) = &route.experiment else { return Ok(None) };
        let Some(entry) = self.experiment(name).await? else {
            return Err(Refusal::new(Code::UnknownExperiment, "there is no such experiment"));
        };
        check_open(&entry, route.shape.enrolls()).map_err(|(code, detail)| Refusal::new(code, detail))?;
        Ok(Some(entry))
    }

    /// Looks up what the items refer to, each experiment once.
    pub async fn targets<'a>(
        self,
        shape: Shape,
        named: Option<Arc<Entry>>,
        items: &'a [Item<'_>],
    ) -> Result<Targets<'a>, Refusal> {
        if let Some(entry) = named {
            return Ok(Targets::One(entry));
        }
        if shape != Shape::Events {
            return Ok(Targets::Tenant);
        }
        let names = items.iter().filter_map(|item| item.experiment.as_deref());
        let known = of_each(names, |name| self.experiment(name)).await?;
        Ok(Targets::Named(known.into_iter().collect()))
    }

    /// Which of the metrics of tenant conversions are in any plan.
    pub async fn used_metrics<'a>(self, items: &'a [Item<'_>]) -> Result<HashSet<&'a str>, Refusal> {
        let metrics = items.iter().filter_map(|item| match &item.what {
            What::Conversion { metric, .. } if item.experiment.is_none() => Some(metric.as_ref()),
            _ => None,
        });
        let is_used = |metric| async move {
            self.catalogue.uses_metric(self.tenant, metric).await.map_err(|error| unavailable(&error))
        };
        let used = of_each(metrics, is_used).await?;
        Ok(used.into_iter().filter_map(|(metric, used)| used.then_some(metric)).collect())
    }

    async fn experiment(self, name: &str) -> Result<Option<Arc<Entry>>, Refusal> {
        self.catalogue.lookup(self.tenant, name).await.map_err(|error| unavailable(&error))
    }
}

/// The answer to each distinct question.
async fn of_each<Q, A, F>(
    questions: impl Iterator<Item = Q>,
    ask: impl Fn(Q) -> F,
) -> Result<Vec<(Q, A)>, Refusal>
where
    Q: Copy + Eq + Hash,
    F: Future<Output = Result<A, Refusal>>,
{
    let distinct: HashSet<Q> = questions.collect();
    let asked = distinct.into_iter().map(|question| {
        let answer = ask(question);
        async move { Ok((question, answer.await?)) }
    });
    stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await
}

/// Not longer than a request has.
pub async fn within<T>(
    deadline: Instant,
    looking_up: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let late = |_| Refusal::new(Code::DeadlineExceeded, "the experiments could not be looked up in time");
    timeout_at(deadline, looking_up).await.map_err(late)?
}

/// Not knowing is never answered as "there is no such experiment".
fn unavailable(error: &Unavailable) -> Refusal {
    tracing::debug!(%error, "catalogue unavailable");
    Refusal::new(Code::CatalogueUnavailable, "the experiments are not known at the moment")
}
