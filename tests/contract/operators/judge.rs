//! Compares the output of each process with the server's audit log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::moves::{FLAGS, Process};
use super::seen::{Field, Gone, Seen, Write, Writer};

/// How old the last news of a node may be when a drain ends.
const NEWS: i64 = 2_000_000;

/// How long the news of an eviction may take to another process.
const ON_ITS_WAY: i64 = 50_000;

/// What a journal has in the end.
pub struct Kept {
    pub actions: Vec<Value>,
    /// The ids of those that are listed as unfinished.
    pub unfinished: Vec<String>,
    /// Which process began which action.
    pub begun: BTreeMap<u32, String>,
}

/// By the home that they are in.
pub type Journals = BTreeMap<PathBuf, Kept>;

pub struct Judge<'a> {
    processes: &'a [Process],
    seen: &'a Seen,
    journals: &'a Journals,
    /// The action of each process, and what the journal has of it in the end.
    ids: Vec<Option<String>>,
    kept: Vec<Option<Value>>,
    pub wrong: Vec<String>,
}

/// What a step writes; None for pods.
fn field(what: &str) -> Option<Field> {
    match what.split_whitespace().next()? {
        "cordon" | "uncordon" => Some(Field::Unschedulable),
        "scale" => Some(Field::Replicas),
        "restart" | "roll" => Some(Field::Template),
        _ => None,
    }
}

fn on(step: &Value) -> String {
    format!("{}/{}", step["on"]["kind"].as_str().unwrap(), step["on"]["name"].as_str().unwrap())
}

fn steps(of: &Value) -> Vec<(&str, &Value)> {
    let steps = of["steps"].as_array().into_iter().flatten();
    steps.map(|s| (s["what"].as_str().unwrap(), s)).collect()
}

/// The journal has what was printed; when a budget is looked at next is only shown.
fn agree(kept: &Value, printed: &Value) -> bool {
    let (of, others) = (steps(kept), steps(printed));
    let same = |((what, a), (other, b)): (&(&str, &Value), &(&str, &Value))| {
        let note = |step: &Value| step["note"].as_str().unwrap_or_default().to_owned();
        what == other
            && (&a["on"], &a["state"], &a["at"]) == (&b["on"], &b["state"], &b["at"])
            && note(b).starts_with(&note(a))
    };
    kept["outcome"] == printed["outcome"] && of.len() == others.len() && of.iter().zip(&others).all(same)
}

impl<'a> Judge<'a> {
    pub fn new(processes: &'a [Process], seen: &'a Seen, journals: &'a Journals) -> Self {
        let mut judge =
            Self { processes, seen, journals, ids: Vec::new(), kept: Vec::new(), wrong: Vec::new() };
        for p in processes {
            let journal = &journals[&p.home];
            let id = journal.begun.get(&p.pid);
            let kept = id.and_then(|id| journal.actions.iter().find(|d| d["id"] == **id));
            judge.ids.push(kept.map(|d| d["id"].as_str().unwrap().to_owned()));
            judge.kept.push(kept.cloned());
            let printed = p.result.as_ref().filter(|r| !r["id"].is_null());
            if let (Some(kept), Some(printed)) = (kept, printed)
                && !agree(kept, printed)
            {
                let (kept, printed) = (&kept["steps"], &printed["steps"]);
                judge.wrong.push(format!("{}: the journal has {kept}, it said {printed}", p.args.join(" ")));
            }
        }
        judge
    }

    fn says(&mut self, p: usize, what: &str) {
        let process = &self.processes[p];
        let words = process.args[..process.args.len() - FLAGS].join(" ");
        self.wrong.push(format!("{} {words} ({}): {what}", process.hand, process.pid));
    }

    /// The action that a process carries on, however often it was resumed.
    fn chain(&self, p: usize) -> usize {
        let process = &self.processes[p];
        let before = process.of.as_ref().filter(|_| process.is_resume());
        let before = before.and_then(|of| self.ids.iter().position(|id| id.as_ref() == Some(of)));
        before.filter(|before| *before != p).map_or(p, |before| self.chain(before))
    }

    fn chain_of(&self, by: Writer) -> Option<usize> {
        if let Writer::Process(p) = by { Some(self.chain(p)) } else { None }
    }

    pub fn all(&mut self, left: &[String]) {
        for p in 0..self.processes.len() {
            self.ended(p);
            self.taken_up(p);
            self.steps(p, left);
            self.words(p);
            self.overwritten(p);
        }
        self.twice();
        self.evicted_twice();
        self.listed();
    }

    /// The exit status, the outcome and whether anything may have been sent.
    fn ended(&mut self, p: usize) {
        let process = &self.processes[p];
        let outcome = process.result.as_ref().and_then(|r| r["outcome"].as_str());
        let wants = match outcome {
            Some("done") => Some(0),
            Some("failed") => Some(1),
            Some("refused") => Some(3),
            Some("unknown") => Some(4),
            Some("cancelled") => Some(130),
            _ => process.code,
        };
        let sent = self.seen.sent.get(&p).copied().unwrap_or(0);
        let signals = process.signals.clone();
        let code = process.code;
        if code != wants {
            self.says(p, &format!("{outcome:?} and the exit status {code:?}"));
        }
        if matches!(code, Some(2 | 3)) && sent > 0 {
            self.says(p, &format!("exit status {code:?}, and {sent} requests that change something"));
        }
        if matches!(code, Some(4 | 130) | None) && signals.is_empty() {
            self.says(p, &format!("exit status {code:?}, and nobody has told it to end"));
        }
        if self.ids[p].is_none() && sent > 0 {
            self.says(p, &format!("{sent} requests that change something, and it is in no journal"));
        }
    }

    fn steps(&mut self, p: usize, left: &[String]) {
        let process = &self.processes[p];
        let Some(result) = &process.result else { return };
        let (outcome, ended) = (result["outcome"].as_str().unwrap_or_default(), process.ended);
        let is_drain = result["action"] == "drain";
        for (what, step) in steps(result) {
            let (state, object) = (step["state"].as_str().unwrap_or("waiting"), on(step));
            if outcome == "done" && !matches!(state, "verified" | "skipped") {
                self.says(p, &format!("done, and {what} {object} is {state}"));
            }
            let Some(field) = field(what) else {
                self.pod(p, state, step, left);
                continue;
            };
            let own = self.seen.own(p, &object, field);
            match state {
                "verified" if own.len() == 1 => {
                    // a drain that did not come to its end speaks of its node in its message
                    if is_drain && outcome != "done" {
                        continue;
                    }
                    let from = self.seen.last_read(p, &object, ended);
                    let from = from.map_or(ended - NEWS, |at| at.min(ended));
                    let value = own[0].values[&field].clone();
                    let held = self.seen.within(&object, field, from, ended);
                    if !held.iter().any(|(_, held)| *held == value) {
                        let by: Vec<Writer> = held.iter().map(|(w, _)| w.by).collect();
                        self.says(p, &format!("{what} {object} is verified, and it was not so: {by:?}"));
                    }
                }
                "verified" => {
                    self.says(p, &format!("{what} {object} is verified with {} writes", own.len()));
                }
                "skipped" | "waiting" | "held" if !own.is_empty() => {
                    self.says(p, &format!("{what} {object} is {state}, and it was written"));
                }
                "failed" if !own.is_empty() => {
                    let foreign =
                        |w: &&Write| w.object == object && w.by != Writer::Process(p) && w.field.is_some();
                    let after = own.iter().map(|w| w.asked).min().unwrap_or(0);
                    let mut later = self.seen.writes.iter().filter(foreign);
                    if !later.any(|w| w.answered >= after && w.asked <= ended) {
                        let note = &step["note"];
                        self.says(p, &format!("{what} {object} failed ({note}), and nobody else wrote it"));
                    }
                }
                _ => {}
            }
            let note = step["note"].as_str().unwrap_or_default();
            let sent = [("applied", true), ("not sent", false), ("stopped before", false)];
            if sent.iter().any(|(words, sent)| note.starts_with(words) && own.is_empty() == *sent) {
                self.says(p, &format!("{what} {object}: {note:?}, with {} writes", own.len()));
            }
            if own.len() > 1 {
                self.says(p, &format!("{what} {object} was written {} times", own.len()));
            }
        }
    }

    fn pod(&mut self, p: usize, state: &str, step: &Value, left: &[String]) {
        let (uid, name) = (step["on"]["uid"].as_str().unwrap(), step["on"]["name"].as_str().unwrap());
        let own = |g: &&Gone| g.by == Writer::Process(p) && g.uid == uid;
        let sent = self.seen.gone.iter().filter(own).count();
        if matches!(state, "skipped" | "waiting" | "held") && sent > 0 {
            self.says(p, &format!("pod {name} is {state}, and its eviction was accepted"));
        }
        if state == "verified" && left.iter().any(|there| there == uid) {
            self.says(p, &format!("pod {name} is gone, and it is there"));
        }
    }

    /// Of a resumed action nothing is left to do if each step was written, by it or by the action itself, or is so.
    fn taken_up(&mut self, p: usize) {
        let process = &self.processes[p];
        let nothing = process.told.iter().any(|line| line.ends_with("nothing is left to do"));
        let Some(kept) = self.kept[self.chain(p)].clone().filter(|_| nothing) else { return };
        let chain = |w: &&Write| self.chain_of(w.by) == Some(self.chain(p));
        let mut found = Vec::new();
        for (what, step) in steps(&kept) {
            let (object, Some(field)) = (on(step), field(what)) else { continue };
            let own = self.seen.writes.iter().filter(chain);
            let written = own.filter(|w| w.object == object && w.field == Some(field)).count();
            let wants = match what.split_once(" to ") {
                _ if what == "cordon" => "true",
                _ if what == "uncordon" => "false",
                Some((scale, to)) if scale.starts_with("scale") => to,
                _ => "",
            };
            let held = self.seen.within(&object, field, process.started, process.ended);
            if written == 0 && !held.iter().any(|(_, held)| *held == wants) {
                found.push(format!("nothing is left to do, and {what} {object} was not written"));
            }
        }
        for what in found {
            self.says(p, &what);
        }
    }

    /// What it says of its nodes in the end, and who it says has changed something.
    fn words(&mut self, p: usize) {
        let process = &self.processes[p];
        let Some(result) = &process.result else { return };
        let message = result["message"].as_str().unwrap_or_default();
        let ended = process.ended;
        for part in message.split("; ") {
            let claim = [("still cordoned: ", "true"), ("not cordoned any more: ", "false")];
            let Some((nodes, value)) = claim.iter().find_map(|(w, v)| Some((part.strip_prefix(w)?, *v)))
            else {
                continue;
            };
            for node in nodes.split(", ") {
                let object = format!("Node/{node}");
                let from = self.seen.last_read(p, &object, ended).unwrap_or(ended - NEWS);
                let held = self.seen.within(&object, Field::Unschedulable, from, ended);
                if !held.iter().any(|(_, held)| *held == value) {
                    self.says(p, &format!("{part}: unschedulable was not {value} then"));
                }
            }
        }
        let mut notes: Vec<(String, Field, String)> = Vec::new();
        for (what, step) in steps(result) {
            if let (Some(field), Some(note)) = (field(what), step["note"].as_str()) {
                notes.push((on(step), field, note.to_owned()));
            }
        }
        for (object, field, note) in notes {
            let Some((_, who)) = note.split_once("last changed by ") else { continue };
            let who = who.split([' ', ')', ';']).next().unwrap_or_default().to_owned();
            let from = self.seen.last_read(p, &object, ended).unwrap_or(ended - NEWS);
            let held = self.seen.within(&object, field, from, ended);
            let meant = |by: Writer| match by {
                Writer::Kubectl => who.starts_with("kubectl"),
                Writer::Process(other) => who == "pilothouse" && other != p,
                Writer::Other => who.starts_with("kubectl"),
            };
            if !held.iter().any(|(w, _)| meant(w.by)) {
                let by: Vec<Writer> = held.iter().map(|(w, _)| w.by).collect();
                self.says(p, &format!("{object}: {note:?}, and it was {by:?}"));
            }
        }
    }

    /// A write that replaces a number or a template follows a look at the value that it replaces; a scale replaces the
    /// number that it says, an undo only what it undoes.
    fn overwritten(&mut self, p: usize) {
        let undone = {
            let process = &self.processes[p];
            let of = process.of.as_ref().filter(|_| !process.is_resume());
            of.and_then(|of| self.ids.iter().position(|id| id.as_ref() == Some(of)))
        };
        let mut found = Vec::new();
        for field in [Field::Unschedulable, Field::Replicas, Field::Template] {
            for write in self.seen.writes.iter().filter(|w| w.by == Writer::Process(p)) {
                if write.field != Some(field) {
                    continue;
                }
                let changes = self.seen.changes(&write.object, field);
                let Some(place) = changes.iter().position(|(w, _)| std::ptr::eq(*w, write)) else { continue };
                let Some((before, replaced)) = place.checked_sub(1).and_then(|i| changes.get(i)) else {
                    continue;
                };
                let looked = self.seen.last_read(p, &write.object, write.asked).unwrap_or(0);
                if field != Field::Unschedulable && before.asked > looked {
                    found.push(format!("{}: {:?} wrote it after the last look", write.object, before.by));
                }
                if let Some(result) = &self.processes[p].result
                    && let Some((what, _)) = steps(result).into_iter().find(|(_, s)| on(s) == write.object)
                    && let Some((from, _)) = what.strip_prefix("scale ").and_then(|w| w.split_once(" to "))
                    && from != *replaced
                {
                    found.push(format!("{}: {what} has replaced {replaced}", write.object));
                }
                let Some(undoes) = undone.map(|of| self.chain(of)) else { continue };
                if self.chain_of(before.by) == Some(undoes) {
                    continue;
                }
                let mut left = changes[..place].iter().rev();
                let left = left.find(|(w, _)| self.chain_of(w.by) == Some(undoes)).map(|(_, value)| value);
                // the same value again: it is told by the field's owner, which a removed field has not, a template
                // has many of, and two of ours have in common
                let tellable =
                    before.by == Writer::Kubectl && field != Field::Template && *replaced != "false";
                if left != Some(replaced) || tellable {
                    found.push(format!("{}: the undo has replaced what {:?} wrote", write.object, before.by));
                }
            }
        }
        for what in found {
            self.says(p, &what);
        }
    }

    /// One action writes the same value again only over somebody else's.
    fn twice(&mut self) {
        let writes = &self.seen.writes;
        let mut found = Vec::new();
        for (i, write) in writes.iter().enumerate() {
            let (Writer::Process(p), Some(field)) = (write.by, write.field) else { continue };
            let same = |w: &&Write| w.object == write.object && w.values.contains_key(&field);
            let mut before = writes[..i].iter().rev().filter(same);
            let last = before.find(|w| w.field == Some(field));
            if let Some(last) = last
                && self.chain_of(last.by) == Some(self.chain(p))
                && last.values[&field] == write.values[&field]
            {
                found.push((p, format!("{} {field:?} was written twice in a row", write.object)));
            }
        }
        for (p, what) in found {
            self.says(p, &what);
        }
    }

    fn evicted_twice(&mut self) {
        let mut by: BTreeMap<&str, Vec<&Gone>> = BTreeMap::new();
        for gone in &self.seen.gone {
            if matches!(gone.by, Writer::Process(_)) {
                by.entry(&gone.uid).or_default().push(gone);
            }
        }
        // two drains of one node may send before the news of the other's eviction has come; the second changes nothing
        let blind = |a: &Gone, b: &Gone| {
            self.chain_of(a.by) != self.chain_of(b.by)
                && b.asked.max(a.asked) <= a.answered.min(b.answered) + ON_ITS_WAY
        };
        let pairs =
            |all: &[&Gone]| all.iter().enumerate().any(|(i, a)| all[i + 1..].iter().any(|b| !blind(a, b)));
        let twice = by.into_values().filter(|all| pairs(all));
        let found: Vec<String> = twice
            .map(|all| {
                let by: Vec<String> =
                    all.iter().map(|g| format!("{:?} {}..{}", g.by, g.asked, g.answered)).collect();
                format!("{} was evicted {} times: {}", all[0].name, all.len(), by.join(", "))
            })
            .collect();
        self.wrong.extend(found);
    }

    /// Whoever was ended from outside after it began is offered, or was taken up.
    fn listed(&mut self) {
        for p in 0..self.processes.len() {
            let process = &self.processes[p];
            let ended = process.signals.iter().any(|s| matches!(*s, "HUP" | "KILL"));
            let outcome = self.kept[p].as_ref().and_then(|kept| kept["outcome"].as_str());
            let open = ended && matches!(outcome, Some("unknown" | "cancelled"));
            let Some(id) = self.ids[p].clone().filter(|_| open) else { continue };
            let taken = self.processes.iter().any(|q| q.of.as_ref() == Some(&id) && q.is_resume());
            if !taken && !self.journals[&process.home].unfinished.contains(&id) {
                self.says(p, &format!("{id} was ended in the middle, and is not listed"));
            }
        }
    }
}
