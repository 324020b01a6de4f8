//! What SQLite's result codes mean for us and for people. Its own texts may quote SQL, so they are not shown.

use crate::ErrorKind;
use rusqlite::Error;
use rusqlite::ffi;

/// By extended result code. What another process, a disk with room again or a remounted file system can put right
/// is tried again; rows that are refused are refused for ever.
pub fn kind(error: &Error) -> ErrorKind {
    let failure = match error {
        Error::SqliteFailure(failure, _) | Error::SqlInputError { error: failure, .. } => failure,
        Error::ToSqlConversionFailure(_) => return ErrorKind::Data,
        _ => return ErrorKind::Fatal,
    };
    match (failure.extended_code, failure.extended_code & 0xff) {
        (ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA, _) => ErrorKind::Fatal,
        (
            _,
            ffi::SQLITE_FULL
            | ffi::SQLITE_IOERR
            | ffi::SQLITE_BUSY
            | ffi::SQLITE_LOCKED
            | ffi::SQLITE_READONLY
            | ffi::SQLITE_CANTOPEN
            | ffi::SQLITE_PROTOCOL
            | ffi::SQLITE_NOMEM
            | ffi::SQLITE_INTERRUPT,
        ) => ErrorKind::Transient,
        (_, ffi::SQLITE_CONSTRAINT | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH) => ErrorKind::Data,
        _ => ErrorKind::Fatal,
    }
}

/// For people, with the extended code for those who look it up.
pub fn described(error: &Error) -> String {
    let failure = match error {
        Error::SqliteFailure(failure, _) | Error::SqlInputError { error: failure, .. } => failure,
        Error::ToSqlConversionFailure(refusal) => return refusal.to_string(),
        _ => return "a stored value is not of its type".into(),
    };
    let code = failure.extended_code;
    let what = match (code, code & 0xff) {
        (_, ffi::SQLITE_FULL) => "the disk is full",
        (ffi::SQLITE_IOERR_SHMSIZE, _) => "the disk is full, or its -shm file cannot be made",
        (ffi::SQLITE_READONLY_DIRECTORY, _) => "the directory of the file is read-only",
        (ffi::SQLITE_READONLY_DBMOVED, _) => "the file was moved or removed while in use",
        (_, ffi::SQLITE_READONLY) => "the file is read-only",
        (_, ffi::SQLITE_CANTOPEN) => {
            "it, or the -wal and -shm files beside it, cannot be opened or created: is the directory there and \
             writable?"
        }
        (ffi::SQLITE_IOERR_CORRUPTFS, _) => "the file system is damaged",
        (ffi::SQLITE_IOERR_WRITE, _) => "the file cannot be written",
        (ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC, _) => "the disk does not confirm a write",
        (_, ffi::SQLITE_IOERR) => "the file cannot be read or written",
        (_, ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED) => "another process holds the file",
        (_, ffi::SQLITE_CORRUPT) => "the file is damaged",
        (_, ffi::SQLITE_NOTADB) => "the file is not a database",
        (_, ffi::SQLITE_NOMEM) => "out of memory",
        (_, ffi::SQLITE_CONSTRAINT | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH) => "a row is refused",
        _ => "unexpected",
    };
    format!("{what} (SQLite code {code})")
}
