//! `[[silence]]`: findings that NOW does not show.

use pilothouse_core::domain::silence::Silence;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::rules::names;
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::check::nearest;
use super::failover::Wrong;

/// The keys with their documentation.
const KEYS: [(&str, &str); 5] = [
    ("rule", "a glob for the finding's rule, for example \"not-ready\" or \"node-*\""),
    ("namespace", "a glob for the namespace of the finding's object"),
    ("name", "a glob for the name of the finding's object"),
    ("until", "when the silence ends, for example 2026-12-31T08:00:00Z; if absent, the silence is permanent"),
    ("reason", "why the findings are silenced"),
];

/// Reads one entry. An entry with a mistake silences nothing.
pub fn read(value: &Spanned<DeValue<'_>>) -> Result<Silence, Vec<Wrong>> {
    let DeValue::Table(table) = value.get_ref() else {
        return Err(vec![Wrong {
            span: value.span(),
            what: "silence must be a list of sections".into(),
            hint: "write [[silence]]".into(),
        }]);
    };
    let mut wrong = Vec::new();
    let mut silence =
        Silence { rule: "*".into(), namespace: "*".into(), name: "*".into(), ..Silence::default() };
    for (key, value) in table {
        let word = key.get_ref().as_ref();
        let mut bad = |what: String, hint: String| wrong.push(Wrong { span: value.span(), what, hint });
        match (word, value.get_ref()) {
            ("rule", DeValue::String(text)) => {
                if !names().any(|rule| pilothouse_core::domain::settings::glob(text, rule)) {
                    bad(format!("silence.rule {text:?} matches no rule"), nearest(text, names()));
                }
                silence.rule = text.to_string();
            }
            ("namespace", DeValue::String(text)) => silence.namespace = text.to_string(),
            ("name", DeValue::String(text)) => silence.name = text.to_string(),
            ("reason", DeValue::String(text)) => silence.reason = text.to_string(),
            ("until", DeValue::String(_) | DeValue::Datetime(_)) => {
                let text = match value.get_ref() {
                    DeValue::Datetime(at) => at.to_string(),
                    other => other.as_str().unwrap_or_default().to_owned(),
                };
                silence.until = Stamp::parse(&text);
                if silence.until.is_none() {
                    bad(
                        format!("silence.until {text:?} is not a time with a zone"),
                        "for example 2026-12-31T08:00:00Z".into(),
                    );
                }
            }
            (known, _) if KEYS.iter().any(|(key, _)| *key == known) => {
                bad(format!("silence.{known} must be a text in quotes"), String::new());
            }
            (unknown, _) => {
                let hint = nearest(unknown, KEYS.iter().map(|(known, _)| *known));
                wrong.push(Wrong {
                    span: key.span(),
                    what: format!("unknown key {unknown:?} in [[silence]]"),
                    hint,
                });
            }
        }
    }
    let narrows = ["rule", "namespace", "name"];
    if wrong.is_empty() && !table.iter().any(|(key, _)| narrows.contains(&key.get_ref().as_ref())) {
        wrong.push(Wrong {
            span: value.span(),
            what: "[[silence]] names no rule, namespace or name".into(),
            hint: "it would silence everything; write rule = \"*\" if you mean that".into(),
        });
    }
    if wrong.is_empty() { Ok(silence) } else { Err(wrong) }
}

/// The part of the example file about silences, as comments, because there is none by default.
pub fn example() -> String {
    let mut out = String::from(
        "\n# [[silence]]: findings that NOW does not show (its title has their number); the section can be repeated\n",
    );
    for (key, doc) in KEYS {
        out.push_str(&format!("#   {key}: {doc}\n"));
    }
    out.push_str(
        "#\n# [[silence]]\n# rule = \"not-ready\"\n# namespace = \"staging\"\n# name = \"web-*\"\n# reason = \"waits for its licence\"\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::check;
    use super::*;

    #[test]
    fn entries_and_their_mistakes() {
        let good = "[[silence]]\nrule = \"not-*\"\nnamespace = \"shop\"\nuntil = 2026-12-31T08:00:00Z\nreason = \"known\"\n\n[[silence]]\nname = \"web\"\nuntil = \"2026-12-31T08:00:00+01:00\"\n";
        let checked = check(good, Path::new("c.toml"));
        assert_eq!(checked.problems, []);
        let [first, second] = checked.settings.silences.as_slice() else { panic!("two") };
        assert_eq!(
            (first.rule.as_str(), first.name.as_str(), first.reason.as_str()),
            ("not-*", "*", "known")
        );
        assert_eq!(first.until, Stamp::parse("2026-12-31T08:00:00Z"));
        assert_eq!(second.until, Stamp::parse("2026-12-31T07:00:00Z"));
        let bad = "[[silence]]\nrule = \"not-redy\"\n[[silence]]\nnamespaces = \"a\"\n[[silence]]\nname = 5\n[[silence]]\nname = \"a\"\nuntil = 2026-12-31\n[[silence]]\nreason = \"x\"\n";
        let checked = check(bad, Path::new("c.toml"));
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "c.toml:2: silence.rule \"not-redy\" matches no rule (did you mean \"not-ready\"?)",
                "c.toml:4: unknown key \"namespaces\" in [[silence]] (did you mean \"namespace\"?)",
                "c.toml:6: silence.name must be a text in quotes",
                "c.toml:9: silence.until \"2026-12-31\" is not a time with a zone (for example 2026-12-31T08:00:00Z)",
                "c.toml:10: [[silence]] names no rule, namespace or name (it would silence everything; write rule = \"*\" if you mean that)",
            ]
        );
        assert!(checked.settings.silences.is_empty() && !checked.unsafe_to_write);
        let one = check("[silence]\nname = \"a\"\n", Path::new("c.toml"));
        assert_eq!(
            one.problems[0].to_string(),
            "c.toml:1: silence must be a list of sections (write [[silence]])"
        );
    }
}
