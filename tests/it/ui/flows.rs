//! What keys do, from the first press to the effect.

use std::sync::Arc;

use pilothouse::ui::app::{Screen, Stage};
use pilothouse::ui::clipboard::Clipboard;
use pilothouse::ui::list::ListId;
use pilothouse::ui::present::describe;
use pilothouse::ui::request::{
    Effect, LogLine, LogNote, Msg, Order, Rehearsal, Reply, Request, TableLine, TableText, Ticket,
};
use pilothouse::ui::update::update;
use pilothouse_core::domain::cronjob::CronJob;
use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick};
use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Owner, Uid};
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::node::{Condition, Node, Status};
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::model::event::{Batch, Fact};
use pilothouse_core::model::plan::{
    Act, BudgetWait, Choice, Confirm, DrainOptions, Evidence, Intent, PdbEffect, Plan, Refusal,
    ServiceEffect, Step, StepKind,
};
use pilothouse_core::model::state::ClusterState;

use pilothouse_core::policy::follow::pods_of;

use super::{Desk, scene};

fn plan(intent: &Intent, confirm: Confirm, answer: &str) -> Plan {
    let mut plan = Plan::new(intent.clone(), scene::NOW);
    plan.steps = intent.targets.iter().map(|on| Step::new(StepKind::Cordon, on.clone())).collect();
    plan.warnings = vec!["one zone has no other node".into()];
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
    let Some(Effect::Plan(ticket, intent)) = effects.into_iter().next() else {
        panic!("no rehearsal by {key}")
    };
    reply(desk, ticket, make(&intent));
    intent
}

fn reply(desk: &mut Desk, ticket: Ticket, plan: Plan) {
    let rehearsal = Rehearsal { plan: Arc::new(plan), evidence: Evidence::default() };
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
    for word in ["Rehearsal: cordon", "one zone has no other node", "kubectl cordon x", "uncordon"] {
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
    let Some(Effect::Plan(ticket, intent)) = effects.into_iter().next() else { panic!("not renewed") };
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
fn refusals_leave_nothing_to_confirm() {
    let mut desk = Desk::new(scene::trouble());
    rehearse(&mut desk, "C", |i| Plan {
        refusals: vec![Refusal::new("rbac", "needs patch nodes")],
        ..plan(i, Confirm::Yes, "y")
    });
    let text = desk.dump(120, 36);
    assert!(text.contains("needs patch nodes") && text.contains("blocked"), "{text}");
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
    let [Effect::Plan(_, intent)] = effects.as_slice() else { panic!("{effects:?}") };
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
    let green = FailoverPlan { name: "zone-b".into(), kind, watched: None, soak_secs: 0, suggested: false };
    update(&mut desk.ui, &desk.world, Msg::Reply(*ticket, Reply::Plans(vec![green])));
    let text = desk.dump(120, 36);
    assert!(text.contains("failover zone-b") && text.contains("failover-revert zone-b"), "{text}");
    desk.press("backspace");
    desk.type_text(" zone-b");
    let effects = desk.press("enter");
    assert!(
        matches!(effects.first(), Some(Effect::Plan(_, i)) if matches!(i.act, Act::Failover { revert: false, .. })),
        "{effects:?}"
    );
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
        });
        plan
    });
    let text = desk.dump(120, 60);
    for words in [
        "PDB shop/pay allows 0: holds back pay-1",
        "needs 3 healthy of 3: no drain can ever pass",
        "shop/cart: 3 ready backends → 2, 50 % each, 12.0 → 18.0 rps",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn marks_make_one_action_of_several() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press("space space");
    let Some(Effect::Plan(_, intent)) = desk.press("C").into_iter().next() else { panic!() };
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
    let Some(Effect::Plan(_, intent)) = desk.press("enter").into_iter().next() else { panic!() };
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
        ("1", "R", "not here; restart works in: Workloads, NOW, text"),
        ("2", "D", "not here; drain works in: Nodes, NOW, text"),
        ("3", "K", "not here; evict works in: Pods"),
        ("2", "S", "bounds works in: Autoscalers"),
        ("5", "X", "rotation works in: backends of a service"),
        ("5 tab", "R", "restart works in: Workloads"),
        ("8", "D", "not here; drain works in: Nodes"),
        ("n", "C", "not here; cordon works in: Nodes"),
        ("2 d", "D", "shop/svc/"),
        ("2 d", "D", "is a Service; drain is for: Node"),
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
fn now_carries_out_what_its_line_says() {
    let mut desk = Desk::new(scene::trouble());
    desk.press("back-tab");
    desk.dump(120, 36);
    let Some(Effect::Plan(_, intent)) = desk.press("R").into_iter().next() else { panic!() };
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
    let Some(Effect::Plan(_, intent)) = desk.press("C").into_iter().next() else { panic!() };
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
    let Some(Effect::Fetch(ticket, Request::Yaml { name, .. })) = effects.into_iter().next() else {
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
    let Some(Effect::Plan(ticket, _)) = desk.press("C").into_iter().next() else { panic!() };
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
    use pilothouse_core::model::plan::DrainOptions;
    use pilothouse_core::model::world::{ActionView, Outcome};
    let mut desk = Desk::new(scene::trouble());
    let context = desk.world.clusters[0].info.context.clone();
    let node = desk.world.clusters[0].nodes.iter().next().unwrap().clone();
    let targets = vec![ObjectRef::new(Kind::Node, &"".into(), &node.name, &node.uid)];
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
    assert!(text.contains("· 8, then R goes on with it"), "{text}");
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
        assert!(desk.dump(120, 36).contains("there is nothing to go on with"));
    }
}

#[test]
fn the_list_of_actions_opens_on_what_runs() {
    use pilothouse_core::model::world::{ActionView, Outcome};
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

fn planned(effects: Vec<Effect>) -> Intent {
    match effects.into_iter().next() {
        Some(Effect::Plan(_, intent)) => intent,
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
    assert!(text.contains("shop/deploy/cart is a Deployment; drain is for: Node"), "{text}");

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
            cause.title.contains("Unknown"),
            "{}: {keys}",
            cause.title
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
    assert!(desk.dump(120, 36).contains("A whole line"), "until there is an answer");
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
    desk.press("s");
    desk.type_text("8h");
    let effects = desk.press("enter");
    hear(&mut desk, &mut state, effects);
    let text = desk.dump(120, 36);
    let derived = desk.world.clusters[0].derived.clone();
    assert!(text.contains(&format!("{} silenced", derived.silenced.len())), "{text}");
    assert!(derived.causes.iter().all(|c| c.title != first.title) && derived.causes.len() < all);
    assert!(derived.silenced.iter().any(|s| s.cause.rule == first.rule && s.by.in_session));
    assert_eq!(derived.silenced[0].by.until, Some(scene::NOW.plus_secs(8 * 3600)));
    desk.press("i");
    let text = desk.dump(120, 36);
    assert!(text.contains("1. ") && text.contains("or until the console ends"), "{text}");
    desk.press("s");
    desk.type_text("all");
    let effects = desk.press("enter");
    hear(&mut desk, &mut state, effects);
    assert!(desk.dump(120, 36).contains("nothing that is found now is silenced"));
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
    assert!(desk.ui.prompt.is_none() && text.contains("choose one finding in NOW"), "{text}");
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
        let object = ObjectRef::new(kind, &namespace.into(), &name.into(), &Uid::default());
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
