//! The writes that the server saw for a round's objects, in the order of their versions, each with the resulting value.

use std::collections::BTreeMap;

use serde_json::Value;

use super::moves::{Hand, Process};

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Unschedulable,
    Replicas,
    Template,
}

/// The writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// One of our processes.
    Process(usize),
    Kubectl,
    /// A controller, or the state before the round.
    Other,
}

/// An accepted write.
#[derive(Clone, Debug)]
pub struct Write {
    pub by: Writer,
    /// `Node/a`, `Deployment/web`.
    pub object: String,
    version: u64,
    /// When the server received the request, and when it had answered, in microseconds.
    pub asked: i64,
    pub answered: i64,
    pub values: BTreeMap<Field, String>,
    /// The field that was written.
    pub field: Option<Field>,
}

/// An accepted eviction, or deletion of a pod.
#[derive(Clone, Debug)]
pub struct Gone {
    pub by: Writer,
    pub uid: String,
    pub name: String,
    pub asked: i64,
    pub answered: i64,
}

#[derive(Default)]
pub struct Seen {
    pub writes: Vec<Write>,
    pub gone: Vec<Gone>,
    /// Reads of single objects by our processes: which process, which object, and when.
    pub reads: Vec<(usize, String, i64)>,
    /// All requests that would change something, accepted or not, by process.
    pub sent: BTreeMap<usize, u32>,
}

pub fn at(entry: &Value, key: &str) -> i64 {
    let text = entry[key].as_str().unwrap_or_else(|| panic!("{key}: {entry}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

fn object(entry: &Value) -> Option<String> {
    let of = &entry["objectRef"];
    let kind = match of["resource"].as_str()? {
        "nodes" => "Node",
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        _ => return None,
    };
    Some(format!("{kind}/{}", of["name"].as_str()?))
}

/// The values of an object.
pub fn values(of: &Value) -> BTreeMap<Field, String> {
    let spec = &of["spec"];
    let mut values = BTreeMap::new();
    match of["kind"].as_str() {
        Some("Node") => {
            values.insert(Field::Unschedulable, (spec["unschedulable"] == true).to_string());
        }
        Some("Scale") => {
            values.insert(Field::Replicas, spec["replicas"].as_i64().unwrap_or(0).to_string());
        }
        Some("Deployment" | "StatefulSet") => {
            values.insert(Field::Replicas, spec["replicas"].to_string());
            values.insert(Field::Template, spec["template"].to_string());
        }
        _ => {}
    }
    values
}

fn version(of: &Value) -> u64 {
    of["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}

impl Seen {
    /// Reads the audit log's entries. `before`: the objects as they were when the round began.
    pub fn new(entries: &[Value], processes: &[Process], before: &[Value]) -> Self {
        let mut seen = Self::default();
        for of in before {
            let name = of["metadata"]["name"].as_str().unwrap();
            seen.writes.push(Write {
                by: Writer::Other,
                object: format!("{}/{name}", of["kind"].as_str().unwrap()),
                version: version(of),
                asked: 0,
                answered: 0,
                values: values(of),
                field: None,
            });
        }
        for entry in entries {
            seen.take(entry, processes);
        }
        seen.writes.sort_by_key(|w| (w.version, w.answered));
        seen
    }

    fn take(&mut self, entry: &Value, processes: &[Process]) {
        let Some(code) = entry["responseStatus"]["code"].as_u64() else { return };
        let uri = entry["requestURI"].as_str().unwrap_or_default();
        let (asked, answered) = (at(entry, "requestReceivedTimestamp"), at(entry, "stageTimestamp"));
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        // an operator has one process at a time: the last one that started before the request
        let by = if agent.starts_with("pilothouse/") {
            let own = |p: &&Process| p.hand.user() == user && p.started <= asked;
            let last = processes.iter().filter(own).max_by_key(|p| p.started);
            let last = last.and_then(|last| processes.iter().position(|p| p.pid == last.pid));
            last.map_or(Writer::Other, Writer::Process)
        } else if agent.starts_with("kubectl/") {
            Writer::Kubectl
        } else {
            Writer::Other
        };
        let verb = entry["verb"].as_str().unwrap_or_default();
        let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
        if verb == "get" {
            if let (Writer::Process(p), Some(object)) = (by, object(entry)) {
                self.reads.push((p, object, asked));
            }
            return;
        }
        if !matches!(verb, "patch" | "update" | "create" | "delete") || uri.contains("dryRun=All") {
            return;
        }
        if let Writer::Process(p) = by
            && resource != "selfsubjectaccessreviews"
        {
            *self.sent.entry(p).or_default() += 1;
        }
        if code >= 300 {
            return;
        }
        if resource == "pods" {
            let sent = &entry["requestObject"];
            let options = if verb == "create" { &sent["deleteOptions"] } else { sent };
            let uid = options["preconditions"]["uid"].as_str();
            let uid = uid.or(entry["responseObject"]["metadata"]["uid"].as_str()).unwrap_or_default().into();
            let name = entry["objectRef"]["name"].as_str().unwrap_or_default().into();
            self.gone.push(Gone { by, uid, name, asked, answered });
            return;
        }
        let (Some(object), answer) = (object(entry), &entry["responseObject"]) else { return };
        if entry["objectRef"]["subresource"] == "status" || answer["metadata"].is_null() {
            return;
        }
        let field = match (resource, entry["objectRef"]["subresource"].as_str()) {
            ("nodes", _) => Field::Unschedulable,
            (_, Some("scale")) => Field::Replicas,
            _ => Field::Template,
        };
        self.writes.push(Write {
            by,
            object,
            version: version(answer),
            asked,
            answered,
            values: values(answer),
            field: (by != Writer::Other).then_some(field),
        });
    }

    /// The writes that changed a field; the first is the value before the round.
    pub fn changes(&self, object: &str, field: Field) -> Vec<(&Write, &str)> {
        let mut changes: Vec<(&Write, &str)> = Vec::new();
        for write in self.writes.iter().filter(|w| w.object == object) {
            let Some(value) = write.values.get(&field) else { continue };
            if changes.last().is_none_or(|(_, held)| held != value) {
                changes.push((write, value));
            }
        }
        changes
    }

    /// The changes that can have been the last one at some moment of this time.
    pub fn within(&self, object: &str, field: Field, from: i64, to: i64) -> Vec<(&Write, &str)> {
        let all = self.changes(object, field);
        let next = all.iter().skip(1).map(|(w, _)| w.answered).chain([i64::MAX]);
        let held = all.iter().zip(next).filter(|((w, _), next)| w.asked <= to && *next >= from);
        held.map(|(change, _)| *change).collect()
    }

    /// When a process last asked for an object before `until`.
    pub fn last_read(&self, process: usize, object: &str, until: i64) -> Option<i64> {
        let reads = self.reads.iter().filter(|(p, on, at)| *p == process && on == object && *at <= until);
        reads.map(|(_, _, at)| *at).max()
    }

    pub fn own(&self, process: usize, object: &str, field: Field) -> Vec<&Write> {
        let own =
            |w: &&Write| w.by == Writer::Process(process) && w.object == object && w.field == Some(field);
        self.writes.iter().filter(own).collect()
    }
}

impl std::fmt::Display for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::Kubectl => "kubectl",
        })
    }
}
