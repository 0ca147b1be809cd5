//! What can be assumed about the backends of a Service: which of them, which nodes, zones and weights there are.

use std::collections::BTreeMap;

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::policy::whatif::Change;

use super::backends::{Backend, collect};

/// What is assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    #[default]
    Backend,
    Node,
    Zone,
    More,
    Weight,
    PartWeight,
}

impl What {
    /// As the line of the box says it, before the name or the number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "without the backend",
            Self::Node => "without the node",
            Self::Zone => "without the zone",
            Self::More => "with more backends",
            Self::Weight => "another weight of",
            Self::PartWeight => "another weight of",
        }
    }
}

/// The most backends that can be added.
const MOST: u32 = 100;

/// An assumption: what it is about, and the name or number of each line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assumed {
    pub what: What,
    /// The chosen name of each line that has names.
    pub backend: Name,
    pub node: Name,
    pub zone: Name,
    pub weight_of: Name,
    pub part: Name,
    pub more: u32,
    /// The weights that differ from the current ones.
    pub weights: BTreeMap<Name, f64>,
    pub part_weights: BTreeMap<Name, f64>,
}

/// The names that can be chosen.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    pub backends: Vec<Name>,
    /// With the number of backends.
    pub nodes: Vec<(Name, usize)>,
    pub zones: Vec<(Name, usize)>,
    /// With the current weights.
    pub weights: Vec<(Name, f64)>,
    pub parts: Vec<(Name, f64)>,
}

impl Choices {
    /// Returns the choices of a Service.
    pub fn of(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let backends = collect(cluster, namespace, name);
        let measured = cluster.measured(namespace, name);
        let grouped = |of: fn(&Backend) -> Option<&Name>| -> Vec<(Name, usize)> {
            let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
            for value in backends.iter().filter_map(of) {
                *counts.entry(value.clone()).or_default() += 1;
            }
            counts.into_iter().collect()
        };
        let weight =
            |b: &Backend| Some((b.name.clone(), b.traffic.as_ref()?.weight.filter(|w| w.is_finite())?));
        let parts = measured.iter().flat_map(|row| row.balancing.split.iter());
        let mut choices = Self {
            nodes: grouped(|b| b.node.as_ref()),
            zones: grouped(|b| b.zone.as_ref()),
            weights: backends.iter().filter_map(weight).collect(),
            parts: parts.map(|part| (part.name.clone(), part.weight)).collect(),
            backends: backends.into_iter().map(|b| b.name).collect(),
        };
        choices.backends.sort();
        choices.weights.sort_by(|a, b| a.0.cmp(&b.0));
        choices
    }

    /// Returns the lines that have something to choose.
    pub fn lines(&self) -> Vec<What> {
        [
            (What::Backend, !self.backends.is_empty()),
            (What::Node, !self.nodes.is_empty()),
            (What::Zone, !self.zones.is_empty()),
            (What::More, !self.backends.is_empty()),
            (What::Weight, !self.weights.is_empty()),
            (What::PartWeight, !self.parts.is_empty()),
        ]
        .into_iter()
        .filter_map(|(what, is_there)| is_there.then_some(what))
        .collect()
    }

    fn names(&self, what: What) -> Vec<&Name> {
        match what {
            What::Backend => self.backends.iter().collect(),
            What::Node => self.nodes.iter().map(|(name, _)| name).collect(),
            What::Zone => self.zones.iter().map(|(name, _)| name).collect(),
            What::Weight => self.weights.iter().map(|(name, _)| name).collect(),
            What::PartWeight => self.parts.iter().map(|(name, _)| name).collect(),
            What::More => Vec::new(),
        }
    }
}

impl Assumed {
    fn name_mut(&mut self, what: What) -> Option<&mut Name> {
        match what {
            What::Backend => Some(&mut self.backend),
            What::Node => Some(&mut self.node),
            What::Zone => Some(&mut self.zone),
            What::Weight => Some(&mut self.weight_of),
            What::PartWeight => Some(&mut self.part),
            What::More => None,
        }
    }

    /// Replaces names that are not there any more, or were never chosen, by the first one.
    pub fn settle(&mut self, choices: &Choices) {
        for what in choices.lines() {
            let names = choices.names(what);
            let Some(held) = self.name_mut(what) else { continue };
            if !names.contains(&&*held) {
                *held = names.first().map_or_else(Name::default, |first| (*first).clone());
            }
        }
        if !choices.lines().contains(&self.what) {
            self.what = choices.lines().first().copied().unwrap_or_default();
        }
        self.more = self.more.clamp(1, MOST);
    }

    /// Goes to the next or previous line.
    pub fn step(&mut self, choices: &Choices, by: isize) {
        let lines = choices.lines();
        let at = lines.iter().position(|what| *what == self.what).unwrap_or(0);
        let next = at.saturating_add_signed(by).min(lines.len().saturating_sub(1));
        self.what = lines.get(next).copied().unwrap_or_default();
    }

    /// Chooses the next or previous name of the line, or another number.
    pub fn turn(&mut self, choices: &Choices, forward: bool) {
        let names = choices.names(self.what);
        let Some(held) = self.name_mut(self.what) else { return self.change(choices, forward) };
        let at = names.iter().position(|name| **name == *held).unwrap_or(0);
        let by = if forward { 1 } else { names.len().saturating_sub(1) };
        if let Some(next) = names.get((at + by) % names.len().max(1)) {
            *held = (*next).clone();
        }
    }

    /// Raises or lowers the number of the line. Returns without a change if the line has no number.
    pub fn change(&mut self, choices: &Choices, up: bool) {
        let (weights, name, current) = match self.what {
            What::More => {
                self.more = if up { self.more + 1 } else { self.more.saturating_sub(1) }.clamp(1, MOST);
                return;
            }
            What::Weight => (&mut self.weights, &self.weight_of, &choices.weights),
            What::PartWeight => (&mut self.part_weights, &self.part, &choices.parts),
            What::Backend | What::Node | What::Zone => return,
        };
        let Some((_, current)) = current.iter().find(|(held, _)| held == name) else { return };
        let step = (current / 10.0).round().max(1.0);
        let weight = weights.entry(name.clone()).or_insert(*current);
        *weight = (*weight + if up { step } else { -step }).max(0.0);
    }

    /// Whether the line has a number that can be changed.
    pub fn has_number(&self) -> bool {
        matches!(self.what, What::More | What::Weight | What::PartWeight)
    }

    /// Returns the assumed change. Returns `None` as long as a weight is the current one.
    pub fn assumes(&self, choices: &Choices) -> Option<Change> {
        let changed = |weights: &BTreeMap<Name, f64>, name: &Name, current: &[(Name, f64)]| {
            let weight = *weights.get(name)?;
            let now = current.iter().find(|(held, _)| held == name).map(|(_, now)| *now);
            (now != Some(weight)).then_some(weight)
        };
        match self.what {
            What::Backend => Some(Change::Drop(self.backend.clone())),
            What::Node => Some(Change::DropNode(self.node.clone())),
            What::Zone => Some(Change::DropZone(self.zone.clone())),
            What::More => Some(Change::Add { count: self.more, part: None }),
            What::Weight => changed(&self.weights, &self.weight_of, &choices.weights)
                .map(|weight| Change::Weight { backend: self.weight_of.clone(), weight }),
            What::PartWeight => changed(&self.part_weights, &self.part, &choices.parts)
                .map(|weight| Change::PartWeight { part: self.part.clone(), weight }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> Choices {
        Choices {
            backends: vec!["a".into(), "b".into(), "c".into()],
            nodes: vec![("n1".into(), 2), ("n2".into(), 1)],
            weights: vec![("a".into(), 100.0), ("b".into(), 1.0)],
            ..Choices::default()
        }
    }

    #[test]
    fn a_line_keeps_its_name_until_it_is_gone() {
        let mut choices = choices();
        let mut assumed = Assumed { backend: "b".into(), zone: "gone".into(), ..Assumed::default() };
        assumed.settle(&choices);
        assert_eq!((assumed.backend.as_str(), assumed.node.as_str(), assumed.more), ("b", "n1", 1));
        assert_eq!(assumed.assumes(&choices), Some(Change::Drop("b".into())));
        assumed.turn(&choices, true);
        assumed.turn(&choices, true);
        assert_eq!(assumed.backend, "a", "after the last one comes the first");
        assumed.turn(&choices, false);
        assert_eq!(assumed.backend, "c");
        choices.backends.pop();
        assumed.settle(&choices);
        assert_eq!(assumed.backend, "a");
    }

    #[test]
    fn lines_without_anything_to_choose_are_left_out() {
        let choices = choices();
        assert_eq!(choices.lines(), [What::Backend, What::Node, What::More, What::Weight]);
        let mut assumed = Assumed::default();
        assumed.settle(&choices);
        for what in [What::Node, What::More, What::Weight, What::Weight] {
            assumed.step(&choices, 1);
            assert_eq!(assumed.what, what);
        }
        assumed.step(&choices, -9);
        assert_eq!(assumed.what, What::Backend);
    }

    #[test]
    fn numbers_go_up_and_down_within_bounds() {
        let choices = choices();
        let mut assumed = Assumed { what: What::More, ..Assumed::default() };
        assumed.settle(&choices);
        assumed.change(&choices, false);
        assert_eq!(assumed.assumes(&choices), Some(Change::Add { count: 1, part: None }));
        assumed.turn(&choices, true);
        assert_eq!(assumed.more, 2);
        assumed.what = What::Weight;
        assert_eq!(assumed.assumes(&choices), None, "the current weight is no change");
        assumed.change(&choices, true);
        let weight = |assumed: &Assumed| match assumed.assumes(&choices) {
            Some(Change::Weight { weight, .. }) => weight,
            other => panic!("{other:?}"),
        };
        assert!((weight(&assumed) - 110.0).abs() < f64::EPSILON);
        assumed.turn(&choices, true);
        assumed.change(&choices, false);
        assumed.change(&choices, false);
        assert_eq!((weight(&assumed), assumed.weight_of.as_str()), (0.0, "b"), "no weight is below 0");
    }
}
