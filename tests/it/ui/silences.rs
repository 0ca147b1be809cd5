//! Silences of an Alertmanager: what the key asks for, and what it plans.

use pilothouse::ui::app::Prompt;
use pilothouse::ui::request::Effect;
use pilothouse_core::domain::alert::{AlertOrigin, AlertsSeen, NewSilence};
use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::plan::{Act, Intent};
use pilothouse_core::facts::event::Fact;

use super::{Desk, scene};

/// The list of alerts, the worst one selected.
fn listed() -> Desk {
    let mut state = scene::trouble();
    scene::alerts(&mut state);
    let mut desk = Desk::new(state);
    desk.press("6");
    desk.dump(120, 36);
    desk
}

fn planned(effects: Vec<Effect>) -> Intent {
    let Some(Effect::Plan(_, intent, None)) = effects.into_iter().next() else { panic!("no rehearsal") };
    intent
}

fn new(intent: &Intent) -> &NewSilence {
    let Act::SilenceAlerts(new) = &intent.act else { panic!("{:?}", intent.act) };
    new
}

const PAY: &str = r#"alertname="NotReady", deployment="pay", namespace="shop", severity="critical""#;

#[test]
fn a_silence_is_asked_for_part_by_part_and_rehearsed() {
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let mut desk = listed();
        assert!(desk.dump(w, h).lines().last().unwrap().contains("M silence"), "{}", desk.dump(w, h));
        desk.press("g M");
        assert_eq!(desk.ui.input.text(), PAY);
        assert!(desk.dump(w, h).contains("silence alerts with: "), "{}", desk.dump(w, h));
        // what cannot be read is kept
        desk.press("ctrl-u");
        desk.type_text("alertname");
        assert_eq!(desk.press("enter"), []);
        assert!(desk.dump(w, h).contains("after the label comes one of"), "{}", desk.dump(w, h));
        desk.type_text("=NotReady namespace=~shop");
        assert_eq!(desk.press("enter"), []);
        assert_eq!(desk.ui.input.text(), "2h");
        desk.press("ctrl-u");
        desk.type_text("soon");
        desk.press("enter");
        assert!(desk.dump(w, h).contains("`soon` is not a duration"), "{}", desk.dump(w, h));
        desk.press("ctrl-u 3 0 m enter");
        assert!(desk.dump(w, h).contains("why: "), "{}", desk.dump(w, h));
        assert_eq!(desk.press("enter"), [], "a silence has a reason");
        // the parts before are as they were typed
        desk.press("up");
        assert_eq!(desk.ui.input.text(), "30m");
        desk.press("up");
        assert_eq!(desk.ui.input.text(), r#"alertname="NotReady", namespace=~"shop""#);
        desk.press("enter enter");
        desk.type_text("TICKET-1, they know");
        let intent = planned(desk.press("enter"));
        let spec = new(&intent).spec();
        assert_eq!(spec.words(), r#"{alertname="NotReady", namespace=~"shop"}"#);
        assert_eq!((spec.ends, spec.author.as_str()), (scene::NOW.plus_secs(1_800), "alice"));
        assert_eq!(spec.comment, "TICKET-1, they know");
        assert_eq!(new(&intent).selected, ["a"]);
        // the other labels of the alert can be chosen in the rehearsal
        let offered: Vec<String> =
            new(&intent).matchers.iter().filter(|(_, on)| !on).map(|(m, _)| m.to_string()).collect();
        assert_eq!(
            offered,
            [r#"deployment="pay""#, r#"namespace="shop""#, r#"severity="critical""#],
            "alertname is there"
        );
        let [ObjectRef { name, .. }] = intent.targets.as_slice() else { panic!("{:?}", intent.targets) };
        assert_eq!(name, "NotReady");
        assert!(desk.dump(w, h).contains("Rehearsal: silence NotReady in prod-eu"), "{}", desk.dump(w, h));
    }
}

#[test]
fn esc_leaves_the_prompt_and_plans_nothing() {
    let mut desk = listed();
    assert_eq!(desk.press("g M enter esc"), []);
    assert!(desk.ui.prompt.is_none() && desk.ui.dialog.is_none());
}

#[test]
fn the_text_of_an_alert_has_the_key_too_and_a_group_silences_what_its_alerts_share() {
    let mut desk = listed();
    desk.press("g enter");
    assert!(desk.dump(120, 36).contains("M silence"), "{}", desk.dump(120, 36));
    desk.press("M");
    assert_eq!(desk.ui.input.text(), PAY);
    let mut desk = listed();
    desk.press("t");
    desk.dump(120, 36);
    desk.press("g M");
    // the severity and the workload are not the same
    assert_eq!(desk.ui.input.text(), r#"alertname="NotReady", namespace="shop""#);
    let Some(Prompt::SilenceAlerts(asks)) = &desk.ui.prompt else { panic!() };
    assert_eq!(asks.new.selected.len(), 3);
}

#[test]
fn the_key_ends_the_silence_of_an_alert_that_has_one() {
    let mut desk = listed();
    desk.press("/");
    desk.type_text("search");
    desk.press("enter");
    desk.dump(120, 36);
    let intent = planned(desk.press("g M"));
    assert_eq!(intent.act, Act::EndSilence);
    let names: Vec<&str> = intent.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["s1"]);
}

#[test]
fn without_an_alertmanager_or_an_alert_there_is_nothing_to_silence() {
    let mut state = scene::trouble();
    scene::alerts(&mut state);
    let known = scene::world(&mut state).clusters[0].alerts.alerts.clone();
    let seen = AlertsSeen {
        source: "alertmanager".into(),
        origin: AlertOrigin::Rules,
        alerts: known,
        ..AlertsSeen::default()
    };
    scene::apply(&mut state, [Fact::Alerts(seen)]);
    let mut desk = Desk::new(state);
    desk.press("6");
    desk.dump(120, 36);
    assert_eq!(desk.press("g M"), []);
    assert!(desk.dump(120, 36).contains("rules of Prometheus have no silences"), "{}", desk.dump(120, 36));
    let mut desk = Desk::new(scene::trouble());
    desk.press("1");
    desk.dump(120, 36);
    desk.press("d");
    desk.dump(120, 36);
    assert_eq!(desk.press("M"), []);
    assert!(desk.dump(120, 36).contains("select an alert to silence it"), "{}", desk.dump(120, 36));
}
