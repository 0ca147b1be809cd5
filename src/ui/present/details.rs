//! The text about the selected row. It opens from the row, and is also shown below a list that fills the screen.

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::facts::world::World;

use super::super::app::{Screen, TextSource, Ui};
use super::super::list::ListId;
use super::super::pane::{self, Reads, timeline};

/// Returns the title and the source of the text about the selected row of a list, or `None` if the row has no text.
pub fn source(ui: &Ui, world: &World, id: ListId) -> Option<(String, TextSource)> {
    let selected = ui.list(id).chosen()?;
    let name = || match selected {
        Uid::Text(name) => name.clone(),
        Uid::Uuid(_) => Name::default(),
    };
    // an error group has no object, and its text is that of the Errors pane
    if id == ListId::Timeline
        && let Some(fingerprint) = timeline::error_group(ui, selected)
    {
        return Some(("Error group".into(), TextSource::ErrorGroup(fingerprint)));
    }
    Some(match pane::of(id).reads {
        Reads::Nothing => return None,
        Reads::Cause => ("Why".into(), TextSource::Why(name())),
        Reads::ErrorGroup => ("Error group".into(), TextSource::ErrorGroup(name())),
        Reads::Alert => ("Alert".into(), TextSource::Alert(name())),
        Reads::Action => ("Action".into(), TextSource::Action(name())),
        Reads::Object => {
            let object = pane::object(ui, world, id, selected)?;
            (format!("Describe {object}"), TextSource::Describe(object))
        }
    })
}

/// Returns the error group that the details are about, if any, so that its lines can be requested.
pub fn error_group(ui: &Ui, world: &World) -> Option<Name> {
    let zoomed = matches!(ui.screen(), Screen::Panes) && ui.zoom && ui.focus == ListId::Errors;
    match source(ui, world, ListId::Errors).filter(|_| zoomed)? {
        (_, TextSource::ErrorGroup(fingerprint)) => Some(fingerprint),
        _ => None,
    }
}
