//! `abctl dead-letters show`: one letter and its events.

use super::model::{Event, Letter, Payload};
use crate::results::minute;
use crate::table::{Align, Cell, NAME_WIDTH, Table, clean, fit, painted};
use anstyle::Style;

/// Events shown to people; `--json` has more.
const SHOWN: usize = 20;

pub fn page(letter: &Letter) -> String {
    let Letter { id, reason, detail, .. } = letter;
    let title = painted(&format!("dead letter {id}  {}", clean(reason)), Style::new().bold());
    let mut text = format!("{title}\n{}\n\n{}", clean(detail), origin(letter));
    match (&letter.payload, &letter.digest) {
        (Some(payload), _) => text.push_str(&content(payload)),
        (None, digest) => {
            let digest = digest.as_deref().unwrap_or("unknown");
            text.push_str(&format!("payload not kept, its SHA-256 is {}\n", clean(digest)));
        }
    }
    text
}

fn origin(letter: &Letter) -> String {
    let mut table = Table::headless([Align::Left, Align::Left]);
    let rows = [
        ("since", Some(minute(&letter.created_at))),
        ("events", Some(letter.events.to_string())),
        ("experiment", letter.experiment.map(|id| id.to_string())),
        ("batch", letter.batch_id.clone()),
        ("request", letter.request_id.clone()),
        ("queue entry", Some(letter.entry.clone())),
    ];
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        table.row([Cell::from(name), Cell::from(clean(&value))]);
    }
    table.render(0)
}

fn content(payload: &Payload) -> String {
    let can = if payload.redrivable { "can be redriven" } else { "cannot be redriven by this release" };
    let mut text = format!("\npayload of {} bytes, {can}\n", payload.bytes);
    let Some(frames) = &payload.frames else { return text };
    let mut table = Table::new([
        ("type", Align::Left),
        ("user", Align::Left),
        ("experiment", Align::Right),
        ("variation", Align::Right),
        ("metric", Align::Left),
        ("value", Align::Right),
        ("occurred", Align::Left),
        ("key", Align::Left),
    ]);
    let all = frames.iter().map(|frame| frame.events.len()).sum::<usize>();
    for event in frames.iter().flat_map(|frame| &frame.events).take(SHOWN) {
        table.row(cells(event));
    }
    text.push_str(&table.render(0));
    match (payload.cut, all.saturating_sub(SHOWN)) {
        (true, _) => text.push_str(".. and more\n"),
        (false, 0) => {}
        (false, more) => text.push_str(&format!(".. and {more} more\n")),
    }
    text
}

fn cells(event: &Event) -> [Cell; 8] {
    let name = |text: &Option<String>| fit(text.as_deref().unwrap_or_default(), NAME_WIDTH);
    let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
    [
        clean(&event.kind),
        name(&event.user_id),
        number(event.experiment),
        number(event.variation_index.map(i64::from)),
        name(&event.metric),
        name(&event.value),
        name(&event.occurred_at),
        clean(event.idempotency_key.as_deref().unwrap_or_default()),
    ]
    .map(Cell::from)
}
