//! Rows and columns are placed where they have something to show.

use pilothouse::ui::list::ListId;
use pilothouse::ui::request::{Effect, LogLine, Msg, Reply, Request};
use pilothouse::ui::update::update;

use super::{Desk, scene};

/// The share of blank cells, in percent.
fn blank(text: &str, width: u16, height: u16) -> usize {
    let cells = usize::from(width) * usize::from(height);
    let written: usize = text.lines().map(|l| l.chars().filter(|c| *c != ' ').count()).sum();
    (cells - written) * 100 / cells
}

/// A cluster like one in an incident: as many Services as a small shop has.
fn incident() -> Desk {
    let mut state = scene::trouble();
    scene::more_services(&mut state, 20);
    Desk::new(state)
}

#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    for word in wanted {
        assert!(text.contains(word), "`{word}` is missing:\n{text}");
    }
}

/// The words in the line of heads of the pane that has this head.
fn heads(text: &str, one: &str) -> Vec<String> {
    let line = text.lines().find(|l| l.contains(one)).unwrap_or_else(|| panic!("no {one}:\n{text}"));
    let part = line.split('│').find(|p| p.contains(one)).unwrap();
    part.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_large_screen_is_filled() {
    for (w, h, most) in [(200, 50, 45), (120, 36, 45), (80, 24, 45)] {
        let text = incident().dump(w, h);
        let part = blank(&text, w, h);
        assert!(part <= most, "{part} % of {w}x{h} are blank:\n{text}");
    }
}

/// Presses keys and answers what is asked of an error group, as the log store does.
fn press(desk: &mut Desk, keys: &str) {
    let effects = desk.press(keys);
    for effect in effects {
        if let Effect::Fetch(ticket, Request::ErrorLines { .. }) = effect {
            let line = |i: u32| LogLine {
                pod: format!("checkout-7c9f-{i:05}").into(),
                text: format!(
                    "upstream 10.0.1.{i} timed out after 3000ms, request /api/v1/orders/{i}, trace 7720a19960522721"
                ),
                ..LogLine::default()
            };
            let lines = (0..60).map(line).collect();
            update(&mut desk.ui, &desk.world, Msg::Reply(ticket, Reply::Lines(lines)));
        }
    }
}

#[test]
fn a_zoomed_pane_is_filled_with_what_is_known_of_its_row() {
    let mut state = scene::trouble();
    scene::more_services(&mut state, 20);
    scene::scalings(&mut state);
    let mut desk = Desk::new(state);
    desk.dump(200, 50);
    for keys in ["1 z", "2", "3", "4", "tab"] {
        press(&mut desk, keys);
        let text = desk.dump(200, 50);
        let part = blank(&text, 200, 50);
        assert!(part <= 70, "{keys}: {part} % are blank:\n{text}");
    }
}

#[test]
fn what_is_known_follows_the_selected_row() {
    let mut desk = incident();
    desk.dump(200, 50);
    // of each list something that its rows do not say, of the first row and of the one below
    for (keys, first, then) in [
        ("1 z", "Kubelet stopped posting node status.", "kubelet has disk pressure"),
        ("2", "Service shop/pay", "Service shop/checkout"),
        ("4", "Pods that it scales", "Pods that it scales"),
        ("esc 5", "Deployment shop/pay", "Deployment shop/checkout"),
        ("tab", "back-off 5m0s", "back-off 5m0s"),
    ] {
        press(&mut desk, keys);
        let text = desk.dump(200, 50);
        has(&text, &[first]);
        press(&mut desk, "j");
        let text = desk.dump(200, 50);
        has(&text, &[then]);
        assert!(first == then || !text.contains(first), "{keys}: it is still there:\n{text}");
    }
}

#[test]
fn an_error_group_is_read_in_its_zoomed_pane() {
    let mut desk = incident();
    desk.dump(200, 50);
    press(&mut desk, "3 z");
    let text = desk.dump(200, 50);
    has(
        &text,
        &["Lines: the newest 60", "request /api/v1/orders/59, trace 7720a19960522721", "Enter reads all"],
    );
    // the lines of another group are asked for, and until they come those of the one before are not shown as its own
    desk.press("j");
    let text = desk.dump(200, 50);
    has(&text, &["Example line"]);
    assert!(!text.contains("/orders/59"), "{text}");
}

#[test]
fn details_leave_a_small_screen_to_the_rows() {
    let mut desk = incident();
    desk.dump(80, 24);
    desk.press("2 z");
    let text = desk.dump(80, 24);
    assert!(!text.contains("Describe"), "{text}");
    assert!(text.lines().filter(|l| l.contains("service-")).count() >= 15, "{text}");
    // few rows leave room even there
    desk.press("4");
    has(&desk.dump(80, 24), &["Describe shop/hpa/"]);
    // a list that has the screen for itself shows its rows alone when asked
    desk.press("esc 5");
    has(&desk.dump(200, 50), &["Describe shop/deploy/"]);
    desk.press("z");
    assert!(!desk.dump(200, 50).contains("Describe shop/deploy/"));
}

#[test]
fn the_details_stay_where_they_are_while_the_cursor_moves() {
    for (w, h) in [(200, 50), (120, 36), (80, 24)] {
        for keys in ["1 z", "2 z", "4 z", "5"] {
            let mut desk = incident();
            desk.dump(w, h);
            desk.press(keys);
            let at = |text: &str| text.lines().position(|l| l.contains(" Describe "));
            let first = at(&desk.dump(w, h));
            for _ in 0..12 {
                desk.press("j");
                assert_eq!(at(&desk.dump(w, h)), first, "{w}x{h} {keys}");
            }
        }
    }
}

#[test]
fn an_order_goes_by_the_columns_that_are_on_the_screen() {
    let orders = |desk: &mut Desk, w: u16, h: u16| {
        let mut seen = Vec::new();
        for _ in 0..20 {
            desk.press("o");
            let head = desk.dump(w, h).lines().find(|l| l.contains("by taints")).is_some();
            seen.push(head);
        }
        seen.iter().filter(|seen| **seen).count()
    };
    let mut desk = incident();
    desk.dump(200, 50);
    desk.press("1");
    assert_eq!(orders(&mut desk, 200, 50), 0, "there is no column of taints");
    desk.press("z");
    desk.dump(200, 50);
    assert!(orders(&mut desk, 200, 50) > 0);
}

#[test]
fn keys_and_ages_of_now_stand_below_each_other() {
    for (w, h, keys) in [(80, 24, "1"), (120, 36, "1"), (200, 50, "back-tab z")] {
        let mut desk = incident();
        desk.dump(w, h);
        desk.press(keys);
        let text = desk.dump(w, h);
        let rows: Vec<&str> = text
            .lines()
            .filter(|l| l.starts_with(['│', '✖', '!', '~']))
            .filter(|l| {
                ["R restart", "S bounds", "B roll back", "O out of service"].iter().any(|k| l.contains(k))
            })
            .collect();
        let at = |l: &str| {
            ["R restart", "S bounds", "B roll back", "O out of service"]
                .iter()
                .filter_map(|k| Some(l.get(..l.find(k)?)?.chars().count()))
                .min()
        };
        assert!(rows.len() > 1, "{text}");
        assert!(rows.iter().all(|l| at(l) == at(rows[0])), "{w}x{h}:\n{text}");
    }
}

#[test]
fn a_zoomed_pane_with_rows_enough_is_filled() {
    let mut state = scene::trouble();
    scene::more_services(&mut state, 40);
    scene::many_at_max(&mut state, 40);
    scene::many_joined(&mut state, 40);
    let mut desk = Desk::new(state);
    desk.dump(200, 50);
    for keys in ["1 z", "esc 2 z", "esc 4 z"] {
        desk.press(keys);
        let text = desk.dump(200, 50);
        let part = blank(&text, 200, 50);
        assert!(part <= 70, "{keys}: {part} % are blank:\n{text}");
    }
}

#[test]
fn a_pane_with_few_rows_gives_its_lines_to_one_with_more() {
    let text = incident().dump(120, 36);
    // 24 services beside 3 autoscalers; what is not shown is counted
    let services = text.lines().filter(|l| l.contains("service-")).count() + 3;
    assert!(services >= 13, "{services}:\n{text}");
    has(&text, &["search", &format!("+{} more", 24 - services)]);
    let whole = incident().dump(200, 50);
    assert_eq!(whole.lines().filter(|l| l.contains("service-")).count(), 20, "{whole}");
    assert!(!whole.contains(" more ─"), "{whole}");
}

#[test]
fn zoom_never_has_fewer_columns() {
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        for (key, head) in [("1", "NODE"), ("2", "SERVICE"), ("3", "MESSAGE"), ("4", "TARGET")] {
            let mut desk = incident();
            desk.dump(w, h);
            desk.press(key);
            let before = heads(&desk.dump(w, h), head);
            desk.press("z");
            let zoomed = heads(&desk.dump(w, h), head);
            assert!(zoomed.len() >= before.len(), "{w}x{h} {key}: {before:?} {zoomed:?}");
            if w > 80 {
                assert!(zoomed.len() > before.len(), "{w}x{h} {key}: {before:?} {zoomed:?}");
            }
        }
    }
}

#[test]
fn texts_of_now_are_whole_where_there_is_room() {
    let mut state = scene::trouble();
    scene::more_services(&mut state, 20);
    let titles: Vec<String> = {
        let desk = Desk::new(state);
        desk.world.clusters[0].derived.causes.iter().map(ToString::to_string).collect()
    };
    let mut desk = incident();
    desk.dump(80, 24);
    desk.ui.focus = ListId::Now;
    for keys in ["", "z"] {
        desk.press(keys);
        let text = desk.dump(80, 24).replace('\n', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        for title in &titles {
            for word in title.split_whitespace() {
                assert!(
                    words.contains(&word),
                    "`{word}` of `{title}` is cut with `{keys}`:\n{}",
                    desk.dump(80, 24)
                );
            }
        }
    }
}

#[test]
fn all_panes_stand_on_a_narrow_screen_that_is_high() {
    let text = incident().dump(90, 60);
    has(&text, &["╭ NOW", "╭ 1 Nodes", "╭ 2 Traffic", "╭ 3 Errors", "╭ 4 Autoscalers"]);
}

#[test]
fn help_uses_the_width_and_begins_with_what_works_here() {
    let lines = |w: u16| {
        let mut desk = incident();
        desk.dump(w, 50);
        desk.press("2 ?");
        let text = desk.dump(w, 50);
        has(&text, &["works here: Traffic", "F          failover"]);
        let pilothouse::ui::app::Screen::Text(view) = desk.ui.screen() else { panic!("no text:\n{text}") };
        (text.clone(), view.rows, blank(&text, w, 50))
    };
    let (narrow, one, _) = lines(80);
    let (_, two, _) = lines(120);
    let (wide, three, part) = lines(200);
    assert!(two * 10 <= one * 7 && three * 10 <= one * 5, "{one} {two} {three}");
    assert!(part <= 60, "{part} % are blank:\n{wide}");
    // what a key does goes on under itself, not under the key
    let at = narrow.lines().position(|l| l.contains("failover:")).unwrap();
    let next = narrow.lines().nth(at + 1).unwrap();
    assert!(next.starts_with("             ") || next.starts_with("│             "), "{narrow}");
}

#[test]
fn the_first_page_of_help_names_all_keys_of_a_narrow_screen() {
    let mut desk = incident();
    desk.dump(80, 24);
    desk.press("5");
    desk.dump(80, 24);
    desk.press("l");
    desk.dump(80, 24);
    desk.press("?");
    let text = desk.dump(80, 24);
    has(&text, &["keys of this screen", "f       follow", "&       filter", "e       next error"]);
    for title in ["find", "previous error", "fields", "since", "container", "times", "columns", "copy line"] {
        has(&text, &[&format!(" {title} ")]);
    }
    has(&text, &["trace link", "save", "wrap", "pod", "works here: log text"]);
}

#[test]
fn an_arrow_is_two_letters_where_one_would_be_a_comparison() {
    let mut desk = incident();
    let drawn = pilothouse::ui::run::draw(&mut desk.ui, &desk.world, &desk.theme, true, (200, 50));
    let text = pilothouse::ui::paint::text_of(&drawn.buffer);
    has(&text, &["30->46"]);
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn a_machine_that_is_taken_care_of_is_listed_apart() {
    let mut state = scene::trouble();
    scene::out_of_service(&mut state);
    let mut desk = Desk::new(state);
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let text = desk.dump(w, h);
        let header = text.lines().next().unwrap();
        // 3 pods crash; the 2 of the DaemonSet are not among them
        has(header, &["nodes 11/12 1 out of service", "pods 3 bad"]);
        has(&text, &["1 Nodes 1 bad of 12 1 out of service"]);
        // in the list of nodes; NOW has its name too
        has(&text, &[&format!("~ {}", scene::node_name(3))]);
        assert!(!text.contains(&format!("✖ {}", scene::node_name(3))), "{text}");
    }
}

#[test]
fn what_runs_with_less_than_it_should_have_looks_the_same_everywhere() {
    let mut state = scene::trouble();
    // one of search's pods is not ready any more
    scene::one_unready(&mut state, "search");
    let mut desk = Desk::new(state);
    let text = desk.dump(200, 50);
    has(&text, &["~ shop/search", "2 Traffic 2 bad 1 degraded of 4"]);
    desk.press("5");
    let text = desk.dump(200, 50);
    // NOW tells of pay and of checkout's release
    has(&text, &["2 bad 1 degraded of 4", "! shop       deploy/checkout"]);
    let row = text.lines().find(|l| l.contains("deploy/search")).unwrap();
    assert!(row.contains("~ "), "{row}");
    assert!(!row.contains("progressing"), "nothing is rolled out: {row}");
}
