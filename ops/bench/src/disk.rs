//! What the disk alone makes clients wait for: a small write and a sync, due every few milliseconds, while a load runs.
//! The latency of each counts from when it was due, as a request's does.

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(5);
const BLOCK: [u8; 4096] = [0; 4096];

/// A probe that runs until it is asked.
pub struct Disk {
    stop: Arc<AtomicBool>,
    probe: JoinHandle<Result<Histogram<u64>>>,
}

impl Disk {
    /// Where the servers have their files.
    pub fn probe() -> Result<Disk> {
        let directory = testkit::temp_dir("disk")?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let probe = thread::spawn(move || {
            let mut file = File::create(directory.join("probe"))?;
            let (mut micros, begun) = (Histogram::new(3)?, Instant::now());
            for number in 0_u32.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let due = begun + EVERY * number;
                #[allow(clippy::disallowed_methods)] // a thread of its own, which the runtime does not delay
                thread::sleep(due.saturating_duration_since(Instant::now()));
                file.write_all(&BLOCK)?;
                file.sync_data()?;
                micros.record(u64::try_from(due.elapsed().as_micros())?)?;
            }
            drop(file);
            fs::remove_dir_all(directory)?;
            Ok(micros)
        });
        Ok(Disk { stop, probe })
    }

    /// Its p99 in milliseconds.
    pub fn p99(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let micros = self.probe.join().map_err(|_| anyhow!("the probe of the disk"))??;
        Ok(micros.value_at_quantile(0.99) as f64 / 1000.0)
    }
}
