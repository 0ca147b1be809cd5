//! An open log: its request, the notes that arrive, and the keys that work in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::logs::fields;
use pilothouse_core::logs::filter::{Filter, Known};
use pilothouse_core::logs::targets::{MOST_PODS, containers, pods_of};

use super::super::app::{LOG_LINES, LogView, Prompt, Screen, TextSource, TextView, Ui};
use super::super::present::tail;
use super::super::request::{Effect, LogLine, LogNote, LogRequest};
use super::super::widget::input::InputLine;
use super::open;

/// The maximum number of notes that are kept. No log reads more containers at once.
const MOST_NOTES: usize = 200;
/// The number of lines at the end whose fields are offered for completion.
const FIELDS_OF: usize = 200;
/// The ages that the keys `0` to `6` choose, in seconds.
pub(super) const SINCE: [(&str, Option<u32>); 7] = [
    ("newest", None),
    ("1m", Some(60)),
    ("5m", Some(300)),
    ("15m", Some(900)),
    ("1h", Some(3600)),
    ("6h", Some(6 * 3600)),
    ("24h", Some(24 * 3600)),
];

/// Opens the logs of a pod, or of all pods of a workload, a Service, a node or the target of an autoscaler.
pub(super) fn open(
    ui: &mut Ui,
    world: &World,
    object: &ObjectRef,
    previous: bool,
    effects: &mut Vec<Effect>,
) {
    let Some(cluster) = world.cluster(object.cluster).cloned() else { return };
    let object = target(&cluster, object);
    let within = ui.namespace.clone().filter(|_| object.kind == Kind::Node);
    let pods = pods_of(&cluster, &object, within.as_ref());
    if pods.is_empty() {
        return ui.say(format!("{object} has no pods to read logs of"));
    }
    let ticket = ui.ticket();
    let what = if previous { "Previous logs" } else { "Logs" };
    let many = if pods.len() > MOST_PODS {
        format!(" ({MOST_PODS} of {} pods, the worst first)", pods.len())
    } else {
        String::new()
    };
    let tail = if pods.len() > 1 { 200 } else { 1000 };
    let title = format!("{what} of {object}{many}");
    let request = LogRequest { object, within, previous, follow: !previous, tail, since: None };
    let mut view = LogView::new(title, ticket, request.clone());
    view.several_pods = pods.len() > 1;
    let place = |pod: &&Arc<Pod>| Some(((pod.namespace.clone(), pod.name.clone()), pod.node.clone()?));
    view.nodes = pods.iter().take(MOST_PODS).filter_map(place).collect();
    view.several_containers = pods.iter().any(|p| containers(p).count() > 1);
    ui.screens.push(Screen::Log(Box::new(view)));
    effects.push(Effect::FollowLogs(ticket, request));
}

/// Returns the workload whose logs are read, for objects without logs of their own.
fn target(cluster: &Cluster, object: &ObjectRef) -> ObjectRef {
    if object.kind == Kind::HorizontalPodAutoscaler
        && let Some(hpa) = cluster.hpas.by_uid(&object.uid)
    {
        return hpa.target(cluster.id());
    }
    object.clone()
}

/// Adds lines, with the nodes of their pods.
pub(super) fn add(view: &mut LogView, world: &World, lines: Vec<LogLine>, now: Stamp) {
    let cluster = world.cluster(view.request.object.cluster);
    let mut last: Option<(&Name, &Name)> = None;
    for line in lines.iter().filter(|line| !line.mark) {
        // lines of one pod arrive together
        if last.replace((&line.namespace, &line.pod)) == Some((&line.namespace, &line.pod)) {
            continue;
        }
        let key = (line.namespace.clone(), line.pod.clone());
        if !view.nodes.contains_key(&key)
            && let Some(node) = cluster.and_then(|c| c.pod(&line.namespace, &line.pod)?.node.clone())
        {
            view.nodes.insert(key, node);
        }
    }
    view.add(lines, now);
}

/// Adds notes. Each note replaces the previous one about the same container.
pub(super) fn note(view: &mut LogView, notes: Vec<LogNote>) {
    for mut note in notes {
        // a note can be about an ephemeral container, which `PodShape` does not list
        let line = view.lines.iter().rev().find(|l| l.pod == note.pod).map(|l| &l.container);
        let other = view.notes.iter().find(|n| n.pod == note.pod).map(|n| &n.container);
        view.several_containers |=
            !note.container.is_empty() && line.into_iter().chain(other).any(|held| *held != note.container);
        note.words = text::clean(&note.words).into_owned();
        let held = view.notes.iter().position(|n| n.pod == note.pod && n.container == note.container);
        match held {
            Some(at) if note.words.is_empty() => drop(view.notes.remove(at)),
            Some(at) => {
                if let Some(held) = view.notes.get_mut(at) {
                    *held = note;
                }
            }
            None if !note.words.is_empty() && view.notes.len() < MOST_NOTES => view.notes.push(note),
            None => {}
        }
    }
}

/// Returns the log on the screen.
pub(super) fn on_screen(ui: &mut Ui) -> Option<&mut LogView> {
    match ui.screens.last_mut() {
        Some(Screen::Log(view)) => Some(view),
        _ => None,
    }
}

/// Starts to follow the end of the log, or stops if it is followed.
pub(super) fn follow(ui: &mut Ui) {
    let now = ui.now;
    if let Some(view) = on_screen(ui) {
        if view.follow { view.stop() } else { view.resume(now) }
    }
}

/// Requests the log again, with the maximum age that has this number in `SINCE`.
pub(super) fn since(ui: &mut Ui, choice: usize, effects: &mut Vec<Effect>) {
    let Some((_, since)) = SINCE.get(choice) else { return };
    let ticket = ui.ticket();
    let Some(view) = on_screen(ui) else { return };
    let tail = match (since, view.several_pods) {
        (Some(_), _) => u32::try_from(LOG_LINES).unwrap_or(u32::MAX),
        (None, true) => 200,
        (None, false) => 1000,
    };
    let request = LogRequest { since: *since, tail, ..view.request.clone() };
    effects.push(Effect::StopLogs(view.ticket));
    view.restart(ticket, request.clone());
    effects.push(Effect::FollowLogs(ticket, request));
}

/// Opens the filter of the log.
pub(super) fn filter(ui: &mut Ui) {
    let Some(view) = on_screen(ui) else { return };
    let (before, known) = (view.filter.clone(), known(view));
    // the blank separates the old filter from the text that the user adds
    let text = if before.is_empty() { String::new() } else { format!("{before} ") };
    ui.input = InputLine::new(text);
    let mut open = super::super::app::LogFilter { before, known, ..Default::default() };
    open.complete(&ui.input);
    ui.prompt = Some(Prompt::LogFilter(Box::new(open)));
}

/// Collects the names and fields of the lines.
fn known(view: &LogView) -> Known {
    let lines = || view.lines.iter().filter(|line| !line.mark);
    let names = |of: fn(&LogLine) -> &Name| -> Vec<String> {
        let found: BTreeSet<&Name> = lines().map(of).filter(|name| !name.is_empty()).collect();
        found.into_iter().map(ToString::to_string).collect()
    };
    let nodes: BTreeSet<&Name> = view.nodes.values().collect();
    let newest = view.lines.iter().rev().filter(|line| !line.more && !line.mark).take(FIELDS_OF);
    let paths: BTreeSet<String> =
        newest.flat_map(|line| fields::all(&line.text)).map(|(path, _)| path).collect();
    Known {
        namespaces: names(|line| &line.namespace),
        pods: names(|line| &line.pod),
        containers: names(|line| &line.container),
        nodes: nodes.into_iter().map(ToString::to_string).collect(),
        fields: paths.into_iter().collect(),
    }
}

/// Applies the text of the filter while it is typed. While the text cannot be parsed, the last valid filter is in force.
pub(super) fn typed(ui: &mut Ui) {
    let text = ui.input.text().to_owned();
    let Some(parsed) = on_screen(ui).map(|view| Filter::parse_among(&text, &|name| has_field(view, name)))
    else {
        return;
    };
    let Some(Prompt::LogFilter(open)) = &mut ui.prompt else { return };
    open.complete(&ui.input);
    let filter = match parsed {
        Ok(filter) => {
            open.problem = None;
            if text.ends_with(char::is_whitespace) {
                open.whole = (text, filter.clone());
            }
            filter
        }
        Err(problem) => {
            open.problem = Some(problem);
            open.last_valid(&text).clone()
        }
    };
    restore(ui, filter);
}

/// Whether a line has a field of this name.
fn has_field(view: &LogView, name: &str) -> bool {
    // reading the fields costs more than searching for the name
    let last = name.rsplit('.').next().unwrap_or(name);
    let has = |line: &LogLine| line.text.contains(last) && fields::get(&line.text, name).is_some();
    view.lines.iter().rev().any(|line| !line.mark && has(line))
}

/// Replaces the text under the cursor with the chosen candidate, or with the first one.
pub(super) fn complete(ui: &mut Ui) {
    let Some(Prompt::LogFilter(open)) = &ui.prompt else { return };
    let Some(chosen) = open.found.candidates.get(open.at.unwrap_or(0)) else { return };
    ui.input.replace(open.found.from, open.found.to, &chosen.text);
    typed(ui);
}

/// Moves among the candidates. Returns `false` above the first one.
pub(super) fn choose(ui: &mut Ui, by: isize) -> bool {
    match &mut ui.prompt {
        Some(Prompt::LogFilter(open)) => {
            let last = open.found.candidates.len().checked_sub(1);
            open.at = match (open.at, last) {
                (_, None) => return false,
                (None, Some(_)) if by > 0 => Some(0),
                (None, _) => return false,
                (Some(0), _) if by < 0 => None,
                (Some(at), Some(last)) => Some(at.saturating_add_signed(by).min(last)),
            };
            true
        }
        Some(Prompt::LogContainer { names, at }) => {
            *at = at.saturating_add_signed(by).min(names.len().saturating_sub(1));
            true
        }
        _ => false,
    }
}

/// Puts a filter in force.
pub(super) fn restore(ui: &mut Ui, filter: Filter) {
    let now = ui.now;
    if let Some(view) = on_screen(ui)
        && view.filter != filter
    {
        view.set_filter(filter, now);
    }
}

/// Opens the choice of containers.
pub(super) fn containers_of(ui: &mut Ui) {
    let Some(view) = on_screen(ui) else { return };
    let found: BTreeSet<&Name> = view
        .lines
        .iter()
        .map(|line| &line.container)
        .chain(view.notes.iter().map(|n| &n.container))
        .collect();
    let found = found.into_iter().filter(|name| !name.is_empty()).cloned();
    let names: Vec<Name> = std::iter::once(Name::default()).chain(found).collect();
    if names.len() <= 2 {
        let one = names.last().filter(|name| !name.is_empty());
        let words =
            one.map_or_else(|| "no lines yet".to_owned(), |name| format!("the only container is {name}"));
        return ui.say(words);
    }
    ui.input.clear();
    ui.prompt = Some(Prompt::LogContainer { names, at: 0 });
}

/// Shows only the lines of a container, or those of all if the name is empty.
pub(super) fn container(ui: &mut Ui, name: &Name) {
    let now = ui.now;
    if let Some(view) = on_screen(ui) {
        let filter = view.filter.with_container((!name.is_empty()).then_some(name.as_str()));
        view.set_filter(filter, now);
    }
}

/// Opens the fields of the line under the cursor. They stay while more lines arrive.
pub(super) fn fields(ui: &mut Ui, world: &World) {
    let Some(Screen::Log(view)) = ui.screens.last() else { return };
    let Some((line, entry)) = view.entry() else { return ui.say("there is no line") };
    let (line, cluster) = (line.clone(), view.request.object.cluster);
    let (pod, node) = places(world, view, &line);
    let lines = tail::fields(&line, &entry, pod.as_ref(), node.as_ref(), &ui.trace_url, ui.zone);
    let object = pod.filter(|object| object.cluster == cluster);
    let mut text = TextView::new("Fields of a line", TextSource::Fixed, object);
    text.lines = lines;
    ui.screens.push(Screen::Text(Box::new(text)));
}

/// Returns the pod of a line and its node, as far as they still exist.
fn places(world: &World, view: &LogView, line: &LogLine) -> (Option<ObjectRef>, Option<ObjectRef>) {
    let Some(cluster) = world.cluster(view.request.object.cluster) else { return (None, None) };
    let pod = cluster.pod(&line.namespace, &line.pod);
    let node = pod
        .and_then(|pod| pod.node.clone())
        .or_else(|| view.nodes.get(&(line.namespace.clone(), line.pod.clone())).cloned());
    let node = node.map(|name| cluster.object(Kind::Node, &Name::default(), &name, &Uid::default()));
    (pod.map(|pod| pod.reference(cluster.id())), node)
}

/// Describes the pod of the line under the cursor.
pub(super) fn pod(ui: &mut Ui, world: &World) {
    let Some(Screen::Log(view)) = ui.screens.last() else { return };
    let Some((line, _)) = view.entry() else { return ui.say("there is no line") };
    if let (Some(pod), _) = places(world, view, line) {
        open::text(ui, format!("Describe {pod}"), TextSource::Describe(pod.clone()), &pod);
    } else {
        let words = format!("the pod {} does not exist any more", line.pod);
        ui.say(words);
    }
}

/// Copies the entry under the cursor.
pub(super) fn copy(ui: &mut Ui, effects: &mut Vec<Effect>) {
    let Some(Screen::Log(view)) = ui.screens.last() else { return };
    let Some((_, entry)) = view.entry() else { return ui.say("there is no line") };
    ui.say(format!("sent the line to the clipboard ({})", ui.clipboard.caveat()));
    effects.push(Effect::Copy(entry));
}

/// Copies the URL of the trace that the line under the cursor belongs to.
pub(super) fn trace(ui: &mut Ui, effects: &mut Vec<Effect>) {
    let Some(Screen::Log(view)) = ui.screens.last() else { return };
    let Some((_, entry)) = view.entry() else { return ui.say("there is no line") };
    if ui.trace_url.is_empty() {
        return ui.say("no URL of traces is configured: trace_url in [logs]");
    }
    match tail::trace_link(&ui.trace_url, &entry) {
        Some(url) => {
            ui.say(format!("sent {url} to the clipboard ({})", ui.clipboard.caveat()));
            effects.push(Effect::Copy(url));
        }
        None => ui.say("the line has no field trace_id"),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::ClusterId;

    use super::super::super::request::Ticket;
    use super::*;

    const NOW: Stamp = Stamp(1_000);

    fn view() -> LogView {
        let object = ObjectRef::new(ClusterId(0), Kind::Pod, &"shop".into(), &"web".into(), &Uid::default());
        let request =
            LogRequest { object, within: None, previous: false, follow: true, tail: 10, since: None };
        LogView::new(String::new(), Ticket(1), request)
    }

    fn lines(container: &str, times: &[i64]) -> Vec<LogLine> {
        let line = |at: &i64| LogLine {
            at: (*at > 0).then_some(Stamp(*at)),
            container: container.into(),
            text: format!("{container}{at}"),
            ..LogLine::default()
        };
        times.iter().map(line).collect()
    }

    fn texts(view: &LogView) -> Vec<&str> {
        view.from(0).map(|l| l.text.as_str()).collect()
    }

    fn under_cursor(view: &LogView) -> Option<&str> {
        view.line(view.cursor()).map(|line| line.text.as_str())
    }

    #[test]
    fn lines_of_several_containers_are_merged_by_time() {
        let mut view = view();
        view.add(lines("a", &[10, 20, 30, 40]), NOW);
        assert!(!view.several_containers);
        view.go(2);
        view.top = 2;
        view.add(lines("b", &[5, 20, 35, 50]), NOW);
        assert_eq!(texts(&view), ["b5", "a10", "a20", "b20", "a30", "b35", "a40", "b50"]);
        assert!(view.several_containers && !view.several_pods);
        assert_eq!((view.top, under_cursor(&view)), (4, Some("a30")), "what the user reads stays");
    }

    #[test]
    fn lines_without_a_time_stay_where_they_came() {
        let mut view = view();
        view.add(lines("a", &[10, 0, 30]), NOW);
        view.add(lines("b", &[20, 0]), NOW);
        assert_eq!(texts(&view), ["a10", "a0", "b20", "b0", "a30"]);
        view.add(lines("c", &[0]), NOW);
        assert_eq!(texts(&view).last(), Some(&"c0"));
    }

    #[test]
    fn a_filter_hides_whole_entries_and_the_cursor_stays() {
        let mut view = view();
        let entry = |at, text: &str| {
            let parts = text.split('\n').enumerate();
            let line = |(i, text): (usize, &str)| LogLine {
                at: Some(Stamp(at)),
                text: text.into(),
                more: i > 0,
                ..LogLine::default()
            };
            parts.map(line).collect::<Vec<_>>()
        };
        view.add(entry(10, "ERROR boom\n at f\nCaused by: z"), NOW);
        view.add(entry(20, "INFO fine"), NOW);
        view.add(entry(30, "ERROR boom\n at g"), NOW);
        view.go(4);
        view.set_filter(Filter::parse("boom").unwrap(), NOW);
        assert_eq!(texts(&view), ["ERROR boom", " at f", "Caused by: z", "ERROR boom", " at g"]);
        assert_eq!((under_cursor(&view), view.hidden()), (Some("ERROR boom"), 1));
        assert_eq!(view.at, 3);
        view.set_filter(Filter::parse("caused").unwrap(), NOW);
        assert_eq!(texts(&view), ["ERROR boom", " at f", "Caused by: z"]);
        view.add(entry(40, "INFO caused too"), NOW);
        view.add(entry(25, "caused before\nmore of it"), NOW);
        assert_eq!(texts(&view).get(3..), Some(&["caused before", "more of it", "INFO caused too"][..]));
        view.go(1);
        assert_eq!(view.entry().map(|(_, text)| text).as_deref(), Some("ERROR boom\n at f\nCaused by: z"));
        view.set_filter(Filter::default(), NOW);
        assert_eq!((view.len(), under_cursor(&view)), (9, Some(" at f")));
    }

    #[test]
    fn the_oldest_lines_are_dropped_but_not_those_that_are_read() {
        let mut view = view();
        let many = |from: i64, count: i64| lines("a", &(from..from + count).collect::<Vec<_>>());
        let most = i64::try_from(LOG_LINES).unwrap();
        view.set_filter(Filter::parse("a").unwrap(), NOW);
        view.add(many(1, most), NOW);
        view.add(many(most + 1, 10), NOW);
        assert_eq!((view.lines.len(), view.len(), view.dropped), (LOG_LINES, LOG_LINES, 10));
        assert_eq!(texts(&view).first(), Some(&"a11"));
        view.page = 10;
        view.go(5);
        view.top = 5;
        view.add(many(most + 11, 20), NOW);
        assert_eq!((view.missed, view.dropped, view.top), (15, 15, 0), "lines above the screen go first");
        assert_eq!(under_cursor(&view), Some("a16"));
        view.add(many(most + 31, 20), NOW);
        assert_eq!((view.missed, under_cursor(&view)), (35, Some("a16")));
        view.resume(NOW);
        view.add(many(most + 51, 1), NOW);
        let end: Vec<(bool, &str)> =
            view.from(view.len() - 2).map(|line| (line.mark, line.text.as_str())).collect();
        assert!(end.first().is_some_and(|(mark, text)| *mark && text.starts_with("35 lines")), "{end:?}");
        assert_eq!(view.missed, 0);
    }

    #[test]
    fn what_is_said_of_a_container_replaces_what_was_said_before() {
        let mut view = view();
        let of = |words: &str| LogNote { pod: "p".into(), container: "a".into(), words: words.into() };
        note(&mut view, vec![of("has not started"), of("the container ended\u{1b}")]);
        assert_eq!(view.notes, [of("the container ended␛")]);
        note(&mut view, vec![of("")]);
        assert_eq!(view.notes, []);
        assert!(!view.several_containers);
        let debug = LogNote { container: "debug".into(), ..of("has not started") };
        note(&mut view, vec![of("the container ended"), debug]);
        assert!(view.several_containers, "whose note it is has to be said");
    }
}
