//! Delivers replies to the screen that requested them. Replies for a closed screen are dropped.

use pilothouse_core::domain::text;
use pilothouse_core::facts::world::World;

use super::super::app::{LogView, Screen, TextLine, TextSource, Ui};
use super::super::list::ListId;
use super::super::present;
use super::super::request::{Effect, Reply, Ticket};
use super::super::theme::Role;
use super::{dialog, plot, prompt, timeline};

/// Returns the log that belongs to a ticket.
pub(super) fn logs_of(ui: &mut Ui, ticket: Ticket) -> Option<&mut LogView> {
    ui.screens.iter_mut().find_map(|s| match s {
        Screen::Log(view) if view.ticket == ticket => Some(view.as_mut()),
        _ => None,
    })
}

/// Handles a reply.
pub(super) fn take(ui: &mut Ui, world: &World, ticket: Ticket, reply: Reply, effects: &mut Vec<Effect>) {
    if ui.dialog.as_ref().is_some_and(|d| d.ticket == ticket) {
        return dialog::take(ui, reply, effects);
    }
    let reply = plot::take(ui, ticket, reply).and_then(|reply| timeline::take(ui, ticket, reply));
    let Some(reply) = reply else { return };
    if ui.failovers_of == ticket {
        match reply {
            Reply::Plans(mut plans) => {
                if let Some(service) = &ui.failovers_about {
                    plans.retain(|plan| plan.concerns(&service.namespace, &service.name));
                }
                ui.failovers = plans;
                prompt::refresh(ui, world);
                prompt::no_plans(ui);
            }
            Reply::Failed(why) => ui.say(text::clean(&why).into_owned()),
            _ => {}
        }
        return;
    }
    if ui.metrics.of.is_some_and(|(_, asked)| asked == ticket) {
        match reply {
            Reply::MetricNames(names) => ui.metrics.names = Some(names),
            Reply::Failed(why) => ui.metrics.failed = Some(text::clean(&why).into_owned()),
            _ => {}
        }
        prompt::refresh(ui, world);
        return;
    }
    if ui.fleet.contexts_of == Some(ticket) {
        match reply {
            Reply::Contexts(contexts) => {
                ui.fleet.contexts = contexts;
                prompt::refresh(ui, world);
            }
            // the clusters that are open are known anyway
            Reply::Failed(why) if ui.active_list() == Some(ListId::Clusters) => {
                ui.say(text::clean(&why).into_owned());
            }
            _ => {}
        }
        return;
    }
    if ui.kinds_of == Some(ticket) {
        match reply {
            Reply::Kinds(kinds) => {
                ui.kinds = Some(kinds);
                prompt::refresh(ui, world);
            }
            // the palette offers the usual kinds, and the next palette requests them again
            _ => ui.kinds_of = None,
        }
        return;
    }
    if ui.table_of.1 == ticket {
        match reply {
            Reply::Table(table) => {
                ui.table_of.2 = None;
                ui.table = table;
            }
            Reply::Failed(why) => ui.table_of.2 = Some(text::clean(&why).into_owned()),
            _ => {}
        }
        return;
    }
    let texts = ui.screens.iter_mut().filter_map(|s| match s {
        Screen::Text(view) => Some(&mut view.below),
        _ => None,
    });
    let found =
        texts.chain([&mut ui.details.below]).find(|below| below.asked.is_some() && below.ticket == ticket);
    if let Some(below) = found {
        below.lines = match reply {
            Reply::Lines(lines) => present::texts::error_lines(&lines),
            Reply::Failed(why) => vec![TextLine::new(Role::Warning, format!("! {}", text::clean(&why)))],
            _ => return,
        };
        ui.details.made = None;
        return;
    }
    let view = ui.screens.iter_mut().find_map(|s| match s {
        Screen::Text(view) if view.source == TextSource::Asked(ticket) => Some(view),
        _ => None,
    });
    if let Some(view) = view {
        view.source = TextSource::Fixed;
        view.lines = match reply {
            Reply::Text(lines) => lines
                .iter()
                .flat_map(|l| text::clean_lines(l).split('\n').map(str::to_owned).collect::<Vec<_>>())
                .map(|l| TextLine::new(yaml_role(&l), l))
                .collect(),
            Reply::Failed(why) => vec![TextLine::new(Role::Critical, format!("✖ {}", text::clean(&why)))],
            _ => Vec::new(),
        };
    }
}

/// Highlights the keys of top-level YAML.
fn yaml_role(line: &str) -> Role {
    if line.starts_with(|c: char| c.is_ascii_alphabetic()) && line.contains(':') {
        Role::Strong
    } else {
        Role::Text
    }
}
