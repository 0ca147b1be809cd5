//! The fingerprint of a log line: a hash of its text after the varying parts are masked.
//!
//! The built-in masks are one pass over the text without a regular expression, because every error of a log flood goes
//! through it.

use std::borrow::Cow;

use regex::{NoExpand, Regex};

use super::message::subject;
use crate::domain::settings::LogSettings;

/// Longer templates are cut, because the rest does not tell lines apart.
const TEMPLATE_CAP: usize = 400;

/// The masks, which stand for the varying parts of a line.
const MASKS: [&str; 9] = ["<n>", "<hex>", "<dur>", "<id>", "<ip>", "<time>", "<uuid>", "<q>", "<host>"];

/// A line with its varying parts masked, and the hash of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// 16 hex digits.
    pub fingerprint: String,
    pub template: String,
}

/// Masks numbers, hex, UUIDs, addresses, hosts, times, durations, ids and quoted strings.
pub fn mask(line: &str) -> Masked {
    Masks::default().mask(line)
}

/// What is masked in addition to the varying parts that are known, and what is not masked.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    /// The text that replaces a match, such as `<order>`, with its pattern.
    patterns: Vec<(String, Regex)>,
    kept: Vec<String>,
}

impl Masks {
    /// The masks with these names and patterns, in their order, and the words that are never masked. The error is the
    /// name of the mask and what is wrong with it.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = (&'a String, &'a String)>,
        kept: &[String],
    ) -> Result<Self, (String, String)> {
        let patterns = patterns.into_iter().map(|(name, pattern)| {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
                return Err((name.clone(), "a mask's name has only the letters a-z and hyphens".into()));
            }
            let regex = Regex::new(pattern).map_err(|e| (name.clone(), e.to_string()))?;
            if regex.is_match("") {
                return Err((name.clone(), "the pattern matches the empty text".into()));
            }
            Ok((format!("<{name}>"), regex))
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()?, kept: kept.to_vec() })
    }

    /// The masks of the config. There are none if one of them is invalid, which the check of the config reports.
    pub fn of(settings: &LogSettings) -> Self {
        Self::new(&settings.masks, &settings.unmasked).unwrap_or_default()
    }

    /// Masks what an entry says. None if there are no masks but the built-in ones.
    pub fn own(&self, text: &str) -> Option<Masked> {
        (!self.is_empty()).then(|| self.mask(&subject(text)))
    }

    /// True if they change nothing.
    fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.kept.is_empty()
    }

    /// Masks a line with these masks, then with the built-in ones.
    pub fn mask(&self, line: &str) -> Masked {
        let mut line = Cow::Borrowed(line);
        for (mask, regex) in &self.patterns {
            if let Cow::Owned(masked) = regex.replace_all(&line, NoExpand(mask)) {
                line = Cow::Owned(masked);
            }
        }
        let template = masked(&line, &self.kept);
        Masked { fingerprint: print(&template), template }
    }
}

/// The fingerprint of a masked line. The kind of a mask does not matter: a hex id sometimes has no letter, and is still
/// the same id.
pub fn print(template: &str) -> String {
    // FNV-1a: stable between versions, unlike the standard library's hasher
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut rest = template;
    while let Some((before, length)) = next_mask(rest) {
        let (literal, tail) = rest.split_at_checked(before).unwrap_or((rest, ""));
        hash = folded(folded(hash, literal), "<>");
        rest = tail.get(length..).unwrap_or_default();
    }
    let hash = folded(hash, rest);
    (0..16).rev().filter_map(|digit| char::from_digit((hash >> (4 * digit)) as u32 & 15, 16)).collect()
}

fn folded(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The position and the length of the next mask.
fn next_mask(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(b'<', text.as_bytes().get(from..)?)?;
        let rest = text.get(at..)?;
        if let Some(mask) = MASKS.iter().find(|mask| rest.starts_with(**mask)) {
            return Some((at, mask.len()));
        }
        from = at + 1;
    }
}

const METHODS: [&str; 7] = ["GET ", "POST ", "PUT ", "DELETE ", "HEAD ", "PATCH ", "OPTIONS "];

/// The end of the token at the start of the text.
fn token_end(text: &str) -> usize {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    let plain = text.bytes().take_while(is_plain).count();
    match text.as_bytes().get(plain) {
        Some(b) if !b.is_ascii() => text.find(|c| !is_token(c)).unwrap_or(text.len()),
        _ => plain,
    }
}

fn is_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')
}

/// The masked line.
pub fn template(line: &str) -> String {
    masked(line, &[])
}

fn masked(line: &str, kept: &[String]) -> String {
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
            let end = after.find(c).unwrap_or(0);
            let (quoted, tail) = after.split_at_checked(end).unwrap_or(("", after));
            out.push(c);
            // requests with another method are another group
            out.push_str(METHODS.iter().find(|method| quoted.starts_with(**method)).unwrap_or(&""));
            out.push_str("<q>");
            out.push(c);
            rest = tail.get(c.len_utf8()..).unwrap_or_default();
        } else if is_token(c) {
            let end = token_end(rest);
            let token = rest.get(..end).unwrap_or_default();
            if !kept.is_empty() && is_kept(kept, token) {
                out.push_str(token);
            } else if token.len() == 3 && is_day(token, rest.get(end..).unwrap_or_default().trim_start()) {
                out.push_str("<time>");
            } else {
                push_token(&mut out, token);
            }
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

/// A weekday or a month of a date: `Fri` and `Jun` of `Fri Jun 17 20:55:07`.
fn is_day(token: &str, next: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let number = next.starts_with(|c: char| c.is_ascii_digit());
    MONTHS.contains(&token) && number
        || DAYS.contains(&token) && (number || MONTHS.iter().any(|month| next.starts_with(month)))
}

fn is_kept(kept: &[String], token: &str) -> bool {
    let bare = token.trim_matches([':', '.', '-', '_']);
    kept.iter().any(|word| word == token || word == bare)
}

fn push_token(out: &mut String, token: &str) {
    if !token.bytes().any(|b| b.is_ascii_digit()) {
        let hex = token.len() >= 8 && token.bytes().all(|b| b.is_ascii_hexdigit());
        out.push_str(if hex { "<hex>" } else { token });
        return;
    }
    // punctuation around a value is not part of it: `took:` `(1.5s.`
    let start = token.len() - token.trim_start_matches([':', '.', '-', '_']).len();
    let core = token.trim_matches([':', '.', '-', '_']);
    let tail = token.get(start + core.len()..).unwrap_or_default();
    // a number can have a sign
    let before = token.get(..start).unwrap_or_default();
    out.push_str(before.strip_suffix('-').unwrap_or(before));
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
    is_host(token).then_some("<host>")
}

/// `ip-10-0-0-1.ec2.internal`, `n219.example.com`: a name with at least two dots and a domain in letters.
fn is_host(token: &str) -> bool {
    let letters = |part: &str| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_lowercase());
    let label = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    token.rsplit_once('.').is_some_and(|(_, domain)| letters(domain))
        && token.matches('.').count() >= 2
        && token.split('.').all(label)
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
        let unit = tail.get(..unit_end).unwrap_or_default();
        if digits.is_empty() || !UNITS.iter().any(|known| unit.eq_ignore_ascii_case(known)) {
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
        if out.ends_with("_-") && part.starts_with(|c: char| c.is_ascii_digit()) {
            out.pop();
        }
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

    #[test]
    fn the_kind_of_a_mask_does_not_matter() {
        let print = |line: &str| mask(line).fingerprint;
        assert_eq!(
            print("block blk_-160899 of 10.0.0.7"),
            print("block blk_38865 of ip-10-0-0-7.ec2.internal")
        );
        assert_eq!(print("took 5ms"), print("took 5"));
        assert_ne!(print("took <5"), print("took >5"));
        assert_ne!(print("\"GET /a 1\" 502"), print("\"POST /a 1\" 502"));
        // fingerprints are in bookmarks and notes of users: they are the same in every version
        assert_eq!(print("timeout after 1.5s calling 10.0.0.7:8080"), "c945b7112cabdf26");
    }

    #[test]
    fn masks_of_the_config_merge_and_words_that_are_kept_split() {
        let rules = |list: &[(&str, &str)]| -> std::collections::BTreeMap<String, String> {
            list.iter().map(|(name, pattern)| ((*name).into(), (*pattern).into())).collect()
        };
        let masks = Masks::new(&rules(&[("fruit", "apples?|pears?")]), &["503".into()]).unwrap();
        assert_eq!(masks.mask("no apples for order 7: 503").template, "no <fruit> for order <n>: 503");
        assert_eq!(masks.mask("no pear: 1").fingerprint, masks.mask("no apple: 2").fingerprint);
        assert_ne!(masks.mask("status=503").fingerprint, masks.mask("status=502").fingerprint);
        assert!(!masks.is_empty() && Masks::default().is_empty());
        for (name, pattern) in [("a", "("), ("A b", "x"), ("a", "x*"), ("", "x")] {
            assert_eq!(Masks::new(&rules(&[(name, pattern)]), &[]).unwrap_err().0, name);
        }
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
