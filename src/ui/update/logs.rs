//! An open log: the request, and the lines and notes that arrive.

use std::collections::VecDeque;

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::text;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::logs::targets::{MOST_PODS, containers, pods_of};

use super::super::app::{LOG_LINES, LogView, Screen, Ui};
use super::super::request::{Effect, LogLine, LogNote, LogRequest};

/// The maximum number of notes that are kept. No log reads more containers at once.
const MOST_NOTES: usize = 200;

/// Opens the logs of a pod, or of all pods of a workload, a Service, a node or the target of an autoscaler.
pub fn open(ui: &mut Ui, world: &World, object: &ObjectRef, previous: bool, effects: &mut Vec<Effect>) {
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
    ui.screens.push(Screen::Log(Box::new(LogView {
        title: format!("{what} of {object}{many}"),
        ticket,
        lines: VecDeque::new(),
        dropped: 0,
        notes: Vec::new(),
        ended: false,
        follow: !previous,
        wrap: false,
        times: false,
        several_pods: pods.len() > 1,
        several_containers: pods.iter().any(|p| containers(p).count() > 1),
        find: String::new(),
        top: 0,
        page: 0,
    })));
    let tail = if pods.len() > 1 { 200 } else { 1000 };
    effects
        .push(Effect::FollowLogs(ticket, LogRequest { object, within, previous, follow: !previous, tail }));
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

/// Inserts lines by their timestamps, because containers are read at different speeds. A line without a timestamp
/// stays after the line that it followed.
pub fn add(view: &mut LogView, lines: Vec<LogLine>) {
    if let Some(first) = view.lines.front().or(lines.first()).map(|l| (l.pod.clone(), l.container.clone())) {
        view.several_pods |= lines.iter().any(|l| l.pod != first.0);
        view.several_containers |= lines.iter().any(|l| l.pod == first.0 && l.container != first.1);
    }
    let earliest = lines.iter().find_map(|l| l.at);
    let from = match earliest {
        // only a few lines at the end are later than the first new line
        Some(at) => {
            let later = view.lines.iter().rev().take_while(|l| l.at.is_none_or(|held| held > at)).count();
            let mut from = view.lines.len() - later;
            while view.lines.get(from).is_some_and(|l| l.at.is_none()) {
                from += 1;
            }
            from
        }
        None => view.lines.len(),
    };
    let mut old = view.lines.split_off(from).into_iter().peekable();
    let mut new = lines.into_iter().peekable();
    let mut added_above = 0;
    loop {
        let takes_old = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.at.is_none() || new.at.is_some_and(|at| old.at <= Some(at)),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let Some(line) = (if takes_old { old.next() } else { new.next() }) else { break };
        if !takes_old && old.peek().is_some() && view.lines.len() <= view.top + added_above {
            added_above += 1;
        }
        view.lines.push_back(line);
    }
    view.top += added_above;
    while view.lines.len() > LOG_LINES {
        view.lines.pop_front();
        view.dropped += 1;
        view.top = view.top.saturating_sub(1);
    }
}

/// Adds notes. Each note replaces the previous one about the same container.
pub fn note(view: &mut LogView, notes: Vec<LogNote>) {
    for mut note in notes {
        // ephemeral containers are not part of the pod's shape
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

#[cfg(test)]
mod tests {
    use super::super::super::request::Ticket;
    use super::*;
    use pilothouse_core::domain::time::Stamp;

    fn view() -> LogView {
        LogView {
            title: String::new(),
            ticket: Ticket(1),
            lines: VecDeque::new(),
            dropped: 0,
            notes: Vec::new(),
            ended: false,
            follow: true,
            wrap: false,
            times: false,
            several_pods: false,
            several_containers: false,
            find: String::new(),
            top: 0,
            page: 0,
        }
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
        view.lines.iter().map(|l| l.text.as_str()).collect()
    }

    #[test]
    fn lines_of_several_containers_are_merged_by_time() {
        let mut view = view();
        add(&mut view, lines("a", &[10, 20, 30, 40]));
        assert!(!view.several_containers);
        view.top = 2;
        add(&mut view, lines("b", &[5, 20, 35, 50]));
        assert_eq!(texts(&view), ["b5", "a10", "a20", "b20", "a30", "b35", "a40", "b50"]);
        assert!(view.several_containers && !view.several_pods);
        assert_eq!(view.top, 4, "the first line on the screen stays: a30");
    }

    #[test]
    fn lines_without_a_time_stay_where_they_came() {
        let mut view = view();
        add(&mut view, lines("a", &[10, 0, 30]));
        add(&mut view, lines("b", &[20, 0]));
        assert_eq!(texts(&view), ["a10", "a0", "b20", "b0", "a30"]);
        add(&mut view, lines("c", &[0]));
        assert_eq!(texts(&view).last(), Some(&"c0"));
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
