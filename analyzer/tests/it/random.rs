//! Randomness that is the same on every machine for the same seed: SplitMix64.

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponential with mean 1.
    pub fn wait(&mut self) -> f64 {
        -self.unit().ln()
    }
}

/// Wilson's interval at 99% of a share found in `runs` runs.
pub fn interval_99(found: u32, runs: u32) -> [f64; 2] {
    let arm = analyzer::stats::arms::ProportionArm { n: runs.into(), converters: found.into() };
    analyzer::stats::small_counts::wilson(&arm, analyzer::stats::Alpha::new(0.01).unwrap()).unwrap()
}
