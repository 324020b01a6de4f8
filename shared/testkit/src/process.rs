//! One of our own binaries, run as users run it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::{http, os, sandbox};

/// The path of a workspace binary, built in the same target directory and profile as the program that asks.
/// `make test` builds all of them first; one that is older than its sources is used, with a warning.
pub fn bin(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find our own program")?;
    let dir = own.parent().context("our own program has no directory")?;
    // Test programs lie in `deps`, one below the binaries.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let path = dir.join(name);
    if !path.is_file() {
        bail!("{} is not built: run `cargo build --workspace --bins` first", path.display());
    }
    if let Some(source) = newer_source(&path) {
        eprintln!("warning: {} is older than {source}: run `cargo build --workspace --bins`", path.display());
    }
    Ok(path)
}

/// Cargo lists a binary's sources beside it: `binary: source source ..`.
fn newer_source(binary: &Path) -> Option<String> {
    let built = modified(binary)?;
    let list = fs::read_to_string(binary.with_extension("d")).ok()?;
    let sources = list.split_once(": ")?.1.split_whitespace();
    sources.filter(|source| modified(Path::new(source)) > Some(built)).map(str::to_owned).next()
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// What to run and with what.
#[derive(Clone)]
pub struct ProcessBuilder {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
}

impl ProcessBuilder {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets a variable. `AB_*`, `OTEL_*` and `RUST_LOG` of our own environment are not passed on.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Result<Process> {
        let dir = sandbox::temp_dir(&self.name)?;
        let child = self.launch(&dir)?;
        Ok(Process { spec: self, dir, child })
    }

    fn launch(&self, dir: &Path) -> Result<Child> {
        let mut command = Command::new(&self.program);
        let inherited = std::env::vars_os().map(|(name, _)| name);
        let foreign = ["AB_", "OTEL_", "RUST_LOG"];
        for name in inherited.filter(|name| foreign.iter().any(|s| name.to_string_lossy().starts_with(s))) {
            command.env_remove(name);
        }
        let output = |name: &str| File::options().create(true).append(true).open(dir.join(name));
        command
            .args(&self.arguments)
            .envs(&self.environment)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output("stdout")?)
            .stderr(output("stderr")?)
            .process_group(0);
        command.spawn().with_context(|| format!("start {}", self.program.display()))
    }
}

/// A running binary, killed when dropped. Its output goes to files; when a test fails, the end of its standard
/// output and error is shown.
pub struct Process {
    spec: ProcessBuilder,
    dir: PathBuf,
    child: Child,
}

impl Process {
    /// Prepares one of our binaries, by its name.
    pub fn of(binary: &str) -> Result<ProcessBuilder> {
        Ok(Self::at(binary, bin(binary)?))
    }

    /// Prepares any program; `name` is used for its directory and in messages.
    pub fn at(name: &str, program: impl Into<PathBuf>) -> ProcessBuilder {
        let (arguments, environment) = (Vec::new(), BTreeMap::new());
        ProcessBuilder { name: name.to_owned(), program: program.into(), arguments, environment }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Most memory it has had at any time, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{} has no VmHWM", self.spec.name))? << 10)
    }

    /// Waits until a GET of `path` answers 200; an error as soon as the process has ended.
    pub async fn wait_ready(&mut self, addr: SocketAddr, path: &str, limit: Duration) -> Result<()> {
        let client = http::Client::at(addr).timeout(Duration::from_secs(2));
        let deadline = tokio::time::Instant::now() + limit;
        while !matches!(client.get(path).await, Ok(response) if response.status == 200) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended before it was ready, {status}:\n{}", self.spec.name, self.output_tail());
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("{} is not ready after {limit:?}:\n{}", self.spec.name, self.output_tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Whether it has ended, and how.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for it to end by itself.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.spec.name);
        let child = &mut self.child;
        os::wait_for(&what, limit, || Ok(child.try_wait()?)).await
    }

    /// SIGTERM, then waits for its end.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(limit).await
    }

    /// SIGKILL; it is gone when this returns.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: holds its connections and locks, does nothing.
    pub fn pause(&mut self) -> Result<()> {
        self.signal("STOP")
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<()> {
        self.signal("CONT")
    }

    /// Starts the same program with the same arguments and environment again, killing it if it still runs.
    pub fn respawn(&mut self) -> Result<()> {
        self.kill()?;
        self.child = self.spec.launch(&self.dir)?;
        Ok(())
    }

    /// All it has written to standard output, former runs included.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// All it has written to standard error, former runs included.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(name)).unwrap_or_default()).into_owned()
    }

    fn signal(&mut self, name: &str) -> Result<()> {
        // Once it has been waited for, its number may be another's.
        if self.child.try_wait()?.is_none() {
            os::signal(&[self.child.id()], name)?;
        }
        Ok(())
    }

    fn output_tail(&self) -> String {
        let (out, err) = (os::tail(&self.dir.join("stdout")), os::tail(&self.dir.join("stderr")));
        format!("-- stdout:\n{out}\n-- stderr:\n{err}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        os::reap(&mut self.child, Duration::ZERO);
        if std::thread::panicking() {
            eprintln!("-- {} ({})\n{}", self.spec.name, self.child.id(), self.output_tail());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
