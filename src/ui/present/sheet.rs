//! The boxes that change nothing: a prediction as lines, and the queries behind the numbers of a row.

use std::collections::BTreeMap;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::preset::{Measure, Preset, promql};
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::policy::whatif::{Break, Predicted, Prediction, predict};

use super::super::app::{About, Sheet, TextLine, Ui};
use super::super::cell::{Cell, Grade, cell, rate};
use super::super::command::{Cmd, Context};
use super::super::pane::backends::percent;
use super::super::pane::traffic::balancing;
use super::super::rows::whatif::{Assumed, Choices, What};
use super::super::theme::Role;
use super::super::widget::text;
use super::describe::{Lines, TableRow};
use super::dialog::DialogView;

/// The number of cells for the name of a backend in the table.
const NAME: usize = 26;

/// From this part of the most requests ever seen on, a backend is marked.
const MUCH_MORE: f64 = 1.25;

/// Builds the view of an open box.
pub fn view(ui: &Ui, sheet: &Sheet) -> DialogView {
    let (namespace, name) = &sheet.service;
    let places = [Context::Sheet, Context::Everywhere];
    let key = |cmd| ui.keymap.key_in(&places, cmd).map_or_else(String::new, |key| key.to_string());
    let hint = |keys: String, words: &str| cell(Role::Key, format!("{keys} {words}"));
    let both = |a, b| format!("{} {}", key(a), key(b));
    let (title, mut keys): (String, Vec<Cell>) = match &sheet.about {
        About::WhatIf(assumed) => {
            let mut keys = vec![hint(both(Cmd::Down, Cmd::Up), "what")];
            keys.push(if assumed.has_number() {
                hint(both(Cmd::More, Cmd::Less), "number")
            } else {
                hint("Left Right".into(), "another")
            });
            (format!("What if: {namespace}/{name} (nothing is changed)"), keys)
        }
        About::Queries { .. } => {
            (format!("PromQL: {namespace}/{name}"), vec![hint(both(Cmd::Down, Cmd::Up), "another")])
        }
    };
    keys.push(hint(key(Cmd::CopyText), "copy"));
    keys.push(hint(key(Cmd::Back), "close"));
    DialogView { title, lines: sheet.lines.clone(), keys, ..DialogView::default() }
}

/// Builds the lines of an open box from the newest state of the cluster.
pub fn lines(cluster: &Cluster, presets: &[Preset], sheet: &Sheet) -> Vec<TextLine> {
    let (namespace, name) = &sheet.service;
    let mut out = Lines(Vec::new());
    match &sheet.about {
        About::WhatIf(assumed) => {
            let choices = Choices::of(cluster, namespace, name);
            assumptions(&mut out, assumed, &choices);
            prediction(&mut out, cluster, (namespace, name), assumed, &choices);
        }
        About::Queries { backend, at } => {
            let all = queries(cluster, presets, (namespace, name), backend.as_ref());
            for (i, (what, query)) in all.iter().enumerate() {
                let (mark, role) = if i == *at { ("›", Role::Selected) } else { (" ", Role::Strong) };
                out.say(role, format!("{mark} {what}"));
                out.say(Role::Text, format!("    {query}"));
            }
            if out.0.is_empty() {
                out.say(Role::Dim, "there are no metrics of this Service, so there is no query to show");
            }
        }
    }
    out.0
}

/// The numbers of a Service, with the head of their column.
const OF_SERVICE: [(&str, &[Measure]); 6] = [
    ("RPS", &[Measure::Rate]),
    ("ERR%: failed requests per second, as a part of RPS", &[Measure::Errors]),
    ("P50", &[Measure::P50]),
    ("P95", &[Measure::P95]),
    ("P99", &[Measure::P99]),
    ("ACTIVE", &[Measure::Active]),
];

/// The numbers of a backend. The first measure that the preset has is used.
const OF_BACKEND: [(&str, &[Measure]); 6] = [
    ("RPS, and SHARE as its part of all backends", &[Measure::BackendRate, Measure::Rate]),
    ("ERR%: failed requests per second, as a part of RPS", &[Measure::BackendErrors, Measure::Errors]),
    ("P95", &[Measure::BackendP95, Measure::BackendMean]),
    ("ACTIVE", &[Measure::Active]),
    ("weight", &[Measure::Weight, Measure::ConfiguredWeight]),
    ("READY, for backends without an endpoint", &[Measure::State]),
];

/// Returns the queries behind the numbers of a Service, or of one of its backends: what each measures, and its text.
pub fn queries(
    cluster: &Cluster,
    presets: &[Preset],
    (namespace, name): (&Name, &Name),
    backend: Option<&Name>,
) -> Vec<(String, String)> {
    let Some(row) = cluster.measured(namespace, name) else { return Vec::new() };
    let traffic = &row.traffic;
    let Some(preset) = presets.iter().find(|preset| preset.name == traffic.preset) else {
        return Vec::new();
    };
    let backend = backend.and_then(|name| traffic.backends.iter().find(|backend| backend.name == *name));
    let (measures, of) = match backend {
        Some(backend) => (OF_BACKEND, backend.name.to_string()),
        None => (OF_SERVICE, format!("{namespace}/{name}")),
    };
    let query = |(what, measures): (&str, &[Measure])| {
        let text = measures.iter().find_map(|measure| promql(preset, *measure, traffic, backend))?;
        Some((format!("{what} of {of}"), text))
    };
    measures.into_iter().filter_map(query).collect()
}

/// Writes a line for each assumption that can be made, with the chosen name or number.
fn assumptions(out: &mut Lines, assumed: &Assumed, choices: &Choices) {
    if choices.lines().is_empty() {
        out.say(Role::Dim, "this Service has no backends");
    }
    let count = |of: &[(Name, usize)], name: &Name| {
        let count = of.iter().find(|(held, _)| held == name).map_or(0, |(_, count)| *count);
        format!("({})", text::count(count, "backend"))
    };
    let weight = |of: &[(Name, f64)], changed: &BTreeMap<Name, f64>, name: &Name| {
        let now = of.iter().find(|(held, _)| held == name).map_or(0.0, |(_, now)| *now);
        match changed.get(name).filter(|changed| (**changed - now).abs() > f64::EPSILON) {
            Some(changed) => format!(": {now} → {changed}"),
            None => format!(": {now}"),
        }
    };
    for what in choices.lines() {
        let chosen = what == assumed.what;
        let (name, more) = match what {
            What::Backend => (assumed.backend.to_string(), String::new()),
            What::Node => (assumed.node.to_string(), count(&choices.nodes, &assumed.node)),
            What::Zone => (assumed.zone.to_string(), count(&choices.zones, &assumed.zone)),
            What::More => (assumed.more.to_string(), String::new()),
            What::Weight => (
                assumed.weight_of.to_string(),
                weight(&choices.weights, &assumed.weights, &assumed.weight_of),
            ),
            What::PartWeight => {
                (assumed.part.to_string(), weight(&choices.parts, &assumed.part_weights, &assumed.part))
            }
        };
        let (mark, name) =
            if chosen { ("›", format!("‹ {name} ›")) } else { (" ", format!("  {name}")) };
        let gap = if more.is_empty() || more.starts_with(':') { "" } else { " " };
        let role = if chosen { Role::Selected } else { Role::Text };
        out.say(role, format!("{mark} {:<20} {name}{gap}{more}", what.as_str()));
    }
}

fn prediction(
    out: &mut Lines,
    cluster: &Cluster,
    (namespace, name): (&Name, &Name),
    assumed: &Assumed,
    choices: &Choices,
) {
    out.say(Role::Text, "");
    let Some(row) = cluster.measured(namespace, name) else {
        return out.say(Role::Dim, "there are no metrics of this Service, so nothing can be predicted");
    };
    let Some(change) = assumed.assumes(choices) else {
        return out.say(Role::Dim, "+ and - change the weight");
    };
    let predicted = predict(cluster, row, &[change]);
    verdict(out, &predicted);
    table(out, &predicted);
    let expected = balancing(row);
    let total = predicted.rps.map_or_else(String::new, |rps| format!("{} rps, ", rate(Some(rps))));
    out.say(Role::Dim, format!("  {total}{expected}"));
    for missing in &predicted.unknown {
        out.say(Role::Dim, format!("  {}", missing.as_str()));
    }
}

/// Writes what breaks first, and what breaks besides.
fn verdict(out: &mut Lines, predicted: &Prediction) {
    for (i, broken) in predicted.breaks.iter().take(4).enumerate() {
        let (role, glyph) = match broken {
            Break::NoBackend | Break::EmptyPart { .. } | Break::OverLimit { .. } => (Role::Critical, "✖"),
            Break::Slow { .. } | Break::OverRequest { .. } | Break::OverMost { .. } => (Role::Warning, "!"),
        };
        let lead = if i == 0 && predicted.breaks.len() > 1 { "first: " } else { "" };
        out.say(role, format!("{glyph} {lead}{broken}"));
    }
    if predicted.breaks.is_empty() {
        out.say(Role::Ok, "  no backend exceeds a known limit");
    }
}

/// Writes the backends before and after.
fn table(out: &mut Lines, predicted: &Prediction) {
    let part = |of: Option<f64>| {
        of.filter(|of| of.is_finite()).map_or_else(|| "–".into(), |of| format!("{:.0}%", of * 100.0))
    };
    let change = |before: String, after: String| {
        if before == after { after } else { format!("{before} → {after}") }
    };
    let row = |one: &Predicted| {
        let beyond = |of: Option<f64>| of.is_some_and(|of| of > 1.0);
        let gone = one.share_after == Some(0.0) && one.share_before.is_some_and(|share| share > 0.0);
        let grade = if beyond(one.of_limit) {
            Grade::Critical
        } else if beyond(one.of_request) || one.of_most.is_some_and(|of| of > MUCH_MORE) {
            Grade::Warning
        } else if gone || one.added {
            Grade::Info
        } else {
            Grade::Fine
        };
        TableRow {
            grade,
            cells: vec![
                text::tail(&one.name, NAME),
                change(percent(one.share_before), percent(one.share_after)),
                change(rate(one.rps_before), rate(one.rps_after)),
                part(one.of_request),
                part(one.of_limit),
                part(one.of_most),
            ],
            object: None,
        }
    };
    let rows: Vec<TableRow> = predicted.backends.iter().map(row).collect();
    out.say(Role::Text, "");
    out.table(&["BACKEND", " SHARE %", " RPS", " OF REQUEST", " OF LIMIT", " OF MOST"], &rows);
}
