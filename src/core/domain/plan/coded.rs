//! The messages of a plan, as codes with data. The words are made where a message is shown.

use std::collections::BTreeSet;
use std::fmt;

use super::refusal::{FilterRefusal, Guard, NoRevision};
use super::{Access, StepKind, Unread};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::workload::ManagedBy;

/// Defines an enum from a table: code, variant, fields and words. The fields before `;` say what the message is
/// about, and two plans are compared by them. The fields after `;` change all the time (counts, ages, rates) and are
/// not compared.
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

            /// Returns the code, for scripts and comparisons.
            pub fn code(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $code, )*
                }
            }

            /// Returns the names in each field that is compared.
            fn about(&self) -> Vec<std::collections::BTreeSet<String>> {
                match self {
                    $( Self::$variant { $($($about,)*)? .. } => {
                        vec![$($($crate::domain::plan::coded::Subject::names($about),)*)?]
                    } )*
                }
            }

            /// Returns true if a person who has read `read` knows this message: `read` has the same code, and it
            /// names everything that this message names. Other fields may differ.
            pub fn is_told_by(&self, read: &Self) -> bool {
                let (now, then) = (self.about(), read.about());
                self.code() == read.code() && now.iter().zip(&then).all(|(now, then)| now.is_subset(then))
            }
        }

        // Some fields are not part of the words.
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

/// A field of a warning or a refusal, with the things that it names.
pub(super) trait Subject {
    fn names(&self) -> BTreeSet<String>;
}

/// Implements [`Subject`] for a type that names one thing.
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

/// A list of which the words show the first five: `a, b, c, d, e and 7 more`.
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

/// A list of which the words show every entry: `a, b, c`.
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

/// A name with its place or its number: `shop/web (a)`.
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

/// Names the place too. `With<i32>` does not name its number, because a number can change all the time.
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

/// A Service whose remaining backends get more requests.
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

/// A start time: ` since 03:12:45 UTC`. Empty if it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since(pub Option<String>);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |at| write!(f, " since {at}"))
    }
}

/// The last change of a field: ` (last changed by kubectl at 2026-01-02T00:00:00Z)`. Empty if it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastChange {
    /// The manager in managedFields. `None` if it is not known.
    pub manager: Option<String>,
    /// The time in managedFields. It can be empty.
    pub at: String,
}

impl fmt::Display for LastChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(manager) = &self.manager else { return Ok(()) };
        let at = if self.at.is_empty() { String::new() } else { format!(" at {}", self.at) };
        write!(f, " (last changed by {manager}{at})")
    }
}

/// The context of the step that needs a permission: ` in context dr`. Empty for the intent's own cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InContext(pub Name);

impl fmt::Display for InContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " in context {}", self.0) }
    }
}

/// The server's explanation of its answer: ` (no RBAC policy matched)`. Empty if it gives none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason(pub String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// The context of a step: ` in dr`. Empty for the intent's own cluster.
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
    use crate::domain::id::ClusterId;

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
            on: ObjectRef::new(
                ClusterId(0),
                Kind::Deployment,
                &"shop".into(),
                &"web".into(),
                &Uid::default(),
            ),
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
        assert_eq!(line, r#"{"guard":"precondition","reason":"the plan selects no node"}"#);
        let read: Refusal = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (read.guard(), read.to_string()),
            (Guard::Precondition, "the plan selects no node".into())
        );
    }

    #[test]
    fn a_line_names_five_and_counts_the_rest() {
        let names = |n: usize| Few((0..n).map(|i| format!("p{i}")).collect());
        assert_eq!(names(7).to_string(), "p0, p1, p2, p3, p4 and 2 more");
        assert_eq!(names(5).to_string(), "p0, p1, p2, p3, p4");
        assert_eq!((Pods(1).to_string(), Pods(2).to_string()), ("1 pod".into(), "2 pods".into()));
    }
}
