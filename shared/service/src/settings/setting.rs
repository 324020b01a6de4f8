//! What is known of one setting.

use super::tier::Tier;
use super::value::Kind;

/// One setting: variable, flag and key of the settings file (the flag with `_` for `-`).
#[derive(Debug)]
pub struct Spec {
    pub name: &'static str,
    pub flag: &'static str,
    /// Variable and flag that name a file holding the value.
    pub file: Option<(&'static str, &'static str)>,
    pub(super) tiers: u8,
    pub kind: Kind,
    pub default: Preset,
    /// Shown values are hidden.
    pub secret: bool,
    pub doc: &'static str,
}

/// The value of a setting nobody gave.
#[derive(Debug)]
pub enum Preset {
    Unset,
    Same(&'static str),
    PerTier(fn(Tier) -> Option<&'static str>),
}

impl Spec {
    pub fn read_by(&self, tier: Tier) -> bool {
        self.tiers & tier.bits() != 0
    }

    pub fn default_for(&self, tier: Tier) -> Option<&'static str> {
        match self.default {
            Preset::Unset => None,
            Preset::Same(text) => Some(text),
            Preset::PerTier(of) => of(tier),
        }
    }
}

macro_rules! setting {
    ($name:literal, $flag:literal, $tiers:expr, $kind:expr, $default:expr, $doc:literal) => {
        Spec {
            name: $name,
            flag: $flag,
            file: None,
            tiers: $tiers,
            kind: $kind,
            default: $default,
            secret: false,
            doc: $doc,
        }
    };
}

macro_rules! secret {
    ($name:literal, $flag:literal, $tiers:expr, $check:path, $doc:literal) => {
        secret!($name, $flag, $tiers, kind Kind::Text($check), $doc)
    };
    ($name:literal, $flag:literal, $tiers:expr, kind $kind:expr, $doc:literal) => {
        Spec {
            name: $name,
            flag: $flag,
            file: Some((concat!($name, "_FILE"), concat!($flag, "-file"))),
            tiers: $tiers,
            kind: $kind,
            default: Preset::Unset,
            secret: true,
            doc: $doc,
        }
    };
}

pub(super) use {secret, setting};
