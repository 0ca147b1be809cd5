//! A key that acts is for the row that was drawn as selected, whatever the cluster has become since then.

use pilothouse::ui::app::{Prompt, Target};
use pilothouse::ui::list::ListId;
use pilothouse::ui::request::{Effect, Msg};
use pilothouse::ui::update::update;
use pilothouse_core::domain::id::{Uid, Version};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::event::{Batch, Fact, Gone};

use super::{Desk, scene};

const GONE: &str = "the selected row is gone: look again";

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
        let next = selected(&desk, ListId::Pods);
        assert_ne!(next, uid, "{keys}: {shown}");
        assert_eq!(planned(desk.press("K")), [next], "{keys}: {shown}");
    }
}

#[test]
fn the_key_for_a_row_that_is_gone_does_not_go_to_a_cause_of_now() {
    // in Nodes without a selection, this key goes to the only cause that offers it
    let (mut desk, _) = drawn("1", ListId::Nodes);
    desk.ui.list_mut(ListId::Nodes).to_top();
    let of_now = planned(desk.press("C"));
    assert_eq!(of_now.len(), 1, "{}", desk.dump(120, 36));
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
    assert_eq!(note(&desk), GONE);
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
    assert_eq!(note(&desk), GONE);
    // what is there is drained
    desk.dump(120, 36);
    desk.press(":");
    desk.type_text(&format!("drain {}", scene::node_name(4)));
    assert_eq!(planned(desk.press("enter")), [scene::uid(1004)]);
}
