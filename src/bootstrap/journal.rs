//! The commands `journal list` and `journal show`, and the list of `undo`.

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::action::undone;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::undo;

use super::{Start, said};
use crate::action::journal::actions;
use crate::action::resume;
use crate::cli::{JournalCommand, Output};
use crate::report::headless::tell;
use crate::report::table::Table;
use crate::report::{exit, plan};

/// Runs `pilothouse journal`: prints the recorded actions and the parts that cannot be read.
pub(super) fn told(start: &Start, what: &JournalCommand) -> u8 {
    let (chapters, gaps) = start.journal.chapters();
    for gap in &gaps {
        tell(&format!("pilothouse: {gap}"));
    }
    if let Err(e) = start.journal.folder() {
        tell(&format!("pilothouse: {e}"));
    }
    if let JournalCommand::List { output: Output::Text } = what
        && chapters.is_empty()
        && start.journal.folder().is_ok()
    {
        tell("pilothouse: the journal has no action yet");
    }
    let unfinished: Vec<Name> = resume::among(&chapters).into_iter().map(|u| u.id).collect();
    let status = said(journal_text(what, &actions(chapters), &unfinished));
    // an unreadable part makes the exit status 1
    let lost = gaps.iter().any(|gap| gap.lost) || start.journal.folder().is_err();
    if lost && status == exit::DONE { exit::FAILED } else { status }
}

fn journal_text(
    what: &JournalCommand,
    actions: &[Arc<ActionView>],
    unfinished: &[Name],
) -> Result<String, String> {
    let json = |output: &Output| *output == Output::Json;
    match what {
        JournalCommand::List { output } if json(output) => {
            let docs: Vec<_> = actions.iter().map(|a| plan::document(&a.plan, Some(a))).collect();
            serde_json::to_string(&docs).map_err(|e| e.to_string())
        }
        JournalCommand::List { .. } => {
            let undone = undone(actions);
            let line = |a: &Arc<ActionView>| {
                let outcome = a.outcome.map_or("running", Outcome::as_str);
                let title = undo::title(&a.plan);
                let open = match a {
                    a if unfinished.contains(&a.id) => "; UNFINISHED: pilothouse resume",
                    a if undone.contains(&a.id) => "; undone",
                    _ => "",
                };
                format!("{}  {}  {title}  {outcome}: {}{open}", a.id, a.started, a.message)
            };
            Ok(actions.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        JournalCommand::Show { id, output } => {
            let action = actions
                .iter()
                .find(|a| a.id == id.as_str())
                .ok_or_else(|| format!("there is no action {id}; `pilothouse journal list` lists all"))?;
            if json(output) {
                return serde_json::to_string(&plan::document(&action.plan, Some(action)))
                    .map_err(|e| e.to_string());
            }
            let mut lines = plan::text(&action.plan);
            lines.extend(plan::result_text(action));
            Ok(lines.join("\n"))
        }
    }
}

/// The maximum number of actions that `undo` lists. It lists the latest ones.
const UNDOABLE: usize = 20;

/// Prints the latest actions that sent a request, for `undo` without an ID.
pub(super) fn undoable(start: &Start, output: Output) -> u8 {
    let (actions, gaps) = start.journal().history();
    for gap in &gaps {
        tell(&format!("pilothouse: {gap}"));
    }
    let sent = |a: &&Arc<ActionView>| a.steps.iter().any(|s| s.state != StepState::Waiting);
    let undone = undone(&actions);
    let actions: Vec<_> = actions.iter().filter(sent).take(UNDOABLE).collect();
    if output == Output::Json {
        let documents: Vec<_> = actions.iter().map(|a| plan::document(&a.plan, Some(a))).collect();
        return said(serde_json::to_string(&documents).map_err(|e| e.to_string()));
    }
    if actions.is_empty() {
        tell("pilothouse: there is no action to undo: the journal has none that sent anything");
        return exit::DONE;
    }
    let mut table = Table::new(["ID", "STARTED", "OUTCOME", "ACTION"]);
    for action in actions {
        let outcome = match action.outcome {
            Some(_) if undone.contains(&action.id) => "undone",
            outcome => outcome.map_or("running", Outcome::as_str),
        };
        let title = undo::title(&action.plan);
        table.row([action.id.to_string(), action.started.to_string(), outcome.to_owned(), title]);
    }
    let status = said(Ok(table.lines().join("\n")));
    tell("pilothouse undo ID undoes one of them");
    status
}
