//! Exact decimal values, read from their text: never through a float.

/// A signed count of millionths, |value| < 9.2e12 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(pub i64);

/// A value as parsed, with whether digits beyond the sixth decimal were rounded away (half to even).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    pub value: Decimal,
    pub rounded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("is not a decimal number")]
    Syntax,
    #[error("is outside the range of +-9.2e12")]
    Range,
}

/// Decimals kept.
const SCALE: i32 = 6;
/// Exclusive bound of |millionths|: 9.2e12 units.
const LIMIT: u128 = 9_200_000_000_000_000_000;

impl Decimal {
    pub const ONE: Decimal = Decimal(1_000_000);

    /// Reads the text of a JSON number or of a decimal string (`[-+]digits[.digits][e[+-]digits]`).
    pub fn parse(text: &str) -> Result<Parsed, DecimalError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let malformed = whole.is_empty() || (mantissa.contains('.') && fraction.is_empty());
        if malformed || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(DecimalError::Syntax);
        }
        let (magnitude, rounded) = scale_digits(whole.as_bytes(), fraction.as_bytes(), exponent)?;
        let millionths = i64::try_from(magnitude).map_err(|_| DecimalError::Range)?;
        Ok(Parsed { value: Decimal(if negative { -millionths } else { millionths }), rounded })
    }
}

/// Exponents are clamped past any number of digits that a request can hold: nothing could bring the point back.
fn parse_exponent(text: &str) -> Result<i32, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    let magnitude = digits.bytes().fold(0i32, |n, b| (n * 10 + i32::from(b - b'0')).min(100_000_000));
    Ok(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// The digits times 10^(exponent + 6), rounded half to even.
fn scale_digits(whole: &[u8], fraction: &[u8], exponent: i32) -> Result<(u128, bool), DecimalError> {
    // Number of leading digits (of whole, then fraction) that stand for at least one millionth.
    let kept = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(i64::from(exponent + SCALE));
    let mut magnitude: u128 = 0;
    // What lies below the last kept digit: its first digit, and whether anything follows.
    let (mut next, mut beyond) = (0u8, false);
    let mut position: i64 = 0;
    for digit in whole.iter().chain(fraction).map(|b| b - b'0') {
        if position < kept {
            magnitude = magnitude * 10 + u128::from(digit);
            if magnitude >= LIMIT * 10 {
                return Err(DecimalError::Range);
            }
        } else if position == kept {
            next = digit;
        } else {
            // Also every digit of a value below a tenth of a millionth, where `kept` is negative.
            beyond |= digit != 0;
        }
        position += 1;
    }
    while position < kept && magnitude != 0 {
        magnitude *= 10;
        if magnitude >= LIMIT {
            return Err(DecimalError::Range);
        }
        position += 1;
    }
    let rounded = next != 0 || beyond;
    if next > 5 || (next == 5 && (beyond || magnitude % 2 == 1)) {
        magnitude += 1;
    }
    if magnitude >= LIMIT { Err(DecimalError::Range) } else { Ok((magnitude, rounded)) }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / 1_000_000, magnitude % 1_000_000);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{fraction:06}").trim_end_matches('0'))
    }
}

impl serde::Serialize for Decimal {
    /// As a string, so that no reader turns it into a float unasked.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Decimal {
    /// From a JSON number or a decimal string, by its text. Works with `serde_json` only.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Decimal, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(d)?;
        let text = raw.get().trim_matches('"');
        Decimal::parse(text).map(|p| p.value).map_err(serde::de::Error::custom)
    }
}
