//! Shows a rehearsal and its question as lines.

use pilothouse_core::domain::plan::{
    Act, BudgetWait, Confirm, Fate, Guard, Intent, PdbEffect, Plan, Refusal, ServiceEffect,
};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::Break;

use super::super::app::{Dialog, Question, Stage, TextLine, Ui};
use super::super::cell::{Cell, ago, cell};
use super::super::command::{Cmd, Context};
use super::super::request::Rehearsal;
use super::super::theme::Role;
use super::super::widget::input::InputLine;
use super::super::widget::text;
use super::describe::Lines;

/// The dialog as shown on the screen.
#[derive(Clone, Debug, Default)]
pub struct DialogView {
    pub title: String,
    /// The end of the title in a role of its own: the cluster.
    pub place: Option<Cell>,
    pub danger: bool,
    pub lines: Vec<TextLine>,
    /// The question. It is at the bottom and always visible.
    pub ask: Vec<Cell>,
    /// The text typed so far, if the question asks for text.
    pub typed: Option<InputLine>,
    pub note: String,
    pub keys: Vec<Cell>,
}

/// The maximum number of unplaceable pods that are listed here. The other ones are among the pods below.
const MOST_UNPLACED: usize = 40;

/// Returns the reasons why the plan cannot run. The list is empty if it can.
pub fn refusals(rehearsal: &Rehearsal, read_only: bool) -> Vec<String> {
    let mut all: Vec<String> = rehearsal.plan.refusals.iter().map(Refusal::words).collect();
    if read_only && !is_refused_by(&rehearsal.plan, Guard::ReadOnly) {
        all.push("read-only: this console was started to look only".into());
    }
    all
}

fn is_refused_by(plan: &Plan, guard: Guard) -> bool {
    plan.refusals.iter().any(|r| r.guard() == guard)
}

/// Returns the title, such as `cordon no/ip-10-0-3-7` or `cordon 3 nodes`.
pub fn title(intent: &Intent) -> String {
    let act = match &intent.act {
        Act::Scale(by) => format!("scale to {}", by.replicas),
        Act::Failover { plan, .. } => return format!("{} {}", intent.act.as_str(), plan.name),
        Act::SilenceAlerts(new) => return format!("silence {}", new.alert),
        Act::Undo(derived) => return format!("undo of {}", derived.title),
        Act::Resume(rest) => return format!("rest of {}", rest.title),
        other => other.as_str().to_owned(),
    };
    match intent.targets.as_slice() {
        [one] => format!("{act} {one}"),
        more => format!("{act} {} objects", more.len()),
    }
}

/// Builds the view of a dialog.
pub fn view(ui: &Ui, dialog: &Dialog) -> DialogView {
    let mut view = DialogView {
        title: format!("Rehearsal: {} in", title(&dialog.intent)),
        place: Some(cell(dialog.tint, dialog.intent.context.as_str())),
        danger: dialog.protected,
        note: dialog.note.clone(),
        ..DialogView::default()
    };
    let key = |cmd| ui.keymap.key_in(&[Context::Dialog], cmd);
    let cancel = key(Cmd::Cancel).map_or_else(String::new, |k| format!("{k} cancel"));
    match &dialog.stage {
        Stage::Waiting => {
            view.lines.push(TextLine::new(
                Role::Dim,
                "rehearsing: planning, and checking the permissions on the server …",
            ));
            view.keys.push(cell(Role::Key, cancel));
        }
        Stage::Failed(why) => {
            view.lines.push(TextLine::new(Role::Critical, format!("✖ the rehearsal failed: {why}")));
            view.lines.push(TextLine::new(Role::Text, "nothing was changed"));
            view.keys.push(cell(Role::Key, cancel));
        }
        Stage::Ready(rehearsal) => {
            let refusals = refusals(rehearsal, dialog.read_only);
            if dialog.choosing {
                view.lines = choice_lines(&rehearsal.plan);
                view.ask = vec![cell(Role::Strong, "a number selects an option; any other key goes back")];
                return view;
            }
            view.lines = plan_lines(rehearsal, &refusals, ui.now);
            ask(&mut view, dialog, &rehearsal.plan, &refusals);
            view.keys.push(cell(Role::Key, cancel));
            let asks = refusals.is_empty() && rehearsal.plan.confirm != Confirm::Yes;
            let copy = if is_kubectl(&rehearsal.plan) { "copy kubectl" } else { "copy command" };
            let has = (!rehearsal.plan.choices.is_empty(), !rehearsal.plan.kubectl.is_empty());
            let offers = [(has.0, Cmd::Options, "options"), (has.1, Cmd::CopyKubectl, copy)];
            for (_, cmd, words) in offers.into_iter().filter(|(has, ..)| *has) {
                // a letter that belongs to the requested text is not a command
                let typed = |c: char| !dialog.typed.is_empty() || rehearsal.plan.answer.starts_with(c);
                if let Some(key) = key(cmd)
                    && !(asks && key.typed().is_some_and(typed))
                {
                    view.keys.push(cell(Role::Key, format!("{key} {words}")));
                }
            }
        }
    }
    view
}

/// Whether the equivalent command is one of kubectl. Other programs change an Alertmanager and a HAProxy, and only this one
/// undoes, resumes and runs a failover plan.
pub fn is_kubectl(plan: &Plan) -> bool {
    !matches!(
        plan.intent.act,
        Act::SilenceAlerts(_)
            | Act::EndSilence
            | Act::Server(_)
            | Act::Undo(_)
            | Act::Resume(_)
            | Act::Failover { .. }
    )
}

fn choice_lines(plan: &Plan) -> Vec<TextLine> {
    let mut out = Lines(Vec::new());
    out.head("Options");
    for (i, choice) in plan.choices.iter().take(9).enumerate() {
        let mark = if choice.on { "[x]" } else { "[ ]" };
        let role = if choice.on { Role::Strong } else { Role::Text };
        out.say(role, format!("  {} {mark} {}", i + 1, choice.words));
    }
    if plan.choices.len() > 9 {
        let more = plan.choices.len() - 9;
        let how = "pilothouse rollback KIND/NAME --to-revision N";
        let more = match plan.intent.act {
            Act::Rollback { .. } => format!("  … and {more} older revisions: {how}"),
            _ => format!("  … and {more} more"),
        };
        out.say(Role::Dim, more);
    }
    out.0
}

fn ask(view: &mut DialogView, dialog: &Dialog, plan: &Plan, refusals: &[String]) {
    if !refusals.is_empty() {
        view.ask = vec![cell(Role::Critical, "✖ blocked: see above")];
        return;
    }
    if dialog.painted.is_none() {
        view.ask = vec![cell(Role::Dim, "wait …")];
        return;
    }
    view.ask = match plan.confirm {
        Confirm::Yes => vec![
            cell(Role::KeyDanger, "y"),
            cell(Role::Strong, "do it"),
            cell(Role::Dim, "· any other key cancels"),
        ],
        Confirm::Suffix => vec![
            cell(Role::Strong, "To confirm, type"),
            cell(Role::KeyDanger, plan.answer.as_str()),
            cell(Role::Dim, "and press Enter"),
        ],
        Confirm::Count => vec![
            cell(Role::Strong, "To confirm, type the number of objects:"),
            cell(Role::KeyDanger, plan.answer.as_str()),
            cell(Role::Dim, "and press Enter"),
        ],
        Confirm::Context => vec![
            cell(Role::Strong, "To confirm, type the context's name:"),
            cell(Role::KeyDanger, plan.answer.as_str()),
            cell(Role::Dim, "and press Enter"),
        ],
        Confirm::Server => vec![
            cell(Role::Strong, "To confirm, type the new address:"),
            cell(Role::KeyDanger, plan.answer.as_str()),
            cell(Role::Dim, "and press Enter"),
        ],
    };
    view.danger |= plan.confirm >= Confirm::Context;
    if plan.confirm != Confirm::Yes {
        view.typed = Some(dialog.typed.clone());
    }
}

/// Describes the plan: what blocks it, its steps, its consequences, and how to undo it.
pub fn plan_lines(rehearsal: &Rehearsal, refusals: &[String], now: Stamp) -> Vec<TextLine> {
    let plan = &rehearsal.plan;
    let mut out = Lines(Vec::new());
    for refusal in refusals {
        out.say(Role::Critical, format!("✖ {refusal}"));
    }
    if is_refused_by(plan, Guard::KubectlFilter) {
        out.say(Role::Strong, "  the options (o) have the switches that allow evicting these pods");
    }
    for warning in &plan.warnings {
        let (glyph, role) = if warning.is_grave() { ("✖", Role::Critical) } else { ("!", Role::Warning) };
        out.say(role, format!("{glyph} {warning}"));
    }
    let drain = matches!(plan.intent.act, Act::Drain(_) | Act::Failover { .. }) && !plan.pods.is_empty();
    if drain {
        drain_summary(&mut out, plan);
    }
    out.head(if refusals.is_empty() { "What will be done" } else { "What the action would do" });
    // evictions are listed for each pod below
    let told = plan.steps.iter().filter(|s| !drain || !s.is_eviction());
    let first: Vec<_> = told.take(40).collect();
    for (i, step) in first.iter().enumerate() {
        let place = if step.context.is_empty() { String::new() } else { format!(" in {}", step.context) };
        out.say(Role::Text, format!("  {}. {} {}{place}", i + 1, step.what, step.on));
    }
    let evictions = plan.steps.iter().filter(|s| drain && s.is_eviction()).count();
    if evictions > 0 {
        out.say(
            Role::Text,
            format!("  {}. evict {}, each listed below", first.len() + 1, text::count(evictions, "pod")),
        );
    }
    if plan.steps.is_empty() {
        out.say(
            Role::Dim,
            if refusals.is_empty() { "  nothing: this state is already reached" } else { "  nothing" },
        );
    }
    if plan.steps.len() > first.len() + evictions {
        out.say(Role::Dim, format!("  … and {} more steps", plan.steps.len() - first.len() - evictions));
    }
    if !plan.diff.is_empty() {
        out.head("Changes");
        for line in plan.diff.iter().take(60) {
            let role = match line.chars().next() {
                Some('+') => Role::Ok,
                Some('-') => Role::Critical,
                // what stays, or what is now
                Some(' ') => Role::Text,
                _ => Role::Warning,
            };
            out.say(role, format!("  {line}"));
        }
    }
    if !plan.pdbs.is_empty() {
        out.head("Budgets");
        let free = |p: &&PdbEffect| p.blocks.is_empty() && p.allowed > 0;
        let names: Vec<String> =
            plan.pdbs.iter().filter(free).map(|p| format!("{}/{}", p.namespace, p.name)).collect();
        if !names.is_empty() {
            out.say(Role::Dim, format!("  {} allow all evictions at once: {}", names.len(), names.join(" ")));
        }
        for pdb in plan.pdbs.iter().filter(|p| !free(p)) {
            let since = pdb.since.map_or_else(String::new, |s| format!(", since {}", ago(now, Some(s))));
            let blocks: Vec<&str> =
                pdb.blocks.iter().take(6).map(pilothouse_core::domain::id::Name::as_str).collect();
            // a budget that allows 0 disruptions does not block pods that are not ready
            let held = match (blocks.is_empty(), pdb.allowed <= 0) {
                (true, true) => ": blocks none of these (pods that are not ready may be evicted)".to_owned(),
                (true, false) => String::new(),
                (false, _) => format!(": holds back {}", blocks.join(" ")),
            };
            let (role, glyph) = if pdb.allowed <= 0 && !blocks.is_empty() {
                (Role::Critical, "✖")
            } else {
                (Role::Text, " ")
            };
            out.say(
                role,
                format!("{glyph} PDB {}/{} allows {}{since}{held}", pdb.namespace, pdb.name, pdb.allowed),
            );
            if !pdb.note.is_empty() {
                let never = pdb.wait == Some(BudgetWait::Unbounded);
                out.say(if never { Role::Critical } else { Role::Dim }, format!("    {}", pdb.note));
            }
        }
    }
    if !plan.services.is_empty() {
        out.head("Services");
        for s in &plan.services {
            let role = if s.ready_after == 0 { Role::Critical } else { Role::Text };
            let glyph = if s.ready_after == 0 { "✖" } else { " " };
            out.say(
                role,
                format!(
                    "{glyph} {}/{}: {} ready backends → {}{}",
                    s.namespace,
                    s.name,
                    s.ready_before,
                    s.ready_after,
                    load(s)
                ),
            );
            if let Some(busiest) = busiest(s) {
                out.say(Role::Dim, format!("    {busiest}"));
            }
            // the others are warnings above
            for broken in s.breaks.iter().filter(|broken| matches!(broken, Break::OverMost { .. })) {
                out.say(Role::Warning, format!("!   {broken}"));
            }
        }
    }
    if !plan.unplaced.is_empty() {
        out.head("Fits on no other node");
        for u in plan.unplaced.iter().take(MOST_UNPLACED) {
            out.say(Role::Critical, format!("✖ {}/{}: {}", u.namespace, u.name, u.reason));
        }
        if let more @ 1.. = plan.unplaced.len().saturating_sub(MOST_UNPLACED) {
            out.say(Role::Critical, format!("  … and {more} more pods"));
        }
    }
    if !plan.pods.is_empty() {
        out.head(&format!("Pods: {}", plan.pods.len()));
        // a text that applies to all pods of a group is shown once
        let common = |fate: Fate| {
            let mut reasons = plan.pods.iter().filter(|p| p.fate == fate).map(|p| p.reason.as_str());
            let first = reasons.next().filter(|reason| !reason.is_empty())?;
            let rest: Vec<&str> = reasons.collect();
            (!rest.is_empty() && rest.iter().all(|reason| *reason == first)).then_some(first)
        };
        for fate in [Fate::Refuse, Fate::Wait, Fate::Evict, Fate::Skip] {
            if let Some(reason) = common(fate) {
                out.say(Role::Text, format!("  {:<6} each: {reason}", fate.as_str()));
            }
        }
        let mut pods: Vec<_> = plan.pods.iter().collect();
        pods.sort_by_key(|p| (std::cmp::Reverse(fate_rank(p.fate)), &p.pod.namespace, &p.pod.name));
        for p in pods.iter().take(500) {
            let (glyph, role) = match p.fate {
                Fate::Refuse => ("✖", Role::Critical),
                Fate::Wait => ("!", Role::Warning),
                Fate::Evict => (" ", Role::Text),
                Fate::Skip => (" ", Role::Dim),
            };
            let name = text::tail(&format!("{}/{}", p.pod.namespace, p.pod.name), 44);
            let reason = if common(p.fate).is_some() { "" } else { p.reason.as_str() };
            let line = format!("{glyph} {:<6} {name:<44} {reason}", p.fate.as_str());
            out.say(role, line.trim_end().to_owned());
        }
    }
    if !plan.kubectl.is_empty() {
        out.head(if is_kubectl(plan) { "Equivalent kubectl command" } else { "Equivalent command" });
        out.say(Role::Text, format!("  {}", plan.kubectl));
    }
    out.head("Undo");
    let undo = if plan.undo.is_empty() { "this cannot be undone" } else { plan.undo.as_str() };
    out.say(if plan.undo.is_empty() { Role::Warning } else { Role::Text }, format!("  {undo}"));
    out.0
}

/// Describes the expected load of each remaining backend, if known, such as `, 50 % each, 12.0 → 18.0 rps`.
fn load(s: &ServiceEffect) -> String {
    let share = s.share_after.map_or_else(String::new, |share| format!(", {:.0} % each", share * 100.0));
    match (s.rps_before, s.rps_after) {
        (Some(before), Some(after)) => format!("{share}, {before:.1} → {after:.1} rps"),
        _ => share,
    }
}

/// Describes the predicted load of the backend that gets the most, such as `busiest: web-1, 12.0 → 18.0 rps, CPU 88 % of
/// its request`. Returns `None` if nothing is predicted.
fn busiest(s: &ServiceEffect) -> Option<String> {
    let busiest = s.busiest.as_ref()?;
    let before = busiest.rps_before.map_or_else(String::new, |rps| format!("{rps:.1} → "));
    let part = |of: Option<f64>, whole: &str| {
        of.filter(|of| of.is_finite()).map(|of| format!("{:.0} % of {whole}", of * 100.0))
    };
    let cpu = [part(busiest.of_request, "its request"), part(busiest.of_limit, "its limit")];
    let cpu: Vec<String> = cpu.into_iter().flatten().collect();
    let cpu = if cpu.is_empty() { String::new() } else { format!(", CPU {}", cpu.join(", ")) };
    let most = part(busiest.of_most, "the most seen").map_or_else(String::new, |most| format!(", {most}"));
    Some(format!("busiest: {}, {before}{:.1} rps{cpu}{most}", busiest.backend, busiest.rps_after))
}

fn fate_rank(fate: Fate) -> u8 {
    match fate {
        Fate::Refuse => 3,
        Fate::Wait => 2,
        Fate::Evict => 1,
        Fate::Skip => 0,
    }
}

fn drain_summary(out: &mut Lines, plan: &Plan) {
    let n = |fate| plan.pods.iter().filter(|p| p.fate == fate).count();
    let (evict, wait, skip, refuse) = (n(Fate::Evict), n(Fate::Wait), n(Fate::Skip), n(Fate::Refuse));
    if !plan.silent.is_empty() {
        let stay = plan.pods.iter().filter(|p| p.fate != Fate::Skip && plan.silent.contains(&p.node)).count();
        out.say(
            Role::Critical,
            format!(
                "{}: {stay} stay Terminating, because no kubelet stops them",
                text::count(plan.pods.len(), "pod")
            ),
        );
        return;
    }
    out.say(
        Role::Strong,
        format!(
            "{}: {evict} evicted at once, {wait} wait for a budget, {skip} stay, {refuse} block the drain",
            text::count(plan.pods.len(), "pod")
        ),
    );
}

/// Builds the view of a question that is not a rehearsal.
pub fn question(question: &Question) -> DialogView {
    match question {
        Question::CancelAction { id, title, cordoned } => {
            let mut ask = vec![cell(Role::KeyDanger, "y"), cell(Role::Strong, "stop it")];
            if *cordoned {
                ask.push(cell(Role::Dim, "·"));
                ask.push(cell(Role::KeyDanger, "u"));
                ask.push(cell(Role::Strong, "stop it and uncordon"));
            }
            ask.push(cell(Role::Dim, "· any other key lets it run"));
            DialogView {
                title: format!("Stop {title}?"),
                lines: vec![
                    TextLine::new(
                        Role::Text,
                        format!("{id}: requests already sent will finish; no new ones are sent."),
                    ),
                    TextLine::new(Role::Text, "Nothing is undone."),
                ],
                ask,
                ..DialogView::default()
            }
        }
        Question::DismissAction { id, title } => DialogView {
            title: format!("Dismiss {title}?"),
            lines: vec![
                TextLine::new(Role::Text, format!("{id}: nothing is sent, and nothing is undone.")),
                TextLine::new(Role::Text, "The action stays in the journal, and cannot be resumed any more."),
            ],
            ask: vec![
                cell(Role::KeyDanger, "y"),
                cell(Role::Strong, "dismiss it"),
                cell(Role::Dim, "· any other key: keep it"),
            ],
            ..DialogView::default()
        },
    }
}
