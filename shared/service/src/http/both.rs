use super::{App, Found, Problem, Request, Response, Route};
use hyper::Method;
use std::sync::Arc;

/// Two apps on one port. Every path belongs to one of them: the first that knows it answers, with its 405 too.
#[derive(Debug)]
pub struct Both<A, B>(pub Arc<A>, pub Arc<B>);

pub enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A: App, B: App> App for Both<A, B> {
    type Handler = Either<A::Handler, B::Handler>;

    fn classes() -> Vec<&'static str> {
        [A::classes(), B::classes()].concat()
    }

    fn find(&self, method: &Method, path: &str) -> Found<Self::Handler> {
        match self.0.find(method, path) {
            Found::NotFound => self.1.find(method, path).map(Either::Second),
            found => found.map(Either::First),
        }
    }

    fn experiment<'h>(&self, handler: &'h Self::Handler) -> Option<&'h str> {
        match handler {
            Either::First(handler) => self.0.experiment(handler),
            Either::Second(handler) => self.1.experiment(handler),
        }
    }

    async fn handle(&self, handler: Self::Handler, request: Request) -> Result<Response, Problem> {
        match handler {
            Either::First(handler) => self.0.handle(handler, request).await,
            Either::Second(handler) => self.1.handle(handler, request).await,
        }
    }
}

impl<H> Found<H> {
    fn map<T>(self, into: impl FnOnce(H) -> T) -> Found<T> {
        match self {
            Found::Route(Route { handler, class, access }) => {
                Found::Route(Route { handler: into(handler), class, access })
            }
            Found::MethodNotAllowed(allow) => Found::MethodNotAllowed(allow),
            Found::NotFound => Found::NotFound,
        }
    }
}
