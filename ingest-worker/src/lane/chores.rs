//! A lane between transactions: users to be forgotten, plan versions to be built and old rows to be purged, a step at a
//! time, with and without events.

use super::{APPLY_LIMIT, LaneError, Session};
use crate::erase::erase;
use crate::purge::{self, Purging};
use crate::rebuild::{self, StepError, Stepped};
use domain::{ExperimentId, Partition};
use store::apply::ErasureRow;
use tokio::time::{Duration, Instant, timeout};

/// A lane purges for so long a tick: a tenth of its time, whatever there is to purge.
const PURGE_FOR: Duration = Duration::from_millis(100);

pub(super) enum Chore {
    Erase(ErasureRow),
    Rebuild(ExperimentId),
}

impl Session<'_> {
    /// Looks what there is to do in the partitions held, and serves what was built.
    pub(super) async fn look_for_chores(&mut self) -> Result<(), LaneError> {
        let held: Vec<Partition> = self.held.keys().copied().collect();
        let erasures = self.store.erasures(&held).await?.into_iter().map(|(p, row)| (p, Chore::Erase(row)));
        self.chores = erasures.collect();
        let rebuilds = self.store.rebuilding(&held).await?.into_iter();
        self.chores.extend(rebuilds.map(|(p, id)| (p, Chore::Rebuild(id))));
        self.serve_rebuilt().await
    }

    /// The next step.
    pub(super) async fn do_chore(&mut self) -> Result<(), LaneError> {
        let Some((partition, chore)) = self.chores.pop_front() else { return Ok(()) };
        let Some(held) = self.held.get_mut(&partition) else { return Ok(()) };
        let partitions = self.lane.config.partitions;
        let step = async {
            match &chore {
                Chore::Erase(row) => erase(&mut *self.store, &mut held.cache, row).await.map(|()| None),
                Chore::Rebuild(id) => {
                    let units = rebuild::STEP;
                    rebuild::step(&mut *self.store, &mut held.cache, *id, partitions, units).await.map(Some)
                }
            }
        };
        match timeout(APPLY_LIMIT, step).await? {
            Ok(Some(Stepped::More)) => self.chores.push_back((partition, chore)),
            Ok(Some(Stepped::Done)) => self.serve_rebuilt().await?,
            Ok(None) => tracing::info!(%partition, "a user was erased"),
            Err(StepError::Moved(_)) => self.hold(partition).await?,
            Err(StepError::Store(error)) => return Err(error.into()),
            Err(StepError::Overflow(error)) => {
                // Tried again with every look, until somebody asks for another plan.
                tracing::error!(%partition, %error, "sums cannot be built");
                self.lane.metrics.failed("data");
                self.store.rollback().await?;
                self.hold(partition).await?;
            }
        }
        Ok(())
    }

    /// Some steps of the purges asked for, of one partition after the other.
    pub(super) async fn purge(&mut self) -> Result<(), LaneError> {
        let begun = Instant::now();
        let held: Vec<Partition> = self.held.keys().copied().collect();
        for mut row in self.store.purges(&held).await? {
            let Some(held) = self.held.get_mut(&row.partition) else { continue };
            loop {
                let partitions = self.lane.config.partitions;
                let step =
                    purge::step(&mut *self.store, &mut held.cache, &row, partitions, purge::STEP).await;
                match step {
                    Ok(Purging::Done(counts)) => {
                        self.lane.metrics.purged(&row, &counts);
                        let dry_run = row.dry_run;
                        tracing::info!(partition = %row.partition, dry_run, "a purge is done");
                        break;
                    }
                    Ok(Purging::More { counts, cursor }) => {
                        self.lane.metrics.purged(&row, &counts);
                        row.cursor = Some(cursor);
                    }
                    Ok(Purging::Waits) => break,
                    Err(StepError::Moved(partition)) => return self.hold(partition).await,
                    Err(StepError::Store(error)) => return Err(error.into()),
                    // No sums are touched.
                    Err(StepError::Overflow(_)) => break,
                }
                if begun.elapsed() >= PURGE_FOR {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn serve_rebuilt(&mut self) -> Result<(), LaneError> {
        for experiment in self.store.serve_rebuilt().await? {
            tracing::info!(%experiment, "a plan version was built and is served");
        }
        Ok(())
    }
}
