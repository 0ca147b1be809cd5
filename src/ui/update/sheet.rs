//! Opens the boxes that change nothing (predictions and queries), and handles their keys.

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::facts::world::World;
use pilothouse_core::policy::slices::By;

use super::super::app::{About, Screen, Sheet, Ui};
use super::super::command::{Cmd, Context};
use super::super::key::Key;
use super::super::list::{Filter, List, ListId};
use super::super::pane::{self, Shown, backends, slices};
use super::super::present::sheet as present;
use super::super::request::Effect;
use super::super::rows::backends::collect;
use super::super::rows::whatif::{Assumed, Choices, What};

/// Returns the Service of the selected row.
fn service(ui: &Ui, world: &World) -> Option<(Name, Name)> {
    match ui.active_list()? {
        ListId::Backends | ListId::Slices => Some(ui.service.clone()),
        id => {
            let object = pane::object(ui, world, id, ui.list(id).chosen()?)?;
            (object.kind == Kind::Service).then_some((object.namespace, object.name))
        }
    }
}

/// Returns the name of the selected backend.
fn backend(ui: &Ui) -> Option<Name> {
    let selected =
        ui.list(ListId::Backends).chosen().filter(|_| ui.active_list() == Some(ListId::Backends))?;
    ui.rows.backends.iter().find(|backend| backend.key() == *selected).map(|backend| backend.name.clone())
}

/// Opens a prediction about the selected Service, backend, node or zone.
pub(super) fn what_if(ui: &mut Ui, world: &World) {
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let Some((namespace, name)) = service(ui, world) else { return ui.say("no Service is selected") };
    let mut assumed = Assumed::default();
    let mut found = collect(&cluster, &namespace, &name);
    found.sort_by(|a, b| backends::order(a, b, 0));
    let subject = backend(ui).and_then(|name| found.iter().find(|b| b.name == name)).or(found.first());
    if let Some(subject) = subject {
        assumed.backend = subject.name.clone();
        assumed.weight_of = subject.name.clone();
        assumed.node = subject.node.clone().unwrap_or_default();
        assumed.zone = subject.zone.clone().unwrap_or_default();
    }
    if ui.active_list() == Some(ListId::Slices)
        && let Some(selected) = ui.list(ListId::Slices).chosen()
        && let Some(shown) = Shown::of(ui, world)
        && let Some(slice) = slices::by_key(&shown, selected)
        && let Some(name) = slice.name.clone()
    {
        match ui.split {
            By::Node => (assumed.what, assumed.node) = (What::Node, name),
            By::Zone => (assumed.what, assumed.zone) = (What::Zone, name),
            By::Part => (assumed.what, assumed.part) = (What::PartWeight, name),
            By::Version => {}
        }
    }
    assumed.settle(&Choices::of(&cluster, &namespace, &name));
    ui.sheet = Some(Sheet::new(About::WhatIf(assumed), (namespace, name)));
}

/// Opens the queries behind the numbers of the selected row.
pub(super) fn queries(ui: &mut Ui, world: &World) {
    match service(ui, world) {
        Some(service) => {
            ui.sheet = Some(Sheet::new(About::Queries { backend: backend(ui), at: 0 }, service));
        }
        None => ui.say("no Service is selected"),
    }
}

/// Shows the backends in groups: by node, zone, version and part of the route in turn, then each backend again.
pub(super) fn split(ui: &mut Ui, world: &World) {
    let (namespace, name) = &ui.service;
    let measured = ui.shown(world).and_then(|cluster| cluster.measured(namespace, name));
    let has_parts = measured.is_some_and(|row| !row.balancing.split.is_empty());
    let mut all = By::ALL.into_iter().filter(|by| *by != By::Part || has_parts);
    let (on, now) = match ui.screen() {
        Screen::List(id @ (ListId::Backends | ListId::Slices)) => (*id, ui.split),
        _ => return,
    };
    let next = match on {
        ListId::Backends => all.next(),
        _ => all.skip_while(|by| *by != now).nth(1),
    };
    let to = if next.is_some() { ListId::Slices } else { ListId::Backends };
    ui.split = next.unwrap_or_default();
    if to == ListId::Slices {
        ui.put_list(ListId::Slices, List::default());
    }
    if let Some(Screen::List(id)) = ui.screens.last_mut() {
        *id = to;
    }
}

/// Lists the backends of the selected group.
pub(super) fn open_slice(ui: &mut Ui, world: &World) {
    let Some(selected) = ui.list(ListId::Slices).chosen().cloned() else { return };
    let slice = Shown::of(ui, world).and_then(|shown| Some(slices::by_key(&shown, &selected)?.name.clone()));
    let Some(Some(name)) = slice else { return ui.say("the backends of this row have no name to filter by") };
    let list = ui.list_mut(ListId::Backends);
    list.filter = Filter::new(&name);
    list.to_top();
    if let Some(Screen::List(id)) = ui.screens.last_mut() {
        *id = ListId::Backends;
    }
}

/// Updates the lines of the open box, if the World or a choice has changed.
pub(super) fn refresh(ui: &mut Ui, world: &World) {
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let presets = ui.presets.clone();
    let Some(sheet) = ui.sheet.as_mut().filter(|sheet| sheet.made != Some(world.seq)) else { return };
    let (namespace, name) = &sheet.service;
    if let About::WhatIf(assumed) = &mut sheet.about {
        assumed.settle(&Choices::of(&cluster, namespace, name));
    }
    sheet.lines = present::lines(&cluster, &presets, sheet);
    sheet.made = Some(world.seq);
}

/// Handles a key while a box is open.
pub(super) fn press(ui: &mut Ui, world: &World, key: Key, effects: &mut Vec<Effect>) {
    let command = ui.keymap.lookup(&[Context::Sheet, Context::Everywhere], key);
    let (Some(command), Some(cluster)) = (command, ui.shown(world).cloned()) else { return };
    let (clipboard, presets) = (ui.clipboard, ui.presets.clone());
    let Some(sheet) = &mut ui.sheet else { return };
    sheet.made = None;
    let page = isize::try_from((sheet.page / 2).max(1)).unwrap_or(1);
    match (command, &mut sheet.about) {
        (Cmd::Back | Cmd::Quit, _) => ui.sheet = None,
        (Cmd::PageDown, _) => scroll(ui, page),
        (Cmd::PageUp, _) => scroll(ui, -page),
        (Cmd::Down | Cmd::Up, About::WhatIf(assumed)) => {
            let choices = Choices::of(&cluster, &sheet.service.0, &sheet.service.1);
            assumed.step(&choices, if command == Cmd::Down { 1 } else { -1 });
        }
        (Cmd::NextPane | Cmd::PreviousPane, About::WhatIf(assumed)) => {
            let choices = Choices::of(&cluster, &sheet.service.0, &sheet.service.1);
            assumed.turn(&choices, command == Cmd::NextPane);
        }
        (Cmd::More | Cmd::Less, About::WhatIf(assumed)) => {
            let choices = Choices::of(&cluster, &sheet.service.0, &sheet.service.1);
            assumed.change(&choices, command == Cmd::More);
        }
        (Cmd::Down | Cmd::Up, About::Queries { backend, at }) => {
            let service = (&sheet.service.0, &sheet.service.1);
            let count = present::queries(&cluster, &presets, service, backend.as_ref()).len();
            let by = if command == Cmd::Down { 1 } else { -1 };
            *at = at.saturating_add_signed(by).min(count.saturating_sub(1));
            let (line, page) = (*at * 2, sheet.page);
            sheet.top = sheet.top.min(line).max((line + 2).saturating_sub(page.max(2)));
        }
        (Cmd::CopyText, About::Queries { backend, at }) => {
            let service = (&sheet.service.0, &sheet.service.1);
            let all = present::queries(&cluster, &presets, service, backend.as_ref());
            if let Some((what, query)) = all.get(*at) {
                effects.push(Effect::Copy(query.clone()));
                ui.say(format!("sent the query of {what} to the clipboard ({})", clipboard.caveat()));
            }
        }
        (Cmd::CopyText, About::WhatIf(_)) => {
            let lines: Vec<&str> = sheet.lines.iter().map(|line| line.text.as_str()).collect();
            effects.push(Effect::Copy(lines.join("\n")));
            ui.say(format!("sent the prediction to the clipboard ({})", clipboard.caveat()));
        }
        _ => {}
    }
}

/// Scrolls the open box.
pub(super) fn scroll(ui: &mut Ui, by: isize) {
    if let Some(sheet) = &mut ui.sheet {
        let last = sheet.rows.saturating_sub(sheet.page);
        sheet.top = sheet.top.saturating_add_signed(by).min(last);
    }
}
