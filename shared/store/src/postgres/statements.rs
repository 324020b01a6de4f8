//! The statements of every apply transaction, prepared once per connection.

use crate::StoreError;
use tokio_postgres::{Client, Statement};

pub struct Statements {
    pub advance: Statement,
    pub load_units: Statement,
    pub history: Statement,
    pub insert_conversions: Statement,
    pub known_conversions: Statement,
    pub copy_units: Statement,
    pub update_units: Statement,
    pub write_moments: Statement,
    pub write_moments_keys: Statement,
    pub count: Statement,
    pub write_writers: Statement,
}

impl Statements {
    pub async fn prepare(c: &Client) -> Result<Statements, StoreError> {
        Ok(Statements {
            advance: c.prepare(include_str!("sql/advance.sql")).await?,
            load_units: c.prepare(include_str!("sql/load_units.sql")).await?,
            history: c.prepare(include_str!("sql/history.sql")).await?,
            insert_conversions: c.prepare(include_str!("sql/insert_conversions.sql")).await?,
            known_conversions: c.prepare(include_str!("sql/known_conversions.sql")).await?,
            copy_units: c.prepare(include_str!("sql/copy_units.sql")).await?,
            update_units: c.prepare(include_str!("sql/update_units.sql")).await?,
            write_moments: c.prepare(include_str!("sql/write_moments.sql")).await?,
            write_moments_keys: c.prepare(include_str!("sql/write_moments_keys.sql")).await?,
            count: c.prepare(include_str!("sql/count.sql")).await?,
            write_writers: c.prepare(include_str!("sql/write_writers.sql")).await?,
        })
    }
}
