//! What a start prints: where everything is, and on the first one the keys and three calls to try.

use crate::output;
use crate::up::Ready;
use crate::up::keys::Made;
use std::fmt::Write;
use std::io;

pub fn show(ready: &Ready) -> io::Result<()> {
    output::text(&text(ready))
}

pub fn show_json(ready: &Ready) -> io::Result<()> {
    let keys =
        ready.made.as_ref().map(|Made { all, events }| serde_json::json!({"all": all, "events": events}));
    output::json(&serde_json::json!({
        "url": ready.url,
        "database": ready.database,
        "keys_file": ready.keys_file,
        "keys": keys,
    }))
}

fn text(ready: &Ready) -> String {
    let Ready { url, database, queue, keys_file, made } = ready;
    let mut text = format!(
        "abstream {} listens on {url}\n\n  pages     {url}/ has results, {url}/docs the API\n  database  {database}\n  queue     {queue}\n",
        env!("CARGO_PKG_VERSION")
    );
    // Writing into a String cannot fail.
    let _ = match keys_file {
        Some(file) => writeln!(text, "  keys      {file}\n"),
        None => writeln!(text, "  keys      those of the settings\n"),
    };
    if let Some(made) = made {
        text.push_str(&first_steps(url, made));
    }
    text.push_str("Ctrl-C ends it. Nothing that was acknowledged is lost, whichever way it ends.\n");
    text
}

/// Blocks that begin with `curl` are commands as they stand.
fn first_steps(url: &str, Made { all, events }: &Made) -> String {
    let call = |path: &str, key: &str| format!("curl {url}/api/v1/{path} -H 'Authorization: Bearer {key}'");
    let create = call("experiments", all);
    let start = call("experiments/checkout/start", all);
    let send = call("events", events);
    let read = call("experiments/checkout/live-stats", all);
    format!(
        "\
New keys, shown this once:

  {all}     everything
  {events}  sending events only: for browsers and apps

Create an experiment and start it:

{create} -H 'Content-Type: application/json' \\
  -d '{{\"key\": \"checkout\", \"variations\": [{{\"key\": \"control\"}}, {{\"key\": \"one_page\"}}], \"metrics\": [{{\"key\": \"purchase\", \"type\": \"proportion\"}}]}}' &&
{start} -X POST

Send what a user saw and did:

{send} -H 'Content-Type: application/json' \\
  -d '{{\"events\": [{{\"type\": \"exposure\", \"experiment\": \"checkout\", \"user_id\": \"ann\", \"variation\": \"one_page\"}}, {{\"type\": \"conversion\", \"user_id\": \"ann\", \"metric\": \"purchase\"}}]}}'

Ask which variation wins:

{read}

"
    )
}
