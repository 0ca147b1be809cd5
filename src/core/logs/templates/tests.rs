//! Groups of lines: tables, samples in the formats of common programs, and the bounds of memory.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::logs::fingerprint::mask;
use crate::logs::message::subject;
use proptest::prelude::*;

mod samples;

fn group(templates: &mut Templates, line: &str) -> Group {
    templates.group(&mask(line))
}

#[test]
fn lines_that_differ_in_names_are_one_group_and_what_happened_splits_them() {
    for (a, b, template) in [
        (
            "Invalid user webmaster from 10.0.0.1",
            "Invalid user chen from 10.0.0.2",
            Some("Invalid user <*> from <ip>"),
        ),
        (
            "cannot read /etc/app/main.conf: permission denied",
            "cannot read /etc/app/other.conf: permission denied",
            Some("cannot read <*> permission denied"),
        ),
        (
            "job failed with state=lost after 3 tries",
            "job failed with state=gone after 3 tries",
            Some("job failed with <*> after <n> tries"),
        ),
        ("instance spawned successfully", "instance destroyed successfully", None),
        ("took 5 seconds to spawn the instance", "took 5 seconds to destroy the instance", None),
        ("connection refused", "connection reset", None),
        ("user 7 not found", "order 7 not found", None),
        ("a: 1", "b: 2", None),
        ("timeout", "refused", None),
        ("", "", Some("")),
    ] {
        let mut templates = Templates::default();
        let (first, second) = (group(&mut templates, a), group(&mut templates, b));
        assert_eq!(first.fingerprint == second.fingerprint, template.is_some(), "{a} | {b}");
        assert_eq!(first.fingerprint.as_str(), mask(a).fingerprint, "the first line's");
        if let Some(template) = template {
            assert_eq!(second.template, *template);
            assert_eq!(group(&mut templates, a).template, *template, "the earlier line too");
        }
    }
}

#[test]
fn the_memory_is_bounded_and_what_is_in_use_stays() {
    let mut templates = Templates::default();
    let word = |mut n: usize| {
        let mut word = String::new();
        while n > 0 {
            word.push(char::from(b'a' + u8::try_from(n % 26).unwrap()));
            n /= 26;
        }
        word
    };
    let held = group(&mut templates, "the disk is full");
    for n in 0..2 * MOST {
        group(&mut templates, &format!("what {} does {} is {}", word(n), word(n * 7), word(n * 31)));
        group(&mut templates, "the disk is full");
    }
    assert!(templates.held.len() <= MOST && templates.known.len() <= MOST_KNOWN);
    assert_eq!(group(&mut templates, "the disk is full"), held);
}

/// The share of lines in groups that hold exactly the lines of one kind: the grouping accuracy of Zhu et al., ICSE 2019.
fn accuracy<T: std::hash::Hash + Eq>(found: &[T], wanted: &[String]) -> f64 {
    let mut kinds: BTreeMap<&String, Vec<&T>> = BTreeMap::new();
    let mut sizes: HashMap<&T, usize> = HashMap::new();
    for (found, wanted) in found.iter().zip(wanted) {
        kinds.entry(wanted).or_default().push(found);
        *sizes.entry(found).or_default() += 1;
    }
    let right = kinds.values().filter(|of| of.iter().all(|f| *f == of[0]) && sizes[of[0]] == of.len());
    right.map(Vec::len).sum::<usize>() as f64 / found.len() as f64
}

fn grouped<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Name> {
    let mut templates = Templates::default();
    lines.map(|line| group(&mut templates, line).fingerprint).collect()
}

/// The share of lines that have the same fingerprint if the lines come in another order.
fn stability(lines: &[String], found: &[Name]) -> f64 {
    let order: Vec<usize> = samples::shuffled(lines.len());
    let again = grouped(order.iter().map(|at| lines[*at].as_str()));
    let same = order.iter().zip(&again).filter(|(at, print)| found[**at] == **print);
    same.count() as f64 / lines.len() as f64
}

#[test]
fn samples_of_common_formats_are_grouped_as_their_authors_meant() {
    for (format, lines) in samples::all() {
        let wanted: Vec<String> = lines.iter().map(|(kind, _)| kind.to_string()).collect();
        let texts: Vec<String> = lines.iter().map(|(_, line)| subject(line).into_owned()).collect();
        let found = grouped(texts.iter().map(String::as_str));
        let (accuracy, stability) = (accuracy(&found, &wanted), stability(&texts, &found));
        eprintln!("{format:12} {:4} lines  accuracy {accuracy:.3}  stability {stability:.3}", lines.len());
        assert!(accuracy >= 0.95, "{format}: {accuracy:.3}");
        assert!(stability >= 0.75, "{format}: {stability:.3}");
    }
}

proptest! {
    #[test]
    fn a_line_is_always_of_the_same_group(lines in prop::collection::vec("[a-c]{1,2}( [a-c<>=/:1]{1,3}){0,5}", 1..40)) {
        let mut templates = Templates::default();
        let first: Vec<Name> = lines.iter().map(|line| group(&mut templates, line).fingerprint).collect();
        let again: Vec<Name> = lines.iter().map(|line| group(&mut templates, line).fingerprint).collect();
        prop_assert_eq!(first, again);
    }

    #[test]
    fn never_panics(lines in prop::collection::vec(any::<String>(), 0..8)) {
        let mut templates = Templates::default();
        for line in &lines {
            group(&mut templates, line);
        }
    }
}
