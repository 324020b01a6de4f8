//! Raw rows by ranges of users.

use domain::fold::Fact;
use domain::ladder::Dated;
use domain::{Partition, UnitId};
use store::{ConversionRow, Store, StoreError, UnitRow};

/// Users read with one query.
const CHUNK: usize = 2_000;

/// Some users in key order, with all their conversions.
pub struct RawRows {
    pub units: Vec<UnitRow>,
    /// In order of unit.
    pub conversions: Vec<ConversionRow>,
    /// Units that have conversions and no row.
    pub orphans: Vec<UnitId>,
}

impl RawRows {
    /// Both in order.
    pub fn new(units: Vec<UnitRow>, conversions: Vec<ConversionRow>) -> RawRows {
        let mut orphans: Vec<UnitId> = conversions.iter().map(|c| c.unit).collect();
        orphans.dedup();
        orphans.retain(|id| units.binary_search_by_key(id, |u| u.id).is_err());
        RawRows { units, conversions, orphans }
    }

    pub fn conversions_of(&self, unit: UnitId) -> impl Iterator<Item = &ConversionRow> {
        let first = self.conversions.partition_point(|c| c.unit < unit);
        self.conversions.iter().skip(first).take_while(move |c| c.unit == unit)
    }
}

pub fn dated(row: &ConversionRow) -> Dated<'_> {
    let fact = Fact { experiment: row.experiment, event: &row.metric, value: row.value, at: row.occurred_at };
    Dated { day: row.day, fact }
}

/// Hands over every user and every conversion there is, some at a time.
pub async fn read_all<E: From<StoreError>>(
    store: &dyn Store,
    partitions: u16,
    take: &mut impl AsyncFnMut(Partition, &RawRows) -> Result<(), E>,
) -> Result<(), E> {
    for partition in (0..partitions).map(Partition) {
        let (mut first, last) = partition.unit_range(partitions);
        loop {
            let units = store.units((first, last), None, CHUNK as i64).await?;
            let more = units.len() == CHUNK;
            // The last chunk reaches to the partition's end, so that conversions without a unit are seen too.
            let end = units.last().filter(|_| more).map_or(last, |u| u.id);
            let conversions = store.conversions(first, end).await?;
            take(partition, &RawRows::new(units, conversions)).await?;
            match following(end).filter(|_| more) {
                Some(next) => first = next,
                None => break,
            }
        }
    }
    Ok(())
}

pub(super) fn following(unit: UnitId) -> Option<UnitId> {
    u128::from_be_bytes(unit.0).checked_add(1).map(|next| UnitId(next.to_be_bytes()))
}
