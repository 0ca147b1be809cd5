//! What rules find: the lines of NOW, and what they have to do with each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, ObjectRef};
use crate::domain::silence::Silence;
use crate::domain::time::Stamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// A finding of one rule, with what a person needs to judge and to act.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The rule's name: `node-not-ready`.
    pub rule: &'static str,
    pub severity: Severity,
    /// What is wrong, where, how much: one line.
    pub title: String,
    /// What it is about, the main object first.
    pub objects: Vec<ObjectRef>,
    pub since: Option<Stamp>,
    /// Lines for "why": what was seen, with numbers and where they come from; folded findings too.
    pub evidence: Vec<String>,
    pub action: Option<Suggestion>,
    /// How far it reaches, for ranking.
    pub reach: Reach,
    pub kin: Kin,
    pub course: Course,
}

impl Cause {
    /// Every finding that this line tells, by its rule and main object: its own first, then those folded into it. A line
    /// that stands for several of a kind has none of its own.
    pub fn tells(&self) -> Vec<(&'static str, ObjectRef)> {
        let mut all: Vec<_> = match self.objects.first() {
            Some(object) => vec![(self.rule, object.clone())],
            None => Vec::new(),
        };
        all.extend(
            self.kin.told.iter().filter(|told| Some(*told) != all.first()).cloned().collect::<Vec<_>>(),
        );
        all
    }
}

/// How a finding goes on. Rules leave it empty; it is filled in where their findings are collected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// When it was found first, by our clock.
    pub seen: Stamp,
    pub remedy: Option<Remedy>,
}

/// What somebody does about a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy {
    /// `rolled back 1.8.2→1.8.1`.
    pub what: String,
    pub at: Stamp,
    /// Who, by managedFields.
    pub by: Option<Name>,
    /// The error ratio when it began, where errors are what was found.
    pub before: Option<f64>,
    /// Since when all pods are the new ones.
    pub settled: Option<Stamp>,
    pub effect: Effect,
}

/// Whether a remedy helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is under way, or the figures still cover the time before.
    Pending,
    /// It gets better.
    Helps,
    /// It has had its time, and nothing is better.
    None,
}

/// What a finding has to do with others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kin {
    /// Findings of one rule that have one of these in common are told in one line; the first one counts first.
    pub alike: Vec<Alike>,
    /// The findings that the line tells beside its own, by rule and main object.
    pub told: Vec<(&'static str, ObjectRef)>,
}

/// A cause that several findings may share.
#[derive(Clone, Debug, PartialEq)]
pub struct Alike {
    pub by: AlikeBy,
    /// What several of them are called: `workloads`.
    pub noun: &'static str,
    /// What is said of all of them: `cannot start: FailedMount …`.
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlikeBy {
    /// The same reason, and the same words but for names and numbers; of one namespace if that is where it comes from.
    Said { reason: Name, template: String, namespace: Option<Name> },
    /// The same reason on one node.
    Node { reason: Name, node: Name },
}

/// A finding that is not shown among the others, because somebody said so.
#[derive(Clone, Debug, PartialEq)]
pub struct Silenced {
    pub cause: Arc<Cause>,
    pub by: Arc<Silence>,
}

/// How much is affected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reach {
    pub services: u32,
    pub pods: u32,
    pub nodes: u32,
    /// 0..1, where traffic is known.
    pub error_ratio: Option<f64>,
}

/// What the key in a NOW line opens: the id of a command of the table and its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// A command id (`cordon`, `rollout-restart`), which the front end maps to its key.
    pub command: &'static str,
    /// In words: `cordon node x`.
    pub title: String,
    pub on: ObjectRef,
}
