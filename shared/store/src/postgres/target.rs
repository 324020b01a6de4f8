//! Where the database is, and whether the way there is encrypted.
//!
//! As elsewhere, `sslmode` in the address says so: `disable` (when nothing is said), `require` (encrypted, whoever
//! answers) or `verify-full` (the server's certificate must be for its name and from somebody trusted: the system's
//! list, or the PEM file that `sslrootcert` names).

use super::CONNECT_TIMEOUT;
use super::tls::{self, Connector};
use crate::StoreError;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

pub struct Target {
    pub config: Config,
    pub connector: Connector,
}

/// How much is asked of the way to the server.
pub enum Trust {
    Plain,
    Anybody,
    /// Certificates of the file, or of the system.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))] // refused whatever the file
    Named(Option<PathBuf>),
}

impl Target {
    pub fn parse(url: &str) -> Result<Target, StoreError> {
        let (url, trust) = trust(url)?;
        // The error of the parser may quote the URL, password included.
        let mut config = Config::from_str(&url)
            .map_err(|_| StoreError::Url("expected postgres://user:password@host/database".into()))?;
        config.connect_timeout(CONNECT_TIMEOUT);
        // A host that is gone sends no reset: without these an answer is waited for until TCP gives up, hours later.
        config.tcp_user_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(5));
        config.keepalives_interval(Duration::from_secs(2)).keepalives_retries(3);
        config.ssl_mode(if matches!(trust, Trust::Plain) { SslMode::Disable } else { SslMode::Require });
        Ok(Target { config, connector: tls::connector(trust)? })
    }

    /// Opens a connection that is nobody's but the caller's; `name` it in the log.
    pub async fn connect(&self, name: &'static str) -> Result<(Client, JoinHandle<()>), StoreError> {
        let (client, connection) = self.config.connect(self.connector.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, name, "a database connection ended");
            }
        });
        Ok((client, task))
    }
}

/// Takes out of the address what the driver does not read.
fn trust(url: &str) -> Result<(String, Trust), StoreError> {
    let (mut mode, mut roots, mut rest) = ("disable", None, Vec::new());
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", said)) => mode = said,
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", file)) => roots = Some(PathBuf::from(file)),
            _ => rest.push(pair),
        }
    }
    let trust = match (mode, &roots) {
        ("verify-full", _) => Trust::Named(roots),
        (_, Some(_)) => return Err(StoreError::Url("sslrootcert needs sslmode=verify-full".into())),
        ("disable", None) => Trust::Plain,
        ("require", None) => Trust::Anybody,
        _ => return Err(StoreError::Url("sslmode must be disable, require or verify-full".into())),
    };
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    Ok((format!("{base}{query}"), trust))
}
