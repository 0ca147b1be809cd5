//! `[clusters.NAME]`: sets of clusters, with their colour, guards and servers.

use std::collections::BTreeMap;

use pilothouse_core::domain::settings::ClusterSet;
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::check::{GLOBS, nearest, no_glob, pairs, texts};
use super::failover::Wrong;

/// The keys with their documentation.
const KEYS: [(&str, &str); 10] = [
    ("contexts", "globs for names of contexts, for example [\"eu-*\"]"),
    (
        "names",
        "shorter names to show, by context, for example { \"arn:aws:eks:eu-west-1:1:cluster/shop\" = \"eu-1\" }",
    ),
    ("color", "the colour of the names, for example \"blue\", \"bright-cyan\", \"208\" or \"#5fafff\""),
    (
        "protected",
        "true: actions need one confirmation level higher (false changes nothing: [guards] applies to every cluster)",
    ),
    (
        "read_only",
        "true: send nothing but reads and access reviews (false changes nothing: [guards] applies to every cluster)",
    ),
    ("open", "true: the console opens these clusters if no --context is given, beside the current context"),
    (
        "prometheus",
        "URLs by context, for example { \"eu-1\" = \"https://prometheus.eu-1.example\" }, instead of prometheus.url, which only the first cluster uses",
    ),
    ("alertmanager", "the same, instead of alertmanager.url"),
    ("loki", "the same, instead of loki.url"),
    ("victorialogs", "the same, instead of victorialogs.url"),
];

/// Reads one section. A section with mistakes is not used.
pub fn read(
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<ClusterSet, Vec<Wrong>> {
    let word = name.get_ref().as_ref();
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("clusters.{word} must be a section");
        return Err(vec![Wrong { span: value.span(), what, hint: format!("write [clusters.{word}]") }]);
    };
    let mut wrong = Vec::new();
    let mut set = ClusterSet { name: word.to_owned(), ..ClusterSet::default() };
    if word.is_empty() || word.contains(['*', '?']) {
        wrong.push(Wrong {
            span: name.span(),
            what: format!("clusters.{word:?}: a name has no * and no ?"),
            hint: "a set is opened by its name: --context NAME".into(),
        });
    }
    for (key, value) in table {
        let key_word = key.get_ref().as_ref();
        let hint = KEYS.iter().find(|(known, _)| *known == key_word).map_or("", |(_, doc)| *doc);
        let mut bad = |must: &str| {
            let what = format!("clusters.{word}.{key_word} must be {must}");
            wrong.push(Wrong { span: value.span(), what, hint: hint.to_owned() });
        };
        match (key_word, value.get_ref()) {
            ("contexts", list) => match texts(list) {
                Some(globs) => set.contexts = globs,
                None => bad("a list of texts"),
            },
            ("color", DeValue::String(text)) => set.colour = text.to_string(),
            ("color", _) => bad("a text in quotes"),
            ("protected", DeValue::Boolean(flag)) => set.protected = *flag,
            ("read_only", DeValue::Boolean(flag)) => set.read_only = *flag,
            ("open", DeValue::Boolean(flag)) => set.open = *flag,
            ("protected" | "read_only" | "open", _) => bad("true or false"),
            _ => match (by_context(&mut set, key_word), pairs(value.get_ref())) {
                (Some(place), Some(table)) => *place = table,
                (Some(_), None) => bad("a table of texts"),
                (None, _) => wrong.push(Wrong {
                    span: key.span(),
                    what: format!("unknown key {key_word:?} in [clusters.{word}]"),
                    hint: nearest(key_word, KEYS.iter().map(|(known, _)| *known)),
                }),
            },
        }
    }
    if wrong.is_empty() {
        wrong = inconsistent(name, table, &set);
    }
    if wrong.is_empty() { Ok(set) } else { Err(wrong) }
}

/// Returns the table of a key whose values are by context.
fn by_context<'s>(set: &'s mut ClusterSet, key: &str) -> Option<&'s mut BTreeMap<String, String>> {
    match key {
        "names" => Some(&mut set.names),
        "prometheus" => Some(&mut set.prometheus),
        "alertmanager" => Some(&mut set.alertmanager),
        "loki" => Some(&mut set.loki),
        "victorialogs" => Some(&mut set.victorialogs),
        _ => None,
    }
}

/// Returns what can never apply: a glob that matches no name, and a context that is not in the set.
fn inconsistent(
    name: &Spanned<std::borrow::Cow<'_, str>>,
    table: &toml::de::DeTable<'_>,
    set: &ClusterSet,
) -> Vec<Wrong> {
    let word = name.get_ref();
    let mut wrong = Vec::new();
    if set.contexts.is_empty() {
        wrong.push(Wrong {
            span: name.span(),
            what: format!("[clusters.{word}] has no contexts"),
            hint: "for example contexts = [\"eu-*\"]".into(),
        });
    }
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Array(items) => {
                for item in items {
                    let DeValue::String(glob) = item.get_ref() else { continue };
                    let Some(why) = no_glob(glob) else { continue };
                    let what = format!("clusters.{word}.contexts: {glob:?} {why}, so it matches no context");
                    wrong.push(Wrong { span: item.span(), what, hint: GLOBS.into() });
                }
            }
            DeValue::Table(contexts) => {
                let outside = contexts.keys().filter(|context| !set.has(context.get_ref()));
                wrong.extend(outside.map(|context| Wrong {
                    span: context.span(),
                    what: format!(
                        "clusters.{word}.{}: {:?} is not in the set",
                        key.get_ref(),
                        context.get_ref()
                    ),
                    hint: format!("its contexts: {}", set.contexts.join(", ")),
                }));
            }
            _ => {}
        }
    }
    wrong
}

/// The part of the example file about clusters, as comments, because there is none by default.
pub fn example() -> String {
    let mut out = String::from(
        "\n# [clusters.NAME]: a set of clusters; `pilothouse --context NAME` opens all of them; the settings apply to each of them, also if it is opened alone\n",
    );
    for (key, doc) in KEYS {
        out.push_str(&format!("#   {key}: {doc}\n"));
    }
    out.push_str(
        "#\n# [clusters.eu]\n# contexts = [\"eu-*\"]\n# color = \"blue\"\n# protected = true\n#\n# [clusters.audit]\n# contexts = [\"*-audit\"]\n# read_only = true\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::check;

    fn problems(text: &str) -> Vec<String> {
        let checked = check(text, Path::new("c"));
        assert!(checked.settings.clusters.is_empty(), "a set with a mistake is not used: {text}");
        assert!(checked.unsafe_to_write, "the set could have been protected or read-only: {text}");
        checked.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn sets_in_the_order_of_the_file() {
        let text = "[clusters.us]\ncontexts = [\"us-*\"]\nopen = true\n\
                    [clusters.eu]\ncontexts = [\"eu-?\", \"arn:x\"]\ncolor = \"blue\"\nprotected = true\nread_only = true\n\
                    names = { \"arn:x\" = \"eu-9\" }\n[clusters.eu.prometheus]\neu-1 = \"http://p1\"\n";
        let checked = check(text, Path::new("c"));
        assert_eq!(checked.problems, []);
        assert!(!checked.unsafe_to_write);
        let [us, eu] = checked.settings.clusters.as_slice() else { panic!("two") };
        assert_eq!((us.name.as_str(), us.open, us.protected, us.read_only), ("us", true, false, false));
        assert_eq!((eu.name.as_str(), eu.open, eu.protected, eu.read_only), ("eu", false, true, true));
        assert_eq!((eu.contexts.len(), eu.colour.as_str()), (2, "blue"));
        assert_eq!(eu.names.get("arn:x").map(String::as_str), Some("eu-9"));
        assert_eq!(eu.prometheus.get("eu-1").map(String::as_str), Some("http://p1"));
        let set: Vec<_> = checked.set.iter().map(|(key, line)| (key.as_str(), *line)).collect();
        assert_eq!(set, [("clusters.us", 1), ("clusters.eu", 4)]);
    }

    #[test]
    fn mistakes_have_their_line_and_a_hint() {
        for (text, says) in [
            (
                "[clusters.eu]\ncontext = [\"eu-*\"]\n",
                "c:2: unknown key \"context\" in [clusters.eu] (did you mean \"contexts\"?)",
            ),
            (
                "[clusters.eu]\ncontexts = [\"eu-*\"]\ncolour = \"blue\"\n",
                "c:3: unknown key \"colour\" in [clusters.eu] (did you mean \"color\"?)",
            ),
            (
                "[clusters.eu]\ncontexts = \"eu-*\"\n",
                "c:2: clusters.eu.contexts must be a list of texts (globs for names of contexts, for example [\"eu-*\"])",
            ),
            (
                "[clusters.eu]\ncolor = \"blue\"\n",
                "c:1: [clusters.eu] has no contexts (for example contexts = [\"eu-*\"])",
            ),
            (
                "[clusters.eu]\ncontexts = [\"a\", \"eu-[12]\"]\n",
                "c:2: clusters.eu.contexts: \"eu-[12]\" has '[', which has no special meaning, so it matches no context (in a glob, * stands for any characters and ? for one character)",
            ),
            (
                "[clusters.eu]\ncontexts = [\"eu-*\"]\nnames = { us-1 = \"one\" }\n",
                "c:3: clusters.eu.names: \"us-1\" is not in the set (its contexts: eu-*)",
            ),
            ("[clusters]\neu = [\"eu-*\"]\n", "c:2: clusters.eu must be a section (write [clusters.eu])"),
            (
                "[clusters.\"eu*\"]\ncontexts = [\"eu-*\"]\n",
                "c:1: clusters.\"eu*\": a name has no * and no ? (a set is opened by its name: --context NAME)",
            ),
            ("clusters = [\"eu-*\"]\n", "c:1: clusters must be a section (write [clusters.NAME])"),
        ] {
            assert_eq!(problems(text), [says], "{text}");
        }
        for (key, must) in [
            ("protected = \"yes\"", "true or false"),
            ("read_only = 1", "true or false"),
            ("open = []", "true or false"),
            ("color = 4", "a text in quotes"),
            ("names = [\"a\"]", "a table of texts"),
            ("prometheus = \"http://p\"", "a table of texts"),
        ] {
            let told = problems(&format!("[clusters.eu]\ncontexts = [\"a\"]\n{key}\n"));
            let word = key.split(' ').next().unwrap();
            let says = format!("c:3: clusters.eu.{word} must be {must} (");
            assert!(told.len() == 1 && told[0].starts_with(&says), "{told:?}");
        }
    }
}
