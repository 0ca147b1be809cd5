//! Values that fields are compared with: numbers, durations and texts.

use std::cmp::Ordering;

use super::Op;
use super::glob::Glob;

/// A number as logs write it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Plain(f64),
    /// In seconds, from a number with a unit of time: `350ms`.
    Time(f64),
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, f64); 8] = [
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("μs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ];
        let finite = |text: &str| {
            let digits = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
            text.parse::<f64>().ok().filter(|number| digits && number.is_finite())
        };
        if let Some(plain) = finite(text) {
            return Some(Self::Plain(plain));
        }
        UNITS.iter().find_map(|(unit, secs)| finite(text.strip_suffix(unit)?).map(|n| Self::Time(n * secs)))
    }

    /// Numbers with and without a unit cannot be compared.
    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) | (Self::Time(a), Self::Time(b)) => a.partial_cmp(&b),
            _ => None,
        }
    }
}

/// The value of a term.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    glob: Glob,
    number: Option<Number>,
}

impl Value {
    pub(super) fn new(text: &str) -> Self {
        Self { glob: Glob::new(text), number: Number::parse(text) }
    }

    pub(super) fn source(&self) -> &str {
        self.glob.source()
    }

    /// Whether the value of a field compares like this with the value of the term.
    pub(super) fn compares(&self, op: Op, found: &str) -> bool {
        let order = self.number.and_then(|wanted| Number::parse(found)?.order(wanted));
        if op.is_equality() {
            let equal = order.is_some_and(Ordering::is_eq) || self.glob.matches(found);
            return equal == (op == Op::Equal);
        }
        match self.number {
            // a text is neither more nor less than a number
            Some(_) => order.is_some_and(|order| op.holds(order)),
            None => op.holds(found.cmp(self.source())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_durations_and_texts() {
        for (found, op, value, wanted) in [
            ("503", Op::AtLeast, "500", true),
            ("1e3", Op::More, "999", true),
            ("-1", Op::Less, "0", true),
            ("abc", Op::More, "5", false),
            ("NaN", Op::Less, "5", false),
            ("1.5s", Op::More, "900ms", true),
            ("2m", Op::Equal, "120s", true),
            ("350ms", Op::More, "1", false),
            ("2026-02-01", Op::More, "2026-01-31T", true),
            ("GET", Op::Equal, "GET|PUT", true),
            ("POST", Op::Unequal, "GET|PUT", true),
            ("0503", Op::Unequal, "503", false),
        ] {
            assert_eq!(Value::new(value).compares(op, found), wanted, "{found} {op:?} {value}");
        }
    }
}
