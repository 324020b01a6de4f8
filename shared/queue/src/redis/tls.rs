//! `rediss://`: the server's certificate must be for its name and from somebody trusted, of the system's list or of
//! the PEM file that `sslrootcert` in the address names.

use redis::{ConnectionInfo, IntoConnectionInfo, RedisResult};

/// What the address says, without what the `redis` crate does not read.
pub(crate) fn info(url: &str) -> RedisResult<ConnectionInfo> {
    let (url, roots) = roots(url);
    let info = url.into_connection_info()?;
    match roots {
        Some(file) => trusting(info, &file),
        None => Ok(info),
    }
}

fn roots(url: &str) -> (String, Option<String>) {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (named, rest): (Vec<&str>, Vec<&str>) =
        query.split('&').filter(|pair| !pair.is_empty()).partition(|pair| pair.starts_with("sslrootcert="));
    let file = named.last().and_then(|pair| pair.strip_prefix("sslrootcert=")).map(str::to_owned);
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    (format!("{base}{query}"), file.filter(|file| file != "system"))
}

#[cfg(feature = "tls")]
fn trusting(info: ConnectionInfo, file: &str) -> RedisResult<ConnectionInfo> {
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(std::fs::read(file)?) };
    let client = redis::Client::build_with_tls(info, certificates)?;
    Ok(client.get_connection_info().clone())
}

#[cfg(not(feature = "tls"))]
fn trusting(_: ConnectionInfo, _: &str) -> RedisResult<ConnectionInfo> {
    Err((redis::ErrorKind::InvalidClientConfig, "this program is built without TLS (feature tls)").into())
}
