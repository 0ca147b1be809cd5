//! The timeline, the movable clock, and incidents on the screen.

use pilothouse::ui::request::{Effect, Msg, Reply, Request};
use pilothouse::ui::update::update;
use pilothouse_core::domain::id::Version;
use pilothouse_core::domain::incident::RemarkKind;
use pilothouse_core::domain::node::{Condition, Node, Status};
use pilothouse_core::domain::preset::Sample;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Batch, Fact};
use pilothouse_core::facts::world::World;
use pilothouse_core::state::ClusterState;
use std::sync::Arc;

use super::{Desk, scene};
use scene::ago;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 36), (200, 50)];

fn node(state: &ClusterState, i: u32) -> Node {
    Node::clone(state.published().node(&scene::node_name(i)).unwrap())
}

/// The kubelet of this node stops to report.
fn lost(state: &mut ClusterState, i: u32, at: Stamp) {
    let old = node(state, i);
    let ready = Condition {
        kind: "Ready".into(),
        status: Status::Unknown,
        reason: "NodeStatusUnknown".into(),
        message: "".into(),
        since: Some(at),
    };
    let new = Node { version: Version(old.version.0 + 1), conditions: [ready].into(), ..old };
    state.apply(Fact::Nodes(Batch::Upsert(vec![new])), at);
    state.publish(at, true);
}

/// Twelve minutes in which a second node is lost, five minutes ago.
fn night() -> ClusterState {
    let mut state = scene::trouble();
    state.publish(ago(720), true);
    state.publish(ago(600), true);
    lost(&mut state, 4, ago(300));
    state.publish(ago(290), true);
    state
}

/// Gives the screen what the hub publishes after what was said.
fn hear(desk: &mut Desk, state: &mut ClusterState, effects: Vec<Effect>, at: Stamp) -> Vec<RemarkKind> {
    let mut heard = Vec::new();
    for effect in effects {
        if let Effect::Remark(_, remark) = effect {
            heard.push(remark.kind.clone());
            state.apply(Fact::Remark(remark), at);
        }
    }
    state.publish(at, true);
    desk.world =
        World { seq: 2, at, clusters: Arc::from([state.published().clone()]), actions: Arc::from([]) };
    desk.ui.now = at;
    heard
}

#[test]
fn the_timeline_says_what_happened_and_since_when_it_knows() {
    for (w, h) in SIZES {
        let mut desk = Desk::new(night());
        desk.press("7");
        let text = desk.dump(w, h);
        for wanted in ["7 Timeline", "INCIDENT 1 open", "MTTD", "Ready True→Unknown"] {
            assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
        }
        if w >= 120 {
            // a narrow list has no footer
            assert!(text.contains("recorded since 03:00:00"), "{text}");
            let line = text.lines().find(|line| line.contains("Ready True→Unknown")).unwrap();
            assert!(line.contains("03:07:00") && line.contains("change"), "{line}");
            assert!(text.contains("began: ") && text.contains("NodeNotReady"), "{text}");
        }
    }
}

#[test]
fn lines_are_chosen_by_kind_and_words_and_turned() {
    let mut desk = Desk::new(night());
    desk.press("7");
    let all = desk.dump(200, 50);
    assert!(all.contains("without usual events"), "{all}");
    desk.press("t t");
    let text = desk.dump(200, 50);
    assert!(text.contains("findings") && !text.contains("Ready True→Unknown"), "{text}");
    desk.press("t");
    let text = desk.dump(200, 50);
    assert!(text.contains("Ready True→Unknown") && !text.contains("began: "), "{text}");
    let mut desk = Desk::new(night());
    desk.press("7 /");
    desk.type_text("Unknown");
    desk.press("enter");
    let text = desk.dump(200, 50);
    assert!(text.contains("Ready True→Unknown") && text.contains("match"), "{text}");
    let mut desk = Desk::new(night());
    desk.press("7");
    let times = |text: &str| -> Vec<String> {
        let is_time = |word: &&str| word.len() == 8 && word.matches(':').count() == 2;
        let rows = text.lines().filter(|l| l.starts_with('│') && !l.contains("began 0"));
        // a row begins with its time; the text about the selected row has times elsewhere
        let begins = |line: &&str| line.chars().skip(2).take(3).any(|c| c.is_ascii_digit());
        rows.filter(begins)
            .filter_map(|line| line.split_whitespace().find(is_time))
            .map(str::to_owned)
            .collect()
    };
    let newest = times(&desk.dump(200, 50));
    assert!(newest.len() > 3 && newest.is_sorted_by(|a, b| a >= b), "{newest:?}");
    desk.press("o");
    let oldest = times(&desk.dump(200, 50));
    assert!(oldest.is_sorted(), "{oldest:?}");
}

#[test]
fn the_clock_moves_to_a_line_and_the_panes_follow() {
    for (w, h) in SIZES {
        let mut desk = Desk::new(night());
        let now = desk.dump(w, h);
        assert!(now.contains("nodes 10/12"), "{now}");
        desk.press("7 /");
        desk.type_text("Ready True");
        desk.press("enter");
        desk.dump(w, h);
        desk.press("space");
        let text = desk.dump(w, h);
        assert!(text.contains("AT 03:07:00 (5m ago)"), "{text}");
        // a moment before, the node was there
        desk.press("<");
        desk.press("1");
        let then = desk.dump(w, h);
        assert!(then.contains("AT 0") && then.contains("nodes 11/12"), "{then}");
        // no line of NOW offers a key that would be refused
        let offers = |world: &World| world.clusters[0].derived.causes.iter().any(|c| c.action.is_some());
        assert!(offers(&desk.world) && !offers(&desk.ui.past.as_ref().unwrap().world));
        if w >= 120 {
            assert!(then.contains("not known"), "{then}");
        }
        // nothing is changed in the past
        for keys in ["C", "D", "2 F", "5 R"] {
            assert_eq!(desk.press(keys), [], "{keys}");
            let text = desk.dump(w, h);
            assert!(desk.ui.dialog.is_none() && text.contains("the clock is at"), "{keys}: {text}");
        }
        desk.press("esc");
        let text = desk.dump(w, h);
        assert!(!text.contains("AT 0") && text.contains("nodes 10/12"), "{text}");
        assert_eq!(desk.ui.now, scene::NOW);
    }
}

#[test]
fn what_was_not_recorded_is_not_shown_as_the_past() {
    let mut desk = Desk::new(night());
    desk.press("7 o");
    desk.dump(120, 36);
    // the oldest line is older than the console
    desk.press("g");
    desk.dump(120, 36);
    desk.press("space");
    let text = desk.dump(120, 36);
    assert!(text.contains("is not known at") && !text.contains(" AT 0"), "{text}");
    let mut desk = Desk::new(night());
    for keys in ["< <", "3", "5 tab", "9"] {
        desk.press(keys);
        let text = desk.dump(120, 36);
        assert!(text.contains(" AT 0"), "{keys}: {text}");
        if keys != "< <" {
            assert!(text.contains("not known at that time"), "{keys}: {text}");
        }
    }
}

#[test]
fn an_incident_is_acknowledged_diagnosed_noted_and_closed_by_keys() {
    let mut state = night();
    let mut desk = Desk::new(night());
    hear(&mut desk, &mut state, Vec::new(), ago(100));
    // the key is shown where it works
    let text = desk.dump(120, 36);
    assert!(text.contains("INCIDENT 10m") && !text.contains("a ack"), "{text}");
    desk.press("back-tab");
    let text = desk.dump(120, 36);
    assert!(text.contains("INCIDENT 10m a ack"), "{text}");
    // on a narrow screen it is shown whole or not at all
    let narrow = desk.dump(80, 24);
    let header = narrow.lines().next().unwrap();
    assert!(!header.contains('…'), "{header}");
    desk.dump(120, 36);
    let effects = desk.press("a");
    assert_eq!(hear(&mut desk, &mut state, effects, ago(90)), [RemarkKind::Acknowledge]);
    let text = desk.dump(120, 36);
    assert!(text.contains("INCIDENT 10m") && !text.contains("a ack"), "{text}");
    let effects = desk.press("x");
    let heard = hear(&mut desk, &mut state, effects, ago(80));
    assert!(matches!(heard.as_slice(), [RemarkKind::Cause { .. }]), "{heard:?}");
    desk.press("7");
    desk.dump(120, 36);
    desk.press("w");
    desk.type_text("called the provider");
    let effects = desk.press("enter");
    assert_eq!(
        hear(&mut desk, &mut state, effects, ago(70)),
        [RemarkKind::Note("called the provider".into())]
    );
    let effects = desk.press("b");
    assert_eq!(hear(&mut desk, &mut state, effects, ago(60)), [RemarkKind::Bookmark]);
    let text = desk.dump(120, 36);
    assert!(text.contains("called the provider") && text.contains("bookmark"), "{text}");
    assert!(text.contains("acknowledged 03:10:30 · diagnosed 03:10:40"), "{text}");
    assert_eq!(desk.press("ctrl-s").len(), 1);
    let effects = desk.press("i");
    assert_eq!(hear(&mut desk, &mut state, effects, ago(50)), [RemarkKind::Close]);
    let text = desk.dump(120, 36);
    assert!(text.contains("closed 03:11:10 by a person"), "{text}");
    let effects = desk.press("i");
    assert_eq!(hear(&mut desk, &mut state, effects, ago(40)), [RemarkKind::Reopen]);
}

#[test]
fn the_metrics_of_an_earlier_moment_are_asked_for_in_few_queries() {
    let mut desk = Desk::new(night());
    desk.dump(200, 50);
    let asked = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::Fetch(ticket, Request::Moment { at, queries, .. }) => Some((ticket, at, queries)),
            _ => None,
        })
    };
    let (first, at, queries) = asked(desk.press("<")).unwrap();
    assert_eq!(Some(at), desk.ui.past.as_ref().map(|past| past.at));
    assert!((3..=5).contains(&queries.len()), "{queries:#?}");
    let text = desk.dump(200, 50);
    assert_eq!(text.matches("metrics not known then").count(), 2, "{text}");
    // moving on cancels what is not answered
    let effects = desk.press("<");
    assert!(effects.contains(&Effect::Cancel(first)), "{effects:?}");
    let (ticket, _, queries) = asked(effects).unwrap();
    let sample = |labels: &[(&str, &str)], value: f64| Sample {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        value: Some(value),
    };
    let node = scene::node_name(1);
    let answer = |query: &String| {
        if query.contains("node_cpu_seconds_total") {
            vec![sample(&[("node", &node)], 2.0)]
        } else if query.contains("node_memory_MemTotal_bytes") {
            vec![sample(&[("node", &node)], 8.0 * 1_073_741_824.0)]
        } else if query.contains("histogram_quantile") {
            Vec::new()
        } else {
            let labels = [("namespace", "shop"), ("service", "checkout"), ("pod", "a"), ("code", "200")];
            vec![sample(&labels, 777.0)]
        }
    };
    let reply = Reply::Moment(queries.iter().map(answer).collect());
    // an answer to the question before is not that of this moment
    update(&mut desk.ui, &desk.world, Msg::Reply(first, Reply::Moment(Vec::new())));
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, reply));
    let text = desk.dump(200, 50);
    assert!(!text.contains("metrics not known then"), "{text}");
    let line = text.lines().find(|line| line.contains(&format!(" {node} "))).unwrap();
    assert!(line.contains(" 25/"), "2 of 8 CPUs: {line}");
    assert!(text.contains(" 777 "), "{text}");
    assert!(!text.contains("round robin"), "the policies of then are not kept: {text}");
    // a server that does not answer leaves them unknown
    let (ticket, ..) = asked(desk.press(">")).unwrap();
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Failed("503: overloaded".into())));
    let text = desk.dump(200, 50);
    assert!(
        text.contains("are not known: 503: overloaded") && text.contains("metrics not known then"),
        "{text}"
    );
}

#[test]
fn a_narrow_timeline_leaves_room_for_what_happened() {
    for (w, least) in [(80, 36), (120, 40), (200, 40)] {
        let mut desk = Desk::new(night());
        desk.press("7");
        let text = desk.dump(w, 24);
        let heads = text.lines().find(|line| line.contains("TIME") && line.contains("WHAT")).unwrap();
        let (before, after) = heads.split_once("WHAT").unwrap();
        let whole = usize::from(w) - before.chars().count();
        let room = after.split_once("BY").map_or(whole, |(room, _)| room.chars().count() + "WHAT".len());
        assert!(room >= least, "{w}: {room} cells for what happened:\n{text}");
        assert!(w < 200 || ["AGO", "KIND", "OBJECT"].iter().all(|head| heads.contains(head)), "{text}");
    }
}

#[test]
fn the_beginning_of_an_error_opens_its_group() {
    let mut desk = Desk::new(night());
    desk.press("7 /");
    desk.type_text("new error");
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("new error"), "{text}");
    desk.press("enter");
    let text = desk.dump(120, 36);
    assert!(text.contains("Error group") && !text.contains("nothing to open"), "{text}");
}

#[test]
fn a_recording_is_shown_until_it_ends() {
    let mut desk = Desk::new(night());
    desk.ui.is_recorded = true;
    for (w, h) in SIZES {
        let head = desk.dump(w, h).lines().next().unwrap().to_owned();
        assert!(head.contains("│ rec │"), "{head}");
    }
    update(&mut desk.ui, &desk.world, Msg::Unrecorded("the recording x ended: the disk is full".into()));
    let text = desk.dump(120, 36);
    assert!(!text.contains("│ rec │") && text.contains("the disk is full"), "{text}");
}
