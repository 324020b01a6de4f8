//! The bound on strata: each is a row of moments per arm, phase and partition, and an answer reads them all. A stratum
//! past the bound is merged with all others that are.

use crate::cache::PartitionCache;
use crate::fold::key_of;
use domain::attributes::OTHER_STRATUM;
use domain::{ExperimentId, Unit};
use foldhash::{HashMap, HashSet};

/// Named strata of one experiment in one partition.
pub const STRATA_MAX: usize = 100;

/// What a chunk knows of the strata in use.
#[derive(Default)]
pub struct Strata(HashMap<ExperimentId, HashSet<String>>);

impl Strata {
    /// Merges the stratum of a user who has just come into it with the others, if there is no room for one more.
    /// Returns whether it did.
    pub fn bound(&mut self, cache: &PartitionCache, unit: &mut Unit, experiment: ExperimentId) -> bool {
        let enrollments = unit.enrollments_mut(experiment);
        let Some(enrolled) = enrollments.first() else { return false };
        let stratum = enrolled.stratum();
        if stratum.is_empty()
            || stratum == OTHER_STRATUM
            || cache.moments.contains_key(&key_of(cache.partition, enrolled))
        {
            return false;
        }
        let known = self.0.entry(experiment).or_insert_with(|| {
            let keys = cache.moments.keys().filter(|key| key.experiment == experiment);
            keys.map(|key| key.stratum.clone()).filter(|s| !s.is_empty() && s != OTHER_STRATUM).collect()
        });
        if known.contains(stratum) {
            return false;
        }
        if known.len() < STRATA_MAX {
            known.insert(stratum.to_owned());
            return false;
        }
        for said in enrollments.iter_mut().filter_map(|e| e.attributes.stratum.as_mut()) {
            OTHER_STRATUM.clone_into(&mut said.value);
        }
        true
    }
}
