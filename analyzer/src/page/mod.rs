//! `GET /`: the results page, one file that asks for nothing but the public API of the same origin.
//!
//! It shows data as text only (`dom.js`), and keeps the key for the tab.

use std::sync::LazyLock;

use service::http::{Page, Problem, Request, Response};

use crate::answer::Parameters;

const STYLE: &str = include_str!("style.css");
/// In the order in which they use each other.
const SCRIPTS: [&str; 8] = [
    include_str!("dom.js"),
    include_str!("format.js"),
    include_str!("api.js"),
    include_str!("charts.js"),
    include_str!("series.js"),
    include_str!("answer.js"),
    include_str!("list.js"),
    include_str!("app.js"),
];

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = format!("\"use strict\";\n(() => {{\n{}}})();\n", SCRIPTS.concat());
    Page::of(include_str!("page.html"), STYLE, &script)
});

pub fn get(request: &Request) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    PAGE.answer(request)
}
