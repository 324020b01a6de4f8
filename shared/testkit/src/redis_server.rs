//! A Redis server of our own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;

use crate::{os, ports, sandbox};

/// Covers the replay of a large append-only file.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Another program may take the port between our look and the server's bind.
const PORT_TRIES: usize = 5;

/// What production demands of a queue.
const DURABLE: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory", "2gb"),
    ("maxmemory-policy", "noeviction"),
    ("save", ""),
];

/// A Redis server on 127.0.0.1 with a port and a data directory of its own, stopped and removed when dropped.
pub struct Redis {
    dir: PathBuf,
    port: u16,
    settings: BTreeMap<String, String>,
    /// The data directory is a disk of its own.
    mounted: bool,
    child: Mutex<Option<Child>>,
}

impl Redis {
    /// With the settings production demands: every write fsynced, no eviction, 2 GB.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// With some settings of `redis.conf` changed, for example `("appendfsync", "everysec")`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::prepare(settings)?.begin().await
    }

    /// With a disk of its own of so many bytes, in memory. Only root may mount one.
    pub async fn start_with_disk(bytes: u64) -> Result<Self> {
        let mut server = Self::prepare(&[])?;
        let (size, data) = (format!("size={bytes},mode=0700"), server.data());
        os::run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&data))?;
        server.mounted = true;
        server.begin().await
    }

    /// Uses up what the disk has left.
    pub fn fill_disk(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        // Ends with the error that is wanted.
        while ballast.write_all(&[0; 4096]).is_ok() {}
        Ok(())
    }

    /// Gives back what [`Self::fill_disk`] took.
    pub fn free_disk(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.data().join("ballast")
    }

    fn prepare(settings: &[(&str, &str)]) -> Result<Self> {
        if os::on_path("redis-server").is_none() {
            bail!("redis-server not found on PATH: run `make setup`");
        }
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings = DURABLE.iter().chain(settings).map(owned).collect();
        let dir = sandbox::temp_dir("redis")?;
        sandbox::make_dir(&dir.join("data"))?;
        Ok(Self { dir, port: ports::free_port()?, settings, mounted: false, child: Mutex::new(None) })
    }

    async fn begin(mut self) -> Result<Self> {
        for _ in 1..PORT_TRIES {
            match self.launch().await {
                Err(_) if os::tail(&self.log_file()).contains("Address already in use") => {
                    self.port = ports::free_port()?;
                }
                started => return started.map(|()| self),
            }
        }
        self.launch().await?;
        Ok(self)
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Of database 0.
    pub fn url(&self) -> String {
        self.url_at(self.addr())
    }

    /// Of database 0, reached through another address (a [`crate::FaultProxy`]'s).
    pub fn url_at(&self, addr: SocketAddr) -> String {
        format!("redis://{addr}/0")
    }

    /// Runs one command, such as `["XLEN", "key"]`, on a connection of its own.
    pub async fn command(&self, words: &[&str]) -> Result<redis::Value> {
        let (name, arguments) = words.split_first().context("no command given")?;
        let mut connection = self.connect().await?;
        let reply = redis::cmd(name).arg(arguments).query_async(&mut connection).await;
        reply.with_context(|| words.join(" "))
    }

    /// A connection, driven by the current runtime.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(10)))
            .set_response_timeout(Some(Duration::from_secs(30)));
        let client = redis::Client::open(self.url())?;
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// As it was started with.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        os::running(&mut self.child.lock().unwrap())
    }

    /// Orderly shutdown.
    pub async fn stop(&self) -> Result<()> {
        self.end("TERM").await
    }

    /// SIGKILL.
    pub async fn kill(&self) -> Result<()> {
        self.end("KILL").await
    }

    /// SIGSTOP: connections stay, nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.pid().map_or(Ok(()), |pid| os::signal(&[pid], "STOP"))
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.pid().map_or(Ok(()), |pid| os::signal(&[pid], "CONT"))
    }

    /// Starts the server again on the same port and data, after [`Self::stop`] if it still runs.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Kills the server and starts it again with an empty disk.
    pub async fn restart_empty(&self) -> Result<()> {
        self.kill().await?;
        fs::remove_dir_all(self.data())?;
        sandbox::make_dir(&self.data())?;
        self.launch().await
    }

    /// What the server has logged since it was first started.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    async fn end(&self, signal: &str) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        os::signal(&[pid], signal)?;
        os::wait_for("Redis ends", STOP_LIMIT, || Ok(self.ended())).await
    }

    async fn launch(&self) -> Result<()> {
        let pid = self.spawn()?;
        os::wait_for("Redis answers", START_LIMIT, || {
            if self.ended().is_some() {
                bail!("Redis ended at start:\n{}", os::tail(&self.log_file()));
            }
            Ok(self.is_ready(pid).then_some(()))
        })
        .await
    }

    fn spawn(&self) -> Result<u32> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command.current_dir(self.data()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.process_group(0).spawn().context("start redis-server")?;
        let pid = child.id();
        *self.child.lock().unwrap() = Some(child);
        Ok(pid)
    }

    /// Whether the server on our port is the process we started, its data loaded.
    fn is_ready(&self, pid: u32) -> bool {
        let info = info(self.addr()).unwrap_or_default();
        let has = |wanted: &str| info.lines().any(|line| line == wanted);
        has(&format!("process_id:{pid}")) && has("loading:0")
    }

    fn ended(&self) -> Option<()> {
        self.pid().is_none().then_some(())
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }
}

/// The server's INFO; on a blocking socket, which a loopback server answers at once.
fn info(addr: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"INFO\r\nQUIT\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            os::reap(&mut child, Duration::ZERO);
        }
        if self.mounted {
            let _ = os::run(Command::new("umount").arg(self.data()));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
