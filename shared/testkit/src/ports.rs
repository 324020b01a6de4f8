//! Ports that no other test process will take, also while the server on them is down.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

use crate::sandbox;

/// Locks of the ports this process has taken, held until its end.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Below it live well-known services of the machine.
const FIRST: u16 = 10_000;

/// A loopback TCP port nobody listens on. It stays ours as long as this process lives: other processes with
/// this kit avoid it, and it lies below the range the kernel gives to outgoing connections, so a server can
/// come back on it after a restart.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let dir = sandbox::cache_dir()?.join("ports");
    sandbox::make_dir(&dir)?;
    let (first, count) = (FIRST, lowest_ephemeral().saturating_sub(FIRST).max(2_000));
    // Processes start at different places, so that they seldom meet.
    let start = std::process::id() % 997 * 23;
    for _ in 0..count {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = first + u16::try_from((start + step) % u32::from(count))?;
        if let Some(lock) = take(&dir, port)? {
            TAKEN.lock().unwrap().push(lock);
            return Ok(port);
        }
    }
    bail!("no free port from {first} to {}", first + count)
}

fn take(dir: &Path, port: u16) -> Result<Option<File>> {
    let file = File::create(dir.join(port.to_string())).context("create the port's lock file")?;
    let free = file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    Ok(free.then_some(file))
}

fn lowest_ephemeral() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768)
}
