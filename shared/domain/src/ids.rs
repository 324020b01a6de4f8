//! Identities: experiments, units, partitions, batches.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Numeric id of an experiment, given by the database. [`ExperimentId::NONE`] (0) is the tenant itself: the
/// "experiment" of conversions that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ExperimentId(pub i64);

impl ExperimentId {
    pub const NONE: ExperimentId = ExperimentId(0);

    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl std::fmt::Display for ExperimentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One user of one tenant: the first 16 bytes of SHA-256(tenant, 0x00, user id), both UTF-8 and not normalised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub [u8; 16]);

impl UnitId {
    pub fn of(tenant: &str, user_id: &str) -> UnitId {
        let digest = Sha256::new().chain_update(tenant).chain_update([0]).chain_update(user_id).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        UnitId(id)
    }

    /// The partition of this unit among `partitions` (1..=65535): a contiguous range of ids each.
    pub fn partition(self, partitions: u16) -> Partition {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        let scaled = (u128::from(u64::from_be_bytes(head)) * u128::from(partitions)) >> 64;
        Partition(u16::try_from(scaled).unwrap_or(u16::MAX))
    }
}

impl std::fmt::Debug for UnitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

/// Number of a partition, 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl Partition {
    /// First and last unit id of this partition, both inclusive: what verify and export read by primary key.
    pub fn unit_range(self, partitions: u16) -> (UnitId, UnitId) {
        let start = |p: u128| (p << 64).div_ceil(u128::from(partitions));
        let first = start(u128::from(self.0)) << 64;
        let last = (start(u128::from(self.0) + 1) << 64).wrapping_sub(1);
        (UnitId(first.to_be_bytes()), UnitId(last.to_be_bytes()))
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

/// Identity of one accepted request: a retry with the same `Idempotency-Key` has the same one, a request without
/// that header a UUIDv7 of the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub Uuid);

/// Namespace of batch ids derived from an `Idempotency-Key`. Frozen: changing it would double retried requests.
const BATCH_NAMESPACE: Uuid = Uuid::from_u128(0x6162_7374_7265_616d_8000_6261_7463_6800);

impl BatchId {
    /// The id of a request that carries an `Idempotency-Key`; `kind` is the route's (`events`, `exposures`, ..).
    pub fn derived(tenant: &str, experiment: ExperimentId, kind: &str, idempotency_key: &str) -> BatchId {
        let name = format!("{tenant}\0{experiment}\0{kind}\0{idempotency_key}");
        BatchId(Uuid::new_v5(&BATCH_NAMESPACE, name.as_bytes()))
    }

    /// The key of the keyless conversion at `index` of this request as sent.
    pub fn key_of(self, index: u32) -> String {
        format!("@{}/{index}", self.0)
    }
}

impl std::fmt::Display for BatchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
