//! The directory of `abctl up`: database, keys and lock, held by one process at a time.
//!
//! Whatever is wrong with it is a refusal of `AB_DATA` that names the file and the cause. Files made here are readable
//! by their owner only; so is the directory, if it is made here.

use crate::up::keys::{Keys, Made};
use service::settings::Refusal;
use std::fmt::Display;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What other people of the machine may do with a file.
const OTHERS: u32 = 0o077;

#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Locked until it is dropped, also by a kill. Says who holds it.
    lock: File,
}

impl Directory {
    /// Made if there is none, and held until dropped.
    pub fn hold(path: &Path) -> Result<Directory, Refusal> {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
        made.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => refusal(path, "is not a directory"),
            _ => refuse(path, "cannot be made", &error),
        })?;
        let path = path.canonicalize().map_err(|error| refuse(path, "cannot be found", &error))?;
        let (file, mut lock) = open_own(&path, "lock")?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path, lock }),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is helps, and is not needed.
                let _ = (&mut lock).take(200).read_to_string(&mut holder);
                let by = holder.lines().next().map(|line| format!(" by {line}")).unwrap_or_default();
                Err(refusal(&path, &format!("is in use{by}")))
            }
            Err(TryLockError::Error(error)) => Err(refuse(&file, "cannot be locked", &error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whoever wants the directory as well who has it.
    pub fn held_at(&mut self, address: SocketAddr) -> Result<(), Refusal> {
        let line = format!("process {} on http://{address}\n", std::process::id());
        let written = (|| {
            self.lock.set_len(0)?;
            self.lock.rewind()?;
            self.lock.write_all(line.as_bytes())
        })();
        written.map_err(|error| refuse(&self.path.join("lock"), "cannot be written", &error))
    }

    /// The database file, empty if there was none: SQLite gives the files beside it the permissions of this one.
    pub fn database(&self) -> Result<(), Refusal> {
        open_own(&self.path, backends::DATABASE_FILE).map(drop)
    }

    /// The keys in the directory; new ones if there are none.
    pub fn keys(&self) -> Result<Keys, Refusal> {
        let file = self.path.join("keys");
        let entries = match std::fs::read_to_string(&file) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.new_keys(file),
            Err(error) => return Err(refuse(&file, "cannot be read", &error)),
        };
        // Put right rather than refused: whoever could read it has done so, and refusing would not undo that.
        let meta = file.metadata().map_err(|error| refuse(&file, "cannot be read", &error))?;
        if meta.permissions().mode() & OTHERS != 0 {
            std::fs::set_permissions(&file, Permissions::from_mode(FILE_MODE)).map_err(|error| {
                refuse(&file, "is readable by others and cannot be closed to them", &error)
            })?;
            tracing::warn!(file = %file.display(), "the keys were readable by others of this machine; now they are not");
        }
        Ok(Keys { file, entries, made: None })
    }

    fn new_keys(&self, file: PathBuf) -> Result<Keys, Refusal> {
        let made = Made::random().map_err(|error| refuse(&file, "needs random numbers", &error))?;
        let entries = made.entries();
        self.write_whole(&file, &entries).map_err(|error| refuse(&file, "cannot be written", &error))?;
        Ok(Keys { file, entries, made: Some(made) })
    }

    /// All of it or nothing, also after a power failure.
    fn write_whole(&self, file: &Path, text: &str) -> io::Result<()> {
        let unfinished = file.with_extension("new");
        let mut options = OpenOptions::new();
        let mut new = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&unfinished)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&unfinished, file)?;
        File::open(&self.path)?.sync_all()
    }
}

/// A file of ours, made if there is none, to be read and written.
fn open_own(directory: &Path, name: &str) -> Result<(PathBuf, File), Refusal> {
    let file = directory.join(name);
    let mut options = OpenOptions::new();
    match options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&file) {
        Ok(open) => Ok((file, open)),
        Err(error) => Err(refuse(&file, "cannot be written", &error)),
    }
}

fn refuse(path: &Path, what: &str, error: &dyn Display) -> Refusal {
    refusal(path, &format!("{what}: {error}"))
}

fn refusal(path: &Path, what: &str) -> Refusal {
    Refusal::new("AB_DATA", format!("{} {what}", path.display()))
}
