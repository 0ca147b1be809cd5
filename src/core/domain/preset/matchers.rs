//! Matchers of labels in PromQL.

/// Returns the regular expression of a text whose `*` at the end stands for any text.
pub(crate) fn pattern(text: &str) -> String {
    match text.strip_suffix('*') {
        Some(start) => format!("{}.*", literal(start)),
        None => literal(text),
    }
}

/// Returns the matcher of a label with this value: `namespace="shop"`.
pub(crate) fn equals(label: &str, value: &str) -> String {
    format!("{label}={}", quoted(value))
}

/// Returns the matcher of a label with a regular expression.
pub(crate) fn matches(label: &str, regex: &str) -> String {
    format!("{label}=~{}", quoted(regex))
}

/// Returns a PromQL string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Returns the regular expression of a text.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r".+*?()|[]{}^$\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// One matcher: the label, whether its value is a regular expression, and the value as it is written between quotes.
type Matcher<'a> = (&'a str, bool, &'a str);

/// Splits the matchers of one service, as [`equals`] and [`matches`] write them. Returns `None` for other text.
fn parts(selector: &str) -> Option<Vec<Matcher<'_>>> {
    let (mut parts, mut rest) = (Vec::new(), selector);
    while !rest.is_empty() {
        let (label, after) = rest.split_once('=')?;
        let (is_regex, after) = after.strip_prefix('~').map_or((false, after), |after| (true, after));
        let quoted = after.strip_prefix('"')?;
        let mut escaped = false;
        let end = quoted.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        })?;
        let (value, after) = quoted.split_at_checked(end)?;
        parts.push((label, is_regex, value));
        rest = after.get(1..)?;
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(parts)
}

/// Merges the matchers of several services: `app="a"` and `app="b"` become `app=~"a|b"`. Services with other labels have
/// matchers of their own. The result can match more than these services: it has each value of one label with each value
/// of another.
pub(crate) fn together<'a>(selectors: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut groups: Vec<(Vec<Matcher<'a>>, Vec<Vec<&'a str>>)> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for selector in selectors {
        let Some(of) = parts(selector).filter(|of| !of.is_empty()) else {
            if !others.iter().any(|held| held == selector) {
                others.push(selector.to_owned());
            }
            continue;
        };
        // an absent label is not one value among others
        let is_same =
            |(a, b): (&Matcher<'_>, &Matcher<'_>)| (a.0, a.1, a.2.is_empty()) == (b.0, b.1, b.2.is_empty());
        let fits = |(first, _): &&mut (Vec<Matcher<'a>>, Vec<Vec<&'a str>>)| {
            first.len() == of.len() && first.iter().zip(&of).all(is_same)
        };
        if let Some((_, values)) = groups.iter_mut().find(fits) {
            for (held, (.., value)) in values.iter_mut().zip(&of) {
                if !held.contains(value) {
                    held.push(value);
                }
            }
        } else {
            let values = of.iter().map(|(.., value)| vec![*value]).collect();
            groups.push((of, values));
        }
    }
    let merged = |(of, values): (Vec<Matcher<'a>>, Vec<Vec<&'a str>>)| {
        let matcher = |((label, is_regex, _), values): (&Matcher<'a>, &Vec<&'a str>)| match values.as_slice()
        {
            [one] => format!("{label}={}\"{one}\"", if *is_regex { "~" } else { "" }),
            several => {
                let as_regex = |value: &&str| if *is_regex { (*value).to_owned() } else { escaped(value) };
                format!("{label}=~\"{}\"", several.iter().map(as_regex).collect::<Vec<_>>().join("|"))
            }
        };
        of.iter().zip(&values).map(matcher).collect::<Vec<_>>().join(",")
    };
    groups.into_iter().map(merged).chain(others).collect()
}

/// Returns the regular expression of a text that is written between quotes, for use between quotes.
fn escaped(written: &str) -> String {
    let text = written.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
    let regex = quoted(&literal(&text));
    regex.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_of_several_services_are_merged_if_their_labels_are_the_same() {
        for (selectors, merged) in [
            (&[r#"proxy="web""#][..], &[r#"proxy="web""#][..]),
            (&[r#"proxy="b.c""#, r#"proxy="a""#, r#"proxy="a""#], &[r#"proxy=~"b\\.c|a""#]),
            (&[r#"proxy="a\"b""#, r#"proxy="c""#], &[r#"proxy=~"a\"b|c""#]),
            (
                &[r#"namespace="shop",service="a""#, r#"namespace="shop",service="b""#],
                &[r#"namespace="shop",service=~"a|b""#],
            ),
            (
                &[r#"service="a",canary="""#, r#"job="b",service="""#, r#"service="c",canary="""#],
                &[r#"service=~"a|c",canary="""#, r#"job="b",service="""#],
            ),
            (&[r#"x=~"a.*,b""#, r#"x=~"c""#], &[r#"x=~"a.*,b|c""#]),
            (&["", "what"], &["", "what"]),
            (&[], &[]),
        ] {
            assert_eq!(together(selectors.iter().copied()), merged, "{selectors:?}");
        }
    }
}
