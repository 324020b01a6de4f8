//! Which route a path is, and who may use it.

use service::auth::Scopes;
use service::http::{Access, Found, Method, Route};

use crate::body::Shape;
use crate::sdks::{Sdk, cloudevents};

/// A route with its path parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
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
        segment,
        posthog,
        growthbook,
    ]
};

pub fn find(method: &Method, path: &str) -> Found<Handler> {
    let Some(route) = route(path) else { return Found::NotFound };
    match method {
        &Method::POST => Found::Route(route),
        _ => Found::MethodNotAllowed("POST".into()),
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
