//! Kubernetes quantities (`100m`, `128Mi`, `1e3`, `15800000n`) in exact integers.
//!
//! Semantics: apimachinery's `resource.Quantity`. Values are exact to the nano, and are rounded **up** for a coarser
//! unit, as `MilliValue` and `Value` do.

use serde::{Deserialize, Serialize};

const NANO: i128 = 1_000_000_000;

/// The quantity in billionths of its unit; None if the text is not a quantity.
pub fn nanos(text: &str) -> Option<i128> {
    let text = text.trim();
    let split = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (mut number, mut suffix) = text.split_at_checked(split)?;
    // An exponent's sign ends the suffix scan early: "1e-3" splits as ("1", "e-3"), "1e3" as ("1", "e3").
    let mut exponent = 0i32;
    if let Some(rest) = suffix.strip_prefix(['e', 'E'])
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+')
    {
        exponent = rest.parse().ok().filter(|e: &i32| e.abs() <= 30)?;
        suffix = "";
    }
    let negative = number.starts_with('-');
    number = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || whole.len() > 20 {
        return None;
    }
    let (scale, shift): (i128, i32) = match suffix {
        "" => (NANO, 0),
        "n" => (1, 0),
        "u" => (1_000, 0),
        "m" => (1_000_000, 0),
        "k" => (NANO, 3),
        "M" => (NANO, 6),
        "G" => (NANO, 9),
        "T" => (NANO, 12),
        "P" => (NANO, 15),
        "E" => (NANO, 18),
        "Ki" => (NANO << 10, 0),
        "Mi" => (NANO << 20, 0),
        "Gi" => (NANO << 30, 0),
        "Ti" => (NANO << 40, 0),
        "Pi" => (NANO << 50, 0),
        "Ei" => (NANO << 60, 0),
        _ => return None,
    };
    let mut value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? }.checked_mul(scale)?;
    let mut part = scale;
    let mut rest = 0i128;
    let mut divisor = 1i128;
    for byte in fraction.bytes().take(12) {
        divisor *= 10;
        rest = rest * 10 + i128::from(byte - b'0');
    }
    part = part.checked_mul(rest)?;
    value = value.checked_add(ceil_div(part, divisor))?;
    let power = shift + exponent;
    value = if power >= 0 {
        value.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?
    } else {
        ceil_div(value, 10i128.checked_pow(power.unsigned_abs())?)
    };
    Some(if negative { -value } else { value })
}

fn ceil_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

/// Thousandths, rounded up: CPU in millicores.
pub fn milli(text: &str) -> Option<i64> {
    i64::try_from(ceil_div(nanos(text)?, 1_000_000)).ok()
}

/// Whole units, rounded up: bytes, pods.
pub fn whole(text: &str) -> Option<i64> {
    i64::try_from(ceil_div(nanos(text)?, NANO)).ok()
}

/// The resources that Pilothouse computes with: CPU in millicores, the others in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
}

impl Resources {
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    pub fn minus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }

    pub fn max(self, other: Self) -> Self {
        self.zip(other, Ord::max)
    }

    /// True if each resource of `self` is at most that of `room`.
    pub fn fits(self, room: Self) -> bool {
        self.cpu_milli <= room.cpu_milli
            && self.memory_bytes <= room.memory_bytes
            && self.ephemeral_bytes <= room.ephemeral_bytes
    }

    fn zip(self, other: Self, with: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            cpu_milli: with(self.cpu_milli, other.cpu_milli),
            memory_bytes: with(self.memory_bytes, other.memory_bytes),
            ephemeral_bytes: with(self.ephemeral_bytes, other.ephemeral_bytes),
        }
    }
}

/// CPU in a readable form: `1500m` below ten cores, whole cores above.
pub fn show_cpu(milli: i64) -> String {
    if milli % 1000 == 0 { format!("{}", milli / 1000) } else { format!("{milli}m") }
}

/// `512Mi`, `62Gi`: the largest binary unit that leaves at least two digits.
pub fn show_bytes(bytes: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size * 10 || bytes % size == 0 && bytes >= size {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}")
}

/// The unit of a metric, for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// Bytes: `25Mi`, `1.5Gi`.
    Bytes,
    /// CPU: `250m`, `2`, as kubectl writes it.
    Cpu,
    /// Anything else: `338k`, `0.25`.
    #[default]
    Plain,
}

impl Counts {
    /// The unit according to the metric's name, or to a target in binary units.
    pub fn of(name: &str, target_milli: i64) -> Self {
        const MEBI: i64 = (1 << 20) * 1000;
        match name.rsplit('/').next().unwrap_or(name) {
            "cpu" => Self::Cpu,
            "memory" | "ephemeral-storage" => Self::Bytes,
            _ if target_milli > 0 && target_milli % MEBI == 0 => Self::Bytes,
            _ => Self::Plain,
        }
    }
}

/// A quantity in thousandths in a readable form, with at most three significant digits (a whole number below a thousand
/// keeps all of its digits).
pub fn show_milli(milli: i64, counts: Counts) -> String {
    match counts {
        Counts::Cpu => show_cpu(milli),
        Counts::Bytes => scaled(milli, 1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"]),
        Counts::Plain => scaled(milli, 1000, ["", "k", "M", "G", "T", "P"]),
    }
}

/// Uses the largest unit that leaves a digit before the point; rounds half up.
fn scaled(milli: i64, step: u128, units: [&str; 6]) -> String {
    let sign = if milli < 0 { "-" } else { "" };
    let milli = u128::from(milli.unsigned_abs());
    let mut size = 1000u128;
    for (i, unit) in units.iter().enumerate() {
        let last = i + 1 == units.len();
        let whole = milli / size;
        // as many decimals as give three digits (1.25, 12.5, 125); for values below the smallest unit, all decimals
        let decimals = match whole {
            0 if i == 0 => 3,
            0..10 => 2,
            // `12.5k` is a value that somebody set; for a measured value, `25Mi` is precise enough
            10..100 if i == 0 || (milli * 10) % size == 0 => 1,
            _ => 0,
        };
        let ten = 10u128.pow(decimals);
        let rounded = (milli * ten + size / 2) / size;
        if rounded / ten >= step && !last {
            size *= step;
            continue;
        }
        let fraction = format!("{:0width$}", rounded % ten, width = decimals as usize);
        let fraction = if decimals == 0 { "" } else { fraction.trim_end_matches('0') };
        let point = if fraction.is_empty() { "" } else { "." };
        return format!("{sign}{}{point}{fraction}{unit}", rounded / ten);
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn metrics_as_people_write_them() {
        for (text, name, want) in [
            ("25929728", "memory", "25Mi"),
            ("1Gi", "memory", "1Gi"),
            ("1.5Gi", "app/memory", "1.5Gi"),
            ("1000Mi", "memory", "1000Mi"),
            ("1023Ki", "memory", "1023Ki"),
            ("512", "memory", "512"),
            ("338162044m", "queue_bytes", "338k"),
            ("10k", "queue_bytes", "10k"),
            ("1Gi", "queue_bytes", "1Gi"),
            ("250m", "queue", "0.25"),
            ("500m", "queue", "0.5"),
            ("1m", "queue", "0.001"),
            ("12500m", "queue", "12.5"),
            ("12345m", "queue", "12.3"),
            ("12500", "queue", "12.5k"),
            ("12512", "queue", "13k"),
            ("30", "queue", "30"),
            ("999", "queue", "999"),
            ("999600m", "queue", "1k"),
            ("1500", "queue", "1.5k"),
            ("1234567", "queue", "1.23M"),
            ("-1500", "queue", "-1.5k"),
            ("0", "queue", "0"),
            ("250m", "cpu", "250m"),
            ("1500m", "app/cpu", "1500m"),
            ("2", "cpu", "2"),
        ] {
            let value = milli(text).unwrap();
            assert_eq!(show_milli(value, Counts::of(name, value)), want, "{name} {text}");
        }
        assert_eq!(show_milli(i64::MAX, Counts::Plain), "9.22P");
        assert_eq!(show_milli(i64::MIN, Counts::Bytes), "-8.19Pi");
    }

    #[test]
    fn reads_what_kubernetes_writes() {
        for (text, want) in [
            ("100m", 100),
            ("0.1", 100),
            ("2", 2000),
            ("1e3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("15800000n", 16),
            ("250u", 1),
            ("1.5", 1500),
            ("1e-2", 10),
            ("-1", -1000),
        ] {
            assert_eq!(nanos(text).map(|v| ceil_div(v, 1_000_000)), Some(want), "{text}");
        }
        assert_eq!(whole("128Mi"), Some(134_217_728));
        assert_eq!(whole("1.5Gi"), Some(1_610_612_736));
        assert_eq!(whole("90k"), Some(90_000));
        for bad in ["", "m", "1x", "1.2.3", "--1", "1 000", "0x10", "٣", "1e400"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,24}") {
            nanos(&text);
        }

        #[test]
        fn what_is_shown_is_near_what_it_is(n in 0i64..1_000_000_000_000_000) {
            for counts in [Counts::Bytes, Counts::Plain] {
                let shown = show_milli(n, counts);
                let back = milli(&shown).unwrap();
                prop_assert!((back - n).abs() <= n / 19 + 1, "{} for {}", shown, n);
                prop_assert!(shown.len() <= 7, "{}", shown);
            }
        }

        #[test]
        fn milli_is_exact(n in 0i64..1_000_000_000) {
            prop_assert_eq!(milli(&format!("{n}m")), Some(n));
            prop_assert_eq!(milli(&n.to_string()), Some(n * 1000));
        }
    }
}
