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
        let access = Access::Key { any_of: Scopes::EVENTS.union(Scopes::INGEST), beacon: true };
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
        _ => return None,
    };
    let events = Events { experiment: Some(experiment.to_owned()), ..top(shape) };
    (!experiment.is_empty()).then_some((events, class))
}
