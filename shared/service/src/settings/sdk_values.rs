use crate::auth::is_tenant;
use foldhash::HashMap;

/// Longest event name, in characters: it becomes a metric.
const EVENT_MAX: usize = 100;
/// Stands for every event of a tenant that has no entry of its own.
const ANY: &str = "*";

/// `AB_SDK_VALUES`: which property of an SDK's event is its value, by tenant and event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SdkValues(HashMap<String, HashMap<String, SdkValue>>);

/// Where an event says its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SdkValue {
    /// Names of nested members, from the event's properties inwards; never empty.
    Property(Vec<String>),
    /// Nowhere: each one counts 1, whatever its properties are.
    One,
}

impl SdkValues {
    /// `tenant:event=property.property`, separated by `;` or line ends; no property: each event counts 1. Lines that
    /// begin with `#` are comments.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut values = Self::default();
        let entries = text
            .split([';', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty() && !entry.starts_with('#'));
        for (number, entry) in entries.enumerate() {
            values.add(entry).map_err(|reason| format!("entry {}: {reason}", number + 1))?;
        }
        Ok(values)
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        let parts = entry.split_once(':').and_then(|(tenant, rest)| {
            // The last `=`: a property's name holds none, an event's may.
            let (event, property) = rest.rsplit_once('=')?;
            Some((tenant.trim(), event.trim(), property.trim()))
        });
        let (tenant, event, property) = parts.ok_or("must read tenant:event=property")?;
        if !is_tenant(tenant) {
            return Err("a tenant is 1 to 64 of letters, digits, '.', '_' and '-'");
        }
        if event.is_empty() || event.chars().count() > EVENT_MAX {
            return Err("an event has 1 to 100 characters");
        }
        let value = if property.is_empty() {
            SdkValue::One
        } else {
            SdkValue::Property(property.split('.').map(|name| name.trim().to_owned()).collect())
        };
        if matches!(&value, SdkValue::Property(names) if names.iter().any(String::is_empty)) {
            return Err("a property is a name, or names with '.' between them");
        }
        let known = self.0.entry(tenant.to_owned()).or_default();
        match known.insert(event.to_owned(), value) {
            Some(_) => Err("the event has an entry already"),
            None => Ok(()),
        }
    }

    /// `None`: nothing was said of this event, nor of all of the tenant.
    pub fn find(&self, tenant: &str, event: &str) -> Option<&SdkValue> {
        let events = self.0.get(tenant)?;
        events.get(event).or_else(|| events.get(ANY))
    }
}

/// Syntax of `AB_SDK_VALUES`.
pub fn check_sdk_values(text: &str) -> Result<(), String> {
    SdkValues::parse(text).map(drop)
}
