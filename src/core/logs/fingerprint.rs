//! The fingerprint of a log line: a hash of its text after the varying parts are masked.
//!
//! The built-in masks are one pass over the text without a regular expression, because every error of a log flood goes
//! through it.

mod token;

use std::borrow::Cow;

use regex::{NoExpand, Regex};

use self::token::{is_literal, is_token, push_token, token};
use super::Lookup;
use super::message::subject;
use crate::domain::id::Name;
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

/// Finds fingerprints. The templates that came last are remembered, because most errors are repeated.
#[derive(Debug, Default)]
pub struct Prints {
    template: String,
    known: Lookup<Box<str>, Name>,
}

impl Prints {
    /// The maximum number of templates that are remembered.
    const MOST: usize = 128;

    /// The fingerprint of what an entry says, as [`mask`] finds it.
    pub fn of(&mut self, said: &str) -> Name {
        self.template.clear();
        mask_into(&mut self.template, said, &[]);
        if let Some(known) = self.known.get(self.template.as_str()) {
            return known.clone();
        }
        let found = Name::from(print(&self.template));
        if self.known.len() >= Self::MOST {
            self.known.clear();
        }
        self.known.insert(self.template.as_str().into(), found.clone());
        found
    }
}

/// The masked line.
pub fn template(line: &str) -> String {
    masked(line, &[])
}

fn masked(line: &str, kept: &[String]) -> String {
    let mut out = String::with_capacity(line.len().min(TEMPLATE_CAP + 64));
    mask_into(&mut out, line, kept);
    out
}

/// Writes the masked line to an empty text. What is not masked is copied in pieces as long as possible.
fn mask_into(out: &mut String, line: &str, kept: &[String]) {
    let line = line.trim();
    // the text from `copied` to `at` is not written yet
    let (mut copied, mut at, mut before) = (0, 0, ' ');
    while let Some(rest) = line.get(at..)
        && let Some(c) = rest.chars().next()
    {
        let held = line.get(copied..at).unwrap_or_default();
        if out.len() + held.len() > TEMPLATE_CAP {
            out.push_str(held);
            out.push('…');
            copied = line.len();
            break;
        }
        let after = at + c.len_utf8();
        let end = if is_token(c) {
            let (length, kinds) = token(rest);
            let (token, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
            let is_kept = !kept.is_empty() && is_kept(kept, token);
            if !is_kept && is_day(token, tail) {
                out.push_str(held);
                out.push_str("<time>");
                copied = at + length;
            } else if !is_kept && !is_literal(token, kinds) {
                out.push_str(held);
                push_token(out, token, kinds);
                copied = at + length;
            }
            at + length
        } else if c.is_whitespace() {
            let written = if held.is_empty() { out.as_bytes() } else { held.as_bytes() };
            let again = written.last() == Some(&b' ');
            if again || c != ' ' {
                out.push_str(held);
                if !again {
                    out.push(' ');
                }
                copied = after;
            }
            after
        } else if let Some(length) = quoted(c, before, line.get(after..).unwrap_or_default()) {
            let quoted = line.get(after..after + length).unwrap_or_default();
            out.push_str(held);
            out.push(c);
            // requests with another method are another group
            out.push_str(METHODS.iter().find(|method| quoted.starts_with(**method)).unwrap_or(&""));
            out.push_str("<q>");
            out.push(c);
            copied = after + length + c.len_utf8();
            copied
        } else {
            after
        };
        (at, before) = (end, c);
    }
    out.push_str(line.get(copied..).unwrap_or_default());
    let end = out.trim_end().len();
    out.truncate(end);
}

/// The length of the text in quotes, if `c` opens one.
fn quoted(c: char, before: char, after: &str) -> Option<usize> {
    let quote = u8::try_from(c).ok().filter(|c| matches!(c, b'"' | b'\'' | b'`'))?;
    if before.is_alphanumeric() {
        return None;
    }
    memchr::memchr(quote, after.as_bytes())
}

/// A weekday or a month of a date: `Fri` and `Jun` of `Fri Jun 17 20:55:07`.
fn is_day(token: &str, next: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    if token.len() != 3 || !token.starts_with(|c: char| c.is_ascii_uppercase()) {
        return false;
    }
    let next = next.trim_start();
    let number = next.starts_with(|c: char| c.is_ascii_digit());
    MONTHS.contains(&token) && number
        || DAYS.contains(&token) && (number || MONTHS.iter().any(|month| next.starts_with(month)))
}

fn is_kept(kept: &[String], token: &str) -> bool {
    let bare = token.trim_matches([':', '.', '-', '_']);
    kept.iter().any(|word| word == token || word == bare)
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
        fn remembered_prints_are_those_of_the_masks(lines in prop::collection::vec("[a-c0-3 :._\"-]{0,12}", 0..300)) {
            let mut prints = Prints::default();
            for line in lines {
                let found = prints.of(&line);
                prop_assert_eq!(found.as_str(), mask(&line).fingerprint, "{}", line);
            }
        }

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
