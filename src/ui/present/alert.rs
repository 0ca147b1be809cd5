//! The text about an alert: what it says, its labels, links and silences.

use pilothouse_core::domain::alert::{Alert, AlertRow, NAME};
use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::text::is_safe;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::policy::alerts::link;

use super::super::app::Ui;
use super::super::cell::past;
use super::super::command::Cmd;
use super::super::rows::alerts::grade_of;
use super::super::theme::Role;
use super::describe::Lines;

/// Returns the links of an alert, each with what it leads to.
pub fn links(cluster: &Cluster, alert: &Alert) -> Vec<(&'static str, String)> {
    let page = |url: Option<&Name>| url.map(ToString::to_string);
    let generator = Some(&alert.generator).filter(|url| url.starts_with("http"));
    let all = [
        ("runbook", page(alert.runbook())),
        ("dashboard", page(alert.dashboard())),
        ("expression", page(generator)),
        ("Alertmanager", link(&cluster.alerts.base, alert)),
    ];
    all.into_iter().filter_map(|(what, url)| Some((what, url.filter(|url| is_safe(url))?))).collect()
}

/// Writes the lines about an alert. Returns `None` if it does not exist any more.
pub fn lines(out: &mut Lines, ui: &Ui, cluster: &Cluster, fingerprint: &str, now: Stamp) -> Option<()> {
    let row = cluster.derived.alerts.iter().find(|row| row.alert.fingerprint == fingerprint)?;
    let alert = &row.alert;
    let grade = grade_of(row);
    out.say(grade.role(), format!("{} {}", grade.glyph(), alert.name()).trim_start().to_owned());
    for line in alert.summary().lines() {
        out.say(Role::Strong, format!("  {line}"));
    }
    out.say(Role::Text, String::new());
    out.field("state", alert.state.as_str());
    out.field("since", format!("{} ({})", alert.since.told(now), past(now, alert.since)));
    let receivers: Vec<&str> = alert.receivers.iter().map(Name::as_str).collect();
    out.field("receivers", receivers.join(", "));
    out.field("read from", cluster.alerts.origin.as_str());
    if let Some(description) = alert.description() {
        out.say(Role::Text, String::new());
        for line in description.lines() {
            out.say(Role::Text, format!("  {line}"));
        }
    }
    about(out, row);
    links_of(out, ui, cluster, alert);
    hidden_by(out, cluster, alert, now);
    out.head("Labels");
    for (name, value) in alert.labels.iter() {
        out.say(if name == NAME { Role::Dim } else { Role::Text }, format!("  {name:<24} {value}"));
    }
    let shown = ["summary", "description"];
    let others: Vec<_> =
        alert.annotations.iter().filter(|(name, _)| !shown.contains(&name.as_str())).collect();
    if !others.is_empty() {
        out.head("Annotations");
        for (name, value) in others {
            let mut lines = value.lines();
            out.say(Role::Text, format!("  {name:<24} {}", lines.next().unwrap_or_default()));
            for line in lines {
                out.say(Role::Text, format!("  {:<24} {line}", ""));
            }
        }
    }
    Some(())
}

fn about(out: &mut Lines, row: &AlertRow) {
    if row.objects.is_empty() {
        return;
    }
    out.head("About");
    for object in row.objects.iter() {
        out.about(Role::Text, format!("  {object}"), object.clone());
    }
}

fn links_of(out: &mut Lines, ui: &Ui, cluster: &Cluster, alert: &Alert) {
    let links = links(cluster, alert);
    if links.is_empty() && alert.generator.is_empty() {
        return;
    }
    let key = ui.key(Cmd::CopyLink).filter(|_| !links.is_empty());
    let key = key.map_or_else(String::new, |key| format!(", {key} copies one after the other"));
    out.head(&format!("Links{key}"));
    for (what, url) in &links {
        out.link(what, url);
    }
    if !links.iter().any(|(what, _)| *what == "expression") {
        out.field("expression", &alert.generator);
    }
}

/// Says what keeps an alert from being notified.
fn hidden_by(out: &mut Lines, cluster: &Cluster, alert: &Alert, now: Stamp) {
    if !alert.silenced_by.is_empty() {
        out.head("Silenced by");
    }
    for id in alert.silenced_by.iter() {
        let Some(silence) = cluster.alerts.silence(id) else {
            out.say(Role::Dim, format!("  {id}"));
            continue;
        };
        out.say(Role::Text, format!("  {}", silence.words()));
        out.say(Role::Text, format!("    {} by {}", silence.comment, silence.author));
        let ends = silence.ends.told(now);
        out.say(Role::Dim, format!("    until {ends}, since {}, {}", silence.starts.told(now), silence.id));
    }
    if !alert.inhibited_by.is_empty() {
        out.head("Inhibited by");
    }
    for fingerprint in alert.inhibited_by.iter() {
        let other = cluster.alerts.alert(fingerprint);
        out.say(Role::Text, format!("  {}", other.map_or(fingerprint.as_str(), |other| other.name())));
    }
    if !alert.muted_by.is_empty() {
        let names: Vec<&str> = alert.muted_by.iter().map(Name::as_str).collect();
        out.field("muted by", names.join(", "));
    }
}

/// Lists the alerts about an object.
pub fn of_object(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) {
    let mut rows: Vec<_> = cluster.alerts_about(object).collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| grade_of(b).cmp(&grade_of(a)).then(a.alert.since.cmp(&b.alert.since)));
    out.head(&format!("Alerts: {}", rows.len()));
    for row in rows.into_iter().take(20) {
        let (grade, alert) = (grade_of(row), &row.alert);
        let summary = alert.summary().lines().next().unwrap_or_default();
        let since = past(now, alert.since);
        out.say(
            grade.role(),
            format!("{} {:<10} {:<28} {since}  {summary}", grade.glyph(), alert.state.as_str(), alert.name()),
        );
    }
}
