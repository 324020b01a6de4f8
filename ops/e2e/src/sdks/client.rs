//! A real client as a process.

use super::plan::Plan;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::Process;

/// By the names that `ops/clients/real/clients.py` and `clients.mjs` know them by.
pub const ALL: [&str; 14] = [
    "segment-python",
    "segment-node",
    "rudder-python",
    "rudder-node",
    "posthog-python",
    "posthog-python-v1",
    "posthog-node",
    "posthog-node-v1",
    "growthbook-python",
    "growthbook-node",
    "cloudevents-python",
    "cloudevents-node",
    "openfeature-python",
    "openfeature-node",
];

/// From its start to its end; some back off for long.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where `ops/clients/real/install.sh` put the packages.
pub struct Lab {
    dir: PathBuf,
    programs: PathBuf,
}

/// What a client says of itself.
#[derive(Debug, Deserialize)]
pub struct Said {
    /// Distinct exposures and conversions.
    pub sent: u64,
    /// Events that are neither.
    pub ignored: u64,
    /// Of a client whose events have no ids: conversions it saw accepted.
    pub acknowledged: Option<u64>,
}

impl Lab {
    pub fn at(dir: &Path) -> Result<Lab> {
        let dir = dir.canonicalize().with_context(|| format!("{} is not there", dir.display()))?;
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/real");
        Ok(Lab { dir, programs })
    }

    /// Starts a client; its events come in groups, `pause` apart.
    pub fn start(
        &self,
        client: &str,
        plan: &Plan,
        key: &str,
        addr: SocketAddr,
        pause: Duration,
    ) -> Result<Process> {
        let node = client.contains("-node");
        let (program, script) = match node {
            true => (self.dir.join("node/node"), "clients.mjs"),
            false => (self.dir.join("python/bin/python"), "clients.py"),
        };
        let mode = if client.ends_with("-v1") { "v1" } else { "v0" };
        let process = Process::at(client, program)
            .arg(self.programs.join(script))
            .arg(client)
            .env("SDK_BASE", format!("http://{addr}"))
            .env("SDK_KEY", key)
            .env("SDK_EXPERIMENT", &plan.experiment)
            .env("SDK_METRIC", &plan.event)
            .env("SDK_PREFIX", &plan.prefix)
            .env("SDK_USERS", plan.users.to_string())
            .env("SDK_PAUSE_MS", pause.as_millis().to_string())
            .env("SDK_MODULES", self.dir.join("node"))
            .env("POSTHOG_CAPTURE_MODE", mode);
        match pause.is_zero() {
            true => process.spawn(),
            false => process.env("SDK_AGAIN", "1").spawn(),
        }
    }
}

/// Waits for its end.
pub async fn said(process: &mut Process) -> Result<Said> {
    let status = process.wait(PATIENCE).await?;
    let out = process.stdout();
    if !status.success() {
        let error = process.stderr();
        bail!("ended with {status}: {}", error.lines().rev().take(5).collect::<Vec<_>>().join(" | "));
    }
    let line = out.lines().last().context("it said nothing")?;
    serde_json::from_str(line).with_context(|| format!("not what a client says: {line}"))
}
