//! The projection as one Redis hash.
//!
//! | field | value |
//! |---|---|
//! | `id:<tenant>/<id>`, `key:<tenant>/<key>` | the [`Entry`] as JSON |
//! | `uses:<tenant>/<metric>` | ids of the experiments that use it, ascending, by commas |
//! | `complete` | number of partitions; there only while everything else is |
//! | `version` | changes with every write |
//!
//! An emptied Redis has no `complete`.

mod cache;
mod projection;

use domain::ExperimentId;

pub use cache::RedisCatalogue;
pub(crate) use projection::RedisProjection;

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
