use service::http::{Access, App, Both, Found, Method, Problem, Request, Response, Route, StatusCode};
use std::sync::Arc;

/// Knows one path with one method.
struct Page<const FIRST: bool>;

impl<const FIRST: bool> App for Page<FIRST> {
    type Handler = ();

    fn classes() -> Vec<&'static str> {
        vec![if FIRST { "first" } else { "second" }]
    }

    fn find(&self, method: &Method, path: &str) -> Found<()> {
        let (known, only) = if FIRST { ("/first", Method::POST) } else { ("/second", Method::GET) };
        match path == known {
            true if *method == only => {
                Found::Route(Route { handler: (), class: Self::classes()[0], access: Access::Public })
            }
            true if FIRST => Found::MethodNotAllowed("POST".into()),
            true => Found::MethodNotAllowed("GET".into()),
            false => Found::NotFound,
        }
    }

    async fn handle(&self, (): (), _: Request) -> Result<Response, Problem> {
        Ok(Response::empty(StatusCode::NO_CONTENT))
    }
}

#[test]
fn a_path_is_found_in_the_app_that_knows_it_with_that_apps_methods() {
    let both = Both(Arc::new(Page::<true>), Arc::new(Page::<false>));
    assert_eq!(Both::<Page<true>, Page<false>>::classes(), ["first", "second"]);
    let found = |method, path| match both.find(&method, path) {
        Found::Route(route) => route.class.into(),
        Found::MethodNotAllowed(allow) => allow,
        Found::NotFound => "nowhere".into(),
    };
    assert_eq!(found(Method::POST, "/first"), "first");
    assert_eq!(found(Method::GET, "/first"), "POST");
    assert_eq!(found(Method::GET, "/second"), "second");
    assert_eq!(found(Method::POST, "/second"), "GET");
    assert_eq!(found(Method::OPTIONS, "/second"), "GET");
    assert_eq!(found(Method::GET, "/third"), "nowhere");
}
