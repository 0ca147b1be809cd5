//! The lines of the texts that are updated with the World: causes, descriptions, events, error groups, actions and
//! help.

use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::time::{Stamp, age_of_running};
use pilothouse_core::facts::action::undone;
use pilothouse_core::facts::world::{Cause, Cluster, Silenced, StepState, World};

use super::super::app::{Screen, TextLine, TextSource, Ui};
use super::super::cell::{past, rate};
use super::super::command::{COMMANDS, Context, Risk};
use super::super::pane::novelty::Novelty;
use super::super::pane::{causes, errors};
use super::super::request::LogLine;
use super::super::rows::actions;
use super::super::targets;
use super::super::theme::Role;
use super::super::widget::text;
use super::alert;
use super::describe::{self, Lines};
use super::help;
use super::sides;

/// Lists the silenced findings, who silenced them and for how long.
fn silenced(out: &mut Lines, ui: &Ui, cluster: &Cluster) {
    let all = &cluster.derived.silenced;
    if all.is_empty() {
        out.say(Role::Dim, "no current finding is silenced");
    }
    for (n, Silenced { cause, by }) in all.iter().enumerate() {
        let grade = causes::grade(cause);
        out.say(grade.role(), format!("{:>3}. {} {}", n + 1, grade.glyph(), cause));
        out.say(Role::Dim, format!("     {by}"));
    }
    if let Some(key) = ui.key(super::super::command::Cmd::Silence).filter(|_| !all.is_empty()) {
        out.say(Role::Text, String::new());
        out.say(
            Role::Key,
            format!("{key} ends one silence or all; silences from the config apply again at the next start"),
        );
    }
}

/// Returns the lines that were fetched for an error group.
fn lines_below<'a>(ui: &'a Ui, fingerprint: &Name) -> &'a [TextLine] {
    match ui.screen() {
        Screen::Text(view) => &view.below.lines,
        _ if ui.details.below_of == *fingerprint => &ui.details.below.lines,
        _ => &[],
    }
}

/// Builds the lines of a source. Returns `None` if the API server provides the text, which then stays unchanged.
pub fn lines(ui: &Ui, world: &World, source: &TextSource) -> Option<Vec<TextLine>> {
    // a text about an object is about the object's cluster, which may not be the one in front
    let cluster = match source {
        TextSource::Describe(object) | TextSource::Events(object) => world.cluster(object.cluster)?,
        TextSource::Why(key) => causes::of_key(ui, world, &Uid::Text(key.clone()))?.0,
        _ => ui.shown(world)?,
    };
    let now = ui.now;
    let mut out = Lines(Vec::new());
    match source {
        TextSource::Why(key) => {
            let (_, cause) = causes::of_key(ui, world, &Uid::Text(key.clone()))?;
            let grade = causes::grade(cause);
            out.say(grade.role(), format!("{} {}", grade.glyph(), cause));
            let since = cause.since.map_or_else(
                || "before this console started".into(),
                |s| format!("{} ({})", s.told(now), past(now, s)),
            );
            out.say(Role::Text, String::new());
            out.field("since", since);
            let r = cause.impact;
            let mut affects: Vec<String> = [(r.services, "service"), (r.nodes, "node"), (r.pods, "pod")]
                .into_iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, noun)| text::count(n as usize, noun))
                .collect();
            affects.extend(r.error_ratio.map(|e| format!("{:.1}% errors", e * 100.0)));
            out.field("affects", affects.join(", "));
            out.field("rule", cause.rule());
            if let Some(action) = &cause.action {
                let key = ui.key(action.command().into());
                let key = key.map_or_else(String::new, |k| format!("{k}: "));
                out.say(Role::Key, format!("  {:<14} {key}{action}", "can do"));
            }
            choices(&mut out, ui, cause);
            out.head("Evidence");
            for line in cause.lines() {
                out.say(Role::Text, format!("  {line}"));
            }
            if cause.evidence.is_empty() {
                out.say(Role::Dim, "  no more than the title");
            }
            if !cause.objects.is_empty() {
                out.head("About");
                for object in cause.objects.iter().take(40) {
                    out.about(Role::Text, format!("  {object}"), object.clone());
                }
                if cause.objects.len() > 40 {
                    out.say(Role::Dim, format!("  and {} more", cause.objects.len() - 40));
                }
            }
            // describes the main object of the cause and the workload that owns it
            let main = cause.objects.first();
            let behind = cause.objects.iter().skip(1).find(|o| cluster.workloads(&o.kind).is_some());
            for object in main.into_iter().chain(behind) {
                out.say(Role::Text, "");
                out.0.extend(describe::lines(cluster, object, now));
            }
        }
        TextSource::Describe(object) => {
            let is = |o: &ObjectRef| {
                o.kind == object.kind && o.namespace == object.namespace && o.name == object.name
            };
            // lists the causes in NOW that are about the object
            for cause in cluster.derived.causes.iter().filter(|c| c.objects.iter().any(is)).take(3) {
                let grade = causes::grade(cause);
                out.say(grade.role(), format!("{} {}", grade.glyph(), cause));
            }
            if !out.0.is_empty() {
                out.say(Role::Text, "");
            }
            out.0.extend(describe::lines(cluster, object, now));
        }
        TextSource::Events(object) => describe::events(&mut out, cluster, object, now),
        TextSource::ErrorGroup(fingerprint) => {
            let group = cluster.logs.groups.iter().find(|g| g.fingerprint == *fingerprint)?;
            out.say(Role::Strong, group.template.to_string());
            out.say(Role::Text, String::new());
            out.field("level", group.level.as_str());
            out.field(
                "lines",
                format!("{}, recently {}/min", text::grouped(group.count), rate(Some(group.per_minute))),
            );
            let novelty = Novelty::of(cluster, ui.new_since, now);
            let new = if novelty.has(group) { " NEW" } else { "" };
            let earlier = if group.or_earlier { " or earlier: no older line was read" } else { "" };
            let first = format!("{} ({}){earlier}{new}", group.first.told(now), past(now, group.first));
            out.field("first seen", first);
            out.field("last seen", format!("{} ({})", group.last.told(now), past(now, group.last)));
            out.field("versions", errors::versions(group, cluster));
            let zone = |node: &Name| cluster.node(node).and_then(|n| n.zone.clone());
            for (what, names) in [
                ("images", group.images.to_vec()),
                ("nodes", group.nodes.to_vec()),
                ("zones", group.zones(zone)),
            ] {
                if !names.is_empty() {
                    out.field(what, errors::some(&names));
                }
            }
            out.field("trend", text::trend(&group.trend, 60));
            out.head("Workloads");
            for workload in group.workloads.iter() {
                match errors::workload(cluster, workload) {
                    Some(object) => out.about(Role::Text, format!("  {workload}"), object),
                    None => out.say(Role::Text, format!("  {workload}")),
                }
            }
            if group.pod_count > 0 {
                out.head(&format!("Pods: {}", group.pod_count));
            }
            for name in group.pods.iter() {
                match errors::pod(cluster, name) {
                    Some(object) => out.about(Role::Text, format!("  {name}"), object),
                    // this pod wrote the lines and no longer exists
                    None => out.say(Role::Dim, format!("  {name}")),
                }
            }
            // some of the lines are shown below
            if lines_below(ui, fingerprint).is_empty() {
                out.head("Example line");
                out.say(Role::Text, format!("  {}", group.sample));
            }
        }
        TextSource::Alert(fingerprint) => alert::lines(&mut out, ui, cluster, fingerprint, now)?,
        TextSource::Action(id) => action(&mut out, world, id, now)?,
        TextSource::Silenced => silenced(&mut out, ui, cluster),
        TextSource::Help => help::lines(&mut out, ui),
        TextSource::Asked(_) | TextSource::Fixed => return None,
    }
    Some(out.0)
}

/// Lists the actions that fit the object of a cause, with their keys.
fn choices(out: &mut Lines, ui: &Ui, cause: &Cause) {
    let Some(main) = cause.objects.first() else { return };
    let fitting = COMMANDS.iter().filter(|c| {
        c.risk == Risk::Rehearsed && c.contexts.contains(&Context::Text) && targets::fits(c.cmd, &main.kind)
    });
    let fitting: Vec<_> = fitting.filter_map(|c| Some((ui.key(c.cmd)?, c))).collect();
    if fitting.is_empty() {
        return;
    }
    // a key that fits the object may do nothing about the trouble
    let helps = if cause.action.is_some() { "" } else { "; none of them is known to fix this" };
    out.head(&format!("Actions on {main}, each with a rehearsal{helps}"));
    for (key, command) in fitting {
        out.say(Role::Text, format!("  {key}  {:<16} {}", command.title, command.doc));
    }
}

/// Formats the lines of an error group, the newest first, so that the requested lines are visible without scrolling.
pub fn error_lines(lines: &[LogLine]) -> Vec<TextLine> {
    let mut out = Lines(vec![TextLine::default()]);
    let title = match lines.len() {
        0 => "Lines: none is kept any more".to_owned(),
        n => format!("Lines: the newest {n} that are kept, newest first"),
    };
    out.0.push(TextLine::new(Role::Title, title));
    for line in lines.iter().rev() {
        let at = line.at.map_or_else(|| "--:--:--".into(), Stamp::clock_secs);
        let mut parts = line.text.lines();
        // a line of a log file is identified by the name of the file
        let who = if line.pod.is_empty() { &line.container } else { &line.pod };
        out.say(Role::Text, format!("  {at} {who} {}", parts.next().unwrap_or_default()));
        for part in parts {
            out.say(Role::Dim, format!("           {}", part.replace('\t', "    ")));
        }
    }
    out.0
}

fn action(out: &mut Lines, world: &World, id: &str, now: Stamp) -> Option<()> {
    let action = world.actions.iter().find(|a| a.id == *id)?;
    let grade = actions::grade(action);
    let state = actions::state(action, &undone(&world.actions));
    out.say(Role::Strong, actions::title(action));
    out.say(grade.role(), format!("{} {state} {}", grade.glyph().trim(), action.message).trim().to_owned());
    out.say(Role::Text, String::new());
    out.field("id", &action.id);
    out.field("context", &action.plan.intent.context);
    out.field("started", format!("{} ({})", action.started.told(now), past(now, action.started)));
    out.field("ended", action.ended.map_or_else(String::new, |at| at.told(now)));
    out.field("kubectl", &action.plan.kubectl);
    out.field("undo", &action.plan.undo);
    if action.foreign {
        out.say(Role::Info, "  done by another process, read from its journal");
    }
    sides::lines(out, world, action);
    out.head("Steps");
    for (at, step) in action.steps.iter().enumerate() {
        let role = match step.state {
            StepState::Failed | StepState::Unknown => Role::Critical,
            StepState::Verified => Role::Ok,
            StepState::Running | StepState::Accepted | StepState::Held => Role::Info,
            StepState::Waiting | StepState::Skipped => Role::Dim,
        };
        out.say(
            role,
            format!(
                "  {:<9} {:>4}  {} {}{}  {}",
                step.state.as_str(),
                step.at.map_or_else(|| "–".into(), |at| age_of_running(now.since(at))),
                step.what,
                step.on,
                sides::place(action, at),
                step.note
            ),
        );
    }
    Some(())
}
