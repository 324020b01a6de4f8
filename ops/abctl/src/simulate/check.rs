//! The database against the oracle: counters, moments, and, when the oracle kept them, every raw row.

use super::expect;
use super::oracle::{ArmTruth, Booking, Counts, Oracle, Rows};
use super::world::{EVENTS, World};
use crate::verify::{RawRows, read_all};
use domain::{ExperimentId, Moments, Overflow, Timestamp};
use std::collections::{BTreeMap, HashMap};
use store::{ConversionRow, Experiment, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error("tenant {tenant} has no experiment {key}")]
    NotFound { tenant: String, key: String },
}

/// What the oracle is compared with.
pub struct Checker<'a> {
    pub store: &'a dyn Store,
    pub tenant: &'a str,
    pub world: &'a World,
    /// Whether every batch was sent exactly as often as the oracle knows. A retry after a lost answer may have
    /// been accepted twice; then duplicates can be more than expected, never fewer.
    pub exact: bool,
}

impl Checker<'_> {
    /// Everything that is not as the oracle says; empty = all is. Only what this simulation sent may be in the
    /// tenant.
    pub async fn differences(&self, oracle: &Oracle, partitions: u16) -> Result<Vec<String>, CheckError> {
        let mut found = Vec::new();
        let mut ids = Vec::new();
        let truths = oracle.holdouts.iter().zip(&oracle.arms);
        for (experiment, (holdout, arms)) in self.world.experiments.iter().zip(truths) {
            let stored = self.experiment(&experiment.key).await?;
            let plan = stored.plan();
            // The holdout before the arms.
            let truths: Vec<&ArmTruth> = [holdout].into_iter().chain(arms).collect();
            let mut totals = vec![(Moments::default(), BTreeMap::<String, i64>::new()); truths.len()];
            for row in self.store.answer(&stored, None).await? {
                match usize::try_from(row.key.variation + 1).ok().and_then(|v| totals.get_mut(v)) {
                    Some((total, strata)) => {
                        total.add(&row.moments)?;
                        *strata.entry(row.key.stratum).or_default() += row.moments.heads.enrolled;
                    }
                    None => found.push(format!("{}: an arm {} exists", stored.key, row.key.variation)),
                }
            }
            for (variation, ((moments, mut strata), truth)) in (-1..).zip(totals.into_iter().zip(truths)) {
                let mut different = expect::differences(&stored.definition, &plan, &moments, truth);
                // A row that everybody has left.
                strata.retain(|_, users| *users != 0);
                if !strata
                    .iter()
                    .map(|(name, n)| (name.as_str(), n))
                    .eq(truth.strata.iter().map(|(s, n)| (*s, n)))
                {
                    different.push(format!("strata: stored {strata:?}, expected {:?}", truth.strata));
                }
                found.extend(different.into_iter().map(|d| format!("{} arm {variation}, {d}", stored.key)));
            }
            ids.push(stored.id);
        }
        self.counters(oracle, &ids, &mut found).await?;
        if let Some(rows) = &oracle.rows {
            self.rows(rows, &ids, partitions, &mut found).await?;
        }
        Ok(found)
    }

    async fn experiment(&self, key: &str) -> Result<Experiment, CheckError> {
        let missing = || CheckError::NotFound { tenant: self.tenant.to_owned(), key: key.to_owned() };
        self.store.experiment(self.tenant, key).await?.ok_or_else(missing)
    }

    async fn counters(
        &self,
        oracle: &Oracle,
        ids: &[ExperimentId],
        found: &mut Vec<String>,
    ) -> Result<(), CheckError> {
        let mut counters: HashMap<(ExperimentId, String), i64> = HashMap::new();
        for c in self.store.counters(self.tenant, None, None).await? {
            *counters.entry((c.experiment, c.name)).or_default() += c.n;
        }
        let never_exposed = oracle.never_exposed.iter().copied().chain([0]);
        for ((id, expected), never_exposed) in
            ids.iter().chain([&ExperimentId::NONE]).zip(&oracle.counts).zip(never_exposed)
        {
            let Counts { exposures, conversions, deduplicated, conflicts, keyless, .. } = *expected;
            for (name, expected, fixed) in [
                ("exposures", exposures, true),
                ("conversions", conversions, true),
                ("dead_lettered", 0, true),
                ("discarded", 0, true),
                ("deduplicated", deduplicated, self.exact),
                ("conflicts", conflicts, self.exact),
                ("keyless", keyless, true),
                ("strata", expected.strata, true),
                ("pre_period", expected.pre_period, true),
                ("exclusions", expected.exclusions, true),
                ("never_exposed", never_exposed, true),
            ] {
                let stored = counters.get(&(*id, name.to_owned())).copied().unwrap_or(0);
                let stored = u64::try_from(stored).unwrap_or(u64::MAX);
                if stored != expected && (fixed || stored < expected) {
                    found.push(format!("experiment {id}, {name}: stored {stored}, expected {expected}"));
                }
            }
        }
        Ok(())
    }

    /// Every row that is stored is expected, with its content, and every one expected is stored.
    async fn rows(
        &self,
        rows: &Rows,
        ids: &[ExperimentId],
        partitions: u16,
        found: &mut Vec<String>,
    ) -> Result<(), CheckError> {
        let index: HashMap<ExperimentId, u8> = ids.iter().copied().zip(0u8..).collect();
        let (mut conversions, mut enrollments) = (0, 0);
        read_all(self.store, partitions, &mut async |_, raw: &RawRows| {
            for unit in raw.units.iter().filter(|u| u.tenant == self.tenant) {
                // A rebuild leaves the version before it behind.
                for e in unit
                    .unit
                    .enrollments
                    .chunk_by(|a, b| a.experiment == b.experiment)
                    .filter_map(<[_]>::last)
                {
                    enrollments += 1;
                    let expected = index
                        .get(&e.experiment)
                        .and_then(|i| rows.enrollments.get(&(unit.user_id.clone(), *i)))
                        .filter(|(arm, at)| {
                            let at = at.map(Timestamp::from_millis);
                            *arm == e.variation && at.is_none_or(|at| at == e.exposed_at)
                        });
                    if expected.is_none() {
                        found.push(format!("{}: enrollment {e:?} was never sent", unit.user_id));
                    }
                }
                for c in raw.conversions_of(unit.id) {
                    conversions += 1;
                    let experiment = index.get(&c.experiment).copied();
                    let key = (unit.user_id.clone(), experiment, c.key.clone());
                    let known = experiment.is_none() == c.experiment.is_none();
                    match rows.conversions.get(&key).filter(|_| known) {
                        Some(booking) if booking.is(c) => {}
                        Some(booking) => {
                            found.push(format!("{}: conversion {c:?}, expected {booking:?}", unit.user_id));
                        }
                        None => found.push(format!("{}: conversion {c:?} was never sent", unit.user_id)),
                    }
                }
            }
            Ok::<_, CheckError>(())
        })
        .await?;
        // Primary keys make stored rows distinct, so with equal numbers none is missing.
        let expected = (rows.conversions.len(), rows.enrollments.len());
        if (conversions, enrollments) != expected {
            found.push(format!(
                "(conversions, enrollments): stored {conversions}, {enrollments}, expected {expected:?}"
            ));
        }
        Ok(())
    }
}

impl Booking {
    fn is(&self, row: &ConversionRow) -> bool {
        EVENTS.get(usize::from(self.event)).is_some_and(|name| *name == row.metric)
            && self.millionths == row.value.0
            && self.at.is_none_or(|at| Timestamp::from_millis(at) == row.occurred_at)
    }
}
