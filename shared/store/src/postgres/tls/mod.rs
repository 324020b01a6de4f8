//! The encrypted way to the database, in builds that have it.

#[cfg(feature = "tls")]
mod client;

use super::target::Trust;
use crate::StoreError;

#[cfg(feature = "tls")]
pub use tokio_postgres_rustls::MakeRustlsConnect as Connector;

#[cfg(not(feature = "tls"))]
pub use tokio_postgres::NoTls as Connector;

#[cfg(feature = "tls")]
pub fn connector(trust: Trust) -> Result<Connector, StoreError> {
    let config = client::config(trust).map_err(|error| StoreError::Url(error.to_string()))?;
    Ok(Connector::new(config))
}

#[cfg(not(feature = "tls"))]
pub fn connector(trust: Trust) -> Result<Connector, StoreError> {
    match trust {
        Trust::Plain => Ok(Connector),
        _ => Err(StoreError::Url("this program is built without TLS (feature tls)".into())),
    }
}
