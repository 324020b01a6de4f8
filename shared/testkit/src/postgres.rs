//! A PostgreSQL server of our own.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::NoTls;

use crate::{os, ports, sandbox};

/// The oldest major version the product supports.
const OLDEST: u32 = 15;
const SUPERUSER: &str = "abstream";
/// Covers crash recovery on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Another program may take the port between our look and the server's bind.
const PORT_TRIES: usize = 5;

/// A PostgreSQL server on 127.0.0.1 with a port and a data directory of its own, stopped and removed when
/// dropped. It is durable like production (fsync on) unless started otherwise. Users need no password.
pub struct Postgres {
    install: Install,
    /// Holds the data directory and the server's log.
    dir: PathBuf,
    port: u16,
    settings: BTreeMap<String, String>,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// A durable server with default memory.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Without fsync: for tests in which no server is killed.
    pub async fn fast() -> Result<Self> {
        Self::start_with(&[("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")])
            .await
    }

    /// With server settings as in `postgresql.conf`, for example `("shared_buffers", "2GB")`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let install = Install::find()?;
        let dir = sandbox::temp_dir("postgres")?;
        let (from, to, account) = (install.clone(), dir.clone(), install.account);
        tokio::task::spawn_blocking(move || from.fresh_data(&to.join("data"), account)).await??;
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::start_at(install, dir, settings).await
    }

    /// A hot standby of this server, which it follows through `through` (this server's address or a
    /// [`crate::FaultProxy`]'s), asynchronously.
    pub async fn standby(&self, through: SocketAddr) -> Result<Self> {
        let copy = self.copy(through, &["--write-recovery-conf"]).await?;
        self.start_copy(copy).await
    }

    /// A base backup with the WAL it needs, taken while the server runs; to be given to [`Self::start_copy`].
    pub async fn base_backup(&self) -> Result<PathBuf> {
        self.copy(self.addr(), &["--wal-method=stream"]).await
    }

    /// A server of its own on a copy of this one, with the settings of this one.
    pub async fn start_copy(&self, copy: PathBuf) -> Result<Self> {
        Self::start_at(self.install.clone(), copy, self.settings.clone()).await
    }

    async fn copy(&self, through: SocketAddr, arguments: &[&str]) -> Result<PathBuf> {
        let dir = sandbox::temp_dir("postgres")?;
        let data = dir.join("data");
        sandbox::make_dir(&data)?;
        fs::set_permissions(&data, Permissions::from_mode(0o700))?;
        if let Some((uid, gid)) = self.install.account {
            chown(&data, Some(uid), Some(gid))?;
        }
        let mut copy = self.install.command("pg_basebackup");
        copy.current_dir(&data).arg("-D").arg(&data).args(["-U", SUPERUSER, "-h", &through.ip().to_string()]);
        copy.args(["-p", &through.port().to_string(), "--checkpoint=fast"]).args(arguments);
        tokio::task::spawn_blocking(move || os::run(&mut copy)).await??;
        Ok(dir)
    }

    /// Makes a standby a server of its own.
    pub async fn promote(&self) -> Result<()> {
        self.execute("postgres", "SELECT pg_promote()").await
    }

    async fn start_at(install: Install, dir: PathBuf, settings: BTreeMap<String, String>) -> Result<Self> {
        let (child, databases) = (Mutex::new(None), AtomicU32::new(0));
        let mut server = Self { install, dir, port: ports::free_port()?, settings, child, databases };
        for _ in 1..PORT_TRIES {
            match server.launch().await {
                Err(_) if os::tail(&server.log_file()).contains("Address already in use") => {
                    server.port = ports::free_port()?;
                }
                started => return started.map(|()| server),
            }
        }
        server.launch().await?;
        Ok(server)
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Of the maintenance database `postgres`.
    pub fn url(&self) -> String {
        self.url_for("postgres")
    }

    /// Of a database on this server.
    pub fn url_for(&self, database: &str) -> String {
        self.url_at(self.addr(), database)
    }

    /// Of a database on this server, reached through another address (a [`crate::FaultProxy`]'s).
    pub fn url_at(&self, addr: SocketAddr, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{addr}/{database}")
    }

    /// A new empty database; returns its name.
    pub async fn create_database(&self) -> Result<String> {
        self.create_database_from("template1").await
    }

    /// A new database with the contents of another, to which nobody may be connected; returns its name. Cloning
    /// a migrated template is faster than migrating each test's database.
    pub async fn create_database_from(&self, template: &str) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
        Ok(name)
    }

    /// Runs statements, separated by semicolons, as superuser.
    pub async fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.connect(database).await?.batch_execute(sql).await.with_context(|| sql.to_owned())
    }

    /// A superuser's connection; its driver runs on the current runtime and ends with the client.
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client> {
        let url = self.url_for(database);
        let (client, connection) =
            tokio_postgres::connect(&url, NoTls).await.with_context(|| format!("connect to {url}"))?;
        // The caller learns of a broken connection from its next query.
        tokio::spawn(async { drop(connection.await) });
        Ok(client)
    }

    /// Process id of the postmaster while it runs.
    pub fn pid(&self) -> Option<u32> {
        os::running(&mut self.child.lock().unwrap())
    }

    /// Fast shutdown: sessions are cut off, a checkpoint is written.
    pub async fn stop(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        os::signal(&[pid], "INT")?;
        os::wait_for("PostgreSQL stops", STOP_LIMIT, || Ok(self.ended())).await
    }

    /// SIGSTOP to the postmaster and all its children: connections stay, nothing answers.
    pub fn pause(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        os::signal(&[pid], "STOP")?;
        os::signal(&os::children(pid), "STOP")
    }

    /// SIGCONT to all of them.
    pub fn resume(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        os::signal(&os::children(pid), "CONT")?;
        os::signal(&[pid], "CONT")
    }

    /// SIGKILL to the postmaster and all its children at once, as a power cut would end them.
    pub async fn kill(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        // Stopped first, so that it starts no child we do not see.
        os::signal(&[pid], "STOP")?;
        let mut family = os::children(pid);
        family.push(pid);
        os::signal(&family, "KILL")?;
        os::wait_for("PostgreSQL dies", STOP_LIMIT, || Ok(self.ended())).await?;
        let gone = || Ok((!family.iter().any(|pid| os::is_alive(*pid))).then_some(()));
        os::wait_for("PostgreSQL's children die", STOP_LIMIT, gone).await
    }

    /// Starts the server again on the same port and data, after [`Self::stop`] if it still runs.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// What the server has logged since it was first started.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    async fn launch(&self) -> Result<()> {
        let pid = self.spawn()?;
        os::wait_for("PostgreSQL accepts connections", START_LIMIT, || {
            if self.ended().is_some() {
                bail!("PostgreSQL ended at start:\n{}", os::tail(&self.log_file()));
            }
            Ok(self.is_ready(pid).then_some(()))
        })
        .await
    }

    fn spawn(&self) -> Result<u32> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = self.install.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for (name, value) in DEFAULTS.iter().filter(|(name, _)| !self.settings.contains_key(*name)) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        for (name, value) in &self.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.current_dir(self.data()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.process_group(0).spawn().context("start postgres")?;
        let pid = child.id();
        *self.child.lock().unwrap() = Some(child);
        Ok(pid)
    }

    /// The postmaster writes its pid into the first line of its lock file and its state into the eighth. A file
    /// left by a killed one carries another pid, so this cannot mistake another server for ours.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).map(str::trim) == Some("ready")
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

    /// A killed postmaster leaves a small System V segment; the lock file names it (key and id).
    fn free_shared_memory(&self) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        if let Some(id) = file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = os::run(Command::new("ipcrm").args(["-m", id]));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            // Immediate shutdown: nobody will read this data again.
            let _ = os::signal(&[child.id()], "QUIT");
            os::reap(&mut child, Duration::from_secs(10));
        }
        self.free_shared_memory();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Loopback TCP only, nothing outside the data directory, and short waits where the defaults assume an operator.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("dynamic_shared_memory_type", "mmap"),
    ("max_connections", "200"),
    ("log_checkpoints", "off"),
    ("restart_after_crash", "on"),
];

/// Where the programs are and who runs them.
#[derive(Clone)]
struct Install {
    bin: PathBuf,
    version: String,
    /// PostgreSQL refuses to run as root; then user and group it runs as.
    account: Option<(u32, u32)>,
}

impl Install {
    fn find() -> Result<Self> {
        let account = match os::uid()? {
            0 => Some(
                os::user("postgres").or_else(|| os::user("nobody")).context("no user to run PostgreSQL")?,
            ),
            _ => None,
        };
        for bin in places() {
            let Some(version) = version(&bin) else { continue };
            let major = version.split(['.', ' ']).next().and_then(|major| major.parse().ok());
            if major >= Some(OLDEST) {
                return Ok(Self { bin, version, account });
            }
        }
        bail!(
            "PostgreSQL {OLDEST} or newer not found, neither in AB_TEST_PG_BIN nor on PATH nor in \
             /usr/lib/postgresql: run `make setup`"
        )
    }

    /// Copies a fresh data directory; `initdb` runs once per machine, version and user.
    fn fresh_data(&self, data: &Path, account: Option<(u32, u32)>) -> Result<()> {
        let cache = sandbox::cache_dir()?;
        let user = account.map_or(String::new(), |(uid, _)| format!("-{uid}"));
        let template = cache.join(format!("postgres-{}{user}", self.version));
        {
            let _guard = sandbox::lock(&cache.join(format!("postgres-{}.lock", self.version)))?;
            if !template.join("done").exists() {
                self.initdb(&template)?;
            }
        }
        os::run(Command::new("cp").arg("-a").arg(template.join("data")).arg(data))
    }

    fn initdb(&self, template: &Path) -> Result<()> {
        if template.exists() {
            fs::remove_dir_all(template)?;
        }
        let data = template.join("data");
        sandbox::make_dir(&data)?;
        if let Some((uid, gid)) = self.account {
            chown(&data, Some(uid), Some(gid))?;
        }
        let mut command = self.command("initdb");
        command.current_dir(&data).arg("-D").arg(&data).args(["-U", SUPERUSER]);
        // Byte order everywhere, and the copies are synced by nobody either.
        command.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        os::run(&mut command)?;
        File::create(template.join("done"))?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // Settings of the developer's own servers must not leak in.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Directories that may hold the server's programs, best first.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::var_os("AB_TEST_PG_BIN").map(PathBuf::from).into_iter().collect();
    let on_path = os::on_path("postgres").and_then(|file| file.canonicalize().ok());
    places.extend(on_path.and_then(|file| Some(file.parent()?.to_owned())));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    places.extend(versions.into_iter().map(|(_, bin)| bin));
    places
}

/// "15.18" from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; none when a program is missing.
fn version(bin: &Path) -> Option<String> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?.to_owned();
    bin.join("initdb").is_file().then_some(version)
}
