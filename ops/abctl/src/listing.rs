//! Lists of the service, page by page: what was read is shown before more is asked for.

use crate::api::{Api, ApiError};
use crate::client::segment;
use crate::output;
use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// As many as the service gives at a time.
pub const LIMIT: u32 = 200;

#[derive(Deserialize)]
pub struct Page {
    pub items: Vec<Box<RawValue>>,
    pub next_cursor: Option<String>,
}

impl Page {
    /// The page after `cursor`, or the first, of what the parameters let through.
    pub async fn get(
        api: &mut Api,
        path: &str,
        parameters: &[(&str, Option<&str>)],
        cursor: Option<&str>,
    ) -> Result<Page, ApiError> {
        let mut path = format!("{path}?limit={LIMIT}");
        let cursor = ("cursor", cursor);
        for (name, value) in std::iter::once(&cursor).chain(parameters) {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        let answer = api.get(&path).await?;
        api.read(&answer)
    }
}

/// How a list looks to people.
pub struct Look<T> {
    /// Above the first line.
    pub heads: fn() -> String,
    pub line: fn(&T) -> String,
    /// Instead of a list without lines.
    pub empty: &'static str,
}

/// Shows all that the parameters let through.
pub async fn show<T: DeserializeOwned>(
    api: &mut Api,
    path: &str,
    parameters: &[(&str, Option<&str>)],
    look: &Look<T>,
    json: bool,
) -> Result<()> {
    let (mut cursor, mut listed) = (None, 0);
    output::text(if json { "{\"items\":[" } else { "" })?;
    loop {
        let page = Page::get(api, path, parameters, cursor.as_deref()).await?;
        let mut text = String::new();
        for item in page.items {
            if json {
                text.push_str(if listed == 0 { "" } else { "," });
                text.push_str(item.get());
            } else {
                text.push_str(&if listed == 0 { (look.heads)() } else { String::new() });
                text.push_str(&(look.line)(&api.parse(item.get().as_bytes())?));
            }
            listed += 1;
        }
        output::text(&text)?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(match (json, listed) {
        (true, _) => output::text("],\"next_cursor\":null}\n"),
        (false, 0) => output::text(look.empty),
        (false, _) => Ok(()),
    }?)
}
