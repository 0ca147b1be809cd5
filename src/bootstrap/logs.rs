//! Connects the log sources with the screen, for logs that the user opened.

pub(super) mod pods;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::World;
use pilothouse_core::logs::targets::{MOST_PODS, pods_of, worst_first};
use tokio::sync::{Semaphore, mpsc, watch};

use self::pods::{Ask, read_pods};
use super::desk::hand;
use crate::source::logs::follow::Told;
use crate::source::logs::store::LogLine;
use crate::source::supervise::Supervisor;
use crate::ui::request::{LogLine as Shown, LogNote, LogRequest, Ticket};
use crate::ui::run::Input;
use crate::wire::client::ReadClient;

/// The maximum number of lines that are passed on together.
const BATCH: usize = 500;

/// The maximum number of batches that the screen has not taken yet. Keys wait behind them.
const MOST_BATCHES: usize = 2;

/// The maximum number of containers whose logs are read at the same time for one request.
const MOST_STREAMS: usize = 60;

/// Streams the logs that the user opened to the screen, in batches, until the group is stopped. Pods that are created
/// in the meantime are added.
pub(super) fn follow(
    group: &Supervisor,
    reader: &ReadClient,
    ticket: Ticket,
    request: LogRequest,
    world: watch::Receiver<Arc<World>>,
    inbox: &SyncSender<Input>,
) {
    let (out, told) = mpsc::channel(4 * BATCH);
    let (reader, inbox) = (reader.clone(), inbox.clone());
    let ask = Ask {
        previous: request.previous,
        follow: request.follow,
        tail: request.tail,
        since: request.since,
        containers: Vec::new(),
        // a request for a pod has only this pod; every other object can get more pods
        grows: request.follow && request.object.kind != Kind::Pod,
        pods: MOST_PODS,
        streams: MOST_STREAMS,
        // a log that is not followed is read once
        in_all: if request.follow { usize::MAX } else { MOST_PODS },
    };
    let select = move |world: &World| {
        let Some(cluster) = world.cluster(request.object.cluster) else { return Vec::new() };
        let mut pods: Vec<_> =
            pods_of(cluster, &request.object, request.within.as_ref()).into_iter().cloned().collect();
        pods.sort_by(|a, b| worst_first(a, b));
        pods
    };
    group.spawn_once(async move {
        let pump = pump(ticket, told, inbox.clone());
        tokio::join!(read_pods(&reader, &ask, select, world, out), pump);
        hand(&inbox, Input::LogEnded(ticket)).await;
    });
}

async fn pump(ticket: Ticket, mut told: mpsc::Receiver<Told>, inbox: SyncSender<Input>) {
    let mut batch = Vec::new();
    let on_the_way = Arc::new(Semaphore::new(MOST_BATCHES));
    while told.recv_many(&mut batch, BATCH).await > 0 {
        let (mut lines, mut notes) = (Vec::new(), Vec::new());
        for told in batch.drain(..) {
            match told {
                Told::Line(line) => lines.push(line),
                Told::Note { pod, container, words, .. } => {
                    notes.push(LogNote { pod: short(&pod), container, words: words.unwrap_or_default() });
                }
                Told::Nothing { pod, why } => {
                    let (container, words) = (Name::default(), why.words().to_owned());
                    notes.push(LogNote { pod: short(&pod), container, words });
                }
            }
        }
        // lines of several containers arrive interleaved, and are sorted within one batch
        lines.sort_by_key(|line: &LogLine| line.at);
        if !lines.is_empty() {
            let shown = lines.into_iter().flat_map(rows).collect();
            let Ok(permit) = on_the_way.clone().acquire_owned().await else { return };
            hand(&inbox, Input::LogLines(ticket, shown, Arc::new(permit))).await;
        }
        if !notes.is_empty() {
            hand(&inbox, Input::LogNotes(ticket, notes)).await;
        }
    }
}

fn short(pod: &Name) -> Name {
    pod.rsplit('/').next().map_or_else(Name::default, Name::from)
}

/// Converts an entry to rows of an open log. A stack trace has one row for each line.
fn rows(line: LogLine) -> Vec<Shown> {
    let shown = shown(line);
    if !shown.text.contains('\n') {
        return vec![shown];
    }
    let parts = shown.text.split('\n').enumerate();
    // the entry counts as cut once, in its first row
    let cut = |i| if i == 0 { shown.cut } else { 0 };
    parts
        .map(|(i, text)| Shown { text: text.to_owned(), more: i > 0, cut: cut(i), ..shown.clone() })
        .collect()
}

/// Converts a line to the screen's type.
pub(super) fn shown(line: LogLine) -> Shown {
    Shown {
        at: (line.at != Stamp::default()).then_some(line.at),
        level: line.level,
        namespace: line.pod.split_once('/').map_or_else(Name::default, |(namespace, _)| namespace.into()),
        pod: short(&line.pod),
        container: line.container,
        text: line.text,
        cut: line.cut,
        more: false,
        mark: line.mark.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::log::Mark;

    use super::*;

    #[test]
    fn a_gap_is_no_line_of_the_log() {
        let gap = LogLine { mark: Some(Mark::Gap), text: "lines are missing".into(), ..LogLine::default() };
        assert!(shown(gap).mark && !shown(LogLine::default()).mark);
        let cut = LogLine { cut: 7, text: "long\n  more".into(), ..LogLine::default() };
        assert_eq!(rows(cut).iter().map(|row| row.cut).collect::<Vec<_>>(), [7, 0], "one line of the log");
    }

    #[test]
    fn a_stack_trace_is_shown_row_by_row() {
        let entry = LogLine { text: "ERROR boom\n\tat f\n".into(), ..LogLine::default() };
        let shown: Vec<(String, bool)> = rows(entry).into_iter().map(|row| (row.text, row.more)).collect();
        assert_eq!(shown, [("ERROR boom".into(), false), ("\tat f".into(), true), (String::new(), true)]);
    }

    #[test]
    fn what_was_cut_is_counted_once_and_a_gap_is_no_line_of_the_log() {
        let cut = LogLine { text: "ERROR boom\n\tat f".into(), cut: 7, ..LogLine::default() };
        let gap = |mark| LogLine { text: "lines are missing".into(), mark: Some(mark), ..LogLine::default() };
        let entries = [cut, gap(Mark::Gap), gap(Mark::Note)];
        let shown: Vec<(u32, bool)> =
            entries.into_iter().flat_map(rows).map(|row| (row.cut, row.mark)).collect();
        assert_eq!(shown, [(7, false), (0, false), (0, true), (0, true)]);
    }
}
