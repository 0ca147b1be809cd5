//! Groups of lines: tables, and the bounds of memory.

use super::*;
use crate::logs::fingerprint::mask;
use proptest::prelude::*;

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
