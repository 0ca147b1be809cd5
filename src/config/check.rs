//! Checks a config file. It walks over the TOML values with their spans, because serde stops at the first problem.

mod entries;

use std::ops::Range;
use std::path::{Path, PathBuf};

use pilothouse_core::domain::settings::Settings;
use pilothouse_core::domain::text::clean;
use pilothouse_core::logs::fingerprint::Masks;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{Field, Place, fields};
use super::presets;

/// One problem of the file: where it is, what it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub line: Option<usize>,
    pub what: String,
    pub hint: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// The result of checking a file.
#[derive(Debug, Default)]
pub struct Checked {
    pub settings: Settings,
    /// The keys that the file sets, as `section.key`, each with its line.
    pub set: Vec<(String, usize)>,
    pub problems: Vec<Problem>,
    pub unsafe_to_write: bool,
}

/// Checks a file's text. Never fails: an invalid setting keeps its default and is reported as a problem.
pub fn check(text: &str, path: &Path) -> Checked {
    let mut walk = Walk { text, path, out: Checked::default() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        walk.problem(error.span(), error.message(), "see config.example.toml".into());
        // the part that cannot be parsed could have been a guard
        walk.out.unsafe_to_write = true;
    }
    walk.root(table.get_ref());
    walk.out.problems.sort_by_key(|problem| problem.line);
    walk.out
}

/// The sections whose keys are names that the user chooses, or that are lists.
const OF_ENTRIES: [&str; 5] = ["clusters", "failover", "haproxy", "silence", "slo"];
pub(super) const GLOBS: &str = "in a glob, * stands for any characters and ? for one character";

struct Walk<'a> {
    text: &'a str,
    path: &'a Path,
    out: Checked,
}

impl Walk<'_> {
    fn problem(&mut self, span: Option<Range<usize>>, what: &str, hint: String) {
        let line = span.map(|s| self.line(&s));
        self.out.problems.push(Problem {
            path: self.path.to_owned(),
            line,
            what: clean(what).into_owned(),
            hint,
        });
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1
    }

    /// Records that the file sets this key.
    fn sets(&mut self, key: String, span: &Range<usize>) {
        let line = self.line(span);
        self.out.set.push((key, line));
    }

    fn root(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let section = name.get_ref().as_ref();
            let known = fields().any(|f| f.section == section);
            match value.get_ref() {
                DeValue::Table(plans) if section == "failover" => self.failover(plans),
                DeValue::Table(entries) if section == "slo" => self.objectives(entries),
                DeValue::Table(entries) if section == "haproxy" => self.haproxies(entries),
                value_of if section == "silence" => self.silences(value_of, value),
                value_of if section == "clusters" => self.clusters(value_of, value),
                _ if !known => {
                    let known = fields().map(|f| f.section).chain(OF_ENTRIES);
                    let hint = nearest(section, known);
                    self.problem(Some(name.span()), &format!("unknown section [{section}]"), hint);
                    self.out.unsafe_to_write |= hint_is_guard(section);
                }
                DeValue::Table(keys) => self.section(section, keys),
                _ => {
                    self.problem(
                        Some(value.span()),
                        &format!("{section} must be a section"),
                        format!("write [{section}]"),
                    );
                    self.out.unsafe_to_write |= section == "guards";
                }
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = name.get_ref().as_ref();
            match (section, key) {
                (presets::SECTION, "balancing") => {
                    self.balancing(name, value);
                    continue;
                }
                (presets::SECTION, presets::KEY) => {
                    self.presets(value);
                    continue;
                }
                ("ui", "keys") => {
                    self.keys(value);
                    continue;
                }
                _ => {}
            }
            let Some(field) = fields().find(|f| f.section == section && f.key == key) else {
                let own = (section == presets::SECTION).then_some(presets::KEY);
                let known = fields().filter(|f| f.section == section).map(|f| f.key).chain(own);
                let hint = nearest(key, known);
                self.problem(Some(name.span()), &format!("unknown key {key:?} in [{section}]"), hint);
                self.out.unsafe_to_write |= section == "guards";
                continue;
            };
            if section == "guards" {
                self.globs(section, key, value.get_ref());
            }
            match set(field, value.get_ref(), &mut self.out.settings) {
                Ok(()) => {
                    self.sets(format!("{section}.{key}"), &name.span());
                    if (section, key) == ("logs", "masks") {
                        self.masks(value);
                    }
                    if let (Place::Lists(_), DeValue::Table(lists)) = (&field.place, value.get_ref()) {
                        lists.keys().for_each(|list| {
                            self.sets(format!("{section}.{key}.{}", list.get_ref()), &list.span());
                        });
                    }
                }
                Err(why) => {
                    self.problem(Some(value.span()), &format!("{section}.{key} {why}"), field.doc.to_owned());
                    self.out.unsafe_to_write |= section == "guards";
                }
            }
        }
    }

    /// Reports the first invalid mask.
    fn masks(&mut self, value: &Spanned<DeValue<'_>>) {
        let Err((name, why)) = Masks::new(&self.out.settings.logs.masks, &[]) else { return };
        self.out.settings.logs.masks.clear();
        let why = why.lines().last().unwrap_or_default();
        self.problem(
            Some(value.span()),
            &format!("logs.masks.{name}: {why}"),
            "a mask is a name in lower case and a regular expression".to_owned(),
        );
    }

    /// A guard that matches nothing protects nothing.
    fn globs(&mut self, section: &str, key: &str, value: &DeValue<'_>) {
        let DeValue::Array(items) = value else { return };
        for item in items {
            let DeValue::String(glob) = item.get_ref() else { continue };
            let Some(why) = no_glob(glob) else { continue };
            let what = format!("{section}.{key}: {glob:?} {why}, so it protects nothing");
            self.problem(Some(item.span()), &what, GLOBS.into());
            self.out.unsafe_to_write = true;
        }
    }
}

/// Returns why a text cannot match any name as a glob.
pub(super) fn no_glob(glob: &str) -> Option<String> {
    match glob.chars().find(|c| "[]{}!".contains(*c)) {
        Some(sign) => Some(format!("has {sign:?}, which has no special meaning")),
        None if glob.is_empty() => Some("is empty".to_owned()),
        None if glob.trim() != glob => Some("has a space at its beginning or end".to_owned()),
        None => None,
    }
}

fn hint_is_guard(section: &str) -> bool {
    nearest(section, ["guards"].into_iter()).contains("guards")
}

pub(super) fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

pub(super) fn pairs(value: &DeValue<'_>) -> Option<std::collections::BTreeMap<String, String>> {
    let DeValue::Table(table) = value else { return None };
    let pair = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        match value.get_ref() {
            DeValue::String(text) => Some((key.to_string(), text.to_string())),
            _ => None,
        }
    };
    table.iter().map(pair).collect()
}

fn lists(value: &DeValue<'_>) -> Option<std::collections::BTreeMap<String, Vec<String>>> {
    let DeValue::Table(table) = value else { return None };
    table.iter().map(|(key, value)| Some((key.get_ref().to_string(), texts(value.get_ref())?))).collect()
}

fn set(field: &Field, value: &DeValue<'_>, settings: &mut Settings) -> Result<(), String> {
    match (&field.place, value) {
        (Place::Text(place), DeValue::String(text)) => *place(settings) = text.to_string(),
        (Place::Flag(place), DeValue::Boolean(flag)) => *place(settings) = *flag,
        (Place::Number(place, min, max), DeValue::Integer(number)) => {
            let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
            match number.filter(|n| (min..=max).contains(&n)) {
                Some(number) => *place(settings) = number,
                None => return Err(format!("must be a number from {min} to {max}")),
            }
        }
        (Place::Texts(place), value) => match texts(value) {
            Some(list) => *place(settings) = list,
            None => return Err("must be a list of texts".into()),
        },
        (Place::Pairs(place), value) => match pairs(value) {
            Some(table) => *place(settings) = table,
            None => return Err("must be a table of texts".into()),
        },
        (Place::Lists(place), value) => match lists(value) {
            Some(table) => *place(settings) = table,
            None => return Err("must be a table of lists of texts".into()),
        },
        (Place::Policies(_), _) => return Err("must be a section".into()),
        (Place::Text(_), _) => return Err("must be a text in quotes".into()),
        (Place::Flag(_), _) => return Err("must be true or false".into()),
        (Place::Number(_, min, max), _) => return Err(format!("must be a number from {min} to {max}")),
    }
    Ok(())
}

/// `did you mean "theme"?`, or the list of known words if none is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let best = known.iter().map(|k| (distance(word, k), *k)).min();
    match best {
        Some((d, name)) if d <= 1 + name.len() / 4 => format!("did you mean {name:?}?"),
        _ => format!("known: {}", known.join(", ")),
    }
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let next = (left + 1).min(*cell + 1).min(diagonal + usize::from(ca != *cb));
            diagonal = *cell;
            *cell = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::traffic::Policy;
    use proptest::prelude::*;

    use super::*;
    use crate::config::fields::example;

    fn problems(text: &str) -> Vec<String> {
        check(text, Path::new("c.toml")).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_example_is_exactly_the_defaults() {
        let checked = check(&example(), Path::new("config.example.toml"));
        assert_eq!(checked.problems, []);
        assert_eq!(checked.settings, Settings::default());
        assert_eq!(checked.set.len(), fields().count());
    }

    #[test]
    fn all_problems_at_once_with_lines_and_hints() {
        let text = "[ui]\nthene = \"x\"\nmax_fps = 900\n\n[guards]\nread_only = \"yes\"\n\n[prom]\n";
        assert_eq!(
            problems(text),
            [
                "c.toml:2: unknown key \"thene\" in [ui] (did you mean \"theme\"?)",
                "c.toml:3: ui.max_fps must be a number from 1 to 60 (maximum number of frames per second, 1 to 60)",
                "c.toml:6: guards.read_only must be true or false (send nothing but reads and access reviews)",
                "c.toml:8: unknown section [prom] (known: alertmanager, clusters, failover, guards, haproxy, history, logs, loki, prometheus, silence, slo, traffic, ui, victorialogs)",
            ]
        );
        assert!(check(text, Path::new("c")).unsafe_to_write, "a guard could not be read");
    }

    #[test]
    fn valid_settings_count_although_another_is_invalid() {
        let checked = check("[ui]\nmax_fps = 5\n[logs]\nmax_streams = \"x\"\n", Path::new("c"));
        assert_eq!(checked.settings.ui.max_fps, 5);
        assert_eq!(checked.settings.logs.max_streams, 50);
        assert!(!checked.unsafe_to_write);
    }

    #[test]
    fn a_mask_is_checked_before_it_is_used() {
        let checked = check("[logs.masks]\norder = 'ORD-[A-Z]+'\n", Path::new("c"));
        assert_eq!((checked.problems.len(), checked.settings.logs.masks.len()), (0, 1));
        for (text, says) in [
            ("[logs.masks]\norder = 'ORD-('\n", "c.toml:1: logs.masks.order: error: unclosed group"),
            ("[logs.masks]\n\"A b\" = 'x'\n", "c.toml:1: logs.masks.A b: a mask's name has only"),
            ("[logs]\nmasks = { x = 'y*' }\n", "c.toml:2: logs.masks.x: the pattern matches the empty text"),
        ] {
            let told = problems(text);
            assert!(told.len() == 1 && told[0].starts_with(says), "{told:?}");
            assert!(check(text, Path::new("c")).settings.logs.masks.is_empty());
        }
    }

    #[test]
    fn a_table_of_texts_inline_or_as_a_section() {
        for text in [
            "[prometheus]\nheaders = { \"X-Scope-OrgID\" = \"team-a\" }\n",
            "[prometheus.headers]\n\"X-Scope-OrgID\" = \"team-a\"\n",
        ] {
            let checked = check(text, Path::new("c"));
            assert_eq!(checked.problems, [], "{text}");
            let headers: Vec<_> = checked.settings.prometheus.server.headers.into_iter().collect();
            assert_eq!(headers, [("X-Scope-OrgID".to_owned(), "team-a".to_owned())]);
        }
        assert_eq!(problems("[prometheus.headers]\nX = 1\n").len(), 1);
    }

    #[test]
    fn policies_by_service() {
        for text in [
            "[traffic]\nbalancing = { \"shop/checkout\" = \"least connections\", \"shop/*\" = \"round-robin\" }\n",
            "[traffic.balancing]\n\"shop/checkout\" = \"least-connections\"\n\"shop/*\" = \"Round Robin\"\n",
        ] {
            let checked = check(text, Path::new("c"));
            assert_eq!(checked.problems, [], "{text}");
            let policies: Vec<_> = checked.settings.traffic.balancing.into_iter().collect();
            let expected = [("shop/*", Policy::RoundRobin), ("shop/checkout", Policy::LeastConnections)];
            assert_eq!(policies, expected.map(|(name, policy)| (name.to_owned(), policy)));
        }
        let text = "[traffic.balancing]\n\"shop/a\" = \"least conections\"\ncheckout = \"random\"\n\"shop/b\" = 3\n\"shop/c\" = \"by name\"\n";
        let checked = check(text, Path::new("c.toml"));
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "c.toml:2: traffic.balancing: \"least conections\" is no policy (did you mean \"least connections\"?)",
                "c.toml:3: traffic.balancing: \"checkout\" must be NAMESPACE/SERVICE (in a glob, * stands for any characters and ? for one character)",
                "c.toml:4: traffic.balancing.\"shop/b\" must be a text in quotes (known: by client, by name, by request, least connections, random, response time, round robin, weighted)",
            ]
        );
        assert_eq!(checked.settings.traffic.balancing.len(), 1, "the others count");
    }

    #[test]
    fn the_section_of_the_traffic_has_settings_policies_and_presets() {
        let text = "[traffic]\ngrafana_url = \"https://grafana.example/$service\"\n\
                    [traffic.balancing]\n\"shop/checkout\" = \"random\"\n\
                    [traffic.presets.shop]\ncounter = \"shop_requests_total\"\nservice = [\"app\"]\n\
                    queries.rate = \"sum by (app) (rate(shop_requests_total{$S}[$W]))\"\n";
        let checked = check(text, Path::new("c"));
        assert_eq!(checked.problems, []);
        assert_eq!(checked.settings.traffic.grafana_url, "https://grafana.example/$service");
        assert_eq!(checked.settings.traffic.balancing.get("shop/checkout"), Some(&Policy::Random));
        assert_eq!(checked.settings.prometheus.own_presets[0].name, "shop");
        let mut set: Vec<&str> = checked.set.iter().map(|(key, _)| key.as_str()).collect();
        set.sort_unstable();
        assert_eq!(set, ["traffic.balancing", "traffic.grafana_url", "traffic.presets.shop"]);
        assert_eq!(
            problems("[traffic]\npresets = 3\ngrafana = \"x\"\n"),
            [
                "c.toml:2: traffic.presets must be a section (write [traffic.presets.NAME])",
                "c.toml:3: unknown key \"grafana\" in [traffic] (known: balancing, grafana_url, presets)",
            ]
        );
    }

    #[test]
    fn a_guard_that_can_match_nothing_is_a_problem() {
        for (glob, fine) in [
            ("vault", true),
            ("*-prod-?", true),
            ("my cluster", true),
            ("user@eks.eu-west-1", true),
            ("[a-z]*", false),
            ("!x", false),
            ("{a,b}", false),
            (" x", false),
            ("x ", false),
            ("", false),
        ] {
            for key in ["protected_contexts", "protected_namespaces"] {
                let checked = check(&format!("[guards]\n{key} = [\"{glob}\"]\n"), Path::new("c"));
                assert_eq!(checked.problems.is_empty(), fine, "{glob:?}: {:?}", checked.problems);
                assert_eq!(checked.unsafe_to_write, !fine, "{glob:?}");
                assert!(checked.problems.iter().all(|p| p.line == Some(2)));
            }
        }
    }

    #[test]
    fn toml_that_cannot_be_parsed_makes_the_console_read_only() {
        let checked = check("[guards\nread_only = true\n", Path::new("c"));
        assert!(!checked.problems.is_empty());
        assert!(checked.unsafe_to_write);
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            check(&text, Path::new("c"));
        }
    }
}
