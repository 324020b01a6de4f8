//! Numbers as people read them. A column has one number of digits, so that its numbers can be compared at a glance.

/// How the numbers of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// This many after the point.
    Fixed(usize),
    /// A mantissa and a power of ten, for what has no readable fixed form.
    Scientific,
}

/// More than this after the point is not readable.
const DECIMALS_MAX: i32 = 8;
/// Before the point likewise.
const LARGEST: f64 = 1e15;

impl Digits {
    /// As many as the smallest of `values` needs for `significant` digits.
    pub fn of(values: impl IntoIterator<Item = f64>, significant: i32) -> Digits {
        let (mut smallest, mut largest) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().map(f64::abs).filter(|v| *v > 0.0) {
            smallest = smallest.min(value);
            largest = largest.max(value);
        }
        if smallest > largest {
            return Digits::Fixed(0);
        }
        #[allow(clippy::cast_possible_truncation)] // a power of ten of a double
        let decimals = (significant - 1 - smallest.log10().floor() as i32).max(0);
        match usize::try_from(decimals) {
            Ok(fixed) if decimals <= DECIMALS_MAX && largest < LARGEST => Digits::Fixed(fixed),
            _ => Digits::Scientific,
        }
    }

    pub fn show(self, value: f64) -> String {
        match self {
            Digits::Fixed(decimals) => format!("{value:.decimals$}"),
            Digits::Scientific => format!("{value:.3e}"),
        }
    }

    /// A share as a percentage, with its sign; `self` is of percentages.
    pub fn change(self, share: f64) -> String {
        let percent = share * 100.0;
        match self {
            Digits::Fixed(decimals) => format!("{percent:+.decimals$}%"),
            Digits::Scientific => format!("{percent:+.1e}%"),
        }
    }
}

/// Four decimals where they tell something, else two digits and the power of ten.
pub fn p_value(p: f64) -> String {
    if p >= 0.001 {
        format!("{p:.4}")
    } else if p >= 1e-300 {
        format!("{p:.1e}")
    } else {
        "<1e-300".into()
    }
}

/// A level such as 95 or 99.9 of 1 - alpha, in percent.
pub fn level(alpha: f64) -> String {
    let text = format!("{:.6}", (1.0 - alpha) * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
