//! Text as PostgreSQL has it: without NUL. What one database refuses the other does, so that a file can move up.

use rusqlite::types::{ToSql, ToSqlOutput};

pub struct Text<'a>(pub &'a str);

#[derive(Debug, thiserror::Error)]
#[error("a text holds a NUL character")]
struct Nul;

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        if self.0.as_bytes().contains(&0) {
            return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(Nul)));
        }
        Ok(ToSqlOutput::from(self.0))
    }
}
