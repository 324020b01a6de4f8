//! The internal listener: metrics, and health beside it.

use crate::http::{Access, App, Found, Method, Problem, Request, Response, Route, StatusCode};
use crate::metrics::Metrics;
use std::sync::Arc;

/// Serves `/metrics`; it is bound to an address of its own and never reachable on the public port.
pub struct Internal {
    pub metrics: Arc<Metrics>,
}

impl App for Internal {
    type Handler = ();

    fn classes() -> Vec<&'static str> {
        vec!["metrics"]
    }

    fn find(&self, method: &Method, path: &str) -> Found<()> {
        match (path, method) {
            ("/metrics", &Method::GET) => {
                Found::Route(Route { handler: (), class: "metrics", access: Access::Public })
            }
            ("/metrics", _) => Found::MethodNotAllowed("GET".into()),
            _ => Found::NotFound,
        }
    }

    async fn handle(&self, (): (), _: Request) -> Result<Response, Problem> {
        match self.metrics.render() {
            Ok(text) => Ok(Response::bytes(StatusCode::OK, "text/plain; version=0.0.4", text)),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                Err(Problem::internal())
            }
        }
    }
}
