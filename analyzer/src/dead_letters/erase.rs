//! The letters of a user who is forgotten.

use queue::frame::{Control, Events, Frame};
use store::{Actor, DeadLetters, Removal, StoreError};

use super::frames;

/// Letters read at a time; a payload is at most a queue entry.
const PAGE: u32 = 200;

/// Deletes the tenant's letters that hold nothing but events of the user: the worker keeps an event that cannot be
/// applied as a letter of its own. Left are entries that were given up whole, and what cannot be read.
pub async fn erase(
    store: &dyn DeadLetters,
    tenant: &str,
    user_id: &str,
    actor: Actor<'_>,
) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = store.dead_letter_payloads(tenant, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        let hers = |(id, payload): &(i64, Vec<u8>)| is_of(payload, user_id).then_some(*id);
        let ids: Vec<i64> = page.iter().filter_map(hers).collect();
        store.delete_dead_letters(tenant, &ids, Removal::Erased, actor).await?;
    }
}

fn is_of(payload: &[u8], user_id: &str) -> bool {
    let Ok(frames) = frames::read(payload) else { return false };
    let mut users = frames.iter().flat_map(users).peekable();
    users.peek().is_some() && users.all(|user| user == Some(user_id))
}

/// Whose event each is; `None` = nobody's.
fn users<'f>(frame: &'f Frame<'_>) -> impl Iterator<Item = Option<&'f str>> {
    frame.groups.iter().flat_map(|group| match &group.events {
        Events::Exposures(items) => items.iter().map(|e| Some(e.user_id)).collect::<Vec<_>>(),
        Events::Conversions(items) => items.iter().map(|c| Some(c.user_id)).collect(),
        Events::Controls(items) => items.iter().map(Control::user_id).collect(),
    })
}
