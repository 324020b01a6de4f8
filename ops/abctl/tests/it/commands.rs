//! The client commands against a real analyzer: what they print, what they say when it cannot be done, how they exit.

use crate::deployment::{ADMIN_TOKEN, API_TOKEN, Deployment, READ_TOKEN, abctl};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use testkit::http::Client;

const TWO: [&str; 6] =
    ["--variation", "control", "--variation", "one_page", "--metric", "purchase:proportion"];

fn create<'a>(key: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["experiments", "create", key], TWO.as_slice(), more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_goes_through_its_life() {
    let deployment = Deployment::start().await;
    let run = |arguments: &[&str]| deployment.abctl(arguments);

    let out = run(&create("checkout", &["--metric", "revenue=purchase:mean"])).ok();
    assert!(out.starts_with("created checkout\ndraft, never started, created 20"), "{out}");
    assert!(out.ends_with("\n`abctl experiments start checkout` opens it for exposures\n"), "{out}");
    assert!(!out.contains('\u{1b}'), "colours are for terminals: {out}");
    let again = run(&create("checkout", &["--metric", "revenue=purchase:mean"])).ok();
    assert!(again.starts_with("was there already, with the same definition: checkout\n"), "{again}");
    let other = run(&create("checkout", &[])).failed(1);
    let wanted = "abctl: the key 'checkout' has an experiment with another definition (409 Conflict, key_taken, request ";
    assert!(other.starts_with(wanted), "{other}");

    let out = run(&["results", "checkout"]).ok();
    assert!(out.starts_with("checkout\ndraft, never started, 0 users, as of now\n"), "{out}");
    assert!(
        out.contains("\nrevenue  mean, secondary\n") && out.ends_with("\nno_units  an arm has no users\n"),
        "{out}"
    );

    let out = run(&["experiments", "start", "checkout"]).ok();
    assert!(out.starts_with("checkout  running since 20") && out.ends_with(" UTC\n"), "{out}");
    assert_eq!(run(&["experiments", "start", "checkout"]).ok(), out, "starting again changes nothing");
    let out = run(&["experiments", "stop", "checkout"]).ok();
    assert!(out.starts_with("checkout  stopped, started 20") && out.contains(", stopped 20"), "{out}");
    let out = run(&["experiments", "archive", "checkout"]).ok();
    assert!(out.starts_with("checkout  archived, started 20"), "{out}");
    let back = run(&["experiments", "start", "checkout"]).failed(1);
    let wanted = "abctl: a archived experiment cannot become running (409 Conflict, wrong_status, request ";
    assert!(back.starts_with(wanted), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_comes_from_a_file_or_standard_input_and_json_is_the_services_own() {
    let deployment = Deployment::start().await;
    let dir = testkit::temp_dir("abctl-create").unwrap();
    let file = dir.join("definition.json");
    let definition = json!({
        "key": "pricing", "name": "Neue Preise", "variations": [{"key": "old", "weight": 3}, {"key": "new"}],
        "metrics": [{"key": "refund", "type": "count", "cap": "20", "direction": "down"}],
        "attribution": {"window_hours": 48}, "crossovers": "exclude", "spike_limit": 1000,
    });
    std::fs::write(&file, definition.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let client = Client::new(&deployment.url).unwrap().bearer(ADMIN_TOKEN);

    let out = deployment.abctl(&["--json", "experiments", "create", path]).ok();
    let created: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&created["key"], &created["status"]), (&"pricing".into(), &"draft".into()));
    let env = [("AB_URL", deployment.url.as_str()), ("AB_ADMIN_TOKEN", ADMIN_TOKEN)];
    let out = abctl(&["experiments", "create", "-", "--start"], &env, Some(&file)).ok();
    assert!(
        out.starts_with("was there already, with the same definition: pricing  Neue Preise\nrunning since "),
        "{out}"
    );
    std::fs::remove_dir_all(&dir).unwrap();

    let shown = deployment.abctl(&["experiments", "show", "pricing"]).ok();
    let (head, rest) = shown.split_once("\n\n").unwrap();
    assert!(head.starts_with("pricing  Neue Preise\nrunning since "), "{head}");
    assert!(head.ends_with(&format!(", id {}", created["id"])), "{head}");
    assert_eq!(
        rest,
        "arm  weight   share\n\
         old       3  75.00%  control\n\
         new       1  25.00%\n\
         \n\
         metric  type   event   role     better  cap\n\
         refund  count  refund  primary  down     20\n\
         \n\
         conversions count for 48 h after the exposure\n\
         users who saw two variations add to no metric\n\
         users with more than 1000 conversions add to no metric\n"
    );
    for (arguments, path) in [
        (vec!["--json", "experiments", "show", "pricing"], "/api/v1/experiments/pricing"),
        (vec!["experiments", "list", "--json"], "/api/v1/experiments"),
        (vec!["results", "pricing", "--json"], "/api/v1/experiments/pricing/live-stats"),
        (
            vec!["results", "pricing", "--json", "--as-of", "2020-02-29"],
            "/api/v1/experiments/pricing/live-stats?as_of=2020-02-29",
        ),
    ] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(deployment.abctl(&arguments).ok(), format!("{}\n", answer.text()), "{path}");
    }
    let out = deployment.abctl(&["results", "pricing", "--as-of", "2020-02-29"]).ok();
    assert!(out.contains("0 users, as of the end of 2020-02-29 (UTC)\n"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_over_all_pages() {
    let deployment = Deployment::start().await;
    assert_eq!(deployment.abctl(&["experiments", "list"]).ok(), "no experiments\n");
    assert_eq!(
        deployment.abctl(&["experiments", "list", "--json"]).ok(),
        "{\"items\":[],\"next_cursor\":null}\n"
    );
    let client = Client::new(&deployment.url).unwrap().bearer(ADMIN_TOKEN);
    // More than two pages of the largest size.
    for i in 0..405 {
        let definition = json!({"key": format!("e{i:03}"), "name": if i == 7 { "Seven" } else { "" },
            "variations": [{"key": "a"}, {"key": "b"}, {"key": "c"}], "metrics": [{"key": "m", "type": "mean"}]});
        assert_eq!(client.post_json("/api/v1/experiments", &definition).await.unwrap().status, 201);
    }
    for key in ["e003", "e404"] {
        assert_eq!(deployment.abctl(&["experiments", "start", key]).code, 0);
    }
    let out = deployment.abctl(&["experiments", "list"]).ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 406);
    assert_eq!(lines[0], "status    started               arms  metrics  experiment");
    assert_eq!(lines[1], "draft     -                        3        1  e000");
    assert_eq!(lines[8], "draft     -                        3        1  e007  Seven");
    assert!(lines[405].starts_with("running   20") && lines[405].ends_with(" UTC     3        1  e404"));
    let out = deployment.abctl(&["experiments", "list", "--status", "running", "--json"]).ok();
    let listed: Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap()).collect();
    assert_eq!((keys, &listed["next_cursor"]), (vec!["e003", "e404"], &Value::Null));
    assert_eq!(deployment.abctl(&["experiments", "list", "--status", "stopped"]).ok(), "no experiments\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_one_line_that_helps_and_never_holds_a_key() {
    let deployment = Deployment::start().await;
    let url = ("AB_URL", deployment.url.as_str());
    let show: &[&str] = &["experiments", "show", "nothing/here?x"];
    let make = create("x", &[]);
    let wrong = "a-wrong-token-0123456789";
    for (arguments, env, wanted) in [
        (
            show,
            vec![url],
            "abctl: send a key: Authorization: Bearer KEY, or X-API-Key: KEY; set AB_ADMIN_TOKEN or \
          AB_API_TOKEN (401 Unauthorized, missing_key, request ",
        ),
        (
            show,
            vec![url, ("AB_API_TOKEN", wrong)],
            "abctl: the key is not known; look at AB_API_TOKEN, and whether \
          AB_URL is the right deployment (401 Unauthorized, unknown_key, request ",
        ),
        (
            &make,
            vec![url, ("AB_API_TOKEN", API_TOKEN)],
            "abctl: the key lacks the scope this route needs; \
          AB_API_TOKEN is not enough for this, set AB_ADMIN_TOKEN (403 Forbidden, missing_scope, request ",
        ),
        (
            &make,
            vec![url, ("AB_ADMIN_TOKEN", READ_TOKEN)],
            "abctl: the key lacks the scope this route needs; the key \
          in AB_ADMIN_TOKEN is not an admin's (403 Forbidden, missing_scope, request ",
        ),
        (
            show,
            vec![url, ("AB_READONLY_API_TOKEN", READ_TOKEN)],
            "abctl: there is no such experiment; `abctl \
          experiments list` shows what there is (404 Not Found, unknown_experiment, request ",
        ),
    ] {
        let line = abctl(arguments, &env, None).failed(1);
        assert!(line.starts_with(wanted) && line.ends_with(')'), "{line}");
        assert!(env.iter().all(|(name, key)| *name == "AB_URL" || !line.contains(key)), "{line}");
    }
    // The weaker keys read, and the admin's wins where both are given.
    for env in [vec![url, ("AB_API_TOKEN", API_TOKEN)], vec![url, ("AB_READONLY_API_TOKEN", READ_TOKEN)]] {
        assert_eq!(abctl(&["experiments", "list"], &env, None).ok(), "no experiments\n");
    }
    let both = [url, ("AB_API_TOKEN", API_TOKEN), ("AB_ADMIN_TOKEN", ADMIN_TOKEN)];
    assert!(abctl(&make, &both, None).ok().starts_with("created x\n"));
    let twice = create("y", &["--metric", "purchase:mean"]);
    let line = deployment.abctl(&twice).failed(1);
    let wanted =
        "abctl: /metrics/1/key: is used twice (422 Unprocessable Entity, invalid_definition, request ";
    assert!(line.starts_with(wanted), "{line}");
}

#[test]
fn an_address_without_a_service_is_told() {
    let url = format!("http://127.0.0.1:{}", testkit::free_port().unwrap());
    let token = ("AB_API_TOKEN", API_TOKEN);
    let line = abctl(&["results", "x"], &[("AB_URL", &url), token], None).failed(1);
    let wanted =
        format!("abctl: nothing answers at {url}: is `abctl up` running? AB_URL chooses another address: ");
    assert!(line.starts_with(&wanted), "{line}");
    for (url, wanted) in [
        (
            "https://ab.example.com",
            "abctl: AB_URL: https:// is not spoken by abctl, TLS ends at a proxy in front: ",
        ),
        ("http://u:hunter2@127.0.0.1:1", "abctl: AB_URL: must not hold a user or password: "),
        ("http://127.0.0.1:1/base", "abctl: AB_URL: must be a base address such as http://127.0.0.1:8008, "),
        ("http://[::1", "abctl: AB_URL: must be a base address "),
    ] {
        let line = abctl(&["experiments", "list"], &[("AB_URL", url), token], None).failed(2);
        assert!(line.starts_with(wanted) && !line.contains("hunter2"), "{line}");
    }
    let line = abctl(&["experiments", "list"], &[("AB_API_TOKEN", "line\nbreak-secret")], None).failed(2);
    assert!(line.starts_with("abctl: AB_API_TOKEN: the token cannot stand in a request"), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

/// Answers one connection with these bytes; its address.
fn canned(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    url
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn what_is_not_an_answer_of_ours_is_told() {
    let problem = |status: u16, code: &str, more: Value| {
        let mut problem = json!({"type": "x", "title": "Bad Thing", "status": status, "detail": "it is bad",
            "error_code": code, "status_code": status, "request_id": "r-17", "retryable": true});
        problem.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        problem.to_string()
    };
    let items: Vec<Value> = (0..7)
        .map(|i| json!({"index": i, "pointer": format!("/events/{i}/value"), "error_code": "x", "detail": "is odd"}))
        .collect();
    for (answer, wanted) in [
        (
            http("502 Bad Gateway", "<html>sorry</html>"),
            " answered 502 and nothing abctl understands: is AB_URL the address of abstream?",
        ),
        (
            http("301 Moved Permanently", ""),
            " answered 301 and nothing abctl understands: is AB_URL the address of abstream?",
        ),
        (
            http("200 OK", "<html>hello</html>"),
            " is not what this abctl expects: is it of the same version?: expected value at line 1 column 1",
        ),
        (
            http("404 Not Found", &problem(404, "not_found", json!({}))),
            "abctl: it is bad; of three tiers the analyzer \
          answers this: is AB_URL the address of the gateway? (404 Bad Thing, not_found, request r-17)",
        ),
        (
            http(
                "503 Service Unavailable\r\nretry-after: 7",
                &problem(503, "storage_unavailable", json!({})),
            ),
            "abctl: it is bad; try again in 7 s (503 Bad Thing, storage_unavailable, request r-17)",
        ),
        (
            http(
                "422 Unprocessable Entity",
                &problem(422, "invalid", json!({"errors": items, "errors_total": 300})),
            ),
            "abctl: it is bad; /events/0/value: is odd; /events/1/value: is odd; /events/2/value: is odd; \
           /events/3/value: is odd; /events/4/value: is odd; and 295 more (422 Bad Thing, invalid, request r-17)",
        ),
        (
            http("400 Bad Request", &problem(400, "x", json!({"detail": "two\nlines \u{1b}[31m"}))),
            "abctl: two lines  [31m (400 Bad Thing, x, request r-17)",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".into(), ": no answer from "),
    ] {
        let url = canned(answer);
        let line = abctl(&["experiments", "show", "x"], &[("AB_URL", &url)], None).failed(1);
        assert!(line.ends_with(wanted) || line.contains(wanted), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let deployment = Deployment::start().await;
    deployment.abctl(&create("checkout", &[])).ok();
    for arguments in
        [["experiments", "list"].as_slice(), &["results", "checkout"], &["results", "checkout", "--json"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(testkit::bin("abctl").unwrap());
        command.env_clear().args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        command.env("AB_URL", &deployment.url).env("AB_ADMIN_TOKEN", ADMIN_TOKEN);
        let output = command.output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap()),
            (Some(0), String::new())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_not_with_no_color() {
    let deployment = Deployment::start().await;
    deployment.abctl(&create("checkout", &[])).ok();
    let env = [("AB_URL", deployment.url.as_str()), ("AB_ADMIN_TOKEN", ADMIN_TOKEN)];
    let forced = [env.as_slice(), &[("CLICOLOR_FORCE", "1")]].concat();
    let refused = [forced.as_slice(), &[("NO_COLOR", "1")]].concat();
    for arguments in
        [["results", "checkout"].as_slice(), &["experiments", "list"], &["experiments", "show", "checkout"]]
    {
        let plain = abctl(arguments, &env, None).ok();
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert_eq!(abctl(arguments, &refused, None).ok(), plain);
        let coloured = abctl(arguments, &forced, None).ok();
        assert!(coloured.contains("\u{1b}["), "{coloured}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }
}
