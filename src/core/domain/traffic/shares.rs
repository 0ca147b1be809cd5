//! The shares of a service's backends: observed, expected, and the verdict on the difference.

use std::fmt;

use super::Policy;
use crate::domain::id::Name;
use crate::domain::route::NoShare;
use crate::domain::time::Stamp;

/// One backend's share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub observed: Option<f64>,
    pub expected: Option<f64>,
    /// The lowest and the highest share that the policy explains. Under least connections, it depends on how many requests
    /// run at the same time. Under other policies, both are the expected share.
    pub range: Option<(f64, f64)>,
    /// The difference is large, more than noise, and seen in several polls. None = cannot be judged (no expectation, too
    /// few requests, out).
    pub significant: Option<bool>,
    /// The same verdict with its direction, and with differences that are not yet seen often enough.
    pub standing: Standing,
    /// Worth a mark: it is uneven, and does not only follow from another backend that gets too much.
    pub marked: bool,
    /// It gets nothing new: the balancer says that it is down, or it is no ready endpoint any more. What is still measured
    /// of it is from before.
    pub out: bool,
    /// It came into rotation within the window of its rates: they are of less than the others' are.
    pub new: bool,
    /// Under least connections and response time: its active connections per weight, relative to the mean of all
    /// backends (1.0 = level). A balancer that works keeps it level, also for a slow backend.
    pub level: Option<f64>,
    /// What the verdict remembers of earlier polls.
    pub trail: Trail,
}

impl Share {
    /// The observed share as a multiple of the expected one.
    pub fn times(&self) -> Option<f64> {
        let expected = self.expected.filter(|expected| *expected > 0.0)?;
        self.observed.map(|observed| observed / expected)
    }
}

/// How a backend's share compares with the expected one, over several polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// No share is expected, too few requests, out of rotation, or new.
    #[default]
    NotJudged,
    Even,
    /// It differs now, but not yet for long enough to be marked.
    Suspect,
    /// It gets more than its share, in several polls one after another.
    Over,
    /// It gets less than its share, in several polls one after another.
    Under,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJudged => "not judged",
            Self::Even => "even",
            Self::Suspect => "suspect",
            Self::Over => "over",
            Self::Under => "under",
        }
    }

    /// True if the difference counts: it is large, more than noise, and it lasts.
    pub fn is_uneven(self) -> bool {
        matches!(self, Self::Over | Self::Under)
    }
}

/// What the verdict on one backend remembers of earlier polls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trail {
    /// The number of polls in a row in which it differed in the same way: positive for too much, negative for too
    /// little.
    pub streak: i8,
    /// In as many of them, it differed strongly.
    pub strong: i8,
    /// It is out of rotation since then.
    pub out_since: Option<Stamp>,
    pub past: Rates,
}

/// The requests per second in some of the polls within the last window: enough for one from half a window ago, whatever
/// the interval of the polls. The size counts, because there are 10,000s of backends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    at: [Stamp; Self::KEPT],
    rps: [f32; Self::KEPT],
    len: u8,
}

impl Rates {
    const KEPT: usize = 4;

    /// Returns the rates with their times, the newest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Stamp, f64)> + Clone {
        let kept = usize::from(self.len).min(Self::KEPT);
        let rates = self.at.iter().zip(&self.rps).take(kept);
        rates.map(|(at, rps)| (*at, f64::from(*rps)))
    }

    /// Adds a rate, and forgets the oldest if there are too many.
    pub fn add(&mut self, at: Stamp, rps: f64) {
        self.at.rotate_right(1);
        self.rps.rotate_right(1);
        if let (Some(first), Some(rate)) = (self.at.first_mut(), self.rps.first_mut()) {
            (*first, *rate) = (at, rps as f32);
        }
        self.len = (self.len + 1).min(Self::KEPT as u8);
    }
}

/// A backend that is not ready and gets requests all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Stray {
    pub backend: Name,
    pub rps: f64,
}

/// How unevenly the requests of a service are distributed, compared with the expected shares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Imbalance {
    /// The largest multiple of its expected share that a backend gets: 1.8 = one backend gets 1.8 times its share. 1.0 =
    /// as expected.
    pub times: f64,
    /// The multiple that noise alone reaches with these requests. A smaller one says nothing.
    pub floor: f64,
    /// The index of the backend that gets it, in the order of the backends.
    pub backend: usize,
    /// Jain's index of the observed shares relative to the expected ones: 1.0 = even, 1/N = one backend gets everything.
    pub jain: f64,
    /// Jain's index that noise alone reaches.
    pub jain_floor: f64,
}

impl Imbalance {
    /// True if the figure is within what noise alone reaches.
    pub fn is_noise(&self) -> bool {
        self.times <= self.floor
    }
}

/// Why some or all backends of a service are not judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unjudged {
    /// The policy is not known, so no share is expected.
    UnknownPolicy,
    /// The policy is known, but the shares depend on what is not known.
    NoShare(NoShare),
    /// Weights or response times are missing, so no share is expected.
    NoWeights,
    /// A hash of the client or of the request chooses the backend, so an even share is expected only of many keys, and
    /// their number is not known.
    Hashed(Policy),
    /// All measured backends came within the window of the rates.
    AllNew,
    /// Too few requests in the window: `have` of about `need`.
    TooFew { have: f64, need: f64 },
    /// As many ready backends have no measurements. The shares are of the others.
    Silent(usize),
    /// As many backends are new within the window. The shares are of the others.
    New(usize),
}

impl fmt::Display for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPolicy => write!(f, "the policy is not known: no share is expected"),
            Self::NoShare(why) => why.fmt(f),
            Self::NoWeights => write!(f, "weights or response times are missing: no share is expected"),
            Self::Hashed(policy) => {
                write!(f, "not judged {}: how even it is depends on the number of keys", policy.as_str())
            }
            Self::AllNew => {
                write!(f, "all that are measured came within the window of the rates: not judged yet")
            }
            Self::TooFew { have, need } => {
                write!(f, "too few requests to judge ({have:.0} of {need:.0} in the window)")
            }
            Self::Silent(n) => {
                write!(f, "{n} ready, of which nothing is measured: shares are of the others")
            }
            Self::New(n) => write!(f, "{n} new within the window of the rates: shares are of the others"),
        }
    }
}

/// The shares of all backends of one service, in their order, and why a judgement is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    pub backends: Vec<Share>,
    /// Ready endpoints of which nothing is measured although they have been there for longer than the window: nothing was
    /// asked of them, or nobody measures them.
    pub silent: Vec<Name>,
    /// Ready endpoints of which nothing is measured yet: they came into rotation within the window of the rates.
    pub arriving: Vec<Name>,
    /// Backends that are not ready and get requests all the same, for longer than the window of the rates.
    pub stray: Vec<Stray>,
    /// The last poll that counted for the verdict, because it had new samples.
    pub counted: Option<Stamp>,
    /// How much more the observed shares vary than if each request went to a random backend (1.0), from earlier polls
    /// without a difference. Round robin is below, connections that carry many requests each are above.
    pub dispersion: Option<f64>,
    /// None if no backend is judged.
    pub imbalance: Option<Imbalance>,
    /// The most requests per second that one backend was seen to carry, since this program started.
    pub most_rps: Option<f64>,
    pub note: Option<Unjudged>,
}
