//! Service level objectives: the share of requests that should be good, what was measured of it, and the verdict.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::{Stamp, age};

/// Who defines an objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Definer {
    /// `[slo."NAMESPACE/NAME"]` in the config.
    #[default]
    Config,
    /// The recording rules that Sloth generates.
    Sloth,
    /// The recording rules that Pyrra generates.
    Pyrra,
}

impl Definer {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Sloth => "Sloth",
            Self::Pyrra => "Pyrra",
        }
    }
}

/// Which requests are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Good {
    /// Those without a server error.
    #[default]
    Answered,
    /// Those that took no longer than this.
    Within { ms: u32 },
    /// The rules of Sloth or Pyrra decide.
    Recorded,
}

/// The objective of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Empty if the rules do not say it, and for a proxy outside the cluster.
    pub namespace: Name,
    /// The Service, or what the rules call it.
    pub service: Name,
    /// `availability`, `latency`, or the name in the rules.
    pub name: Name,
    pub by: Definer,
    pub good: Good,
    /// The share of requests that should be good, 0..1.
    pub target: f64,
    pub window_secs: u64,
}

impl Objective {
    /// Returns the share of requests that may be bad, or `None` if none may be.
    pub fn budget(&self) -> Option<f64> {
        Some(1.0 - self.target).filter(|budget| *budget > 1e-9 && *budget <= 1.0)
    }
}

impl fmt::Display for Objective {
    /// Writes `availability 99.9 % over 30d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} %", self.name, percent(self.target))?;
        if let Good::Within { ms } = self.good {
            write!(f, " within {ms} ms")?;
        }
        write!(f, " over {}", window(self.window_secs))
    }
}

/// Returns a share as a percentage with the digits that it needs: `99.9`, `99.95`, `100`.
pub fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns a measured share as a percentage: `99.95`, `11.1`. Near to 100, more digits mean something.
pub fn measured(share: f64) -> String {
    let percent = share * 100.0;
    let text = if percent >= 99.0 { format!("{percent:.3}") } else { format!("{percent:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns a length of time in its largest unit: `5m`, `6h`, `30d`.
pub fn window(secs: u64) -> String {
    match secs {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s < 7_200 => format!("{}m", s / 60),
        s => age(s.saturating_mul(1000)),
    }
}

/// The share of bad requests over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    pub window_secs: u64,
    /// 0..1; `None` if it is not known.
    pub bad: Option<f64>,
    /// The number of requests in the window; `None` if it is not known.
    pub requests: Option<f64>,
    pub at: Stamp,
}

/// An objective with what was measured of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub objective: Objective,
    pub ratios: Vec<Ratio>,
    /// Why something is not known, or how it was measured.
    #[serde(default)]
    pub note: Option<Name>,
}

/// All objectives that a source knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectivesSeen {
    pub at: Stamp,
    pub objectives: Arc<[Arc<Measured>]>,
}

/// How fast the error budget is used over a long and a short window. A rate of 1 uses exactly the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Burn {
    pub long_secs: u64,
    pub short_secs: u64,
    /// The rate that is too high if both windows have it.
    pub factor: f64,
    pub long: Option<f64>,
    pub short: Option<f64>,
    /// The number of bad requests in the long window is too small to judge.
    pub few: bool,
}

impl Burn {
    /// Returns true if both windows are at the factor. `eased` lowers the factor for what was found before, so that a
    /// finding does not flicker.
    pub fn is_on(&self, eased: f64) -> bool {
        let high = |burn: Option<f64>| burn.is_some_and(|burn| burn >= self.factor * eased);
        high(self.long) && high(self.short) && !self.few
    }

    /// Returns true if one of the windows shows that the rate is not too high.
    pub fn is_off(&self) -> bool {
        let low = |burn: Option<f64>| burn.is_some_and(|burn| burn < self.factor);
        low(self.long) || low(self.short) || self.few
    }
}

/// The state of an objective. The worst one comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SloState {
    #[default]
    Unknown,
    Fine,
    /// A pair of longer windows is at its factor.
    BurningSlowly,
    /// No error budget is left.
    Spent,
    /// The pair of the shortest windows is at its factor.
    BurningFast,
}

impl SloState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fine => "fine",
            Self::BurningSlowly => "burning-slowly",
            Self::Spent => "spent",
            Self::BurningFast => "burning-fast",
        }
    }
}

/// Why the verdict is what it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SloReason {
    /// Nothing was measured.
    #[default]
    NotMeasured,
    /// The objective allows no bad request, so there is no budget.
    NoBudget,
    /// A window is not known, and the others do not decide.
    Missing {
        window_secs: u64,
    },
    Burning(Burn),
    /// All of the budget, or more, was used; the share that is left, 0 or less.
    Spent {
        left: f64,
    },
    /// No pair of windows is at its factor.
    Within,
    /// The same, and a pair with too few bad requests was not judged.
    FewRequests {
        window_secs: u64,
    },
}

impl fmt::Display for SloReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMeasured => f.write_str("nothing is measured"),
            Self::NoBudget => f.write_str("an objective of 100 % has no error budget"),
            Self::Missing { window_secs } => {
                write!(f, "the errors over {} are not known", window(*window_secs))
            }
            Self::Burning(burn) => write!(
                f,
                "burns {} over {} and {} over {}, too high from {} on",
                rate(burn.long),
                window(burn.long_secs),
                rate(burn.short),
                window(burn.short_secs),
                rate(Some(burn.factor))
            ),
            Self::Spent { left } if *left < 0.0 => {
                write!(f, "the budget is spent {} times", short(1.0 - left))
            }
            Self::Spent { .. } => f.write_str("the budget is spent"),
            Self::Within => f.write_str("no burn rate is too high"),
            Self::FewRequests { window_secs } => {
                write!(f, "too few bad requests over {} to judge", window(*window_secs))
            }
        }
    }
}

/// Returns a number with one digit after the point, if it has one: `14.4`, `6`.
fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Returns a burn rate: `14.4x`.
pub fn rate(burn: Option<f64>) -> String {
    burn.map_or_else(|| "–".into(), |burn| format!("{}x", short(burn)))
}

/// The verdict on an objective.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SloVerdict {
    pub state: SloState,
    pub why: SloReason,
    /// The share of good requests over the objective's window, 0..1.
    pub availability: Option<f64>,
    /// The share of the error budget that is left: 1 is all of it, less than 0 is more than spent.
    pub budget_left: Option<f64>,
    /// The pairs of windows, the shortest first.
    pub burns: Vec<Burn>,
    /// When the rest of the budget will be used at the rate of the pair that is too high, in seconds.
    pub gone_in_secs: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_they_need() {
        for (share, text) in [(0.999, "99.9"), (0.9995, "99.95"), (1.0, "100"), (0.9, "90"), (0.0, "0")] {
            assert_eq!(percent(share), text);
        }
        for (secs, text) in
            [(300, "5m"), (1800, "30m"), (3600, "1h"), (21_600, "6h"), (86_400, "1d"), (2_592_000, "30d")]
        {
            assert_eq!(window(secs), text);
        }
        assert_eq!(
            (rate(Some(14.4)), rate(Some(15.0)), rate(None)),
            ("14.4x".into(), "15x".into(), "–".into())
        );
    }

    #[test]
    fn an_objective_without_room_has_no_budget() {
        let of = |target| Objective { target, ..Objective::default() }.budget();
        assert_eq!((of(1.0), of(1.2)), (None, None));
        assert!((of(0.999).unwrap() - 0.001).abs() < 1e-12);
    }
}
