//! What is known of the selected row: the text that opens from it, which also stands beneath a list that has the screen
//! for itself.

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::facts::world::World;

use super::super::app::{Screen, TextSource, Ui};
use super::super::list::ListId;
use super::super::pane::{self, Reads};

/// The title and the source of the text about the selected row of a list; None: there is none.
pub fn source(ui: &Ui, world: &World, id: ListId) -> Option<(String, TextSource)> {
    let selected = ui.list(id).chosen()?;
    let name = || match selected {
        Uid::Text(name) => name.clone(),
        Uid::Uuid(_) => Name::default(),
    };
    Some(match pane::of(id).reads {
        Reads::Nothing => return None,
        Reads::Cause => ("Why".into(), TextSource::Why(name())),
        Reads::ErrorGroup => ("Error group".into(), TextSource::ErrorGroup(name())),
        Reads::Action => ("Action".into(), TextSource::Action(name())),
        Reads::Object => {
            let object = pane::object(ui, world, id, selected)?;
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
