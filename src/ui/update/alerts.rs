//! The commands of the Alerts pane that change nothing.

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::facts::world::World;

use super::super::app::{Screen, TextSource, Ui};
use super::super::list::{Filter, ListId};
use super::super::present::alert::links;
use super::super::request::Effect;

/// Returns the fingerprint of the alert that is selected or open.
pub(super) fn chosen(ui: &Ui) -> Option<Name> {
    match ui.screen() {
        Screen::Text(view) => match &view.source {
            TextSource::Alert(fingerprint) => Some(fingerprint.clone()),
            _ => None,
        },
        _ if ui.active_list() == Some(ListId::Alerts) => match ui.list(ListId::Alerts).chosen()? {
            Uid::Text(fingerprint) => Some(fingerprint.clone()),
            Uid::Uuid(_) => None,
        },
        _ => None,
    }
}

/// Copies a link of the alert; pressed again, the next one.
pub(super) fn copy_link(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(fingerprint) = chosen(ui) else { return ui.say("no alert is selected") };
    let Some(cluster) = ui.shown(world) else { return };
    // a row for several alerts has the links of the first one
    let line = ui.rows.alerts.list.iter().find(|line| line.key() == Uid::Text(fingerprint.clone()));
    let row = cluster.derived.alerts.iter().find(|row| row.alert.fingerprint == fingerprint);
    let Some(row) = row.or_else(|| line?.first()) else { return ui.say("no alert is selected") };
    let links = links(cluster, &row.alert);
    let at = match &ui.copied {
        (held, at) if *held == fingerprint => (at + 1) % links.len().max(1),
        _ => 0,
    };
    let Some((what, url)) = links.get(at).cloned() else {
        return ui.say("this alert has no link: it has no annotation runbook_url or dashboard_url");
    };
    let more =
        if links.len() > 1 { format!("; again: {} of {}", at + 1, links.len()) } else { String::new() };
    ui.copied = (fingerprint, at);
    ui.say(format!("sent the link to the {what} to the clipboard ({}){more}", ui.clipboard.caveat()));
    effects.push(Effect::Copy(url));
}

/// Lists all alerts of one name in one row, or each by itself.
pub(super) fn group(ui: &mut Ui) {
    ui.alerts_by_name = !ui.alerts_by_name;
    ui.list_mut(ListId::Alerts).to_top();
    ui.say(if ui.alerts_by_name { "alerts of one name are one row" } else { "each alert is a row" });
}

/// Lists the alerts of a row that stands for several. Returns false if it does not.
pub(super) fn expand(ui: &mut Ui, selected: &Uid) -> bool {
    let line = ui.rows.alerts.list.iter().find(|line| line.key() == *selected);
    let Some(name) = line.and_then(|line| line.group.clone()) else { return false };
    ui.alerts_by_name = false;
    let list = ui.list_mut(ListId::Alerts);
    list.filter = Filter::new(&format!("alertname={name}"));
    list.to_top();
    true
}
