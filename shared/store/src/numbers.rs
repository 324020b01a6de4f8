//! Our unsigned numbers as SQL has them: 64-bit, signed.

use crate::StoreError;

/// Counts are 64-bit and signed in SQL; none of ours reaches 2^63.
pub fn to_sql_count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A stored number that must not be negative or too large for its type.
pub fn narrow<T: TryFrom<i64>>(n: impl Into<i64>, what: &'static str) -> Result<T, StoreError> {
    T::try_from(n.into()).map_err(|_| StoreError::Corrupt(what))
}

/// `3,4,7`.
pub fn list(numbers: &[i64]) -> String {
    numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}
