//! The effects of keys, from the first press on.

use std::sync::Arc;

use pilothouse::ui::app::{Hit, Target};
use pilothouse::ui::app::{Prompt, Screen, Stage};
use pilothouse::ui::clipboard::Clipboard;
use pilothouse::ui::keymap::Keymap;
use pilothouse::ui::list::ListId;
use pilothouse::ui::mouse::{Gesture, Mouse};
use pilothouse::ui::paint::text_of;
use pilothouse::ui::present::describe;
use pilothouse::ui::request::{
    Effect, KindWords, LogLine, LogNote, Msg, Order, Rehearsal, Reply, Request, TableLine, TableText, Ticket,
};
use pilothouse::ui::run;
use pilothouse::ui::theme::Role;
use pilothouse::ui::update::update;
use pilothouse_core::domain::autoscaler::Hpa;
use pilothouse_core::domain::cause::{Cause, Finding, NodeLoss};
use pilothouse_core::domain::cronjob::CronJob;
use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid, Version};
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::node::NodeState;
use pilothouse_core::domain::node::{Condition, Node, Status};
use pilothouse_core::domain::plan::{
    Act, BudgetWait, Busiest, Choice, Confirm, DrainOptions, Few, Intent, PdbEffect, Plan, Refusal,
    ServiceEffect, Since, Step, StepKind, Warning,
};
use pilothouse_core::domain::traffic::{Break, ServiceTraffic, TrafficSeen};
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Batch, Fact, Identity, Right};
use pilothouse_core::facts::world::{ActionView, Cluster, Outcome, Place, World};
use pilothouse_core::state::ClusterState;

use pilothouse_core::logs::targets::pods_of;
use pilothouse_core::plan::undo;

use super::{Desk, scene};

fn plan(intent: &Intent, confirm: Confirm, answer: &str) -> Plan {
    let mut plan = Plan::new(intent.clone(), scene::NOW);
    plan.steps = intent.targets.iter().map(|on| Step::new(StepKind::Cordon, on.clone())).collect();
    plan.warnings = vec![Warning::ZonesEmptied { zones: Few(vec!["a".into()]) }];
    plan.confirm = confirm;
    plan.answer = answer.into();
    plan.kubectl = "kubectl cordon x".into();
    plan.undo = "uncordon".into();
    plan
}

/// Opens the rehearsal with a key and answers it.
fn rehearse(desk: &mut Desk, key: &str, make: impl Fn(&Intent) -> Plan) -> Intent {
    desk.dump(120, 36);
    let effects = desk.press(key);
    let Some(Effect::Plan(ticket, intent, _)) = effects.into_iter().next() else {
        panic!("no rehearsal by {key}")
    };
    reply(desk, ticket, make(&intent));
    intent
}

fn reply(desk: &mut Desk, ticket: Ticket, plan: Plan) {
    let rehearsal = Rehearsal { plan: Arc::new(plan) };
    let effects = update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Rehearsal(rehearsal)));
    assert_eq!(effects, Vec::new());
}

fn runs(effects: &[Effect]) -> bool {
    effects.iter().any(|e| matches!(e, Effect::Run { .. }))
}

#[test]
fn cordon_pins_the_object_and_runs_after_a_look() {
    let mut desk = Desk::new(scene::trouble());
    let intent = rehearse(&mut desk, "C", |i| plan(i, Confirm::Yes, "y"));
    assert_eq!(intent.act, Act::Cordon);
    assert_eq!(intent.targets.first().unwrap().uid, scene::uid(1003));
    assert_eq!(intent.context, "prod-eu");
    let text = desk.dump(120, 36);
    for word in
        ["Rehearsal: cordon", "zones left without a node that takes pods: a", "kubectl cordon x", "uncordon"]
    {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    desk.ui.clock_ms += 301;
    let effects = desk.press("y");
    assert!(runs(&effects), "{effects:?}");
    assert!(desk.ui.dialog.is_none());
}

#[test]
fn typed_ahead_never_confirms() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| plan(i, Confirm::Yes, "y"));
    assert!(!runs(&desk.press("y")), "before it was painted");
    desk.dump(120, 36);
    assert!(!runs(&desk.press("y")), "at the moment it is painted");
    desk.ui.clock_ms += 299;
    assert!(!runs(&desk.press("y")), "too early still");
    desk.ui.clock_ms += 2;
    assert!(runs(&desk.press("y")));
}

#[test]
fn pasted_text_never_confirms() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| plan(i, Confirm::Context, "prod-eu"));
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    assert!(!runs(&update(&mut desk.ui, &desk.world, Msg::Paste("prod-eu\n".into()))));
    assert!(!runs(&desk.press("enter")));
    assert!(
        desk.dump(120, 36).contains("pasted text never confirms")
            || desk.ui.dialog.as_ref().unwrap().typed.is_empty()
    );
    desk.type_text("prod-eu");
    assert!(runs(&desk.press("enter")));
}

#[test]
fn a_wrong_answer_does_nothing_and_letters_of_the_answer_are_no_commands() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| plan(i, Confirm::Suffix, "nc7y"));
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    assert_eq!(desk.type_text("nc7"), Vec::new());
    assert!(!runs(&desk.press("enter")));
    assert!(desk.ui.dialog.is_some());
    assert!(!runs(&desk.type_text("y")), "y alone confirms nothing here");
    assert!(
        desk.press("c").iter().any(|e| matches!(e, Effect::Copy(_))),
        "no letter of a beginning: a command"
    );
    desk.type_text("nc7y");
    assert!(runs(&desk.press("enter")));
}

#[test]
fn another_plan_starts_the_confirmation_again() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| plan(i, Confirm::Yes, "y"));
    desk.dump(120, 36);
    desk.ui.clock_ms += 2_500;
    let effects = update(&mut desk.ui, &desk.world, Msg::Tick);
    let Some(Effect::Plan(ticket, intent, _)) = effects.into_iter().next() else { panic!("not renewed") };
    let same = plan(&intent, Confirm::Yes, "y");
    reply(&mut desk, ticket, same.clone());
    assert!(desk.ui.dialog.as_ref().unwrap().painted.is_some(), "the same plan changes nothing");
    let worse = Plan { steps: Vec::new(), ..same };
    reply(&mut desk, ticket, worse);
    assert!(!runs(&desk.press("y")), "it was another plan that was read");
    reply(&mut desk, ticket, plan(&intent, Confirm::Yes, "y"));
    assert!(desk.dump(120, 36).contains("the plan has changed"));
}

#[test]
fn a_grave_warning_is_told_as_a_fault() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| Plan {
        warnings: vec![
            Warning::PlacementPartial,
            Warning::KubeletSilent { node: "n1".into(), state: "Unknown", since: Since(None) },
        ],
        ..plan(i, Confirm::Yes, "y")
    });
    let text = desk.dump(120, 36);
    assert!(text.contains("✖ n1 is Unknown: its kubelet does not answer"), "{text}");
    assert!(text.contains("! placement checked against the nodes known so far"), "{text}");
}

#[test]
fn refusals_leave_nothing_to_confirm() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| Plan {
        refusals: vec![Refusal::NoConnection { context: "dr".into() }],
        ..plan(i, Confirm::Yes, "y")
    });
    let text = desk.dump(120, 36);
    assert!(
        text.contains("✖ no permission: there is no connection to context dr") && text.contains("blocked"),
        "{text}"
    );
    desk.ui.clock_ms += 1000;
    assert!(!runs(&desk.press("y")));
    desk.press("esc");
    assert!(desk.ui.dialog.is_none());
}

#[test]
fn a_read_only_console_refuses_whatever_the_plan_says() {
    let mut state = scene::trouble_with(|info| info.read_only = true);
    let mut desk = Desk::new(std::mem::replace(&mut state, scene::loading()));
    rehearse(&mut desk, "C", |i| plan(i, Confirm::Yes, "y"));
    assert!(desk.dump(120, 36).contains("read-only"));
    desk.ui.clock_ms += 1000;
    assert!(!runs(&desk.press("y")));
}

#[test]
fn a_drain_runs_after_the_end_of_the_name() {
    let mut desk = Desk::new(scene::trouble());
    let intent = rehearse(&mut desk, "D", |i| plan(i, Confirm::Suffix, "daa5"));
    assert!(matches!(intent.act, Act::Drain(ref o) if o.ignore_daemonsets));
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    assert!(!runs(&desk.type_text("y")));
    desk.type_text("daa5");
    assert!(runs(&desk.press("enter")));
}

#[test]
fn a_choice_makes_another_plan_and_confirms_nothing() {
    let mut desk = Desk::new(scene::trouble());
    let with_choices = |i: &Intent| {
        let mut plan = plan(i, Confirm::Suffix, "daa5");
        let force = DrainOptions { force: true, ..DrainOptions::default() };
        plan.choices =
            vec![Choice { words: "--force: also bare-1".into(), act: Act::Drain(force), on: false }];
        plan
    };
    rehearse(&mut desk, "D", with_choices);
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    assert_eq!(desk.press("o"), []);
    assert!(desk.dump(120, 36).contains("1 [ ] --force: also bare-1"), "{}", desk.dump(120, 36));
    let effects = desk.press("1");
    let [Effect::Plan(_, intent, _)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(matches!(intent.act, Act::Drain(ref o) if o.force));
    // the new plan is not there yet: what was typed for the old one counts for nothing
    desk.type_text("daa5");
    assert!(!runs(&desk.press("enter")));
}

#[test]
fn failover_lists_the_plans_and_opens_one() {
    let mut desk = Desk::new(scene::trouble());
    let effects = desk.press("2 F");
    let Some(Effect::Fetch(ticket, Request::FailoverPlans { .. })) = effects.first() else {
        panic!("{effects:?}")
    };
    let kind = FailoverKind::Evacuate(Pick::Zone("b".into()));
    let green = FailoverPlan {
        name: "zone-b".into(),
        kind,
        watched: None,
        soak_secs: 0,
        suggested: false,
        in_context: String::new(),
    };
    update(&mut desk.ui, &desk.world, Msg::Reply(*ticket, Reply::Plans(vec![green])));
    let text = desk.dump(120, 36);
    assert!(text.contains("failover zone-b") && text.contains("failover-revert zone-b"), "{text}");
    desk.press("backspace");
    desk.type_text(" zone-b");
    let effects = desk.press("enter");
    assert!(
        matches!(effects.first(), Some(Effect::Plan(_, i, _)) if matches!(i.act, Act::Failover { revert: false, .. })),
        "{effects:?}"
    );
}

#[test]
fn the_failover_of_the_selected_nodes_zone_comes_first() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("1");
    desk.dump(120, 36);
    // the first node is in eu-1a
    let effects = desk.press("j F");
    let Some(Effect::Fetch(ticket, Request::FailoverPlans { .. })) = effects.first() else {
        panic!("{effects:?}")
    };
    let ticket = *ticket;
    let zones = ["eu-1a", "eu-1b", "eu-1c"].map(|zone| FailoverPlan {
        name: format!("zone/{zone}").into(),
        kind: FailoverKind::Evacuate(Pick::Zone(zone.into())),
        watched: None,
        soak_secs: 0,
        suggested: true,
        in_context: String::new(),
    });
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Plans(zones.to_vec())));
    let here = desk.ui.failovers_node.clone().expect("a node is selected");
    let zone = desk.world.clusters[0].node(&here).unwrap().zone.clone().unwrap();
    assert_ne!(zone, "eu-1a", "not the first by its name");
    let Prompt::Palette { hits, .. } = desk.ui.prompt.as_ref().unwrap() else { panic!() };
    assert_eq!(hits[0].title, format!("failover zone/{zone}"), "{hits:?}");
}

#[test]
fn a_drain_says_how_long_budgets_hold_and_what_the_rest_carries() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "D", |i| {
        let mut plan = plan(i, Confirm::Suffix, "daa5");
        plan.pdbs.push(PdbEffect {
            namespace: "shop".into(),
            name: "pay".into(),
            allowed: 0,
            blocks: vec!["pay-1".into()],
            since: None,
            wait: Some(BudgetWait::Unbounded),
            note: "needs 3 healthy of 3: no drain can ever pass".into(),
        });
        plan.services.push(ServiceEffect {
            namespace: "shop".into(),
            name: "cart".into(),
            ready_before: 3,
            ready_after: 2,
            share_after: Some(0.5),
            rps_before: Some(12.0),
            rps_after: Some(18.0),
            busiest: Some(Busiest {
                backend: "cart-2".into(),
                rps_before: Some(14.0),
                rps_after: 21.0,
                of_request: Some(0.88),
                of_limit: None,
                of_most: Some(1.2),
            }),
            breaks: vec![Break::OverMost { backend: "cart-2".into(), times: 1.2, most_rps: 17.5 }],
        });
        plan
    });
    let text = desk.dump(120, 60);
    for words in [
        "PDB shop/pay allows 0: holds back pay-1",
        "needs 3 healthy of 3: no drain can ever pass",
        "shop/cart: 3 ready backends → 2, 50 % each, 12.0 → 18.0 rps",
        "    busiest: cart-2, 14.0 → 21.0 rps, CPU 88 % of its request, 120 % of the most seen",
        "cart-2 would get 1.2 times the most that a backend was seen to carry",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn marks_make_one_action_of_several() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press("1 g");
    let before = desk.dump(120, 36);
    desk.press("space space");
    // how bad a row is stays on the screen beside its mark
    let text = desk.dump(120, 36);
    let worst = before.lines().find(|line| line.starts_with("│✖ ip-")).unwrap();
    let name = worst.split_whitespace().nth(1).unwrap();
    assert!(text.contains(&format!("│✖+{name}")), "{text}");
    let Some(Effect::Plan(_, intent, _)) = desk.press("C").into_iter().next() else { panic!() };
    assert_eq!(intent.targets.len(), 2);
}

#[test]
fn every_prompt_is_edited_with_the_same_keys() {
    for open in ["/", ":", "S"] {
        let mut desk = Desk::new(scene::trouble());
        desk.press("5");
        desk.dump(120, 36);
        desk.press(open);
        desk.type_text("12x");
        desk.press("ctrl-h");
        let text = desk.dump(120, 36);
        assert!(text.contains("12") && !text.contains("12x"), "{open}: {text}");
        desk.press("backspace ctrl-a 7 end 9 left left delete");
        assert_eq!(desk.ui.input.text(), "79", "{open}");
        desk.press("ctrl-u");
        assert_eq!(desk.ui.input.text(), "", "{open}");
        let pasted = Msg::Paste("cat\r\nalog\n".into());
        assert_eq!(update(&mut desk.ui, &desk.world, pasted), Vec::new(), "a line end in it accepts nothing");
        assert_eq!(desk.ui.input.text(), "catalog", "{open}");
        desk.press("space x ctrl-w");
        assert_eq!(desk.ui.input.text(), "catalog ", "{open}");
        assert!(desk.ui.prompt.is_some(), "{open}");
    }
}

#[test]
fn what_is_typed_to_confirm_is_edited_too() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| plan(i, Confirm::Suffix, "nc7y"));
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    desk.type_text("nx7");
    desk.press("ctrl-h ctrl-h c 7 z backspace y ctrl-a ctrl-e");
    assert_eq!(desk.ui.dialog.as_ref().unwrap().typed.text(), "nc7y");
    desk.press("ctrl-u");
    assert!(desk.ui.dialog.as_ref().unwrap().typed.is_empty());
    assert!(!runs(&desk.press("enter")));
    desk.type_text("nc7y");
    assert!(runs(&desk.press("enter")));
}

#[test]
fn copying_says_what_can_keep_it_from_arriving() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("1");
    desk.ui.clipboard = Clipboard::Tmux;
    desk.dump(120, 36);
    desk.press("c");
    assert!(desk.dump(120, 36).contains("set-clipboard on"));
}

#[test]
fn scale_asks_for_a_number() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    desk.press("S");
    assert!(desk.dump(120, 36).contains("(now 3)"));
    desk.type_text("x2");
    let Some(Effect::Plan(_, intent, _)) = desk.press("enter").into_iter().next() else { panic!() };
    assert!(matches!(intent.act, Act::Scale(ref by) if by.replicas == 6 && by.current_replicas == Some(3)));
}

#[test]
fn a_hint_does_not_look_like_something_typed() {
    let mut desk = Desk::new(scene::trouble());
    for (view, hint, now) in
        [("4", "MIN-MAX, MIN- or -MAX", "(now 2..30)"), ("5", "N, +N, -N or xN", "(now 3)")]
    {
        for (w, h) in [(80, 24), (120, 36)] {
            desk.press(view);
            desk.dump(w, h);
            desk.press("S");
            let line = desk.dump(w, h).lines().last().unwrap().to_owned();
            assert!(line.contains(hint) && line.contains(now), "{line}");
            let digit = |c: char| c.is_ascii_digit();
            assert!(
                !line.split("to: ").nth(1).unwrap().contains(digit),
                "no number that nobody typed: {line}"
            );
            desk.type_text("7");
            let line = desk.dump(w, h).lines().last().unwrap().to_owned();
            assert!(line.contains("to: 7") && !line.contains(hint) && line.contains(now), "{line}");
            desk.press("esc");
        }
    }
}

#[test]
fn k9s_habits_change_nothing() {
    let mut desk = Desk::new(scene::trouble());
    for keys in ["r", "u", "5 r", "ctrl-d"] {
        desk.dump(120, 36);
        let effects = desk.press(keys);
        assert_eq!(effects, Vec::new(), "{keys}");
        assert!(desk.ui.dialog.is_none());
    }
    desk.press("1");
    desk.dump(120, 36);
    assert!(matches!(desk.press("c").as_slice(), [Effect::Copy(_)]));
}

#[test]
fn a_capital_that_fits_nothing_here_says_why_and_where_it_works() {
    for (view, key, words) in [
        ("2", "D", "'drain' needs a node: go to Nodes (1) or NOW (S-Tab S-Tab)"),
        ("3", "K", "'evict' needs a pod: go to Pods (5 Tab)"),
        ("3", "W", "'weight' needs a service: go to NOW (Tab Tab) or Traffic (2)"),
        ("5", "X", "'out/in rotation' needs a pod"),
        ("5 tab", "R", "'restart' needs a workload: go to Workloads (5) or NOW (Esc S-Tab)"),
        ("8", "D", "'drain' needs a node: go to Nodes (1)"),
        ("n", "C", "'cordon' needs a node: go to Nodes (1)"),
        ("2 d", "D", "'drain' needs a node, not shop/svc/"),
        ("8", "U", "no action is selected"),
    ] {
        let mut desk = Desk::new(scene::trouble());
        for step in view.split(' ') {
            desk.dump(120, 36);
            desk.press(step);
        }
        desk.dump(120, 36);
        assert_eq!(desk.press(key), [], "{view} {key}");
        let text = desk.dump(120, 36);
        assert!(text.contains(words), "{view} {key}: {words}:\n{text}");
        assert!(desk.ui.dialog.is_none() && desk.ui.prompt.is_none(), "{view} {key}");
    }
}

#[test]
fn an_action_of_one_cause_alone_is_reached_from_any_pane() {
    // one workload crashes: R can mean nothing else, whatever is focused
    for view in ["1", "3", "back-tab", "4"] {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(120, 36);
        desk.press(view);
        desk.dump(120, 36);
        let intent = planned(desk.press("R"));
        assert_eq!(intent.act, Act::Restart);
        assert_eq!(intent.targets.first().unwrap().name, "pay", "{view}");
        assert_eq!(desk.ui.focus, ListId::Now);
        desk.press("esc");
        let text = desk.dump(120, 36);
        assert!(text.contains("R restart"), "{text}");
    }
    // not if NOW is not on the screen
    let mut desk = Desk::new(scene::trouble());
    for keys in ["1", "z"] {
        desk.dump(120, 36);
        desk.press(keys);
    }
    desk.dump(120, 36);
    assert_eq!((desk.press("R"), desk.ui.focus), (vec![], ListId::Nodes));
    // where the key works by itself it is about the selected row
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    let first = desk.ui.list(ListId::Workloads).selected.clone();
    assert_eq!(Some(&planned(desk.press("R")).targets.first().unwrap().uid), first.as_ref());
    // of a cause that the namespace hides nothing is offered
    let mut desk = Desk::new(scene::trouble());
    desk.ui.namespace = Some("elsewhere".into());
    desk.dump(120, 36);
    assert_eq!(desk.press("R"), []);
    assert!(desk.dump(120, 36).contains("'restart' needs a workload"));
}

#[test]
fn a_key_that_does_nothing_says_so_once() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    for (key, words) in
        [("Q", "Q does nothing here: ? lists the keys"), ("f", "f is 'follow' in log text; not here")]
    {
        assert_eq!(desk.press(key), []);
        assert!(desk.dump(120, 36).contains(words), "{words}");
        desk.ui.note = None;
        desk.press(key);
        assert!(!desk.dump(120, 36).contains(words), "once is enough");
    }
}

#[test]
fn the_focus_starts_where_the_causes_are() {
    let mut desk = Desk::new(scene::trouble());
    update(&mut desk.ui, &desk.world, Msg::WorldChanged);
    assert_eq!(desk.ui.focus, ListId::Now);
    let text = desk.dump(120, 36);
    assert!(text.contains("Enter why"), "{text}");
    // once a key was pressed the person says where to look
    desk.press("2");
    update(&mut desk.ui, &desk.world, Msg::WorldChanged);
    assert_eq!(desk.ui.focus, ListId::Traffic);
    let mut desk = Desk::new(ClusterState::new(scene::info()));
    update(&mut desk.ui, &desk.world, Msg::WorldChanged);
    assert_eq!(desk.ui.focus, ListId::Nodes, "no cause, no NOW");
}

#[test]
fn before_the_first_key_the_worst_line_of_now_is_selected_and_then_the_persons() {
    for (key, follows) in [(None, true), (Some("2"), true), (Some("j"), false), (Some("d esc"), false)] {
        let mut desk = Desk::new(scene::trouble());
        let whole = desk.world.clone();
        // the worst of them comes later
        let mut cluster = Cluster::clone(&whole.clusters[0]);
        cluster.derived.causes = cluster.derived.causes[1..].into();
        desk.world = World { clusters: [Arc::new(cluster)].into(), ..whole.clone() };
        update(&mut desk.ui, &desk.world, Msg::WorldChanged);
        desk.dump(120, 36);
        if let Some(key) = key {
            desk.press(key);
        }
        desk.world = whole;
        update(&mut desk.ui, &desk.world, Msg::WorldChanged);
        desk.dump(120, 36);
        assert_eq!(desk.ui.list(ListId::Now).at == 0, follows, "{key:?}");
    }
}

#[test]
fn in_now_a_key_is_about_the_selected_line_and_no_other() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("back-tab");
    desk.dump(120, 36);
    let selected = desk.ui.list(ListId::Now).selected.clone();
    assert!(selected.is_some());
    // another line offers it
    assert_eq!(desk.press("O"), []);
    let text = desk.dump(120, 36);
    assert!(text.contains("'out of service' needs a node"), "{text}");
    assert_eq!(desk.ui.list(ListId::Now).selected, selected);
    // where nothing of NOW is selected the line that offers it is gone to
    let mut desk = Desk::new(scene::trouble());
    desk.press("2");
    desk.dump(120, 36);
    assert!(
        matches!(desk.press("O").as_slice(), [Effect::Plan(_, intent, _)] if intent.act == Act::OutOfService)
    );
    assert_eq!(desk.ui.focus, ListId::Now);
}

#[test]
fn help_is_about_the_keys_of_the_screen_below_it() {
    let mut seen = Vec::new();
    for keys in ["1", "back-tab", "2 enter", "3 enter", "5", "5 tab", "7", "8", "8 enter", "d", "l"] {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(120, 36);
        desk.press(keys);
        desk.dump(120, 36);
        let here = desk.ui.contexts();
        desk.press("?");
        assert_eq!(desk.ui.contexts_below(), here, "{keys}");
        seen.push(here);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() >= 9, "they are not the same everywhere: {seen:?}");
}

#[test]
fn now_carries_out_what_its_line_says() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("back-tab");
    desk.dump(120, 36);
    let Some(Effect::Plan(_, intent, _)) = desk.press("R").into_iter().next() else { panic!() };
    assert_eq!(intent.act, Act::Restart);
    assert_eq!(intent.targets.first().unwrap().name, "pay");
    desk.press("esc enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("Evidence") && text.contains("crash-loop"), "{text}");
}

#[test]
fn logs_are_followed_and_let_go() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    let effects = desk.press("l");
    let Some(Effect::FollowLogs(ticket, request)) = effects.into_iter().next() else { panic!() };
    let cluster = desk.world.clusters.first().unwrap();
    assert_eq!(pods_of(cluster, &request.object, request.within.as_ref()).len(), 3);
    let lines = (0..100)
        .map(|i| LogLine {
            level: if i % 40 == 39 { Level::Error } else { Level::Info },
            pod: "pay-7c9f-1".into(),
            text: format!("line number {i}"),
            ..LogLine::default()
        })
        .collect();
    update(&mut desk.ui, &desk.world, Msg::LogLines(ticket, lines));
    assert!(desk.dump(120, 36).contains("line number 99"));
    desk.press("g e");
    assert!(desk.dump(120, 36).contains("line number 39"));
    desk.press("/");
    desk.type_text("number 7");
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("line number 7"), "{text}");
    assert_eq!(desk.press("esc"), Vec::new(), "it ends the search first");
    assert_eq!(desk.press("esc"), vec![Effect::StopLogs(ticket)]);
}

#[test]
fn why_a_log_has_no_lines_stands_in_their_place_and_below_them() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    let Some(Effect::FollowLogs(ticket, _)) = desk.press("l").into_iter().next() else { panic!() };
    let note = |container: &str, words: &str| LogNote {
        pod: "pay-7c9f-1".into(),
        container: container.into(),
        words: words.into(),
    };
    let told = vec![note("app", "the log cannot be read: dial tcp 10.0.0.9:10250: i/o timeout\u{1b}[31m")];
    update(&mut desk.ui, &desk.world, Msg::LogNotes(ticket, told));
    let text = desk.dump(80, 24);
    assert!(text.contains("dial tcp 10.0.0.9:10250: i/o") && !text.contains("waiting for lines"), "{text}");
    let line = |container: &str| LogLine {
        pod: "pay-7c9f-1".into(),
        container: container.into(),
        text: format!("said by {container}"),
        ..LogLine::default()
    };
    update(&mut desk.ui, &desk.world, Msg::LogLines(ticket, vec![line("app"), line("proxy")]));
    update(
        &mut desk.ui,
        &desk.world,
        Msg::LogNotes(ticket, vec![note("app", "the container ended, exit 1 (Error)")]),
    );
    update(&mut desk.ui, &desk.world, Msg::LogEnded(ticket));
    let text = desk.dump(80, 24);
    for words in
        ["app        said by app", "proxy      said by proxy", "/app: the container ended, exit 1", "ended"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("dial tcp 10.0.0.9:10250: i/o") && !text.contains("following"), "{text}");
}

#[test]
fn the_logs_of_a_node_are_those_of_its_pods_in_all_namespaces_that_are_shown() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    let Some(Effect::Plan(_, intent, _)) = desk.press("C").into_iter().next() else { panic!() };
    let node = intent.targets.first().unwrap().name.clone();
    desk.press("esc");
    let cluster = desk.world.clusters.first().unwrap().clone();
    let here: Vec<_> = cluster.pods.iter().filter(|p| p.node.as_ref() == Some(&node)).collect();
    assert!(!here.is_empty());
    let Some(Effect::FollowLogs(_, request)) = desk.press("l").into_iter().next() else { panic!() };
    let pods = pods_of(&cluster, &request.object, request.within.as_ref());
    assert_eq!(pods.len(), here.len());
    for pod in pods {
        assert!(here.iter().any(|p| p.uid == pod.uid), "{pod:?}");
    }
}

#[test]
fn yaml_and_tables_are_asked_and_shown() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    let effects = desk.press("y");
    let Some(Effect::Fetch(ticket, Request::Yaml(ObjectRef { name, .. }))) = effects.into_iter().next()
    else {
        panic!()
    };
    assert_eq!(name, scene::node_name(3).as_str());
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Text(vec!["kind: Node\x1b[2J".into()])));
    let text = desk.dump(120, 36);
    assert!(text.contains("kind: Node") && !text.contains('\x1b'));
    desk.press("esc :");
    desk.type_text("pvc");
    let effects = desk.press("enter");
    let Some(Effect::Fetch(ticket, Request::Table { resource, .. })) = effects.into_iter().next() else {
        panic!()
    };
    assert_eq!(resource, "pvc");
    let table = TableText {
        columns: vec!["NAME".into(), "STATUS".into()],
        rows: vec![TableLine {
            kind: "PersistentVolumeClaim".into(),
            namespace: "shop".into(),
            name: "data-0".into(),
            cells: vec!["data-0".into(), "Bound".into()],
        }],
    };
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Table(table)));
    let text = desk.dump(120, 36);
    assert!(text.contains("data-0") && text.contains("STATUS") && text.contains("Bound"), "{text}");
    assert!(matches!(desk.press("y").first(), Some(Effect::Fetch(..))));
}

#[test]
fn the_palette_finds_objects_and_commands_and_quits() {
    let mut desk = Desk::new(scene::trouble());
    desk.press(":");
    desk.type_text("checkout");
    desk.press("enter");
    assert!(desk.dump(120, 36).contains("Deployment shop/checkout"));
    desk.press(":");
    desk.type_text("actions-view");
    desk.press("enter");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Actions)));
    desk.press(":");
    desk.type_text("q");
    assert_eq!(desk.press("enter"), vec![Effect::Quit]);
}

#[test]
fn esc_goes_back_one_step_and_q_quits_at_the_root_twice() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    desk.press("enter enter esc");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Pods | ListId::Workloads)));
    desk.press("esc esc esc");
    assert!(matches!(desk.ui.screen(), Screen::Panes));
    assert_eq!(desk.press("q"), Vec::new());
    desk.ui.clock_ms += 10_000;
    assert_eq!(desk.press("q"), Vec::new(), "the first was long ago");
    assert_eq!(desk.press("q"), vec![Effect::Quit]);
}

#[test]
fn a_failed_rehearsal_says_so() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    let Some(Effect::Plan(ticket, _, _)) = desk.press("C").into_iter().next() else { panic!() };
    update(
        &mut desk.ui,
        &desk.world,
        Msg::Reply(ticket, Reply::Failed("the API server does not answer".into())),
    );
    assert!(matches!(desk.ui.dialog.as_ref().unwrap().stage, Stage::Failed(_)));
    assert!(desk.dump(80, 24).contains("does not answer"));
}

#[test]
fn filters_narrow_and_esc_takes_them_off() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press("/");
    desk.type_text("!eu-1a");
    desk.press("enter");
    desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Nodes).ids.len(), 8);
    desk.press("esc");
    desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Nodes).ids.len(), 12);
}

#[test]
fn what_a_filter_hides_is_not_acted_upon() {
    let mut desk = Desk::new(scene::trouble());
    for (view, keys) in [("1", "D C O"), ("5", "R B S P")] {
        desk.press(view);
        desk.dump(120, 36);
        desk.press("/");
        desk.type_text("zzz");
        desk.press("enter");
        desk.dump(120, 36);
        for key in keys.split(' ') {
            assert_eq!(desk.press(key), [], "{view} {key}");
            assert!(desk.ui.dialog.is_none() && desk.ui.prompt.is_none(), "{view} {key}");
        }
        desk.press("esc");
    }
    // and what is shown as shop/name is found so
    desk.press("5");
    desk.dump(120, 36);
    let all = desk.ui.list(ListId::Workloads).ids.len();
    desk.press("/");
    desk.type_text("shop/");
    desk.press("enter");
    desk.dump(120, 36);
    let some = desk.ui.list(ListId::Workloads).ids.len();
    assert!(some > 0 && some <= all, "{some} of {all}");
}

#[test]
fn a_drain_that_stopped_is_gone_on_with_as_if_it_was_asked_for_anew() {
    use pilothouse_core::domain::id::Kind;
    use pilothouse_core::domain::id::ObjectRef;
    use pilothouse_core::domain::plan::DrainOptions;
    let mut desk = Desk::new(scene::trouble());
    let context = desk.world.clusters[0].info.context.clone();
    let node = desk.world.clusters[0].nodes.iter().next().unwrap().clone();
    let targets = vec![ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &node.name, &node.uid)];
    let options = DrainOptions { force: true, ..DrainOptions::default() };
    let made = |act, outcome| {
        let intent =
            Intent { cluster: ClusterId::default(), context: context.clone(), act, targets: targets.clone() };
        let plan = Arc::new(plan(&intent, Confirm::Yes, "y"));
        let message = "n1: uncordoned meanwhile by ann".into();
        let ended = Some(scene::NOW);
        Arc::new(ActionView { outcome, message, ended, ..ActionView::new("a".into(), plan, scene::NOW) })
    };
    let drain = || Act::Drain(options.clone());
    desk.world.actions = [made(drain(), Some(Outcome::Failed))].into();
    let text = desk.dump(120, 36);
    assert!(text.contains("· 8, then R resumes it"), "{text}");
    desk.press("8");
    let text = desk.dump(120, 36);
    assert!(text.contains("R resume"), "{text}");
    let intent = planned(desk.press("R"));
    assert_eq!((intent.act, intent.targets), (drain(), targets.clone()));
    desk.press("esc");
    for (act, outcome) in [(drain(), Outcome::Done), (Act::Restart, Outcome::Failed)] {
        desk.world.actions = [made(act, Some(outcome))].into();
        desk.dump(120, 36);
        assert_eq!(desk.press("R"), Vec::new());
        assert!(desk.dump(120, 36).contains("this action has finished: nothing to resume"));
    }
}

#[test]
fn a_key_right_after_esc_is_that_key_and_not_one_with_alt() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5 tab");
    desk.dump(120, 36);
    desk.press("d");
    desk.dump(120, 36);
    // a terminal sends both as one
    desk.press("alt-n");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Namespaces)), "{}", desk.dump(120, 36));
    desk.press("esc");
    desk.dump(120, 36);
    desk.press("d");
    desk.dump(120, 36);
    // the row below the text is shown before a key acts on it
    assert_eq!(desk.press("alt-K"), []);
    let text = desk.dump(120, 36);
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Pods)), "{text}");
    assert!(text.contains("nothing was done: the selected row was not on the screen yet"), "{text}");
}

#[test]
fn an_answer_that_was_partly_typed_before_the_plan_changed_says_why_it_does_not_count() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("1");
    desk.dump(120, 36);
    let effects = desk.press("D");
    let [Effect::Plan(ticket, intent, _)] = effects.as_slice() else { panic!("{effects:?}") };
    let hears = |desk: &mut Desk, warning: bool| {
        let mut plan = plan(intent, Confirm::Suffix, "xyz");
        if !warning {
            plan.warnings.clear();
        }
        reply(desk, *ticket, plan);
        desk.dump(120, 36);
        desk.ui.clock_ms += 1_000;
    };
    hears(&mut desk, false);
    desk.type_text("x");
    hears(&mut desk, true);
    desk.type_text("yz");
    assert_eq!(desk.press("enter"), []);
    let text = desk.dump(120, 36);
    assert!(
        text.contains("that is not `xyz`: what was typed before this plan was shown does not count"),
        "{text}"
    );
}

#[test]
fn an_action_that_was_undone_says_so() {
    let mut desk = Desk::new(scene::trouble_with(|info| info.server = "https://here".into()));
    let outcome = Some(Outcome::Done);
    let done = |id: &str, intent: Intent| {
        let plan = Arc::new(plan(&intent, Confirm::Yes, "y"));
        Arc::new(ActionView { outcome, ..ActionView::new(id.into(), plan, scene::NOW) })
    };
    let first = left_behind("a", "prod-eu", "https://here", false);
    let first = done("a", first.plan.intent.clone());
    let undo = done("b", undo::intent(&first));
    desk.world.actions = [first.clone()].into();
    desk.press("8");
    assert!(!desk.dump(120, 36).contains("undone"), "nobody undid it");
    desk.world.actions = [undo, first].into();
    // the text below the list is made anew once a second
    desk.ui.clock_ms += 1_000;
    let text = desk.dump(120, 36);
    let states = |word: &str| text.lines().filter(|line| line.split_whitespace().any(|w| w == word)).count();
    assert_eq!((states("undone"), states("done")), (2, 1), "the row and its text: {text}");
    desk.press("/");
    desk.type_text("undone");
    desk.press("enter");
    desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Actions).ids.len(), 1, "a filter finds it");
}

/// An action that another process left, in the journal of a cluster.
fn left_behind(id: &str, context: &str, server: &str, unfinished: bool) -> Arc<ActionView> {
    let targets = vec![];
    let intent = Intent { cluster: ClusterId::default(), context: context.into(), act: Act::Cordon, targets };
    let plan = Arc::new(plan(&intent, Confirm::Yes, "y"));
    let place = Place { server: server.into(), ..Place::default() };
    let outcome = Some(Outcome::Unknown);
    Arc::new(ActionView {
        foreign: true,
        unfinished,
        outcome,
        place,
        ..ActionView::new(id.into(), plan, scene::NOW)
    })
}

#[test]
fn actions_are_of_this_cluster_and_others_are_behind_a_key() {
    let mut desk = Desk::new(scene::trouble_with(|info| info.server = "https://here".into()));
    desk.world.actions = [
        left_behind("a", "test", "https://there", true),
        left_behind("b", "prod-eu", "https://elsewhere", true),
        left_behind("c", "prod-eu", "https://here", false),
    ]
    .into();
    let text = desk.dump(120, 36);
    assert!(!text.contains("unfinished"), "those are of other clusters:\n{text}");
    desk.press("8");
    let text = desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Actions).ids.len(), 1, "{text}");
    assert!(text.contains("2 of other clusters: a shows them") && !text.contains("CONTEXT"), "{text}");
    desk.press("a");
    let text = desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Actions).ids.len(), 3, "{text}");
    assert!(text.contains("CONTEXT") && text.contains("of all clusters"), "{text}");
    for (row, words) in [
        ("g", "this action was done in context test, which is not open: ^t opens it"),
        ("g j", "another cluster with this context name, https://elsewhere"),
    ] {
        desk.press(row);
        desk.dump(120, 36);
        assert_eq!(desk.press("R"), []);
        assert!(desk.dump(120, 36).contains(words), "{words}");
    }
}

#[test]
fn an_unfinished_action_is_told_until_it_is_resumed_or_dismissed() {
    let mut desk = Desk::new(scene::trouble_with(|info| info.server = "https://here".into()));
    desk.world.actions = [
        left_behind("done", "prod-eu", "https://here", false),
        left_behind("open", "prod-eu", "https://here", true),
        left_behind("other", "prod-eu", "https://elsewhere", true),
    ]
    .into();
    let text = desk.dump(120, 36);
    assert!(text.contains("! unfinished: cordon") && !text.contains("more)"), "{text}");
    assert!(text.contains("8, then R resumes or x dismisses it"), "{text}");
    // the list opens on it
    desk.press("8");
    assert!(desk.dump(120, 36).contains("x dismiss"));
    assert_eq!(desk.press("x"), []);
    let text = desk.dump(120, 36);
    assert!(text.contains("Dismiss cordon") && text.contains("cannot be resumed any more"), "{text}");
    assert_eq!(desk.press("n"), [], "any other key keeps it");
    desk.press("x");
    desk.dump(120, 36);
    assert_eq!(desk.press("y"), [Effect::Dismiss("open".into())]);
    assert!(desk.ui.question.is_none());
}

#[test]
fn what_is_resumed_at_another_address_asks_for_the_address() {
    let mut desk = Desk::new(scene::trouble_with(|info| info.server = "https://here".into()));
    let mut open = left_behind("open", "prod-eu", "https://here", true).as_ref().clone();
    let name = scene::node_name(4).as_str().into();
    let node = ObjectRef::new(ClusterId::default(), Kind::Node, &"".into(), &name, &Uid::default());
    let intent = Intent { targets: vec![node], ..open.plan.intent.clone() };
    open.plan = Arc::new(plan(&intent, Confirm::Yes, "y"));
    desk.world.actions = [Arc::new(open)].into();
    desk.dump(120, 36);
    desk.press("8");
    desk.dump(120, 36);
    let resume = desk.press("R");
    let [Effect::Resume(ticket, id)] = &resume[..] else { panic!("{resume:?}: {}", desk.dump(120, 36)) };
    assert_eq!(*id, "open");
    let intent = desk.world.actions[0].plan.intent.clone();
    let effects = update(&mut desk.ui, &desk.world, Msg::Reply(*ticket, Reply::Resume(intent.clone())));
    // it is compared with the clusters of the action
    let again = [Effect::Plan(*ticket, intent.clone(), Some("open".into()))];
    assert_eq!(effects, again);
    let mut asked = plan(&intent, Confirm::Server, "10.0.0.2:6443");
    let (now, then) = (String::from("10.0.0.2:6443"), String::from("here"));
    asked.warnings = vec![Warning::ClusterMoved { context: "prod-eu".into(), now, then }];
    reply(&mut desk, *ticket, asked);
    // a plan is on the screen for a while before it can be confirmed
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    let text = desk.dump(120, 36);
    assert!(text.contains("To confirm, type the new address: 10.0.0.2:6443"), "{text}");
    assert!(text.contains("context prod-eu is at 10.0.0.2:6443"), "{text}");
    // the context's name is not enough
    desk.type_text("prod-eu");
    assert!(!runs(&desk.press("enter")));
    desk.type_text("10.0.0.2:6443");
    assert!(runs(&desk.press("enter")));
}

#[test]
fn enter_on_a_node_lists_its_pods_and_escape_goes_back() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("Pods on ip-10-0-0-3-daa5"), "{text}");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Pods)));
    let node = scene::node_name(3);
    let cluster = desk.world.clusters[0].clone();
    let of_node = cluster.pods.iter().filter(|p| p.node.as_deref() == Some(&*node)).count();
    assert_eq!(desk.ui.list(ListId::Pods).ids.len(), of_node);
    // of a pod there all is told, and back one goes step by step
    desk.press("enter");
    assert!(desk.dump(120, 36).contains("Describe shop/pod/"));
    desk.press("esc esc");
    let text = desk.dump(120, 36);
    assert!(matches!(desk.ui.screen(), Screen::Panes) && desk.ui.focus == ListId::Nodes, "{text}");
    desk.press("d");
    let text = desk.dump(120, 36);
    assert!(text.contains("Describe node/ip-10-0-0-3-daa5"), "{text}");
}

#[test]
fn arrows_and_brackets_go_between_the_panes() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    for (key, focus) in [
        ("right", ListId::Traffic),
        ("]", ListId::Errors),
        ("left", ListId::Traffic),
        ("h", ListId::Nodes),
        ("[", ListId::Now),
        ("left", ListId::Autoscalers),
        ("right", ListId::Now),
    ] {
        desk.press(key);
        assert_eq!(desk.ui.focus, focus, "{key}");
    }
}

#[test]
fn objects_of_an_error_group_and_of_a_why_page_can_be_selected_and_opened() {
    // (keys to the text, words of the line that is selected, what Enter opens)
    for (keys, opens) in [("3 enter", "Describe shop/deploy/checkout"), ("back-tab enter", "Describe shop/")]
    {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(120, 36);
        for key in keys.split(' ') {
            desk.press(key);
            desk.dump(120, 36);
        }
        assert_eq!(desk.press("enter"), []);
        assert!(desk.dump(120, 36).contains("no object is selected"), "{keys}");
        desk.press("j");
        let text = desk.dump(120, 36);
        assert!(text.contains("Enter open"), "{keys}: {text}");
        desk.press("enter");
        let text = desk.dump(120, 36);
        assert!(text.contains(opens), "{keys}: {text}");
        desk.press("esc");
        assert!(!desk.dump(120, 36).contains(opens), "back to the text");
        desk.press("esc");
        assert!(matches!(desk.ui.screen(), Screen::Panes));
    }
}

#[test]
fn in_a_text_keys_are_about_the_selected_object() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    // the pods of a node, in its description
    desk.press("d");
    desk.dump(120, 36);
    assert_eq!(desk.press("K"), [], "a node is not evicted");
    desk.press("j");
    desk.dump(120, 36);
    let chosen = match desk.ui.screen() {
        Screen::Text(view) => view.chosen.clone().map(|(_, object)| object).unwrap(),
        _ => panic!("no text"),
    };
    assert_eq!(chosen.kind, Kind::Pod);
    let intent = planned(desk.press("K"));
    assert_eq!(intent.targets.first().unwrap().uid, chosen.uid);
    desk.press("esc");
    // what does not fit it is about the text's own object
    assert_eq!(planned(desk.press("C")).targets.first().unwrap().kind, Kind::Node);
    desk.press("esc");
    // at the top nothing is selected again
    desk.press("k k k k k k");
    desk.dump(120, 36);
    assert!(matches!(desk.ui.screen(), Screen::Text(view) if view.chosen.is_none()));
}

#[test]
fn a_filter_matches_every_column_that_is_shown() {
    // (keys to the list, its id, filter, how many rows)
    for (view, list, filter, rows) in [
        ("5", ListId::Workloads, "deploy/cart", 1),
        ("5", ListId::Workloads, "11/11", 1),
        ("5", ListId::Workloads, "cart|pay", 2),
        ("5", ListId::Workloads, "shop cart", 1),
        ("5", ListId::Workloads, "^deploy/c", 2),
        ("5", ListId::Workloads, "!^deploy/c", 2),
        ("5", ListId::Workloads, "/checkout|search/", 2),
        ("5 tab", ListId::Pods, "0/1", 3),
        ("5 tab", ListId::Pods, "0/1 crash", 3),
        ("5 tab", ListId::Pods, "cart 1/1", 11),
        ("4", ListId::Autoscalers, "30→46", 1),
        ("4", ListId::Autoscalers, "2-30", 1),
        ("2", ListId::Traffic, "810ms", 1),
        ("1", ListId::Nodes, "diskpress", 1),
        ("1", ListId::Nodes, "52/12%", 1),
    ] {
        let mut desk = Desk::new(scene::trouble());
        for key in view.split(' ') {
            desk.dump(200, 50);
            desk.press(key);
        }
        desk.dump(200, 50);
        desk.press("/");
        desk.type_text(filter);
        desk.press("enter");
        let text = desk.dump(200, 50);
        assert_eq!(desk.ui.list(list).ids.len(), rows, "{view} {filter}:\n{text}");
    }
}

#[test]
fn up_and_down_recall_what_was_looked_for() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    for filter in ["cart", "pay"] {
        desk.press("/ ctrl-u");
        desk.type_text(filter);
        desk.press("enter");
        desk.dump(120, 36);
    }
    desk.press("/ ctrl-u up up");
    assert_eq!(desk.ui.input.text(), "cart");
    desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Workloads).ids.len(), 1, "it filters at once");
    desk.press("down");
    assert_eq!(desk.ui.input.text(), "pay");
    desk.press("enter d / up");
    assert_eq!(desk.ui.input.text(), "pay", "a search finds it too");
}

#[test]
fn a_prompt_keeps_a_value_that_cannot_be_used_and_says_why() {
    for (view, key, typed, words) in [
        ("4", "S", "abc", "use MIN-MAX, for example 4-30"),
        ("4", "S", "9-3", "9 is more than 3"),
        ("5", "S", "many", "is not a number of replicas"),
        ("back-tab", "s", "soon", "is not a duration such as 30m"),
        ("1", ":", "n0nsense.x/y", "No match."),
    ] {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(120, 36);
        desk.press(view);
        desk.dump(120, 36);
        desk.press(key);
        desk.type_text(typed);
        assert_eq!(desk.press("enter"), [], "{key} {typed}");
        let text = desk.dump(120, 36);
        assert!(text.contains(words), "{key} {typed}: {text}");
        assert_eq!(desk.ui.input.text(), typed, "it can be corrected");
        assert!(desk.ui.prompt.is_some());
        desk.press("backspace");
        if key != ":" {
            assert!(!desk.dump(120, 36).contains(words), "{words}");
        }
    }
}

#[test]
fn a_dialog_hints_at_no_key_that_is_part_of_the_text_it_asks_for() {
    let mut desk = Desk::new(scene::trouble());
    let of = |answer: &'static str| {
        move |i: &Intent| {
            let mut plan = plan(i, Confirm::Suffix, answer);
            let force = DrainOptions { force: true, ..DrainOptions::default() };
            plan.choices = vec![Choice { words: "--force".into(), act: Act::Drain(force), on: false }];
            plan
        }
    };
    for (answer, copy, options) in [("daa5", true, true), ("cart", false, true), ("off1", true, false)] {
        rehearse(&mut desk, "D", of(answer));
        desk.dump(120, 36);
        desk.ui.clock_ms += 1000;
        let text = desk.dump(120, 36);
        let has = |text: &str| (text.contains("c copy kubectl"), text.contains("o options"));
        assert_eq!(has(&text), (copy, options), "{answer}: {text}");
        desk.type_text(answer.get(..2).unwrap());
        assert_eq!(has(&desk.dump(120, 36)), (false, false), "{answer}");
        desk.press("ctrl-w");
        assert!(desk.ui.dialog.as_ref().unwrap().typed.is_empty());
        assert_eq!(has(&desk.dump(120, 36)), (copy, options), "{answer}");
        // a wrong text is not eaten letter by letter
        desk.type_text("xyz");
        assert_eq!(desk.ui.dialog.as_ref().unwrap().typed.text(), "xyz");
        desk.press("esc");
    }
}

#[test]
fn rows_are_ordered_by_any_column_with_a_mark_in_its_head_and_turned_around() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    let heads = |desk: &mut Desk| desk.dump(200, 50).lines().nth(2).unwrap().to_owned();
    assert!(!heads(&mut desk).contains(['▲', '▼']), "worst first is by no column");
    desk.press("G o o");
    let text = desk.dump(200, 50);
    assert!(text.contains("by restarts") && heads(&mut desk).contains("▼RESTARTS"), "{text}");
    let list = desk.ui.list(ListId::Workloads);
    assert_eq!((list.at, list.top), (0, 0), "the top of the new order is in sight");
    let rows = list.ids.clone();
    desk.press("ctrl-r");
    let text = desk.dump(200, 50);
    assert!(text.contains("by restarts, reversed") && heads(&mut desk).contains("▲RESTARTS"), "{text}");
    let turned: Vec<u32> = desk.ui.list(ListId::Workloads).ids.iter().rev().copied().collect();
    assert_eq!(turned, rows);
    // each of them, and then the first again
    for _ in 0..8 {
        desk.press("o");
        assert!(desk.dump(200, 50).lines().count() > 0);
    }
    assert_eq!((desk.ui.list(ListId::Workloads).order, desk.ui.list(ListId::Workloads).reverse), (0, false));
    // a list of one order says so
    desk.press("8 o");
    assert!(desk.dump(120, 36).contains("this list has only one order"));
}

#[test]
fn what_the_server_lists_is_ordered_by_its_columns() {
    let mut desk = Desk::new(scene::trouble());
    let Some(Effect::Fetch(ticket, _)) = ({
        desk.press(":");
        desk.type_text("pvc");
        desk.press("enter")
    })
    .into_iter()
    .next() else {
        panic!("nothing is asked")
    };
    let row = |name: &str, size: &str| TableLine {
        name: name.into(),
        cells: vec![name.into(), size.into()],
        ..TableLine::default()
    };
    let table = TableText {
        columns: vec!["Name".into(), "Used".into()],
        rows: vec![row("b", "10"), row("a", "9"), row("c", "100")],
    };
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Table(table)));
    for (keys, order) in
        [("", [0, 1, 2]), ("o", [1, 0, 2]), ("o", [1, 0, 2]), ("ctrl-r", [2, 0, 1]), ("o", [0, 1, 2])]
    {
        desk.press(keys);
        let text = desk.dump(120, 36);
        assert_eq!(desk.ui.list(ListId::Table).ids, order, "{keys}: {text}");
    }
}

#[test]
fn rows_do_not_change_places_with_every_poll() {
    let mut state = scene::trouble();
    let mut desk = Desk::new(scene::trouble());
    desk.world = scene::world(&mut state);
    desk.dump(120, 36);
    let first = desk.ui.list(ListId::Traffic).ids.clone();
    let mut busier = |rps: f64, desk: &mut Desk| {
        let mut traffic = TrafficSeen::clone(&desk.world.clusters[0].traffic);
        traffic.services = traffic
            .services
            .iter()
            .map(|s| {
                let rps = if s.name == "search" { rps } else { s.rps.unwrap_or(0.0) };
                Arc::new(ServiceTraffic { rps: Some(rps), ..ServiceTraffic::clone(s) })
            })
            .chain([Arc::new(ServiceTraffic {
                namespace: "shop".into(),
                name: "search".into(),
                rps: Some(rps),
                ..ServiceTraffic::default()
            })])
            .collect();
        state.apply(Fact::Traffic(traffic), scene::NOW);
        desk.world = scene::world(&mut state);
        desk.dump(120, 36);
    };
    busier(90_000.0, &mut desk);
    assert_eq!(desk.ui.list(ListId::Traffic).ids, first, "numbers alone move nothing for a while");
    desk.ui.clock_ms += 10_000;
    desk.dump(120, 36);
    assert_ne!(desk.ui.list(ListId::Traffic).ids, first, "later the order is that of then");
}

/// The palette with a line typed; the server's kinds are known.
fn palette(desk: &mut Desk, typed: &str) -> Vec<Hit> {
    desk.press("esc esc");
    desk.dump(120, 36);
    let asked = desk.press(":").into_iter().find_map(|e| match e {
        Effect::Fetch(ticket, Request::Kinds { .. }) => Some(ticket),
        _ => None,
    });
    if let Some(ticket) = asked {
        let widgets = KindWords {
            plural: "widgets".into(),
            group: "example.com".into(),
            words: vec!["widget".into(), "wd".into()],
        };
        let msg = Msg::Reply(ticket, Reply::Kinds(vec![widgets]));
        update(&mut desk.ui, &desk.world, msg);
    }
    desk.type_text(typed);
    desk.dump(120, 36);
    match &desk.ui.prompt {
        Some(Prompt::Palette { hits, .. }) => hits.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_palette_knows_kinds_with_a_namespace_or_a_name() {
    let mut desk = Desk::new(scene::trouble());
    let shop = || Some(Name::from("shop"));
    for (typed, first) in [
        ("po", Target::View(ListId::Pods, None)),
        ("pods", Target::View(ListId::Pods, None)),
        ("pods shop", Target::View(ListId::Pods, shop())),
        ("deploy shop", Target::View(ListId::Workloads, shop())),
        ("no", Target::View(ListId::Nodes, None)),
        ("ctx", Target::Contexts),
        ("ctx prod", Target::Context("prod-eu".into())),
        ("ctx nowhere", Target::Contexts),
        ("widgets", Target::Resource("widgets".into(), None)),
        ("wd shop", Target::Resource("wd".into(), shop())),
        ("widgets.example.com", Target::Resource("widgets.example.com".into(), None)),
        ("widg", Target::Resource("widgets".into(), None)),
    ] {
        let hits = palette(&mut desk, typed);
        assert_eq!(hits.first().map(|h| &h.target), Some(&first), "{typed}: {hits:?}");
    }
    for (typed, kind, name) in [
        ("svc cart", Kind::Service, "cart"),
        ("svc/cart", Kind::Service, "cart"),
        ("svc shop/cart", Kind::Service, "cart"),
        ("hpa cart", Kind::HorizontalPodAutoscaler, "cart"),
        ("deploy/pay", Kind::Deployment, "pay"),
    ] {
        let hits = palette(&mut desk, typed);
        let Some(Target::Object(object)) = hits.first().map(|h| h.target.clone()) else {
            panic!("{typed}: {hits:?}")
        };
        assert_eq!((object.kind, object.name.as_str()), (kind, name), "{typed}");
    }
    // what nobody knows is no table of the server
    for nonsense in ["xray", "pod cartwheel", "svc/nothing", "pvc2", "wd nowhere"] {
        assert_eq!(palette(&mut desk, nonsense), [], "{nonsense}");
        assert!(desk.dump(120, 36).contains("No match."), "{nonsense}");
    }
    // and what they open
    palette(&mut desk, "pods shop");
    assert_eq!(desk.press("enter"), []);
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Pods)) && desk.ui.namespace == shop());
    palette(&mut desk, "ctx");
    let effects = desk.press("enter");
    assert!(matches!(effects.as_slice(), [Effect::Contexts(_)]), "{effects:?}");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Clusters)));
}

#[test]
fn the_palette_runs_an_action_on_an_object_that_is_named() {
    let mut desk = Desk::new(scene::trouble());
    // marks elsewhere are not what is meant
    desk.press("1");
    desk.dump(120, 36);
    desk.press("space space");
    let hits = palette(&mut desk, &format!("drain {}", scene::node_name(5)));
    assert_eq!(hits.len(), 1, "{hits:?}");
    let intent = planned(desk.press("enter"));
    assert!(matches!(intent.act, Act::Drain(_)));
    let names: Vec<&str> = intent.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, [scene::node_name(5).as_str()]);
    desk.press("esc");
    palette(&mut desk, "restart cart");
    let intent = planned(desk.press("enter"));
    assert_eq!((intent.act, intent.targets[0].name.as_str()), (Act::Restart, "cart"));
    desk.press("esc");
    palette(&mut desk, "uncordon 10-0-1-7");
    assert_eq!(planned(desk.press("enter")).act, Act::Uncordon);
    desk.press("esc");
    assert_eq!(palette(&mut desk, "drain cart"), [], "a service is not drained");
}

#[test]
fn weights_and_failovers_that_there_are_none_of_say_so() {
    for (view, key, words) in [
        (
            "2",
            "W",
            "there are no weights to change: no route of the cluster and no plan in the config has any for shop/svc/",
        ),
        (
            "2",
            "F",
            "no failover plan: the config has none, and none can be suggested for this cluster for shop/svc/",
        ),
        ("1", "F", "no failover plan: the config has none, and none can be suggested for this cluster"),
    ] {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(120, 36);
        desk.press(view);
        desk.dump(120, 36);
        let effects = desk.press(key);
        let Some(Effect::Fetch(ticket, Request::FailoverPlans { .. })) = effects.first() else { panic!() };
        // zones have nothing to do with a service
        let zone = FailoverPlan {
            name: "zone-b".into(),
            kind: FailoverKind::Evacuate(Pick::Zone("b".into())),
            watched: None,
            soak_secs: 0,
            suggested: true,
            in_context: String::new(),
        };
        let plans = if view == "2" { vec![zone] } else { Vec::new() };
        update(&mut desk.ui, &desk.world, Msg::Reply(*ticket, Reply::Plans(plans)));
        let text = desk.dump(120, 36);
        assert!(text.contains(words) && desk.ui.prompt.is_none(), "{view} {key}: {text}");
    }
}

#[test]
fn keys_that_would_be_refused_are_dim_and_the_header_says_so() {
    // the style of the first character of words on the screen
    fn style(desk: &mut Desk, words: &str) -> (String, Option<ratatui::style::Style>) {
        let drawn = run::draw(&mut desk.ui, &desk.world, &desk.theme, false, (120, 36));
        let text = text_of(&drawn.buffer);
        let place = text.lines().enumerate().find_map(|(y, line)| {
            let at = line.find(words)?;
            Some((u16::try_from(line.get(..at).unwrap().chars().count()).unwrap(), u16::try_from(y).unwrap()))
        });
        let style = place.and_then(|place| drawn.buffer.cell(place)).map(ratatui::buffer::Cell::style);
        (text, style)
    }
    let with = |read_only: bool, may: Option<&[Right]>| {
        let mut state = scene::trouble_with(|info| info.read_only = read_only);
        let mut desk = Desk::new(scene::trouble_with(|info| info.read_only = read_only));
        let may = may.map(|rights| rights.iter().copied().collect());
        let identity = Identity { may, ..desk.world.clusters[0].identity.clone() };
        state.apply(Fact::Identity(identity), scene::NOW);
        desk.world = scene::world(&mut state);
        desk
    };
    let dim = with(false, None).theme.style(Role::Dim);
    for (read_only, may, header, drain, cordon) in [
        (false, None, "PROTECTED", true, true),
        (false, Some(&Right::ALL[..]), "PROTECTED", true, true),
        (false, Some(&[Right::Nodes][..]), "PROTECTED", false, true),
        (false, Some(&[][..]), "no write permission", false, false),
        (true, None, "READ-ONLY", false, false),
    ] {
        let mut desk = with(read_only, may);
        for (words, lit) in [("D drain", drain), ("C cordon", cordon), ("d describe", true)] {
            let (text, found) = style(&mut desk, words);
            assert!(text.lines().next().unwrap().contains(header), "{header}: {text}");
            let is_dim = found.unwrap().fg == dim.fg && found.unwrap().add_modifier == dim.add_modifier;
            assert_eq!(!is_dim, lit, "{header}: {words}");
        }
        desk.dump(120, 36);
        // a dimmed key still opens the rehearsal, which shows why the action is refused
        assert!(matches!(desk.press("C").as_slice(), [Effect::Plan(..)]));
    }
}

#[test]
fn the_mouse_selects_scrolls_and_presses_keys_but_confirms_nothing() {
    /// Does something at the first cell of words on the screen.
    fn point(desk: &mut Desk, size: (u16, u16), gesture: Gesture, words: &str) -> Vec<Effect> {
        let text = desk.dump(size.0, size.1);
        let found = text
            .lines()
            .enumerate()
            .find_map(|(y, line)| Some((line.get(..line.find(words)?)?.chars().count(), y)));
        let (x, y) = found.unwrap_or_else(|| panic!("{words}: {text}"));
        let mouse = Mouse { gesture, x: u16::try_from(x).unwrap(), y: u16::try_from(y).unwrap() };
        update(&mut desk.ui, &desk.world, Msg::Mouse(mouse))
    }
    let large = (120, 36);
    let mut desk = Desk::new(scene::trouble());
    // a row of another pane: focused and selected
    assert_eq!(point(&mut desk, large, Gesture::Click, "shop/cart      1.3k"), []);
    assert_eq!(desk.ui.focus, ListId::Traffic);
    let selected = desk.ui.list(ListId::Traffic).selected.clone();
    assert_ne!(selected, None);
    point(&mut desk, large, Gesture::Click, "4 Autoscalers");
    assert_eq!(desk.ui.focus, ListId::Autoscalers);
    // the wheel goes where it is, and takes the focus nowhere
    point(&mut desk, large, Gesture::WheelDown, "1 Nodes");
    assert_eq!((desk.ui.list(ListId::Nodes).at, desk.ui.focus), (3, ListId::Autoscalers));
    point(&mut desk, large, Gesture::WheelUp, "1 Nodes");
    assert_eq!(desk.ui.list(ListId::Nodes).at, 0);
    // a key of the bar, as if it was pressed
    point(&mut desk, large, Gesture::Click, "ip-10-0-1-7-5381");
    let effects = point(&mut desk, large, Gesture::Click, "C uncordon");
    let intent = planned(effects);
    assert_eq!((intent.act.clone(), intent.targets[0].name.as_str()), (Act::Uncordon, "ip-10-0-1-7-5381"));
    let Some(ticket) = desk.ui.dialog.as_ref().map(|d| d.ticket) else { panic!() };
    reply(&mut desk, ticket, plan(&intent, Confirm::Yes, "y"));
    desk.dump(120, 36);
    desk.ui.clock_ms += 1000;
    for words in ["y do it", "esc", "Esc cancel", "C uncordon"] {
        let shown = desk.dump(120, 36).contains(words);
        if shown {
            assert_eq!(point(&mut desk, large, Gesture::Click, words), [], "{words}");
        }
        assert!(desk.ui.dialog.is_some(), "nothing is confirmed or cancelled: {words}");
    }
    assert!(desk.dump(120, 36).contains("a click does not confirm"));
    desk.press("esc");
    // the narrow screen: a cause, and the line of a pane
    let mut desk = Desk::new(scene::trouble());
    let small = (80, 24);
    point(&mut desk, small, Gesture::Click, "node ip-10-0-0-3-daa5");
    assert_eq!((desk.ui.focus, desk.ui.list(ListId::Now).at), (ListId::Now, 1));
    point(&mut desk, small, Gesture::Click, "2 Traffic");
    assert_eq!(desk.ui.focus, ListId::Traffic);
    // a text scrolls
    desk.press("?");
    point(&mut desk, small, Gesture::WheelDown, "CAPITALS");
    assert!(matches!(desk.ui.screen(), Screen::Text(view) if view.top == 3));
    // and it is switched off and on
    desk.press("esc");
    for on in [false, true] {
        assert_eq!(desk.press("f2"), [Effect::Mouse]);
        assert_eq!(desk.ui.mouse, on);
    }
}

#[test]
fn ctrl_z_suspends_and_asks_once_while_an_action_runs() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    for keys in ["ctrl-z", "/ ctrl-z", "C ctrl-z"] {
        let effects = desk.press(keys);
        assert_eq!(effects.last(), Some(&Effect::Suspend), "{keys}");
        desk.press("esc");
    }
    let intent =
        Intent { cluster: ClusterId(0), context: "prod-eu".into(), act: Act::Cordon, targets: Vec::new() };
    let running = ActionView::new("a".into(), Arc::new(plan(&intent, Confirm::Yes, "y")), scene::NOW);
    desk.world.actions = [Arc::new(running)].into();
    assert_eq!(desk.press("ctrl-z"), []);
    assert!(desk.dump(120, 36).contains("is running and would stop until fg: ^z again suspends it"));
    assert_eq!(desk.press("ctrl-z"), [Effect::Suspend]);
    // a command to which the config gives its key has it in its own place
    let mut desk = Desk::new(scene::trouble());
    desk.ui.keymap = Keymap::new(&[("evict".to_owned(), vec!["ctrl-z".to_owned()])].into()).0;
    desk.press("5 tab");
    desk.dump(120, 36);
    assert!(matches!(planned(desk.press("ctrl-z")).act, Act::Evict(_)));
    desk.press("esc 1");
    desk.dump(120, 36);
    assert_eq!(desk.press("ctrl-z"), [Effect::Suspend]);
}

#[test]
fn the_list_of_actions_opens_on_what_runs() {
    let mut desk = Desk::new(scene::trouble());
    let made = |id: &str, outcome| {
        let targets = vec![];
        let intent =
            Intent { cluster: ClusterId::default(), context: "test".into(), act: Act::Cordon, targets };
        let plan = Arc::new(plan(&intent, Confirm::Yes, "y"));
        Arc::new(ActionView { outcome, ..ActionView::new(id.into(), plan, scene::NOW) })
    };
    desk.world.actions = [made("old", Some(Outcome::Done))].into();
    desk.press("8");
    desk.dump(120, 36);
    desk.press("esc");
    desk.world.actions =
        [made("newest", Some(Outcome::Done)), made("runs", None), made("old", Some(Outcome::Done))].into();
    desk.press("8");
    let text = desk.dump(120, 36);
    assert_eq!(desk.press("P"), [Effect::Order("runs".into(), Order::Pause(true))], "{text}");
    // back to where one came from
    desk.press("esc 5 8 esc");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Workloads)));
}

#[test]
fn a_pane_has_the_columns_that_were_chosen_for_it() {
    let own = ["state", "node", "pods"].map(str::to_owned).to_vec();
    let mut desk = Desk::new(scene::trouble());
    desk.ui.columns = pilothouse::ui::pane::chosen(&[("nodes".to_owned(), own)].into()).0;
    desk.press("1 z");
    let heads = |text: &str| {
        let line = text.lines().find(|line| line.contains("STATE")).unwrap_or_else(|| panic!("{text}"));
        line.split(['│', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let text = desk.dump(120, 36);
    assert_eq!(heads(&text), ["STATE", "NODE", "PODS", "bad"], "{text}");
    // the order is marked where its column is now, and words are found in the other columns too
    desk.press("o");
    assert_eq!(heads(&desk.dump(120, 36)), ["STATE", "NODE▲", "PODS", "bad"]);
    desk.press("/");
    desk.type_text("52/12%");
    desk.press("enter");
    desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Nodes).ids.len(), 1);
}

#[test]
fn now_has_the_columns_that_were_chosen_for_it() {
    let mut desk = Desk::new(scene::trouble());
    let choose = |names: &[&str]| {
        let own = names.iter().map(|name| (*name).to_owned()).collect();
        pilothouse::ui::pane::chosen(&[("now".to_owned(), own)].into()).0
    };
    let first = |desk: &mut Desk, width: u16, height: u16| {
        let text = desk.dump(width, height);
        text.lines().find(|line| line.contains('✖')).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    // a screen without room for columns places the chosen ones itself
    let narrow = first(&mut desk, 80, 24);
    desk.ui.columns = choose(&["since", "cause", "key"]);
    assert_eq!(first(&mut desk, 80, 24), narrow);
    let words: Vec<&str> = narrow.split_whitespace().collect();
    let (about, since) = (words[1], words[words.len() - 1]);
    let wide = first(&mut desk, 120, 36);
    let place = |word: &str| wide.find(word).unwrap_or_else(|| panic!("{word}: {wide}"));
    assert!(place(since) < place(about), "{wide}");
    desk.ui.columns = choose(&["cause"]);
    for (width, height) in [(80, 24), (120, 36)] {
        let line = first(&mut desk, width, height);
        assert!(line.contains(about) && !line.contains(&format!(" {since} ")), "{line}");
    }
}

#[test]
fn the_events_of_the_cluster_are_a_view() {
    let mut state = scene::trouble();
    scene::scalings(&mut state);
    let mut desk = Desk::new(state);
    assert_eq!(desk.press("5 9"), [], "nothing is asked of the server: they are watched");
    let text = desk.dump(140, 36);
    let line = |text: &str, words: &str| {
        text.lines().find(|l| l.contains(words)).unwrap_or_else(|| panic!("{words}: {text}")).to_owned()
    };
    assert!(line(&text, " 9 Events ").contains("1 warning of 2"), "{text}");
    for head in ["OBJECT", "REASON", "COUNT", "LAST", "FIRST", "MESSAGE"] {
        assert!(text.contains(head), "{head}: {text}");
    }
    // five events with one reason are one row, with the newest message
    let scaled = line(&text, "SuccessfulRescale");
    assert!(scaled.contains("hpa/checkout") && scaled.contains(" 5 "), "{text}");
    assert!(scaled.contains("New size: 30") && !text.contains("New size: 26"), "{text}");
    let first = desk.ui.list(ListId::Events).ids.clone();
    assert_eq!(first.len(), 2);
    let at = |text: &str, words: &str| text.lines().position(|l| l.contains(words));
    assert!(at(&text, "NodeNotReady") < at(&text, "SuccessfulRescale"), "warnings come first: {text}");
    // Enter reads what the event is about, and Esc leads back to where one came from
    desk.press("/");
    desk.type_text("rescale");
    desk.press("enter");
    desk.dump(140, 36);
    assert_eq!(desk.ui.list(ListId::Events).ids.len(), 1);
    desk.press("enter");
    assert!(desk.dump(140, 36).contains("Describe shop/hpa/checkout"), "{}", desk.dump(140, 36));
    desk.press("esc esc esc");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Workloads)));
    // `:` leads there too, and a namespace leaves the others out
    desk.press(":");
    desk.type_text("ev shop");
    desk.press("enter");
    desk.dump(140, 36);
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Events)));
    assert_eq!(desk.ui.namespace.as_deref(), Some("shop"));
}

#[test]
fn the_list_of_namespaces_says_where_the_trouble_is_and_has_all_of_them() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("n");
    let text = desk.dump(120, 36);
    let row = |name: &str| {
        text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(row("all namespaces").contains("shown now"), "{text}");
    assert!(row("NAMESPACE").contains("PODS") && row("NAMESPACE").contains("CAUSES"), "{text}");
    assert!(!row(" shop ").contains(" 0 "), "there are causes in it: {text}");
    desk.press("/");
    desk.type_text("shop");
    desk.press("enter");
    desk.dump(120, 36);
    desk.press("enter");
    assert_eq!(desk.ui.namespace.as_deref(), Some("shop"));
    desk.press("n");
    desk.dump(120, 36);
    desk.press("g enter");
    assert_eq!(desk.ui.namespace, None);
}

#[test]
fn leaving_while_an_action_runs_names_it_and_the_key() {
    let mut desk = Desk::new(scene::trouble());
    let intent =
        Intent { cluster: ClusterId(0), context: "prod-eu".into(), act: Act::Cordon, targets: Vec::new() };
    let running = ActionView::new("a".into(), Arc::new(plan(&intent, Confirm::Yes, "y")), scene::NOW);
    desk.world.actions = [Arc::new(running)].into();
    for (key, shown) in [("q", "q"), ("ctrl-c", "^c")] {
        desk.ui.quit_asked = None;
        assert_eq!(desk.press(key), [], "{key}");
        let text = desk.dump(120, 36);
        let words = format!("is running: {shown} again stops it before its next step, and quits");
        assert!(text.contains("cordon ") && text.contains(&words), "{text}");
        assert_eq!(desk.press(key), [Effect::Quit], "{key}");
    }
}

#[test]
fn everything_that_changed_is_a_list() {
    let mut desk = Desk::new(scene::trouble());
    let text = desk.dump(120, 36);
    assert!(text.contains("changed 30m 7 all :"), "{text}");
    desk.press("7");
    let text = desk.dump(120, 36);
    assert!(text.contains("Timeline") && text.contains("rollout"), "{text}");
    desk.press("/");
    // a finding names its rollout too
    desk.type_text("change rollout");
    desk.press("enter");
    desk.dump(120, 36);
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("Describe shop/deploy/"), "{text}");
    // back to where one came from
    desk.press("esc");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Timeline)));
}

fn planned(effects: Vec<Effect>) -> Intent {
    match effects.into_iter().next() {
        Some(Effect::Plan(_, intent, _)) => intent,
        other => panic!("no rehearsal but {other:?}"),
    }
}

#[test]
fn a_described_object_is_acted_on_where_it_is_described() {
    let mut desk = Desk::new(scene::trouble());
    desk.press(":");
    desk.type_text("shop/cart");
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("R restart") && text.contains("S scale") && !text.contains("D drain"), "{text}");
    let intent = planned(desk.press("R"));
    assert_eq!((intent.act, intent.targets.first().unwrap().name.as_str()), (Act::Restart, "cart"));
    desk.press("esc S");
    desk.type_text("+1");
    let intent = planned(desk.press("enter"));
    assert_eq!(intent.targets.first().unwrap().uid, scene::uid(2001));
    desk.press("esc");
    assert_eq!(desk.press("D"), Vec::new(), "a Deployment is not drained");
    let text = desk.dump(120, 36);
    assert!(
        text.contains("'drain' needs a node, not shop/deploy/cart: go to Nodes (1) or NOW (Esc Esc S-Tab)"),
        "{text}"
    );

    desk.press("1");
    desk.dump(120, 36);
    desk.press("d");
    let text = desk.dump(120, 36);
    assert!(text.contains("D drain") && text.contains("C cordon") && !text.contains("S scale"), "{text}");
    assert_eq!(planned(desk.press("C")).act, Act::Cordon);
    desk.press("esc");
    assert!(matches!(planned(desk.press("D")).act, Act::Drain(_)));
}

#[test]
fn a_line_of_now_offers_what_fits_its_object() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("back-tab");
    let mut seen = Vec::new();
    for _ in 0..desk.world.clusters[0].derived.causes.len() {
        let text = desk.dump(120, 36);
        let keys = text.lines().last().unwrap().to_owned();
        seen.push((keys.contains("S scale"), keys.contains("D drain")));
        desk.press("j");
    }
    assert!(
        seen.contains(&(true, false)) && seen.contains(&(false, true)) && seen.contains(&(false, false)),
        "{seen:?}"
    );
    desk.press("g");
    desk.dump(120, 36);
    // the reason of the line acts as the line does
    desk.press("enter");
    desk.dump(120, 36);
    desk.press("S");
    assert!(desk.dump(120, 36).contains("to:") || desk.dump(120, 36).contains("scale is for: Deployment"));
}

#[test]
fn the_bar_offers_the_taint_for_dead_machines_alone_and_says_what_s_would_change() {
    let bar = |desk: &mut Desk| desk.dump(200, 50).lines().last().unwrap().to_owned();
    let mut desk = Desk::new(scene::trouble());
    desk.press("1");
    let rows = desk.world.clusters[0].derived.nodes.clone();
    let mut offered = Vec::new();
    for _ in 0..rows.len() {
        let keys = bar(&mut desk);
        let chosen = desk.ui.list(ListId::Nodes).chosen().cloned().unwrap();
        if keys.contains("O out of service") {
            offered.push(chosen);
        }
        desk.press("j");
    }
    assert_eq!(offered, [scene::uid(1003)], "the one whose kubelet is silent");
    let mut desk = Desk::new(scene::trouble());
    desk.press("back-tab");
    for cause in desk.world.clusters[0].derived.causes.clone().iter() {
        let keys = bar(&mut desk);
        let about = cause.objects.first().map(|o| o.kind.clone());
        if about == Some(Kind::HorizontalPodAutoscaler) {
            assert!(keys.contains("S bounds") && !keys.contains("S scale"), "{keys}");
        }
        assert_eq!(
            keys.contains("O out of service"),
            matches!(&cause.finding, Finding::NodeNotReady(NodeLoss::Node { state: NodeState::Unknown, .. })),
            "{cause}: {keys}"
        );
        desk.press("j");
    }
}

#[test]
fn an_error_group_asks_for_its_lines_and_for_more_when_it_grows() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("3");
    desk.dump(120, 36);
    let effects = desk.press("enter");
    let Some(Effect::Fetch(ticket, Request::ErrorLines { fingerprint, .. })) = effects.into_iter().next()
    else {
        panic!("no question")
    };
    assert_eq!(fingerprint, "00000002");
    assert!(desk.dump(120, 36).contains("Example line"), "until there is an answer");
    let line =
        |text: &str| LogLine { pod: "checkout-7c9f-1".into(), text: text.into(), ..LogLine::default() };
    let lines = vec![line("the older one"), line("the newer one\n\tat some.place")];
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Lines(lines)));
    let text = desk.dump(120, 36);
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}:\n{text}"));
    assert!(at("the newest 2") < at("the newer one") && at("at some.place") < at("the older one"));
    desk.ui.clock_ms += 10_000;
    assert_eq!(update(&mut desk.ui, &desk.world, Msg::Tick), Vec::new(), "it has not grown");
    let mut state = scene::trouble();
    scene::more_errors(&mut state);
    desk.world = scene::world(&mut state);
    let again = update(&mut desk.ui, &desk.world, Msg::WorldChanged);
    assert!(
        matches!(again.as_slice(), [Effect::Fetch(t, Request::ErrorLines { .. })] if *t == ticket),
        "{again:?}"
    );
    assert!(desk.dump(120, 36).contains("the newer one"), "what is there stays meanwhile");
}

#[test]
fn the_bounds_of_an_autoscaler_are_changed_from_now_from_its_text_and_from_other_panes() {
    let asks = |desk: &Desk| matches!(desk.ui.prompt, Some(Prompt::Bounds { .. }));
    for way in ["", "enter", "1"] {
        let mut desk = Desk::new(scene::trouble());
        let row = desk.dump(200, 50);
        let row = row.lines().find(|line| line.contains("HPA shop/") && line.contains("at max")).unwrap();
        assert!(row.contains("S bounds"), "{row}");
        desk.press("back-tab");
        let causes = desk.world.clusters[0].derived.causes.clone();
        let about = |cause: &Arc<Cause>| cause.objects.first().map(|object| object.kind.clone());
        let at = causes.iter().position(|c| about(c) == Some(Kind::HorizontalPodAutoscaler)).unwrap();
        for _ in 0..at {
            desk.press("j");
        }
        desk.dump(200, 50);
        desk.press(way);
        let text = desk.dump(200, 50);
        assert!(way != "enter" || text.contains("S: bounds of"), "{text}");
        desk.press("S");
        assert!(asks(&desk), "{way}: {}", desk.dump(200, 50));
        // by its name
        desk.press("esc");
        desk.dump(200, 50);
        desk.press(":");
        desk.type_text("bounds");
        desk.press("enter");
        assert!(way == "1" || asks(&desk), "{way}: {}", desk.dump(200, 50));
    }
}

#[test]
fn many_causes_of_a_kind_are_one_line_until_it_is_opened() {
    let mut state = scene::trouble();
    scene::many_at_max(&mut state, 7);
    for (w, h) in [(80, 24), (120, 36)] {
        let mut desk = Desk::new(scene::trouble());
        desk.world = scene::world(&mut state);
        desk.press("back-tab");
        let text = desk.dump(w, h);
        assert!(text.contains("HPAs at max: shop/"), "{text}");
        assert!(w < 100 || text.contains("Enter all"), "{text}");
        let mut left = 20;
        while !desk.ui.list(ListId::Now).selected.as_ref().unwrap().to_string().starts_with("all ") {
            desk.press("j");
            left -= 1;
            assert!(left > 0, "{:?}", desk.ui.list(ListId::Now).selected);
        }
        desk.press("enter");
        let text = desk.dump(w, h);
        assert!(text.matches("HPA shop/").count() >= 7, "{text}");
        assert!(!text.contains("is gone"), "{text}");
        desk.press("enter");
        assert!(desk.dump(w, h).contains("Evidence"));
        desk.press("esc esc");
        let text = desk.dump(w, h);
        assert!(text.contains("HPAs at max: shop/") && !text.contains("is gone"), "{text}");
    }
}

/// What the screen asks of the hub, done by the state as the hub does it.
fn hear(desk: &mut Desk, state: &mut ClusterState, effects: Vec<Effect>) {
    let mut heard = false;
    for effect in effects {
        if let Effect::Silence(_, change) = effect {
            state.apply(Fact::Silence(change), scene::NOW);
            heard = true;
        }
    }
    assert!(heard, "nothing was asked");
    desk.world = scene::world(state);
}

#[test]
fn a_finding_is_silenced_for_a_time_and_told_again() {
    let mut state = scene::trouble();
    let mut desk = Desk::new(scene::trouble());
    desk.world = scene::world(&mut state);
    desk.press("back-tab");
    desk.dump(120, 36);
    let first = desk.world.clusters[0].derived.causes[0].clone();
    let all = desk.world.clusters[0].derived.causes.len();
    // a line that it folds has to be silent as well
    assert_eq!(desk.press("s"), Vec::new());
    assert!(desk.dump(120, 36).contains("30m, 8h, 2d"), "{}", desk.dump(120, 36));
    desk.type_text("soon");
    assert_eq!(desk.press("enter"), Vec::new());
    assert!(desk.dump(120, 36).contains("`soon` is not a duration"), "{}", desk.dump(120, 36));
    // the prompt has kept it
    desk.press("ctrl-u");
    desk.type_text("8h");
    let effects = desk.press("enter");
    hear(&mut desk, &mut state, effects);
    let text = desk.dump(120, 36);
    let derived = desk.world.clusters[0].derived.clone();
    assert!(text.contains(&format!("{} silenced", derived.silenced.len())), "{text}");
    assert!(derived.causes.iter().all(|c| !c.is_same(&first)) && derived.causes.len() < all);
    assert!(derived.silenced.iter().any(|s| s.cause.code() == first.code() && s.by.in_session));
    assert_eq!(derived.silenced[0].by.until, Some(scene::NOW.plus_secs(8 * 3600)));
    desk.press("i");
    let text = desk.dump(120, 36);
    assert!(text.contains("1. ") && text.contains("or until the console ends"), "{text}");
    desk.press("s");
    desk.type_text("all");
    let effects = desk.press("enter");
    hear(&mut desk, &mut state, effects);
    assert!(desk.dump(120, 36).contains("no current finding is silenced"));
    assert_eq!(desk.world.clusters[0].derived.causes.len(), all);
    desk.press("s");
    assert!(desk.dump(120, 36).contains("nothing is silenced"));
}

#[test]
fn silence_is_for_findings() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("1");
    desk.dump(120, 36);
    desk.press("s");
    assert!(desk.ui.prompt.is_none(), "nodes are no findings");
    desk.press("d s");
    let text = desk.dump(120, 36);
    assert!(desk.ui.prompt.is_none() && text.contains("select one finding in NOW"), "{text}");
}

#[test]
fn conditions_and_cronjobs_are_described_by_what_they_mean() {
    let mut state = scene::trouble();
    let condition = |kind: &str, status| Condition {
        kind: kind.into(),
        status,
        reason: "Made".into(),
        message: "".into(),
        since: Some(scene::ago(600)),
    };
    let node = Node {
        uid: scene::uid(77),
        name: "odd".into(),
        conditions: Arc::from([
            condition("Ready", Status::True),
            condition("EtcdIsVoter", Status::True),
            condition("StorageReady", Status::False),
        ]),
        ..Node::default()
    };
    let cronjob = CronJob {
        uid: scene::uid(78),
        namespace: "shop".into(),
        name: "backup".into(),
        schedule: "*/5 * * * *".into(),
        last_scheduled: Some(scene::ago(3600)),
        ..CronJob::default()
    };
    let job = Workload {
        kind: Kind::Job,
        uid: scene::uid(79),
        namespace: "shop".into(),
        name: "backup-1".into(),
        created: scene::ago(3600),
        owner: Some(Arc::new(Owner {
            kind: Kind::CronJob,
            name: "backup".into(),
            uid: scene::uid(78),
            group: "batch".into(),
        })),
        ..Workload::default()
    };
    scene::apply(
        &mut state,
        [
            Fact::Nodes(Batch::Upsert(vec![node])),
            Fact::CronJobs(Batch::Upsert(vec![cronjob])),
            Fact::Jobs(Batch::Upsert(vec![job])),
        ],
    );
    let world = scene::world(&mut state);
    let cluster = &world.clusters[0];
    let lines = |kind: Kind, namespace: &str, name: &str| -> Vec<String> {
        let object = ObjectRef::new(ClusterId(0), kind, &namespace.into(), &name.into(), &Uid::default());
        describe::lines(cluster, &object, scene::NOW).into_iter().map(|line| line.text).collect()
    };
    let node = lines(Kind::Node, "", "odd");
    let bad: Vec<_> = node.iter().filter(|line| line.starts_with('✖')).collect();
    assert!(matches!(bad.as_slice(), [one] if one.contains("StorageReady")), "{node:#?}");
    let cronjob = lines(Kind::CronJob, "shop", "backup").join("\n");
    for words in ["schedule       */5 * * * *", "last job", "never", "backup-1"] {
        assert!(cronjob.contains(words), "{words}: {cronjob}");
    }
}

#[test]
fn the_key_of_an_autoscaler_pauses_it_or_resumes_a_paused_one() {
    let mut state = scene::trouble();
    let cluster = state.publish(scene::NOW, false).unwrap_or_else(|| state.published().clone());
    let cart = Hpa::clone(cluster.hpas.iter().find(|hpa| hpa.name == "cart").unwrap());
    let paused =
        Hpa { paused: true, version: Version(2), uid: scene::uid(5009), name: "held".into(), ..cart };
    state.apply(Fact::Hpas(Batch::Upsert(vec![paused])), scene::NOW);
    let mut desk = Desk::new(state);
    desk.press("4");
    let text = desk.dump(200, 50);
    assert!(text.contains("paused: scaleUp and scaleDown are Disabled"), "{text}");
    for (filter, act, key) in [("checkout", Act::PauseAutoscaler, "P"), ("held", Act::ResumeAutoscaler, "P")]
    {
        desk.press("/");
        desk.type_text(filter);
        desk.press("enter");
        let intent = rehearse(&mut desk, key, |i| plan(i, Confirm::Yes, "y"));
        assert_eq!((&intent.act, intent.targets.len()), (&act, 1), "{filter}");
        assert_eq!(intent.targets[0].kind, Kind::HorizontalPodAutoscaler);
        desk.dump(120, 36);
        desk.ui.clock_ms += 301;
        let effects = desk.press("y");
        assert!(runs(&effects), "{effects:?}");
        desk.press("esc");
    }
    desk.press("1");
    desk.press("P");
    let text = desk.dump(120, 36);
    assert!(text.contains("'pause' needs an autoscaler: go to Autoscalers (4)"), "{text}");
}

#[test]
fn the_palette_pauses_an_autoscaler_by_its_name() {
    let mut desk = Desk::new(scene::trouble());
    desk.press(":");
    desk.type_text("pause-autoscaler search");
    let effects = desk.press("enter");
    let Some(Effect::Plan(_, intent, _)) = effects.into_iter().next() else { panic!("no rehearsal") };
    assert_eq!(intent.act, Act::PauseAutoscaler);
    assert_eq!(intent.targets.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["search"]);
}

fn select_checkout(desk: &mut Desk) {
    desk.press("2");
    let list = desk.ui.list_mut(ListId::Traffic);
    (list.selected, list.moved) = (Some(scene::uid(4000)), true);
    desk.dump(120, 36);
}

#[test]
fn a_prediction_is_opened_changed_and_closed_and_nothing_is_sent() {
    let mut state = scene::trouble();
    scene::polls(&mut state, 3, |_, _| {});
    let mut desk = Desk::new(state);
    desk.dump(120, 36);
    select_checkout(&mut desk);
    let mut effects = desk.press("i");
    let text = desk.dump(120, 36);
    let worst = &scene::pods()[0].name;
    for words in ["What if: shop/checkout", "nothing is changed", "without the backend", worst, "842"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    effects.extend(desk.press("right"));
    assert!(!desk.dump(120, 36).contains(&format!("‹ {worst} ›")), "another backend is chosen");
    effects.extend(desk.press("left down"));
    assert!(desk.dump(120, 36).contains("› without the node"));
    effects.extend(desk.press("down down"));
    effects.extend(desk.press("+ +"));
    assert!(desk.dump(80, 24).contains("with more backends   ‹ 3 ›"));
    // capitals and other keys do nothing while the box is open
    effects.extend(desk.press("X D K W F 5 : ctrl-d"));
    assert!(desk.ui.dialog.is_none() && desk.ui.prompt.is_none() && desk.ui.screens.len() == 1);
    assert_eq!(format!("{effects:?}"), "[]");
    let copied = desk.press("c");
    assert!(matches!(copied.as_slice(), [Effect::Copy(text)] if text.contains("with more backends")));
    desk.press("esc");
    assert!(desk.ui.sheet.is_none() && !desk.dump(120, 36).contains("What if"));
}

#[test]
fn backends_are_grouped_by_node_zone_and_version_and_a_group_is_opened() {
    let mut state = scene::trouble();
    scene::polls(&mut state, 3, |_, _| {});
    let mut desk = Desk::new(state);
    desk.dump(120, 36);
    select_checkout(&mut desk);
    desk.press("enter");
    desk.dump(120, 36);
    for (by, row) in
        [("node", scene::node_name(0)), ("zone", "eu-1a".to_owned()), ("version", "v1.8.2".to_owned())]
    {
        desk.press("t");
        let text = desk.dump(120, 36);
        assert!(
            text.contains(&format!("Backends of shop/checkout by {by}")) && text.contains(&row),
            "{text}"
        );
    }
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("Backends of shop/checkout ") && text.contains("/v1.8.2"), "{text}");
    desk.press("esc t t");
    desk.dump(120, 36);
    desk.press("i");
    assert!(desk.dump(120, 36).contains("› without the zone"));
    desk.press("esc t t");
    assert!(
        !desk.dump(120, 36).contains("checkout by "),
        "after the last group, each backend is listed again"
    );
}

#[test]
fn the_promql_behind_the_numbers_is_shown_and_copied() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    select_checkout(&mut desk);
    desk.press("x");
    let text = desk.dump(120, 36);
    for words in ["PromQL: shop/checkout", "› RPS of shop/checkout", "http_requests_total", "ERR%"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let copied = |desk: &mut Desk| match desk.press("c").as_slice() {
        [Effect::Copy(query)] => query.clone(),
        other => panic!("{other:?}"),
    };
    let first = copied(&mut desk);
    assert!(first.contains("rate(http_requests_total"), "{first}");
    desk.press("j");
    assert!(desk.dump(120, 36).contains("› ERR%"));
    assert_ne!(copied(&mut desk), first);
    desk.press("esc enter");
    desk.dump(120, 36);
    desk.press("x");
    let text = desk.dump(120, 36);
    assert!(text.contains(&format!("of {}", scene::pods()[0].name)), "{text}");
}
