//! The way to PostgreSQL, encrypted as the address says.

use crate::db::PARTITIONS;
use store::{Location, StoreError};
use testkit::{Certificates, Postgres};

async fn server(certificates: &Certificates, name: &str) -> Postgres {
    let (certificate, key) = (certificates.certificate(name), certificates.key(name));
    let settings = [
        ("ssl", "on"),
        ("ssl_cert_file", certificate.to_str().unwrap()),
        ("ssl_key_file", key.to_str().unwrap()),
        ("fsync", "off"),
    ];
    Postgres::start_with(&settings).await.unwrap()
}

/// Whether the connections of a store made with these parameters are encrypted.
async fn encrypted(server: &Postgres, parameters: &str) -> Result<bool, StoreError> {
    let database = server.create_database().await.unwrap();
    let url = format!("{}?application_name=ours{parameters}", server.url_for(&database));
    let location = Location::Postgres { url, pool_size: 2 };
    let store = store::connect(&location).await?;
    // Everything that connects: the pool, and the one that applies.
    store.migrate().await?;
    store.check(PARTITIONS).await?;
    let _applies = store.connect().await?;
    let other = server.connect(&database).await.unwrap();
    let ways =
        "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let row = other.query_one(ways, &[]).await.unwrap();
    let (secret, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(all >= 2 && (secret == 0 || secret == all), "{secret} of {all}");
    Ok(secret == all)
}

#[tokio::test]
async fn the_address_says_whether_the_way_is_encrypted_and_whom_to_trust() {
    let certificates = Certificates::make().unwrap();
    let ours = certificates.authority().display().to_string();
    let here = server(&certificates, "here").await;
    assert!(!encrypted(&here, "").await.unwrap());
    assert!(!encrypted(&here, "&sslmode=disable").await.unwrap());
    assert!(encrypted(&here, "&sslmode=require").await.unwrap());
    assert!(encrypted(&here, &format!("&sslmode=verify-full&sslrootcert={ours}")).await.unwrap());
    // Nobody of the system's list has signed it.
    assert!(encrypted(&here, "&sslmode=verify-full").await.is_err());

    let elsewhere = server(&certificates, "elsewhere").await;
    assert!(encrypted(&elsewhere, "&sslmode=require").await.unwrap());
    let named = encrypted(&elsewhere, &format!("&sslmode=verify-full&sslrootcert={ours}")).await;
    assert!(named.is_err(), "a certificate for another name");
}

#[tokio::test]
async fn what_is_not_encrypted_where_it_must_be_is_refused() {
    let plain = testkit::postgres().await;
    let database = plain.create_database().await.unwrap();
    let url = plain.url_for(&database);
    let refused = async |parameters: &str| {
        let location = Location::Postgres { url: format!("{url}?{parameters}"), pool_size: 1 };
        store::open(&location, PARTITIONS, std::time::Duration::ZERO).await.err().map(|e| e.to_string())
    };
    assert!(refused("sslmode=require").await.is_some(), "the server has no TLS");
    for (parameters, reason) in [
        ("sslmode=prefer", "sslmode must be"),
        ("sslmode=require&sslrootcert=/ca.pem", "needs sslmode=verify-full"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslrootcert /nowhere/ca.pem"),
    ] {
        let said = refused(parameters).await.unwrap();
        assert!(said.contains(reason), "{parameters}: {said}");
    }
}
