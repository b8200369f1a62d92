//! Bodies in gzip, and in base64, which gzip needs to pass through SQS.

use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;

use crate::rejection::{Reason, Refusal};

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

/// Bytes that any body may inflate to, and the factor by which a larger one may grow.
const FREE: usize = 256 * 1024;
const FACTOR: usize = 64;

/// Returns true for gzip (RFC 1952): the magic number and the only compression method.
pub(crate) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b, 8])
}

/// Inflates a body to at most 256 KiB plus 64 times its size, and at most `max` bytes. JSON
/// typically grows twentyfold.
pub(crate) fn inflate(body: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
    let limit = body
        .len()
        .saturating_mul(FACTOR)
        .saturating_add(FREE)
        .min(max);
    let mut inflated = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(most)
        .read_to_end(&mut inflated)
        .map_err(|error| {
            let detail = format!("the body is gzip that can't be inflated: {error}");
            Refusal::new(Reason::Malformed, detail)
        })?;
    if inflated.len() > limit {
        let detail = format!("the body is gzip that inflates to more than {limit} bytes");
        return Err(Refusal::new(Reason::TooLarge, detail));
    }
    Ok(inflated)
}

/// Decodes base64 with the standard or the URL-safe alphabet of RFC 4648, with or without line
/// breaks.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(&byte);
    if text.len() < 8 || !text.bytes().all(is_digit) {
        return None;
    }
    let unbroken: String;
    let text = if text.contains(['\r', '\n']) {
        unbroken = text.replace(['\r', '\n'], "");
        &unbroken
    } else {
        text
    };
    let engine = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    engine.decode(text).ok()
}

/// Undoes one layer of gzip or base64. Returns `None` for bytes in neither, and for gzip that
/// inflates to more than `max` bytes.
#[must_use]
pub fn unpack(bytes: &[u8], max: usize) -> Option<Vec<u8>> {
    if is_gzip(bytes) {
        return inflate(bytes, max).ok();
    }
    from_base64(std::str::from_utf8(bytes).ok()?.trim())
}
