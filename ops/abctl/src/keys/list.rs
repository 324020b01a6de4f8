//! `abctl keys list`.

use super::{Key, PATH};
use crate::api::Api;
use crate::listing::{self, Look};
use crate::results::minute;
use crate::table::{clean, painted};
use anstyle::Style;
use anyhow::Result;

/// All four scopes that can be given.
const SCOPES_WIDTH: usize = 24;

pub async fn show(api: &mut Api, json: bool) -> Result<()> {
    let look = Look { heads, line, empty: "no keys issued\n" };
    listing::show(api, PATH, &[], &look, json).await
}

/// Fixed widths, because a page is shown before the next one is known; the name, of any length, comes last.
fn heads() -> String {
    let line = format!(
        "{:>6}  {:<6}  {:<SCOPES_WIDTH$}  {:<20}  {:<20}  name",
        "id", "digits", "scopes", "created", "revoked"
    );
    format!("{}\n", painted(&line, Style::new().dimmed()))
}

fn line(key: &Key) -> String {
    let Key { id, name, scopes, last_digits, created_at, revoked_at } = key;
    let (scopes, name, digits) = (clean(&scopes.join(",")), clean(name), format!("..{}", clean(last_digits)));
    let (created, revoked) = (minute(created_at), revoked_at.as_deref().map_or_else(|| "-".into(), minute));
    format!("{id:>6}  {digits:<6}  {scopes:<SCOPES_WIDTH$}  {created:<20}  {revoked:<20}  {name}\n")
}
