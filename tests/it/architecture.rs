//! Checks which rooms use which, inside the packages, where Cargo cannot check it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room -> the rooms that it may name as `crate::ROOM`, besides itself. Every room may use the clock.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("wire", &[]),
    ("source", &["wire"]),
    ("action", &["wire"]),
    ("report", &["action", "cli"]),
    ("ui", &[]),
    ("config", &[]),
    ("terminal", &["ui"]),
    ("hub", &[]),
    ("cli", &[]),
    ("clock", &[]),
    ("telemetry", &[]),
    // the only room that sees every other
    (
        "bootstrap",
        &["action", "cli", "config", "hub", "report", "source", "telemetry", "terminal", "ui", "wire"],
    ),
];

/// The same inside the pure package, lowest first: a room uses only rooms above it.
const CORE_MAY_USE: [(&str, &[&str]); 6] = [
    ("domain", &[]),
    ("facts", &["domain"]),
    ("logs", &["domain", "facts"]),
    ("policy", &["domain", "facts", "logs"]),
    ("plan", &["domain", "facts", "policy"]),
    ("state", &["domain", "facts", "policy"]),
];

/// The same inside the screen, lowest first. Nothing but `run` sees both what changes the state of the screen and what
/// draws it.
const UI_MAY_USE: [(&str, &[&str]); 20] = [
    ("key", &[]),
    ("theme", &[]),
    ("clipboard", &[]),
    ("widget", &["key"]),
    ("paint", &["widget"]),
    ("filter", &["widget"]),
    ("list", &["filter"]),
    ("mouse", &["key", "list"]),
    ("request", &["key", "mouse"]),
    ("command", &["list"]),
    ("keymap", &["command", "key"]),
    // view models of rows, and how numbers are written
    ("cell", &["list", "theme", "widget"]),
    ("rows", &["cell", "list"]),
    // the state of the screen
    (
        "app",
        &[
            "cell",
            "clipboard",
            "command",
            "key",
            "keymap",
            "list",
            "mouse",
            "request",
            "rows",
            "theme",
            "widget",
        ],
    ),
    ("pane", &["app", "cell", "command", "key", "keymap", "list", "request", "rows", "theme", "widget"]),
    // what an action would act on
    ("targets", &["app", "command", "list", "pane", "rows"]),
    ("present", &["app", "cell", "command", "list", "pane", "request", "rows", "targets", "theme", "widget"]),
    (
        "view",
        &[
            "app", "cell", "command", "key", "list", "mouse", "pane", "present", "request", "targets",
            "theme", "widget",
        ],
    ),
    (
        "update",
        &[
            "app", "cell", "command", "key", "list", "mouse", "pane", "present", "request", "rows",
            "targets", "theme", "widget",
        ],
    ),
    ("run", &["app", "key", "mouse", "paint", "request", "theme", "update", "view"]),
];

/// Files that are compiled for tests only.
const TEST_FILES: [&str; 7] = [
    "src/core/logs/level/tests",
    "src/core/logs/templates/tests",
    "src/core/logs/time/tests.rs",
    "src/core/logs/hostile.rs",
    "src/core/plan/tests",
    "src/core/policy/plots/tests.rs",
    "src/action/drain/tests.rs",
];

/// Files that hold more than 450 lines without their tests. Shrink these when they are touched next; add none.
const LONG: [&str; 0] = [];
const MOST_LINES: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every .rs file under a folder, by its path from the root.
fn files(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no .rs file under {folder}");
    found
}

/// The root package's sources.
fn rooms() -> BTreeMap<String, String> {
    let mut files = files("src");
    files.retain(|name, _| !name.starts_with("src/core/") && !name.starts_with("src/sim/"));
    files
}

/// `src/ui/view/list.rs` -> `ui`.
fn room_of(file: &str) -> &str {
    file.trim_start_matches("src/").split(['/', '.']).next().unwrap()
}

/// The code before the file's own tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
}

/// A line's code without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap()
}

/// The rooms that a line names: `crate::wire::…`, `crate::{clock, wire::…}`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for rest in code(line).split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphabetic() => {
                            found.push(word(list.get(i..).unwrap()));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// The rooms that files use although the table does not allow it.
fn beyond(
    files: &BTreeMap<String, String>,
    folder: &str,
    may_use: &[(&str, &[&str])],
    tests_too: bool,
) -> Vec<String> {
    let mut violations = Vec::new();
    for (file, text) in files {
        let room = room_of(file.trim_start_matches(folder).trim_start_matches('/'));
        if matches!(room, "lib" | "main") {
            continue;
        }
        let Some((_, may)) = may_use.iter().find(|(name, _)| *name == room) else {
            violations.push(format!("{file}: {room} is not in the table of rooms"));
            continue;
        };
        let text = if tests_too { text } else { without_tests(text) };
        for (n, line) in text.lines().enumerate() {
            // a list of names can span several lines, which are read as one
            let line = if line.contains("crate::{") && !line.contains("};") {
                text.lines().skip(n).take_while(|l| !l.contains("};")).collect::<String>()
            } else {
                line.to_owned()
            };
            for used in named(&line) {
                if used != room && used != "clock" && !may.contains(&used.as_str()) {
                    violations.push(format!("{file}:{}: {room} uses {used}", n + 1));
                }
            }
        }
    }
    violations
}

#[test]
fn a_room_uses_only_the_rooms_that_it_may() {
    none(&beyond(&rooms(), "src", &MAY_USE, true));
}

#[test]
fn a_room_of_the_pure_package_uses_only_those_below_it() {
    let mut files = files("src/core");
    // a file that has only tests may build a whole cluster
    files.retain(|name, _| !TEST_FILES.iter().any(|test| name.starts_with(test)));
    none(&beyond(&files, "src/core", &CORE_MAY_USE, false));
}

/// The files of the screen, with every path to one of its rooms written as `crate::ROOM`.
fn rooms_of_the_screen() -> BTreeMap<String, String> {
    let rewritten = |(file, text): (String, String)| {
        let depth = file.trim_start_matches("src/ui/").trim_end_matches(".rs").split('/').count();
        let text = text.replace(&"super::".repeat(depth), "crate::").replace("crate::ui::", "crate::");
        (file, text)
    };
    files("src/ui").into_iter().map(rewritten).collect()
}

#[test]
fn a_room_of_the_screen_uses_only_those_below_it() {
    none(&beyond(&rooms_of_the_screen(), "src/ui", &UI_MAY_USE, false));
    for (at, (room, may)) in UI_MAY_USE.iter().enumerate() {
        let below = |name: &&str| UI_MAY_USE.iter().take(at).any(|(other, _)| other == name);
        assert!(may.iter().all(below), "{room} uses a room that is not below it");
    }
}

#[test]
fn what_is_on_the_screen_is_changed_in_one_place() {
    let mut violations = Vec::new();
    for (file, text) in files("src/ui") {
        let room = room_of(file.trim_start_matches("src/ui/"));
        for (n, line) in without_tests(&text).lines().enumerate().filter(|(_, l)| code(l).contains("&mut Ui"))
        {
            // a pane brings its own rows up to date, when it is asked to
            let refreshes = room == "pane" && line.contains("refresh");
            if !matches!(room, "update" | "run" | "app") && !refreshes {
                violations.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none(&violations);
}

#[test]
fn no_room_reaches_another_by_climbing() {
    let mut violations = Vec::new();
    for (file, text) in rooms() {
        // a/b/c.rs is three modules deep, and the third `super` from there is the crate
        let depth = file.trim_start_matches("src/").trim_end_matches(".rs").split('/').count();
        // `mod tests` inside a file is one module deeper
        for (n, line) in without_tests(&text).lines().enumerate() {
            if code(line).contains(&"super::".repeat(depth)) {
                violations.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none(&violations);
}

#[test]
fn only_action_names_the_client_that_writes() {
    let violations: Vec<String> = rooms()
        .into_iter()
        // wire builds it, bootstrap passes it on
        .filter(|(file, _)| !matches!(room_of(file), "action" | "wire" | "bootstrap"))
        .filter(|(_, text)| text.lines().any(|line| code(line).contains("WriteClient")))
        .map(|(file, _)| file)
        .collect();
    none(&violations);
}

#[test]
fn the_pure_package_stays_pure() {
    let manifest = std::fs::read_to_string(root().join("src/core/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let mut violations = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(section) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for name in section.keys() {
            let foul =
                ["tokio", "kube", "k8s-openapi", "ratatui", "crossterm", "reqwest", "hyper", "futures"];
            if foul.iter().any(|foul| name.starts_with(foul)) {
                violations.push(name.clone());
            }
        }
    }
    for (file, text) in files("src/core") {
        for (n, line) in without_tests(&text).lines().enumerate() {
            let io = [
                "std::fs",
                "std::io",
                "TcpStream",
                "UdpSocket",
                "std::process",
                "std::thread",
                "std::env",
                "::now()",
            ];
            if io.iter().any(|io| code(line).contains(io)) {
                violations.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none(&violations);
}

#[test]
fn the_simulated_cluster_uses_nothing_of_ours() {
    let ours = |line: &str| ["pilothouse_core", "pilothouse::"].iter().any(|name| code(line).contains(name));
    let violations: Vec<String> = files("src/sim")
        .into_iter()
        .flat_map(|(file, text)| {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.into_iter().filter(|l| ours(l)).map(move |l| format!("{file}: {l}"))
        })
        .collect();
    none(&violations);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut violations = Vec::new();
    for (file, text) in files("src").into_iter().chain(files("tests")).chain(files("benches")) {
        if !text.starts_with("//!") {
            violations.push(file.clone());
        }
        if file.ends_with("/mod.rs") {
            violations.push(format!("{file}: foo.rs beside foo/, no mod.rs"));
        }
    }
    none(&violations);
}

#[test]
fn no_new_file_is_long() {
    let mut violations = Vec::new();
    for (file, text) in files("src") {
        let lines = without_tests(&text).lines().count();
        let listed = LONG.contains(&file.as_str());
        if lines > MOST_LINES {
            eprintln!("{file}: {lines} lines without its tests");
            if !listed {
                violations
                    .push(format!("{file}: {lines} lines; past {MOST_LINES} a file usually holds two ideas"));
            }
        } else if listed {
            violations.push(format!("{file}: {lines} lines, short again: take it off the list"));
        }
    }
    none(&violations);
}

#[test]
fn the_scan_sees_what_it_looks_for() {
    assert_eq!(named("use crate::wire::write::{A, B};"), ["wire"]);
    assert_eq!(named("use crate::{clock::Clock, wire::{x, y}, ui};"), ["clock", "wire", "ui"]);
    assert_eq!(named("let x = crate::hub::f(crate::ui::g());"), ["hub", "ui"]);
    assert_eq!(named("// see crate::wire"), Vec::<String>::new());
    assert_eq!(room_of("src/ui/view/list.rs"), "ui");
    assert_eq!(room_of("src/hub.rs"), "hub");
}

/// A pod's labels are in two places, and a selector that sees only one of them gives wrong results.
#[test]
fn labels_of_pods_are_asked_of_the_pod() {
    let mut violations = Vec::new();
    let sources = files("src").into_iter().filter(|(name, _)| !name.starts_with("src/sim/"));
    for (name, text) in sources.filter(|(name, _)| name != "src/core/domain/pod.rs") {
        for (n, line) in without_tests(&text).lines().enumerate() {
            if code(line).contains("shape.labels") {
                violations.push(format!("{name}:{}: ask Pod::labels: {}", n + 1, line.trim()));
            }
        }
    }
    none(&violations);
}

/// Public items that only tests use, each with the reason.
const FOR_TESTS: [(&str, &str); 3] = [
    ("with_probe", "kills the process at a write of the journal"),
    ("seeded", "gives each task of a story random numbers of its own"),
    ("contrast", "the themes are held to it"),
];

/// The names in some code, with how often each occurs.
fn words(text: &str) -> BTreeMap<&str, usize> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        for word in code(line).split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()) {
            *found.entry(word).or_insert(0) += 1;
        }
    }
    found
}

/// The compiler does not see that a public item is used by nobody.
#[test]
fn every_public_item_is_used() {
    let mut files = files("src");
    files.retain(|name, _| !name.starts_with("src/sim/"));
    let counted: BTreeMap<&str, _> =
        files.iter().map(|(file, text)| (file.as_str(), words(without_tests(text)))).collect();
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    let mut violations = Vec::new();
    for (file, text) in &files {
        for (n, line) in without_tests(text).lines().enumerate() {
            let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
            let rest = rest.strip_prefix("async ").unwrap_or(rest);
            // `pub const fn` is a function
            let rest = if rest.starts_with("const fn ") { rest.trim_start_matches("const ") } else { rest };
            let Some((kind, rest)) = rest.split_once(' ') else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // the name of a macro's item is a variable
            if name.is_empty() || !kinds.contains(&kind) || FOR_TESTS.iter().any(|(known, _)| *known == name)
            {
                continue;
            }
            let uses: usize = counted.values().filter_map(|words| words.get(name.as_str())).sum();
            if uses <= 1 {
                violations.push(format!("{file}:{}: {name} is used by nobody", n + 1));
            }
        }
    }
    none(&violations);
}

/// The rooms in which codes and data decide.
const DECIDING: [&str; 8] = [
    "src/core/domain",
    "src/core/plan",
    "src/core/policy",
    "src/core/state",
    "src/action",
    "src/report",
    "src/ui",
    "src/bootstrap",
];

/// What looks into a text.
const LOOKS: [&str; 9] = [
    "contains",
    "starts_with",
    "ends_with",
    "strip_prefix",
    "strip_suffix",
    "split",
    "split_once",
    "find",
    "eq",
];

/// Where a text is looked into all the same: where, the words, and why.
const LOOKED_INTO: [(&str, &str, &str); 13] = [
    // servers that say it in words alone
    ("src/action/rehearse.rs", "dry run", "a webhook without dry run is a 400 without a cause"),
    ("src/action/drain", "more than one PodDisruptionBudget", "a 500 of the eviction API without a cause"),
    ("src/action/drain", "UID in precondition", "a 409 without a cause"),
    ("src/action/drain", "being terminated", "the decoder keeps the message of a 403 alone"),
    ("src/action/drain", "disruption budget ", "the budget's name stands in the message alone"),
    (
        "src/core/policy/rules/pods.rs",
        "PersistentVolume's node affinity",
        "the scheduler has one reason for all",
    ),
    ("src/core/policy/seen.rs", "User ", "a refusal names its user in the message alone"),
    // words of our own that are made shorter
    ("src/core/state/changes.rs", "rollout ", "a narrow column leaves the verb out"),
    ("src/core/state/changes.rs", ", now", "a group of changes is titled by what they have in common"),
    ("src/action/drain", "kubectl ", "the command of a drain is the same with pilothouse"),
    ("src/action/drain", " drain ", "another command for the same cluster"),
    // to be decided by a code
    ("src/core/policy/rules/fold.rs", "error first seen ", "evidence is text"),
    ("src/ui", ", wants ", "findings are text"),
];

/// The texts with words in them that a line looks for.
fn looked_for(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for look in LOOKS {
        for rest in line.split(&format!(".{look}(\"")).skip(1) {
            let text: String = rest.chars().take_while(|c| !matches!(c, '"' | '\\')).collect();
            if text.contains(' ') && text.chars().any(char::is_alphabetic) {
                found.push(text);
            }
        }
    }
    for rest in line.split(" == \"").skip(1) {
        let text: String = rest.chars().take_while(|c| *c != '"').collect();
        if text.contains(' ') {
            found.push(text);
        }
    }
    found
}

#[test]
fn nothing_is_decided_by_words() {
    let mut violations = Vec::new();
    let decides = |file: &str| {
        let of = |room: &&str| file.strip_prefix(*room).is_some_and(|rest| rest.starts_with(['/', '.']));
        DECIDING.iter().any(of) && !TEST_FILES.iter().any(|test| file.starts_with(test))
    };
    for (file, text) in files("src").into_iter().filter(|(file, _)| decides(file)) {
        for (n, line) in without_tests(&text).lines().enumerate() {
            for words in looked_for(code(line)) {
                let may = |(at, known, _): &(&str, &str, &str)| file.starts_with(at) && *known == words;
                if !LOOKED_INTO.iter().any(may) {
                    violations.push(format!("{file}:{}: decides by {words:?}: use a code", n + 1));
                }
            }
            // what was read from a journal has words alone: nothing else may pass words off as a warning
            if code(line).contains("::Recorded {") && !file.starts_with("src/core/domain/plan/") {
                violations.push(format!("{file}:{}: words without a code", n + 1));
            }
        }
    }
    none(&violations);
}

#[test]
fn the_scan_for_words_sees_what_it_looks_for() {
    assert_eq!(looked_for(r#"if why.contains("not there") {"#), ["not there"]);
    assert_eq!(looked_for(r#"r.reason.starts_with("nothing of ")"#), ["nothing of "]);
    assert_eq!(looked_for(r#"w == "it is so" || name.split_once(", wants ")"#), [", wants ", "it is so"]);
    assert_eq!(looked_for(r#"path.contains(": ") || name.starts_with("ns:")"#), Vec::<String>::new());
}
