//! Decompression of bodies that are already in memory, with the output capped while it is written.

use super::Problem;
use bytes::Bytes;
use hyper::StatusCode;
use std::io::{self, BufRead, ErrorKind, Read};

/// Window of zstd frames accepted, as a power of two: 8 MiB, the most that levels up to 19 use.
const ZSTD_WINDOW_LOG: u32 = 23;
/// First guess at the ratio of decoded to encoded bytes.
const TYPICAL_RATIO: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// zlib, as HTTP means by it.
    Deflate,
}

impl Encoding {
    pub const ALL: [Self; 4] = [Self::Identity, Self::Gzip, Self::Zstd, Self::Deflate];

    /// Of a `Content-Encoding` header; `None` for an unknown one or several.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// The decoded body, at most `max` bytes long. Exactly one complete member, nothing after it.
    pub fn decode(self, wire: Bytes, max: usize) -> Result<Bytes, Problem> {
        let decoded = match self {
            Self::Identity => return Ok(wire),
            Self::Gzip => {
                let mut decoder = flate2::bufread::GzDecoder::new(&wire[..]);
                read_capped(&mut decoder, wire.len(), max).and_then(|out| finish(out, decoder.into_inner()))
            }
            Self::Deflate => {
                let mut decoder = flate2::bufread::ZlibDecoder::new(&wire[..]);
                read_capped(&mut decoder, wire.len(), max).and_then(|out| finish(out, decoder.into_inner()))
            }
            Self::Zstd => decode_zstd(&wire, max),
        };
        decoded.map(Bytes::from)
    }
}

fn decode_zstd(wire: &[u8], max: usize) -> Result<Vec<u8>, Problem> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(wire).map_err(|error| invalid(&error))?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| invalid(&error))?;
    let out = read_capped(&mut decoder, wire.len(), max)?;
    finish(out, decoder.finish())
}

/// Reads to the end of the member, one byte past `max` at most.
fn read_capped(decoder: &mut impl Read, wire: usize, max: usize) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(wire.saturating_mul(TYPICAL_RATIO).min(max));
    let cap = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(cap).read_to_end(&mut out).map_err(|error| invalid(&error))?;
    match out.len() > max {
        true => Err(too_large_decoded(max)),
        false => Ok(out),
    }
}

fn finish(out: Vec<u8>, mut rest: impl BufRead) -> Result<Vec<u8>, Problem> {
    match rest.fill_buf() {
        Ok([]) => Ok(out),
        _ => Err(Problem::bad_request(
            "invalid_compression",
            "the compressed body goes on after its first member: send one member and nothing after it",
        )),
    }
}

fn invalid(error: &io::Error) -> Problem {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            Problem::bad_request("invalid_compression", "the compressed body ends too early")
        }
        _ => Problem::bad_request("invalid_compression", "the body is not what its Content-Encoding says"),
    }
}

fn too_large_decoded(max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "decoded_body_too_large",
        format!("the body is larger than {max} bytes after decompression"),
    )
}
