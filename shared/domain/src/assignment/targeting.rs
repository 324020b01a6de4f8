//! Conditions on a user's attributes, in GrowthBook's language: an object of attribute paths (`"device.os"`) and what
//! their values must be, `{"country": "DE", "age": {"$gte": 18}}`, with `$and`, `$or`, `$nor` and `$not` around them.
//!
//! A path that leads nowhere is null. Literals compare as in JavaScript (`1` is `"1"`), `$eq`, `$ne`, `$in` and `$nin`
//! without conversion; order is that of numbers, or of text by code units, and null counts as 0. Regular expressions,
//! versions and saved groups are not offered, and a definition that uses them is refused.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Of a condition's JSON text.
const LONGEST: usize = 16 * 1024;

/// Why a condition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("must be an object")]
    NotAnObject,
    #[error("must have at most {LONGEST} bytes")]
    TooLong,
    #[error("`{0}` is not an operator offered here")]
    Operator(String),
    #[error("`{0}` needs {1}")]
    Operand(String, &'static str),
    #[error("operators and paths stand side by side in one object")]
    Mixed,
}

pub fn check(condition: &Value) -> Result<(), Unusable> {
    if condition.to_string().len() > LONGEST {
        return Err(Unusable::TooLong);
    }
    check_condition(condition)
}

fn check_condition(condition: &Value) -> Result<(), Unusable> {
    for (key, wanted) in condition.as_object().ok_or(Unusable::NotAnObject)? {
        match key.as_str() {
            "$and" | "$or" | "$nor" => {
                let all = wanted.as_array().ok_or_else(|| needs(key, "a list of conditions"))?;
                all.iter().try_for_each(check_condition)?;
            }
            "$not" => check_condition(wanted)?,
            operator if operator.starts_with('$') => return Err(Unusable::Operator(key.clone())),
            _ => check_wanted(wanted)?,
        }
    }
    Ok(())
}

fn check_wanted(wanted: &Value) -> Result<(), Unusable> {
    let Some(operators) = wanted.as_object() else { return Ok(()) };
    let marked = operators.keys().filter(|key| key.starts_with('$')).count();
    if marked == 0 {
        return Ok(());
    }
    if marked < operators.len() {
        return Err(Unusable::Mixed);
    }
    for (operator, operand) in operators {
        let needed = match operator.as_str() {
            "$eq" | "$ne" => None,
            "$lt" | "$lte" | "$gt" | "$gte" => {
                (!operand.is_number() && !operand.is_string()).then_some("a number or text")
            }
            "$in" | "$nin" | "$all" => (!operand.is_array()).then_some("a list"),
            "$exists" => (!operand.is_boolean()).then_some("true or false"),
            "$not" | "$size" => {
                check_wanted(operand)?;
                None
            }
            "$elemMatch" => {
                if is_operators(operand) {
                    check_wanted(operand)?;
                } else {
                    check_condition(operand)?;
                }
                None
            }
            _ => return Err(Unusable::Operator(operator.clone())),
        };
        if let Some(needed) = needed {
            return Err(needs(operator, needed));
        }
    }
    Ok(())
}

fn needs(operator: &str, what: &'static str) -> Unusable {
    Unusable::Operand(operator.to_owned(), what)
}

/// Whether the attributes meet a checked condition. What the check refuses is met by nobody.
pub fn holds(condition: &Value, attributes: &Map<String, Value>) -> bool {
    condition.as_object().is_some_and(|all| all.iter().all(|(key, wanted)| clause(key, wanted, attributes)))
}

fn clause(key: &str, wanted: &Value, attributes: &Map<String, Value>) -> bool {
    let any = |conditions: &Value| {
        // No alternatives at all ask for nothing.
        conditions.as_array().is_some_and(|c| c.is_empty() || c.iter().any(|c| holds(c, attributes)))
    };
    match key {
        "$or" => any(wanted),
        "$nor" => !any(wanted),
        "$and" => wanted.as_array().is_some_and(|c| c.iter().all(|c| holds(c, attributes))),
        "$not" => !holds(wanted, attributes),
        path => meets(at_path(attributes, path), wanted),
    }
}

fn at_path<'v>(attributes: &'v Map<String, Value>, path: &str) -> &'v Value {
    let mut steps = path.split('.');
    let first = steps.next().and_then(|step| attributes.get(step));
    first.and_then(|first| steps.try_fold(first, |value, step| value.get(step))).unwrap_or(&Value::Null)
}

fn is_operators(wanted: &Value) -> bool {
    wanted.as_object().is_some_and(|o| !o.is_empty() && o.keys().all(|key| key.starts_with('$')))
}

fn meets(actual: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::String(text) => as_text(actual).is_some_and(|actual| actual == *text),
        Value::Number(number) => as_number(actual).is_some_and(|actual| Some(actual) == number.as_f64()),
        Value::Bool(wanted) => !actual.is_null() && truthy(actual) == *wanted,
        Value::Object(operators) if is_operators(wanted) => {
            operators.iter().all(|(operator, operand)| operator_holds(operator, actual, operand))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => same(actual, wanted),
    }
}

fn operator_holds(operator: &str, actual: &Value, operand: &Value) -> bool {
    let is = |wanted: Ordering| compare(actual, operand) == Some(wanted);
    let listed = || {
        let among =
            |value: &Value| operand.as_array().is_some_and(|all| all.iter().any(|one| same(one, value)));
        actual.as_array().map_or_else(|| among(actual), |values| values.iter().any(among))
    };
    match operator {
        "$eq" => same(actual, operand),
        "$ne" => !same(actual, operand),
        "$lt" => is(Ordering::Less),
        "$lte" => is(Ordering::Less) || is(Ordering::Equal),
        "$gt" => is(Ordering::Greater),
        "$gte" => is(Ordering::Greater) || is(Ordering::Equal),
        "$in" => operand.is_array() && listed(),
        "$nin" => operand.is_array() && !listed(),
        "$exists" => actual.is_null() != truthy(operand),
        "$not" => !meets(actual, operand),
        "$size" => actual.as_array().is_some_and(|values| meets(&values.len().into(), operand)),
        "$all" => actual.as_array().zip(operand.as_array()).is_some_and(|(values, wanted)| {
            wanted.iter().all(|wanted| values.iter().any(|value| meets(value, wanted)))
        }),
        "$elemMatch" => actual.as_array().is_some_and(|values| values.iter().any(|v| element(v, operand))),
        _ => false,
    }
}

fn element(value: &Value, wanted: &Value) -> bool {
    if is_operators(wanted) {
        return meets(value, wanted);
    }
    value.as_object().is_some_and(|attributes| holds(wanted, attributes))
}

/// 1 is 1.0; nothing else is converted.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Text with text; all else as numbers, if both are.
fn compare(actual: &Value, operand: &Value) -> Option<Ordering> {
    match (actual.as_str(), operand.as_str()) {
        (Some(a), Some(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
        _ => as_number(actual)?.partial_cmp(&as_number(operand)?),
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(0.0),
        Value::Bool(b) => Some(f64::from(*b)),
        Value::Number(n) => n.as_f64(),
        Value::String(text) if text.trim().is_empty() => Some(0.0),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64().is_some_and(|n| n != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
