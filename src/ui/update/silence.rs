//! Silences findings for a limited time, and ends a silence.

use pilothouse_core::domain::cause::FindingCode;
use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::silence::Silence;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::SilenceChange;
use pilothouse_core::facts::world::{Cause, World};

use super::super::app::{Prompt, Screen, TextSource, TextView, Ui};
use super::super::list::ListId;
use super::super::pane::causes;
use super::super::request::Effect;
use super::super::widget::text;
use super::timeline;

/// Asks how long to silence these findings. On the screen of silenced findings, asks which ones to show again.
pub(super) fn ask(ui: &mut Ui, world: &World) {
    if let Some(why) = timeline::refusal(ui) {
        return ui.say(why);
    }
    let Some(cluster) = ui.shown(world) else { return };
    let key = match ui.screen() {
        Screen::Text(view) => match &view.source {
            TextSource::Silenced if cluster.derived.silenced.is_empty() => {
                return ui.say("nothing is silenced");
            }
            TextSource::Silenced => {
                ui.input.clear();
                ui.prompt = Some(Prompt::Tell);
                return;
            }
            TextSource::Why(key) => Some(pilothouse_core::domain::id::Uid::Text(key.clone())),
            _ => None,
        },
        _ if ui.active_list() == Some(ListId::Now) => ui.list(ListId::Now).chosen().cloned(),
        _ => None,
    };
    let far = super::clusters::far(ui, world);
    let cause = key.and_then(|key| cluster.derived.causes.iter().find(|c| causes::key(c) == key).cloned());
    if let (None, Some(name)) = (&cause, far) {
        return ui.say(format!("this is in {name}: Enter brings that cluster to the front"));
    }
    let Some(cause) = cause else { return ui.say("select one finding in NOW to silence it") };
    ui.input.clear();
    ui.prompt = Some(Prompt::Silence { title: cause.to_string(), silences: silences(&cause) });
}

/// Returns one silence for each finding that the row stands for.
fn silences(cause: &Cause) -> Vec<Silence> {
    let of = |code: FindingCode, object: Option<&ObjectRef>| Silence {
        rule: code.as_str().into(),
        namespace: object.map_or_else(|| "*".into(), |o| o.namespace.to_string()),
        name: object.map_or_else(|| "*".into(), |o| o.name.to_string()),
        in_session: true,
        ..Silence::default()
    };
    let included = cause.included();
    if included.is_empty() {
        return vec![of(cause.code(), None)];
    }
    included.iter().map(|(code, object)| of(*code, Some(object))).collect()
}

/// Silences the findings for the duration that was typed.
pub(super) fn accept(
    ui: &mut Ui,
    input: &str,
    mut silences: Vec<Silence>,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    let until = until(input, ui.now)?;
    for silence in &mut silences {
        silence.until = until;
    }
    effects.push(Effect::Silence(ui.cluster, SilenceChange::Add(silences)));
    let until = until.map_or_else(|| "until the console ends".into(), |at| format!("until {}", at.clock()));
    ui.say(format!("silenced {until}"));
    Ok(())
}

/// Ends the silence of one finding, selected by its number, or of all findings.
pub(super) fn tell(ui: &mut Ui, world: &World, input: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let Some(cluster) = ui.shown(world) else { return Ok(()) };
    let silenced = &cluster.derived.silenced;
    let chosen: Vec<_> = match input.trim() {
        "all" => silenced.iter().collect(),
        number => match number.parse::<usize>().ok().and_then(|n| silenced.get(n.checked_sub(1)?)) {
            Some(one) => vec![one],
            None => {
                return Err(format!("`{number}` is neither a number from 1 to {} nor `all`", silenced.len()));
            }
        },
    };
    let mut lifted: Vec<Silence> = Vec::new();
    for one in chosen {
        if !lifted.contains(&one.by) {
            lifted.push(Silence::clone(&one.by));
        }
    }
    let said = format!("{} lifted", text::count(lifted.len(), "silence"));
    let cluster = ui.cluster;
    effects.extend(lifted.into_iter().map(|one| Effect::Silence(cluster, SilenceChange::Lift(one))));
    ui.say(said);
    Ok(())
}

/// Shows the silenced findings.
pub(super) fn show(ui: &mut Ui) {
    if !matches!(ui.screen(), Screen::Text(v) if v.source == TextSource::Silenced) {
        ui.screens.push(Screen::Text(Box::new(TextView::new("Silenced", TextSource::Silenced, None))));
    }
}

/// Parses the end of a silence. An empty input silences the findings until the console exits.
fn until(input: &str, now: Stamp) -> Result<Option<Stamp>, String> {
    if input.trim().is_empty() {
        return Ok(None);
    }
    let secs = secs(input).ok_or_else(|| no_duration(input))?;
    Ok(Some(now.plus_secs(i64::from(secs))))
}

/// The units of a duration, in seconds.
const UNITS: [(char, u32); 3] = [('d', 86_400), ('h', 3_600), ('m', 60)];

/// Parses `30m`, `8h` and `2d`.
pub(super) fn secs(input: &str) -> Option<u32> {
    UNITS.into_iter().find_map(|(unit, secs)| {
        let number = input.trim().strip_suffix(unit)?.trim().parse::<u32>().ok()?;
        (1..=10_000).contains(&number).then_some(number * secs)
    })
}

/// Writes a duration as [`secs`] reads it.
pub(super) fn told(secs: u32) -> String {
    let unit = UNITS.into_iter().find(|(_, unit)| secs.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{}m", secs.div_ceil(60)), |(word, unit)| format!("{}{word}", secs / unit))
}

pub(super) fn no_duration(input: &str) -> String {
    format!("`{}` is not a duration such as 30m, 8h or 2d", input.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = Stamp::from_secs(1_000);
        for (text, want) in [("30m", 1_800), (" 8h ", 28_800), ("2 d", 172_800)] {
            assert_eq!(until(text, now), Ok(Some(now.plus_secs(want))), "{text}");
        }
        assert_eq!(until("", now), Ok(None));
        for (secs, text) in [(1_800, "30m"), (7_200, "2h"), (86_400, "1d"), (90_000, "25h"), (61, "2m")] {
            assert_eq!(told(secs), text);
        }
        for text in ["8", "h", "-1h", "0m", "99999999999d", "1w"] {
            assert!(until(text, now).is_err(), "{text}");
        }
    }
}
