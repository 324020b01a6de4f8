use std::path::PathBuf;

/// A condition under which a tier does not start: the variable to change, and why. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct Refusal {
    pub variable: String,
    pub reason: String,
}

impl Refusal {
    pub fn new(variable: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { variable: variable.into(), reason: reason.into() }
    }
}

/// Why settings could not be loaded. Every case is the operator's to mend, so a tier exits with code 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{variable}: cannot read {}: {source}", path.display())]
    Unreadable { variable: String, path: PathBuf, source: std::io::Error },
    #[error("AB_CONFIG: {}: {what}{at}", path.display())]
    Yaml { path: PathBuf, what: &'static str, at: String },
    /// A bad flag, or a call for `--help` or `--version` (whose exit code is 0).
    #[error(transparent)]
    Usage(#[from] clap::Error),
}
