//! Silences of an Alertmanager: which alerts a new one hides, and the end of an existing one.

use serde_json::Value;

use super::{PlanInput, live};
use crate::domain::alert::{Alert, AlertState, NewSilence, SILENCE, SilenceSpec};
use crate::domain::id::Name;
use crate::domain::plan::{
    Act, Change, Choice, Confirm, Few, FieldChange, Plan, Refusal, Step, StepKind, Warning,
};
use crate::domain::time::age;
use crate::policy::kubectl::quote;

/// The durations to choose from, in seconds.
const DURATIONS: [u32; 5] = [30 * 60, 3_600, 4 * 3_600, 24 * 3_600, 7 * 24 * 3_600];
/// The maximum number of alerts that the preview lists.
const LISTED: usize = 40;

/// Plans a new silence.
pub(super) fn silence(input: PlanInput<'_>, plan: &mut Plan, new: &NewSilence) {
    let spec = new.spec();
    plan.choices = choices(new);
    plan.undo = "the silence ends".into();
    if spec.matchers.iter().all(|matcher| matcher.accepts(&[]) != Some(false)) {
        plan.refusals.push(Refusal::SilenceTooBroad);
        return;
    }
    let on = spec.object(plan.intent.cluster, &new.through);
    let Some(found) = live(input, plan, &on) else { return };
    let alerts = &input.cluster.alerts.alerts;
    let hidden: Vec<&Alert> = alerts.iter().map(AsRef::as_ref).filter(|alert| spec.hides(alert)).collect();
    preview(plan, &hidden, &new.alert);
    plan.confirm = if hidden.len() > 1 { Confirm::Suffix } else { Confirm::Yes };
    let flags = format!(
        "--author={} --comment={} --duration={}s",
        quote(&spec.author),
        quote(&spec.comment),
        new.secs
    );
    let matchers: Vec<String> = spec.matchers.iter().map(|m| quote(&m.to_string())).collect();
    plan.kubectl = format!("amtool silence add {flags} {}", matchers.join(" "));
    if found.pointer(SILENCE).is_some_and(|held| !held.is_null()) {
        plan.warnings.push(Warning::SilencedAlready);
        return;
    }
    let words = format!("silence {} until {}", spec.words(), spec.ends.told(input.now));
    plan.steps.push(step(words, (Value::Null, spec.value()), on));
}

/// Lists the alerts that a silence hides.
fn preview(plan: &mut Plan, hidden: &[&Alert], selected: &str) {
    let line = |alert: &&Alert| {
        let labels: Vec<String> = alert
            .labels
            .iter()
            .filter(|(name, _)| {
                ["namespace", "pod", "deployment", "service", "node", "instance"].contains(&name.as_str())
            })
            .map(|(_, value)| value.to_string())
            .collect();
        let severity = alert.label(crate::domain::alert::SEVERITY).map_or("–", Name::as_str);
        format!("- {} {} ({severity}, {})", alert.name(), labels.join("/"), alert.state.as_str())
    };
    plan.diff = hidden.iter().take(LISTED).map(line).collect();
    if hidden.len() > LISTED {
        plan.diff.push(format!("- and {} more", hidden.len() - LISTED));
    }
    let names = |wanted: &dyn Fn(&Alert) -> bool| {
        let mut names: Vec<Name> =
            hidden.iter().filter(|alert| wanted(alert)).map(|alert| Name::from(alert.name())).collect();
        names.sort();
        names.dedup();
        names
    };
    let others = names(&|alert| alert.name() != selected);
    if !others.is_empty() {
        plan.warnings.push(Warning::SilencesOthers { names: Few(others) });
    }
    let firing = hidden.iter().filter(|alert| alert.state == AlertState::Firing).count();
    match firing {
        0 => plan.warnings.push(Warning::SilencesNothing),
        alerts => plan.warnings.push(Warning::Silences { alerts }),
    }
}

/// The durations and the matchers to choose from.
fn choices(new: &NewSilence) -> Vec<Choice> {
    let durations = DURATIONS.iter().map(|secs| Choice {
        words: format!("for {}", age(u64::from(*secs) * 1000)),
        act: Act::SilenceAlerts(Box::new(NewSilence { secs: *secs, ..new.clone() })),
        on: *secs == new.secs,
    });
    let matchers = new.matchers.iter().enumerate().map(|(at, (matcher, on))| {
        let mut other = new.clone();
        if let Some((_, on)) = other.matchers.get_mut(at) {
            *on = !*on;
        }
        Choice { words: matcher.to_string(), act: Act::SilenceAlerts(Box::new(other)), on: *on }
    });
    durations.chain(matchers).collect()
}

/// Plans the end of silences. The targets are their objects.
pub(super) fn end(input: PlanInput<'_>, plan: &mut Plan) {
    plan.undo = "the same silence again, until the same time".into();
    plan.kubectl = "amtool silence expire ID".into();
    for target in plan.intent.targets.clone() {
        let Some(found) = live(input, plan, &target) else { continue };
        let held = found.pointer(SILENCE).cloned().unwrap_or(Value::Null);
        let Some(spec) = SilenceSpec::read(&held) else {
            plan.warnings.push(Warning::SilenceEnded);
            continue;
        };
        if let Some(id) = found.pointer("/status/id").and_then(Value::as_str) {
            plan.kubectl = format!("amtool silence expire {}", quote(id));
        }
        let hidden = input.cluster.alerts.alerts.iter().filter(|alert| spec.hides(alert));
        let back = hidden.map(|alert| format!("+ {} ({})", alert.name(), alert.state.as_str()));
        plan.diff.extend(back.take(LISTED));
        plan.steps.push(step(format!("end the silence {}", spec.words()), (held, Value::Null), target));
    }
}

fn step(words: String, (from, to): (Value, Value), on: crate::domain::id::ObjectRef) -> Step {
    let fields = vec![FieldChange { pointer: SILENCE.into(), from, to }];
    Step::new(StepKind::Change(Change { words, fields }), on)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::{DataScope, lookups, plan};
    use super::*;
    use crate::domain::alert::{AlertsSeen, Matcher};
    use crate::domain::id::{ClusterId, ObjectRef};
    use crate::domain::plan::{Intent, LookupResult, Lookups};
    use crate::domain::settings::GuardSettings;
    use crate::domain::time::Stamp;
    use crate::facts::world::Cluster;

    fn new(pairs: &[(&str, &str, bool)]) -> NewSilence {
        let matcher =
            |(name, value, on): &(&str, &str, bool)| (Matcher::equal(&(*name).into(), &(*value).into()), *on);
        NewSilence {
            alert: "Crash".into(),
            matchers: pairs.iter().map(matcher).collect(),
            author: "ann".into(),
            comment: "it's known".into(),
            from: Stamp(0),
            secs: 3_600,
            ..NewSilence::default()
        }
    }

    fn cluster() -> Cluster {
        let alert = |name: &str, namespace: &str, state| {
            let labels = [("alertname".into(), Name::from(name)), ("namespace".into(), namespace.into())];
            Arc::new(Alert {
                fingerprint: format!("{name}{namespace}").into(),
                labels: labels.into(),
                state,
                ..Alert::default()
            })
        };
        let alerts = [
            alert("Crash", "pay", AlertState::Firing),
            alert("Crash", "shop", AlertState::Firing),
            alert("Slow", "shop", AlertState::Firing),
        ];
        let seen =
            AlertsSeen { source: "alertmanager".into(), alerts: alerts.into(), ..AlertsSeen::default() };
        Cluster { alerts: Arc::new(seen), ..Cluster::default() }
    }

    fn planned(act: Act, targets: Vec<ObjectRef>, found: &LookupResult, guards: &GuardSettings) -> Plan {
        let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets };
        let cluster = cluster();
        let lookups = Lookups(lookups(&cluster, &intent).into_iter().map(|l| (l, found.clone())).collect());
        let scope = DataScope::FullCluster;
        plan(PlanInput { cluster: &cluster, guards, scope, lookups: &lookups, now: Stamp(0) }, &intent)
    }

    fn of(new: NewSilence, found: &LookupResult, guards: &GuardSettings) -> Plan {
        let target = new.target(ClusterId(0));
        planned(Act::SilenceAlerts(Box::new(new)), vec![target], found, guards)
    }

    fn none() -> LookupResult {
        LookupResult::Objects(vec![json!({"spec": {"silence": null}})])
    }

    #[test]
    fn the_preview_lists_what_a_silence_hides() {
        let narrow = new(&[("alertname", "Crash", true), ("namespace", "shop", true)]);
        let p = of(narrow.clone(), &none(), &GuardSettings::default());
        assert_eq!((p.refusals.as_slice(), p.confirm), ([].as_slice(), Confirm::Yes));
        assert_eq!(p.diff, ["- Crash shop (–, firing)"]);
        assert_eq!(p.warnings, [Warning::Silences { alerts: 1 }]);
        assert_eq!(
            p.kubectl,
            "amtool silence add --author=ann --comment='it'\\''s known' --duration=3600s 'alertname=\"Crash\"' 'namespace=\"shop\"'"
        );
        let StepKind::Change(change) = &p.steps[0].what else { panic!("{:?}", p.steps) };
        assert_eq!((&change.fields[0].from, &change.fields[0].to), (&Value::Null, &narrow.spec().value()));
        let broad = new(&[("alertname", "Crash", false), ("namespace", "shop", true)]);
        let p = of(broad, &none(), &GuardSettings::default());
        assert_eq!((p.diff.len(), p.confirm, p.answer.as_str()), (2, Confirm::Suffix, "rash"));
        assert!(p.warnings.contains(&Warning::SilencesOthers { names: Few(vec!["Slow".into()]) }));
        let p = of(new(&[("alertname", "Other", true)]), &none(), &GuardSettings::default());
        assert_eq!(p.warnings, [Warning::SilencesNothing]);
        let p = of(new(&[("alertname", "Crash", false)]), &none(), &GuardSettings::default());
        assert_eq!(p.refusals, [Refusal::SilenceTooBroad]);
    }

    #[test]
    fn durations_and_matchers_can_be_chosen() {
        let p = of(
            new(&[("alertname", "Crash", true), ("namespace", "shop", false)]),
            &none(),
            &GuardSettings::default(),
        );
        let on: Vec<&str> = p.choices.iter().filter(|c| c.on).map(|c| c.words.as_str()).collect();
        assert_eq!(on, ["for 1h", r#"alertname="Crash""#]);
        let last = p.choices.last().unwrap();
        let Act::SilenceAlerts(other) = &last.act else { panic!("{last:?}") };
        assert_eq!(other.spec().matchers.len(), 2, "it is added");
    }

    #[test]
    fn guards_apply_and_what_cannot_be_read_is_refused() {
        let narrow = || new(&[("alertname", "Crash", true), ("namespace", "shop", true)]);
        let protected =
            GuardSettings { protected_namespaces: vec!["shop".into()], ..GuardSettings::default() };
        assert_eq!(of(narrow(), &none(), &protected).confirm, Confirm::Suffix);
        let read_only = GuardSettings { read_only: true, ..GuardSettings::default() };
        assert_eq!(of(narrow(), &none(), &read_only).refusals, [Refusal::ReadOnly]);
        let p = of(narrow(), &LookupResult::Unread("no Alertmanager".into()), &GuardSettings::default());
        assert_eq!(p.refusals, [Refusal::NotReadable { why: "no Alertmanager".into() }]);
        let held = json!({"spec": {"silence": narrow().spec().value()}});
        let p = of(narrow(), &LookupResult::Objects(vec![held]), &GuardSettings::default());
        assert!(p.steps.is_empty() && p.warnings.contains(&Warning::SilencedAlready));
    }

    #[test]
    fn a_silence_ends_and_can_be_made_again() {
        let spec = new(&[("alertname", "Crash", true)]).spec();
        let target = spec.object(ClusterId(0), "");
        let held = json!({"spec": {"silence": spec.value()}, "status": {"id": "0a1b"}});
        let found = LookupResult::Objects(vec![held]);
        let p = planned(Act::EndSilence, vec![target.clone()], &found, &GuardSettings::default());
        assert_eq!(
            (p.kubectl.as_str(), p.diff.len(), p.confirm),
            ("amtool silence expire 0a1b", 2, Confirm::Yes)
        );
        let StepKind::Change(change) = &p.steps[0].what else { panic!("{:?}", p.steps) };
        assert_eq!((&change.fields[0].from, &change.fields[0].to), (&spec.value(), &Value::Null));
        let p = planned(Act::EndSilence, vec![target], &none(), &GuardSettings::default());
        assert_eq!(p.warnings, [Warning::SilenceEnded]);
    }
}
