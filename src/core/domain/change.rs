//! Changes of the cluster: what changed, on which object, when, and who changed it.

use std::fmt::{self, Display, Formatter};

use super::id::{Name, ObjectRef};
use super::image;
use super::node::Status;
use super::time::Stamp;

/// A change in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub at: Stamp,
    pub kind: ChangeKind,
    pub object: ObjectRef,
    /// Who made the change, from managedFields or the journal.
    pub by: Option<Name>,
}

/// What changed. Its words are those after the object's name: `scaled 3→5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The template changed. `back`: it is an earlier template.
    Rollout {
        moved: Moved,
        back: bool,
    },
    /// New pods with the same images: a restart, or a changed setting.
    SameImages,
    Restarted,
    Paused,
    Resumed,
    /// The number of replicas changed.
    Scaled {
        from: i32,
        to: i32,
    },
    /// An autoscaler reported that it scaled its target to this number of replicas.
    Autoscaled(i32),
    /// minReplicas or maxReplicas of an autoscaler changed.
    Bound {
        bound: Bound,
        from: i32,
        to: i32,
    },
    Joined,
    Left,
    Cordoned,
    Uncordoned,
    /// The condition Ready changed.
    Ready {
        from: Status,
        to: Status,
    },
    /// A taint was added to a node.
    Tainted {
        key: Name,
        effect: Name,
    },
    /// A taint was removed from a node.
    Untainted {
        key: Name,
        effect: Name,
    },
    /// Labels of a pod were removed and added, as `key=value`.
    Labels {
        removed: Vec<String>,
        added: Vec<String>,
    },
    /// Pods of a node were evicted with the Eviction API. `cordoned_by` cordoned the node, and so usually drained it.
    Evicted {
        node: Name,
        pods: u32,
        cordoned_by: Option<Name>,
    },
}

/// A limit of an autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Min,
    Max,
}

/// What a rollout changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// One image, from one reference to another.
    Image { from: Name, to: Name },
    /// Several images.
    Images(usize),
    /// The template, but no image.
    Template,
    /// The images before are not known.
    Revision(i64),
}

impl Moved {
    /// Compares the images of two templates.
    pub fn between(old: &[Name], new: &[Name]) -> Self {
        let mut changed = old.iter().zip(new).filter(|(a, b)| a != b);
        match (changed.next(), changed.next()) {
            (None, _) => Self::Template,
            (Some((from, to)), None) => Self::Image { from: from.clone(), to: to.clone() },
            (Some(_), Some(_)) => Self::Images(2 + changed.count()),
        }
    }

    /// Returns the tags before and after. They are empty unless exactly one image changed, and only its tag.
    pub fn tags(&self) -> (Name, Name) {
        match self {
            Self::Image { from, to } if image::split(from).0 == image::split(to).0 => {
                (image::version(from).into(), image::version(to).into())
            }
            _ => Default::default(),
        }
    }

    /// Returns the words for a workload. An image with the workload's name is not named: `1.0→1.1`.
    pub fn of(&self, workload: &str) -> String {
        match self.tags() {
            (from, to) if self.image() == Some(workload) => format!("{from}→{to}"),
            _ => self.to_string(),
        }
    }

    /// Returns the name of the image whose tag changed.
    pub fn image(&self) -> Option<&str> {
        match self {
            Self::Image { from, to } => {
                let name = image::split(from).0;
                (name == image::split(to).0).then_some(name)
            }
            _ => None,
        }
    }
}

impl ChangeKind {
    /// Whether it is a change of the template that replaces pods.
    pub fn is_rollout(&self) -> bool {
        matches!(self, Self::Rollout { .. } | Self::SameImages)
    }

    /// Whether it is a change of the taints of a node.
    pub fn is_of_taints(&self) -> bool {
        matches!(self, Self::Tainted { .. } | Self::Untainted { .. })
    }

    /// Whether several objects with these changes are shown as one line: the same change, but for its numbers.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rollout { moved: a, .. }, Self::Rollout { moved: b, .. }) => match (a, b) {
                (Moved::Image { .. }, Moved::Image { .. }) => {
                    a == b || a.image().is_some() && a.image() == b.image()
                }
                (Moved::Images(_), Moved::Images(_))
                | (Moved::Template, Moved::Template)
                | (Moved::Revision(_), Moved::Revision(_)) => true,
                _ => false,
            },
            (Self::Scaled { .. }, Self::Scaled { .. }) | (Self::Autoscaled(_), Self::Autoscaled(_)) => true,
            (Self::Bound { bound: a, .. }, Self::Bound { bound: b, .. }) => a == b,
            // the evictions from one node are one change already
            (
                Self::Evicted { pods: a, cordoned_by: c, .. },
                Self::Evicted { pods: b, cordoned_by: d, .. },
            ) => (*a, *b) == (1, 1) && c == d,
            _ => self == other,
        }
    }

    /// Returns the words for several objects. If `exactly` is false, they differ in their numbers, which are left out.
    pub fn of_many(&self, exactly: bool) -> String {
        match self {
            Self::Rollout { moved, .. } if !exactly => match (moved.image(), moved) {
                (Some(image), _) => format!("rollout {image}"),
                (None, Moved::Images(_)) => "rollout of several images".into(),
                (None, Moved::Revision(_)) => "rollout to a new revision".into(),
                (None, _) => self.to_string(),
            },
            Self::Scaled { .. } if !exactly => "scaled".into(),
            Self::Autoscaled(_) if !exactly => "scaled their targets".into(),
            Self::Autoscaled(to) => format!("scaled their targets, now {to}"),
            Self::Bound { bound: Bound::Max, .. } if !exactly => "max".into(),
            Self::Bound { bound: Bound::Min, .. } if !exactly => "min".into(),
            _ => self.to_string(),
        }
    }
}

impl Display for Moved {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { from, to } => {
                let ((old, from), (new, to)) = (image::split(from), image::split(to));
                if old == new {
                    write!(f, "{old} {from}→{to}")
                } else {
                    write!(f, "{old}:{from}→{new}:{to}")
                }
            }
            Self::Images(many) => write!(f, "of {many} images"),
            Self::Template => f.write_str("of another template"),
            Self::Revision(revision) => write!(f, "to revision {revision}"),
        }
    }
}

impl Display for ChangeKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollout { moved, .. } => write!(f, "rollout {moved}"),
            Self::SameImages => f.write_str("new pods of the same images"),
            Self::Restarted => f.write_str("restarted"),
            Self::Paused => f.write_str("rollout paused"),
            Self::Resumed => f.write_str("rollout resumed"),
            Self::Scaled { from, to } => write!(f, "scaled {from}→{to}"),
            Self::Autoscaled(to) => write!(f, "scaled its target, now {to}"),
            Self::Bound { bound: Bound::Max, from, to } => write!(f, "max {from}→{to}"),
            Self::Bound { bound: Bound::Min, from, to } => write!(f, "min {from}→{to}"),
            Self::Joined => f.write_str("joined"),
            Self::Left => f.write_str("left"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::Uncordoned => f.write_str("uncordoned"),
            Self::Ready { from, to } => write!(f, "Ready {}→{}", from.as_str(), to.as_str()),
            Self::Tainted { key, effect } => write!(f, "taint {key}:{effect}"),
            Self::Untainted { key, effect } => write!(f, "no more taint {key}:{effect}"),
            Self::Labels { removed, added } => {
                f.write_str("labels")?;
                removed.iter().try_for_each(|label| write!(f, " -{label}"))?;
                added.iter().try_for_each(|label| write!(f, " +{label}"))
            }
            Self::Evicted { pods, cordoned_by, .. } => {
                match pods {
                    1 => f.write_str("evicted")?,
                    pods => write!(f, "{pods} pods evicted")?,
                }
                match cordoned_by {
                    Some(by) => write!(f, ", node cordoned by {by}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(images: &[&str]) -> Vec<Name> {
        images.iter().map(|image| (*image).into()).collect()
    }

    #[test]
    fn images_show_what_moved() {
        for (old, new, words, tags) in [
            (&["r.io/shop/app:1.0"][..], &["r.io/shop/app:1.1"][..], "app 1.0→1.1", ("1.0", "1.1")),
            (&["r.io/app:1.0", "side"], &["r.io/web:2", "side"], "app:1.0→web:2", ("", "")),
            (&["a:1", "b:1", "c:1"], &["a:2", "b:2", "c:2"], "of 3 images", ("", "")),
            (&["a:1"], &["a:1"], "of another template", ("", "")),
        ] {
            let moved = Moved::between(&names(old), &names(new));
            assert_eq!(moved.to_string(), words);
            assert_eq!(moved.tags(), (tags.0.into(), tags.1.into()));
        }
    }

    #[test]
    fn changes_are_alike_if_only_their_numbers_differ() {
        let image = |from: &str, to: &str| {
            let moved = Moved::Image { from: from.into(), to: to.into() };
            ChangeKind::Rollout { moved, back: false }
        };
        let evicted = |pods| ChangeKind::Evicted { node: "n".into(), pods, cordoned_by: None };
        let max = |to| ChangeKind::Bound { bound: Bound::Max, from: 1, to };
        let min = ChangeKind::Bound { bound: Bound::Min, from: 1, to: 2 };
        for (a, b, alike) in [
            (image("app:1", "app:2"), image("app:2", "app:3"), Some("rollout app")),
            (image("app:1", "app:2"), image("web:1", "web:2"), None),
            (ChangeKind::Scaled { from: 1, to: 2 }, ChangeKind::Scaled { from: 3, to: 9 }, Some("scaled")),
            (ChangeKind::Autoscaled(2), ChangeKind::Autoscaled(3), Some("scaled their targets")),
            (max(2), max(3), Some("max")),
            (max(2), min, None),
            (evicted(1), evicted(1), Some("evicted")),
            (evicted(2), evicted(2), None),
            (ChangeKind::Joined, ChangeKind::Left, None),
        ] {
            assert_eq!(a.is_like(&b).then(|| a.of_many(false)).as_deref(), alike, "{a:?} and {b:?}");
        }
    }
}
