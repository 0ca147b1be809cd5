//! Asks for a silence of an Alertmanager: which alerts, for how long, and why. The rehearsal then shows what it hides. For
//! alerts that are silenced already, the rehearsal of the end of their silences is opened at once.

use std::sync::Arc;

use pilothouse_core::domain::alert::{
    AlertOrigin, AlertRow, AlertSilence, AlertState, Matcher, NewSilence, by_id, matchers,
};
use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::plan::Act;
use pilothouse_core::domain::source::Feed;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::silencing;

use super::super::app::{Prompt, SilencePart, SilencePrompt, Ui};
use super::super::list::ListId;
use super::super::request::Effect;
use super::super::widget::input::InputLine;
use super::{alerts, dialog, silence};

/// How long a silence lasts unless the person types something else.
const LASTS: u32 = 2 * 3_600;

/// Opens the prompt for the selected alerts, or the end of their silences.
pub(super) fn ask(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(cluster) = ui.shown(world) else { return };
    let rows = selected(ui, cluster);
    let Some(first) = rows.first() else { return ui.say("select an alert to silence it") };
    let through = match through(cluster) {
        Ok(through) => through,
        Err(why) => return ui.say(why),
    };
    if rows.iter().all(|row| row.alert.state == AlertState::Silenced) {
        let silences = silences(cluster, &rows);
        if silences.is_empty() {
            return ui.say("the silences of this alert are not known, so they cannot be ended here");
        }
        let targets = silences.iter().map(|one| by_id(one, cluster.id(), &through)).collect();
        return dialog::open(ui, world, Act::EndSilence, targets, effects);
    }
    let new = NewSilence {
        through,
        alert: first.alert.name().into(),
        selected: rows.iter().map(|row| row.alert.fingerprint.clone()).collect(),
        matchers: silencing::matchers(&rows),
        author: cluster.identity.user.clone().unwrap_or_else(|| "pilothouse".into()),
        comment: Name::default(),
        from: ui.now,
        secs: LASTS,
    };
    show(ui, SilencePrompt { cluster: cluster.id(), new, part: SilencePart::Matchers });
}

/// Returns the alerts of the selected row, or the alert whose text is open.
fn selected(ui: &Ui, cluster: &Cluster) -> Vec<Arc<AlertRow>> {
    let Some(key) = alerts::chosen(ui) else { return Vec::new() };
    if ui.active_list() == Some(ListId::Alerts) {
        let key = Uid::Text(key);
        let line = ui.rows.alerts.list.iter().find(|line| line.key() == key);
        return line.map_or_else(Vec::new, |line| line.alerts.clone());
    }
    cluster.derived.alerts.iter().filter(|row| row.alert.fingerprint == key).cloned().collect()
}

/// Returns the Service of the Alertmanager, or its URL. Returns an error if there is no Alertmanager.
fn through(cluster: &Cluster) -> Result<Name, &'static str> {
    if !cluster.alerts.is_known() {
        return Err("no Alertmanager has answered yet");
    }
    if cluster.alerts.origin == AlertOrigin::Rules {
        return Err("no Alertmanager was found, and rules of Prometheus have no silences");
    }
    let service = cluster.sources_of(Feed::Alerts).find_map(|status| status.through.clone());
    Ok(service.unwrap_or_else(|| cluster.info.alertmanager.clone()))
}

/// Returns the known silences of the alerts, each once.
fn silences(cluster: &Cluster, rows: &[Arc<AlertRow>]) -> Vec<Arc<AlertSilence>> {
    let mut ids: Vec<&Name> = rows.iter().flat_map(|row| row.alert.silenced_by.iter()).collect();
    ids.sort();
    ids.dedup();
    ids.into_iter().filter_map(|id| cluster.alerts.silence(id).cloned()).collect()
}

/// Opens the prompt with what is known of the part that it asks for.
fn show(ui: &mut Ui, asks: SilencePrompt) {
    let text = match asks.part {
        SilencePart::Matchers => {
            let on = asks.new.matchers.iter().filter(|(_, on)| *on);
            on.map(|(matcher, _)| matcher.to_string()).collect::<Vec<_>>().join(", ")
        }
        SilencePart::Lasts => silence::told(asks.new.secs),
        SilencePart::Comment => asks.new.comment.to_string(),
    };
    ui.input = InputLine::new(text);
    ui.prompt = Some(Prompt::SilenceAlerts(Box::new(asks)));
}

/// Goes back to the part before.
pub(super) fn back(ui: &mut Ui, mut asks: SilencePrompt) {
    asks.part = match asks.part {
        SilencePart::Matchers | SilencePart::Lasts => SilencePart::Matchers,
        SilencePart::Comment => SilencePart::Lasts,
    };
    show(ui, asks);
}

/// Takes what was typed, and asks for the next part or opens the rehearsal.
pub(super) fn accept(
    ui: &mut Ui,
    world: &World,
    input: &str,
    mut asks: SilencePrompt,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    match asks.part {
        SilencePart::Matchers => {
            asks.new.matchers = with_offers(matchers::parse(input)?, &asks.new.matchers);
            asks.part = SilencePart::Lasts;
        }
        SilencePart::Lasts => {
            asks.new.secs = silence::secs(input).ok_or_else(|| silence::no_duration(input))?;
            asks.part = SilencePart::Comment;
        }
        SilencePart::Comment => {
            if input.trim().is_empty() {
                return Err("say why, for those who wonder where the alert is".into());
            }
            asks.new.comment = input.trim().into();
            asks.new.from = ui.now;
            let target = asks.new.target(asks.cluster);
            dialog::open(ui, world, Act::SilenceAlerts(Box::new(asks.new)), vec![target], effects);
            return Ok(());
        }
    }
    show(ui, asks);
    Ok(())
}

/// Returns the typed matchers, and those that were offered and are not among them.
fn with_offers(typed: Vec<Matcher>, offered: &[(Matcher, bool)]) -> Vec<(Matcher, bool)> {
    let others: Vec<Matcher> =
        offered.iter().map(|(matcher, _)| matcher).filter(|one| !typed.contains(one)).cloned().collect();
    let on = typed.into_iter().map(|matcher| (matcher, true));
    on.chain(others.into_iter().map(|matcher| (matcher, false))).collect()
}
