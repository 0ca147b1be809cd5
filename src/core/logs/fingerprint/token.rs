//! The tokens of a line: what a number, an id or an address is.

/// The kinds of characters in a token, which say what the token can be.
mod kind {
    pub(super) const DIGIT: u16 = 1;
    /// `a` to `f`, also as capitals.
    pub(super) const HEX: u16 = 2;
    pub(super) const LETTER: u16 = 4;
    pub(super) const UPPER: u16 = 8;
    pub(super) const DOT: u16 = 16;
    pub(super) const COLON: u16 = 32;
    pub(super) const DASH: u16 = 64;
    pub(super) const LINE: u16 = 128;
    /// A letter or a digit outside ASCII.
    pub(super) const WIDE: u16 = 256;

    const fn of(b: u8) -> u16 {
        let upper = if b.is_ascii_uppercase() { UPPER } else { 0 };
        match b {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' | b'A'..=b'F' => HEX | upper,
            b'a'..=b'z' | b'A'..=b'Z' => LETTER | upper,
            b'.' => DOT,
            b':' => COLON,
            b'-' => DASH,
            b'_' => LINE,
            _ => 0,
        }
    }

    /// The kind of each byte. A byte that does not belong to a token has none.
    pub(super) static OF: [u16; 256] = {
        let mut table = [0; 256];
        let mut b = 0;
        while b < 256 {
            table[b] = of(b as u8);
            b += 1;
        }
        table
    };
}

fn kind_of(b: u8) -> u16 {
    kind::OF.get(usize::from(b)).copied().unwrap_or(0)
}

/// The end of the token at the start of the text, and the kinds of its characters.
pub(super) fn token(text: &str) -> (usize, u16) {
    let mut kinds = 0;
    for (at, b) in text.bytes().enumerate() {
        match kind_of(b) {
            0 if b.is_ascii() => return (at, kinds),
            0 => return (text.find(|c| !is_token(c)).unwrap_or(text.len()), kinds | kind::WIDE),
            kind => kinds |= kind,
        }
    }
    (text.len(), kinds)
}

pub(super) fn is_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')
}

/// The kinds of the characters of a text that is a token or a part of one.
fn kinds_of(token: &str) -> u16 {
    token.bytes().fold(0, |kinds, b| kinds | if b.is_ascii() { kind_of(b) } else { kind::WIDE })
}

/// Whether no part of the token varies. `kinds` are those of [`token`].
pub(super) fn is_literal(token: &str, kinds: u16) -> bool {
    let hex = token.len() >= 8 && kinds & !(kind::HEX | kind::UPPER) == 0;
    kinds & kind::DIGIT == 0 && !hex
}

/// Writes a token that is not literal with its varying parts masked.
pub(super) fn push_token(out: &mut String, token: &str, kinds: u16) {
    if kinds & kind::DIGIT == 0 {
        out.push_str("<hex>");
        return;
    }
    // punctuation around a value is not part of it: `took:` `(1.5s.`
    let punctuation = |b: &u8| matches!(b, b':' | b'.' | b'-' | b'_');
    let start = token.bytes().take_while(punctuation).count();
    let end = token.len() - token.bytes().rev().take_while(punctuation).count();
    let core = token.get(start..end).unwrap_or_default();
    let kinds = if core.len() < token.len() { kinds_of(core) } else { kinds };
    // a number can have a sign
    let before = token.get(..start).unwrap_or_default();
    out.push_str(before.strip_suffix('-').unwrap_or(before));
    if let Some(word) = class(core, kinds) {
        out.push_str(word);
    } else {
        push_parts(out, core);
    }
    out.push_str(token.get(end..).unwrap_or_default());
}

/// The mask of a token with a digit in it. The kinds of its characters exclude most classes without a closer look.
fn class(token: &str, kinds: u16) -> Option<&'static str> {
    use kind::{COLON, DASH, DIGIT, DOT, HEX, LINE, UPPER, WIDE};
    let has = |kind: u16| kinds & kind != 0;
    let only = |kind: u16| kinds & !kind == 0;
    if has(DASH) && is_uuid(token) {
        return Some("<uuid>");
    }
    if has(DASH | COLON) && !has(LINE | WIDE) && is_time(token) {
        return Some("<time>");
    }
    if has(DOT | COLON) && only(DIGIT | HEX | UPPER | DOT | COLON) && is_address(token) {
        return Some("<ip>");
    }
    let zero = (token.as_bytes().first() == Some(&b'0')).then_some(token);
    let hex = zero.and_then(|token| token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")));
    if hex.is_some_and(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Some("<hex>");
    }
    if only(DIGIT | DOT) {
        return Some("<n>");
    }
    // before durations, because an id of digits with a `d` at its end is not a number of days
    if token.len() >= 8 && only(DIGIT | HEX | UPPER) {
        return Some("<hex>");
    }
    if !has(DASH | COLON | LINE) && is_duration(token) {
        return Some("<dur>");
    }
    (has(DOT) && !has(UPPER | COLON | LINE) && is_host(token)).then_some("<host>")
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
        let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (digits, tail) = rest.split_at_checked(number).unwrap_or((rest, ""));
        let unit_end = tail.bytes().take_while(|b| !b.is_ascii_digit()).count();
        let unit = tail.get(..unit_end).unwrap_or_default();
        let is_unit = matches!(unit, "ms" | "s" | "m") || UNITS.iter().any(|u| unit.eq_ignore_ascii_case(u));
        if digits.is_empty() || !is_unit {
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
    loop {
        let end = rest.bytes().position(|b| matches!(b, b'-' | b'_' | b'.' | b':')).unwrap_or(rest.len());
        let (part, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if out.ends_with("_-") && part.starts_with(|c: char| c.is_ascii_digit()) {
            out.pop();
        }
        push_part(out, part);
        let Some(separator) = tail.chars().next() else { return };
        out.push(separator);
        rest = tail.get(1..).unwrap_or_default();
    }
}

fn push_part(out: &mut String, part: &str) {
    let kinds = kinds_of(part);
    if kinds & kind::DIGIT == 0 {
        return out.push_str(part);
    }
    if kinds == kind::DIGIT {
        return out.push_str("<n>");
    }
    let letters_after_digits = part
        .bytes()
        .position(|b| b.is_ascii_digit())
        .and_then(|at| part.get(at..))
        .is_some_and(|tail| tail.chars().any(char::is_alphabetic));
    let hex = kinds & !(kind::DIGIT | kind::HEX | kind::UPPER) == 0;
    if part.len() >= 5 && (letters_after_digits || hex) {
        return out.push_str("<id>");
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
