//! What the kit needs of the operating system, without unsafe code: signals go through the shell's `kill`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks at a condition that some other process will make true.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(5);

/// Our effective user id.
pub(crate) fn uid() -> Result<u32> {
    Ok(fs::metadata("/proc/self").context("read /proc/self (the test kit runs on Linux only)")?.uid())
}

/// User and group id of a name in /etc/passwd.
pub(crate) fn user(name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2);
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}

/// A program's path on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Sends a signal ("KILL", "STOP" ..). Processes that are gone already are no error.
pub(crate) fn signal(pids: &[u32], name: &str) -> Result<()> {
    Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$@""#, name])
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status()
        .context("run sh")?;
    Ok(())
}

/// Direct children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// Whether a process runs or is stopped; a zombie does not count.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// State letter and parent. The program's name, in parentheses, may itself hold spaces and parentheses.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The child's process id, unless it has ended (then it is reaped).
pub(crate) fn running(child: &mut Option<Child>) -> Option<u32> {
    let child = child.as_mut()?;
    matches!(child.try_wait(), Ok(None)).then(|| child.id())
}

/// Runs a program to its end; its output becomes the error's text when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    said(command).map(drop)
}

/// Runs a program to its end, and tells what it said on standard output.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{command:?} failed, {}: {out}{err}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Looks until `found` has an answer, at most `limit` long.
pub(crate) async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut found: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = found()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Asks again and again until `holds` says yes, at most `limit` long; the error names `what`. For what another
/// process or task will make true and tells nobody of.
pub async fn eventually<F>(what: &str, limit: Duration, mut holds: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + limit;
    while !holds().await {
        if Instant::now() >= deadline {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(())
}

/// Waits for a child's end, at most `limit` long, then kills it. For `Drop`, which cannot be async.
pub(crate) fn reap(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(POLL_EVERY);
    }
    // Killing fails only when the child is gone already.
    let _ = child.kill();
    child.wait().ok()
}

/// The last lines of a log file, for error messages.
pub(crate) fn tail(file: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
