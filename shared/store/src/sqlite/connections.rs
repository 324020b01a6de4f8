//! Connections to the file: one that writes, a few that read. SQLite's calls block; they are made where they may.

use crate::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::task::block_in_place;

/// For another process that writes, and for a recovery that one does.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 64;
const READERS: usize = 4;

/// Every commit is on disk when it returns (the two fullfsync ask macOS for what other systems do anyway). A transaction
/// of 10,000 events changes up to 11,000 pages; the log is carried over to the file at three times that (128 MiB), so
/// that a page changed by each is written there once, and is cut back to 256 MiB after a larger one.
const WRITING: &str = "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
     PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 32768; PRAGMA journal_size_limit = 268435456";

/// Runs what blocks on this thread; a runtime of several goes on with another meanwhile. Rows may stay borrowed.
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(f),
        _ => f(),
    }
}

/// The only connection that writes. Whoever waits for it gets it in turn.
#[derive(Clone)]
pub struct Writer(Arc<Mutex<Connection>>);

impl Writer {
    /// Creates the file if there is none; fails if it cannot be written.
    pub fn open(file: &Path) -> Result<Writer, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let c = open(file, flags)?;
        let mode: String = c.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0))?;
        if mode != "wal" {
            return Err(StoreError::NoLog);
        }
        c.execute_batch(WRITING)?;
        // A file without write permission opens as well, for reading.
        c.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
        Ok(Writer(Arc::new(Mutex::new(c))))
    }

    pub async fn lease(&self) -> Lease {
        Lease(Arc::clone(&self.0).lock_owned().await)
    }

    /// A transaction: committed if `f` succeeds.
    pub async fn write<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lease = self.lease().await;
        blocking(|| {
            lease.begin()?;
            let done = f(&lease)?;
            lease.commit()?;
            Ok(done)
        })
    }
}

/// The right to write, until dropped; a transaction still open then is rolled back.
pub struct Lease(OwnedMutexGuard<Connection>);

impl Lease {
    pub fn begin(&self) -> Result<(), StoreError> {
        Ok(self.execute_batch("BEGIN IMMEDIATE")?)
    }

    pub fn commit(&self) -> Result<(), StoreError> {
        Ok(self.execute_batch("COMMIT")?)
    }

    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_autocommit()
            && let Err(error) = self.execute_batch("ROLLBACK")
        {
            tracing::warn!(error = super::faults::described(&error), "a transaction was not rolled back");
        }
    }
}

/// Connections that cannot write, opened when needed and kept.
pub struct Readers {
    file: PathBuf,
    permits: Semaphore,
    idle: std::sync::Mutex<Vec<Connection>>,
}

impl Readers {
    pub fn of(file: &Path) -> Readers {
        let (permits, idle) = (Semaphore::new(READERS), std::sync::Mutex::default());
        Readers { file: file.to_owned(), permits, idle }
    }

    /// One more, for a snapshot that lives longer than a call.
    pub fn open(&self) -> Result<Connection, StoreError> {
        open(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Each statement of `f` sees a snapshot of its own.
    pub async fn read<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // An error would say that the semaphore is closed: it never is.
        let _permit = self.permits.acquire().await.ok();
        blocking(|| {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let c = match idle {
                Some(c) => c,
                None => open(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            };
            // After an error the next read begins with a fresh one.
            let found = f(&c)?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(c);
            Ok(found)
        })
    }
}

fn open(file: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let c = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    c.busy_timeout(BUSY_TIMEOUT)?;
    c.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(c)
}
