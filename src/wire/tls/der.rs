//! Reads the fields of an X.509 certificate that rustls does not expose: version and validity.

use pilothouse_core::domain::time::Stamp;

/// The fields that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    /// 1 to 3.
    pub version: u8,
    pub not_before: Stamp,
    pub not_after: Stamp,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT Version`.
const VERSION: u8 = 0xa0;

/// None: the bytes are not a certificate.
pub(super) fn outline(der: &[u8]) -> Option<Outline> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (mut fields, _) = take(certificate, SEQUENCE)?;
    let mut version = 1;
    if let Some((explicit, rest)) = take(fields, VERSION) {
        let (number, _) = take(explicit, INTEGER)?;
        version = number.last()?.saturating_add(1);
        fields = rest;
    }
    let (_serial, rest) = take(fields, INTEGER)?;
    let (_algorithm, rest) = take(rest, SEQUENCE)?;
    let (_issuer, rest) = take(rest, SEQUENCE)?;
    let (validity, _) = take(rest, SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some(Outline { version, not_before, not_after })
}

/// The content of a value with this tag, and the bytes after it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (size, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if size.len() > 4 {
            return None;
        }
        (size.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

fn time(bytes: &[u8]) -> Option<(Stamp, &[u8])> {
    let (text, rest, century) = if let Some((text, rest)) = take(bytes, UTC_TIME) {
        let year: u32 = std::str::from_utf8(text.get(..2)?).ok()?.parse().ok()?;
        (text, rest, if year < 50 { "20" } else { "19" })
    } else {
        let (text, rest) = take(bytes, GENERALIZED_TIME)?;
        (text, rest, "")
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let at = chrono::NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((Stamp(at.and_utc().timestamp_millis()), rest))
}
