//! A lane between transactions: users to be forgotten and plan versions to be built, a step at a time, with and without
//! events.

use super::{APPLY_LIMIT, LaneError, Session};
use crate::erase::erase;
use crate::rebuild::{self, StepError, Stepped};
use domain::{ExperimentId, Partition};
use store::apply::ErasureRow;
use tokio::time::timeout;

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

    async fn serve_rebuilt(&mut self) -> Result<(), LaneError> {
        for experiment in self.store.serve_rebuilt().await? {
            tracing::info!(%experiment, "a plan version was built and is served");
        }
        Ok(())
    }
}
