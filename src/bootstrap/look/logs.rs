//! The command `pilothouse logs`: prints log lines of pods, or of standard input, or counts them by what they say.

mod choose;
mod input;
mod notes;
mod print;

use std::collections::HashMap;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::World;
use pilothouse_core::logs::targets::worst_first;
use tokio::sync::mpsc;

use self::choose::{Chosen, Containers, Selection, is_ready};
use self::notes::Notes;
use self::print::{End, Printer};
use super::super::logs::pods::{ALL, Ask, read_pods};
use super::{CLOSE, Start, exit, explain_nothing, saw_nothing};
use crate::bootstrap::session::Session;
use crate::bootstrap::signals::Interrupt;
use crate::cli::logs::{INPUT, LogFlags};
use crate::clock::Clock;
use crate::report::logs::Entry;
use crate::source::Wanted;
use crate::source::logs::{LogLine, Told};

/// The number of entries that are printed together.
const BATCH: usize = 1000;
/// The maximum size of the entries that are held until all are there, to be ordered by time.
const HELD_BYTES: usize = 256 << 20;
/// How many containers are read at the same time if they are not followed.
const AT_ONCE: usize = 16;
/// Lines of several containers that arrive within this time are ordered by their time.
const ORDER: Duration = Duration::from_millis(100);
/// The same for the first lines, because the streams are opened one after the other.
const FIRST: Duration = Duration::from_secs(1);

/// Returns the printer, or why the flags do not go together.
fn printer(start: &Start, flags: &LogFlags) -> Result<Printer, String> {
    let printer = Printer::new(start, flags)?;
    if flags.follow && flags.group {
        return Err(
            "--group counts the lines once all are read, which does not happen with -f: leave one of them out"
                .into(),
        );
    }
    Ok(printer)
}

/// Reads standard input and no cluster. Returns the exit status.
pub(crate) async fn input(start: &Start, flags: &LogFlags) -> u8 {
    let usage = |why: &str| {
        start.voice.tell(why);
        exit::USAGE
    };
    let mut printer = match printer(start, flags) {
        Ok(printer) => printer,
        Err(why) => return usage(&why),
    };
    if flags.objects.iter().any(|object| object != INPUT) {
        return usage("- is standard input, which has no workloads");
    }
    if flags.follow && flags.tail.is_some() {
        return usage("--tail of standard input waits for its end, so it does not go with -f");
    }
    input::input(start, flags, &mut printer).await
}

/// Returns an error if the flags cannot be used, which is the same for each cluster.
pub(crate) fn check(start: &Start, flags: &LogFlags) -> Result<(), String> {
    prepared(start, flags).map(|_| ())
}

/// Reads the logs of a cluster. Returns the exit status.
pub(crate) async fn logs(start: &Start, flags: &LogFlags) -> u8 {
    match prepared(start, flags) {
        Ok((mut printer, selection)) => cluster(start, flags, selection, &mut printer).await,
        Err(why) => {
            start.voice.tell(&why);
            exit::USAGE
        }
    }
}

fn prepared(start: &Start, flags: &LogFlags) -> Result<(Printer, Selection), String> {
    let printer = printer(start, flags)?;
    let selector = flags.selector.as_deref().map(Selector::parse).transpose()?;
    let objects = flags.objects.iter().map(|word| Chosen::parse(word)).collect::<Result<_, _>>()?;
    let labels = flags.selector.iter().map(|selector| format!("-l {selector}"));
    let selection = Selection {
        objects,
        selector,
        nodes: flags.node.iter().map(|name| Name::from(name.as_str())).collect(),
        conditions: labels.chain(flags.node.iter().map(|node| format!("--node {node}"))).collect(),
        all: start.global.all_namespaces || !start.global.namespace.is_empty(),
    };
    Ok((printer, selection))
}

/// Converts a line, without what only the cluster knows of its pod.
fn entry(line: LogLine) -> Entry {
    let (namespace, pod) = line.pod.split_once('/').unwrap_or(("", line.pod.as_str()));
    Entry {
        at: (line.at != Stamp::default()).then_some(line.at),
        level: line.level,
        namespace: namespace.into(),
        pod: pod.into(),
        container: line.container,
        text: Name::from(line.text),
        fingerprint: line.fingerprint,
        mark: line.mark,
        ..Entry::default()
    }
}

async fn cluster(start: &Start, flags: &LogFlags, selection: Selection, printer: &mut Printer) -> u8 {
    let failed = |why: &str, status: u8| {
        start.voice.tell(why);
        status
    };
    let mut interrupt = Interrupt::new();
    let until = Clock::deadline(flags.look.wait);
    let connection = match interrupt.or(start.connect_until(until)).await {
        Some(Ok(connection)) => connection,
        Some(Err(why)) => return failed(&why, exit::USAGE),
        None => return exit::INTERRUPTED,
    };
    for note in &connection.notes {
        start.voice.tell(note);
    }
    let names = connection.clone();
    let wanted = Wanted::WithoutPodLogs;
    let opened = super::super::session::recorder(start, &connection, super::told(start))
        .and_then(|tap| Session::open(start, connection, false, Vec::new(), wanted, tap, |_| {}));
    let mut session = match opened {
        Ok(session) => session,
        Err(why) => return failed(&why, exit::USAGE),
    };
    let front = session.front;
    let ready = session.world.wait_for(|world| world.cluster(front).is_some_and(|c| is_ready(c)));
    let read = async {
        tokio::join!(
            tokio::time::timeout_at(until.into(), super::super::session::no_such_namespace(start, &names)),
            async { tokio::time::timeout_at(until.into(), ready).await.is_ok() },
        )
    };
    let Some((unknown, ready)) = interrupt.or(read).await else { return exit::INTERRUPTED };
    let status = match unknown.ok().flatten() {
        Some(why) => failed(&why, exit::USAGE),
        None => selected(start, flags, &selection, &session, ready, printer, &mut interrupt).await,
    };
    session.close(CLOSE).await;
    status
}

/// Reads the logs of the selected pods.
async fn selected(
    start: &Start,
    flags: &LogFlags,
    selection: &Selection,
    session: &Session,
    ready: bool,
    printer: &mut Printer,
    interrupt: &mut Interrupt,
) -> u8 {
    let world = session.world.borrow().clone();
    let (Some(cluster), Ok(handle)) = (world.cluster(session.front), session.shown()) else {
        start.voice.tell("nothing was seen of the cluster");
        return exit::FAILED;
    };
    if !cluster.pods.cover.is_read() || (!ready && saw_nothing(cluster)) {
        explain_nothing(start, cluster, flags.look.wait);
        return exit::FAILED;
    }
    let most = start.settings.logs.max_streams as usize;
    let now = start.clock.now();
    if let Some(object) = selection.unknown(cluster, flags.follow) {
        start.voice.tell(&format!("{object} has no pods, or does not exist"));
        return exit::FAILED;
    }
    let pods = selection.pods(cluster, now);
    if pods.is_empty() {
        let why = selection.nothing();
        if !flags.follow {
            let hint = if selection.is_open() { ": name a workload, or use -A for all pods" } else { "" };
            start.voice.tell(&format!("{why}{hint}"));
            return if selection.conditions.is_empty() { exit::DONE } else { exit::FAILED };
        }
        start.voice.tell(&format!("{why} yet: waiting for one"));
    }
    let containers = flags.container.iter().map(|name| Name::from(name.as_str())).collect();
    let containers = match interrupt.or(Containers::find(containers, &pods, cluster, handle.reader())).await {
        Some(Ok(containers)) => containers,
        Some(Err(why)) => {
            start.voice.tell(&why);
            return exit::FAILED;
        }
        None => return exit::INTERRUPTED,
    };
    let pods: Vec<_> = pods.into_iter().filter(|pod| containers.takes(pod)).collect();
    let since = flags.since.map(|since| u32::try_from(since.as_secs().max(1)).unwrap_or(u32::MAX));
    let tail = flags.tail.unwrap_or(match (since, pods.len()) {
        (Some(_), _) => ALL,
        (None, ..=1) => 1000,
        (None, _) => 200,
    });
    let ask = Ask {
        previous: flags.previous,
        follow: flags.follow,
        tail,
        since,
        containers: containers.names().to_vec(),
        grows: flags.follow,
        pods: if flags.follow { most } else { AT_ONCE },
        streams: if flags.follow { most } else { AT_ONCE },
        in_all: usize::MAX,
    };
    let front = session.front;
    let select = |world: &World| {
        let Some(cluster) = world.cluster(front) else { return Vec::new() };
        let mut pods = selection.pods(cluster, start.clock.now());
        pods.retain(|pod| containers.takes(pod));
        pods.sort_by(|a, b| worst_first(a, b));
        pods
    };
    let (out, told) = mpsc::channel(BATCH);
    let mut notes = Notes::new(start.voice.clone());
    let reading = read_pods(handle.reader(), &ask, select, session.world.clone(), out);
    let printing = async {
        if flags.follow {
            (follow(start, told, session, printer, &mut notes).await, false)
        } else {
            collect(start, told, &world, printer, &mut notes).await
        }
    };
    let (end, incomplete) = tokio::select! {
        ((), ended) = async { tokio::join!(reading, printing) } => ended,
        () = start.stop.cancelled() => (End::Unread, false),
        () = interrupt.came() => (End::Interrupted, false),
    };
    if end == End::Unread {
        // nobody reads what is printed about other clusters either
        start.stop.cancel();
    }
    notes.tell_nothing();
    if flags.group && flags.since.is_none() && flags.tail.is_none() {
        notes.tell_part(tail);
    }
    let nothing = !flags.follow && notes.has_reason() && printer.lines() == 0;
    printer.finish(end, incomplete || nothing || notes.has_unread())
}

/// Collects the whole logs, orders their lines by time and prints them. Returns whether lines are missing.
async fn collect(
    start: &Start,
    mut told: mpsc::Receiver<Told>,
    world: &World,
    printer: &mut Printer,
    notes: &mut Notes,
) -> (End, bool) {
    let (mut held, mut bytes, mut left_out) = (Vec::new(), 0usize, 0u64);
    while let Some(told) = told.recv().await {
        match told {
            Told::Line(line) if bytes + line.text.len() > HELD_BYTES => {
                left_out += 1;
            }
            Told::Line(line) => {
                notes.line(&line);
                bytes += line.text.len();
                held.push(line);
            }
            Told::Note { pod, container, words, failed } => notes.take(pod, container, words, failed),
            Told::Nothing { pod, why } => notes.nothing(pod, why),
        }
    }
    held.sort_by_key(|line: &LogLine| line.at);
    let mut known = Pods::new(start);
    let entries: Vec<Entry> = held.into_iter().map(|line| known.entry(line, world)).collect();
    if left_out > 0 {
        start.voice.tell(&format!("{left_out} lines are left out: use --since or --tail for fewer"));
    }
    (printer.print(&entries).unwrap_or(End::Complete), left_out > 0)
}

/// Prints lines as they arrive.
async fn follow(
    start: &Start,
    mut told: mpsc::Receiver<Told>,
    session: &Session,
    printer: &mut Printer,
    notes: &mut Notes,
) -> End {
    let (mut batch, mut known, mut any) = (Vec::new(), Pods::new(start), false);
    while told.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            // the lines of other containers that belong before these are on their way
            let wait = if any { ORDER } else { FIRST };
            let more = tokio::time::timeout(wait, async {
                while batch.len() < BATCH && told.recv_many(&mut batch, BATCH).await > 0 {}
            });
            // the time is over, or the batch is full
            let _over = more.await;
        }
        let mut lines = Vec::new();
        for told in batch.drain(..) {
            match told {
                Told::Line(line) => lines.push(line),
                Told::Note { pod, container, words, failed } => notes.take(pod, container, words, failed),
                Told::Nothing { pod, why } => notes.nothing(pod, why),
            }
        }
        lines.sort_by_key(|line: &LogLine| line.at);
        any |= !lines.is_empty();
        let world = session.world.borrow().clone();
        let entries: Vec<Entry> = lines.into_iter().map(|line| known.entry(line, &world)).collect();
        if let Some(end) = printer.print(&entries) {
            return end;
        }
    }
    End::Complete
}

/// The nodes and workloads of pods, because a search for each line would take long.
struct Pods {
    known: HashMap<Name, (Name, Name)>,
    /// The context, if the logs of several clusters are printed.
    context: Name,
}

impl Pods {
    fn new(start: &Start) -> Self {
        Self { known: HashMap::new(), context: start.voice.context().cloned().unwrap_or_default() }
    }

    fn entry(&mut self, line: LogLine, world: &World) -> Entry {
        let key = line.pod.clone();
        let mut entry = Entry { context: self.context.clone(), ..entry(line) };
        if !self.known.contains_key(&key)
            && let Some(cluster) = world.clusters.first()
            && let Some(pod) = cluster.pod(&entry.namespace, &entry.pod)
            && let Some(node) = &pod.node
        {
            self.known.insert(key.clone(), (node.clone(), choose::workload(pod, cluster)));
        }
        if let Some((node, workload)) = self.known.get(&key) {
            (entry.node, entry.workload) = (node.clone(), workload.clone());
        }
        entry
    }
}
