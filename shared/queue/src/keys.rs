//! Keys that admins issue, as every tier knows them: a projection of the database, written by the analyzer.
//!
//! They are few (the store bounds them) and belong to every request, so all of them are one value, an [`Edition`],
//! which each process keeps whole. A writer replaces the edition it has seen before it read the database, so it cannot
//! undo what it has not seen. Until there is a first edition a key that is not known may be one all the same.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::QueueError;

/// A key in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedKey {
    pub id: i64,
    pub tenant: String,
    pub name: String,
    /// SHA-256 of the key, in hexadecimal.
    pub digest: String,
    /// Names, by commas.
    pub scopes: String,
}

/// All keys in force at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// Another one with every edition.
    pub version: String,
    pub keys: Vec<IssuedKey>,
}

/// Both sides: tiers read and follow, the analyzer writes.
#[async_trait]
pub trait IssuedKeys: Send + Sync {
    /// Of the edition that is there; `None` if nobody has written one since Redis was emptied.
    async fn version(&self) -> Result<Option<String>, QueueError>;

    async fn read(&self) -> Result<Option<Edition>, QueueError>;

    /// Puts an edition in the place of the one whose version was `seen`, and tells everybody. False: there is another
    /// one by now, and nothing was done.
    async fn write(&self, seen: Option<&str>, keys: &[IssuedKey]) -> Result<bool, QueueError>;

    /// Returns when there may be another edition than when it returned last. For one caller at a time.
    async fn changed(&self);
}
