//! The pool of connections, and what becomes of one whose answer was given up.

use super::CONNECT_TIMEOUT;
use super::target::Target;
use super::tls::Connector;
use crate::StoreError;
use crate::abandoned::is_abandoned;
use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::CancelToken;

#[derive(Clone)]
pub struct Connections {
    pool: Pool,
    connector: Connector,
    given_up: Arc<GivenUp>,
}

/// A connection, back in the pool when dropped.
pub struct Lease {
    object: Object,
    connector: Connector,
    given_up: Arc<GivenUp>,
}

/// Connections with a query that was cancelled: a cancellation may come late, and must not hit another's query.
#[derive(Default)]
struct GivenUp(Mutex<HashSet<usize>>);

impl Connections {
    pub fn new(target: Target, size: usize) -> Result<Connections, StoreError> {
        let Target { config, connector } = target;
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let given_up = Arc::new(GivenUp::default());
        let known = Arc::clone(&given_up);
        let pool = Pool::builder(Manager::from_config(config, connector.clone(), recycle))
            .max_size(size.max(1))
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .pre_recycle(Hook::sync_fn(move |client, _| match known.forget(client) {
                true => Err(HookError::message("its query was cancelled")),
                false => Ok(()),
            }))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| StoreError::Url(e.to_string()))?;
        Ok(Connections { pool, connector, given_up })
    }

    pub async fn get(&self) -> Result<Lease, StoreError> {
        let (connector, given_up) = (self.connector.clone(), Arc::clone(&self.given_up));
        Ok(Lease { object: self.pool.get().await?, connector, given_up })
    }

    /// A session that ends when dropped: its settings and locks go with it.
    pub async fn get_own(&self) -> Result<ClientWrapper, StoreError> {
        Ok(Object::take(self.pool.get().await?))
    }
}

impl GivenUp {
    /// Nobody gets this connection any more.
    fn remember(&self, client: &ClientWrapper) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place(client));
    }

    fn forget(&self, client: &ClientWrapper) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&place(client))
    }
}

/// Different for any two connections that are there.
fn place(client: &ClientWrapper) -> usize {
    Arc::as_ptr(&client.statement_cache).addr()
}

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.object
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !is_abandoned() {
            return;
        }
        self.given_up.remember(&self.object);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(cancel(self.object.cancel_token(), self.connector.clone()));
        }
    }
}

async fn cancel(query: CancelToken, connector: Connector) {
    match timeout(CONNECT_TIMEOUT, query.cancel_query(connector)).await {
        Ok(Ok(())) => tracing::debug!("the query of an answer given up was cancelled"),
        Ok(Err(error)) => tracing::warn!(%error, "the query of an answer given up goes on"),
        Err(_) => tracing::warn!("the query of an answer given up goes on: the database does not answer"),
    }
}
