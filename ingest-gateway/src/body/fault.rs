//! What is wrong with a body or with one of its items.

use std::borrow::Cow;

use crate::codes::Code;

/// Why the whole body is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// For people; holds no value of the client's beyond a field's name.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code, detail: detail.into() }
    }
}

/// Why one item is refused: the first thing found wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    /// The item's field concerned; `None` = the item itself.
    pub field: Option<Cow<'static, str>>,
    pub detail: Cow<'static, str>,
}

impl Fault {
    pub fn item(code: Code, detail: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code, field: None, detail: detail.into() }
    }

    pub fn field(code: Code, field: &'static str, detail: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code, field: Some(Cow::Borrowed(field)), detail: detail.into() }
    }

    /// A field we do not know, by the name the client gave it, cut to a length fit for answers.
    pub fn unknown_field(name: &str) -> Fault {
        let shown = shown_name(name);
        let detail = format!("unknown field `{shown}`").into();
        Fault { code: Code::UnknownField, field: Some(shown.into()), detail }
    }

    /// JSON pointer of this fault: below the item at `index` of `list` (empty for NDJSON).
    pub fn pointer(&self, list: &str, index: u32) -> String {
        let mut pointer = if list.is_empty() { format!("/{index}") } else { format!("/{list}/{index}") };
        if let Some(field) = &self.field {
            pointer.push('/');
            pointer.push_str(&field.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }
}

/// At most 64 characters of a name the client made up.
pub(super) fn shown_name(name: &str) -> String {
    name.chars().take(64).collect()
}
