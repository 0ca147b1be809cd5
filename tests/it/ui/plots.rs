//! Plots: what is drawn is what the server answered, at common sizes; and the requests that their keys send.

use pilothouse::ui::app::Screen;
use pilothouse::ui::request::{Effect, Msg, Reply, Request, Ticket};
use pilothouse::ui::run;
use pilothouse::ui::update::update;
use pilothouse_core::domain::range::{Ranged, Series, Span};
use proptest::prelude::*;
use ratatui::buffer::Buffer;

use super::{Desk, scene};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 36), (200, 50)];

/// A query that was sent.
struct Sent {
    ticket: Ticket,
    query: String,
    span: Span,
}

fn sent(effects: Vec<Effect>) -> Vec<Sent> {
    let one = |effect| match effect {
        Effect::Fetch(ticket, Request::Range { query, span, .. }) => Some(Sent { ticket, query, span }),
        _ => None,
    };
    effects.into_iter().filter_map(one).collect()
}

fn answer(desk: &mut Desk, ticket: Ticket, reply: Reply) -> Vec<Effect> {
    update(&mut desk.ui, &desk.world, Msg::Reply(ticket, reply))
}

fn ranged(span: Span, values: Vec<Option<f64>>) -> Ranged {
    Ranged { span, series: vec![Series { labels: Vec::new(), values }], ..Ranged::default() }
}

/// Answers each query with a line of its own.
fn answer_all(desk: &mut Desk, all: Vec<Sent>) {
    for (n, one) in all.into_iter().enumerate() {
        let value = |i: usize| Some(1.0 + n as f64 + (i as f64 / 9.0).sin() / 2.0);
        let values = (0..one.span.count).map(value).collect();
        answer(desk, one.ticket, Reply::Range(ranged(one.span, values)));
    }
}

/// A console of this size with the plots of a node.
fn on_node((width, height): (u16, u16)) -> (Desk, Vec<Sent>) {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(width, height);
    // the first node is dead, and nobody measures it
    let effects = desk.press("1 j m");
    assert!(matches!(desk.ui.screen(), Screen::Plots(_)), "{:?}", desk.ui.note);
    (desk, sent(effects))
}

#[test]
fn the_panels_on_the_screen_are_asked_for_and_drawn() {
    for (size, panels, queries) in [(SIZES[0], 1, 3), (SIZES[1], 2, 6), (SIZES[2], 4, 9)] {
        let (mut desk, all) = on_node(size);
        assert_eq!(all.len(), queries, "{size:?}");
        for one in &all {
            let most = usize::from(size.0) * 2;
            assert!(one.span.count <= most && one.span.secs() <= 900, "{:?}", one.span);
            assert!(scene::NOW.since(one.span.to()) < u64::from(one.span.step_secs) * 1_000);
        }
        let waiting = desk.dump(size.0, size.1);
        assert_eq!(waiting.matches("asking the Prometheus").count(), panels, "{waiting}");
        answer_all(&mut desk, all);
        let text = desk.dump(size.0, size.1);
        assert!(text.contains("Plots of node/"), "{text}");
        for words in ["15m", "used", "allocatable", "last", "03:00", "crosshair", "longer"] {
            assert!(text.contains(words), "`{words}` is missing:\n{text}");
        }
        assert_eq!(text.lines().count(), usize::from(size.1));
        assert_eq!(text.contains("Memory"), panels > 1, "{text}");
        let dots = text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert!(dots > 60 * panels, "{dots} {text}");
    }
}

#[test]
fn keys_move_the_crosshair_the_panels_and_the_range() {
    let (mut desk, all) = on_node(SIZES[0]);
    answer_all(&mut desk, all);
    desk.press("left left");
    let text = desk.dump(80, 24);
    assert!(text.contains("at 03:1") && text.contains('│'), "{text}");
    desk.press("esc");
    assert!(!desk.dump(80, 24).contains("at 03:1"), "the first Esc removes the crosshair");
    // the next panel is asked for when it is shown
    let more = sent(desk.press("j"));
    assert_eq!(more.len(), 3);
    assert!(more[0].query.contains("node_memory_MemTotal_bytes"), "{}", more[0].query);
    assert!(desk.dump(80, 24).contains("panel 2 of 5"));
    // another range cancels what is open and asks again
    let effects = desk.press("minus");
    let cancelled = effects.iter().filter(|e| matches!(e, Effect::Cancel(_))).count();
    assert_eq!(cancelled, 3);
    let hour = sent(effects);
    assert!(hour.iter().all(|one| one.span.secs() > 3_400 && one.span.secs() <= 3_600), "{}", hour.len());
    // closing cancels what is not answered
    let closed = desk.press("esc");
    assert_eq!(closed.iter().filter(|e| matches!(e, Effect::Cancel(_))).count(), hour.len());
    assert!(matches!(desk.ui.screen(), Screen::Panes));
    // an answer that comes too late changes nothing
    answer(&mut desk, hour[0].ticket, Reply::Range(Ranged::default()));
}

#[test]
fn newer_numbers_are_asked_for_only_when_there_are_some() {
    let (mut desk, all) = on_node(SIZES[0]);
    let tick = |desk: &mut Desk, secs: i64| {
        desk.ui.now = scene::NOW.plus_secs(secs);
        desk.ui.clock_ms = 10_000 + u64::try_from(secs).unwrap() * 1_000;
        sent(update(&mut desk.ui, &desk.world, Msg::Tick))
    };
    assert!(tick(&mut desk, 30).is_empty(), "the first ones are not answered yet");
    desk.ui.clock_ms = 10_000;
    answer_all(&mut desk, all);
    assert!(tick(&mut desk, 1).is_empty());
    let newer = tick(&mut desk, 31);
    assert_eq!(newer.len(), 3);
    let before = desk.dump(80, 24);
    assert!(before.contains("last"), "the older ones stay meanwhile:\n{before}");
}

#[test]
fn what_the_server_says_is_shown() {
    let (mut desk, all) = on_node(SIZES[0]);
    answer(&mut desk, all[0].ticket, Reply::Failed("422: many-to-many matching not allowed".into()));
    for one in &all[1..] {
        answer(&mut desk, one.ticket, Reply::Range(ranged(one.span, Vec::new())));
    }
    let text = desk.dump(80, 24);
    assert!(text.contains("many-to-many matching not allowed"), "{text}");
    // no answer has a number: the panel says which metric is missing, and what the cluster says of it now
    let (mut desk, all) = on_node(SIZES[0]);
    for one in &all {
        answer(&mut desk, one.ticket, Reply::Range(Ranged { span: one.span, ..Ranged::default() }));
    }
    let text = desk.dump(80, 24);
    // the console has seen the usage itself
    assert!(text.contains("the console's own last polls"), "{text}");
    desk.press("j j j");
    let more = sent(update(&mut desk.ui, &desk.world, Msg::Tick));
    assert!(more.is_empty(), "they were asked for with the key");
    let text = desk.dump(80, 24);
    assert!(text.contains("asking the Prometheus"), "{text}");
}

#[test]
fn a_query_is_plotted_with_its_labels_and_its_errors() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press(":");
    let effects = desk.type_text("prom no");
    let names = effects.into_iter().find_map(|effect| match effect {
        Effect::Fetch(ticket, Request::MetricNames { .. }) => Some(ticket),
        _ => None,
    });
    answer(&mut desk, names.unwrap(), Reply::MetricNames(vec!["node_load1".into(), "up".into()]));
    let text = desk.dump(120, 36);
    assert!(text.contains("node_load1") && text.contains("plot this query"), "{text}");
    // Down and Enter complete the name, and Enter plots the query
    desk.press("down enter");
    assert_eq!(desk.ui.input.text(), "prom node_load1");
    let all = sent(desk.press("enter"));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].query, "node_load1");
    let span = all[0].span;
    let series = |node: &str, value: f64| Series {
        labels: vec![("__name__".into(), "node_load1".into()), ("node".into(), node.into())],
        values: vec![Some(value); span.count],
    };
    let reply = Ranged {
        span,
        series: vec![series("a", 1.0), series("b", 2.0)],
        left_out: 3,
        warnings: vec!["PromQL warning: partial".into()],
    };
    answer(&mut desk, all[0].ticket, Reply::Range(reply));
    let text = desk.dump(120, 36);
    for words in ["node_load1{node=\"a\"}", "node_load1{node=\"b\"}", "+3 lines", "PromQL warning: partial"] {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
    desk.press("esc : p r o m space x ( enter");
}

#[test]
fn without_a_prometheus_the_console_has_its_own_past() {
    use pilothouse_core::domain::source::{Feed, SourceState, SourceStatus};
    use pilothouse_core::facts::event::Fact;
    let mut state = scene::trouble();
    let status = SourceStatus {
        name: "prometheus".into(),
        feed: Feed::Traffic,
        state: SourceState::NotInstalled,
        error: Some("no Prometheus among the cluster's 9 Services".into()),
        ..SourceStatus::default()
    };
    scene::apply(&mut state, [Fact::Source(status)]);
    let mut desk = Desk::new(state);
    desk.dump(120, 36);
    let effects = desk.press("1 j m");
    assert!(sent(effects).is_empty(), "there is nobody to ask");
    let text = desk.dump(120, 36);
    assert!(text.contains("the console's own last polls: no Prometheus among"), "{text}");
    desk.press("j j");
    let text = desk.dump(120, 36);
    assert!(text.contains("✖ no Prometheus among the cluster's 9 Services"), "{text}");
}

#[test]
fn a_zoomed_pane_has_the_plots_of_its_object_on_the_right() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(200, 50);
    assert!(sent(desk.press("1 z j")).is_empty(), "the selection has to rest");
    let before = desk.dump(200, 50);
    assert!(!before.contains("Plots of"), "there is nothing to see yet:\n{before}");
    let rest = |desk: &mut Desk| {
        desk.ui.clock_ms += 500;
        sent(update(&mut desk.ui, &desk.world, Msg::Tick))
    };
    let all = rest(&mut desk);
    assert_eq!(all.len(), 8, "three panels");
    answer_all(&mut desk, all);
    let text = desk.dump(200, 50);
    let line = |text: &str, words: &str| text.lines().find(|line| line.contains(words)).unwrap().to_owned();
    assert!(line(&text, "╭ Plots of node/").starts_with("╭ 1 Nodes"), "the list is on the left:\n{text}");
    for words in ["╭ Describe node/", "Conditions", "Events", "used", "allocatable", "╭ Memory", "╭ Pods"]
    {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
    // the next object has its own, and is not asked for while the selection moves
    let first = line(&text, "╭ Plots of node/");
    assert!(sent(desk.press("j")).is_empty());
    let next = desk.dump(200, 50);
    assert_ne!(line(&next, "╭ Plots of node/"), first);
    assert_eq!(next.matches("asking the Prometheus").count(), 3, "{next}");
    let asked = rest(&mut desk);
    let cancelled = desk.press("k").into_iter().filter(|e| matches!(e, Effect::Cancel(_))).count();
    assert_eq!((asked.len(), cancelled), (8, 8));
    // not on a narrower screen, and in no list of its own
    assert!(!desk.dump(159, 50).contains("Plots of"));
    desk.press("z");
    assert!(!desk.dump(200, 50).contains("Plots of"));
}

#[test]
fn a_long_list_leaves_the_right_to_the_details_too() {
    let mut state = scene::trouble();
    scene::many_joined(&mut state, 60);
    let mut desk = Desk::new(state);
    desk.dump(160, 45);
    desk.press("1 z j");
    desk.ui.clock_ms += 500;
    let all = sent(update(&mut desk.ui, &desk.world, Msg::Tick));
    answer_all(&mut desk, all);
    let text = desk.dump(160, 45);
    let line = text.lines().find(|line| line.contains("╭ Describe node/")).unwrap();
    assert!(line.starts_with('│'), "a row of the list is on the left of it:\n{text}");
    assert!(text.contains("╭ Plots of node/"), "{text}");
}

#[test]
fn the_time_before_and_after_a_rollout_is_side_by_side() {
    let mut desk = Desk::new(scene::trouble());
    desk.dump(120, 36);
    desk.press("5 /");
    desk.type_text("deploy/checkout");
    desk.press("enter");
    desk.dump(120, 36);
    let all = sent(desk.press("m"));
    answer_all(&mut desk, all);
    let whole = desk.dump(120, 36);
    assert!(
        whole.contains("Plots of shop/deploy/checkout") && !whole.contains("before the rollout"),
        "{whole}"
    );
    assert!(sent(desk.press("b")).is_empty(), "the numbers are there");
    let text = desk.dump(120, 36);
    let line = text.lines().find(|line| line.contains("before the rollout")).unwrap();
    assert!(line.contains("after the rollout"), "side by side:\n{text}");
    assert_eq!(text.matches("after the rollout").count(), 2, "of two panels:\n{text}");
    desk.press("b");
    assert_eq!(desk.dump(120, 36), whole);
    let (mut desk, _) = on_node(SIZES[0]);
    desk.press("b");
    let text = desk.dump(80, 24);
    assert!(text.contains("there was no rollout"), "{text}");
}

#[test]
fn ascii_has_a_character_for_each_line() {
    let (mut desk, all) = on_node(SIZES[0]);
    answer_all(&mut desk, all);
    let drawn = run::draw(&mut desk.ui, &desk.world, &desk.theme, true, SIZES[0]);
    let text = pilothouse::ui::paint::text_of(&drawn.buffer);
    assert!(text.is_ascii(), "{text}");
    assert!(text.matches('*').count() > 60 && text.matches('=').count() > 40, "{text}");
}

/// Where the plot is: its left and right column, and its upper and lower row.
fn frame_of(buffer: &Buffer) -> (u16, u16, u16, u16) {
    let text = |y: u16| -> String { (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect() };
    // the axis begins after the labels: its line has no corner
    let axis = (2..buffer.area.height)
        .find(|y| text(*y).starts_with('│') && text(*y).matches('─').count() > 20)
        .expect("an axis");
    (1 + 7, buffer.area.width - 2 - 2, 2, axis - 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Each number of the answer has its dot within one cell of where it belongs, and each dot is on the way between two
    /// neighbouring numbers.
    #[test]
    fn what_is_drawn_is_what_the_server_answered(
        points in proptest::collection::vec(
            prop_oneof![
                6 => (0f64..50.0).prop_map(Some),
                1 => Just(Some(f64::NAN)),
                1 => Just(Some(f64::INFINITY)),
                2 => Just(None),
                1 => Just(Some(0.0)),
            ],
            400,
        ),
        resets in any::<bool>(),
        size in 0usize..3,
    ) {
        let (width, height) = SIZES[size];
        let mut desk = Desk::new(scene::trouble());
        desk.dump(width, height);
        desk.press(":");
        desk.type_text("prom x");
        let all = sent(desk.press("enter"));
        let span = all[0].span;
        // a counter that rises and starts again from 0
        let points: Vec<Option<f64>> = points
            .into_iter()
            .take(span.count)
            .scan(0.0, |sum, point| {
                let Some(value) = point.filter(|_| resets) else { return Some(point) };
                *sum = if value > 45.0 { 0.0 } else { *sum + value };
                Some(Some(*sum))
            })
            .collect();
        let series = Series::of(span, Vec::new(), points.iter().enumerate().map(|(i, v)| (span.at(i), *v)));
        let kept: Vec<Option<f64>> = series.values.clone();
        for (kept, given) in kept.iter().zip(&points) {
            prop_assert_eq!(*kept, given.filter(|v| v.is_finite()), "a gap stays a gap");
        }
        answer(&mut desk, all[0].ticket, Reply::Range(Ranged { span, series: vec![series], ..Ranged::default() }));
        let drawn = run::draw(&mut desk.ui, &desk.world, &desk.theme, false, (width, height));
        let buffer = &drawn.buffer;
        if kept.iter().all(Option::is_none) {
            return Ok(());
        }
        let (left, right, upper, lower) = frame_of(buffer);
        let most = kept.iter().flatten().copied().fold(0.0, f64::max);
        let high = pilothouse::ui::present::plot::top(most, pilothouse_core::policy::plots::Unit::Number);
        let x = |i: usize| f64::from(left) + i as f64 / (span.count - 1) as f64 * f64::from(right - left);
        let y = |v: f64| f64::from(lower) - v / high * f64::from(lower - upper);
        let is_dot = |column: u16, row: u16| {
            buffer.cell((column, row)).is_some_and(|cell| {
                let symbol = cell.symbol();
                symbol.chars().all(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
            })
        };
        let near = |at: (f64, f64)| {
            (left..=right).flat_map(|c| (upper..=lower).map(move |r| (c, r))).any(|(c, r)| {
                (f64::from(c) - at.0).abs() <= 1.0 && (f64::from(r) - at.1).abs() <= 1.0 && is_dot(c, r)
            })
        };
        for (i, value) in kept.iter().enumerate() {
            if let Some(value) = value {
                prop_assert!(near((x(i), y(*value))), "no dot for point {} = {}", i, value);
            }
        }
        // the other way round: a dot is near a number, or between two neighbouring ones
        for row in upper..=lower {
            for column in (left..=right).filter(|column| is_dot(*column, row)) {
                let is_on = |i: usize| {
                    let Some(Some(a)) = kept.get(i) else { return false };
                    let b = kept.get(i + 1).copied().flatten().unwrap_or(*a);
                    let (x1, x2) = (x(i), if kept.get(i + 1).copied().flatten().is_some() { x(i + 1) } else { x(i) });
                    let (y1, y2) = (y(*a).min(y(b)), y(*a).max(y(b)));
                    (x1 - 1.0..=x2 + 1.0).contains(&f64::from(column))
                        && (y1 - 1.0..=y2 + 1.0).contains(&f64::from(row))
                };
                prop_assert!((0..kept.len()).any(is_on), "a dot at {},{} belongs to no number", column, row);
            }
        }
    }
}
