//! A steady load while something else happens: careful producers of everything that can happen, with the oracle of what
//! they sent.

use crate::chaos::careful::Careful;
use crate::deployment::Deployment;
use crate::{ADMIN_TOKEN, API_TOKEN, run};
use abctl::client::Client;
use abctl::simulate::lane::Lane;
use abctl::simulate::oracle::Oracle;
use abctl::simulate::rng::Rng;
use abctl::simulate::send::Answers;
use abctl::simulate::{Outcome, Simulation, create_experiments};
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const PRODUCERS: u32 = 3;
/// More than a producer comes to send.
const EVENTS: u64 = 10_000_000;
/// Longer than the gateway takes to answer anything.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Load {
    simulation: Simulation,
    producers: JoinSet<Result<(Answers, Oracle)>>,
    stop: Arc<AtomicBool>,
    begun: Instant,
}

impl Load {
    /// Creates the experiments and begins to send.
    pub async fn start(system: &dyn Deployment, seed: u64) -> Result<Load> {
        let simulation = run::varied(0, seed);
        create_experiments(&simulation.plot.world, &system.analyzer_url(), Some(ADMIN_TOKEN)).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut producers = JoinSet::new();
        for number in 0..PRODUCERS {
            let client = Client::new(&system.gateway_url(), Some(API_TOKEN))?.timeout(TIMEOUT);
            let producer = Careful {
                lane: Lane::new(&simulation.plot, number, EVENTS),
                clients: vec![client],
                rng: Rng::new(seed, 100 + u64::from(number)),
                wait: None,
            };
            producers.spawn(producer.run(stop.clone()));
        }
        Ok(Load { simulation, producers, stop, begun: Instant::now() })
    }

    /// Brings to its end what was begun: everything sent is acknowledged.
    pub async fn finish(mut self) -> Result<(Simulation, Outcome)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Answers::default();
        let mut oracle = Oracle::new(&self.simulation.plot.world.experiments, true);
        while let Some(ended) = self.producers.join_next().await {
            let (sent, truth) = ended??;
            answers.add(sent);
            oracle.merge(truth);
        }
        Ok((self.simulation, Outcome { answers, oracle, elapsed: self.begun.elapsed() }))
    }
}
