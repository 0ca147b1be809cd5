//! A key that acts is for the row that was drawn as selected, whatever the cluster has become since then.

use std::sync::Arc;

use pilothouse::ui::app::{MOVED_FOR_MS, Prompt, Screen, Target};
use pilothouse::ui::list::ListId;
use pilothouse::ui::pane::causes;
use pilothouse::ui::request::{Effect, Msg, Request};
use pilothouse::ui::run;
use pilothouse::ui::update::update;
use pilothouse_core::domain::id::{ClusterId, Uid, Version};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::event::{Batch, Fact, Gone};
use pilothouse_core::facts::world::{Cause, Cluster, World};

use super::{Desk, scene};

const GONE: &str = "nothing was done: the selected row is gone";
const MARKED_GONE: &str = "nothing was done: the marked rows are gone";
const HIDDEN: &str = "nothing was done: the filter or the namespace hides the selected row";
const UNDRAWN: &str = "nothing was done: the selected row was not on the screen yet";
const MOVED: &str = "nothing was done: the selection has just moved to another row";

/// The next World arrives, with these facts over those of the beginning. It is not drawn.
fn hears(desk: &mut Desk, facts: impl IntoIterator<Item = Fact>) {
    let mut state = scene::trouble();
    scene::apply(&mut state, facts);
    desk.world = scene::world(&mut state);
    update(&mut desk.ui, &desk.world, Msg::WorldChanged);
}

fn gone(uid: &Uid) -> Vec<Gone> {
    vec![Gone { uid: uid.clone(), version: Version(7) }]
}

/// The next World arrives, with other findings. It is not drawn.
fn finds(desk: &mut Desk, change: impl FnOnce(&mut Vec<Arc<Cause>>)) {
    let mut cluster = Cluster::clone(&desk.world.clusters[0]);
    let mut causes = cluster.derived.causes.to_vec();
    change(&mut causes);
    cluster.derived.causes = causes.into();
    desk.world = World { clusters: [Arc::new(cluster)].into(), ..desk.world.clone() };
    update(&mut desk.ui, &desk.world, Msg::WorldChanged);
}

/// Draws a frame that the terminal has not shown yet, and returns its number.
fn on_its_way(desk: &mut Desk, width: u16, height: u16) -> u64 {
    run::draw(&mut desk.ui, &desk.world, &desk.theme, false, (width, height));
    desk.ui.frame += 1;
    desk.ui.frame - 1
}

/// The objects of the rehearsals that the keys open.
fn planned(effects: Vec<Effect>) -> Vec<Uid> {
    let targets = |effect| match effect {
        Effect::Plan(_, intent, _) => intent.targets.into_iter().map(|target| target.uid).collect(),
        _ => Vec::new(),
    };
    effects.into_iter().flat_map(targets).collect()
}

fn selected(desk: &Desk, id: ListId) -> Uid {
    desk.ui.list(id).chosen().unwrap().clone()
}

fn note(desk: &Desk) -> &str {
    desk.ui.note.as_ref().map_or("", |(note, _)| note.as_str())
}

/// A list, drawn, and the row that was selected with these keys.
fn drawn(keys: &str, id: ListId) -> (Desk, Uid) {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press(keys);
    desk.dump(120, 36);
    let uid = selected(&desk, id);
    (desk, uid)
}

#[test]
fn a_row_that_is_gone_is_not_replaced_by_its_neighbour_before_a_frame_shows_it() {
    for keys in ["5 tab", "5 tab j j"] {
        let (mut desk, uid) = drawn(keys, ListId::Pods);
        hears(&mut desk, [Fact::Pods(Batch::Gone(gone(&uid)))]);
        // also if the key is pressed once more
        for _ in 0..2 {
            assert_eq!(planned(desk.press("K")), [], "{keys}");
            assert_eq!(note(&desk), GONE, "{keys}");
        }
        let shown = desk.dump(120, 36);
        assert!(shown.contains(GONE), "{keys}: {shown}");
        let next = selected(&desk, ListId::Pods);
        assert_ne!(next, uid, "{keys}: {shown}");
        // what is pressed at this moment was meant for the row before
        desk.ui.clock_ms += MOVED_FOR_MS - 1;
        assert_eq!(planned(desk.press("K")), [], "{keys}: {shown}");
        assert_eq!(note(&desk), MOVED, "{keys}");
        desk.ui.clock_ms += 1;
        assert_eq!(planned(desk.press("K")), [next], "{keys}: {shown}");
    }
}

#[test]
fn a_frame_that_the_terminal_has_not_shown_yet_changes_nothing_for_a_key() {
    for keys in ["5 tab", "5 tab j j"] {
        let (mut desk, uid) = drawn(keys, ListId::Pods);
        hears(&mut desk, [Fact::Pods(Batch::Gone(gone(&uid)))]);
        let frame = on_its_way(&mut desk, 120, 36);
        let next = selected(&desk, ListId::Pods);
        assert_ne!(next, uid, "{keys}");
        desk.ui.clock_ms += 10 * MOVED_FOR_MS;
        desk.ui.painted(frame - 1);
        assert_eq!(planned(desk.press("K")), [], "{keys}");
        assert_eq!(note(&desk), GONE, "{keys}");
        // nor for the row below the one that nobody has seen as selected
        assert_eq!(planned(desk.press("j K k")), [], "{keys}");
        desk.ui.painted(frame);
        desk.ui.clock_ms += MOVED_FOR_MS;
        assert_eq!(planned(desk.press("K")), [next], "{keys}");
    }
    // what the user chooses in the meantime is not taken back by it
    let (mut desk, _) = drawn("5 tab", ListId::Pods);
    let frame = on_its_way(&mut desk, 120, 36);
    desk.press("j");
    desk.ui.painted(frame);
    let below = selected(&desk, ListId::Pods);
    assert_eq!(planned(desk.press("K")), [below]);
}

#[test]
fn a_key_that_is_typed_ahead_does_not_act_on_a_row_that_was_never_shown_as_selected() {
    for (before, keys) in [("2", "1 C"), ("2", "1 j C"), ("2", "1 space C"), ("1", "o C"), ("1", "o j C")] {
        let mut desk = Desk::new(scene::trouble());
        desk.press(before);
        desk.dump(120, 36);
        assert_eq!(planned(desk.press(keys)), [], "{keys}");
        assert_eq!((note(&desk), desk.ui.focus), (UNDRAWN, ListId::Nodes), "{keys}");
        let shown = desk.dump(120, 36);
        let uids = planned(desk.press("C"));
        assert_eq!(uids.len(), 1, "{keys}: {shown}");
    }
}

#[test]
fn a_key_in_another_pane_goes_to_no_cause_that_was_not_shown() {
    let mut desk = Desk::new(scene::trouble());
    let whole = desk.world.clone();
    let cordons = |cause: &Arc<Cause>| cause.objects.iter().any(|o| o.uid == scene::uid(1005));
    finds(&mut desk, |causes| causes.retain(|cause| !cordons(cause)));
    desk.press("2");
    desk.dump(120, 36);
    desk.world = whole;
    assert_eq!(planned(desk.press("C")), []);
    let frame = on_its_way(&mut desk, 120, 36);
    assert_eq!(planned(desk.press("C")), []);
    desk.ui.painted(frame);
    assert_eq!(planned(desk.press("C")), [scene::uid(1005)]);
}

#[test]
fn the_key_for_a_row_that_is_gone_does_not_go_to_a_cause_of_now() {
    // in a pane where it does not work, this key goes to the only cause that offers it
    let mut desk = Desk::new(scene::trouble());
    desk.press("2");
    desk.dump(120, 36);
    let of_now = planned(desk.press("C"));
    assert_eq!(of_now.len(), 1, "{}", desk.dump(120, 36));
    // in Nodes it is for a node, also if none is selected yet
    let (mut desk, _) = drawn("1", ListId::Nodes);
    desk.ui.list_mut(ListId::Nodes).to_top();
    assert_eq!(planned(desk.press("C")), []);
    assert_eq!((note(&desk), desk.ui.focus), (UNDRAWN, ListId::Nodes));
    let (mut desk, uid) = drawn("1 j j j j", ListId::Nodes);
    assert_ne!(of_now.first(), Some(&uid));
    hears(&mut desk, [Fact::Nodes(Batch::Gone(gone(&uid)))]);
    assert_eq!(planned(desk.press("C")), []);
    assert_eq!(note(&desk), GONE);
}

#[test]
fn worse_rows_that_were_not_drawn_do_not_take_the_key() {
    let (mut desk, uid) = drawn("5 tab", ListId::Pods);
    let bad = scene::pods().into_iter().find(|pod| pod.trouble.is_some()).unwrap();
    let worse = |n: u32| Pod {
        uid: scene::uid(90_000 + u128::from(n)),
        name: format!("aaa-{n:03}").into(),
        namespace: "aaa".into(),
        restarts: 9_000,
        ..bad.clone()
    };
    hears(&mut desk, [Fact::Pods(Batch::Upsert((0..60).map(worse).collect()))]);
    assert_eq!(planned(desk.press("K")).first(), Some(&uid));
    desk.press("esc");
    // they are above it, and nobody moved the selection
    desk.ui.clock_ms += 20_000;
    desk.dump(120, 36);
    assert_ne!(selected(&desk, ListId::Pods), uid);
}

#[test]
fn a_filter_that_hides_the_chosen_row_leaves_none_to_act_on_until_it_is_drawn() {
    let (mut desk, uid) = drawn("5 tab j j", ListId::Pods);
    let other = scene::pods().into_iter().rfind(|pod| pod.uid != uid).unwrap();
    desk.press("/");
    desk.type_text(&other.name);
    assert_eq!(planned(desk.press("enter K K")), []);
    assert_eq!(note(&desk), HIDDEN);
    desk.dump(120, 36);
    assert_eq!(planned(desk.press("K")).first(), Some(&other.uid));
    // nobody chose a row before the filter: the key is for what the filter leaves
    let (mut desk, _) = drawn("5 tab", ListId::Pods);
    desk.press("/");
    desk.type_text(&other.name);
    assert_eq!(planned(desk.press("enter K")), [other.uid]);
}

#[test]
fn a_command_of_the_palette_is_for_the_row_that_the_filter_leaves() {
    let (mut desk, uid) = drawn("5 tab", ListId::Pods);
    let other = scene::pods().into_iter().rfind(|pod| pod.uid != uid).unwrap();
    desk.press("/");
    desk.type_text(&other.name);
    desk.press("enter :");
    desk.type_text("evict");
    let asked = matches!(&desk.ui.prompt, Some(Prompt::Palette { hits, .. })
        if hits.first().is_some_and(|hit| hit.target == Target::Command("evict")));
    assert!(asked, "{:?}", desk.ui.prompt);
    assert_eq!(planned(desk.press("enter")), [other.uid]);
}

#[test]
fn an_action_of_the_palette_on_an_object_that_is_gone_is_not_one_on_another() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press(":");
    desk.type_text(&format!("drain {}", scene::node_name(5)));
    hears(&mut desk, [Fact::Nodes(Batch::Gone(gone(&scene::uid(1005))))]);
    assert_eq!(planned(desk.press("enter")), []);
    assert_eq!(note(&desk), format!("nothing was done: node/{} is not in the list", scene::node_name(5)));
    // what is there is drained
    desk.dump(120, 36);
    desk.press(":");
    desk.type_text(&format!("drain {}", scene::node_name(4)));
    assert_eq!(planned(desk.press("enter")), [scene::uid(1004)]);
}

#[test]
fn an_action_of_the_palette_does_not_depend_on_what_was_selected_before() {
    // on a narrow screen, a pane without the focus is one line
    let gone_beside = || {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(80, 24);
        desk.press("1");
        desk.dump(80, 24);
        desk.press("j j");
        desk.dump(80, 24);
        let uid = selected(&desk, ListId::Nodes);
        desk.press("2");
        desk.dump(80, 24);
        hears(&mut desk, [Fact::Nodes(Batch::Gone(gone(&uid)))]);
        desk.dump(80, 24);
        (desk, uid)
    };
    let (mut desk, uid) = gone_beside();
    let other = if uid == scene::uid(1004) { 5 } else { 4 };
    desk.press(":");
    desk.type_text(&format!("drain {}", scene::node_name(other)));
    assert_eq!(planned(desk.press("enter")), [scene::uid(1000 + u128::from(other))]);
    // the neighbour was never shown as selected
    let (mut desk, uid) = gone_beside();
    let next = selected(&desk, ListId::Nodes);
    assert_ne!(next, uid);
    assert_eq!(planned(desk.press("1 C")), []);
    assert_eq!(note(&desk), UNDRAWN);
    desk.dump(80, 24);
    assert_eq!(planned(desk.press("C")), [next]);
}

#[test]
fn marked_rows_that_are_gone_are_left_out_and_if_all_are_nothing_is_done() {
    for lost in [1, 2] {
        let (mut desk, _) = drawn("5 tab", ListId::Pods);
        desk.press("space space");
        desk.dump(120, 36);
        let marks = desk.ui.list(ListId::Pods).marks.iter().cloned().collect::<Vec<_>>();
        assert_eq!(marks.len(), 2);
        let (away, left) = marks.split_at(lost);
        hears(&mut desk, [Fact::Pods(Batch::Gone(away.iter().flat_map(gone).collect()))]);
        assert_eq!(planned(desk.press("K")), left);
        let said = if left.is_empty() { MARKED_GONE } else { "" };
        assert_eq!(note(&desk), said);
    }
    // the selected row is not what the key is for
    let (mut desk, _) = drawn("5 tab", ListId::Pods);
    desk.press("space j");
    desk.dump(120, 36);
    let uid = selected(&desk, ListId::Pods);
    let marks = desk.ui.list(ListId::Pods).marks.iter().cloned().collect::<Vec<_>>();
    hears(&mut desk, [Fact::Pods(Batch::Gone(gone(&uid)))]);
    on_its_way(&mut desk, 120, 36);
    assert_eq!(planned(desk.press("K")), marks);
}

#[test]
fn a_fold_whose_causes_change_their_order_is_not_gone() {
    let mut state = scene::trouble();
    scene::many_at_max(&mut state, 6);
    let mut desk = Desk::new(state);
    desk.press("back-tab");
    let is_fold = |desk: &Desk| {
        let selected = selected(desk, ListId::Now);
        desk.world.clusters[0].derived.causes.iter().any(|cause| causes::fold_key(cause) == selected)
    };
    desk.dump(120, 36);
    let rows = desk.ui.list(ListId::Now).ids.len();
    for _ in 0..rows {
        if !is_fold(&desk) {
            desk.press("j");
            desk.dump(120, 36);
        }
    }
    assert!(is_fold(&desk), "{}", desk.dump(120, 36));
    finds(&mut desk, |causes| causes.reverse());
    assert_eq!(planned(desk.press("C")), []);
    assert_eq!(note(&desk), "this line stands for several causes: Enter lists them");
    let rule = selected(&desk, ListId::Now);
    finds(&mut desk, |causes| causes.retain(|cause| causes::fold_key(cause) != rule));
    assert_eq!(planned(desk.press("C")), []);
    assert_eq!(note(&desk), GONE);
}

#[test]
fn a_command_about_no_row_does_not_ask_for_one() {
    // the filter hides the row that was chosen
    let hidden = |keys, id| {
        let (mut desk, _) = drawn(keys, id);
        desk.press("/");
        desk.type_text("nothing-has-this-name");
        desk.press("enter");
        desk
    };
    let mut desk = hidden("5 tab j j", ListId::Pods);
    desk.press("U");
    assert!(matches!(desk.ui.screen(), Screen::List(ListId::Actions)), "{}", note(&desk));
    for (keys, id, key) in
        [("1 j j", ListId::Nodes, "F"), ("2 j", ListId::Traffic, "F"), ("2 j", ListId::Traffic, "W")]
    {
        let effects = hidden(keys, id).press(key);
        let asked = |effect: &Effect| matches!(effect, Effect::Fetch(_, Request::FailoverPlans { .. }));
        assert!(effects.iter().any(asked), "{keys} {key}: {effects:?}");
    }
}

#[test]
fn a_key_for_the_cluster_before_does_not_act_in_the_one_that_came_to_the_front() {
    let (a, b) = (ClusterId(0), ClusterId(1));
    let both = || {
        let (mut desk, uid) = drawn("1 j", ListId::Nodes);
        let mut other = scene::trouble_with(|info| (info.id, info.context) = (b, "eu-2".into()));
        other.publish(scene::NOW, true);
        let clusters = [desk.world.clusters[0].clone(), other.published().clone()];
        desk.ui.fleet.awaited = Some("eu-2".into());
        desk.world = World { clusters: clusters.into(), ..desk.world.clone() };
        update(&mut desk.ui, &desk.world, Msg::WorldChanged);
        assert_eq!(desk.ui.cluster, b);
        (desk, uid)
    };
    for keys in ["C", "g C", "j C", "space C", "2 C"] {
        let (mut desk, _) = both();
        assert_eq!(planned(desk.press(keys)), [], "{keys}");
        assert!(desk.ui.dialog.is_none(), "{keys}");
        desk.dump(120, 36);
        // from Traffic, the key goes to a cause that is shown now
        assert_eq!(planned(desk.press("C")).len(), 1, "{keys}");
        assert_eq!(desk.ui.dialog.as_ref().unwrap().intent.cluster, b, "{keys}");
    }
    // and back: the row was shown as selected, but not since its cluster is in front again
    let (mut desk, uid) = both();
    desk.dump(120, 36);
    desk.ui.show_cluster(a);
    assert_eq!(planned(desk.press("C")), []);
    assert_eq!(note(&desk), UNDRAWN);
    desk.dump(120, 36);
    assert_eq!(planned(desk.press("C")), [uid]);
}

#[test]
fn keys_in_one_go_with_a_new_world_move_among_the_rows_that_were_drawn() {
    // the findings change their order
    let mut desk = Desk::new(scene::trouble());
    desk.press("back-tab");
    desk.dump(120, 36);
    let second = desk.ui.list(ListId::Now).keys.uids[1].clone();
    finds(&mut desk, |causes| causes.reverse());
    desk.press("j");
    assert_eq!(desk.ui.list(ListId::Now).selected, second);
    // another pod has the place of one that is gone
    let (mut desk, _) = drawn("5 tab", ListId::Pods);
    let second = desk.ui.list(ListId::Pods).keys.uids[1].clone();
    let uid = second.clone().unwrap();
    let like = scene::pods().into_iter().find(|pod| pod.uid == uid).unwrap();
    let other = Pod { uid: scene::uid(90_000), name: "another".into(), ..like };
    let facts = [Batch::Gone(gone(&uid)), Batch::Upsert(vec![other])].map(Fact::Pods);
    hears(&mut desk, facts);
    desk.press("j");
    assert_eq!(desk.ui.list(ListId::Pods).selected, second);
    assert_eq!(planned(desk.press("K")), []);
    assert_eq!(note(&desk), GONE);
}

#[test]
fn the_text_of_a_row_that_was_not_shown_as_selected_is_read_before_a_key_acts_on_its_object() {
    let (mut desk, uid) = drawn("5 tab", ListId::Pods);
    assert_eq!(planned(desk.press("d K")).first(), Some(&uid), "the row was shown");
    desk.press("esc esc");
    desk.dump(120, 36);
    hears(&mut desk, [Fact::Pods(Batch::Gone(gone(&uid)))]);
    on_its_way(&mut desk, 120, 36);
    let next = selected(&desk, ListId::Pods);
    assert_eq!(planned(desk.press("d K")), []);
    assert_eq!(note(&desk), "nothing was done: the text was not on the screen yet");
    desk.dump(120, 36);
    assert_eq!(planned(desk.press("K")), [next]);
}

#[test]
fn a_mark_is_for_the_row_that_was_shown_too() {
    let (mut desk, uid) = drawn("5 tab", ListId::Pods);
    hears(&mut desk, [Fact::Pods(Batch::Gone(gone(&uid)))]);
    let frame = on_its_way(&mut desk, 120, 36);
    // the frame that is on its way does not have the mark
    desk.press("space");
    desk.ui.painted(frame);
    assert_eq!(planned(desk.press("K")), []);
    assert_eq!(note(&desk), UNDRAWN);
    // and right after the selection moved, the mark was meant for the row before
    let (mut desk, uid) = drawn("5 tab", ListId::Pods);
    hears(&mut desk, [Fact::Pods(Batch::Gone(gone(&uid)))]);
    desk.dump(120, 36);
    let next = selected(&desk, ListId::Pods);
    assert_eq!(planned(desk.press("space K")), []);
    assert_eq!(note(&desk), MOVED);
    desk.dump(120, 36);
    desk.ui.clock_ms += MOVED_FOR_MS;
    assert_eq!(planned(desk.press("K")), [next]);
}

#[test]
fn a_row_that_is_not_on_the_screen_is_shown_before_a_key_acts_on_it() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(80, 24);
    desk.press("5 tab");
    desk.dump(80, 24);
    assert_eq!(planned(desk.press("G K")), []);
    assert_eq!(note(&desk), UNDRAWN);
    desk.dump(80, 24);
    let last = selected(&desk, ListId::Pods);
    assert_eq!(planned(desk.press("K")), [last]);
}

#[test]
fn a_list_that_is_opened_again_is_shown_before_a_key_acts_on_its_first_row() {
    for (list, leaves, key, id) in [
        ("5 tab", "esc", "K", ListId::Pods),
        ("1", "2", "C", ListId::Nodes),
        // it keeps the focus while another list fills the screen
        ("1", "5", "C", ListId::Nodes),
    ] {
        let (mut desk, _) = drawn(list, id);
        desk.press(leaves);
        desk.dump(120, 36);
        assert_eq!(planned(desk.press(list)), []);
        assert_eq!(planned(desk.press(key)), [], "{list}");
        assert_eq!(note(&desk), UNDRAWN, "{list}");
        desk.dump(120, 36);
        assert_eq!(planned(desk.press(key)), [selected(&desk, id)], "{list}");
    }
}

#[test]
fn a_row_that_the_filter_hides_is_not_said_to_be_gone() {
    let (mut desk, _) = drawn("5 tab", ListId::Pods);
    desk.press("/");
    desk.type_text("no-such-pod");
    assert_eq!(planned(desk.press("enter K")), []);
    assert_eq!(note(&desk), HIDDEN);
}

#[test]
fn a_row_that_the_namespace_hides_is_not_said_to_be_gone() {
    let (mut desk, _) = drawn("5 tab j j", ListId::Pods);
    desk.ui.namespace = Some("default".into());
    assert_eq!(planned(desk.press("K")), []);
    assert_eq!(note(&desk), HIDDEN);
}

#[test]
fn a_mark_is_for_no_row_that_the_filter_hides() {
    let (mut desk, _) = drawn("5 tab j j", ListId::Pods);
    desk.press("/");
    desk.type_text("no-such-pod");
    desk.press("enter");
    desk.dump(120, 36);
    desk.press("space");
    desk.dump(120, 36);
    assert!(desk.ui.list(ListId::Pods).marks.is_empty());
    assert_eq!(planned(desk.press("K")), []);
}

#[test]
fn a_finding_that_has_no_room_is_shown_before_a_key_acts_on_it() {
    let mut state = scene::trouble();
    scene::many_at_max(&mut state, 30);
    let mut desk = Desk::new(state);
    desk.press("back-tab z");
    let text = desk.dump(80, 24);
    // each finding has as many lines as it needs
    let list = desk.ui.list(ListId::Now);
    let (rows, page, drawn) = (list.ids.len(), list.page, list.keys.uids.len());
    assert!(rows > page && drawn < page, "{drawn} of {rows}, {page} lines:\n{text}");
    let keys = format!("{}S", "j ".repeat(page - 1));
    assert_eq!(planned(desk.press(&keys)), []);
    assert_eq!(note(&desk), UNDRAWN);
    desk.dump(80, 24);
    desk.press("S");
    assert!(matches!(desk.ui.prompt, Some(Prompt::Bounds { .. })), "{}", note(&desk));
}

#[test]
fn a_dialog_over_a_text_takes_no_line_from_it() {
    let mut desk = Desk::new(scene::trouble());
    finds(&mut desk, |causes| {
        causes.retain(|cause| cause.objects.iter().any(|o| o.uid == scene::uid(1005)));
    });
    desk.dump(120, 36);
    assert_eq!(desk.ui.focus, ListId::Now);
    desk.press("enter");
    desk.dump(120, 36);
    let lines = |desk: &Desk| match desk.ui.screen() {
        Screen::Text(view) => view.lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let before = lines(&desk);
    assert!(before.iter().any(|line| line.contains("Actions on ")), "{before:#?}");
    assert_eq!(planned(desk.press("C")), [scene::uid(1005)]);
    desk.dump(120, 36);
    update(&mut desk.ui, &desk.world, Msg::WorldChanged);
    desk.dump(120, 36);
    assert!(desk.ui.dialog.is_some());
    assert_eq!(lines(&desk), before);
}
