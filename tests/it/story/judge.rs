//! The properties of every story, independent of its file.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::incident::IncidentFinding;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::Severity;

use super::record::{Record, Shown};
use super::table::{Line, Story};

/// The time from the fix to a line that shows a recovery, or to no line.
const RECOVERS_SECS: f64 = 5.0;
/// The rate window, and how long the last line may stay after it.
const WINDOW_SECS: f64 = 60.0;
const QUIET_SECS: f64 = 15.0;

/// Whether this is the expected finding.
pub fn is(rule: &str, object: Option<&ObjectRef>, (meant, about): Line) -> bool {
    let name = object.map_or_else(String::new, |o| match o.namespace.as_str() {
        "" => o.name.to_string(),
        namespace => format!("{namespace}/{}", o.name),
    });
    let named = match about.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == about,
    };
    rule == meant && named
}

fn is_line(line: &Shown, meant: Line) -> bool {
    is(line.rule, line.object.as_ref(), meant)
}

/// All findings that can occur.
pub fn whole_truth(story: &Story) -> Vec<Line> {
    [story.truth, story.unmended].concat()
}

/// The findings under this seed; the files are written with the first seed.
pub fn truth(story: &Story, seed: u64) -> Vec<Line> {
    if seed == 1 { story.truth.to_vec() } else { whole_truth(story) }
}

pub fn judge(story: &Story, seed: u64, record: &Record) {
    let truth = truth(story, seed);
    only_the_truth(&truth, record);
    fixes_show(record);
    it_gets_quiet(story, record);
    the_incident(record);
}

/// An incident is detected with the first critical line, and has recovered when the last line about one of its findings
/// is gone or is information only, both within a second. Without a critical line there is none.
pub fn the_incident(record: &Record) {
    let after = |at: Stamp| (at.0 - record.opening.0) as f64 / 1000.0;
    let critical = record.shown(0.0, f64::INFINITY).find(|(_, line)| line.severity == Severity::Critical);
    let oldest = record.incidents.last();
    assert_eq!(critical.is_some(), oldest.is_some(), "{:?}:\n{record}", record.incidents);
    let (Some((first, _)), Some(oldest)) = (critical, oldest) else { return };
    assert!((after(oldest.detected) - first).abs() < 1.0, "{first} s, not {oldest:?}:\n{record}");
    assert!(oldest.began <= oldest.detected);
    for incident in record.incidents.iter().filter(|incident| incident.recovered.is_some()) {
        let is_one = |line: &Shown| {
            let told = line.tells.iter().map(|(rule, object)| (*rule, Some(object)));
            let mut all = told.chain([(line.rule, line.object.as_ref())]);
            line.severity >= Severity::Warning
                && all.any(|(rule, object)| {
                    let is = |f: &IncidentFinding| f.code.as_str() == rule && f.object.as_ref() == object;
                    incident.findings.iter().any(is)
                })
        };
        let recovered = after(incident.recovered.unwrap());
        let lasts = |from: f64, to: f64| record.shown(from, to).any(|(_, line)| is_one(line));
        assert!(!lasts(recovered + 1.0, after(incident.closed.unwrap())), "{incident:?}:\n{record}");
        assert!(lasts(recovered - 1.5, recovered), "{incident:?}:\n{record}");
    }
}

/// Neither a line nor the findings folded into it may be wrong.
pub fn only_the_truth(truth: &[Line], record: &Record) {
    for (at, line) in record.shown(0.0, f64::INFINITY) {
        let told = line.tells.iter().map(|(rule, object)| (*rule, Some(object)));
        let own = [(line.rule, line.object.as_ref())];
        for (rule, object) in told.chain(own) {
            // a budget of unhealthy pods is reported with them
            let folded = object.is_some_and(|o| o.kind == Kind::PodDisruptionBudget) && rule != line.rule;
            let known = truth.iter().any(|meant| is(rule, object, *meant));
            assert!(
                known || folded,
                "at {at:.0} s NOW tells of {rule} {object:?}, which is not so:\n{record}"
            );
        }
    }
}

/// From five seconds after a fix on, its line is gone, shows a recovery, or is no alarm any more.
fn fixes_show(record: &Record) {
    // a line that names two pods is fixed by the second fix
    let again = |at: f64, of: Line| record.fixes().any(|(later, same)| later > at && same == of);
    for (fixed, of) in record.fixes().filter(|(at, of)| !again(*at, *of)) {
        for (at, line) in
            record.shown(fixed + RECOVERS_SECS, f64::INFINITY).filter(|(_, line)| is_line(line, of))
        {
            let handled = line.recovers || line.severity == Severity::Info;
            assert!(
                handled,
                "fixed at {fixed:.0} s, and from {at:.0} s on NOW says {:?}:\n{record}",
                line.text
            );
        }
    }
}

/// At the end, only the lines that are expected to stay are left, and soon enough.
fn it_gets_quiet(story: &Story, record: &Record) {
    let stays = |line: &Shown| story.stays.iter().any(|meant| is_line(line, *meant));
    let mut loud: Vec<(f64, &Shown)> =
        record.shown(0.0, f64::INFINITY).filter(|(_, line)| !stays(line)).collect();
    let last = record.fixes().last().map_or(0.0, |(at, _)| at);
    let within = |end: f64| {
        end - last <= story.quiet as f64 && {
            let fails = story.truth.iter().any(|line| line.0 == "service-errors");
            !fails || end <= last.max(record.last_failed + WINDOW_SECS) + QUIET_SECS
        }
    };
    let Some((at, line)) = loud.pop() else { return };
    let ended = record.entries.iter().map(|(at, _)| *at).find(|end| *end > at);
    let ok = ended.is_some_and(within);
    assert!(
        ok,
        "the last request failed at {:.0} s, the last fix was at {last:.0} s, and until {ended:?} s NOW says {:?}:\n{record}",
        record.last_failed, line.text
    );
}
