//! `[traffic.presets.NAME]`: the config's presets, and the built-in ones in the same form.

use std::fmt::Write as _;
use std::ops::Range;

use pilothouse_core::domain::preset::{AUTO, LabelText, Measure, Preset, Query, Unit, all, form};
use pilothouse_core::domain::traffic::Policy;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{nearest, texts};
use super::failover::Wrong;

/// The section that has the presets.
pub const SECTION: &str = "traffic";
/// The key of the presets in it.
pub const KEY: &str = "presets";

/// The keys with their documentation.
const KEYS: [(&str, &str); 10] = [
    ("doc", "what it measures, in one sentence"),
    (
        "counter",
        "the metric or selector whose samples show that the metrics exist, and how often they are scraped",
    ),
    ("namespace", "labels with the namespace, in order of preference"),
    (
        "service",
        "labels with the service's name, in order of preference; \"label=FORM\" reads an id, as in \"route=httproute/{namespace}/{name}/{}\"",
    ),
    ("backend", "labels with the pod, address or server; none: only services are measured"),
    ("failed", "values with which a request failed: [\"code=5*\"]"),
    ("up", "values with which a backend is up: [\"state=UP\"]; none: a state above 0"),
    ("unit", "unit of response times, \"s\" or \"ms\""),
    ("policy", "the policy that this system always uses, for example \"round robin\""),
    (
        "queries",
        "the PromQL of each measure; $W is the rate window, $S the matchers of one service, $Q the quantile",
    ),
];

/// The policies that a preset can name.
const POLICIES: [Policy; 8] = [
    Policy::RoundRobin,
    Policy::Random,
    Policy::Weighted,
    Policy::LeastConnections,
    Policy::ResponseTime,
    Policy::ByClient,
    Policy::ByRequest,
    Policy::ByName,
];

/// The TOML values of one preset, and the mistakes found in them.
struct Written<'a> {
    name: &'a str,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    wrong: Vec<Wrong>,
}

/// Reads one preset. A preset with mistakes is not used; the result is the list of its mistakes.
pub fn read(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Preset, Vec<Wrong>> {
    let wrong = |what: String, hint: String| vec![Wrong { span: value.span(), what, hint }];
    let DeValue::Table(table) = value.get_ref() else {
        return Err(wrong(
            format!("{SECTION}.presets.{name} must be a section"),
            format!("write [{SECTION}.presets.{name}]"),
        ));
    };
    if name == AUTO {
        return Err(wrong(
            format!("a preset cannot have the name {AUTO}"),
            "it stands for all presets that are not named".into(),
        ));
    }
    let mut written = Written { name, table, span: value.span(), wrong: Vec::new() };
    let preset = written.preset();
    if written.wrong.is_empty() { Ok(preset) } else { Err(written.wrong) }
}

impl Written<'_> {
    fn value(&self, key: &str) -> Option<&Spanned<DeValue<'_>>> {
        self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value)
    }

    fn bad(&mut self, key: &str, what: &str) {
        let span = self.value(key).map_or(self.span.clone(), Spanned::span);
        let hint = KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, doc)| doc);
        let what = format!("{SECTION}.presets.{}.{key} {what}", self.name);
        self.wrong.push(Wrong { span, what, hint: hint.to_owned() });
    }

    fn text(&mut self, key: &str) -> String {
        match self.value(key).map(Spanned::get_ref) {
            None => String::new(),
            Some(DeValue::String(text)) => text.to_string(),
            Some(_) => {
                self.bad(key, "must be a text in quotes");
                String::new()
            }
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(list) = self.value(key).map(|value| texts(value.get_ref())) else { return Vec::new() };
        let list = list.filter(|list| list.iter().all(|text| !text.trim().is_empty()));
        list.unwrap_or_else(|| {
            self.bad(key, "must be a list of texts");
            Vec::new()
        })
    }

    fn labels(&mut self, key: &str) -> Vec<LabelText> {
        self.texts(key).iter().map(|text| LabelText::parse(text)).collect()
    }

    fn preset(&mut self) -> Preset {
        for (key, _) in self.table {
            let word = key.get_ref().as_ref();
            if !KEYS.iter().any(|(known, _)| *known == word) {
                let what = format!("unknown key {word:?} in [{SECTION}.presets.{}]", self.name);
                let hint = nearest(word, KEYS.iter().map(|(known, _)| *known));
                self.wrong.push(Wrong { span: key.span(), what, hint });
            }
        }
        let preset = Preset {
            name: self.name.into(),
            doc: self.text("doc"),
            counter: self.text("counter"),
            namespace: self.texts("namespace"),
            service: self.labels("service"),
            backend: self.texts("backend"),
            failed: self.labels("failed"),
            up: self.labels("up"),
            unit: self.unit(),
            policy: self.policy(),
            queries: self.queries(),
        };
        for (key, is_missing) in
            [("counter", preset.counter.is_empty()), ("service", preset.service.is_empty())]
        {
            if is_missing && self.value(key).is_none() {
                self.bad(key, "is missing");
            }
        }
        if !preset.counter.is_empty() && preset.counter.contains(['(', '[']) && !preset.counter.contains('{')
        {
            self.bad("counter", "must be a metric or a selector, without a function or a range");
        }
        for reader in &preset.service {
            if let Some(fault) = form::fault(&reader.text) {
                self.bad("service", &format!("{:?} {fault}", reader.to_string()));
            }
        }
        if self.value("queries").is_some() && preset.query(Measure::Rate).is_none() && self.wrong.is_empty() {
            self.bad("queries", "has no rate");
        } else if self.value("queries").is_none() {
            self.bad("queries", "is missing");
        }
        preset
    }

    fn unit(&mut self) -> Unit {
        let written = self.text("unit");
        let unit = Unit::ALL.into_iter().find(|unit| unit.as_str() == written);
        if unit.is_none() && !written.is_empty() {
            self.bad("unit", "is unknown");
        }
        unit.unwrap_or_default()
    }

    fn policy(&mut self) -> Option<Policy> {
        let written = self.text("policy");
        let policy = POLICIES.into_iter().find(|policy| policy.as_str() == written);
        if policy.is_none() && !written.is_empty() {
            let known = nearest(&written, POLICIES.iter().map(|policy| policy.as_str()));
            self.bad("policy", &format!("{written:?} is unknown; {known}"));
        }
        policy
    }

    fn queries(&mut self) -> Vec<Query> {
        let mut queries = Vec::new();
        let mut wrong = Vec::new();
        match self.value("queries").map(Spanned::get_ref) {
            None => {}
            Some(DeValue::Table(table)) => {
                for (key, value) in table {
                    let word = key.get_ref().as_ref();
                    let measure = Measure::ALL.iter().find(|(_, known, _)| *known == word);
                    match (measure, value.get_ref()) {
                        (Some((measure, ..)), DeValue::String(promql)) if !promql.trim().is_empty() => {
                            queries.push(Query { measure: *measure, promql: promql.to_string() });
                        }
                        (Some((_, _, doc)), _) => wrong.push(Wrong {
                            span: value.span(),
                            what: format!(
                                "{SECTION}.presets.{}.queries.{word} must be PromQL in quotes",
                                self.name
                            ),
                            hint: (*doc).to_owned(),
                        }),
                        (None, _) => wrong.push(Wrong {
                            span: key.span(),
                            what: format!(
                                "unknown measure {word:?} in [{SECTION}.presets.{}.queries]",
                                self.name
                            ),
                            hint: nearest(word, Measure::ALL.iter().map(|(_, known, _)| *known)),
                        }),
                    }
                }
            }
            Some(_) => self.bad("queries", "must be a section"),
        }
        self.wrong.append(&mut wrong);
        queries.sort_by_key(|query| query.measure);
        queries
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<T: ToString>(texts: &[T]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(&text.to_string())).collect::<Vec<_>>().join(", "))
}

/// Returns a preset as TOML, as the config has it.
pub fn toml(preset: &Preset) -> String {
    let mut out = format!("[{SECTION}.presets.{}]\n", preset.name);
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(out, "{key} = {value}").unwrap_or_default();
        }
    };
    let some = |is_set: bool, value: String| is_set.then_some(value);
    line("doc", some(!preset.doc.is_empty(), quoted(&preset.doc)));
    line("counter", Some(quoted(&preset.counter)));
    line("namespace", some(!preset.namespace.is_empty(), list(&preset.namespace)));
    line("service", Some(list(&preset.service)));
    line("backend", some(!preset.backend.is_empty(), list(&preset.backend)));
    line("failed", some(!preset.failed.is_empty(), list(&preset.failed)));
    line("up", some(!preset.up.is_empty(), list(&preset.up)));
    line("unit", Some(quoted(preset.unit.as_str())));
    line("policy", preset.policy.map(|policy| quoted(policy.as_str())));
    writeln!(out, "\n[{SECTION}.presets.{}.queries]", preset.name).unwrap_or_default();
    for query in &preset.queries {
        writeln!(out, "{} = {}", query.measure.as_str(), quoted(&query.promql)).unwrap_or_default();
    }
    out
}

/// Returns all presets as TOML, for `pilothouse config presets`.
pub fn print(own: &[Preset]) -> String {
    all(own).iter().map(toml).collect::<Vec<_>>().join("\n")
}

/// Returns the README's table of the built-in presets.
pub fn markdown() -> String {
    let mut out = String::from("| preset | what it reads | measures |\n|---|---|---|\n");
    for preset in all(&[]) {
        let measures: Vec<String> =
            preset.queries.iter().map(|query| format!("`{}`", query.measure.as_str())).collect();
        writeln!(out, "| `{}` | {} | {} |", preset.name, preset.doc, measures.join(", ")).unwrap_or_default();
    }
    out
}

/// The part of the example file about presets, as comments, because the config has none by default.
pub fn example() -> String {
    let mut out = format!(
        "\n# [{SECTION}.presets.NAME]: metrics to read traffic from; NAME can be one of the built-in presets, which it replaces;\n# `pilothouse config presets` prints those in this form\n"
    );
    for (key, doc) in KEYS {
        writeln!(out, "#   {key}: {doc}").unwrap_or_default();
    }
    out.push_str("# the keys of queries:\n");
    for (_, key, doc) in Measure::ALL {
        writeln!(out, "#   {key}: {doc}").unwrap_or_default();
    }
    writeln!(
        out,
        "#\n# [{SECTION}.presets.shop]\n# counter = \"shop_requests_total\"\n# namespace = [\"namespace\"]\n# service = [\"app\"]\n# backend = [\"pod\"]\n# failed = [\"outcome=error\"]\n# queries.rate = \"sum by (namespace, app, pod, outcome) (rate(shop_requests_total{{$S}}[$W]))\""
    )
    .unwrap_or_default();
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::check;
    use super::*;

    #[test]
    fn each_built_in_preset_can_be_written_in_the_config() {
        let text = print(&[]);
        let checked = check(&text, Path::new("c.toml"));
        assert_eq!(checked.problems, []);
        let own = &checked.settings.prometheus.own_presets;
        assert_eq!(own.len(), all(&[]).len());
        for preset in all(&[]) {
            let read = own.iter().find(|one| one.name == preset.name).unwrap();
            let sorted = |preset: &Preset| {
                let mut preset = preset.clone();
                preset.queries.sort_by_key(|query| query.measure);
                preset
            };
            assert_eq!(sorted(read), sorted(&preset));
        }
    }

    #[test]
    fn the_example_is_a_preset() {
        let commented = example();
        let (_, lines) = commented.split_once("#\n# [").unwrap();
        let text = format!("[{}", lines.replace("\n# ", "\n"));
        let checked = check(&text, Path::new("c.toml"));
        assert_eq!(checked.problems, []);
        let preset = &checked.settings.prometheus.own_presets[0];
        assert_eq!((preset.name.as_str(), preset.queries.len()), ("shop", 1));
        assert_eq!(preset.failed, [LabelText::parse("outcome=error")]);
        assert_eq!(checked.set, [("traffic.presets.shop".to_owned(), 1)]);
    }

    #[test]
    fn each_mistake_has_a_line_and_a_hint() {
        let text = "[traffic.presets.a]\ncounter = 5\nservice = [\"x={nam}\"]\nunit = \"h\"\nbackends = [\"pod\"]\nqueries.rat = \"x\"\n\
                    [traffic.presets.b]\ncounter = \"rate(x[1m])\"\npolicy = \"weigthed\"\nqueries.p95 = \"x\"\n\
                    [traffic.presets]\nauto = 3\n[traffic]\npreset = 1\n";
        let text =
            text.replace("[traffic.presets]\nauto = 3\n[traffic]\npreset = 1\n", "[traffic.presets.auto]\n");
        let checked = check(&text, Path::new("c.toml"));
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        for (line, start) in [
            (2, "traffic.presets.a.counter must be a text in quotes (the metric"),
            (3, "traffic.presets.a.service \"x={nam}\" must have {name} once (labels"),
            (4, "traffic.presets.a.unit is unknown (unit of response times"),
            (5, "unknown key \"backends\" in [traffic.presets.a] (did you mean \"backend\"?)"),
            (6, "unknown measure \"rat\" in [traffic.presets.a.queries] (did you mean \"rate\"?)"),
            (8, "traffic.presets.b.counter must be a metric or a selector"),
            (9, "traffic.presets.b.policy \"weigthed\" is unknown; did you mean \"weighted\"?"),
            (7, "traffic.presets.b.service is missing"),
            (11, "a preset cannot have the name auto"),
        ] {
            let start = format!("c.toml:{line}: {start}");
            assert!(problems.iter().any(|problem| problem.starts_with(&start)), "{start}\n{problems:#?}");
        }
        assert!(checked.settings.prometheus.own_presets.is_empty() && !checked.unsafe_to_write);
        let other = check("[traffic]\npreset = 1\n", Path::new("c.toml"));
        assert_eq!(
            other.problems[0].to_string(),
            "c.toml:2: unknown key \"preset\" in [traffic] (did you mean \"presets\"?)"
        );
    }
}
