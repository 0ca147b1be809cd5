//! Forms of the ids that systems give to services: `httproute/{namespace}/{name}/rule/{}`. `{namespace}` and `{name}` are
//! the parts that are read, and `{}` stands for any text.

use super::matchers::literal;

/// A part of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'f> {
    Literal(&'f str),
    Namespace,
    Name,
    Any,
}

/// The most readings of one id that are tried.
const MOST_READINGS: usize = 8;

/// Returns the parts of a form.
fn parts(form: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for (i, piece) in form.split('{').enumerate() {
        let mut literal = piece;
        if i > 0
            && let Some((hole, rest)) = piece.split_once('}')
        {
            parts.push(match hole {
                "namespace" => Part::Namespace,
                "name" => Part::Name,
                _ => Part::Any,
            });
            literal = rest;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
    }
    parts
}

/// Returns what is wrong with a form, if anything.
pub fn fault(form: &str) -> Option<&'static str> {
    if form.is_empty() {
        return None;
    }
    let parts = parts(form);
    let count = |part: Part<'_>| parts.iter().filter(|one| **one == part).count();
    let is_hole = |part: &Part<'_>| !matches!(part, Part::Literal(_));
    if count(Part::Name) != 1 {
        Some("must have {name} once")
    } else if count(Part::Namespace) > 1 {
        Some("must have {namespace} at most once")
    } else if parts.windows(2).any(|pair| pair.iter().all(is_hole)) {
        Some("must have a text between two placeholders")
    } else {
        None
    }
}

/// One way to read an id: a namespace, which is empty if the form has none, and a name.
pub type Reading<'v> = (&'v str, &'v str);

/// Returns the ways to read an id, the likeliest first; none if it does not have the form. A dash that separates two
/// parts can be part of a name as well, so there can be several: the namespace is taken as short as possible, and the
/// name as long as possible.
pub fn readings<'v>(form: &str, id: &'v str) -> Vec<Reading<'v>> {
    let mut found = Vec::new();
    walk(&parts(form), id, ("", ""), &mut found);
    found
}

fn walk<'v>(parts: &[Part<'_>], rest: &'v str, read: Reading<'v>, found: &mut Vec<Reading<'v>>) {
    if found.len() >= MOST_READINGS {
        return;
    }
    let Some((part, more)) = parts.split_first() else {
        if rest.is_empty() && !read.1.is_empty() && !found.contains(&read) {
            found.push(read);
        }
        return;
    };
    if let Part::Literal(literal) = part {
        if let Some(rest) = rest.strip_prefix(literal) {
            walk(more, rest, read, found);
        }
        return;
    }
    let mut ends: Vec<usize> = match more.first() {
        Some(Part::Literal(literal)) => rest.match_indices(literal).map(|(at, _)| at).collect(),
        _ => vec![rest.len()],
    };
    if *part == Part::Name {
        ends.reverse();
    }
    for end in ends {
        let Some((taken, after)) = rest.split_at_checked(end) else { continue };
        let read = match part {
            Part::Namespace if is_name(taken, false) => (taken, read.1),
            Part::Name if is_name(taken, true) => (read.0, taken),
            Part::Any => read,
            _ => continue,
        };
        walk(more, after, read, found);
    }
}

/// Whether a text can be the name of an object. The name of a route can have dots, a namespace cannot.
fn is_name(text: &str, dots: bool) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || (dots && b == b'.');
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(fits)
}

/// Returns the regular expression of the ids of one service.
pub fn regex(form: &str, namespace: &str, name: &str) -> String {
    let part = |part: &Part<'_>| match part {
        Part::Literal(text) => literal(text),
        Part::Namespace => literal(namespace),
        Part::Name => literal(name),
        Part::Any => ".*".to_owned(),
    };
    parts(form).iter().map(part).collect()
}
