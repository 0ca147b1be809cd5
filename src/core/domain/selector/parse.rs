//! Selectors as kubectl's `-l` takes them: `app=web,tier in (a,b),!canary`.

use super::super::id::Name;
use super::{Operator, Requirement, Selector};

impl Selector {
    /// Parses a selector. The error says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let mut labels = Vec::new();
        let mut expressions = Vec::new();
        for part in parts(text) {
            match requirement(part.trim()) {
                Some(Requirement { key, operator: Operator::In, values }) if values.len() == 1 => {
                    labels.extend(values.first().map(|value| (key, value.clone())));
                }
                Some(requirement) => expressions.push(requirement),
                None => {
                    return Err(format!(
                        "`{}` is no part of a label selector: use KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY or !KEY",
                        part.trim()
                    ));
                }
            }
        }
        (found.labels, found.expressions) = (labels.into(), expressions.into());
        Ok(found)
    }
}

/// Splits at the commas that are not in parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    text.split(move |c: char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth <= 0
    })
}

fn requirement(part: &str) -> Option<Requirement> {
    let make = |key: &str, operator, values: Vec<&str>| {
        let key = key.trim();
        let is_key = !key.is_empty() && !key.contains([' ', '=', '!', '(', ')']);
        let values: Vec<Name> = values.into_iter().map(|value| Name::from(value.trim())).collect();
        let are_values = values.iter().all(|value| !value.contains([' ', '=', '!', '(', ')']));
        (is_key && are_values).then(|| Requirement { key: key.into(), operator, values: values.into() })
    };
    if let Some((before, set)) = part.split_once('(') {
        let (key, word) = before.trim().rsplit_once(' ')?;
        let operator = match word {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            _ => return None,
        };
        return make(key, operator, set.trim().strip_suffix(')')?.split(',').collect());
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Operator::NotIn, vec![value]);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Operator::In, vec![value]);
    }
    match part.strip_prefix('!') {
        Some(key) => make(key, Operator::DoesNotExist, Vec::new()),
        None => make(part, Operator::Exists, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_kubectl() {
        let labels = [("app".into(), "web".into()), ("tier".into(), "a".into())];
        for (text, wanted) in [
            ("app=web", true),
            ("app==web,tier=a", true),
            ("app=web, tier=b", false),
            ("app!=web", false),
            ("other!=x", true),
            ("tier in (a,b),app", true),
            ("tier notin (a, b)", false),
            ("!canary", true),
            ("!app", false),
            ("canary", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), wanted, "{text}");
        }
        for text in ["", "app=a=b", "app in a", "a b", "app=web,,x", "=x"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
