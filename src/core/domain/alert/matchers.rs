//! Reads matchers as people type them, in amtool's form: `alertname="Full", namespace=~"shop|pay"`. The braces around
//! them, the commas and the quotes of a value without spaces can be left out.

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

use super::silence::Matcher;
use crate::domain::id::Name;

/// Returns the matchers of a text, or what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let text = text.trim();
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let mut rest = text.chars().peekable();
    let mut matchers = Vec::new();
    loop {
        while rest.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        if rest.peek().is_none() {
            break;
        }
        matchers.push(matcher(&mut rest)?);
    }
    if matchers.is_empty() {
        return Err("at least one matcher is needed, for example alertname=\"Full\"".into());
    }
    Ok(matchers)
}

fn matcher(rest: &mut Peekable<Chars<'_>>) -> Result<Matcher, String> {
    let name = take(rest, |c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let found = take(rest, |c| !c.is_whitespace() && c != ',');
        return Err(format!(
            "`{name}{found}` does not begin with the name of a label, as in alertname=\"Full\""
        ));
    }
    take(rest, char::is_whitespace);
    let operator = take(rest, |c| matches!(c, '=' | '!' | '~'));
    let (is_regex, is_equal) = match operator.as_str() {
        "=" => (false, true),
        "!=" => (false, false),
        "=~" => (true, true),
        "!~" => (true, false),
        _ => return Err(format!("`{name}{operator}`: after the label comes one of = != =~ !~")),
    };
    take(rest, char::is_whitespace);
    let value = if rest.next_if_eq(&'"').is_some() {
        quoted(rest).ok_or_else(|| format!("`{name}{operator}`: the value has no closing quote"))?
    } else {
        take(rest, |c| !c.is_whitespace() && c != ',')
    };
    if is_regex && let Err(error) = Regex::new(&format!("^(?s:{value})$")) {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        return Err(format!("`{name}{operator}`: the regular expression cannot be read: {why}"));
    }
    Ok(Matcher { name: name.into(), value: Name::from(value), is_regex, is_equal })
}

/// Takes the characters that are accepted.
fn take(rest: &mut Peekable<Chars<'_>>, accepts: impl Fn(char) -> bool) -> String {
    let mut taken = String::new();
    while let Some(c) = rest.next_if(|c| accepts(*c)) {
        taken.push(c);
    }
    taken
}

/// Takes the rest of a quoted value. Returns `None` if its end is missing.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut value = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(value),
            '\\' => match rest.next()? {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                // of a regular expression
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_as_they_are_written() {
        for (text, want) in [
            (r#"alertname="Full""#, r#"alertname="Full""#),
            (r#"{alertname="Full", namespace=~"shop|pay"}"#, r#"alertname="Full" namespace=~"shop|pay""#),
            (
                r"alertname=Full  pod!~web-.*,severity != info",
                r#"alertname="Full" pod!~"web-.*" severity!="info""#,
            ),
            (r#"a="say \"x\", \\ y""#, r#"a="say \"x\", \\ y""#),
            (r#"a="" b=x"#, r#"a="" b="x""#),
            (r#"a=~"\\d+""#, r#"a=~"\\d+""#),
        ] {
            let told =
                parse(text).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(told.as_deref(), Ok(want), "{text}");
        }
        for (text, why) in [
            ("", "at least one matcher"),
            ("{}", "at least one matcher"),
            ("Full", "after the label comes one of"),
            ("=x", "does not begin with the name of a label"),
            ("9a=x", "does not begin with the name of a label"),
            ("a==x", "after the label comes one of"),
            (r#"a="x"#, "no closing quote"),
            (r#"a=~"(""#, "cannot be read"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
