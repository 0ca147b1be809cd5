//! Silences of an Alertmanager: which alerts a new one hides, and the end of an existing one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{PlanInput, is_protected, live};
use crate::domain::alert::{
    Alert, AlertRow, AlertState, Matcher, NewSilence, SEVERITY, SILENCE, SILENCE_IDS, SilenceSpec,
    is_silence, is_url, through,
};
use crate::domain::id::{Name, ObjectRef};
use crate::domain::plan::{
    Act, Change, Choice, Confirm, FieldChange, Plan, Refusal, Step, StepKind, Warning,
};
use crate::domain::text::clean;
use crate::domain::time::{Stamp, age};
use crate::facts::world::Cluster;
use crate::policy::kubectl::quote;

/// The maximum number of alerts that the preview lists.
const LISTED: usize = 40;
/// A silence that lasts longer is warned of.
const LONG_SECS: u32 = 86_400;

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
    let lasts = age(u64::from(new.secs) * 1000);
    plan.diff = vec![
        format!(" in the Alertmanager {}", place(input.cluster, &new.through)),
        by(&spec),
        format!(" for {lasts}, until {}", spec.ends.told(input.now)),
    ];
    hides(input, plan, new, &spec);
    if new.secs > LONG_SECS {
        plan.warnings.push(Warning::SilencesLong { lasts });
    }
    let flags = format!(
        "--author={} --comment={} --duration={}s",
        quote(&spec.author),
        quote(&spec.comment),
        new.secs
    );
    let matchers: Vec<String> = spec.matchers.iter().map(|m| quote(&m.to_string())).collect();
    plan.kubectl =
        format!("{} silence add {flags} {}", amtool(input.cluster, &new.through), matchers.join(" "));
    if found.pointer(SILENCE).is_some_and(|held| !held.is_null()) {
        plan.warnings.push(Warning::SilencedAlready);
        return;
    }
    let words = format!("silence {} until {}", spec.words(), spec.ends.told(input.now));
    plan.steps.push(step(words, (Value::Null, spec.value()), on));
}

/// Returns who silences, and why.
fn by(spec: &SilenceSpec) -> String {
    clean(&format!(" by {}: {}", spec.author, spec.comment)).into_owned()
}

/// Returns where the Alertmanager is. `through` is its Service, or "" for the URL of the config.
fn place(cluster: &Cluster, through: &str) -> String {
    match (through, cluster.alerts.base.as_str()) {
        ("", "") => "of alertmanager.url".into(),
        ("", url) => format!("at {url}"),
        (url, _) if is_url(url) => format!("at {url}"),
        (service, _) => format!("{service}, through the API server"),
    }
}

/// Returns the beginning of the equivalent command.
fn amtool(cluster: &Cluster, through: &str) -> String {
    match (through, cluster.alerts.base.as_str()) {
        (url, _) if is_url(url) => format!("amtool --alertmanager.url={}", quote(url)),
        ("", url) if !url.is_empty() => format!("amtool --alertmanager.url={}", quote(url)),
        _ => "amtool".into(),
    }
}

/// Lists the alerts that a silence hides, warns of those that the person did not select, and asks for more the more
/// they are.
fn hides(input: PlanInput<'_>, plan: &mut Plan, new: &NewSilence, spec: &SilenceSpec) {
    let known = &input.cluster.alerts;
    let hidden: Vec<&Alert> =
        known.alerts.iter().map(AsRef::as_ref).filter(|alert| spec.hides(alert)).collect();
    plan.diff.extend(hidden.iter().take(LISTED).map(|alert| format!("- {}", line(alert))));
    if hidden.len() > LISTED {
        plan.diff.push(format!("- and {} more", hidden.len() - LISTED));
    }
    plan.confirm = if hidden.len() > 1 { Confirm::Suffix } else { Confirm::Yes };
    match hidden.iter().filter(|alert| alert.state == AlertState::Firing).count() {
        0 => plan.warnings.push(Warning::SilencesNothing),
        alerts => plan.warnings.push(Warning::Silences { alerts }),
    }
    let others: BTreeSet<Name> =
        hidden.iter().map(|alert| Name::from(alert.name())).filter(|name| *name != new.alert).collect();
    if hidden.len() == known.alerts.len() && !others.is_empty() {
        plan.warnings.push(Warning::SilencesEverything { alerts: hidden.len() });
        plan.confirm = Confirm::Context;
    }
    plan.warnings
        .extend(Warning::of(others.into_iter().collect(), |names| Warning::SilencesOthers { names }));
    let (selected, hidden): (Vec<&AlertRow>, Vec<&AlertRow>) = input
        .cluster
        .derived
        .alerts
        .iter()
        .map(AsRef::as_ref)
        .filter(|row| spec.hides(&row.alert) || new.selected.contains(&row.alert.fingerprint))
        .partition(|row| new.selected.contains(&row.alert.fingerprint));
    let of_selected: BTreeSet<&Name> = selected.iter().map(|row| &row.namespace).collect();
    let namespaces: BTreeSet<Name> = hidden
        .iter()
        .map(|row| row.namespace.clone())
        .filter(|namespace| !namespace.is_empty() && !of_selected.contains(namespace))
        .collect();
    let objects: BTreeSet<ObjectRef> = hidden
        .iter()
        .filter(|row| !row.objects.iter().any(|object| selected.iter().any(|one| one.is_about(object))))
        .filter_map(|row| row.object().cloned())
        .collect();
    let protected = namespaces.iter().any(|namespace| input.guards.protects_namespace(namespace));
    if protected && !is_protected(plan, input.guards) {
        // a single silence has no number that could be typed
        plan.confirm = if plan.confirm == Confirm::Yes { Confirm::Suffix } else { Confirm::Context };
    }
    plan.warnings
        .extend(Warning::of(namespaces.into_iter().collect(), |names| Warning::SilencesNamespaces { names }));
    plan.warnings
        .extend(Warning::of(objects.into_iter().collect(), |names| Warning::SilencesObjects { names }));
    let kept = known.alerts.len();
    if known.total as usize > kept {
        plan.warnings.push(Warning::SilencesUnknown { kept, total: known.total });
    }
}

/// Describes an alert in one line: `Crash shop/web (critical, firing)`.
fn line(alert: &Alert) -> String {
    const PLACES: [&str; 6] = ["namespace", "pod", "deployment", "service", "node", "instance"];
    let labels = alert.labels.iter().filter(|(name, _)| PLACES.contains(&name.as_str()));
    let place: Vec<&str> = labels.map(|(_, value)| value.as_str()).collect();
    let severity = alert.label(SEVERITY).map_or("–", Name::as_str);
    format!("{} {} ({severity}, {})", alert.name(), place.join("/"), alert.state.as_str())
}

/// The matchers to choose from: those that the person typed, and the other labels of the selected alerts.
fn choices(new: &NewSilence) -> Vec<Choice> {
    let matcher = |(at, (matcher, on)): (usize, &(Matcher, bool))| {
        let mut other = new.clone();
        if let Some((_, on)) = other.matchers.get_mut(at) {
            *on = !*on;
        }
        Choice { words: matcher.to_string(), act: Act::SilenceAlerts(Box::new(other)), on: *on }
    };
    new.matchers.iter().enumerate().map(matcher).collect()
}

/// Plans the end of silences. The targets are their objects.
pub(super) fn end(input: PlanInput<'_>, plan: &mut Plan) {
    plan.undo = "the same silence again, until the same time".into();
    let (mut commands, mut begin) = (Vec::new(), String::new());
    for target in plan.intent.targets.clone() {
        let Some(found) = live(input, plan, &target) else { continue };
        let held = found.pointer(SILENCE).cloned().unwrap_or(Value::Null);
        let Some(spec) = SilenceSpec::read(&held) else {
            plan.warnings.push(Warning::SilenceEnded);
            continue;
        };
        let ids = found.pointer(SILENCE_IDS).and_then(Value::as_array);
        commands.extend(ids.into_iter().flatten().filter_map(Value::as_str).map(quote));
        let through = through(&target).unwrap_or_default();
        begin = amtool(input.cluster, &through);
        plan.diff.push(format!(" in the Alertmanager {}", place(input.cluster, &through)));
        plan.diff.push(by(&spec));
        let hidden = input.cluster.alerts.alerts.iter().filter(|alert| spec.hides(alert));
        plan.diff.extend(hidden.take(LISTED).map(|alert| format!("+ {}", line(alert))));
        let words = format!("end the silence {}", spec.words());
        // the step is about what the silence says, so that its undo finds the silence that it makes again
        let on = spec.object(plan.intent.cluster, &through);
        plan.steps.push(step(words, (held, Value::Null), on));
    }
    if !commands.is_empty() {
        plan.kubectl = format!("{begin} silence expire {}", commands.join(" "));
    }
}

/// Describes the inverse of a step of these plans. Returns `None` for the change of another object.
pub(super) fn words(change: &Change) -> Option<String> {
    let field = change.fields.iter().find(|field| field.pointer == SILENCE)?;
    match (SilenceSpec::read(&field.from), SilenceSpec::read(&field.to)) {
        (Some(held), None) => Some(format!("end the silence {}", held.words())),
        (None, Some(new)) => Some(format!("silence {} again, until {}", new.words(), new.ends)),
        _ => None,
    }
}

/// Returns the part of a silence's name that a person can read. The rest tells silences of the same alert apart.
pub(super) fn spoken(plan: &Plan) -> Option<&str> {
    // a new silence has the name of its alert as its target
    if matches!(plan.intent.act, Act::SilenceAlerts(_)) {
        return None;
    }
    let step = plan.steps.iter().find(|step| is_silence(&step.on.kind))?;
    step.on.name.rsplit_once('-').map(|(name, _)| name)
}

/// Returns the end of the silence that a step makes, if it is over. An Alertmanager refuses such a silence.
pub(super) fn is_over(what: &StepKind, now: Stamp) -> Option<Stamp> {
    let StepKind::Change(change) = what else { return None };
    let made = change.fields.iter().find(|field| field.pointer == SILENCE)?;
    SilenceSpec::read(&made.to).map(|spec| spec.ends).filter(|ends| *ends <= now)
}

fn step(words: String, (from, to): (Value, Value), on: ObjectRef) -> Step {
    let fields = vec![FieldChange { pointer: SILENCE.into(), from, to }];
    Step::new(StepKind::Change(Change { words, fields }), on)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::{DataScope, lookups, plan};
    use super::*;
    use crate::domain::alert::{AlertSilence, AlertsSeen, by_id};
    use crate::domain::id::{ClusterId, Kind, Uid};
    use crate::domain::plan::{Few, Intent, LookupResult, Lookups};
    use crate::domain::settings::GuardSettings;
    use crate::domain::time::Stamp;
    use crate::facts::world::Derived;

    fn new(pairs: &[(&str, &str, bool)]) -> NewSilence {
        let matcher =
            |(name, value, on): &(&str, &str, bool)| (Matcher::equal(&(*name).into(), &(*value).into()), *on);
        NewSilence {
            alert: "Crash".into(),
            selected: vec!["Crashshop".into()],
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
        let row = |alert: &Arc<Alert>| {
            let namespace = alert.label("namespace").cloned().unwrap_or_default();
            let web =
                ObjectRef::new(ClusterId(0), Kind::Deployment, &namespace, &"web".into(), &Uid::default());
            Arc::new(AlertRow { alert: alert.clone(), objects: [web].into(), namespace })
        };
        let derived = Derived { alerts: alerts.iter().map(row).collect(), ..Derived::default() };
        let seen = AlertsSeen {
            source: "alertmanager".into(),
            base: "http://am".into(),
            alerts: alerts.into(),
            ..AlertsSeen::default()
        };
        Cluster { alerts: Arc::new(seen), derived, ..Cluster::default() }
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
        assert_eq!(
            p.diff,
            [
                " in the Alertmanager at http://am",
                " by ann: it's known",
                " for 60m, until 01:00:00 UTC",
                "- Crash shop (–, firing)"
            ]
        );
        assert_eq!(p.warnings, [Warning::Silences { alerts: 1 }]);
        assert_eq!(
            p.kubectl,
            "amtool --alertmanager.url=http://am silence add --author=ann --comment='it'\\''s known' --duration=3600s 'alertname=\"Crash\"' 'namespace=\"shop\"'"
        );
        let StepKind::Change(change) = &p.steps[0].what else { panic!("{:?}", p.steps) };
        assert_eq!((&change.fields[0].from, &change.fields[0].to), (&Value::Null, &narrow.spec().value()));
        let broad = new(&[("alertname", "Crash", false), ("namespace", "shop", true)]);
        let p = of(broad, &none(), &GuardSettings::default());
        assert_eq!((p.diff.len(), p.confirm, p.answer.as_str()), (5, Confirm::Suffix, "rash"));
        assert!(p.warnings.contains(&Warning::SilencesOthers { names: Few(vec!["Slow".into()]) }));
        let other_namespace = NewSilence { secs: 2 * LONG_SECS, ..new(&[("alertname", "Crash", true)]) };
        let p = of(other_namespace.clone(), &none(), &GuardSettings::default());
        let codes: Vec<_> = p.warnings.iter().map(Warning::code).collect();
        assert_eq!(codes, ["silences", "silences-namespaces", "silences-objects", "silences-long"]);
        assert_eq!(p.warnings[1], Warning::SilencesNamespaces { names: Few(vec!["pay".into()]) });
        assert_eq!(p.confirm, Confirm::Suffix);
        let protected =
            GuardSettings { protected_namespaces: vec!["pay".into()], ..GuardSettings::default() };
        assert_eq!(of(other_namespace, &none(), &protected).confirm, Confirm::Context);
        let any = Matcher { is_regex: true, ..Matcher::equal(&"alertname".into(), &".+".into()) };
        let all = NewSilence { matchers: vec![(any, true)], ..new(&[]) };
        let p = of(all, &none(), &GuardSettings::default());
        assert!(p.warnings.contains(&Warning::SilencesEverything { alerts: 3 }), "{:?}", p.warnings);
        assert_eq!((p.confirm, p.answer.as_str()), (Confirm::Context, "test"));
        let p = of(new(&[("alertname", "Other", true)]), &none(), &GuardSettings::default());
        assert_eq!(p.warnings, [Warning::SilencesNothing]);
        let p = of(new(&[("alertname", "Crash", false)]), &none(), &GuardSettings::default());
        assert_eq!(p.refusals, [Refusal::SilenceTooBroad]);
    }

    #[test]
    fn matchers_can_be_chosen() {
        let p = of(
            new(&[("alertname", "Crash", true), ("namespace", "shop", false)]),
            &none(),
            &GuardSettings::default(),
        );
        let on: Vec<&str> = p.choices.iter().filter(|c| c.on).map(|c| c.words.as_str()).collect();
        assert_eq!(on, [r#"alertname="Crash""#]);
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
        let known = AlertSilence {
            id: "0a1b".into(),
            matchers: spec.matchers.clone(),
            // as it is shown
            comment: "it's kn".into(),
            ..AlertSilence::default()
        };
        let target = by_id(&known, ClusterId(0), "m/am:web");
        let held = json!({"spec": {"silence": spec.value()}, "status": {"alertmanager": {"ids": ["0a1b"]}}});
        let found = LookupResult::Objects(vec![held]);
        let p = planned(Act::EndSilence, vec![target.clone()], &found, &GuardSettings::default());
        assert_eq!((p.kubectl.as_str(), p.confirm), ("amtool silence expire 0a1b", Confirm::Yes));
        assert_eq!(
            p.diff,
            [
                " in the Alertmanager m/am:web, through the API server",
                " by ann: it's known",
                "+ Crash pay (–, firing)",
                "+ Crash shop (–, firing)"
            ]
        );
        assert_eq!(p.steps[0].on, spec.object(ClusterId(0), "m/am:web"), "whatever its next id");
        let StepKind::Change(change) = &p.steps[0].what else { panic!("{:?}", p.steps) };
        assert_eq!((&change.fields[0].from, &change.fields[0].to), (&spec.value(), &Value::Null));
        assert_eq!(words(change).as_deref(), Some(r#"end the silence {alertname="Crash"}"#));
        let p = planned(Act::EndSilence, vec![target], &none(), &GuardSettings::default());
        assert_eq!(p.warnings, [Warning::SilenceEnded]);
    }
}
