//! Events as the queue carries them, and the limits every one of them keeps.

use crate::{Decimal, Timestamp};

/// "User u saw variation v." The experiment is that of the group the event travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure<'a> {
    pub user_id: &'a str,
    /// Index into the experiment's variations; -1 is the holdout.
    pub variation: i16,
    /// As the client wrote it, unshifted; `None` = when the gateway received it.
    pub occurred_given: Option<Timestamp>,
    /// Kept in dead letters only: an exposure's identity is experiment and user.
    pub key: Option<&'a str>,
}

/// "User u did m, worth x."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion<'a> {
    pub user_id: &'a str,
    /// The event name that plans refer to.
    pub metric: &'a str,
    pub value: Decimal,
    /// As the client wrote it, unshifted; `None` = when the gateway received it.
    pub occurred_given: Option<Timestamp>,
    pub key: Key<'a>,
}

/// What makes a conversion this one and no other, within its user and experiment (or tenant).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// The client's `idempotency_key`.
    Client(&'a str),
    /// None was given: the index in the request as sent; the key is `@<batch id>/<index>`.
    Index(u32),
}

pub const USER_ID_MAX: usize = 200;
pub const METRIC_MAX: usize = 100;
pub const KEY_MAX: usize = 200;

/// Why a text field is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {0} characters")]
    TooLong(usize),
    #[error("must not contain control characters")]
    Control,
    #[error("must not begin with '@', which marks keys given by the gateway")]
    Reserved,
}

/// 1..=200 characters, none of them a control character.
pub fn check_user_id(text: &str) -> Result<(), TextError> {
    check_text(text, USER_ID_MAX)
}

/// 1..=100 characters, none of them a control character.
pub fn check_metric(text: &str) -> Result<(), TextError> {
    check_text(text, METRIC_MAX)
}

/// 1..=200 characters, none of them a control character, the first not `@`.
pub fn check_key(text: &str) -> Result<(), TextError> {
    check_text(text, KEY_MAX)?;
    if text.starts_with('@') { Err(TextError::Reserved) } else { Ok(()) }
}

fn check_text(text: &str, max: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    // Bytes bound characters, so the count is needed for long texts only.
    if text.len() > max && text.chars().count() > max {
        return Err(TextError::TooLong(max));
    }
    if text.chars().any(char::is_control) { Err(TextError::Control) } else { Ok(()) }
}
