//! Stored encodings of units and moments: a format number, then variable-length integers. Golden bytes are kept
//! in the tests; a change of layout is a new format number, read beside the old one.

use crate::contribution::Heads;
use crate::{Day, Enrollment, ExperimentId, Moments, Tally, Timestamp, Unit};
use ethnum::{I256, U256};

const UNIT_FORMAT: u8 = 1;
const MOMENTS_FORMAT: u8 = 1;

/// Stored bytes are not what this program writes: the row is damaged or written by a newer release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("format number {0} is unknown to this release")]
    Format(u8),
    #[error("stored bytes are damaged")]
    Damaged,
}

pub fn encode_unit(unit: &Unit) -> Vec<u8> {
    let mut out = vec![UNIT_FORMAT, u8::from(unit.has_conversions)];
    put(&mut out, unit.enrollments.len() as u64);
    for e in &unit.enrollments {
        put_signed(&mut out, e.experiment.0);
        put(&mut out, e.plan_version.into());
        put_signed(&mut out, e.variation.into());
        put(&mut out, e.phase.into());
        put_signed(&mut out, e.exposed_at.0);
        put_signed(&mut out, e.day.0.into());
        put(&mut out, e.crossed.len() as u64);
        for (variation, day) in &e.crossed {
            put_signed(&mut out, (*variation).into());
            put_signed(&mut out, day.0.into());
        }
        // 0 = none; a day is shifted by one.
        put(&mut out, e.earlier_seen.map_or(0, |d| zigzag(d.0.into()) + 1));
        put(&mut out, e.before.into());
        put(&mut out, e.after_window.into());
        put(&mut out, e.tallies.len() as u64);
        for t in &e.tallies {
            put(&mut out, t.count.into());
            put(&mut out, t.pre_count.into());
            // A sum without events is zero and not written.
            if t.count > 0 {
                put_wide(&mut out, I256::from(t.sum));
            }
            if t.pre_count > 0 {
                put_wide(&mut out, I256::from(t.pre_sum));
            }
        }
    }
    out
}

pub fn decode_unit(bytes: &[u8]) -> Result<Unit, CodecError> {
    let mut r = Reader::new(bytes, UNIT_FORMAT)?;
    let has_conversions = r.number::<u8>()? != 0;
    let mut enrollments = Vec::new();
    for _ in 0..r.length()? {
        enrollments.push(read_enrollment(&mut r)?);
    }
    r.finish()?;
    Ok(Unit { has_conversions, enrollments })
}

fn read_enrollment(r: &mut Reader<'_>) -> Result<Enrollment, CodecError> {
    let experiment = ExperimentId(r.signed()?);
    let plan_version = r.number()?;
    let variation = r.signed()?;
    let phase = r.number()?;
    let exposed_at = Timestamp(r.signed()?);
    let day = Day(r.signed()?);
    let mut crossed = Vec::new();
    for _ in 0..r.length()? {
        crossed.push((r.signed()?, Day(r.signed()?)));
    }
    let earlier_seen = match r.number::<u64>()? {
        0 => None,
        n => Some(Day(i32::try_from(unzigzag(n - 1)).map_err(|_| CodecError::Damaged)?)),
    };
    let (before, after_window) = (r.number()?, r.number()?);
    let mut tallies = Vec::new();
    for _ in 0..r.length()? {
        let (count, pre_count) = (r.number()?, r.number()?);
        let sum = if count > 0 { r.sum()? } else { 0 };
        let pre_sum = if pre_count > 0 { r.sum()? } else { 0 };
        tallies.push(Tally { count, sum, pre_count, pre_sum });
    }
    Ok(Enrollment {
        experiment,
        plan_version,
        variation,
        phase,
        exposed_at,
        day,
        crossed,
        earlier_seen,
        before,
        after_window,
        tallies,
    })
}

pub fn encode_moments(moments: &Moments) -> Vec<u8> {
    let mut out = vec![MOMENTS_FORMAT];
    let heads = moments.heads.to_array();
    put(&mut out, heads.len() as u64);
    for n in heads {
        put_signed(&mut out, n);
    }
    put(&mut out, moments.products.len() as u64);
    for p in &moments.products {
        put_wide(&mut out, *p);
    }
    out
}

pub fn decode_moments(bytes: &[u8]) -> Result<Moments, CodecError> {
    let mut r = Reader::new(bytes, MOMENTS_FORMAT)?;
    let mut heads = [0; Heads::LEN];
    if r.length()? != heads.len() {
        return Err(CodecError::Damaged);
    }
    for n in &mut heads {
        *n = r.signed()?;
    }
    let mut products = Vec::new();
    for _ in 0..r.length()? {
        products.push(r.wide()?);
    }
    r.finish()?;
    Ok(Moments { heads: Heads::from_array(heads), products })
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// Seven bits a byte, lowest first, high bit = more follows.
#[allow(clippy::cast_possible_truncation)] // masked to seven bits
fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, zigzag(n));
}

/// A length byte, then that many little-endian bytes of the zigzag form.
fn put_wide(out: &mut Vec<u8>, n: I256) {
    let zigzag = ((n << 1u32) ^ (n >> 255u32)).as_u256();
    let bytes = zigzag.to_le_bytes();
    let used = bytes.len() - zigzag.leading_zeros() as usize / 8;
    put(out, used as u64);
    out.extend_from_slice(&bytes[..used]);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], format: u8) -> Result<Reader<'a>, CodecError> {
        match bytes.split_first() {
            Some((&f, rest)) if f == format => Ok(Reader { rest }),
            Some((&f, _)) => Err(CodecError::Format(f)),
            None => Err(CodecError::Damaged),
        }
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        let (&first, rest) = self.rest.split_first().ok_or(CodecError::Damaged)?;
        self.rest = rest;
        Ok(first)
    }

    fn varint(&mut self) -> Result<u64, CodecError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Damaged);
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(CodecError::Damaged)
    }

    fn number<T: TryFrom<u64>>(&mut self) -> Result<T, CodecError> {
        T::try_from(self.varint()?).map_err(|_| CodecError::Damaged)
    }

    fn signed<T: TryFrom<i64>>(&mut self) -> Result<T, CodecError> {
        T::try_from(unzigzag(self.varint()?)).map_err(|_| CodecError::Damaged)
    }

    /// Number of items that follow: each takes a byte at least, so a length cannot exceed what is left.
    fn length(&mut self) -> Result<usize, CodecError> {
        let n: usize = self.number()?;
        if n > self.rest.len() { Err(CodecError::Damaged) } else { Ok(n) }
    }

    fn wide(&mut self) -> Result<I256, CodecError> {
        let used = self.length()?;
        let mut bytes = [0; 32];
        let (head, rest) = self.rest.split_at(used);
        bytes.get_mut(..used).ok_or(CodecError::Damaged)?.copy_from_slice(head);
        self.rest = rest;
        let n = U256::from_le_bytes(bytes);
        let sign = if n & U256::ONE == U256::ONE { I256::MINUS_ONE } else { I256::ZERO };
        Ok((n >> 1u32).as_i256() ^ sign)
    }

    fn sum(&mut self) -> Result<i128, CodecError> {
        i128::try_from(self.wide()?).map_err(|_| CodecError::Damaged)
    }

    fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Damaged) }
    }
}
