//! An open log: its lines, the filter, and what the person reads.

use std::collections::{HashMap, VecDeque};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::filter::{Filter, Subject};

use crate::ui::request::{LogLine, LogNote, LogRequest, Ticket};

/// The maximum number of lines that are kept of a log, and of bytes in their texts.
pub const LOG_LINES: usize = 20_000;
const LOG_BYTES: usize = 16 << 20;

/// How the time of a line is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    #[default]
    Off,
    Local,
    Utc,
}

impl Times {
    /// Returns the next of the choices.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Off => Self::Local,
            Self::Local => Self::Utc,
            Self::Utc => Self::Off,
        }
    }
}

/// The columns before the text of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// The level, if there is room, and the pod and the container, if there are several.
    #[default]
    Needed,
    /// The level, the namespace, the pod, the container and the node.
    All,
    /// Only the text.
    Text,
}

impl Columns {
    /// Returns the next of the choices.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Needed => Self::All,
            Self::All => Self::Text,
            Self::Text => Self::Needed,
        }
    }
}

/// An open log. Positions count the lines that pass the filter.
#[derive(Clone, Debug)]
pub struct LogView {
    pub title: String,
    pub ticket: Ticket,
    /// The request, which is sent again with another `since`.
    pub request: LogRequest,
    pub lines: VecDeque<LogLine>,
    /// The bytes of the texts.
    bytes: usize,
    /// The number of lines that were removed at the start, which is also the number of the first line.
    pub dropped: u64,
    /// The number of newer lines that were not kept, because the view was full and the user was reading old lines.
    pub missed: u64,
    /// The number of lines that are longer than what is kept of them.
    pub cut: u64,
    /// Notes about the containers, in addition to the lines.
    pub notes: Vec<LogNote>,
    /// Whether the log has ended, so that no more lines arrive.
    pub ended: bool,
    pub follow: bool,
    pub wrap: bool,
    pub times: Times,
    pub columns: Columns,
    /// Whether to show the pod of each line. The next field says the same for the container.
    pub several_pods: bool,
    pub several_containers: bool,
    /// The node of each pod that is read or has lines.
    pub nodes: HashMap<(Name, Name), Name>,
    pub find: String,
    pub filter: Filter,
    /// The numbers of the lines that pass the filter, or `None` if it hides nothing.
    passing: Option<VecDeque<u64>>,
    /// The position of the line under the cursor, and of the first visible line.
    pub at: usize,
    pub top: usize,
    pub page: usize,
    /// The time that a bar stood for in the last frame, in milliseconds.
    pub step: i64,
}

impl LogView {
    /// Creates a log without lines.
    pub fn new(title: String, ticket: Ticket, request: LogRequest) -> Self {
        Self {
            title,
            ticket,
            follow: request.follow,
            request,
            lines: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            missed: 0,
            cut: 0,
            notes: Vec::new(),
            ended: false,
            wrap: false,
            times: Times::default(),
            columns: Columns::default(),
            several_pods: false,
            several_containers: false,
            nodes: HashMap::new(),
            find: String::new(),
            filter: Filter::default(),
            passing: None,
            at: 0,
            top: 0,
            page: 0,
            step: 0,
        }
    }

    /// Starts over with another request. The settings of the view stay.
    pub fn restart(&mut self, ticket: Ticket, request: LogRequest) {
        (self.ticket, self.request) = (ticket, request);
        self.lines.clear();
        self.notes.clear();
        (self.bytes, self.dropped, self.missed, self.cut) = (0, 0, 0, 0);
        (self.at, self.top, self.step, self.ended) = (0, 0, 0, false);
        self.follow = self.request.follow;
        self.passing = self.filter.hides().then(VecDeque::new);
    }

    /// The number of lines that pass the filter.
    pub fn len(&self) -> usize {
        self.passing.as_ref().map_or(self.lines.len(), VecDeque::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of lines that the filter hides.
    pub fn hidden(&self) -> usize {
        self.lines.len() - self.len()
    }

    /// Returns the index of a line by its position.
    fn index(&self, position: usize) -> Option<usize> {
        match &self.passing {
            None => Some(position).filter(|at| *at < self.lines.len()),
            Some(passing) => usize::try_from(passing.get(position)?.checked_sub(self.dropped)?).ok(),
        }
    }

    /// Returns a line by its position.
    pub fn line(&self, position: usize) -> Option<&LogLine> {
        self.lines.get(self.index(position)?)
    }

    /// Returns the lines that pass the filter, from a position on.
    pub fn from(&self, position: usize) -> impl DoubleEndedIterator<Item = &LogLine> {
        (position..self.len()).filter_map(|at| self.line(at))
    }

    /// Returns the position of the line under the cursor: the last line while the log is followed.
    pub fn cursor(&self) -> usize {
        let last = self.len().saturating_sub(1);
        if self.follow { last } else { self.at.min(last) }
    }

    /// Returns the whole entry of the line under the cursor: its first line, and its text with all lines.
    pub fn entry(&self) -> Option<(&LogLine, String)> {
        let mut first = self.index(self.cursor())?;
        while first > 0 && self.lines.get(first).is_some_and(|line| line.more) {
            first -= 1;
        }
        let head = self.lines.get(first)?;
        let rest = self.lines.iter().skip(first + 1).take_while(|line| line.more);
        let texts: Vec<&str> = std::iter::once(head).chain(rest).map(|line| line.text.as_str()).collect();
        Some((head, texts.join("\n")))
    }

    /// Moves the cursor, and stops following. The line keeps some lines of its context above it.
    pub fn go(&mut self, position: usize) {
        self.stop();
        self.at = position.min(self.len().saturating_sub(1));
        let is_visible = self.at >= self.top && self.at < self.top + self.page;
        if !is_visible {
            self.top = self.at.saturating_sub(self.page / 3);
        }
    }

    /// Stops following, with the cursor on the last line.
    pub fn stop(&mut self) {
        if self.follow {
            self.at = self.cursor();
            self.follow = false;
        }
    }

    /// Goes to the end and follows it. Lines that were not kept in the meantime leave a mark.
    pub fn resume(&mut self, now: Stamp) {
        self.follow = true;
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            let text = format!("{missed} lines that arrived while you read older ones were not kept");
            let mark = LogLine {
                at: self.lines.back().and_then(|line| line.at),
                mark: true,
                text,
                ..LogLine::default()
            };
            self.add(vec![mark], now);
        }
    }

    /// Applies another filter. The cursor stays on its line, or goes to the next one that passes.
    pub fn set_filter(&mut self, filter: Filter, now: Stamp) {
        let number = |view: &Self, position: usize| {
            view.index(position).map_or(0, |index| view.dropped + index as u64)
        };
        let (at, top) = (number(self, self.cursor()), number(self, self.top));
        self.filter = filter;
        self.passing = self.filter.hides().then(VecDeque::new);
        self.judge(0, now);
        let position = |number: u64| match &self.passing {
            None => usize::try_from(number.saturating_sub(self.dropped)).unwrap_or(usize::MAX),
            Some(passing) => passing.partition_point(|passes| *passes < number),
        };
        let last = self.len().saturating_sub(1);
        (self.at, self.top) = (position(at).min(last), position(top).min(last));
    }

    /// Determines which lines pass the filter, from this index on, which is the start of an entry.
    fn judge(&mut self, from: usize, now: Stamp) {
        let Some(passing) = &mut self.passing else { return };
        let first = self.dropped + from as u64;
        passing.truncate(passing.partition_point(|number| *number < first));
        let mut index = from;
        while let Some(head) = self.lines.get(index) {
            let more = self.lines.range(index + 1..).take_while(|line| line.more).count();
            let subject = |text| Subject {
                at: head.at,
                level: head.level,
                namespace: &head.namespace,
                pod: &head.pod,
                container: &head.container,
                node: self.nodes.get(&(head.namespace.clone(), head.pod.clone())).map_or("", Name::as_str),
                text,
            };
            // the lines of an entry are shown together
            let passes = head.mark
                || if more == 0 {
                    self.filter.passes(&subject(&head.text), now)
                } else {
                    let texts: Vec<&str> =
                        self.lines.range(index..=index + more).map(|line| line.text.as_str()).collect();
                    self.filter.passes(&subject(&texts.join("\n")), now)
                };
            if passes {
                let number = self.dropped + index as u64;
                passing.extend(number..=number + more as u64);
            }
            index += more + 1;
        }
    }

    /// Adds lines by their time, because containers are read at different speeds. A line without a time stays after
    /// the line that it followed.
    pub fn add(&mut self, lines: Vec<LogLine>, now: Stamp) {
        if let Some(first) =
            self.lines.front().or(lines.first()).map(|l| (l.pod.clone(), l.container.clone()))
        {
            let named = || lines.iter().filter(|line| !line.mark);
            self.several_pods |= named().any(|l| l.pod != first.0);
            self.several_containers |= named().any(|l| l.pod == first.0 && l.container != first.1);
        }
        let lines = self.admit(lines);
        self.cut += lines.iter().filter(|line| line.cut > 0).count() as u64;
        self.bytes += lines.iter().map(|line| line.text.len()).sum::<usize>();
        let from = self.place(&lines);
        // the indexes of the lines that the user reads; a line that is inserted before them moves them
        let (mut at, mut top) = (self.index(self.at), self.index(self.top));
        let mut old = self.lines.split_off(from).into_iter().peekable();
        let mut new = lines.into_iter().peekable();
        let (mut at_moved, mut top_moved) = (at, top);
        let mut taken = from;
        loop {
            let takes_old = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.at.is_none() || new.at.is_some_and(|at| old.at <= Some(at)),
                (Some(_), None) => true,
                (None, _) => false,
            };
            let Some(line) = (if takes_old { old.next() } else { new.next() }) else { break };
            if takes_old {
                if at == Some(taken) {
                    at_moved = Some(self.lines.len());
                }
                if top == Some(taken) {
                    top_moved = Some(self.lines.len());
                }
                taken += 1;
            }
            self.lines.push_back(line);
        }
        // an entry that is judged again begins with its first line
        let mut judged = from;
        while judged > 0 && self.lines.get(judged).is_some_and(|line| line.more) {
            judged -= 1;
        }
        self.judge(judged, now);
        (at, top) = (at_moved, top_moved);
        self.at = at.map_or(self.at, |index| self.position(index));
        self.top = top.map_or(self.top, |index| self.position(index));
        self.trim();
    }

    /// Returns the position of a line that passes the filter, by its index.
    fn position(&self, index: usize) -> usize {
        let number = self.dropped + index as u64;
        self.passing.as_ref().map_or(index, |passing| passing.partition_point(|passes| *passes < number))
    }

    /// Returns the index where the first of the new lines belongs.
    fn place(&self, lines: &[LogLine]) -> usize {
        let Some(at) = lines.iter().find_map(|line| line.at) else { return self.lines.len() };
        // only a few lines at the end are later than the first new line
        let later = self.lines.iter().rev().take_while(|l| l.at.is_none_or(|held| held > at)).count();
        let mut from = self.lines.len() - later;
        while self.lines.get(from).is_some_and(|line| line.at.is_none()) {
            from += 1;
        }
        from
    }

    /// Whether there is no room for more.
    fn is_full(&self, lines: usize, bytes: usize) -> bool {
        self.lines.len() + lines > LOG_LINES || self.bytes + bytes > LOG_BYTES
    }

    /// Leaves out new lines that would displace the lines that the user reads, and counts them.
    fn admit(&mut self, mut lines: Vec<LogLine>) -> Vec<LogLine> {
        if self.follow {
            return lines;
        }
        // lines above the screen can be dropped
        let above = self.index(self.top).unwrap_or(0);
        let spare: usize = self.lines.iter().take(above).map(|line| line.text.len()).sum();
        let (mut count, mut bytes) = (0usize, 0usize);
        let fits = lines.iter().take_while(|line| {
            count += 1;
            bytes += line.text.len();
            !self.is_full(count.saturating_sub(above), bytes.saturating_sub(spare))
        });
        let kept = fits.count();
        self.missed += (lines.len() - kept) as u64;
        lines.truncate(kept);
        lines
    }

    /// Drops the oldest lines of a full view.
    fn trim(&mut self) {
        while self.is_full(0, 0) {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.text.len());
            let passed = match &mut self.passing {
                None => true,
                Some(passing) => {
                    let passed = passing.front() == Some(&self.dropped);
                    if passed {
                        passing.pop_front();
                    }
                    passed
                }
            };
            self.dropped += 1;
            if passed {
                self.at = self.at.saturating_sub(1);
                self.top = self.top.saturating_sub(1);
            }
        }
    }
}
