//! Hashes and bucket ranges, as GrowthBook's SDK specification defines them.

use std::ops::RangeInclusive;

/// A number in [0, 1) in steps of 1/10,000, of hash version 2: unbiased between seeds.
pub fn hash_v2(seed: &str, value: &str) -> f64 {
    let inner = fnv32(seed.encode_utf16().chain(value.encode_utf16()));
    f64::from(fnv32(inner.to_string().encode_utf16()) % 10_000) / 10_000.0
}

/// A number in [0, 1) in steps of 1/1,000, of hash version 1, which namespaces use.
pub fn hash_v1(seed: &str, value: &str) -> f64 {
    f64::from(fnv32(value.encode_utf16().chain(seed.encode_utf16())) % 1_000) / 1_000.0
}

/// Half-open, one per variation: each begins where the full share of the one before ends, and is as long as the covered
/// part of its own. Weights that are missing, too few or too many, or do not add up to 1, are equal shares.
pub fn bucket_ranges(variations: usize, coverage: f64, weights: Option<&[f64]>) -> Vec<(f64, f64)> {
    let sound = |w: &&[f64]| w.len() == variations && ARE_SHARES.contains(&w.iter().sum());
    let equal = || vec![1.0 / variations as f64; variations];
    let shares = weights.filter(sound).map_or_else(equal, <[f64]>::to_vec);
    let coverage = coverage.clamp(0.0, 1.0);
    let mut start = 0.0;
    let mut ranges = Vec::with_capacity(variations);
    for share in shares {
        ranges.push((start, start + coverage * share));
        start += share;
    }
    ranges
}

/// The variation whose range holds the hash.
pub fn choose(hash: f64, ranges: &[(f64, f64)]) -> Option<usize> {
    ranges.iter().position(|(start, end)| (*start..*end).contains(&hash))
}

/// Sums of weights that are taken for shares.
pub(super) const ARE_SHARES: RangeInclusive<f64> = 0.99..=1.01;

/// FNV-1a, 32 bits, a whole code unit at a step.
fn fnv32(units: impl Iterator<Item = u16>) -> u32 {
    units.fold(0x811c_9dc5, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193))
}
