//! `journal list` and `journal show`.

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::model::world::{ActionView, Outcome};
use pilothouse_core::policy::undo;

use super::{Start, said};
use crate::action::journal::actions;
use crate::action::resume;
use crate::cli::{JournalCommand, Output};
use crate::report::headless::tell;
use crate::report::{exit, plan};

/// `pilothouse journal`: what was done, and what of it cannot be told.
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
    // what cannot be told is no success
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
            let line = |a: &Arc<ActionView>| {
                let outcome = a.outcome.map_or("running", Outcome::as_str);
                let title = undo::title(&a.plan);
                let open = if unfinished.contains(&a.id) { "; UNFINISHED: pilothouse resume" } else { "" };
                format!("{}  {}  {title}  {outcome}: {}{open}", a.id, a.started, a.message)
            };
            Ok(actions.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        JournalCommand::Show { id, output } => {
            let action = actions
                .iter()
                .find(|a| a.id == id.as_str())
                .ok_or_else(|| format!("there is no action {id}; `pilothouse journal list` has them"))?;
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
