//! Stored encodings of units and moments: a format number, then variable-length integers. Golden bytes are kept
//! in the tests; a change of layout is a new format number, read beside the old one.

use crate::attributes::{Attributes, Exclusion, Said};
use crate::contribution::Heads;
use crate::{BatchId, Day, Decimal, Enrollment, ExperimentId, Moments, Tally, Timestamp, Unit};
use ethnum::{I256, U256};
use uuid::Uuid;

/// 1 has no attributes.
const UNIT_FORMAT: u8 = 2;
/// 1 has one head count less.
const MOMENTS_FORMAT: u8 = 2;

/// Stored bytes are not what this program writes: the row is damaged or written by a newer release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("format number {0} is unknown to this release")]
    Format(u8),
    #[error("stored bytes are damaged")]
    Damaged,
}

pub fn encode_unit(unit: &Unit) -> Vec<u8> {
    let flags = u8::from(unit.has_conversions) | (u8::from(unit.erased) << 1);
    let mut out = vec![UNIT_FORMAT, flags];
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
        put_attributes(&mut out, &e.attributes);
    }
    put(&mut out, unit.waiting.len() as u64);
    for (experiment, attributes) in &unit.waiting {
        put_signed(&mut out, experiment.0);
        put_attributes(&mut out, attributes);
    }
    out
}

/// One byte where there are none.
fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    put(out, attributes.len() as u64);
    if attributes.is_empty() {
        return;
    }
    put(out, attributes.stratum.iter().len() as u64);
    if let Some(said) = &attributes.stratum {
        put_text(out, &said.value);
        put_said(out, said);
    }
    put(out, attributes.covariates.len() as u64);
    for (name, said) in &attributes.covariates {
        put_text(out, name);
        put_signed(out, said.value.0);
        put_said(out, said);
    }
    for e in &attributes.exclusions {
        out.push(u8::from(e.excluded));
        put_text(out, e.reason.as_deref().unwrap_or_default());
        out.extend_from_slice(e.batch.0.as_bytes());
        put_signed(out, e.day.0.into());
    }
}

fn put_said<T>(out: &mut Vec<u8>, said: &Said<T>) {
    out.push(u8::from(said.after_exposure) | u8::from(said.at.is_some()) << 1);
    if let Some(at) = said.at {
        put_signed(out, at.0);
    }
    put_signed(out, said.day.0.into());
}

pub fn decode_unit(bytes: &[u8]) -> Result<Unit, CodecError> {
    let (mut r, format) = Reader::new(bytes, UNIT_FORMAT)?;
    let flags = r.number::<u8>().ok().filter(|flags| *flags < 4).ok_or(CodecError::Damaged)?;
    let (has_conversions, erased) = (flags & 1 != 0, flags & 2 != 0);
    let mut enrollments = Vec::new();
    for _ in 0..r.length()? {
        let mut enrollment = read_enrollment(&mut r)?;
        if format > 1 {
            enrollment.attributes = read_attributes(&mut r)?;
        }
        enrollments.push(enrollment);
    }
    let mut waiting = Vec::new();
    if format > 1 {
        for _ in 0..r.length()? {
            waiting.push((ExperimentId(r.signed()?), read_attributes(&mut r)?));
        }
    }
    r.finish()?;
    Ok(Unit { erased, has_conversions, enrollments, waiting })
}

fn read_attributes(r: &mut Reader<'_>) -> Result<Attributes, CodecError> {
    let mut attributes = Attributes::default();
    let all = r.length()?;
    if all == 0 {
        return Ok(attributes);
    }
    match r.length()? {
        0 => {}
        1 => {
            let value = r.text()?;
            attributes.stratum = Some(read_said(r, value)?);
        }
        _ => return Err(CodecError::Damaged),
    }
    for _ in 0..r.length()? {
        let name = r.text()?;
        let value = Decimal(r.signed()?);
        attributes.covariates.push((name, read_said(r, value)?));
    }
    while attributes.len() < all {
        let excluded = r.flag()?;
        let reason = Some(r.text()?).filter(|reason| !reason.is_empty());
        let batch = BatchId(Uuid::from_bytes(r.array()?));
        attributes.exclusions.push(Exclusion { excluded, reason, batch, day: Day(r.signed()?) });
    }
    if attributes.len() == all { Ok(attributes) } else { Err(CodecError::Damaged) }
}

fn read_said<T>(r: &mut Reader<'_>, value: T) -> Result<Said<T>, CodecError> {
    let flags = r.byte()?;
    if flags > 3 {
        return Err(CodecError::Damaged);
    }
    let at = if flags & 2 == 0 { None } else { Some(Timestamp(r.signed()?)) };
    Ok(Said { value, at, day: Day(r.signed()?), after_exposure: flags & 1 != 0 })
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
        attributes: Attributes::default(),
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
    let (mut r, format) = Reader::new(bytes, MOMENTS_FORMAT)?;
    let mut heads = [0; Heads::LEN];
    let known = if format == 1 { Heads::LEN - 1 } else { Heads::LEN };
    if r.length()? != known {
        return Err(CodecError::Damaged);
    }
    for n in heads.iter_mut().take(known) {
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

/// Length in bytes, then UTF-8.
fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
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
    /// Formats up to `newest` are read; returned is which one it is.
    fn new(bytes: &'a [u8], newest: u8) -> Result<(Reader<'a>, u8), CodecError> {
        match bytes.split_first() {
            Some((&f, rest)) if (1..=newest).contains(&f) => Ok((Reader { rest }, f)),
            Some((&f, _)) => Err(CodecError::Format(f)),
            None => Err(CodecError::Damaged),
        }
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        let (&first, rest) = self.rest.split_first().ok_or(CodecError::Damaged)?;
        self.rest = rest;
        Ok(first)
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Damaged),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Damaged)?;
        self.rest = rest;
        Ok(*head)
    }

    fn text(&mut self) -> Result<String, CodecError> {
        let length = self.length()?;
        let (head, rest) = self.rest.split_at(length);
        self.rest = rest;
        String::from_utf8(head.to_vec()).map_err(|_| CodecError::Damaged)
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
