//! How long it takes from a fault to its line in NOW, and from there until it is quiet again, for each scenario. The stories
//! open when the faults are there already; here, the faults come half a minute after the console.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::TimeDelta;
use pilothouse_core::facts::world::Severity;
use pilothouse_sim::scenario::Scenario;

use super::judge;
use super::record::{Entry, Record};
use super::stage::Stage;
use super::table::{Fix, STORIES, Story, With};
use super::tell_on;

/// When the first fault comes, in seconds after the opening.
const FIRST: i64 = 30;
/// What a scenario does earlier than this before its opening prepares its faults.
const PREPARED: i64 = -600;

/// Returns the scenario with its faults after the opening, the times of the faults in seconds, and by how many seconds they
/// come later than in the file.
fn later(name: &str) -> (Scenario, Vec<i64>, i64) {
    let (mut scenario, base) = (Scenario::load(name).unwrap(), Scenario::load("shop").unwrap());
    let is_fault = |at: TimeDelta, what: &str| {
        at.num_seconds() > PREPARED
            && !base.steps.iter().any(|one| one.at == at && format!("{:?}", one.what) == what)
    };
    let faults: Vec<i64> = scenario
        .steps
        .iter()
        .filter(|step| is_fault(step.at, &format!("{:?}", step.what)))
        .map(|step| step.at.num_seconds())
        .collect();
    let by = faults.first().map_or(0, |first| FIRST - first);
    for step in &mut scenario.steps {
        step.at += TimeDelta::seconds(by);
    }
    (scenario, faults.into_iter().map(|at| at + by).collect(), by)
}

/// The same fixes, at the earliest when the faults of the file have come.
fn fixes(story: &Story, by: i64) -> &'static [Fix] {
    let fix = |fix: &Fix| Fix {
        at: u64::try_from(i64::try_from(fix.at).unwrap() + by).unwrap(),
        of: fix.of,
        with: match fix.with {
            With::Offered => With::Offered,
            With::AllOff => With::AllOff,
            With::Uncordon => With::Uncordon,
        },
    };
    Vec::leak(story.fixes.iter().map(fix).collect())
}

/// Writes a line for each finding: when its fault came, how much later it was shown, and how long after the last action only
/// what stays was shown.
fn measured(out: &mut String, story: &Story, faults: &[i64], record: &Record) {
    let name = story.scenario;
    let acted = record.fixes().last().map(|(at, _)| at);
    let stays = |line: &super::record::Shown| {
        story.stays.iter().any(|meant| judge::is(line.rule, line.object.as_ref(), *meant))
            || line.severity == Severity::Info
    };
    let loud = record.entries.iter().filter_map(|(at, entry)| match entry {
        Entry::Lines(lines) => Some((*at, lines.iter().any(|line| !stays(line)))),
        Entry::Fix { .. } => None,
    });
    let quiet = loud.collect::<Vec<_>>();
    let quiet = match quiet.last() {
        Some((_, true)) => None,
        // the first state of the quiet end
        _ => quiet.iter().rev().take_while(|(_, loud)| !loud).last().map(|(at, _)| *at),
    };
    for meant in judge::whole_truth(story) {
        let seen = record
            .shown(0.0, f64::INFINITY)
            .find(|(_, line)| judge::is(line.rule, line.object.as_ref(), meant));
        let Some((seen, _)) = seen else { continue };
        let fault = faults.iter().rev().find(|at| **at as f64 <= seen);
        let after = fault.map_or_else(|| "–".into(), |fault| format!("{:.0} s", seen - *fault as f64));
        let fault = fault.map_or_else(|| "–".into(), |fault| format!("{fault} s"));
        let recovered = match (acted, quiet) {
            (Some(acted), Some(quiet)) => format!("{:.0} s", (quiet - acted).max(0.0)),
            _ => "–".into(),
        };
        writeln!(out, "| {name} | {} {} | {fault} | {after} | {recovered} |", meant.0, meant.1).unwrap();
    }
    if faults.is_empty() {
        let lines = record.shown(0.0, f64::INFINITY).count();
        writeln!(out, "| {name} | none: {lines} lines | – | – | – |").unwrap();
    }
}

/// The table of the times. It also holds that no other finding than the right ones is shown.
#[test]
#[ignore = "a measurement: it prints a table, and takes some minutes"]
fn times_to_detect_and_to_recover() {
    let mut out = String::from(
        "| scenario | finding | fault at | detected after | quiet after the last action |\n|---|---|---|---|---|\n",
    );
    for story in &STORIES {
        let (scenario, faults, by) = later(story.scenario);
        let shifted = Story { fixes: fixes(story, by), ..*story };
        let lasts = story.lasts.max(120) + u64::try_from(by.max(0)).unwrap();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        let record = runtime.block_on(async {
            let stage = Stage::of(scenario, 1).await;
            tokio::time::timeout(Duration::from_secs(1_800), tell_on(&stage, &shifted, 1, lasts))
                .await
                .unwrap()
        });
        measured(&mut out, story, &faults, &record);
    }
    eprintln!("{out}");
}
