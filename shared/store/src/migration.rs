//! What the schema is made of.

/// A step of the schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migration {
    pub version: i32,
    pub name: String,
    /// Null: the database does not have it.
    pub applied_at: Option<String>,
    /// This release knows it; one that it does not is of a later one.
    pub known: bool,
}

/// Those that the runner would apply, and those that the database says it has (version, name, when).
pub(crate) fn all(runner: &refinery::Runner, applied: Vec<(i32, String, String)>) -> Vec<Migration> {
    let known = runner.get_migrations().iter().map(|m| (m.version(), m.name().to_owned()));
    let mut all: Vec<Migration> =
        known.map(|(version, name)| Migration { version, name, applied_at: None, known: true }).collect();
    for (version, name, at) in applied {
        match all.iter_mut().find(|m| m.version == version) {
            Some(migration) => migration.applied_at = Some(at),
            None => all.push(Migration { version, name, applied_at: Some(at), known: false }),
        }
    }
    all.sort_by_key(|m| m.version);
    all
}
