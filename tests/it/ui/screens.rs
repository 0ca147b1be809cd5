//! The content of the screen at common sizes.

use pilothouse::ui::command::{keys_table_markdown, keys_text};
use pilothouse::ui::list::ListId;
use pilothouse::ui::request::Effect;
use pilothouse_core::state::ClusterState;

use super::{Desk, scene};

const SIZES: [(u16, u16); 4] = [(80, 24), (120, 36), (200, 50), (40, 10)];

fn has(text: &str, wanted: &[&str]) {
    for word in wanted {
        assert!(text.contains(word), "`{word}` is missing:\n{text}");
    }
}

#[test]
fn trouble_is_named_at_every_size() {
    for (w, h) in SIZES {
        let text = Desk::new(scene::trouble()).dump(w, h);
        has(&text, &["prod-eu", "PROTECTED", "shop/pay crash loop"]);
        if w >= 80 {
            has(
                &text,
                &[
                    "03:12 UTC",
                    "nodes 11/12",
                    "pods 3 bad",
                    "Unknown 3m",
                    "DiskPress 9m",
                    if w < 160 { "changed 30m" } else { "Changed in the last 30 min" },
                    "? help",
                ],
            );
            has(
                &text,
                &[
                    "1 Nodes 2 bad of 12",
                    "2 Traffic 2 bad of 4",
                    "3 Errors 1 new",
                    "4 Autoscalers 1 at limit",
                ],
            );
            has(&text, &["D drain", "C cordon", "30→46", "NEW", "R restart"]);
        }
        if w >= 120 {
            has(&text, &["Enter why", "round robin", "at max 14m", "50 of 3,120", "82/18%", "0 dropped"]);
        }
    }
}

#[test]
fn the_compact_screen_keeps_its_rows() {
    let text = Desk::new(scene::trouble()).dump(80, 24);
    let nodes = text
        .lines()
        .filter(|l| l.contains("Ready") || l.contains("Unknown 3m") || l.contains("DiskPress"))
        .count();
    assert!(nodes >= 12, "{text}");
    assert_eq!(text.lines().count(), 24);
}

#[test]
fn before_the_first_sync_nothing_looks_empty() {
    for (w, h) in SIZES {
        let text = Desk::new(scene::loading()).dump(w, h);
        for lie in ["no nodes", "no services", "no autoscalers", "0/0", "no problems", "no changes"] {
            assert!(!text.contains(lie), "{lie}:\n{text}");
        }
        if w >= 80 {
            has(&text, &["loading nodes", "25 of 150,000"]);
        }
    }
}

#[test]
fn what_is_denied_says_so_and_why() {
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let text = Desk::new(scene::denied()).dump(w, h);
        has(&text, &["nodes denied", "no permission to read nodes", "cannot list resource", "logs DENIED"]);
        assert!(!text.contains("0 Ready"), "{text}");
    }
}

#[test]
fn what_is_stale_keeps_its_rows_and_says_since_when() {
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let text = Desk::new(scene::stale()).dump(w, h);
        has(&text, &["nodes STALE 1m", "STALE 1m: connection refused", "DiskPress 9m", "timed out after 5s"]);
    }
}

#[test]
fn no_size_and_no_screen_breaks_it() {
    let states: [fn() -> ClusterState; 4] = [scene::trouble, scene::loading, scene::denied, scene::stale];
    for state in states {
        for keys in [
            "1",
            "back-tab",
            "3",
            "5",
            "5 tab",
            "8",
            "d",
            "?",
            "n",
            ":",
            "/",
            "z",
            "C",
            "5 S",
            "l",
            "2 enter",
            "2 i",
            "2 x",
            "2 enter i down down right +",
            "2 enter t",
            "2 enter t t t enter",
            "back-tab enter",
        ] {
            let mut desk = Desk::new(state());
            desk.dump(80, 24);
            for key in keys.split(' ') {
                desk.press(key);
                desk.dump(80, 24);
            }
            for (w, h) in [
                (1, 1),
                (2, 60),
                (39, 10),
                (40, 10),
                (41, 11),
                (60, 20),
                (80, 12),
                (109, 28),
                (110, 28),
                (300, 5),
                (0, 0),
            ] {
                desk.dump(w, h);
            }
        }
    }
    let mut desk = Desk::new(scene::trouble());
    for w in 1..=60 {
        for h in 1..=20 {
            desk.dump(w, h);
        }
    }
}

#[test]
fn too_small_says_so() {
    has(&Desk::new(scene::trouble()).dump(39, 9), &["too small"]);
}

#[test]
fn ascii_terminals_get_ascii() {
    let mut desk = Desk::new(scene::trouble());
    for (w, h) in [(80, 24), (120, 36)] {
        let drawn = pilothouse::ui::run::draw(&mut desk.ui, &desk.world, &desk.theme, true, (w, h));
        let text = pilothouse::ui::paint::text_of(&drawn.buffer);
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("X shop/pay"), "{text}");
    }
}

#[test]
fn a_quiet_screen_writes_nothing() {
    let mut desk = Desk::new(scene::trouble());
    let mut painter = pilothouse::ui::paint::Painter::default();
    let draw =
        |desk: &mut Desk| pilothouse::ui::run::draw(&mut desk.ui, &desk.world, &desk.theme, false, (120, 36));
    let first = painter.paint(draw(&mut desk).buffer, None).unwrap();
    assert!(first.len() < 16_000, "{}", first.len());
    desk.ui.now = desk.ui.now.plus_secs(1);
    assert_eq!(painter.paint(draw(&mut desk).buffer, None), None);
    desk.press("j");
    let moved = painter.paint(draw(&mut desk).buffer, None).unwrap();
    assert!(moved.len() < 600, "{}", moved.len());
}

#[test]
fn help_and_the_tables_are_written_from_the_same_rows() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press("?");
    has(&desk.dump(120, 60), &["works here: Nodes", "drain", "CAPITALS"]);
    assert!(keys_text().contains("workloads-view"));
    assert!(keys_table_markdown().starts_with("| key |"));
}

#[test]
fn a_large_table_is_filtered_and_ordered_quickly() {
    let mut state = ClusterState::new(scene::info());
    scene::many_pods(&mut state, 150_000);
    let mut desk = Desk::new(state);
    desk.press("5 tab");
    desk.dump(120, 36);
    assert_eq!(desk.ui.list(ListId::Pods).ids.len(), 150_000);
    desk.press("/");
    desk.type_text("web-0149");
    let text = desk.dump(120, 36);
    has(&text, &["/web-0149", "match"]);
    desk.press("esc : w e b - 0 1 4 9 9 9 9");
    has(&desk.dump(120, 36), &["web-0149999"]);
}

#[test]
fn at_120_columns_nodes_keep_their_zone_and_their_names() {
    let text = Desk::new(scene::trouble()).dump(120, 36);
    let heads = text.lines().find(|l| l.contains("NODE")).unwrap();
    has(heads, &["STATE", "CPU", "MEM", "PODS"]);
    has(&text, &[&scene::node_name(3), "Unknown 3m"]);
    let mut state = scene::trouble();
    scene::short_names(&mut state);
    let text = Desk::new(state).dump(120, 36);
    has(text.lines().find(|l| l.contains("NODE")).unwrap(), &["STATE", "ZONE", "CPU", "MEM", "PODS"]);
    has(&text, &["node-3 ", "eu-1a", "Unknown 3m"]);
}

#[test]
fn what_changed_reads_as_words() {
    let mut state = scene::trouble();
    scene::many_joined(&mut state, 50);
    let text = Desk::new(state).dump(200, 50);
    has(&text, &["50 nodes joined"]);
    assert_eq!(text.matches(" joined").count(), 1, "{text}");
}

#[test]
fn problems_of_the_configuration_stay_in_sight() {
    let mut desk = Desk::new(scene::trouble());
    for words in ["config.toml:3: unknown key `themee`", "config.toml:9: not a number"] {
        pilothouse::ui::update::update(
            &mut desk.ui,
            &desk.world,
            pilothouse::ui::request::Msg::Problem(words.into()),
        );
    }
    has(&desk.dump(120, 36), &["unknown key `themee`", "+1 more"]);
    desk.ui.clock_ms += 60_000;
    desk.press("?");
    has(&desk.dump(120, 36), &["not a number"]);
}

#[test]
fn under_a_namespace_only_what_it_leaves_is_counted() {
    let mut state = scene::trouble();
    scene::lab(&mut state);
    let mut desk = Desk::new(state);
    let text = desk.dump(120, 36);
    has(&text, &["3 Errors 1 new", "2 Traffic 2 bad of 5", "4 Autoscalers 1 at limit or failing of 4"]);
    desk.ui.namespace = Some("lab".into());
    let text = desk.dump(120, 36);
    has(&text, &["1 Nodes 2 bad of 12 all namespaces"]);
    has(&text, &["3 Errors logs of", "2 Traffic 1 ok", "4 Autoscalers 1 ok", "in all namespaces"]);
    let causes = desk.ui.list(ListId::Now).ids.len();
    has(&text, &[&format!("NOW {causes} cause"), "ns:lab"]);
    assert!(!text.contains("shop/pay crash loop"), "{text}");
    desk.press("5");
    has(&desk.dump(120, 36), &["5 Workloads 1 ok ns:lab"]);
    desk.press("tab");
    let all = desk.world.clusters[0].pods.len();
    has(&desk.dump(120, 36), &[&format!("5 Pods 1 of {all} ns:lab")]);
    desk.press("0");
    has(&desk.dump(120, 36), &[&format!("5 Pods {all} ")]);
}

#[test]
fn numbers_of_pods_are_never_cut() {
    let mut state = scene::trouble();
    scene::crowd(&mut state, 3, 130);
    let cluster = Desk::new(state);
    let row = cluster.world.clusters[0].derived.nodes.iter().find(|r| r.totals.bad >= 130).unwrap().clone();
    let words = format!("{} ({})", row.totals.pods, row.totals.bad);
    let mut desk = cluster;
    for (w, h) in [(80, 24), (110, 30), (120, 36), (200, 50)] {
        has(&desk.dump(w, h), &[&words]);
    }
}

#[test]
fn a_backend_that_was_taken_out_is_shown_as_out_and_the_rest_share_anew() {
    let mut state = scene::trouble();
    let gone = scene::taken_out(&mut state);
    let mut desk = Desk::new(state);
    desk.ui.service = ("shop".into(), "checkout".into());
    desk.ui.screens.push(pilothouse::ui::app::Screen::List(ListId::Backends));
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let text = desk.dump(w, h);
        let tail = gone.rsplit('-').next().unwrap();
        let row = text.lines().find(|l| l.contains(tail)).unwrap();
        has(row, &[" 0.0 ", " out"]);
        assert_eq!(text.matches(" 25.0 ").count(), 4, "{text}");
    }
}

fn backends_of_checkout(state: ClusterState) -> Desk {
    let mut desk = Desk::new(state);
    desk.ui.service = ("shop".into(), "checkout".into());
    desk.ui.screens.push(pilothouse::ui::app::Screen::List(ListId::Backends));
    desk
}

/// The backend that is worst in the scene: half of its share, and 12 % errors.
fn worst() -> String {
    scene::pods()[0].name.rsplit('-').next().unwrap().to_owned()
}

#[test]
fn the_bad_backend_is_seen_at_every_size() {
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let mut state = scene::trouble();
        scene::polls(&mut state, 6, |_, _| {});
        let mut desk = backends_of_checkout(state);
        let text = desk.dump(w, h);
        has(&text, &["expected: round robin", "measured by http_requests_total", "SHARE", "EXP"]);
        let heads = text.lines().position(|l| l.contains("BACKEND")).unwrap();
        let first = text.lines().nth(heads + 1).unwrap();
        has(first, &[&worst(), "12.3", "11.1", "20.0", "▼ too few", "█", "░│"]);
        let drawn = pilothouse::ui::run::draw(&mut desk.ui, &desk.world, &desk.theme, true, (w, h));
        let text = pilothouse::ui::paint::text_of(&drawn.buffer);
        assert!(text.is_ascii(), "{text}");
        has(text.lines().nth(heads + 1).unwrap(), &["v too few", "##", "-|"]);
    }
}

#[test]
fn trends_are_shown_where_there_is_room_and_polls_without_a_number_are_gaps() {
    let mut state = scene::trouble();
    scene::polls(&mut state, 12, |poll, backends| {
        backends[0].error_ratio = if poll == 8 { None } else { Some(if poll < 6 { 0.0 } else { 0.12 }) };
        backends[0].p95_ms = if poll == 8 { None } else { Some(810.0) };
        if poll == 8 {
            backends[0].rps = None;
        }
    });
    let mut desk = backends_of_checkout(state);
    let text = desk.dump(200, 50);
    let heads = text.lines().position(|l| l.contains("BACKEND")).unwrap();
    has(text.lines().nth(heads + 1).unwrap(), &[&worst(), "▁▁██ ███"]);
    let narrow = desk.dump(80, 24);
    assert!(!narrow.contains("TREND"), "{narrow}");
    desk.ui.screens.pop();
    desk.press("2 z");
    has(&desk.dump(200, 50), &["TREND", "▁▁"]);
}

#[test]
fn noise_does_not_move_a_bar() {
    let bars = |jitter: f64| -> Vec<String> {
        let mut state = scene::trouble();
        scene::polls(&mut state, 4, |_, backends| {
            for (i, backend) in backends.iter_mut().enumerate() {
                backend.rps = Some(168.0 + jitter * (i as f64 - 2.0));
            }
        });
        let text = backends_of_checkout(state).dump(120, 36);
        let bar =
            |line: &str| line.split(' ').find(|w| w.contains('│') && w.contains('█')).map(str::to_owned);
        text.lines().skip(2).filter_map(bar).collect()
    };
    assert_eq!(bars(0.0).len(), 5);
    assert_eq!(bars(0.0), bars(4.0));
    assert_eq!(bars(0.0), bars(-4.0));
}

#[test]
fn what_is_not_known_of_backends_is_said() {
    type State = (&'static str, fn() -> ClusterState, &'static [&'static str]);
    let states: [State; 3] = [
        ("loading", scene::loading, &["loading", "there are no metrics"]),
        ("denied", scene::denied, &["no prometheus", "there are no metrics"]),
        ("stale", scene::stale, &["prometheus STALE", "expected: round robin"]),
    ];
    for (name, state, words) in states {
        for (w, h) in [(80, 24), (120, 36), (200, 50)] {
            let mut desk = backends_of_checkout(state());
            let text = desk.dump(w, h);
            assert!(words.iter().all(|word| text.contains(word)), "{name} {w}x{h}:\n{text}");
            // the groups, the prediction and the queries say it too, and nothing breaks
            for keys in ["i", "esc x", "esc t", "t", "t", "t"] {
                desk.press(keys);
                desk.dump(w, h);
            }
        }
    }
    let mut desk = Desk::new(scene::trouble());
    desk.ui.service = ("shop".into(), "search".into());
    desk.ui.screens.push(pilothouse::ui::app::Screen::List(ListId::Backends));
    has(&desk.dump(80, 24), &["there are no metrics of this Service"]);
}

#[test]
fn alerts_are_listed_with_their_objects_and_open_as_text() {
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        let mut state = scene::trouble();
        scene::alerts(&mut state);
        let mut desk = Desk::new(state);
        let header = desk.dump(w, h);
        // two fire; one is silenced, and `Watchdog` only says that alerting works
        has(header.lines().next().unwrap(), &["alerts 2"]);
        desk.press("6");
        let text = desk.dump(w, h);
        has(&text, &["Alerts", "1 critical", "NotReady", "shop/deploy/pay", "Watchdog", "silenced"]);
        let place = |word: &str| text.lines().position(|line| line.contains(word)).unwrap();
        assert!(place("shop/deploy/pay") < place("shop/deploy/cart"), "the worst comes first:\n{text}");
        // all alerts of one name in one row
        desk.press("t");
        has(&desk.dump(w, h), &["3 alerts"]);
        desk.press("t");
        desk.press("g enter");
        let text = desk.dump(w, h);
        has(
            &text,
            &["state", "firing", "shop-oncall", "pay has too few pods", "https://runbooks.example/pay"],
        );
        // the runbook is a hyperlink in terminals that know them, and nothing else of the alert's texts is
        desk.press("enter");
        let drawn = pilothouse::ui::run::draw(&mut desk.ui, &desk.world, &desk.theme, false, (w, h));
        let links = &drawn.seen.links;
        let runbook = links.iter().find(|link| link.url == "https://runbooks.example/pay");
        let runbook = runbook.unwrap_or_else(|| panic!("{links:?}\n{text}"));
        assert!(runbook.is_drawn(&drawn.buffer), "{runbook:?}");
        let mut painter = pilothouse::ui::paint::Painter::default();
        painter.hyperlinks = true;
        let bytes = painter.paint_linked(drawn.buffer, None, drawn.seen.links).unwrap();
        let bytes = String::from_utf8(bytes).unwrap();
        assert!(bytes.contains("\x1b]8;;https://runbooks.example/pay\x1b\\https://runbooks"), "{bytes:?}");
        assert_eq!(bytes.matches("\x1b]8;;").count(), 2 * bytes.matches("\x1b]8;;http").count(), "each ends");
        desk.press("esc");
        let effects = desk.press("c");
        assert!(
            matches!(effects.as_slice(), [Effect::Copy(url)] if url == "https://runbooks.example/pay"),
            "{effects:?}"
        );
    }
}

#[test]
fn alerts_about_what_is_bad_are_evidence_and_the_others_are_findings() {
    let mut state = scene::trouble();
    scene::alerts(&mut state);
    let world = scene::world(&mut state);
    let causes = &world.clusters[0].derived.causes;
    let about = |name: &str| causes.iter().find(|cause| cause.object().is_some_and(|o| o.name == name));
    let lines = about("pay").unwrap().lines();
    assert!(lines.iter().any(|line| line.starts_with("alert NotReady (critical) fires since")), "{lines:?}");
    let own: Vec<String> =
        causes.iter().filter(|c| c.rule() == "alert-firing").map(ToString::to_string).collect();
    assert!(own.iter().all(|line| !line.contains("search") && !line.contains("Watchdog")), "{own:?}");
}
