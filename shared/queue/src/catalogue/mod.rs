//! What gateways know of experiments: a projection of the database in one Redis hash.
//!
//! | field | value |
//! |---|---|
//! | `id:<tenant>/<id>`, `key:<tenant>/<key>` | the [`Entry`] as JSON |
//! | `uses:<tenant>/<metric>` | ids of the experiments that use it, ascending, by commas |
//! | `complete` | number of partitions; there only while everything else is |
//! | `version` | changes with every write |
//!
//! Experiments change one by one ([`Projection::put`]), where an older revision never overwrites a newer one. Every
//! now and then the whole is compared with the database ([`Projection::reconcile`]); that writes nothing if anybody
//! else has written since before it read the database, so it cannot undo what it has not seen. An emptied Redis has no
//! `complete`: until it is reconciled gateways answer "unavailable", never "unknown experiment".

mod cache;
mod projection;

use domain::ExperimentId;
use serde::{Deserialize, Serialize};

pub use cache::{Catalogue, Unavailable};
pub use projection::{Projection, Reconciled, Ticket};

/// An experiment as gateways need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: ExperimentId,
    pub tenant: String,
    pub key: String,
    /// `draft`, `running`, `stopped` or `archived`.
    pub status: String,
    /// Keys, in order: the index is what events carry.
    pub variations: Vec<String>,
    /// Event names of its metrics, each once.
    pub metrics: Vec<String>,
    /// Grows with every committed change of the experiment; below 2^53.
    pub revision: u64,
}

const COMPLETE: &str = "complete";
const VERSION: &str = "version";
/// Published instead of names when very much has changed.
const EVERYTHING: &str = "*";

fn id_field(tenant: &str, id: ExperimentId) -> String {
    format!("id:{tenant}/{id}")
}

fn key_field(tenant: &str, key: &str) -> String {
    format!("key:{tenant}/{key}")
}

/// The field of a metric is this and its name.
fn uses_prefix(tenant: &str) -> String {
    format!("uses:{tenant}/")
}
