//! The directory that holds all a process starts, and the two that see to its removal.
//!
//! ```text
//! $TMPDIR/abstream-testkit-<uid>/     kept: cache of the machine
//!   lock                              held while a directory below run/ is made or judged
//!   ports/<port>                      locked by the process that uses the port
//!   postgres-<version>-<uid>/         a fresh data directory, copied for each server
//!   run/<pid>-<nanoseconds>/          one per process; its file `lock` is held while the process lives
//! ```
//!
//! The reaper (a shell waiting on a pipe) removes a directory when its owner ends. Should it be killed as well,
//! the next process to start finds the lock free and does the same.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};

use crate::os;

const REAPER: &str = include_str!("reaper.sh");

struct Sandbox {
    root: PathBuf,
    next: AtomicU32,
    _lock: File,
    /// Its standard input closes when this process ends, in whatever way.
    _reaper: Child,
}

static SANDBOX: LazyLock<Result<Sandbox, String>> =
    LazyLock::new(|| Sandbox::open().map_err(|error| format!("{error:#}")));

/// A new empty directory, removed at the latest when this process ends. At most `name` and a number are added
/// to the path of the process's own directory.
pub fn temp_dir(name: &str) -> Result<PathBuf> {
    let sandbox = SANDBOX.as_ref().map_err(|error| anyhow!("prepare the test directory: {error}"))?;
    let number = sandbox.next.fetch_add(1, Ordering::Relaxed);
    let dir = sandbox.root.join(format!("{number}-{name}"));
    make_dir(&dir)?;
    Ok(dir)
}

/// The cache of this machine and user, see the module's picture.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let uid = os::uid()?;
    let dir = std::env::temp_dir().join(format!("abstream-testkit-{uid}"));
    make_dir(&dir)?;
    // Somebody else may have put a directory or a link in our place.
    let meta = fs::symlink_metadata(&dir).with_context(|| format!("read {}", dir.display()))?;
    if !meta.is_dir() || meta.uid() != uid {
        bail!("{} is not a directory of ours: remove it", dir.display());
    }
    Ok(dir)
}

/// Passable for all (PostgreSQL may run as another user), readable by us.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .with_context(|| format!("create {}", dir.display()))?;
    Ok(())
}

/// Takes a lock that other processes respect; it is free again when the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

impl Sandbox {
    fn open() -> Result<Self> {
        let cache = cache_dir()?;
        let runs = cache.join("run");
        make_dir(&runs)?;
        let guard = lock(&cache.join("lock"))?;
        remove_orphans(&runs)?;
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let root = runs.join(format!("{}-{nanos}", std::process::id()));
        make_dir(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711))?;
        let own = lock(&root.join("lock"))?;
        drop(guard);
        let reaper = reaper(&root, Stdio::piped()).spawn().context("start sh")?;
        Ok(Self { root, next: AtomicU32::new(0), _lock: own, _reaper: reaper })
    }
}

/// Ends and removes what processes left that were killed together with their reaper.
fn remove_orphans(runs: &Path) -> Result<()> {
    for entry in fs::read_dir(runs)? {
        let dir = entry?.path();
        let Ok(lock) = File::open(dir.join("lock")) else { continue };
        if lock.try_lock().is_ok() {
            os::run(&mut reaper(&dir, Stdio::null()))?;
        }
    }
    Ok(())
}

fn reaper(dir: &Path, stdin: Stdio) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", REAPER, "abstream-testkit-reaper"])
        .arg(dir)
        .current_dir("/")
        // Ctrl-C and a runner's kill of our group must not reach it before us.
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
