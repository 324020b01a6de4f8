//! Throw-away servers and processes for tests, the demo and the benchmark. Nothing here is part of the product.
//!
//! - [`Postgres`] and [`Redis`]: real servers on loopback, each on a port of its own with its data in a
//!   directory of its own; started, stopped, killed and restarted at will. [`RedisCluster`]: several that share the keys.
//! - [`Process`]: one of our binaries (found by [`bin`]) with its output kept in files.
//! - [`FaultProxy`]: a TCP proxy that cuts, half-closes, delays, stalls, swallows or refuses, to produce unknown outcomes.
//! - [`TransactionPooler`]: gives each transaction another session of PostgreSQL.
//! - [`Browser`]: Chromium without a window.
//! - [`http::Client`]: a small HTTP client that sends exactly the bytes it is given.
//! - [`eventually`]: bounded waiting for a condition, instead of a sleep.
//!
//! **Nothing outlives the process that started it**, however that process ends: every handle stops what it
//! holds when dropped, and a small shell ([`reaper.sh`](../src/reaper.sh)) that waits for our end of a pipe to
//! close ends the rest and removes the directory. So also statics ([`postgres`], [`redis`]), `abort` and
//! SIGKILL leave neither process nor file. Linux only: it reads `/proc`.

// Test support: a failure is shown to whoever runs the test, and waiting needs a wall clock.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

mod browser;
mod certificates;
mod os;
mod pooler;
mod ports;
mod postgres;
mod process;
mod proxy;
mod redis_cluster;
mod redis_server;
mod sandbox;

pub mod http;
pub mod schema;

pub use browser::Browser;
pub use certificates::Certificates;
pub use os::eventually;
pub use pooler::TransactionPooler;
pub use ports::free_port;
pub use postgres::Postgres;
pub use process::{Process, ProcessBuilder, bin};
pub use proxy::{Direction, FaultProxy};
pub use redis_cluster::RedisCluster;
pub use redis_server::Redis;
pub use sandbox::temp_dir;
pub use tokio_postgres::Client as PostgresClient;

use tokio::sync::OnceCell;

/// The PostgreSQL server shared by all tests of this process, durable as in production. Each test takes a
/// database of its own from it ([`Postgres::create_database`]); a test that stops or kills a server starts one
/// of its own.
///
/// # Panics
/// When the server cannot be started.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED.get_or_init(async || Postgres::start().await.expect("start the shared PostgreSQL server")).await
}

/// The Redis server shared by all tests of this process, with the settings production demands. Tests that use
/// it keep to keys of their own.
///
/// # Panics
/// When the server cannot be started.
pub async fn redis() -> &'static Redis {
    static SHARED: OnceCell<Redis> = OnceCell::const_new();
    SHARED.get_or_init(async || Redis::start().await.expect("start the shared Redis server")).await
}
