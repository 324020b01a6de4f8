//! The HTTP kit all tiers share, on hyper directly: no stack of layers, one list of plain calls.
//!
//! For each request, in this order ([`Kit`]): request id, preflight, health, route, key, scope, handler, problem
//! document, common headers, metrics. A tier supplies an [`App`]: which route a path is and who may use it
//! ([`App::find`]), and what it does ([`App::handle`]).
//!
//! Limits, all of them refusing new work only: connections (503), request head and body too slow (408), body too large
//! on the wire or decoded (413), JSON too deep (400).

mod body;
mod both;
mod capacity;
mod cors;
mod decode;
mod depth;
pub(crate) mod ident;
mod key;
mod kit;
mod networks;
mod page;
mod problem;
mod request;
mod response;
mod server;
mod stats;
#[cfg(feature = "tls")]
mod tls;

pub use both::Both;
pub use capacity::Capacity;
pub use cors::{CorsOrigins, check_origins};
pub use decode::Encoding;
pub use depth::{MAX_DEPTH, check_depth};
pub use key::KeyPlaces;
pub use kit::{Kit, Limits};
pub use networks::{Networks, check_networks};
pub use page::Page;
pub use problem::{ItemError, ItemErrors, Problem, RateLimit};
pub use request::{Payload, Request};
pub use response::{Broken, Response};
pub use server::{Drained, serve};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError, TlsStats};

pub use hyper::header;
pub use hyper::{Method, StatusCode, Uri};

use crate::auth::Scopes;
use std::borrow::Cow;
use std::future::Future;

/// What a tier answers.
pub trait App: Send + Sync + 'static {
    /// The route found, with its path parameters: an enum of the tier.
    type Handler: Send + 'static;

    /// Values of the metrics label `route`; every [`Route::class`] is one of them.
    fn classes() -> Vec<&'static str>;

    /// The route of a path. `HEAD` arrives as `GET`; `OPTIONS` arrives as itself and should end in
    /// [`Found::MethodNotAllowed`] for a known path. Called before the key is checked, so it must be cheap.
    fn find(&self, method: &Method, path: &str) -> Found<Self::Handler>;

    /// The experiment in the path, as it stands there, for whom a budget of its own may be set.
    fn experiment<'h>(&self, _: &'h Self::Handler) -> Option<&'h str> {
        None
    }

    /// Answers a request whose key and scope were checked.
    fn handle(
        &self,
        handler: Self::Handler,
        request: Request,
    ) -> impl Future<Output = Result<Response, Problem>> + Send;
}

pub enum Found<H> {
    Route(Route<H>),
    /// The path exists with these methods, as in an `Allow` header: `"GET, POST"`.
    MethodNotAllowed(Cow<'static, str>),
    NotFound,
}

pub struct Route<H> {
    pub handler: H,
    /// Value of the metrics label `route`.
    pub class: &'static str,
    pub access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Needs no key.
    Public,
    /// Needs a key with at least one of these scopes.
    Key {
        any_of: Scopes,
        /// One of the event routes: a key with only `events` may come as `?key=`, and text/plain is read as JSON.
        beacon: bool,
    },
    /// A route of SDKs that are not ours: needs such a key as well, which they put where they always do. Refusals
    /// also say `code` and `message`, the members that such SDKs read.
    Sdk { any_of: Scopes, key: KeyPlaces },
}

impl Access {
    /// The scopes of which a key needs one, and where the key may be; `None` when none is needed.
    fn key(self) -> Option<(Scopes, KeyPlaces)> {
        match self {
            Access::Public => None,
            Access::Key { any_of, beacon } => {
                let query = beacon.then_some("key");
                Some((any_of, KeyPlaces { query, ..KeyPlaces::default() }))
            }
            Access::Sdk { any_of, key } => Some((any_of, key)),
        }
    }
}

/// A tier without routes of its own: health only.
pub struct NoRoutes;

impl App for NoRoutes {
    type Handler = std::convert::Infallible;

    fn classes() -> Vec<&'static str> {
        Vec::new()
    }

    fn find(&self, _: &Method, _: &str) -> Found<Self::Handler> {
        Found::NotFound
    }

    async fn handle(&self, handler: Self::Handler, _: Request) -> Result<Response, Problem> {
        match handler {}
    }
}
