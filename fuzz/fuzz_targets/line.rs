//! Any bytes as lines of a log and as a filter: every reader survives them, and nothing of what is shown can control a
//! terminal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::text::{cap, clean, cut, strip_ansi};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::filter::{Filter, Known, Subject, complete};
use pilothouse_core::logs::fingerprint::Prints;
use pilothouse_core::logs::message::subject;
use pilothouse_core::logs::templates::Templates;
use pilothouse_core::logs::{fields, fingerprint, level, time};

const NOW: Stamp = Stamp(1_767_366_245_000);
/// Short, so that lines are cut.
const LINE_CAP: usize = 200;

fn shows(text: &str) {
    let foul = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(foul, None, "{text:?}");
}

/// Reads a line as the sources do. Returns what is kept of it.
fn line(bytes: &[u8]) -> String {
    let whole = String::from_utf8_lossy(bytes);
    let stamp = whole.split(' ').next().unwrap_or_default();
    assert_eq!(Stamp::parse_nanos(stamp).map(|(at, _)| at), Stamp::parse(stamp));
    let body = strip_ansi(&whole);
    level::level(&body);
    level::continues(&body);
    level::is_exception(&body);
    level::is_frame(&body);
    assert!(cut(&body, LINE_CAP) <= body.len());
    let text = clean(&cap(&body, LINE_CAP)).into_owned();
    shows(&text);
    if let Some(found) = time::find(&text, NOW) {
        assert!(text.get(found.range.clone()).is_some(), "{text:?} {found:?}");
    }
    for (path, value) in fields::all(&text) {
        fields::get(&text, &path);
        shows(&path);
        shows(&value);
    }
    text
}

fn groups(templates: &mut Templates, prints: &mut Prints, text: &str) {
    let said = subject(text);
    shows(&said);
    let masked = fingerprint::mask(&said);
    assert_eq!(prints.of(&said).as_str(), masked.fingerprint, "{said:?}");
    shows(&masked.template);
    let group = templates.of_line(None, &masked.fingerprint, text);
    shows(&group.template);
    assert_eq!(templates.known(&masked.fingerprint).map(|known| known.fingerprint), Some(group.fingerprint));
}

fn filters(filter: &str, text: &str) {
    for cursor in [0, filter.chars().count() / 2, filter.chars().count()] {
        let found = complete(filter, cursor, &Known::default());
        assert!(filter.get(found.from..found.to).is_some(), "{filter:?} {cursor}");
    }
    drop(Filter::parse_among(filter, &|name| fields::get(text, name).is_some()));
    let Ok(filter) = Filter::parse(filter) else { return };
    let line = Subject {
        at: Some(NOW),
        level: Level::Error,
        namespace: "shop",
        pod: "api-7d9f8b6c5-x2x4z",
        container: "app",
        node: "node-1",
        text,
    };
    filter.passes(&line, NOW);
    for mark in filter.marks(text) {
        assert!(text.get(mark.clone()).is_some(), "{text:?} {mark:?}");
    }
    let written = filter.to_string();
    assert_eq!(Filter::parse(&written).as_ref(), Ok(&filter), "{written:?}");
}

fuzz_target!(|bytes: &[u8]| {
    let (mut templates, mut prints) = (Templates::default(), Prints::default());
    for part in bytes.split(|byte| *byte == b'\n') {
        groups(&mut templates, &mut prints, &line(part));
    }
    let entry = line(bytes);
    groups(&mut templates, &mut prints, &entry);
    filters(&entry, &entry);
    filters(&String::from_utf8_lossy(bytes), &entry);
});
