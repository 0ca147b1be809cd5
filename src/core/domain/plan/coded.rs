//! What a plan says to a person, as a code with its data. The words are made where they are shown.

use std::collections::BTreeSet;
use std::fmt;

use super::refusal::{FilterRefusal, Guard, NoRevision};
use super::{Access, StepKind, Unread};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::workload::ManagedBy;

/// An enum from a table: a code, a variant, its fields and its words. The fields before `;` say what it is about: in
/// another plan they are compared. Those behind it move by themselves (counts, ages, rates) and are not.
macro_rules! coded {
    (
        $(#[$meta:meta])*
        $name:ident
        $(
            $code:literal $variant:ident
            $({ $($about:ident: $about_type:ty),* $(; $($moving:ident: $moving_type:ty),+)? })?
            = $words:literal
        )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $(
                #[doc = $words]
                $variant $({ $($about: $about_type,)* $($($moving: $moving_type,)+)? })?,
            )*
        }

        impl $name {
            #[cfg(test)]
            pub(super) const CODES: &'static [&'static str] = &[$($code),*];

            /// Which it is, for scripts and comparisons.
            pub fn code(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $code, )*
                }
            }

            /// What each field is about that does not move by itself.
            fn about(&self) -> Vec<std::collections::BTreeSet<String>> {
                match self {
                    $( Self::$variant { $($($about,)*)? .. } => {
                        vec![$($($crate::domain::plan::coded::Subject::names($about),)*)?]
                    } )*
                }
            }

            /// True if a person who has read `read` knows this: the same code, about nothing else. Numbers that move by
            /// themselves may be others.
            pub fn is_told_by(&self, read: &Self) -> bool {
                let (now, then) = (self.about(), read.about());
                self.code() == read.code() && now.iter().zip(&then).all(|(now, then)| now.is_subset(then))
            }
        }

        // some fields are data only
        #[allow(unused_variables)]
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $( Self::$variant { $($($about,)* $($($moving,)+)?)? } => write!(f, $words), )*
                }
            }
        }
    };
}
pub(super) use coded;

/// A field of a warning or a refusal: which things it names.
pub trait Subject {
    fn names(&self) -> BTreeSet<String>;
}

/// What names one thing: itself.
macro_rules! one {
    ($($kind:ty),*) => {
        $(impl Subject for $kind {
            fn names(&self) -> BTreeSet<String> {
                [self.to_string()].into()
            }
        })*
    };
}
one!(
    Name,
    String,
    &'static str,
    Kind,
    ObjectRef,
    Uid,
    Guard,
    FilterRefusal,
    NoRevision,
    i32,
    i64,
    StepKind,
    Access,
    LastChange,
    InContext,
    Elsewhere
);

impl Subject for Unread {
    fn names(&self) -> BTreeSet<String> {
        let namespaces = self.namespaces.iter().map(ToString::to_string);
        namespaces.chain([self.what.as_str().to_owned()]).collect()
    }
}

/// Several of a kind; a person reads the first five: `a, b, c, d, e and 7 more`.
#[derive(Clone, Debug, PartialEq)]
pub struct Few<T>(pub Vec<T>);

impl<T: fmt::Display> fmt::Display for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 5;
        for (i, one) in self.0.iter().take(MOST).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{one}")?;
        }
        match self.0.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl<T: Subject> Subject for Few<T> {
    fn names(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(Subject::names).collect()
    }
}

/// Several of a kind, each of them in the words: `a, b, c`.
#[derive(Clone, Debug, PartialEq)]
pub struct All<T>(pub Vec<T>);

impl<T: fmt::Display> fmt::Display for All<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, one) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{one}")?;
        }
        Ok(())
    }
}

impl<T: Subject> Subject for All<T> {
    fn names(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(Subject::names).collect()
    }
}

/// A number of pods: `1 pod`, `3 pods`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods(pub usize);

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pod{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// `name` with a place or a number of its own: `shop/web (a)`.
#[derive(Clone, Debug, PartialEq)]
pub struct With<T> {
    pub name: String,
    pub of: T,
}

impl<T: fmt::Display> fmt::Display for With<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.of)
    }
}

/// Which it names: with its place, without its number.
impl Subject for With<Name> {
    fn names(&self) -> BTreeSet<String> {
        [self.to_string()].into()
    }
}

impl Subject for With<ManagedBy> {
    fn names(&self) -> BTreeSet<String> {
        [self.to_string()].into()
    }
}

impl Subject for With<i32> {
    fn names(&self) -> BTreeSet<String> {
        [self.name.clone()].into()
    }
}

/// The Service whose remaining backends get more requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Burden {
    pub service: String,
    pub backends: (u32, u32),
    /// Requests per second of one backend, before and after.
    pub rps: Option<(f64, f64)>,
}

impl fmt::Display for Burden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} to {} backends", self.service, self.backends.0, self.backends.1)?;
        match self.rps {
            Some((before, after)) => write!(f, " ({before:.1} to {after:.1} rps each)"),
            None => Ok(()),
        }
    }
}

impl Subject for Burden {
    fn names(&self) -> BTreeSet<String> {
        [self.service.clone()].into()
    }
}

/// Since when; empty where nobody knows: ` since 03:12:45 UTC`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since(pub Option<String>);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |at| write!(f, " since {at}"))
    }
}

/// Who changed a field last, and when: ` (last changed by kubectl at 2026-01-02T00:00:00Z)`; empty where nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastChange {
    /// As managedFields names it; None = not known.
    pub manager: Option<String>,
    /// As managedFields has it; may be empty.
    pub at: String,
}

impl fmt::Display for LastChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(manager) = &self.manager else { return Ok(()) };
        let at = if self.at.is_empty() { String::new() } else { format!(" at {}", self.at) };
        write!(f, " (last changed by {manager}{at})")
    }
}

/// The context of a step for which a right is asked: ` in context dr`; empty in the intent's own cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InContext(pub Name);

impl fmt::Display for InContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " in context {}", self.0) }
    }
}

/// What the server adds to its answer: ` (no RBAC policy matched)`; empty where it adds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason(pub String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// Where a step is: ` in dr`; empty in the intent's own cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere(pub Name);

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " in {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Guard, Refusal, Warning};
    use super::*;

    #[test]
    fn each_code_stands_for_one_thing() {
        for codes in [Warning::CODES, Refusal::CODES] {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(codes.iter().all(|code| code.chars().all(plain)), "{codes:?}");
            assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        }
    }

    #[test]
    fn a_warning_is_known_by_what_it_is_about_and_not_by_its_numbers() {
        let cordoned = |cordoned| Warning::ManyCordoned { cordoned, nodes: 9, most: 1 };
        assert!(cordoned(3).is_told_by(&cordoned(2)));
        let emptied = |zones: &[&str]| Warning::ZonesEmptied {
            zones: Few(zones.iter().map(|z| (*z).into()).collect()),
        };
        assert!(emptied(&["a"]).is_told_by(&emptied(&["a", "b"])));
        assert!(!emptied(&["a", "b"]).is_told_by(&emptied(&["a"])), "another zone is news");
        assert!(!cordoned(2).is_told_by(&emptied(&["a"])));
        let images = |a: &str, b: &str| Warning::ImagesDiffer {
            on: ObjectRef::new(Kind::Deployment, &"shop".into(), &"web".into(), &Uid::default()),
            images: All(vec![a.into()]),
            context: "test".into(),
            others: All(vec![b.into()]),
            other: "dr".into(),
        };
        assert!(
            !images("a:2", "a:1").is_told_by(&images("a:1", "a:2")),
            "each field is compared with itself"
        );
    }

    #[test]
    fn the_journal_keeps_the_words() {
        let warning = Warning::RoomUnknown;
        let line = serde_json::to_string(&warning).unwrap();
        assert_eq!(line, format!("\"{warning}\""));
        let read: Warning = serde_json::from_str(&line).unwrap();
        assert_eq!((read.code(), read.to_string()), ("recorded", warning.to_string()));
        let line = serde_json::to_string(&Refusal::NoNode).unwrap();
        assert_eq!(line, r#"{"guard":"precondition","reason":"no node is in it"}"#);
        let read: Refusal = serde_json::from_str(&line).unwrap();
        assert_eq!((read.guard(), read.to_string()), (Guard::Precondition, "no node is in it".into()));
    }

    #[test]
    fn a_line_names_five_and_counts_the_rest() {
        let names = |n: usize| Few((0..n).map(|i| format!("p{i}")).collect());
        assert_eq!(names(7).to_string(), "p0, p1, p2, p3, p4 and 2 more");
        assert_eq!(names(5).to_string(), "p0, p1, p2, p3, p4");
        assert_eq!((Pods(1).to_string(), Pods(2).to_string()), ("1 pod".into(), "2 pods".into()));
    }
}
