//! Log lines and their groups, as `pilothouse logs` prints them.

use std::collections::{BTreeSet, HashMap};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, Mark};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::fields;
use pilothouse_core::logs::fingerprint::{self, Masks};
use pilothouse_core::logs::message::subject;
use pilothouse_core::logs::templates::{Group as Template, Templates};
use serde_json::{Map, Value, json};

use super::table::Table;

/// No more groups are counted by themselves.
const MOST_GROUPS: usize = 5_000;
/// No more pods of a group are remembered by name.
const MOST_PODS: usize = 1_000;
/// The number of workloads in a line of the table.
const LISTED: usize = 3;
/// The length of a template in the table.
const TEMPLATE_CHARS: usize = 200;

/// An entry of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub at: Option<Stamp>,
    pub level: Level,
    /// The context, if the logs of several clusters are printed.
    pub context: Name,
    pub namespace: Name,
    /// The pod, without its namespace; empty if the log is not of a pod.
    pub pod: Name,
    pub container: Name,
    pub node: Name,
    /// The workload of the pod, without its namespace.
    pub workload: Name,
    pub text: Name,
    /// The lines of standard input as they came.
    pub came: Option<Came>,
    /// The fingerprint without the masks of the config. Only errors have one.
    pub fingerprint: Option<Name>,
    /// Set if the entry is not one of the log, but says something about it.
    pub mark: Option<Mark>,
}

/// The lines of an entry as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Came {
    pub text: Name,
    /// Whether they have their time in front.
    pub has_stamp: bool,
}

/// How entries are printed as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub timestamps: bool,
    pub colors: bool,
}

const RESET: &str = "\u{1b}[0m";
const CYAN: &str = "\u{1b}[36m";

fn color(level: Level) -> &'static str {
    match level {
        Level::Fatal | Level::Error => "\u{1b}[31m",
        Level::Warn => "\u{1b}[33m",
        Level::Debug | Level::Trace => "\u{1b}[2m",
        Level::Info => "",
    }
}

/// Appends an entry as `NAMESPACE/POD CONTAINER TEXT`, with its time in front on request, and its context if there are
/// several. The further lines of a stack
/// trace follow as they are. The lines of standard input are printed as they came, and their time not twice.
pub fn text(entry: &Entry, style: Style, out: &mut String) {
    let came = entry.came.as_ref();
    if style.timestamps && !came.is_some_and(|came| came.has_stamp) {
        out.push_str(&entry.at.map_or_else(|| "-".to_owned(), |at| at.to_string()));
        out.push(' ');
    }
    if !entry.pod.is_empty() && came.is_none() {
        let (begin, end) = if style.colors { (CYAN, RESET) } else { ("", "") };
        let slash = if entry.namespace.is_empty() { "" } else { "/" };
        let blank = if entry.context.is_empty() { "" } else { " " };
        out.push_str(&format!(
            "{begin}{}{blank}{}{slash}{} {}{end} ",
            entry.context, entry.namespace, entry.pod, entry.container
        ));
    }
    let begin = if style.colors { color(entry.level) } else { "" };
    out.push_str(begin);
    out.push_str(came.map_or(&entry.text, |came| &came.text));
    out.push_str(if begin.is_empty() { "" } else { RESET });
    out.push('\n');
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Gap => "gap",
        Mark::Note => "note",
    }
}

/// Returns what is said about a log, such as `gap: shop/api-1 app: lines may be missing`.
pub fn text_mark(entry: &Entry, mark: Mark) -> String {
    let parts = [&entry.namespace, &entry.pod].map(Name::as_str);
    let pod = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let blank = if pod.is_empty() || entry.container.is_empty() { "" } else { " " };
    let colon = if entry.context.is_empty() { "" } else { ": " };
    format!("{}: {}{colon}{pod}{blank}{}: {}", word(mark), entry.context, entry.container, entry.text)
}

/// Appends a document as one line. It names the context if there are several.
fn line(mut document: Value, entry: &Entry, out: &mut String) {
    if let Some(fields) = document.as_object_mut().filter(|_| !entry.context.is_empty()) {
        fields.insert("context".into(), Value::from(entry.context.as_str()));
    }
    out.push_str(&document.to_string());
    out.push('\n');
}

/// Appends what is said about a log as a JSON object in one line.
pub fn json_mark(entry: &Entry, mark: Mark, out: &mut String) {
    let document = json!({
        "mark": word(mark),
        "ts": entry.at.map(|at| at.to_string()),
        "namespace": entry.namespace.as_str(),
        "pod": entry.pod.as_str(),
        "container": entry.container.as_str(),
        "node": entry.node.as_str(),
        "text": entry.text.as_str(),
    });
    line(document, entry, out);
}

/// Finds what entries say. Errors have the groups that they have on the screen, which groups errors only.
#[derive(Debug, Default)]
pub struct Grouping {
    masks: Masks,
    errors: Templates,
    others: Templates,
}

impl Grouping {
    pub fn new(masks: Masks) -> Self {
        Self { masks, ..Self::default() }
    }

    /// Returns the group of an entry.
    pub fn of(&mut self, entry: &Entry) -> Template {
        let own = self.masks.own(&entry.text);
        match &entry.fingerprint {
            Some(print) => self.errors.of_line(own.as_ref(), print, &entry.text),
            None => self.others.group(&own.unwrap_or_else(|| fingerprint::mask(&subject(&entry.text)))),
        }
    }
}

/// Appends an entry as a JSON object in one line.
pub fn json(entry: &Entry, group: &Template, out: &mut String) {
    let found: Map<String, Value> =
        fields::all(&entry.text).into_iter().map(|(path, value)| (path, Value::from(value))).collect();
    let document = json!({
        "ts": entry.at.map(|at| at.to_string()),
        "namespace": entry.namespace.as_str(),
        "pod": entry.pod.as_str(),
        "container": entry.container.as_str(),
        "node": entry.node.as_str(),
        "level": entry.level.as_str(),
        "text": entry.text.as_str(),
        "fields": found,
        "fingerprint": group.fingerprint.as_str(),
    });
    line(document, entry, out);
}

/// The lines that say the same.
#[derive(Debug, Default)]
struct Group {
    template: Name,
    level: Level,
    count: u64,
    first: Option<Stamp>,
    last: Option<Stamp>,
    pods: BTreeSet<(Name, Name)>,
    workloads: BTreeSet<(Name, Name)>,
    /// The newest entry.
    sample: Name,
}

/// `namespace/name`.
fn object((namespace, name): &(Name, Name)) -> String {
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{namespace}{slash}{name}")
}

/// Names in one word, so that programs can split the line: `shop/api,shop/web,shop/cart,+4`.
fn listed(names: &[String]) -> String {
    let first = names.get(..LISTED).unwrap_or(names);
    let more = names.len() - first.len();
    let more = if more > 0 { format!(",+{more}") } else { String::new() };
    format!("{}{more}", first.join(","))
}

/// Counts entries by what they say.
#[derive(Debug, Default)]
pub struct Groups {
    by_print: HashMap<Name, Group>,
    lines: u64,
    /// The lines of further groups, after the maximum number of groups.
    others: u64,
}

impl Groups {
    pub fn add(&mut self, entry: &Entry, of: &Template) {
        self.lines += 1;
        if self.by_print.len() >= MOST_GROUPS && !self.by_print.contains_key(&of.fingerprint) {
            self.others += 1;
            return;
        }
        let group = self.by_print.entry(of.fingerprint.clone()).or_default();
        // it becomes more general
        group.template.clone_from(&of.template);
        group.count += 1;
        group.level = group.level.max(entry.level);
        if let Some(at) = entry.at {
            group.first = Some(group.first.map_or(at, |first| first.min(at)));
        }
        if group.last <= entry.at {
            group.last = entry.at;
            group.sample.clone_from(&entry.text);
        }
        if !entry.pod.is_empty() && group.pods.len() < MOST_PODS {
            group.pods.insert((entry.namespace.clone(), entry.pod.clone()));
        }
        if !entry.workload.is_empty() && group.workloads.len() < MOST_PODS {
            group.workloads.insert((entry.namespace.clone(), entry.workload.clone()));
        }
    }

    /// The groups, the largest first.
    fn sorted(&self) -> Vec<(&Name, &Group)> {
        let mut groups: Vec<_> = self.by_print.iter().collect();
        groups.sort_by(|(a, one), (b, other)| other.count.cmp(&one.count).then_with(|| a.cmp(b)));
        groups
    }

    /// Returns a table with a line for each group.
    pub fn text(&self) -> String {
        // lines of standard input may name no pods
        let of_pods = self.by_print.values().any(|group| !group.pods.is_empty());
        let of_workloads = self.by_print.values().any(|group| !group.workloads.is_empty());
        let heads = [">COUNT", "LEVEL", ">PODS", "WORKLOADS", "FIRST", "LAST", "FINGERPRINT", "TEMPLATE"];
        let shown = |head: &str| match head {
            ">PODS" => of_pods,
            "WORKLOADS" => of_workloads,
            _ => true,
        };
        let mut table = Table::new(heads.into_iter().filter(|head| shown(head)));
        let time = |at: Option<Stamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        for (print, group) in self.sorted() {
            let workloads: Vec<String> = group.workloads.iter().map(object).collect();
            let cells = [
                group.count.to_string(),
                group.level.as_str().to_owned(),
                group.pods.len().to_string(),
                listed(&workloads),
                time(group.first),
                time(group.last),
                print.to_string(),
                group.template.chars().take(TEMPLATE_CHARS).collect(),
            ];
            let cells = heads.iter().zip(cells).filter(|(head, _)| shown(head));
            table.row(cells.map(|(_, cell)| cell));
        }
        let mut lines = table.lines();
        if self.others > 0 {
            lines.push(format!("{} lines of further groups", self.others));
        }
        lines.join("\n")
    }

    /// Returns a document with all groups.
    pub fn json(&self) -> Value {
        let group = |(print, group): (&Name, &Group)| {
            json!({
                "fingerprint": print.as_str(),
                "template": group.template.as_str(),
                "level": group.level.as_str(),
                "count": group.count,
                "first": group.first.map(|at| at.to_string()),
                "last": group.last.map(|at| at.to_string()),
                "pods": group.pods.iter().map(object).collect::<Vec<_>>(),
                "workloads": group.workloads.iter().map(object).collect::<Vec<_>>(),
                "sample": group.sample.as_str(),
            })
        };
        let groups: Vec<Value> = self.sorted().into_iter().map(group).collect();
        json!({"schema": "pilothouse/v1", "lines": self.lines, "lines_of_further_groups": self.others, "groups": groups})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, pod: &str, text: &str) -> Entry {
        Entry {
            at: Some(Stamp(at)),
            level: Level::Error,
            namespace: "shop".into(),
            pod: pod.into(),
            container: "app".into(),
            text: text.into(),
            ..Entry::default()
        }
    }

    #[test]
    fn an_entry_as_text_and_as_json() {
        let line = entry(0, "api-1", r#"{"msg":"boom","status":503}"#);
        let mut out = String::new();
        text(&line, Style { timestamps: true, colors: false }, &mut out);
        assert_eq!(out, "1970-01-01T00:00:00Z shop/api-1 app {\"msg\":\"boom\",\"status\":503}\n");
        out.clear();
        text(&line, Style { timestamps: false, colors: true }, &mut out);
        assert!(
            out.starts_with("\u{1b}[36mshop/api-1 app\u{1b}[0m \u{1b}[31m{") && out.ends_with("}\u{1b}[0m\n")
        );
        out.clear();
        let came = |has_stamp| Some(Came { text: "[pod/a/b] as it\tcame".into(), has_stamp });
        for has_stamp in [false, true] {
            let line = Entry { came: came(has_stamp), ..line.clone() };
            text(&line, Style { timestamps: true, colors: false }, &mut out);
        }
        assert_eq!(out, "1970-01-01T00:00:00Z [pod/a/b] as it\tcame\n[pod/a/b] as it\tcame\n");
        out.clear();
        json(&line, &Grouping::default().of(&line), &mut out);
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["fields"]["status"], "503");
        assert_eq!((&document["level"], &document["pod"]), (&json!("error"), &json!("api-1")));
        assert_eq!((&document["mark"], &document["context"]), (&Value::Null, &Value::Null));
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn an_entry_of_one_of_several_clusters_names_it() {
        let line = Entry { context: "eu-1".into(), ..entry(0, "api-1", "boom") };
        let mut out = String::new();
        text(&line, Style::default(), &mut out);
        assert_eq!(out, "eu-1 shop/api-1 app boom\n");
        assert_eq!(text_mark(&line, Mark::Gap), "gap: eu-1: shop/api-1 app: boom");
        for mark in [None, Some(Mark::Note)] {
            out.clear();
            match mark {
                None => json(&line, &Grouping::default().of(&line), &mut out),
                Some(mark) => json_mark(&line, mark, &mut out),
            }
            let document: Value = serde_json::from_str(&out).unwrap();
            assert_eq!((&document["context"], out.lines().count()), (&json!("eu-1"), 1), "{out}");
        }
    }

    #[test]
    fn groups_count_what_lines_say() {
        let (mut groups, mut grouping) = (Groups::default(), Grouping::default());
        for (at, pod, text) in [
            (3, "a", "timeout after 30 s"),
            (1, "b", "timeout after 31 s"),
            (2, "a", "refused by 10.0.0.1:80"),
        ] {
            let entry = entry(at, pod, text);
            groups.add(&entry, &grouping.of(&entry));
        }
        let document = groups.json();
        let first = &document["groups"][0];
        assert_eq!((&first["count"], &first["pods"]), (&json!(2), &json!(["shop/a", "shop/b"])));
        assert_eq!(first["sample"], "timeout after 30 s");
        assert_eq!(first["first"], "1970-01-01T00:00:00.001Z");
        let text = groups.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines().nth(1).is_some_and(|line| line.trim_start().starts_with("2  error     2 ")),
            "{text}"
        );
        assert!(!text.contains("WORKLOADS"), "no workload is known: {text}");
        let at = Entry { workload: "api".into(), ..entry(4, "a", "timeout after 32 s") };
        groups.add(&at, &grouping.of(&at));
        assert!(groups.text().lines().nth(1).is_some_and(|line| line.contains("  shop/api  ")));
        let names: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!((listed(&names), listed(&names[..2])), ("0,1,2,+4".into(), "0,1".into()));
        let (mut groups, of_input) = (Groups::default(), Entry { pod: Name::default(), ..at });
        groups.add(&Entry { workload: Name::default(), ..of_input.clone() }, &grouping.of(&of_input));
        assert!(!groups.text().contains("PODS"), "{}", groups.text());
    }
}
