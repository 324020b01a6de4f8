//! One field's JSON text, read exactly. Every field arrives as the slice of the body it stands in, so a string
//! without escapes is borrowed and a number keeps all its digits.

use std::borrow::Cow;

use domain::decimal::{DecimalError, Parsed};
use domain::event::TextError;
use domain::{Decimal, Timestamp};

use super::fault::Fault;
use crate::codes::Code;

/// A field of an item: its name and its JSON text without surrounding white space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub name: &'static str,
    pub json: &'a str,
}

impl<'a> Raw<'a> {
    /// A string.
    pub fn text(self) -> Result<Cow<'a, str>, Fault> {
        string(self.json).ok_or_else(|| self.wrong_type("a string"))
    }

    /// A string that keeps the limits of `check`.
    pub fn checked(
        self,
        code: Code,
        check: fn(&str) -> Result<(), TextError>,
    ) -> Result<Cow<'a, str>, Fault> {
        let text = self.text()?;
        match check(&text) {
            Ok(()) => Ok(text),
            Err(error) => Err(Fault::field(code, self.name, format!("`{}` {error}", self.name))),
        }
    }

    /// A JSON number without fraction or exponent. One beyond 64 bits is no index of anything: `i64::MAX`.
    pub fn integer(self) -> Result<i64, Fault> {
        let digits = self.json.strip_prefix('-').unwrap_or(self.json);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.wrong_type("an integer"));
        }
        Ok(self.json.parse().unwrap_or(i64::MAX))
    }

    pub fn boolean(self) -> Result<bool, Fault> {
        match self.json {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// A string, or an integer taken as its text: how an experiment is named.
    pub fn text_or_integer(self) -> Result<Cow<'a, str>, Fault> {
        if self.json.starts_with('"') {
            return self.text();
        }
        self.integer()
            .map(|_| Cow::Borrowed(self.json))
            .map_err(|_| self.wrong_type("a string or an integer"))
    }

    /// A JSON number or a decimal string.
    pub fn decimal(self) -> Result<Parsed, Fault> {
        let text = match self.json.as_bytes().first() {
            Some(b'"') => self.text()?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(self.json),
            Some(b'n') => {
                let detail = format!("`{}` is null, which is how JSON.stringify writes NaN", self.name);
                return Err(Fault::field(Code::InvalidValue, self.name, detail));
            }
            _ => return Err(self.wrong_type("a number or a decimal string")),
        };
        Decimal::parse(&text).map_err(|error| {
            let code = match error {
                DecimalError::Syntax => Code::InvalidValue,
                DecimalError::Range => Code::ValueOutOfRange,
            };
            Fault::field(code, self.name, format!("`{}` {error}", self.name))
        })
    }

    /// RFC 3339, or a number of unix seconds or milliseconds.
    pub fn instant(self) -> Result<Timestamp, Fault> {
        let instant = match self.json.as_bytes().first() {
            Some(b'"') => Timestamp::parse(&self.text()?),
            Some(b'-' | b'0'..=b'9') => Timestamp::from_unix_number(self.json),
            _ => return Err(self.wrong_type("a string or a number")),
        };
        instant.ok_or_else(|| {
            let detail = format!(
                "`{}` is neither RFC 3339 nor unix seconds or milliseconds within years 1 to 9999",
                self.name
            );
            Fault::field(Code::InvalidOccurredAt, self.name, detail)
        })
    }

    /// An object of bounded size, whose content is of no interest.
    pub fn object(self, max_bytes: usize) -> Result<(), Fault> {
        if !self.json.starts_with('{') {
            return Err(self.wrong_type("an object"));
        }
        if self.json.len() > max_bytes {
            let detail = format!("`{}` has more than {max_bytes} bytes", self.name);
            return Err(Fault::field(Code::InvalidProperties, self.name, detail));
        }
        Ok(())
    }

    fn wrong_type(self, wanted: &str) -> Fault {
        Fault::field(Code::InvalidType, self.name, format!("`{}` must be {wanted}", self.name))
    }
}

/// The text of a JSON string; `None` when it is something else, or holds half of a surrogate pair.
fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
