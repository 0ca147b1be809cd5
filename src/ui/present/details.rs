//! What is known of the selected row: the text that opens from it, which also stands beneath a list that has the screen
//! for itself.

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::facts::world::World;

use super::super::app::{Screen, TextSource, Ui};
use super::super::list::ListId;
use super::{lists, texts};

/// The lines are made anew this often, and at once for another row: some of them look through all pods.
const EVERY_MS: u64 = 1_000;

/// The title and the source of the text about the selected row of a list; None: there is none.
pub fn source(ui: &Ui, world: &World, id: ListId) -> Option<(String, TextSource)> {
    let selected = ui.list(id).chosen()?;
    let name = || match selected {
        Uid::Text(name) => name.clone(),
        Uid::Uuid(_) => Name::default(),
    };
    Some(match id {
        ListId::Now => ("Why".into(), TextSource::Why(name())),
        ListId::Errors => ("Error group".into(), TextSource::ErrorGroup(name())),
        ListId::Actions => ("Action".into(), TextSource::Action(name())),
        // what the server prints of them has no text of ours
        ListId::Namespaces | ListId::Table => return None,
        _ => {
            let object = lists::object(ui, world, id, selected)?;
            (format!("Describe {object}"), TextSource::Describe(object))
        }
    })
}

/// The error group that the details are about, if there are details: its lines are asked for.
pub fn error_group(ui: &Ui, world: &World) -> Option<Name> {
    let zoomed = matches!(ui.screen(), Screen::Panes) && ui.zoom && ui.focus == ListId::Errors;
    match source(ui, world, ListId::Errors).filter(|_| zoomed)? {
        (_, TextSource::ErrorGroup(fingerprint)) => Some(fingerprint),
        _ => None,
    }
}

/// Brings the details up to date with the selected row and the World.
pub fn refresh(ui: &mut Ui, world: &World, id: ListId) {
    let (title, of) = match source(ui, world, id) {
        Some((title, of)) => (title, Some(of)),
        None => (String::new(), None),
    };
    let now = ui.clock_ms;
    let fresh = ui.details.made.is_some_and(|at| now.saturating_sub(at) < EVERY_MS);
    if fresh && ui.details.of == of {
        return;
    }
    let mut lines = of.as_ref().and_then(|of| texts::lines(ui, world, of)).unwrap_or_default();
    if let Some(TextSource::ErrorGroup(fingerprint)) = &of
        && *fingerprint == ui.details.below_of
    {
        lines.extend(ui.details.below.lines.iter().cloned());
    }
    let details = &mut ui.details;
    (details.title, details.of, details.lines, details.made) = (title, of, lines, Some(now));
}
