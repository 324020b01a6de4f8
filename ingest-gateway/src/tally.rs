use crate::body::{Item, What};
use crate::clock::Clock;
use crate::frames::Slot;
use crate::stats::Stats;

/// What the accepted items of one request add to the counters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub events: usize,
    exposures: u64,
    conversions: u64,
    pre_period: u64,
    strata: u64,
    exclusions: u64,
    pub keyless: u32,
    rounded: u64,
    shifted: u64,
}

impl Tally {
    pub fn of(items: &[Item<'_>], slots: &[Slot], clock: &Clock) -> Tally {
        let mut tally = Tally { events: slots.len(), ..Tally::default() };
        for slot in slots {
            let item = &items[slot.position as usize];
            match &item.what {
                What::Exposure(_) => tally.exposures += 1,
                What::Conversion { rounded, .. } => {
                    tally.conversions += 1;
                    tally.keyless += u32::from(item.key.is_none());
                    tally.rounded += u64::from(*rounded);
                }
                What::PrePeriod { rounded, .. } => {
                    tally.pre_period += 1;
                    tally.rounded += u64::from(*rounded);
                }
                What::Stratum(_) => tally.strata += 1,
                What::Exclusion { .. } => tally.exclusions += 1,
            }
            tally.shifted += u64::from(clock.shift != 0 && item.occurred_given.is_some());
        }
        tally
    }

    pub fn count(&self, tenant: &str, stats: &Stats) {
        if self.events > 0 {
            stats.tenants.inc_by(tenant, self.events as u64);
        }
        stats.exposures.inc_by(self.exposures);
        stats.conversions.inc_by(self.conversions);
        stats.pre_period.inc_by(self.pre_period);
        stats.strata.inc_by(self.strata);
        stats.exclusions.inc_by(self.exclusions);
        stats.keyless.inc_by(self.keyless.into());
        stats.rounded.inc_by(self.rounded);
        stats.clock_corrected.inc_by(self.shifted);
    }
}
