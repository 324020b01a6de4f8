//! Frozen vectors: a change of any of these values moves users between partitions or doubles retried requests.
//! Computed with Python's hashlib and uuid.

use domain::{BatchId, ExperimentId, Partition, UnitId};
use proptest::prelude::*;

const PARTITIONS: [u16; 4] = [1, 16, 64, 65_535];

fn unit(hex: &str) -> UnitId {
    UnitId(u128::from_str_radix(hex, 16).unwrap().to_be_bytes())
}

#[test]
fn unit_ids_and_partitions_are_frozen() {
    let long = "x".repeat(200);
    let table: [(&str, &str, &str, [u16; 4]); 10] = [
        ("default", "user-1", "a503fdd70674c8dc0afbea097fc5d9ad", [0, 10, 41, 42243]),
        ("default", "user-2", "936481bc6115e070878664f357fc19ca", [0, 9, 36, 37731]),
        ("acme", "user-1", "c2bcdb378bb34494a4c75915ddf17f08", [0, 12, 48, 49852]),
        ("default", "", "bb9a03f3423c2a644548ee5be69db77f", [0, 11, 46, 48025]),
        // The zero byte separates: no id may contain one, so these two never meet.
        ("a", "b\0c", "8badde10c760e9b702defb4b5e225de7", [0, 8, 34, 35757]),
        ("a\0b", "c", "8badde10c760e9b702defb4b5e225de7", [0, 8, 34, 35757]),
        // Not normalised: composed and decomposed are two users.
        ("default", "Zo\u{eb}", "ed62c72b077581f778aaf2069ee5942a", [0, 14, 59, 60769]),
        ("default", "Zoe\u{308}", "ab4244a173756162d5ba233f8f413ef7", [0, 10, 42, 43841]),
        ("日本", "ユーザー", "757e49e0bcefa51ce98f097d914b50b2", [0, 7, 29, 30077]),
        ("default", &long, "efdef515c1fbb0c201b27f1c514a718c", [0, 14, 59, 61406]),
    ];
    for (tenant, user, id, partitions) in table {
        assert_eq!(UnitId::of(tenant, user), unit(id), "{tenant:?} {user:?}");
        assert_eq!(PARTITIONS.map(|p| unit(id).partition(p).0), partitions, "{tenant:?} {user:?}");
    }
}

#[test]
fn derived_batch_ids_are_frozen() {
    let table = [
        ("default", 0, "events", "retry-1", "22754cc9-38a9-58f5-8372-ca148dfe5db5"),
        ("default", 17, "conversions", "retry-1", "aafcd6bd-8d45-5ed6-a1f9-08ac7a777fbf"),
        ("default", 17, "exposures", "retry-1", "98616666-d4c9-5722-92d3-0e3f4df2e4d1"),
        ("acme", 17, "conversions", "retry-1", "3366be4f-d76b-5d00-97bb-46439fb7f58c"),
        ("default", 0, "events", "\u{fc}", "567e2b98-d1df-5082-9c12-2ca0e3655f45"),
    ];
    for (tenant, experiment, kind, key, id) in table {
        let batch = BatchId::derived(tenant, ExperimentId(experiment), kind, key);
        assert_eq!(batch.to_string(), id);
        assert_eq!(batch.key_of(7), format!("@{id}/7"));
    }
}

#[test]
fn ranges_tile_the_whole_space() {
    for partitions in PARTITIONS.into_iter().chain([2, 3, 7, 1000]) {
        let mut next = 0u128;
        for p in 0..partitions {
            let (first, last) = Partition(p).unit_range(partitions);
            assert_eq!(u128::from_be_bytes(first.0), next, "{p} of {partitions}");
            assert_eq!((first.partition(partitions).0, last.partition(partitions).0), (p, p));
            next = u128::from_be_bytes(last.0).wrapping_add(1);
        }
        // The last range ends with the last id.
        assert_eq!(next, 0);
    }
}

proptest! {
    #![proptest_config(crate::cases(1000))]

    #[test]
    fn a_range_holds_exactly_its_partition(id: u128, partitions in 1u16.., other: u16) {
        let id = UnitId(id.to_be_bytes());
        let partition = id.partition(partitions);
        prop_assert!(partition.0 < partitions);
        let within = |p: Partition| { let (first, last) = p.unit_range(partitions); first <= id && id <= last };
        prop_assert!(within(partition));
        let other = Partition(other % partitions);
        prop_assert_eq!(within(other), other == partition);
    }
}
