//! Which route a path is, and who may use it.

use service::auth::Scopes;
use service::http::{Access, Found, Method, Route};

use crate::body::Shape;
use crate::sdks::{Sdk, cloudevents};

/// A route with its path parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    Docs,
    OpenApi,
    Events(Events),
    Sdk(Sdk),
}

/// A route of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    pub shape: Shape,
    /// Key or number of the experiment in the path.
    pub experiment: Option<String>,
    /// The items are CloudEvents.
    pub cloudevents: bool,
}

/// Values of the metrics label `route`.
pub const CLASSES: &[&str] = &{
    let [segment, posthog, growthbook] = Sdk::CLASSES;
    [
        "events",
        "conversions",
        "experiment_exposures",
        "experiment_conversions",
        "experiment_pre_period",
        "experiment_strata",
        "experiment_exclusions",
        "experiment_holdout",
        "cloudevents",
        "page",
        segment,
        posthog,
        growthbook,
    ]
};

/// Every path that takes events, for the API document to be held against.
pub const PATHS: &[&str] = &[
    "/api/v1/events",
    "/api/v1/conversions",
    "/api/v1/experiments/{id}/exposures",
    "/api/v1/experiments/{id}/conversions",
    "/api/v1/experiments/{id}/pre-period",
    "/api/v1/experiments/{id}/strata",
    "/api/v1/experiments/{id}/exclusions",
    "/api/v1/experiments/{id}/holdout",
    cloudevents::PATH,
    "/v1/batch",
    "/v1/track",
    "/v1/identify",
    "/v1/page",
    "/v1/screen",
    "/v1/group",
    "/v1/alias",
    "/batch",
    "/i/v1/analytics/events",
    "/track",
];

pub fn find(method: &Method, path: &str) -> Found<Handler> {
    let page = |handler| Route { handler, class: "page", access: Access::Public };
    let (route, wanted) = match path {
        "/docs" => (Some(page(Handler::Docs)), &Method::GET),
        "/openapi.json" => (Some(page(Handler::OpenApi)), &Method::GET),
        _ => (route(path), &Method::POST),
    };
    match route {
        None => Found::NotFound,
        Some(route) if method == wanted => Found::Route(route),
        Some(_) => Found::MethodNotAllowed(wanted.to_string().into()),
    }
}

fn route(path: &str) -> Option<Route<Handler>> {
    if let Some((events, class)) = events(path) {
        // What is told of users, and who is kept out, comes from servers.
        let access = match events.shape {
            Shape::Events | Shape::Exposures | Shape::Conversions => {
                Access::Key { any_of: Scopes::EVENTS.union(Scopes::INGEST), beacon: true }
            }
            Shape::PrePeriod | Shape::Strata | Shape::Exclusions | Shape::Holdout => {
                Access::Key { any_of: Scopes::INGEST, beacon: false }
            }
        };
        return Some(Route { handler: Handler::Events(events), class, access });
    }
    let sdk = Sdk::at(path)?;
    Some(Route { handler: Handler::Sdk(sdk), class: sdk.class(), access: sdk.access() })
}

fn events(path: &str) -> Option<(Events, &'static str)> {
    let top = |shape| Events { shape, experiment: None, cloudevents: false };
    if path == cloudevents::PATH {
        return Some((Events { cloudevents: true, ..top(Shape::Events) }, "cloudevents"));
    }
    let rest = path.strip_prefix("/api/v1/")?;
    match rest {
        "events" => return Some((top(Shape::Events), "events")),
        "conversions" => return Some((top(Shape::Conversions), "conversions")),
        _ => {}
    }
    let (experiment, list) = rest.strip_prefix("experiments/")?.split_once('/')?;
    let (shape, class) = match list {
        "exposures" => (Shape::Exposures, "experiment_exposures"),
        "conversions" => (Shape::Conversions, "experiment_conversions"),
        "pre-period" => (Shape::PrePeriod, "experiment_pre_period"),
        "strata" => (Shape::Strata, "experiment_strata"),
        "exclusions" => (Shape::Exclusions, "experiment_exclusions"),
        "holdout" => (Shape::Holdout, "experiment_holdout"),
        _ => return None,
    };
    let events = Events { experiment: Some(experiment.to_owned()), ..top(shape) };
    (!experiment.is_empty()).then_some((events, class))
}
