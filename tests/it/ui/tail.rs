//! An open log: the filter, the cursor, the fields of a line, and what is drawn at common sizes.

use pilothouse::ui::app::{Prompt, Screen};
use pilothouse::ui::request::{Effect, LogLine, LogNote, Msg, Ticket};
use pilothouse::ui::update::update;
use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::time::Stamp;

use super::{Desk, scene};

/// Opens the log of the first workload.
fn open() -> (Desk, Ticket) {
    let mut desk = Desk::new(scene::trouble());
    desk.press("5");
    desk.dump(120, 36);
    let Some(Effect::FollowLogs(ticket, _)) = desk.press("l").into_iter().next() else { panic!() };
    (desk, ticket)
}

/// The pods whose log is open, as `(namespace, name)`.
fn pods(desk: &Desk) -> Vec<(Name, Name)> {
    let cluster = desk.world.clusters.first().unwrap();
    let Screen::Log(view) = desk.ui.screen() else { panic!() };
    let object = &view.request.object;
    assert_ne!(object.kind, Kind::Pod);
    let pods = pilothouse_core::logs::targets::pods_of(cluster, object, None);
    pods.iter().map(|pod| (pod.namespace.clone(), pod.name.clone())).collect()
}

fn line(pod: &(Name, Name), container: &str, secs: i64, level: Level, text: &str) -> LogLine {
    LogLine {
        at: Some(Stamp(scene::NOW.0 + secs * 1000)),
        level,
        namespace: pod.0.clone(),
        pod: pod.1.clone(),
        container: container.into(),
        text: text.into(),
        ..LogLine::default()
    }
}

fn add(desk: &mut Desk, ticket: Ticket, lines: Vec<LogLine>) {
    assert_eq!(update(&mut desk.ui, &desk.world, Msg::LogLines(ticket, lines)), Vec::new());
}

/// A log of 200 lines of two containers, a tenth of them errors.
fn filled() -> (Desk, Ticket) {
    let (mut desk, ticket) = open();
    let pod = pods(&desk).remove(0);
    let lines = (0..200).map(|i| {
        let container = if i % 3 == 0 { "proxy" } else { "app" };
        match i % 10 {
            9 => line(
                &pod,
                container,
                i - 300,
                Level::Error,
                &format!(r#"{{"level":"error","msg":"timeout after {i} s","status":503,"trace_id":"t{i}"}}"#),
            ),
            _ => line(&pod, container, i - 300, Level::Info, &format!("request {i} served, health check")),
        }
    });
    let lines = lines.collect();
    add(&mut desk, ticket, lines);
    (desk, ticket)
}

fn has(text: &str, wanted: &[&str]) {
    for words in wanted {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
}

#[test]
fn the_counts_and_the_histogram_are_on_every_screen_that_has_room() {
    for (width, height, bars) in [(80, 24, true), (120, 36, true), (200, 50, true), (60, 14, false)] {
        let (mut desk, ticket) = filled();
        let text = desk.dump(width, height);
        assert_eq!(text.contains("one bar: "), bars, "{text}");
        has(&text, &["following, 200 lines"]);
        assert!(!text.contains("filtered") && !text.contains("dropped") && !text.contains(" cut"), "{text}");
        if bars {
            // the newest line is 101 s old, so nothing is above the end of the axis
            has(&text, &["; 20 errors ", &format!("now {}", scene::NOW.clock_secs())]);
        }
        has(&text, &["request 198 served"]);
        let pod = pods(&desk).remove(0);
        let cut = LogLine { cut: 9, ..line(&pod, "app", 0, Level::Info, "a long line") };
        let gap = LogLine { mark: true, ..line(&pod, "app", 0, Level::Warn, "lines are missing here") };
        add(&mut desk, ticket, vec![cut, gap]);
        let text = desk.dump(width, height);
        has(&text, &["lines are missing here"]);
        if width >= 80 {
            has(&text, &["1 cut"]);
        }
        let note = LogNote { pod: "p".into(), container: "app".into(), words: "has not started".into() };
        update(&mut desk.ui, &desk.world, Msg::LogNotes(ticket, vec![note]));
        has(&desk.dump(width, height), &["! p/app: has not started", "request 198 served"]);
    }
}

#[test]
fn a_filter_is_applied_while_it_is_typed_and_completed() {
    let (mut desk, _) = filled();
    desk.dump(120, 36);
    desk.press("&");
    desk.type_text("lev");
    has(&desk.dump(120, 36), &["level>=", "lines of this level or a higher one", "filter: lev"]);
    desk.press("tab");
    desk.type_text("e");
    desk.press("tab");
    let text = desk.dump(120, 36);
    has(&text, &["filter: level>=error", "20 lines", "180 filtered", "timeout after 199 s"]);
    assert!(!text.contains("request 19"), "{text}");
    desk.type_text(" .status>=500 container:pro");
    desk.press("down enter enter");
    let text = desk.dump(120, 36);
    has(&text, &["level>=error field.status>=500 container:proxy", "7 lines", "193 filtered"]);
    assert!(desk.ui.prompt.is_none());
    desk.press("f");
    // Esc drops the search, then the filter, and then closes the log
    desk.press("/");
    desk.type_text("timeout");
    desk.press("enter");
    has(&desk.dump(120, 36), &["find: timeout", "match 7 of 7"]);
    assert_eq!(desk.press("esc"), Vec::new());
    let text = desk.dump(120, 36);
    has(&text, &["level>=error", "line 7 of 7, f: follow"]);
    assert!(!text.contains("find: "), "{text}");
    assert_eq!(desk.press("esc"), Vec::new());
    let text = desk.dump(120, 36);
    has(&text, &["of 200, f: follow"]);
    assert!(!text.contains("filtered"), "{text}");
    assert!(matches!(desk.press("esc").as_slice(), [Effect::StopLogs(_)]));
}

#[test]
fn a_filter_with_a_mistake_changes_nothing_and_says_so_once() {
    let (mut desk, _) = filled();
    desk.dump(120, 36);
    let once = |text: &str, words: &str| assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
    for (width, height) in [(80, 24), (120, 36)] {
        desk.press("&");
        desk.type_text("container:proxy -health level");
        has(&desk.dump(width, height), &["filter: container:proxy -health level"]);
        desk.type_text(">=warm");
        // the terms before the mistake
        has(&desk.dump(width, height), &["following, 7 lines"]);
        desk.press("enter");
        let text = desk.dump(width, height);
        has(&text, &["following, 7 lines"]);
        once(&text, "`warm` is not a level");
        desk.press("esc");
        let text = desk.dump(width, height);
        assert!(desk.ui.prompt.is_none() && !text.contains("warm"), "{text}");
        has(&text, &["following, 200 lines"]);
        // another key
        desk.press("&");
        desk.type_text("foo:bar");
        desk.press("enter");
        let text = desk.dump(width, height);
        once(&text, "there is no key `foo`: the keys are level, since, pod");
        once(&text, "quote");
        desk.press("esc");
        // a field of a line needs no prefix
        desk.press("&");
        desk.type_text("status:503");
        desk.press("enter");
        has(&desk.dump(width, height), &["field.status:503", "following, 20 lines", "180 filtered"]);
        desk.press("esc");
        has(&desk.dump(width, height), &["following, 200 lines"]);
        desk.press("&");
        desk.type_text("nothing-has-this");
        desk.press("enter");
        has(&desk.dump(width, height), &["no line matches the filter; Esc removes it", "200 filtered"]);
        desk.press("esc");
    }
}

#[test]
fn a_node_that_is_not_ready_is_named() {
    let (mut desk, _) = open();
    let cluster = desk.world.clusters.first().unwrap();
    let lost = cluster.derived.nodes.iter().find(|row| row.state.is_dead()).unwrap();
    let (name, state) = (lost.node.name.clone(), lost.state.as_str());
    let Some(Screen::Log(view)) = desk.ui.screens.last_mut() else { panic!() };
    // the nodes are known before a line has arrived
    let node = view.nodes.values_mut().next().unwrap();
    *node = name.clone();
    for (width, height) in [(80, 24), (120, 36)] {
        has(&desk.dump(width, height), &[&format!("! node {name} is {state}: newer lines may be missing")]);
    }
    // previous logs end before
    let Some(Screen::Log(view)) = desk.ui.screens.last_mut() else { panic!() };
    view.request.follow = false;
    assert!(!desk.dump(120, 36).contains("newer lines may be missing"));
}

#[test]
fn the_keys_are_in_the_order_of_their_use() {
    let (mut desk, _) = filled();
    let text = desk.dump(120, 36);
    has(
        &text,
        &["f unfollow  / find  & filter  e next error  Enter fields  c container  s since  t times  w wrap"],
    );
    desk.press("k");
    has(&desk.dump(80, 24), &["f follow  / find  & filter  e next error  Enter fields"]);
    desk.press("/");
    desk.type_text("timeout");
    desk.press("enter");
    has(&desk.dump(120, 36), &["e next error  n next  N previous  Enter fields"]);
}

#[test]
fn what_is_read_stays_while_lines_arrive() {
    let (mut desk, ticket) = filled();
    desk.dump(120, 36);
    desk.press("ctrl-u ctrl-u k");
    let before = desk.dump(120, 36);
    let shown = |text: &str| {
        text.lines()
            .filter(|l| l.contains("request ") || l.contains("timeout"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(shown(&before).len() > 20 && !before.contains("request 198"), "{before}");
    let pod = pods(&desk).remove(0);
    for i in 0..50 {
        // older and newer lines of another container
        add(&mut desk, ticket, vec![line(&pod, "late", -400 + i, Level::Info, "an old line")]);
        add(&mut desk, ticket, vec![line(&pod, "late", i, Level::Warn, "a new line")]);
    }
    let after = desk.dump(120, 36);
    assert_eq!(shown(&after), shown(&before), "{after}");
    has(&after, &["of 300, f: follow"]);
    desk.press("f");
    has(&desk.dump(120, 36), &["a new line", "following"]);
}

#[test]
fn errors_and_matches_are_found_in_their_context() {
    let (mut desk, _) = filled();
    desk.dump(120, 36);
    // while the log is followed, the newest one is meant
    desk.press("e");
    has(&desk.dump(120, 36), &["error 20 of 20", "line 200 of 200, f: follow"]);
    desk.press("e");
    has(&desk.dump(120, 36), &["error 1 of 20, again from the top", "line 10 of 200"]);
    desk.press("g e");
    let text = desk.dump(120, 36);
    has(&text, &["timeout after 9 s", "request 0 served", "line 10 of 200, f: follow"]);
    desk.press("e e e e");
    let text = desk.dump(120, 36);
    has(&text, &["timeout after 49 s", "request 45 served", "line 50 of", "error 5 of 20"]);
    desk.press("E");
    has(&desk.dump(120, 36), &["line 40 of"]);
    // the nearest match above the cursor
    desk.press("/");
    desk.type_text("request 17");
    desk.press("enter");
    has(&desk.dump(120, 36), &["find: request 17", "line 18 of", "match 1 of 10"]);
    desk.press("n");
    has(&desk.dump(120, 36), &["line 171 of", "match 2 of 10"]);
    desk.press("N N");
    has(&desk.dump(120, 36), &["line 179 of", "match 10 of 10, again from the end"]);
    desk.press("n");
    has(&desk.dump(120, 36), &["line 18 of", "match 1 of 10, again from the top"]);
    desk.press("f /");
    desk.type_text("request 17");
    desk.press("enter");
    has(&desk.dump(120, 36), &["line 179 of", "match 10 of 10"]);
}

#[test]
fn the_fields_of_a_line_lead_to_its_pod_and_its_trace() {
    let (mut desk, _) = filled();
    desk.ui.trace_url = "https://traces.example/{trace_id}".into();
    desk.dump(120, 36);
    desk.press("enter");
    let pod = pods(&Desk { ui: filled().0.ui, ..Desk::new(scene::trouble()) }).remove(0);
    let text = desk.dump(120, 36);
    has(&text, &["Fields of a line", "trace_id", "t199", "https://traces.example/t199", "status    503"]);
    has(&text, &[&format!("pod        {}/{}", pod.0, pod.1), "container  app"]);
    // the pod is the first object of the text
    desk.press("j enter");
    has(&desk.dump(120, 36), &["Describe"]);
    // the description has taken the place of the fields
    desk.press("esc");
    let copied = desk.press("u");
    assert_eq!(copied, vec![Effect::Copy("https://traces.example/t199".into())]);
    assert!(
        matches!(desk.press("y").as_slice(), [Effect::Copy(text)] if text.contains("timeout after 199 s"))
    );
    desk.press("k");
    assert_eq!(desk.press("u"), Vec::new());
    has(&desk.dump(120, 36), &["the line has no field trace_id"]);
}

#[test]
fn the_log_is_asked_for_again_since_a_time() {
    let (mut desk, ticket) = filled();
    desk.press("s");
    has(&desk.dump(120, 36), &["since:", "3 15m"]);
    let effects = desk.press("3");
    let [Effect::StopLogs(old), Effect::FollowLogs(new, request)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((*old, request.since), (ticket, Some(900)));
    assert!(request.tail >= 10_000 && new != old);
    has(&desk.dump(120, 36), &["since 15m", "waiting for lines", "following, 0 lines"]);
    let pod = pods(&desk).remove(0);
    add(&mut desk, ticket, vec![line(&pod, "app", 0, Level::Info, "of the request before")]);
    assert!(!desk.dump(120, 36).contains("of the request before"));
    desk.press("s esc");
    assert!(desk.ui.prompt.is_none());
}

#[test]
fn a_container_is_chosen_from_a_list() {
    let (mut desk, _) = filled();
    desk.press("c");
    has(&desk.dump(120, 36), &["show the lines of", "all containers", "proxy"]);
    assert!(matches!(&desk.ui.prompt, Some(Prompt::LogContainer { names, .. }) if names.len() == 3));
    desk.press("down down enter");
    has(&desk.dump(120, 36), &["container:proxy", "67 lines", "133 filtered"]);
    desk.press("c enter");
    has(&desk.dump(120, 36), &["200 lines"]);
}

#[test]
fn times_and_columns_can_be_switched() {
    let (mut desk, _) = filled();
    desk.ui.zone = |_| 7200;
    has(&desk.dump(120, 36), &["ERROR ", "INFO "]);
    desk.press("t");
    let local = Stamp(scene::NOW.0 - 101_000 + 7_200_000).clock_secs();
    has(&desk.dump(120, 36), &[&local, "local times, UTC+02:00"]);
    desk.press("t");
    has(&desk.dump(120, 36), &[&Stamp(scene::NOW.0 - 101_000).clock_secs()]);
    desk.press("t v");
    let pod = pods(&desk).remove(0);
    let cluster = desk.world.clusters.first().unwrap();
    let node = cluster.pod(&pod.0, &pod.1).unwrap().node.clone().unwrap();
    has(&desk.dump(200, 50), &[&format!("{}/{}", pod.0, pod.1), &format!(" {node} ")]);
    desk.press("v");
    let text = desk.dump(120, 36);
    assert!(!text.contains("INFO ") && text.contains("request 198 served"), "{text}");
    desk.press("v");
    has(&desk.dump(120, 36), &["INFO "]);
}

#[test]
fn what_is_saved_is_what_the_filter_shows() {
    let (mut desk, _) = filled();
    desk.press("&");
    desk.type_text("level:error");
    desk.press("esc");
    desk.press("&");
    desk.type_text("level:error");
    desk.press("enter");
    if desk.ui.prompt.is_some() {
        desk.press("enter");
    }
    let effects = desk.press("ctrl-s");
    let [Effect::Save(Some(object), text)] = effects.as_slice() else { panic!("{effects:?}") };
    let Screen::Log(view) = desk.ui.screen() else { panic!() };
    assert_eq!(*object, view.request.object);
    assert_eq!(text.lines().count(), 20);
    assert!(text.lines().all(|line| line.contains("timeout after")), "{text}");
}
