//! Domain types on PostgreSQL's binary wire format, without a calendar library in between.

use bytes::{BufMut, BytesMut};
use domain::{Day, Timestamp, UnitId};
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

/// PostgreSQL counts from 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

type Fault = Box<dyn Error + Sync + Send>;

/// A [`Timestamp`] as `timestamptz`.
#[derive(Debug, Clone, Copy)]
pub struct PgTime(pub Timestamp);

/// A [`Day`] as `date`.
#[derive(Debug, Clone, Copy)]
pub struct PgDay(pub Day);

impl ToSql for PgTime {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        out.put_i64(self.0.0.checked_sub(EPOCH_MICROS).ok_or("timestamp out of range")?);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for PgTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(PgTime(Timestamp(micros.checked_add(EPOCH_MICROS).ok_or("timestamp out of range")?)))
    }

    accepts!(TIMESTAMPTZ);
}

impl ToSql for PgDay {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        out.put_i32(self.0.0.checked_sub(EPOCH_DAYS).ok_or("date out of range")?);
        Ok(IsNull::No)
    }

    accepts!(DATE);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for PgDay {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        let days = i32::from_be_bytes(raw.try_into()?);
        Ok(PgDay(Day(days.checked_add(EPOCH_DAYS).ok_or("date out of range")?)))
    }

    accepts!(DATE);
}

pub fn uuid(unit: UnitId) -> Uuid {
    Uuid::from_bytes(unit.0)
}

pub fn unit_id(uuid: Uuid) -> UnitId {
    UnitId(uuid.into_bytes())
}
