//! The audit log: the latest requests, and how often each was made. Tests count with it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub id: String,
    pub verb: String,
    /// The requested path and query.
    pub uri: String,
    pub group: String,
    /// `pods`, `pods/eviction`, or the path if it is not a resource.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub user: String,
    /// The impersonated user; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub acting: String,
    pub agent: String,
    pub code: u16,
    pub dry_run: bool,
}

/// How many complete requests are kept.
const KEPT: usize = 4096;

#[derive(Debug, Default)]
struct Book {
    last: VecDeque<Entry>,
    counts: BTreeMap<String, u64>,
}

/// The requests so far.
#[derive(Debug)]
pub struct Audit {
    book: Mutex<Book>,
    total: watch::Sender<u64>,
    /// Where entries are also written, in the format of the real server's audit log.
    file: Option<Mutex<File>>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { book: Mutex::default(), total: watch::Sender::new(0), file: None }
    }
}

impl Entry {
    /// As an event of audit.k8s.io/v1 at level Metadata.
    fn event(&self, stage: &str) -> Value {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let mut event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": self.id, "stage": stage, "requestURI": self.uri, "verb": self.verb,
            "user": {"username": self.user}, "userAgent": self.agent, "responseStatus": {"code": self.code}});
        if !self.acting.is_empty() {
            event["impersonatedUser"] = json!({"username": self.acting});
        }
        if !resource.is_empty() {
            event["objectRef"] = json!({"resource": resource, "subresource": subresource, "apiGroup": self.group,
                "namespace": self.namespace, "name": self.name});
        }
        event
    }
}

impl Audit {
    fn with<T>(&self, f: impl FnOnce(&mut Book) -> T) -> T {
        f(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Also writes every entry to a file, one line each. The file is overwritten.
    pub fn write_to(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(Mutex::new(File::create(path)?));
        Ok(())
    }

    /// A long answer (a watch, a log) has started or ended; the file gets a line for each.
    pub fn write(&self, entry: &Entry, stage: &str) {
        if let Some(file) = &self.file {
            let mut line = entry.event(stage).to_string();
            line.push('\n');
            // A full disk must not end the cluster; the entry is then missing in the file.
            drop(file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()));
        }
    }

    /// Counts a request that was answered, at least in part.
    pub fn note(&self, entry: Entry) {
        self.with(|book| {
            // Other paths come from outside, and there could be endlessly many of them.
            if book.counts.len() < KEPT {
                *book.counts.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
            }
            if book.last.len() >= KEPT {
                book.last.pop_front();
            }
            book.last.push_back(entry);
        });
        self.total.send_modify(|n| *n += 1);
    }

    /// How often `verb` was requested for `resource` (`create`, `pods/eviction`).
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        self.with(|book| book.counts.get(&format!("{verb} {resource}")).copied().unwrap_or_default())
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.with(|book| book.counts.clone())
    }

    pub fn last(&self) -> Vec<Entry> {
        self.with(|book| book.last.iter().cloned().collect())
    }

    pub fn clear(&self) {
        self.with(|book| *book = Book::default());
    }

    /// Wakes up at every request.
    pub fn total(&self) -> watch::Receiver<u64> {
        self.total.subscribe()
    }
}
