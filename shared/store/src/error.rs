//! What can go wrong at the store, sorted by what the caller should do.

use crate::sqlite::faults;
use domain::codec::CodecError;
use std::path::PathBuf;
use tokio_postgres::error::SqlState;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database: {}", described(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("no database connection: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the database URL is not usable: {0}")]
    Url(String),
    #[error("the database file: {}", faults::described(.0))]
    Sqlite(#[from] rusqlite::Error),
    #[error("there is no database file {}", .0.display())]
    NoFile(PathBuf),
    #[error("the file system of the database file cannot hold a write-ahead log")]
    NoLog,
    #[error("the database file was opened for reading only")]
    OpenedForReading,
    #[error("no transaction is open")]
    NoTransaction,
    #[error("migration failed: {0}")]
    Migration(#[from] Box<refinery::Error>),
    #[error("a stored row cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("a stored experiment definition cannot be read: {0}")]
    Definition(#[from] serde_json::Error),
    #[error("a stored value is out of its range: {0}")]
    Corrupt(&'static str),
    #[error(
        "the deployment has {stored} partitions, AB_PARTITIONS says {configured}; it is fixed for a deployment"
    )]
    Partitions { stored: String, configured: u16 },
    #[error("the database schema is version {found}, this release needs {wanted}")]
    Schema { found: i32, wanted: i32 },
    #[error(
        "the address leads to a transaction pooler, which keeps no session: give PostgreSQL's own, or a session pooler's"
    )]
    Pooler,
    #[error("the database is in use: it holds a deployment's data, and a deployment moves into an empty one")]
    InUse,
    #[error("somebody else has begun to look at partition {0}")]
    Viewed(i16),
    #[error("the key '{0}' belonged to a deleted experiment; keys are unique for ever")]
    KeyUsed(String),
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again, with a fresh connection.
    Transient,
    /// The data itself is refused (SQLSTATE classes 22 and 23, SQLite's constraints): trying again with the same rows cannot help.
    Data,
    /// Somebody has to change something: settings, schema, a damaged row.
    Fatal,
}

impl StoreError {
    /// By SQLSTATE, SQLite's result code and type, never by text.
    pub fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Database(e) => match e.code() {
                Some(code) if is_data(code) => ErrorKind::Data,
                _ => ErrorKind::Transient,
            },
            StoreError::Pool(_) => ErrorKind::Transient,
            StoreError::Sqlite(e) => faults::kind(e),
            StoreError::Migration(e) => migration_kind(e),
            StoreError::Url(_)
            | StoreError::NoFile(_)
            | StoreError::NoLog
            | StoreError::OpenedForReading
            | StoreError::NoTransaction
            | StoreError::Codec(_)
            | StoreError::Definition(_)
            | StoreError::Corrupt(_)
            | StoreError::Partitions { .. }
            | StoreError::Schema { .. }
            | StoreError::Pooler
            | StoreError::InUse
            | StoreError::Viewed(_)
            | StoreError::KeyUsed(_) => ErrorKind::Fatal,
        }
    }
}

/// A server that cannot be written to now, or whose connection broke, may do better later; one that does not
/// understand a migration, or holds rows that it refuses, will not.
fn migration_kind(error: &refinery::Error) -> ErrorKind {
    let refinery::error::Kind::Connection(_, cause) = error.kind() else { return ErrorKind::Fatal };
    if let Some(within) = cause.downcast_ref::<refinery::Error>() {
        return migration_kind(within);
    }
    match cause.downcast_ref::<tokio_postgres::Error>().map(tokio_postgres::Error::code) {
        Some(Some(code)) if is_data(code) || code.code().starts_with("42") => ErrorKind::Fatal,
        Some(_) => ErrorKind::Transient,
        None => ErrorKind::Fatal,
    }
}

/// What the server said, with its SQLSTATE; of data errors the code only, for their text may quote a value.
fn described(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) if is_data(e.code()) => format!("SQLSTATE {}", e.code().code()),
        Some(e) => format!("{} (SQLSTATE {})", e.message(), e.code().code()),
        None => error.to_string(),
    }
}

fn is_data(code: &SqlState) -> bool {
    code.code().starts_with("22") || code.code().starts_with("23")
}
