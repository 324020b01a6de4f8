//! Lists answer a page at a time, with the cursor that asks for the next one.

use serde::Serialize;
use service::http::Problem;

use crate::answer::Parameters;

/// Items of a page, when nothing else is asked for.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// Of which list a page is asked for: `limit` and `cursor`.
pub struct Paging {
    limit: u32,
    /// The id of the last item of the page before.
    pub cursor: Option<i64>,
}

#[derive(Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// None: this is the last page.
    pub next_cursor: Option<String>,
}

impl Paging {
    pub fn of(parameters: &Parameters) -> Result<Paging, Problem> {
        let in_range = |n: &u32| (1..=LIMIT_MAX).contains(n);
        let limit = parameters
            .parsed("limit", "must be a number from 1 to 200", |text| text.parse().ok().filter(in_range))?;
        let cursor = parameters.parsed("cursor", "must be a `next_cursor`", |text| {
            text.parse().ok().filter(|id: &i64| *id >= 0)
        })?;
        Ok(Paging { limit: limit.unwrap_or(LIMIT), cursor })
    }

    /// Items to look for: one more than a page has tells whether there is a next one.
    pub fn wanted(&self) -> u32 {
        self.limit + 1
    }

    /// Of what was found, at most [`Paging::wanted`] of it; `id` is what a cursor says of an item.
    pub fn page<T>(&self, mut found: Vec<T>, id: impl Fn(&T) -> i64) -> Page<T> {
        let more = found.len() > self.limit as usize;
        found.truncate(self.limit as usize);
        let next_cursor = found.last().filter(|_| more).map(|last| id(last).to_string());
        Page { items: found, next_cursor }
    }
}

impl<T> Page<T> {
    /// As it is shown.
    pub fn shown<'p, V>(&'p self, view: impl Fn(&'p T) -> V) -> Page<V> {
        Page { items: self.items.iter().map(view).collect(), next_cursor: self.next_cursor.clone() }
    }
}
