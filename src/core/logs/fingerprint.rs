//! The fingerprint of a log line: a hash of its text after the varying parts are masked.
//!
//! Everything here is one pass over the text without a regular expression, because every line of a log flood goes
//! through it.

use std::borrow::Cow;

/// Longer templates are cut, because the rest does not tell lines apart.
const TEMPLATE_CAP: usize = 400;

/// A line with its varying parts masked, and the hash of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// 16 hex digits.
    pub fingerprint: String,
    pub template: String,
}

/// Masks numbers, hex, UUIDs, addresses, times, durations, ids and quoted strings.
pub fn mask(line: &str) -> Masked {
    let template = template(line);
    // a hex id sometimes has no letter, and is still the same id
    let print = if template.contains("<hex>") {
        Cow::Owned(template.replace("<hex>", "<n>"))
    } else {
        Cow::Borrowed(template.as_str())
    };
    // FNV-1a: stable between versions, unlike the standard library's hasher
    let hash = print
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    Masked { fingerprint: format!("{hash:016x}"), template }
}

fn is_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')
}

/// The masked line.
pub fn template(line: &str) -> String {
    let mut out = String::with_capacity(line.len().min(TEMPLATE_CAP + 64));
    let mut rest = line.trim();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if out.len() > TEMPLATE_CAP {
            out.push('…');
            break;
        }
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c.is_whitespace() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
            rest = after;
        } else if matches!(c, '"' | '\'' | '`') && !before.is_alphanumeric() && after.contains(c) {
            out.push(c);
            out.push_str("<q>");
            out.push(c);
            let end = after.find(c).unwrap_or(0);
            rest = after.get(end + c.len_utf8()..).unwrap_or_default();
        } else if is_token(c) {
            let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
            let token = rest.get(..end).unwrap_or_default();
            push_token(&mut out, token);
            rest = rest.get(end..).unwrap_or_default();
        } else {
            out.push(c);
            rest = after;
        }
        before = c;
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out
}

fn push_token(out: &mut String, token: &str) {
    if !token.bytes().any(|b| b.is_ascii_digit()) {
        out.push_str(token);
        return;
    }
    // punctuation around a value is not part of it: `took:` `(1.5s.`
    let start = token.len() - token.trim_start_matches([':', '.', '-', '_']).len();
    let core = token.trim_matches([':', '.', '-', '_']);
    let tail = token.get(start + core.len()..).unwrap_or_default();
    out.push_str(token.get(..start).unwrap_or_default());
    if let Some(word) = class(core) {
        out.push_str(word);
    } else {
        push_parts(out, core);
    }
    out.push_str(tail);
}

fn class(token: &str) -> Option<&'static str> {
    if is_uuid(token) {
        return Some("<uuid>");
    }
    if is_time(token) {
        return Some("<time>");
    }
    if is_address(token) {
        return Some("<ip>");
    }
    let hex = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X"));
    if hex.is_some_and(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Some("<hex>");
    }
    if token.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Some("<n>");
    }
    // before durations, because an id of digits with a `d` at its end is not a number of days
    if token.len() >= 8 && token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some("<hex>");
    }
    if is_duration(token) {
        return Some("<dur>");
    }
    None
}

fn is_uuid(token: &str) -> bool {
    token.len() == 36
        && token
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// `2026-01-01T00:00:00.1Z`, `2026-01-01`, `03:12:45.123`.
fn is_time(token: &str) -> bool {
    let date = |s: &str| {
        let mut parts = s.splitn(3, '-');
        let mut number = |len: usize| {
            parts.next().is_some_and(|p| p.len() == len && p.bytes().all(|b| b.is_ascii_digit()))
        };
        number(4) && number(2) && number(2)
    };
    let clock = |s: &str| {
        let s = s.strip_suffix('Z').unwrap_or(s);
        s.matches(':').count() >= 2
            && s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'))
    };
    match token.split_once(['T', 't']) {
        Some((day, time)) => date(day) && clock(time),
        None => date(token) || clock(token),
    }
}

/// `10.0.0.1`, `10.0.0.1:8080`, or an IPv6 address.
fn is_address(token: &str) -> bool {
    let (host, port) = token.rsplit_once(':').unwrap_or((token, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if digits(port) && host.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    token.matches(':').count() >= 2 && token.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `15ms`, `1.5s`, `2h3m0.5s` and `12MiB`: numbers with a unit.
fn is_duration(token: &str) -> bool {
    const UNITS: [&str; 23] = [
        "ns", "us", "µs", "ms", "s", "m", "h", "d", "sec", "secs", "min", "hours", "days", "b", "kb", "mb",
        "gb", "kib", "mib", "gib", "k", "g", "ki",
    ];
    let mut rest = token;
    let mut parts = 0;
    while !rest.is_empty() && parts < 6 {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, tail) = rest.split_at_checked(number).unwrap_or((rest, ""));
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let unit = tail.get(..unit_end).unwrap_or_default().to_lowercase();
        if digits.is_empty() || !UNITS.contains(&unit.as_str()) {
            return false;
        }
        rest = tail.get(unit_end..).unwrap_or_default();
        parts += 1;
    }
    rest.is_empty()
}

/// Masks a mixed token part by part: `checkout-7d9f8b6c5-x2x4z` -> `checkout-<id>-<id>`, `user42` -> `user<n>`.
fn push_parts(out: &mut String, token: &str) {
    let mut rest = token;
    while !rest.is_empty() {
        let end = rest.find(['-', '_', '.', ':']).unwrap_or(rest.len());
        let part = rest.get(..end).unwrap_or_default();
        push_part(out, part);
        let tail = rest.get(end..).unwrap_or_default();
        if let Some(separator) = tail.chars().next() {
            out.push(separator);
            rest = tail.get(separator.len_utf8()..).unwrap_or_default();
        } else {
            rest = "";
        }
    }
}

fn push_part(out: &mut String, part: &str) {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        out.push_str(part);
        return;
    }
    let letters_after_digits = part
        .find(|c: char| c.is_ascii_digit())
        .and_then(|at| part.get(at..))
        .is_some_and(|tail| tail.chars().any(char::is_alphabetic));
    let hex = part.bytes().all(|b| b.is_ascii_hexdigit()) && digits < part.len();
    if part.len() >= 5 && (letters_after_digits || hex) {
        out.push_str("<id>");
        return;
    }
    let mut in_number = false;
    for c in part.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                out.push_str("<n>");
            }
            in_number = true;
        } else {
            out.push(c);
            in_number = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_differs_is_masked() {
        for (line, want) in [
            ("timeout after 1.5s calling 10.0.0.7:8080", "timeout after <dur> calling <ip>"),
            ("user 42 not found in /api/users/42/orders", "user <n> not found in /api/users/<n>/orders"),
            ("pod checkout-7d9f8b6c5-x2x4z is gone", "pod checkout-<id>-<id> is gone"),
            ("id=c0ffee00-1234-4abc-8def-0123456789ab", "id=<uuid>"),
            ("at 2026-01-01T00:00:00.123Z ptr 0xdeadBEEF", "at <time> ptr <hex>"),
            ("cannot open \"a b 7\" can't", "cannot open \"<q>\" can't"),
            ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit <hex>"),
            ("order 40718263d of 3d", "order <hex> of <dur>"),
            ("/var/lib/catalog/afe12.seg: bad", "/var/lib/catalog/<id>.seg: bad"),
            ("user42  failed   twice", "user<n> failed twice"),
            ("[::1]:80 and fe80::1", "[::<n>]:<n> and <ip>"),
            ("v1.8.2", "v<n>.<n>.<n>"),
        ] {
            assert_eq!(template(line), want, "{line}");
        }
        assert_eq!(mask("took 5ms").fingerprint, mask("took 17ms").fingerprint);
        assert_eq!(mask("intent 0a1b2c3d4e").fingerprint, mask("intent 0123456789").fingerprint);
        assert_ne!(mask("took 5ms").fingerprint, mask("lost 5ms").fingerprint);
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_short(line in any::<String>()) {
            let once = template(&line);
            prop_assert!(once.len() <= TEMPLATE_CAP + 300 + line.len());
        }

        #[test]
        fn masking_twice_changes_nothing(line in "[a-z0-9 .:/=_-]{0,80}") {
            let once = template(&line);
            prop_assert_eq!(template(&once), once);
        }

        #[test]
        fn numbers_never_matter(a in any::<u32>(), b in any::<u32>()) {
            prop_assert_eq!(template(&format!("took {a} of {b} items")), "took <n> of <n> items");
        }
    }
}
