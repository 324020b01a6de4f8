//! The README's calls, made as written.

use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment};
use testkit::http::Client;

const README: &str = include_str!("../../../../README.md");

/// One `curl` of the README.
struct Call {
    analyzer: bool,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn calls() -> Vec<Call> {
    let section = README.split("## Talk to it").nth(1).unwrap().split("\n## ").next().unwrap();
    let block = section.split("```sh").nth(1).unwrap().split("```").next().unwrap();
    block.split("\ncurl ").skip(1).map(call).collect()
}

fn call(text: &str) -> Call {
    let (words, body) = match text.split_once(" --json '") {
        Some((words, rest)) => (words, Some(rest.split('\'').next().unwrap().to_owned())),
        None => (text, None),
    };
    let headers = words.split("-H \"").skip(1).filter_map(|h| h.split('"').next()?.split_once(": "));
    let (analyzer, path) = match (words.split_once("$ANALYZER"), words.split_once("$GATEWAY")) {
        (Some((_, path)), None) => (true, path),
        (None, Some((_, path))) => (false, path),
        _ => panic!("a call goes to one of the two: {words}"),
    };
    assert_eq!(words.contains("\"$ADMIN\""), analyzer, "the analyzer's calls use the admin key: {words}");
    Call {
        analyzer,
        path: path.split_whitespace().next().unwrap().to_owned(),
        headers: headers.map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect(),
        body,
    }
}

async fn every_call_of_the_readme_works_as_written(system: &dyn Deployment) {
    let mut last = None;
    let calls = calls();
    assert_eq!(calls.len(), 6);
    for call in calls {
        let client = if call.analyzer {
            Client::at(system.analyzer_addr()).bearer(ADMIN_TOKEN)
        } else {
            Client::at(system.gateway_addr()).bearer(API_TOKEN)
        };
        let mut headers: Vec<(&str, &str)> =
            call.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.push(("content-type", "application/json"));
        let answer = match call.body {
            Some(body) => client.post(&call.path, &headers, body).await.unwrap(),
            None => client.get(&call.path).await.unwrap(),
        };
        assert!(matches!(answer.status, 200..=202), "{}: {} {}", call.path, answer.status, answer.text());
        last = Some(answer.json().unwrap());
        e2e::run::settled(system).await.unwrap();
    }
    let arms = last.unwrap()["arms"].clone();
    assert_eq!((&arms[0]["users"], &arms[1]["users"]), (&1.into(), &2.into()));
}

on_both!(every_call_of_the_readme_works_as_written);
