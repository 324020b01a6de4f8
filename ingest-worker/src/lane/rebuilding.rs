//! A lane between transactions: the next step of what is being built, so that it goes on with and without events.

use super::{APPLY_LIMIT, LaneError, Session};
use crate::rebuild::{self, StepError, Stepped};
use domain::Partition;
use tokio::time::timeout;

impl Session<'_> {
    /// Looks what there is to be built in the partitions held, and serves what was built.
    pub(super) async fn look_for_rebuilds(&mut self) -> Result<(), LaneError> {
        let held: Vec<Partition> = self.held.keys().copied().collect();
        self.rebuilds = self.store.rebuilding(&held).await?.into();
        self.serve_rebuilt().await
    }

    /// Takes the next units of one plan version in one partition.
    pub(super) async fn rebuild(&mut self) -> Result<(), LaneError> {
        let Some((partition, experiment)) = self.rebuilds.pop_front() else { return Ok(()) };
        let Some(held) = self.held.get_mut(&partition) else { return Ok(()) };
        let partitions = self.lane.config.partitions;
        let step = rebuild::step(&mut *self.store, &mut held.cache, experiment, partitions, rebuild::STEP);
        match timeout(APPLY_LIMIT, step).await? {
            Ok(Stepped::More) => self.rebuilds.push_back((partition, experiment)),
            Ok(Stepped::Done) => self.serve_rebuilt().await?,
            Err(StepError::Moved(_)) => self.hold(partition).await?,
            Err(StepError::Store(error)) => return Err(error.into()),
            Err(StepError::Overflow(error)) => {
                // Tried again with every look, until somebody asks for another plan.
                tracing::error!(%partition, %experiment, %error, "a plan version cannot be built");
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
