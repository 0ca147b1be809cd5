//! Several clusters on one screen: the list of them, the one in front, all at once, and actions, which belong to the
//! cluster of the object under the cursor.

use std::sync::Arc;

use pilothouse::ui::app::{OpenedBy, Prompt, Screen, Target};
use pilothouse::ui::keymap::Keymap;
use pilothouse::ui::list::ListId;
use pilothouse::ui::mouse::{Gesture, Mouse};
use pilothouse::ui::request::{Effect, Msg, Rehearsal, Reply, Request};
use pilothouse::ui::update::update;
use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Standby, WeightShift};
use pilothouse_core::domain::id::{ClusterId, Kind, Uid};
use pilothouse_core::domain::link::{ContextLine, Link};
use pilothouse_core::domain::plan::{Act, Confirm, Intent, Plan, Step, StepKind};
use pilothouse_core::facts::world::{Cluster, ClusterInfo, World};
use pilothouse_core::state::ClusterState;

use super::{Desk, scene};

const A: ClusterId = ClusterId(0);
const B: ClusterId = ClusterId(1);

/// A person in front of two clusters that have objects of the same names and UIDs. B is protected, and A is not.
fn two() -> Desk {
    let mut desk = Desk::new(scene::trouble_with(|info| {
        (info.context, info.protected) = ("eu-1".into(), false);
    }));
    let other = scene::trouble_with(|info| {
        (info.id, info.context) = (B, "eu-2".into());
    });
    join(&mut desk, other);
    desk.dump(120, 36);
    desk
}

fn join(desk: &mut Desk, mut other: ClusterState) {
    other.publish(scene::NOW, true);
    let clusters = desk.world.clusters.iter().cloned().chain([other.published().clone()]).collect();
    sees(desk, World { clusters, ..desk.world.clone() });
}

/// The next World arrives.
fn sees(desk: &mut Desk, world: World) -> Vec<Effect> {
    desk.world = world;
    update(&mut desk.ui, &desk.world, Msg::WorldChanged)
}

fn linked(desk: &mut Desk, id: ClusterId, link: &Link) -> Vec<Effect> {
    let change = |held: &Arc<Cluster>| {
        if held.id() != id {
            return held.clone();
        }
        // a connection that was never there has no data
        let cluster = Cluster { info: held.info.clone(), ..Cluster::default() };
        Arc::new(Cluster { link: link.clone(), ..cluster })
    };
    let clusters = desk.world.clusters.iter().map(change).collect();
    sees(desk, World { clusters, ..desk.world.clone() })
}

fn contexts(desk: &mut Desk, effects: &[Effect], names: &[&str]) {
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Contexts(ticket) => Some(*ticket),
        _ => None,
    });
    let line = |name: &&str| ContextLine {
        context: (*name).into(),
        name: (*name).into(),
        cluster: "c".into(),
        user: "u".into(),
        ..ContextLine::default()
    };
    let reply = Reply::Contexts(names.iter().map(line).collect());
    update(&mut desk.ui, &desk.world, Msg::Reply(asked.expect("the contexts are asked for"), reply));
}

fn listed(desk: &mut Desk) -> Vec<String> {
    desk.dump(120, 36);
    desk.ui
        .list(ListId::Clusters)
        .ids
        .iter()
        .map(|at| desk.ui.rows.clusters[*at as usize].context.to_string())
        .collect()
}

#[test]
fn the_list_has_the_open_clusters_and_the_other_contexts_and_what_is_typed_filters_it() {
    let mut desk = two();
    let effects = desk.press("ctrl-t");
    contexts(&mut desk, &effects, &["ap-1", "eu-1", "eu-2", "us-1"]);
    assert_eq!(listed(&mut desk), ["eu-1", "eu-2", "ap-1", "us-1"]);
    let shown = desk.dump(120, 36);
    for words in
        ["CLUSTER", "in front", "2 open", "2 other contexts", "not open", "shop/pay crash loop", "v1.33.4"]
    {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    // each key belongs to the filter, also those of commands
    desk.type_text("s-1");
    assert_eq!(listed(&mut desk), ["us-1"]);
    assert_eq!(desk.press("enter"), [Effect::OpenCluster("us-1".into())]);
    assert!(matches!(desk.ui.screen(), Screen::Panes) && desk.ui.prompt.is_none());
    assert_eq!(desk.ui.cluster, A, "it is not there yet");
    desk.press("ctrl-t");
    assert_eq!(listed(&mut desk).len(), 4, "the filter was for once");
    // the worst of the others is selected first
    assert_eq!(desk.press("enter"), []);
    assert_eq!(desk.ui.cluster, B);
    // the key that opens it closes it, and so does Esc
    for key in ["ctrl-t", "esc"] {
        desk.press("ctrl-t");
        assert!(matches!(desk.ui.screen(), Screen::List(ListId::Clusters)));
        desk.type_text("us");
        desk.press(key);
        assert!(matches!(desk.ui.screen(), Screen::Panes) && desk.ui.prompt.is_none(), "{key}");
        assert_eq!(desk.ui.cluster, B);
    }
    desk.press("ctrl-t down down up enter");
    assert_eq!(desk.ui.cluster, B, "two down and one up is the second one");
}

#[test]
fn a_cluster_that_was_opened_comes_to_the_front_when_it_is_there_and_one_that_was_closed_leaves_it() {
    let mut desk = two();
    let effects = desk.press(": c t x");
    contexts(&mut desk, &effects, &["us-1"]);
    desk.press("space");
    desk.type_text("us");
    let Some(Prompt::Palette { hits, .. }) = &desk.ui.prompt else { panic!() };
    assert_eq!(hits[0].target, Target::Context("us-1".into()));
    assert_eq!(desk.press("enter"), [Effect::OpenCluster("us-1".into())]);
    let info = ClusterInfo { id: ClusterId(2), context: "us-1".into(), ..ClusterInfo::default() };
    let mut new = ClusterState::new(info.clone());
    new.connect(info, Link::Opening { since: scene::NOW });
    join(&mut desk, new);
    assert_eq!(desk.ui.cluster, ClusterId(2));
    let shown = desk.dump(80, 24);
    assert!(shown.contains("us-1") && shown.contains("connecting"), "{shown}");
    let why = "exec plugin aws: exit status 255".into();
    linked(&mut desk, ClusterId(2), &Link::Failed { since: scene::NOW, why, next: None });
    let shown = desk.dump(120, 36);
    assert!(shown.contains("NOT CONNECTED") && shown.contains("exec plugin aws: exit status 255"), "{shown}");
    // it is closed by the key in the list
    desk.press("ctrl-t");
    desk.type_text("us-1");
    desk.dump(120, 36);
    assert_eq!(desk.press("ctrl-x"), [Effect::CloseCluster(ClusterId(2))]);
    linked(&mut desk, ClusterId(2), &Link::Closed);
    assert!([A, B].contains(&desk.ui.cluster));
    assert!(matches!(desk.ui.prompt, Some(Prompt::Filter { list: ListId::Clusters, .. })), "the list stays");
    desk.press("esc");
    linked(&mut desk, B, &Link::Closed);
    assert_eq!(desk.ui.cluster, A);
    desk.press("ctrl-t");
    desk.type_text("eu-1");
    desk.dump(120, 36);
    assert_eq!(desk.press("ctrl-x"), [], "the last one stays");
    assert!(desk.dump(120, 36).contains("the only open cluster"));
}

#[test]
fn a_cluster_with_an_open_incident_is_closed_by_the_second_press() {
    let mut desk = two();
    desk.press("ctrl-t");
    desk.type_text("eu-1");
    desk.dump(80, 24);
    assert_eq!(desk.press("ctrl-x"), []);
    let shown = desk.dump(80, 24);
    assert!(shown.contains("eu-1 has an open incident, which is not kept: ^x again closes it"), "{shown}");
    desk.ui.clock_ms += 3_001;
    assert_eq!(desk.press("ctrl-x"), [], "too late");
    assert_eq!(desk.press("ctrl-x"), [Effect::CloseCluster(A)]);
}

#[test]
fn a_narrow_list_says_why_a_cluster_fails() {
    let mut desk = two();
    let why = "exec plugin aws: exit status 255".into();
    linked(&mut desk, B, &Link::Failed { since: scene::NOW, why, next: None });
    desk.press("ctrl-t");
    let shown = desk.dump(80, 24);
    assert!(shown.contains("WORST") && shown.contains("exit status 255"), "{shown}");
}

#[test]
fn filters_marks_and_selection_are_those_of_the_cluster_in_front() {
    let mut desk = two();
    desk.press("1");
    desk.dump(120, 36);
    desk.press("space space j");
    desk.press("/");
    desk.type_text("ip");
    desk.press("enter");
    desk.dump(120, 36);
    let (marks, selected) = {
        let nodes = desk.ui.list(ListId::Nodes);
        (nodes.marks.clone(), nodes.selected.clone())
    };
    assert_eq!(marks.len(), 2);
    desk.press("ctrl-t enter");
    desk.dump(120, 36);
    let nodes = desk.ui.list(ListId::Nodes);
    assert!(desk.ui.cluster == B && nodes.marks.is_empty() && nodes.filter.is_empty());
    desk.press(": c t x space e u - 1 enter");
    desk.dump(120, 36);
    let nodes = desk.ui.list(ListId::Nodes);
    assert_eq!((desk.ui.cluster, &nodes.marks, &nodes.selected), (A, &marks, &selected));
    assert_eq!(nodes.filter.to_string(), "ip");
    // a list stays on the screen, and a text about an object of the other cluster does not
    desk.press("esc esc 5");
    desk.dump(120, 36);
    desk.press("d");
    assert!(matches!(desk.ui.screen(), Screen::Text(_)));
    desk.press("ctrl-t enter");
    assert!(desk.ui.cluster == B && matches!(desk.ui.screen(), Screen::List(ListId::Workloads)));
}

#[test]
fn the_line_below_the_header_tells_of_the_others_at_any_width() {
    for (width, height) in [(80, 24), (120, 36), (200, 50)] {
        let mut one = Desk::new(scene::trouble());
        let alone = one.dump(width, height);
        assert!(!alone.contains("eu-2"), "{alone}");
        let mut desk = two();
        let shown = desk.dump(width, height);
        let line = shown.lines().nth(1).unwrap();
        assert!(line.trim_start().starts_with("eu-2 ✖"), "{width}:\n{shown}");
        assert!(line.contains("shop/pay crash loop"), "its worst finding: {line}");
        let header = shown.lines().next().unwrap();
        assert!(header.contains("eu-1") && !header.contains("eu-2"), "{header}");
        let next = Some(scene::NOW.plus_secs(14 * 60 + 1));
        linked(&mut desk, B, &Link::Failed { since: scene::ago(60), why: "401 Unauthorized".into(), next });
        let shown = desk.dump(width, height);
        let line = shown.lines().nth(1).unwrap();
        assert!(line.contains("eu-2 NOT CONNECTED 1m, retry in 15m: 401 Unauthorized"), "{line}");
        assert!(shown.contains("Nodes"), "the one in front is not affected:\n{shown}");
    }
}

#[test]
fn now_shows_all_clusters_and_enter_goes_to_the_one_of_the_line() {
    let mut desk = two();
    let alone = desk.world.clusters[0].derived.causes.len();
    desk.press("tab");
    desk.ui.focus = ListId::Now;
    desk.press("t");
    let shown = desk.dump(200, 50);
    let keys: Vec<u32> = desk.ui.list(ListId::Now).ids.clone();
    assert_eq!(keys.len(), 2 * alone, "{shown}");
    assert!(shown.contains(&format!("{} causes in 2 clusters", 2 * alone)), "{shown}");
    // each line has its cluster, the changes too
    for words in ["eu-1 ", "eu-2 "] {
        assert!(shown.matches(words).count() > 3, "{words}\n{shown}");
    }
    let changed = shown.lines().find(|line| line.contains("rollout") && line.contains("eu-2"));
    assert!(changed.is_some(), "{shown}");
    // the same finding in both: the second row is that of the other cluster
    desk.press("g j");
    desk.dump(200, 50);
    let before = desk.ui.list(ListId::Now).selected.clone();
    assert!(matches!(&before, Some(Uid::Text(key)) if key.starts_with("#1 ")), "{before:?}");
    desk.press("enter");
    let shown = desk.dump(200, 50);
    assert_eq!(desk.ui.cluster, B);
    assert!(matches!(desk.ui.screen(), Screen::Panes) && desk.ui.focus == ListId::Now, "{shown}");
    let first = desk.world.clusters[0].derived.causes[0].object().unwrap().to_string();
    assert!(matches!(&desk.ui.list(ListId::Now).selected, Some(Uid::Text(key)) if key.contains(&first)));
    // with one cluster there is nothing to toggle
    let mut one = Desk::new(scene::trouble());
    one.ui.focus = ListId::Now;
    one.dump(120, 36);
    one.press("t");
    assert!(!one.ui.fleet.all);
    assert!(one.dump(120, 36).contains("only one cluster is open: ^t opens others"));
}

#[test]
fn a_filter_of_now_matches_the_name_of_the_cluster_and_a_key_at_once_is_about_what_it_leaves() {
    let mut desk = two();
    desk.ui.focus = ListId::Now;
    desk.press("t");
    desk.dump(200, 50);
    let all = desk.ui.list(ListId::Now).ids.len();
    desk.press("/");
    desk.type_text("eu-2");
    desk.press("enter");
    let shown = desk.dump(200, 50);
    assert_eq!(desk.ui.list(ListId::Now).ids.len(), all / 2, "{shown}");
    assert!(shown.contains(&format!("/eu-2 {} match", all / 2)), "{shown}");
    // nothing is drawn between the filter and the key
    for (name, key) in [(3, "C"), (2, "D")] {
        let mut desk = two();
        desk.press("1");
        desk.dump(120, 36);
        let name = scene::node_name(name);
        desk.press("/");
        desk.type_text(&name);
        let Some((_, intent)) = planned(desk.press(&format!("enter {key}"))) else { panic!("{name} {key}") };
        assert_eq!(intent.targets[0].name.as_str(), name, "{key}");
    }
}

#[test]
fn a_service_is_shown_in_all_clusters_side_by_side() {
    let mut desk = two();
    desk.press("2");
    desk.dump(120, 36);
    desk.press("a");
    let shown = desk.dump(120, 36);
    let (namespace, name) = desk.ui.service.clone();
    assert!(shown.contains(&format!("{namespace}/{name} in all open clusters")), "{shown}");
    assert_eq!(desk.ui.rows.elsewhere.len(), 2);
    let rows: Vec<&str> = shown.lines().filter(|line| line.contains(" v3 ")).collect();
    assert_eq!(rows.len(), 2, "the version in each:\n{shown}");
    assert!(rows[0].contains("eu-1") && rows[1].contains("eu-2"), "{rows:?}");
    assert!(!shown.contains("nothing found"), "both have the finding about it:\n{shown}");
    // a Service without a finding says so, and does not leave the place empty
    let mut desk = two();
    desk.press("2");
    desk.dump(120, 36);
    desk.press("/");
    desk.type_text("search");
    desk.press("enter");
    desk.dump(120, 36);
    desk.press("a");
    let found = desk.dump(120, 36);
    assert_eq!(found.matches("nothing found").count(), 2, "{found}");
    // a cluster that is not connected has no numbers, and says so
    linked(&mut desk, B, &Link::Failed { since: scene::NOW, why: "401 Unauthorized".into(), next: None });
    let shown = desk.dump(120, 36);
    assert!(shown.lines().any(|line| line.contains("eu-2") && line.contains("NOT CONNECTED")), "{shown}");
    let mut desk = two();
    desk.press("2");
    desk.dump(120, 36);
    desk.press("enter");
    desk.dump(120, 36);
    desk.press("a");
    desk.dump(120, 36);
    desk.press("j enter");
    assert!(desk.ui.cluster == B && matches!(desk.ui.screen(), Screen::List(ListId::Backends)));
    assert_eq!(desk.ui.service, (namespace, name));
}

fn plan(intent: &Intent, more: bool) -> Plan {
    let mut plan = Plan::new(intent.clone(), scene::NOW);
    plan.steps = intent.targets.iter().map(|on| Step::new(StepKind::Cordon, on.clone())).collect();
    (plan.confirm, plan.answer) = (Confirm::Yes, "y".into());
    if more {
        plan.steps.extend(plan.steps.clone());
    }
    plan
}

/// Where an object of each kind is selected, and the keys that act on it.
const KEYS: [(&str, &str); 12] = [
    ("1", "D"),
    ("1", "C"),
    ("1", "O"),
    ("5", "R"),
    ("5", "B"),
    ("5", "S 7 enter"),
    ("5", "P"),
    ("5 tab", "K"),
    ("5 tab", "X"),
    ("4", "S 2 - 9 enter"),
    ("4", "P"),
    ("2 enter", "X"),
];

/// The rehearsal that the keys open: its ticket and intent.
fn planned(effects: Vec<Effect>) -> Option<(pilothouse::ui::request::Ticket, Intent)> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Plan(ticket, intent, _) => Some((ticket, intent)),
        _ => None,
    })
}

#[test]
fn every_action_by_key_is_for_the_cluster_of_the_object_under_the_cursor() {
    for (there, keys) in KEYS {
        for front in [A, B] {
            let mut desk = two();
            desk.ui.show_cluster(front);
            let context = desk.world.cluster(front).unwrap().info.context.clone();
            desk.dump(120, 36);
            for key in there.split(' ') {
                desk.press(key);
                desk.dump(120, 36);
            }
            let planned = planned(desk.press(keys));
            let Some((ticket, intent)) = planned else { panic!("{there} {keys}: {}", desk.dump(120, 36)) };
            assert_eq!((intent.cluster, &intent.context), (front, &context), "{keys}");
            assert!(
                !intent.targets.is_empty() && intent.targets.iter().all(|on| on.cluster == front),
                "{keys}"
            );
            // the other cluster comes to the front while the dialog is open: by a World in which this one is closed, at
            // the latest
            let other = if front == A { B } else { A };
            desk.ui.show_cluster(other);
            let answer = |desk: &mut Desk, more| {
                let rehearsal = Rehearsal { plan: Arc::new(plan(&intent, more)) };
                update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Rehearsal(rehearsal)))
            };
            answer(&mut desk, false);
            let shown = desk.dump(120, 36);
            assert!(shown.contains(&format!(" in {context} ")), "the dialog names its cluster:\n{shown}");
            // the plan is renewed in its own cluster
            desk.ui.clock_ms += 2_000;
            let renewed = update(&mut desk.ui, &desk.world, Msg::Tick);
            assert!(
                matches!(&renewed[..], [Effect::Plan(_, again, None)] if *again == intent),
                "{keys}: {renewed:?}"
            );
            answer(&mut desk, true);
            desk.dump(120, 36);
            desk.ui.clock_ms += 301;
            let ran = desk.press("y");
            let read = ran.iter().find_map(|effect| match effect {
                Effect::Run { read, .. } => Some(read.clone()),
                _ => None,
            });
            assert_eq!(read.map(|plan| plan.intent.clone()), Some(intent), "{keys}");
        }
    }
}

#[test]
fn a_line_of_another_cluster_is_acted_on_in_that_cluster_with_its_protection() {
    let mut desk = two();
    desk.ui.focus = ListId::Now;
    desk.press("t g");
    desk.dump(200, 50);
    let all = desk.ui.list(ListId::Now).ids.len();
    let mut seen = [0, 0];
    for _ in 0..all {
        let row = desk.ui.list(ListId::Now).at;
        let (id, cause) = desk.ui.rows.everywhere[desk.ui.list(ListId::Now).ids[row] as usize].clone();
        // the key that the line offers
        if let Some(action) = &cause.action {
            let command = pilothouse::ui::command::Cmd::from(action.command());
            let key = desk.ui.key(command).unwrap().to_string();
            if let Some((_, intent)) = planned(desk.press(&key)) {
                let context = &desk.world.cluster(id).unwrap().info.context;
                assert_eq!((intent.cluster, &intent.context), (id, context), "{cause}");
                assert!(intent.targets.iter().all(|on| on.cluster == id));
                let dialog = desk.ui.dialog.as_ref().unwrap();
                assert_eq!(dialog.protected, id == B, "its own protection");
                assert_eq!(dialog.tint, desk.ui.tint(&desk.world, &desk.world.cluster(id).unwrap().info));
                seen[usize::from(id.0)] += 1;
                desk.press("esc");
            }
            desk.press("esc");
            desk.ui.focus = ListId::Now;
        }
        desk.press("j");
        desk.dump(200, 50);
    }
    assert!(seen[0] > 0 && seen[0] == seen[1], "each action of A is one of B too: {seen:?}");
    // what is described is of that cluster, although the other one is in front
    desk.press("g j");
    desk.dump(200, 50);
    desk.press("d");
    let Screen::Text(view) = desk.ui.screen() else { panic!() };
    assert_eq!(view.object.as_ref().map(|object| object.cluster), Some(B));
    // the plans that are offered are those of that cluster, and so is the one that is chosen
    desk.press("esc");
    desk.dump(200, 50);
    for key in ["F", "W"] {
        let effects = desk.press(key);
        let [Effect::Fetch(ticket, Request::FailoverPlans { cluster: B })] = effects[..] else {
            panic!("{key}: {effects:?}")
        };
        let shift = WeightShift {
            kind: Kind::HTTPRoute,
            namespace: "shop".into(),
            route: "r".into(),
            from: "a".into(),
            to: "b".into(),
            steps: vec![100],
        };
        let plans = vec![way("canary", FailoverKind::Weight(shift))];
        update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Plans(plans)));
        let shown = desk.dump(200, 50);
        assert!(shown.lines().any(|line| line.contains("canary") && line.contains(" in eu-2 ")), "{shown}");
        let (_, intent) = planned(desk.press("enter")).unwrap();
        assert_eq!((intent.cluster, intent.context.as_str(), desk.ui.cluster), (B, "eu-2", A), "{key}");
        assert!(desk.ui.dialog.as_ref().is_some_and(|dialog| dialog.protected), "its own protection");
        desk.press("esc");
    }
}

fn way(name: &str, kind: FailoverKind) -> FailoverPlan {
    let name = name.into();
    FailoverPlan { name, kind, watched: None, soak_secs: 0, suggested: false, in_context: String::new() }
}

#[test]
fn a_cluster_that_a_failover_opens_is_named_and_says_why_it_is_open() {
    for (to, is_opened) in [("us-1", true), ("eu-2", false)] {
        let mut desk = two();
        let standby = Standby { context: to.into(), workloads: Vec::new(), shift: None, scale_down: false };
        let ticket = match desk.press("1 F").as_slice() {
            [.., Effect::Fetch(ticket, _)] => *ticket,
            effects => panic!("{effects:?}"),
        };
        let plans = Reply::Plans(vec![way("dr", FailoverKind::Standby(standby))]);
        update(&mut desk.ui, &desk.world, Msg::Reply(ticket, plans));
        let (ticket, intent) = planned(desk.press("enter")).unwrap();
        let copied = "pilothouse failover dr".into();
        let rehearsal = Rehearsal { plan: Arc::new(Plan { kubectl: copied, ..plan(&intent, false) }) };
        update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Rehearsal(rehearsal)));
        desk.dump(120, 36);
        desk.ui.clock_ms += 301;
        // kubectl has no such command
        let shown = desk.dump(120, 36);
        assert!(shown.contains("copy command") && shown.contains("Equivalent command"), "{shown}");
        let effects = desk.press("y");
        assert!(matches!(&effects[..], [Effect::OpenCluster(opened), Effect::Run { .. }] if opened == to));
        let shown = desk.dump(200, 50);
        assert_eq!(shown.contains("us-1 is opened for it and stays open"), is_opened, "{shown}");
        let us = |id, link| {
            let info = ClusterInfo { id: ClusterId(id), context: "us-1".into(), ..ClusterInfo::default() };
            let mut new = ClusterState::new(info.clone());
            new.connect(info, link);
            new
        };
        join(&mut desk, us(2, Link::Open));
        assert_eq!(desk.ui.cluster, A, "it does not come to the front");
        desk.press("ctrl-t");
        let shown = desk.dump(200, 50);
        assert_eq!(shown.contains("opened for failover"), is_opened, "{shown}");
        linked(&mut desk, ClusterId(2), &Link::Closed);
        join(&mut desk, us(3, Link::Open));
        assert!(!desk.dump(200, 50).contains("opened for failover"), "it was opened by hand");
        // the place of one that was closed does not stand for the next one
        linked(&mut desk, ClusterId(3), &Link::Closed);
        let by = OpenedBy { action: "undo", seen: false };
        desk.ui.fleet.opened.insert("us-1".into(), by);
        let world = desk.world.clone();
        sees(&mut desk, world);
        join(&mut desk, us(4, Link::Open));
        assert!(desk.dump(200, 50).contains("opened for undo"));
    }
}

#[test]
fn going_to_a_cluster_that_could_not_be_opened_tries_again_at_once() {
    let mut desk = two();
    let to_b = |desk: &mut Desk| {
        desk.ui.show_cluster(A);
        desk.press("ctrl-t");
        desk.type_text("eu-2");
        desk.dump(120, 36);
        let effects = desk.press("enter");
        assert_eq!(desk.ui.cluster, B);
        effects
    };
    assert_eq!(to_b(&mut desk), [], "it is connected");
    linked(
        &mut desk,
        B,
        &Link::Failed { since: scene::NOW, why: "the token has expired".into(), next: None },
    );
    assert_eq!(to_b(&mut desk), [Effect::OpenCluster("eu-2".into())]);
    // also if it is in front already
    desk.press(": c t x");
    desk.type_text(" eu-2");
    assert_eq!(desk.press("enter"), [Effect::OpenCluster("eu-2".into())]);
    linked(&mut desk, B, &Link::Opening { since: scene::NOW });
    assert_eq!(to_b(&mut desk), [], "an attempt runs");
}

#[test]
fn a_cluster_that_was_not_opened_does_not_come_to_the_front_later() {
    for (context, comes) in [("us-1", false), ("other", true)] {
        let mut desk = two();
        let effects = desk.press("ctrl-t");
        contexts(&mut desk, &effects, &["us-1"]);
        desk.type_text("us-1");
        desk.dump(120, 36);
        assert_eq!(desk.press("enter"), [Effect::OpenCluster("us-1".into())]);
        let why = "busy, try again";
        update(&mut desk.ui, &desk.world, Msg::NotOpened(context.into(), why.into()));
        assert!(desk.dump(120, 36).contains(&format!("{context} was not opened: {why}")));
        let info = ClusterInfo { id: ClusterId(2), context: "us-1".into(), ..ClusterInfo::default() };
        join(&mut desk, ClusterState::new(info));
        assert_eq!(desk.ui.cluster == ClusterId(2), comes, "{context}");
    }
}

#[test]
fn an_action_whose_cluster_was_not_opened_still_runs_and_is_not_started_again() {
    for (seen, words) in [
        (false, "the action runs; us-1 was not opened (busy, try again): `:ctx us-1` opens it"),
        (true, "us-1 was not opened: busy, try again"),
    ] {
        let mut desk = two();
        desk.ui.fleet.opened.insert("us-1".into(), OpenedBy { action: "failover", seen });
        desk.ui.say("started: failover dr; 8 shows it");
        update(&mut desk.ui, &desk.world, Msg::NotOpened("us-1".into(), "busy, try again".into()));
        assert_eq!(desk.ui.note.as_ref().unwrap().0.as_str(), words);
    }
}

#[test]
fn a_key_that_acts_in_one_place_is_not_offered_there_for_the_list_of_clusters() {
    let mut desk = two();
    let own = [("evict".to_owned(), vec!["ctrl-t".to_owned()])].into();
    desk.ui.keymap = Keymap::new(&own).0;
    // the line of the other clusters, which opens the list by a click
    let click = |desk: &mut Desk| {
        desk.dump(200, 50);
        let mouse = Mouse { gesture: Gesture::Click, x: 3, y: 1 };
        update(&mut desk.ui, &desk.world, Msg::Mouse(mouse))
    };
    for (keys, evicts) in [("5 tab", true), ("1", false)] {
        desk.press(keys);
        let shown = desk.dump(200, 50);
        assert_eq!(shown.contains("^t evict"), evicts, "{shown}");
        assert_eq!(planned(click(&mut desk)), None);
        assert!(matches!(desk.ui.screen(), Screen::List(ListId::Clusters)), "{keys}");
        desk.press("esc esc");
    }
}

#[test]
fn an_action_of_a_cluster_that_was_closed_leaves_the_line_of_jobs() {
    use pilothouse_core::domain::id::{Name, ObjectRef};
    use pilothouse_core::facts::event::Identity;
    use pilothouse_core::facts::world::{ActionView, Outcome};
    let mut desk = two();
    let node =
        ObjectRef::new(B, Kind::Node, &Name::default(), &scene::node_name(2).into(), &scene::uid(1002));
    let intent = Intent { cluster: B, context: "eu-2".into(), act: Act::Cordon, targets: vec![node] };
    // the clock of its server is ten minutes ahead, and the action ended five seconds ago
    let mut action = ActionView::new("1".into(), Arc::new(plan(&intent, false)), scene::ago(-590));
    (action.outcome, action.ended) = (Some(Outcome::Done), Some(scene::ago(-595)));
    let ahead = |held: &Arc<Cluster>| {
        let identity = Identity { clock_offset_ms: Some(600_000), ..held.identity.clone() };
        if held.id() == B { Arc::new(Cluster { identity, ..Cluster::clone(held) }) } else { held.clone() }
    };
    let clusters = desk.world.clusters.iter().map(ahead).collect();
    let world = World { clusters, actions: [Arc::new(action)].into(), ..desk.world.clone() };
    let is_told = |desk: &mut Desk| {
        desk.ui.note = None;
        desk.dump(120, 36).contains("JOB")
    };
    sees(&mut desk, world);
    assert!(is_told(&mut desk), "{}", desk.dump(120, 36));
    linked(&mut desk, B, &Link::Closed);
    assert!(!is_told(&mut desk), "{}", desk.dump(120, 36));
    // one that runs is always told
    let mut action = ActionView::clone(&desk.world.actions[0]);
    (action.outcome, action.ended) = (None, None);
    let world = World { actions: [Arc::new(action)].into(), ..desk.world.clone() };
    sees(&mut desk, world);
    assert!(is_told(&mut desk), "{}", desk.dump(120, 36));
}

#[test]
fn the_hint_of_the_list_has_the_key_that_closes() {
    for (keys, hint) in [
        (None, "Enter shows   ^x closes it   Esc leaves"),
        (Some(&["F8"][..]), "Enter shows   F8 closes it   Esc leaves"),
        // what is typed filters
        (Some(&["x", "ctrl-w"]), "Enter shows   ^w closes it   Esc leaves"),
        (Some(&["x"]), "Enter shows   Esc leaves"),
    ] {
        let mut desk = two();
        let own = keys.map(|keys| {
            ("close-cluster".to_owned(), keys.iter().map(|key| key.to_lowercase()).collect::<Vec<_>>())
        });
        desk.ui.keymap = Keymap::new(&own.into_iter().collect()).0;
        desk.press("ctrl-t");
        let shown = desk.dump(120, 36);
        assert!(shown.contains(hint), "{keys:?}:\n{shown}");
    }
}

#[test]
fn marks_of_the_cluster_of_the_action_are_cleared_and_no_others() {
    let mut desk = two();
    desk.press("1");
    desk.dump(120, 36);
    desk.press("space space");
    desk.ui.show_cluster(B);
    desk.dump(120, 36);
    desk.press("1 space");
    desk.ui.show_cluster(A);
    desk.dump(120, 36);
    let (ticket, intent) = planned(desk.press("C")).unwrap();
    assert_eq!(intent.targets.len(), 2);
    desk.ui.show_cluster(B);
    let rehearsal = Rehearsal { plan: Arc::new(plan(&intent, false)) };
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Rehearsal(rehearsal)));
    desk.dump(120, 36);
    desk.ui.clock_ms += 301;
    desk.press("y");
    assert_eq!(desk.ui.list(ListId::Nodes).marks.len(), 1, "those of B stay");
    desk.ui.show_cluster(A);
    assert_eq!(desk.ui.list(ListId::Nodes).marks.len(), 0);
}

#[test]
fn an_action_is_undone_in_the_cluster_that_it_was_done_in() {
    use pilothouse_core::domain::id::{Name, ObjectRef};
    use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
    let mut desk = two();
    let node =
        ObjectRef::new(B, Kind::Node, &Name::default(), &scene::node_name(2).into(), &scene::uid(1002));
    let intent = Intent { cluster: B, context: "eu-2".into(), act: Act::Cordon, targets: vec![node] };
    let mut action = ActionView::new("1".into(), Arc::new(plan(&intent, false)), scene::ago(60));
    (action.outcome, action.ended) = (Some(Outcome::Done), Some(scene::ago(50)));
    action.steps.iter_mut().for_each(|step| step.state = StepState::Verified);
    let world = World { actions: [Arc::new(action)].into(), ..desk.world.clone() };
    sees(&mut desk, world);
    desk.press("8");
    desk.dump(120, 36);
    desk.press("a");
    desk.dump(120, 36);
    let (_, undo) = planned(desk.press("U")).unwrap_or_else(|| panic!("{}", desk.dump(120, 36)));
    assert_eq!((undo.cluster, undo.context.as_str(), desk.ui.cluster), (B, "eu-2", A));
    desk.press("esc");
    linked(&mut desk, B, &Link::Closed);
    desk.dump(120, 36);
    assert_eq!(planned(desk.press("U")), None);
    assert!(
        desk.dump(120, 36).contains("this action was done in context eu-2, which is not open: ^t opens it")
    );
}
