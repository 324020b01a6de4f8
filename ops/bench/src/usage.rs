//! What processes take: CPU time, memory and disk.

use crate::table::{Goal, Table};
use anyhow::{Context, Result};
use e2e::System;
use std::fs;

/// Of a second; Linux counts CPU time in these.
const TICKS: f64 = 100.0;

/// CPU time of the processes of a deployment, from a moment on.
pub struct Usage(Vec<(&'static str, u32, f64)>);

const LOAD_GENERATOR: &str = "load generator";

impl Usage {
    /// From now on. The load generator is this process.
    pub fn of(system: &System) -> Result<Usage> {
        let worker = system.worker.as_ref().map(testkit::Process::pid);
        let processes = [
            ("gateway", Some(system.gateway.pid())),
            ("worker", worker),
            ("analyzer", Some(system.analyzer.pid())),
            ("Redis", system.redis.pid()),
            ("PostgreSQL", system.postgres.pid()),
            (LOAD_GENERATOR, Some(std::process::id())),
        ];
        let known = processes.into_iter().filter_map(|(name, pid)| Some((name, pid?)));
        known.map(|(name, pid)| Ok((name, pid, used(name, pid)?))).collect::<Result<_>>().map(Usage)
    }

    /// Of what has been used since, in seconds per million events; processes that did next to nothing are left out.
    pub fn add(&self, phase: &str, events: f64, table: &mut Table) -> Result<()> {
        for (name, pid, before) in &self.0 {
            let per_million = (used(name, *pid)? - before) * 1e6 / events;
            if per_million >= 0.01 {
                table.add(format!("{phase}: CPU of {name}"), "s per million", per_million, Goal::None, None);
            }
        }
        Ok(())
    }
}

/// All others are children of the load generator, and are not to be counted twice.
fn used(name: &str, pid: u32) -> Result<f64> {
    if name == LOAD_GENERATOR { own_seconds(pid) } else { cpu_seconds(pid) }
}

/// User and system time of a process without its children.
#[allow(clippy::cast_precision_loss)]
fn own_seconds(pid: u32) -> Result<f64> {
    Ok(own(pid).context("its CPU time")?.fields(&[13, 14]) as f64 / TICKS)
}

/// User and system time of a process and its children, also of those that have ended.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut ticks: u64 = own(pid).context("its CPU time")?.fields(&[13, 14, 15, 16]);
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended meanwhile is in its parent's figures.
        if let Ok(stat) = own(child)
            && stat.fields(&[3]) == u64::from(pid)
        {
            ticks += stat.fields(&[13, 14, 15, 16]);
        }
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(ticks as f64 / TICKS)
}

/// What the kernel says of a process.
struct Stat(String);

fn own(pid: u32) -> Result<Stat> {
    Ok(Stat(fs::read_to_string(format!("/proc/{pid}/stat"))?))
}

impl Stat {
    /// Sum of fields by their number from 0; only those behind the name, which may hold anything.
    fn fields(&self, numbers: &[usize]) -> u64 {
        let behind: Vec<&str> = self.0.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |n: &usize| behind.get(n - 2).and_then(|text| text.parse::<u64>().ok());
        numbers.iter().filter_map(field).sum()
    }
}

/// Share of all processors that was busy since the last look; at first since the machine started.
#[derive(Default)]
pub struct Busy {
    busy: f64,
    all: f64,
}

impl Busy {
    pub fn look(&mut self) -> Result<f64> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("/proc/stat")?;
        let times: Vec<f64> =
            line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let all: f64 = times.iter().sum();
        let idle: f64 = times.iter().skip(3).take(2).sum();
        let before = std::mem::replace(self, Busy { busy: all - idle, all });
        Ok((self.busy - before.busy) / (self.all - before.all).max(1.0))
    }
}

/// Resident memory of a process, in MiB: now (`VmRSS`), or the most there ever was (`VmHWM`).
pub fn memory(pid: u32, which: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).context("its memory")?;
    let kilobytes = line.trim_start_matches(':').trim().trim_end_matches("kB").trim();
    Ok(kilobytes.parse::<f64>()? / 1024.0)
}

pub const NOW: &str = "VmRSS";
pub const PEAK: &str = "VmHWM";
