//! Experiments in memory: what the analyzer writes is what the gateway sees.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use domain::ExperimentId;

use crate::QueueError;
use crate::catalogue::{Catalogue, Copies, Entry, Projection, Reconciled, Ticket, Unavailable, id_of};

/// Both sides; clones share the experiments.
#[derive(Clone, Default)]
pub(super) struct LocalCatalogue {
    state: Arc<RwLock<State>>,
}

#[derive(Default)]
struct State {
    /// Reconciled once.
    complete: bool,
    /// Changes with every write.
    version: u64,
    tenants: HashMap<String, Tenant>,
}

#[derive(Default)]
struct Tenant {
    experiments: HashMap<ExperimentId, Arc<Entry>>,
    keys: HashMap<String, ExperimentId>,
    /// Which experiments use a metric; none of the sets is empty.
    uses: HashMap<String, HashSet<ExperimentId>>,
}

impl LocalCatalogue {
    fn complete(&self) -> Result<RwLockReadGuard<'_, State>, Unavailable> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.complete { Ok(state) } else { Err(Unavailable::Incomplete) }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    fn find(&self, reference: &str) -> Option<&Arc<Entry>> {
        let id = id_of(reference).or_else(|| self.keys.get(reference).copied())?;
        self.experiments.get(&id)
    }

    /// Takes the place of an earlier revision.
    fn put(&mut self, entry: &Entry) {
        self.remove(entry.id);
        self.keys.insert(entry.key.clone(), entry.id);
        for metric in &entry.metrics {
            self.uses.entry(metric.clone()).or_default().insert(entry.id);
        }
        self.experiments.insert(entry.id, Arc::new(entry.clone()));
    }

    fn remove(&mut self, id: ExperimentId) {
        let Some(entry) = self.experiments.remove(&id) else { return };
        self.keys.remove(&entry.key);
        for metric in &entry.metrics {
            if let Some(users) = self.uses.get_mut(metric) {
                users.remove(&id);
                if users.is_empty() {
                    self.uses.remove(metric);
                }
            }
        }
    }
}

#[async_trait]
impl Catalogue for LocalCatalogue {
    async fn lookup(&self, tenant: &str, reference: &str) -> Result<Option<Arc<Entry>>, Unavailable> {
        let state = self.complete()?;
        Ok(state.tenants.get(tenant).and_then(|tenant| tenant.find(reference)).cloned())
    }

    async fn uses_metric(&self, tenant: &str, metric: &str) -> Result<bool, Unavailable> {
        let state = self.complete()?;
        Ok(state.tenants.get(tenant).is_some_and(|tenant| tenant.uses.contains_key(metric)))
    }

    async fn check(&self) -> Result<(), Unavailable> {
        self.complete().map(|_| ())
    }

    /// It has the whole of it, and no copies.
    fn copies(&self) -> Copies {
        Copies::default()
    }
}

#[async_trait]
impl Projection for LocalCatalogue {
    async fn put(&self, entry: &Entry) -> Result<(), QueueError> {
        let mut state = self.write();
        let tenant = state.tenants.entry(entry.tenant.clone()).or_default();
        let stored = tenant.experiments.get(&entry.id);
        if stored.is_none_or(|stored| stored.revision <= entry.revision) {
            tenant.put(entry);
            state.version += 1;
        }
        Ok(())
    }

    async fn remove(&self, tenant: &str, id: ExperimentId, _key: &str) -> Result<(), QueueError> {
        let mut state = self.write();
        if let Some(tenant) = state.tenants.get_mut(tenant) {
            tenant.remove(id);
        }
        state.version += 1;
        Ok(())
    }

    async fn is_complete(&self) -> Result<bool, QueueError> {
        Ok(self.complete().is_ok())
    }

    async fn begin(&self) -> Result<Ticket, QueueError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Ticket(state.version.to_string()))
    }

    async fn reconcile(&self, ticket: Ticket, all: Vec<Entry>) -> Result<Reconciled, QueueError> {
        let mut wanted: HashMap<String, Tenant> = HashMap::new();
        for entry in &all {
            wanted.entry(entry.tenant.clone()).or_default().put(entry);
        }
        let mut state = self.write();
        if state.version.to_string() != ticket.0 {
            return Ok(Reconciled::Superseded);
        }
        let changed = changed(&state.tenants, &wanted) + usize::from(!state.complete);
        if changed > 0 {
            state.tenants = wanted;
            state.complete = true;
            state.version += 1;
        }
        Ok(Reconciled::Done { changed })
    }
}

/// Experiments that differ, or are on one side only.
fn changed(stored: &HashMap<String, Tenant>, wanted: &HashMap<String, Tenant>) -> usize {
    let missing = |from: &HashMap<String, Tenant>, of: &HashMap<String, Tenant>| -> usize {
        of.iter()
            .map(|(name, tenant)| {
                let known = |id| from.get(name).and_then(|tenant| tenant.experiments.get(id));
                tenant.experiments.iter().filter(|(id, entry)| known(id) != Some(entry)).count()
            })
            .sum()
    };
    missing(stored, wanted).max(missing(wanted, stored))
}
