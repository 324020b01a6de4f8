//! How much room there is where something grows, if that is on this machine.

use super::check::{Check, bytes};
use std::path::Path;

const ADVICE: &str = "make room or a larger disk before writes fail";

/// Says nothing of a directory that cannot be seen from here.
pub fn look(name: &'static str, directory: &Path, checks: &mut Vec<Check>) {
    let Ok(found) = rustix::fs::statvfs(directory) else { return };
    let (free, all) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
    let said = format!("{} of {} free", bytes(free), bytes(all));
    checks.push(match (u128::from(free) * 100).checked_div(u128::from(all)).unwrap_or(0) {
        0..5 => Check::fail(name, said, ADVICE),
        5..15 => Check::warn(name, said, ADVICE),
        _ => Check::ok(name, said),
    });
}
