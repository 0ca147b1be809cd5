//! Opens, renews and confirms rehearsals. A confirmation counts only after the plan has been on the screen for a
//! moment. Text that was typed ahead or pasted never confirms a plan.

use std::sync::Arc;

use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef};
use pilothouse_core::domain::plan::{Act, Confirm, Intent};
use pilothouse_core::domain::text;
use pilothouse_core::facts::world::World;

use super::super::app::{Dialog, OpenedBy, Question, Stage, Ui};
use super::super::command::{Cmd, Context};
use super::super::key::{Code, Key};
use super::super::present::dialog::{is_kubectl, refusals};
use super::super::request::{Effect, Order, Reply};
use super::super::theme::Role;
use super::super::widget::input::{Edit, InputLine};

/// How long a plan must be on the screen before a key can confirm it.
pub(super) const ARMED_AFTER_MS: u64 = 300;
/// How often an open rehearsal is repeated.
const RENEW_MS: u64 = 2_000;

/// Opens a rehearsal for the objects that were selected when the key was pressed.
pub(super) fn open(ui: &mut Ui, world: &World, act: Act, targets: Vec<ObjectRef>, effects: &mut Vec<Effect>) {
    // the objects decide on the cluster; a failover without objects is one of the cluster that is shown
    let id = targets.first().map_or(ui.cluster, |target| target.cluster);
    open_in(ui, world, id, act, targets, effects);
}

/// Opens a rehearsal in this cluster, whichever is in front.
pub(super) fn open_in(
    ui: &mut Ui,
    world: &World,
    id: ClusterId,
    act: Act,
    targets: Vec<ObjectRef>,
    effects: &mut Vec<Effect>,
) {
    if let Some(why) = super::timeline::refusal(ui) {
        return ui.say(why);
    }
    let Some(cluster) = world.cluster(id) else { return };
    if targets.is_empty() && !matches!(act, Act::Failover { .. }) {
        return ui.say(format!("there is nothing here to {}", act.as_str()));
    }
    let cluster = cluster.clone();
    let intent = Intent { cluster: id, context: cluster.info.context.clone(), act, targets };
    let ticket = ui.ticket();
    ui.dialog = Some(Dialog {
        intent: intent.clone(),
        ticket,
        stage: Stage::Waiting,
        typed: InputLine::default(),
        dropped: false,
        painted: None,
        note: String::new(),
        top: 0,
        rows: 0,
        page: 0,
        asked_ms: ui.clock_ms,
        in_flight: true,
        read_only: cluster.info.read_only,
        protected: cluster.info.protected,
        tint: match ui.tint(world, &cluster.info) {
            // one cluster without a colour of its own needs none here
            Role::Context | Role::ContextProtected => Role::TitleFocus,
            own => own,
        },
        choosing: false,
        resumes: None,
    });
    ui.dialog_frame = None;
    effects.push(Effect::Plan(ticket, intent, None));
}

/// Repeats an open rehearsal from time to time.
pub(super) fn renew(ui: &mut Ui, effects: &mut Vec<Effect>) {
    let now = ui.clock_ms;
    if let Some(dialog) = &mut ui.dialog
        && matches!(dialog.stage, Stage::Ready(_))
        && !dialog.in_flight
        && now.saturating_sub(dialog.asked_ms) >= RENEW_MS
    {
        dialog.asked_ms = now;
        dialog.in_flight = true;
        effects.push(Effect::Plan(dialog.ticket, dialog.intent.clone(), dialog.resumes.clone()));
    }
}

/// Handles an answer for the open rehearsal.
pub(super) fn take(ui: &mut Ui, reply: Reply, effects: &mut Vec<Effect>) {
    let Some(dialog) = &mut ui.dialog else { return };
    dialog.in_flight = false;
    match reply {
        Reply::Rehearsal(new) => {
            let same = match &dialog.stage {
                Stage::Ready(old) => new.plan.goes_beyond(&old.plan).is_none(),
                Stage::Waiting | Stage::Failed(_) => false,
            };
            let had = matches!(dialog.stage, Stage::Ready(_));
            dialog.stage = Stage::Ready(new);
            if !same {
                // the plan differs from the one that the user read, so the confirmation starts again
                dialog.dropped |= !dialog.typed.text().is_empty();
                dialog.typed.clear();
                dialog.painted = None;
                ui.dialog_frame = None;
                dialog.note = if had { "the plan has changed: read it again".into() } else { String::new() };
            }
        }
        Reply::Failed(why) => {
            dialog.stage = Stage::Failed(text::clean(&why).into_owned());
            dialog.typed.clear();
        }
        Reply::Resume(intent) => {
            dialog.intent = intent.clone();
            dialog.in_flight = true;
            effects.push(Effect::Plan(dialog.ticket, intent, dialog.resumes.clone()));
        }
        _ => {}
    }
}

/// Selects a choice of the plan by its number.
fn choose(dialog: &mut Dialog, number: usize, effects: &mut Vec<Effect>) {
    let Stage::Ready(rehearsal) = &dialog.stage else { return };
    let Some(choice) = rehearsal.plan.choices.get(number.saturating_sub(1)) else { return };
    dialog.intent.act = choice.act.clone();
    dialog.choosing = false;
    dialog.in_flight = true;
    dialog.typed.clear();
    dialog.painted = None;
    dialog.top = 0;
    dialog.stage = Stage::Waiting;
    effects.push(Effect::Plan(dialog.ticket, dialog.intent.clone(), dialog.resumes.clone()));
}

/// Handles a key while a question is open.
fn answer(ui: &mut Ui, question: Question, key: Key, effects: &mut Vec<Effect>) {
    let yes = ui.keymap.lookup(&[Context::Dialog], key) == Some(Cmd::Confirm);
    match question {
        Question::CancelAction { id, cordoned, .. } => {
            let uncordon = cordoned && key.code == Code::Char('u') && !key.ctrl && !key.alt;
            if uncordon || yes {
                effects.push(Effect::Order(id, Order::Cancel { uncordon }));
                ui.say("stopping before the next step");
            }
        }
        Question::DismissAction { id, .. } => {
            if yes {
                effects.push(Effect::Dismiss(id));
            }
        }
    }
}

/// Handles a key while a dialog is open.
pub(super) fn press(ui: &mut Ui, world: &World, key: Key, effects: &mut Vec<Effect>) {
    if let Some(question) = ui.question.take() {
        return answer(ui, question, key, effects);
    }
    let command = ui.keymap.lookup(&[Context::Dialog], key);
    let (now, clipboard) = (ui.clock_ms, ui.clipboard);
    let moves = ui.keymap.lookup(&[Context::Everywhere], key);
    let Some(dialog) = &mut ui.dialog else { return };
    if dialog.choosing {
        match key.typed().and_then(|c| c.to_digit(10)) {
            Some(number) => {
                choose(dialog, usize::try_from(number).unwrap_or(0), effects);
                ui.dialog_frame = None;
            }
            None => dialog.choosing = false,
        }
        return;
    }
    let asks = match &dialog.stage {
        Stage::Ready(rehearsal) if refusals(rehearsal, dialog.read_only).is_empty() => {
            Some(rehearsal.plan.clone())
        }
        _ => None,
    };
    // if the dialog asks for text, characters belong to the text, unless nothing is typed yet and the text cannot
    // begin with the character
    if let Some(plan) = asks.as_ref().filter(|p| p.confirm != Confirm::Yes) {
        let begins = key.typed().is_some_and(|c| !dialog.typed.is_empty() || plan.answer.starts_with(c));
        // no typed character is lost: Enter reports a wrong text
        let begins = begins || (key.typed().is_some() && command.is_none() && moves.is_none());
        let erases = key.code == Code::Backspace || (key.code == Code::Char('h') && key.ctrl);
        // editing keys have another meaning if there is no text to edit
        let edits = key.typed().is_none() && (erases || !dialog.typed.is_empty()) && dialog.typed.takes(key);
        let edits = key.code == Code::Enter || edits || begins;
        if edits {
            return type_in(ui, world, key, &plan.clone(), now, effects);
        }
    }
    match command {
        Some(Cmd::Cancel) => {
            ui.dialog = None;
            ui.say("cancelled: nothing was changed");
        }
        Some(Cmd::Options) => {
            let choices = match &dialog.stage {
                Stage::Ready(rehearsal) => rehearsal.plan.choices.len(),
                Stage::Waiting | Stage::Failed(_) => 0,
            };
            dialog.choosing = choices > 0;
            dialog.top = 0;
            if choices == 0 {
                dialog.note = "this action has no options".into();
            }
        }
        Some(Cmd::CopyKubectl) => {
            if let Stage::Ready(rehearsal) = &dialog.stage {
                effects.push(Effect::Copy(rehearsal.plan.kubectl.clone()));
                let what = if is_kubectl(&rehearsal.plan) { "kubectl command" } else { "command" };
                dialog.note = format!("sent the {what} to the clipboard ({})", clipboard.caveat());
            }
        }
        Some(Cmd::Confirm) => match asks {
            Some(plan) if plan.confirm == Confirm::Yes => {
                if armed(dialog, now) {
                    confirm(ui, world, &plan, String::from("y"), effects);
                } else {
                    dialog.note = "too early: read the plan first, then press the key again".into();
                }
            }
            _ => {}
        },
        _ => match moves {
            Some(Cmd::Down) => move_by(dialog, 1),
            Some(Cmd::Up) => move_by(dialog, -1),
            Some(Cmd::PageDown) => move_by(dialog, isize::try_from(dialog.page.max(2) / 2).unwrap_or(1)),
            Some(Cmd::PageUp) => move_by(dialog, -isize::try_from(dialog.page.max(2) / 2).unwrap_or(1)),
            Some(Cmd::Top) => dialog.top = 0,
            Some(Cmd::Bottom) => dialog.top = dialog.rows.saturating_sub(dialog.page),
            _ => {}
        },
    }
}

/// Scrolls the plan of the dialog.
pub(super) fn scroll(ui: &mut Ui, by: isize) {
    if let Some(dialog) = &mut ui.dialog {
        move_by(dialog, by);
    }
}

/// Shows a note next to the question.
pub(super) fn note(ui: &mut Ui, words: &str) {
    match &mut ui.dialog {
        Some(dialog) => words.clone_into(&mut dialog.note),
        None => ui.say(words),
    }
}

fn move_by(dialog: &mut Dialog, by: isize) {
    dialog.top = dialog.top.saturating_add_signed(by).min(dialog.rows.saturating_sub(dialog.page));
}

fn armed(dialog: &Dialog, now: u64) -> bool {
    dialog.painted.is_some_and(|at| now >= at + ARMED_AFTER_MS)
}

fn type_in(
    ui: &mut Ui,
    world: &World,
    key: Key,
    plan: &Arc<pilothouse_core::domain::plan::Plan>,
    now: u64,
    effects: &mut Vec<Effect>,
) {
    let Some(dialog) = &mut ui.dialog else { return };
    if !armed(dialog, now) {
        dialog.note = "too early: this was typed before the plan was shown; type it again".into();
        dialog.dropped = true;
        return;
    }
    match key.code {
        Code::Enter if dialog.typed.text() == plan.answer => {
            let answer = dialog.typed.take();
            confirm(ui, world, plan, answer, effects);
        }
        Code::Enter => {
            let why = if std::mem::take(&mut dialog.dropped) {
                ": what was typed before this plan was shown does not count; type it again"
            } else {
                ""
            };
            dialog.note = format!("that is not `{}`{why}", plan.answer);
            dialog.typed.clear();
        }
        _ => {
            if dialog.typed.press(key) == Some(Edit::Changed) {
                dialog.note.clear();
            }
        }
    }
}

fn confirm(
    ui: &mut Ui,
    world: &World,
    plan: &Arc<pilothouse_core::domain::plan::Plan>,
    answer: String,
    effects: &mut Vec<Effect>,
) {
    let Some(dialog) = ui.dialog.take() else { return };
    if let Some(id) = ui.active_list() {
        ui.clear_marks(dialog.intent.cluster, id);
    }
    let title = super::super::present::dialog::title(&dialog.intent);
    // both sides of a failover are shown while it runs
    let contexts = plan.intent.act.contexts();
    let opened: Vec<&str> =
        contexts.iter().filter(|name| world.of_context(name).is_none()).map(Name::as_str).collect();
    let opens = match opened.as_slice() {
        [] => String::new(),
        names => format!("; {} is opened for it and stays open", names.join(", ")),
    };
    ui.say(format!("started: {title}; 8 shows it{opens}"));
    let by = || OpenedBy { action: plan.intent.act.as_str(), seen: false };
    ui.fleet.opened.extend(opened.into_iter().map(|name| (name.into(), by())));
    effects.extend(contexts.into_iter().map(Effect::OpenCluster));
    effects.push(Effect::Run { read: plan.clone(), answer, resumes: dialog.resumes });
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{Kind, Name, Uid};
    use pilothouse_core::domain::settings::UiSettings;
    use pilothouse_core::facts::world::{Cluster, ClusterInfo};

    use super::*;

    #[test]
    fn the_objects_decide_on_the_cluster_and_not_the_one_that_is_shown() {
        let (a, b) = (ClusterId(0), ClusterId(1));
        let cluster = |id: ClusterId| {
            let context = if id == a { "one" } else { "two" }.into();
            let info = Arc::new(ClusterInfo { id, context, ..ClusterInfo::default() });
            Arc::new(Cluster { info, ..Cluster::default() })
        };
        let world = World { clusters: [cluster(a), cluster(b)].into(), ..World::default() };
        let (mut ui, _) = Ui::new(&UiSettings::default());
        for (shown, of, context) in [(a, b, "two"), (b, a, "one"), (b, b, "two")] {
            ui.show_cluster(shown);
            let node = ObjectRef::new(of, Kind::Node, &Name::default(), &"n".into(), &Uid::Uuid(1));
            let mut effects = Vec::new();
            open(&mut ui, &world, Act::Cordon, vec![node.clone()], &mut effects);
            let intent =
                Intent { cluster: of, context: context.into(), act: Act::Cordon, targets: vec![node] };
            assert!(matches!(&effects[..], [Effect::Plan(_, sent, None)] if *sent == intent), "{effects:?}");
        }
    }
}
