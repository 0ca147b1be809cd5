//! The report of an incident: what happened, its times, a table of the timeline, actions, error groups and notes, as
//! Markdown for people and as JSON for programs.

use std::fmt::Write as _;

use pilothouse_core::domain::incident::{Incident, OpenedBy, RemarkKind, duration};
use pilothouse_core::domain::text::{clean, count};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ActionView, Cluster, Outcome, World};
use pilothouse_core::state::timeline::{Line, lines, seen_since};
use serde::Serialize;

/// The version of the JSON form.
pub const SCHEMA: &str = "pilothouse/report/v1";

/// The timeline of a report begins this long before its incident.
const BEFORE_MS: i64 = 900_000;
/// The largest number of lines of a report.
const LINES: usize = 1_000;
/// The number of error groups of a report.
const ERRORS: usize = 20;

/// The JSON form.
#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub at: Stamp,
    pub cluster: String,
    /// Since when the console recorded what was displayed.
    pub recorded_since: Option<Stamp>,
    pub incidents: Vec<IncidentReport>,
    pub timeline: Vec<LineReport>,
    pub actions: Vec<ActionReport>,
    pub error_groups: Vec<ErrorReport>,
    pub notes: Vec<NoteReport>,
}

/// One incident. Times that are not known are null.
#[derive(Debug, Serialize)]
pub struct IncidentReport {
    pub id: u32,
    pub opened_by: OpenedBy,
    pub began: Stamp,
    pub detected: Stamp,
    pub acknowledged: Option<Stamp>,
    pub acknowledged_by: Option<String>,
    pub diagnosed: Option<Stamp>,
    pub diagnosis: Option<String>,
    pub recovered: Option<Stamp>,
    pub closed: Option<Stamp>,
    /// From its beginning to its detection, in seconds.
    pub mttd_seconds: f64,
    /// From its detection to its acknowledgement, in seconds.
    pub mtta_seconds: Option<f64>,
    /// From its beginning to its recovery, in seconds.
    pub mttr_seconds: Option<f64>,
    pub findings: Vec<FindingReport>,
    /// The number of further findings at a time, of which nothing was kept.
    pub findings_left_out: usize,
    pub services: Vec<String>,
    pub budgets: Vec<BudgetReport>,
    pub actions: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct FindingReport {
    pub rule: &'static str,
    pub object: Option<String>,
    pub severity: &'static str,
    pub title: String,
    pub began: Stamp,
    pub detected: Stamp,
    pub ended: Option<Stamp>,
}

/// The shares of an error budget that were left, 1 is all of it.
#[derive(Debug, Serialize)]
pub struct BudgetReport {
    pub service: String,
    pub objective: String,
    pub left_before: f64,
    pub left_after: f64,
}

#[derive(Debug, Serialize)]
pub struct LineReport {
    pub at: Stamp,
    pub kind: &'static str,
    pub severity: Option<&'static str>,
    pub object: Option<String>,
    pub what: String,
    pub by: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ActionReport {
    pub id: String,
    pub what: &'static str,
    pub targets: Vec<String>,
    pub started: Stamp,
    pub ended: Option<Stamp>,
    pub outcome: Option<&'static str>,
    pub message: String,
    pub steps: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct ErrorReport {
    pub first: Stamp,
    pub last: Stamp,
    pub count: u64,
    pub template: String,
    pub workloads: Vec<String>,
    pub versions: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct NoteReport {
    pub at: Stamp,
    pub by: String,
    /// None: a bookmark.
    pub text: Option<String>,
    pub object: Option<String>,
}

/// Makes the report of a cluster: of its last incident and the time around it, or of everything that is known if there
/// was none.
pub fn report(world: &World, cluster: &Cluster) -> Report {
    let derived = &cluster.derived;
    let last = derived.incidents.first();
    let from = last.map(|incident| Stamp(incident.began.0.saturating_sub(BEFORE_MS)));
    let within = |at: Stamp| from.is_none_or(|from| at >= from);
    let mut timeline: Vec<LineReport> = lines(world, cluster)
        .iter()
        .filter(|line| !line.usual && within(line.at))
        .take(LINES)
        .map(line)
        .collect();
    timeline.reverse();
    let actions = world.actions.iter().filter(|action| action.is_of(cluster) && within(action.started));
    let mut errors: Vec<_> = cluster.logs.groups.iter().filter(|group| within(group.last)).collect();
    errors.sort_by_key(|group| std::cmp::Reverse(group.count));
    Report {
        schema: SCHEMA,
        at: world.at,
        cluster: cluster.info.context.to_string(),
        recorded_since: seen_since(cluster),
        incidents: derived.incidents.iter().map(|incident| of_incident(incident)).collect(),
        timeline,
        actions: actions.map(|action| of_action(action)).collect(),
        error_groups: errors
            .into_iter()
            .take(ERRORS)
            .map(|group| ErrorReport {
                first: group.first,
                last: group.last,
                count: group.count,
                template: clean(&group.template).into_owned(),
                workloads: group.workloads.iter().map(ToString::to_string).collect(),
                versions: group.versions.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        notes: derived
            .remarks
            .iter()
            .filter(|remark| within(remark.at))
            .map(|remark| NoteReport {
                at: remark.at,
                by: remark.by.to_string(),
                text: match &remark.kind {
                    RemarkKind::Note(text) => Some(clean(text).into_owned()),
                    _ => None,
                },
                object: remark.object.as_ref().map(ToString::to_string),
            })
            .collect(),
    }
}

fn secs(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn of_incident(incident: &Incident) -> IncidentReport {
    IncidentReport {
        id: incident.id,
        opened_by: incident.by,
        began: incident.began,
        detected: incident.detected,
        acknowledged: incident.acknowledged.as_ref().map(|(at, _)| *at),
        acknowledged_by: incident.acknowledged.as_ref().map(|(_, by)| by.to_string()),
        diagnosed: incident.diagnosed.as_ref().map(|(at, _)| *at),
        diagnosis: incident.diagnosed.as_ref().map(|(_, how)| clean(&how.to_string()).into_owned()),
        recovered: incident.recovered,
        closed: incident.closed,
        mttd_seconds: secs(incident.to_detect()),
        mtta_seconds: incident.to_acknowledge().map(secs),
        mttr_seconds: incident.to_recover().map(secs),
        findings_left_out: incident.left_out,
        findings: incident
            .findings
            .iter()
            .map(|finding| FindingReport {
                rule: finding.code.as_str(),
                object: finding.object.as_ref().map(ToString::to_string),
                severity: finding.severity.as_str(),
                title: clean(&finding.line).into_owned(),
                began: finding.began,
                detected: finding.detected,
                ended: finding.ended,
            })
            .collect(),
        services: incident.services.iter().map(ToString::to_string).collect(),
        budgets: incident
            .budgets
            .iter()
            .map(|budget| BudgetReport {
                service: format!("{}/{}", budget.namespace, budget.service),
                objective: budget.objective.to_string(),
                left_before: budget.before,
                left_after: budget.after,
            })
            .collect(),
        actions: incident.actions.iter().map(ToString::to_string).collect(),
    }
}

fn line(line: &Line) -> LineReport {
    let place = line.place();
    LineReport {
        at: line.at,
        kind: line.kind.as_str(),
        severity: line.severity.map(pilothouse_core::domain::cause::Severity::as_str),
        object: Some(place).filter(|place| !place.is_empty()),
        what: clean(&line.what.to_string()).into_owned(),
        by: line.by.as_ref().map(ToString::to_string),
    }
}

fn of_action(action: &ActionView) -> ActionReport {
    ActionReport {
        id: action.id.to_string(),
        what: action.plan.intent.act.as_str(),
        targets: action.plan.intent.targets.iter().map(ToString::to_string).collect(),
        started: action.started,
        ended: action.ended,
        outcome: action.outcome.map(Outcome::as_str),
        message: clean(&action.message).into_owned(),
        steps: action
            .steps
            .iter()
            .map(|step| format!("{} {}: {}", step.what, step.on, step.state.as_str()))
            .collect(),
    }
}

/// Writes the report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# Incident report of {}\n\n", md(&report.cluster));
    let told = format!("Written {} by pilothouse. All times are UTC.", report.at);
    out += &told;
    match report.recorded_since {
        Some(since) => {
            let _infallible =
                writeln!(out, " Recorded since {since}; before, only what events and objects still say.\n");
        }
        None => out += " Nothing was recorded.\n\n",
    }
    if report.incidents.is_empty() {
        out += "There was no incident.\n\n";
    }
    for incident in &report.incidents {
        of_one(&mut out, incident);
    }
    out += "## Timeline\n\n| time | kind | object | what | by |\n|---|---|---|---|---|\n";
    for line in &report.timeline {
        let _infallible = writeln!(
            out,
            "| {} | {}{} | {} | {} | {} |",
            line.at.clock_secs(),
            line.severity.filter(|s| *s != "info").map_or_else(String::new, |s| format!("{s} ")),
            line.kind,
            md(line.object.as_deref().unwrap_or_default()),
            md(&line.what),
            md(line.by.as_deref().unwrap_or_default()),
        );
    }
    if !report.actions.is_empty() {
        out += "\n## Actions\n\n";
        for action in &report.actions {
            let _infallible = writeln!(
                out,
                "- {} {} {}: {}{} (`{}`)",
                action.started.clock_secs(),
                action.what,
                md(&action.targets.join(", ")),
                action.outcome.unwrap_or("runs"),
                if action.message.is_empty() { String::new() } else { format!(", {}", md(&action.message)) },
                action.id,
            );
            for step in &action.steps {
                let _infallible = writeln!(out, "  - {}", md(step));
            }
        }
    }
    if !report.error_groups.is_empty() {
        out += "\n## Error groups\n\n| first | last | lines | workloads | versions | error |\n|---|---|---|---|---|---|\n";
        for group in &report.error_groups {
            let _infallible = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                group.first.clock_secs(),
                group.last.clock_secs(),
                group.count,
                md(&group.workloads.join(", ")),
                md(&group.versions.join(", ")),
                md(&group.template),
            );
        }
    }
    if !report.notes.is_empty() {
        out += "\n## Notes\n\n";
        for note in &report.notes {
            let text = note.text.as_deref().unwrap_or("bookmark");
            let on = note.object.as_ref().map_or_else(String::new, |on| format!(" ({})", md(on)));
            let _infallible = writeln!(out, "- {} {}{on}", note.at.clock_secs(), md(text));
        }
    }
    out
}

fn of_one(out: &mut String, incident: &IncidentReport) {
    let state = match (incident.closed, incident.recovered) {
        (None, _) => "open",
        (Some(_), Some(_)) => "recovered",
        (Some(_), None) => "closed by a person",
    };
    let _infallible = writeln!(out, "## Incident {}: {state}\n", incident.id);
    if let Some(first) = incident.findings.first() {
        let _infallible = writeln!(out, "{}\n", md(&first.title));
    }
    let clock = |at: Option<Stamp>| at.map_or_else(|| "–".into(), |at| at.to_string());
    let ms = |secs: Option<f64>| duration(secs.map(|secs| (secs * 1000.0).round() as u64));
    out.push_str("| | time | figure |\n|---|---|---|\n");
    for (what, at, figure) in [
        ("began", Some(incident.began), String::new()),
        ("detected", Some(incident.detected), format!("MTTD {}", ms(Some(incident.mttd_seconds)))),
        ("acknowledged", incident.acknowledged, format!("MTTA {}", ms(incident.mtta_seconds))),
        ("diagnosed", incident.diagnosed, md(incident.diagnosis.as_deref().unwrap_or_default())),
        ("recovered", incident.recovered, format!("MTTR {}", ms(incident.mttr_seconds))),
        ("closed", incident.closed, String::new()),
    ] {
        let _infallible = writeln!(out, "| {what} | {} | {figure} |", clock(at));
    }
    out.push('\n');
    for finding in &incident.findings {
        let ended = finding.ended.map_or_else(|| "lasts".into(), |at| format!("ended {}", at.clock_secs()));
        let _infallible = writeln!(
            out,
            "- {} `{}` {}, since {}, {ended}",
            finding.severity,
            finding.rule,
            md(&finding.title),
            finding.began.clock_secs()
        );
    }
    if incident.findings_left_out > 0 {
        let _infallible = writeln!(
            out,
            "- and {}, of which nothing was kept",
            count(incident.findings_left_out as u64, "further finding")
        );
    }
    if !incident.services.is_empty() {
        let names = md(&incident.services.join(", "));
        let _infallible =
            writeln!(out, "- affects {}: {names}", count(incident.services.len() as u64, "service"));
    }
    for budget in &incident.budgets {
        let _infallible = writeln!(
            out,
            "- error budget of {} ({}): {:.1} % left before, {:.1} % after",
            md(&budget.service),
            md(&budget.objective),
            budget.left_before * 100.0,
            budget.left_after * 100.0
        );
    }
    out.push('\n');
}

/// Escapes a text for a cell of a Markdown table: no new cells, lines, tags or links.
fn md(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // before the text is cleaned, which would make a line feed visible
    for c in clean(&text.replace(['\n', '\r'], " ")).chars() {
        match c {
            '|' | '<' | '`' | '*' | '[' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::incident::Remark;

    use super::*;

    #[test]
    fn a_text_from_outside_stays_one_cell() {
        assert_eq!(
            md("a|b <x> `c`\n# d \u{1b}[31m"),
            "a\\|b \\<x> \\`c\\` # d ^[\\[31m".replace("^[", &clean("\u{1b}"))
        );
        let mut cluster = Cluster::default();
        let note = |at, text: &str| {
            Arc::new(Remark {
                at: Stamp::from_secs(at),
                by: "ann".into(),
                kind: RemarkKind::Note(text.into()),
                object: None,
            })
        };
        cluster.derived.remarks = [note(60, "first | second"), note(120, "## not a title")].into();
        let report = report(&World::default(), &cluster);
        let text = markdown(&report);
        assert!(text.contains("| 00:01:00 | note |  | first \\| second | ann |"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 3, "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["timeline"][0]["what"], "first | second", "the oldest first");
        assert_eq!(json["notes"].as_array().unwrap().len(), 2);
    }
}
