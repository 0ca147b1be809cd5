//! Stories: NOW's lines in each scenario of the simulated cluster, from the opening over the user's actions until it is
//! quiet. The cluster, the sources, the rules and the executor are the real ones; only the time is simulated: see
//! [`stage`].
//!
//! `stories/NAME.txt` has the lines of a scenario with their times. PILOTHOUSE_WRITE_STORIES=1 writes the current ones;
//! read them before you keep them. [`judge`] checks the properties that all stories must have: no line is wrong, an
//! action on a finding shows at once, and in the end it is quiet.
//!
//! PILOTHOUSE_TEST_WHOLE=1 also runs other seeds, some stories for longer, and an hour of `calm`.

mod judge;
mod measure;
mod moved;
mod record;
mod stage;
mod table;

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pilothouse::bootstrap::replay;
use pilothouse::report::incident;
use pilothouse::source::recording::Recording;
use pilothouse_core::domain::alert::AlertRow;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cause, Cluster, Severity};
use tokio::time::MissedTickBehavior;

use record::Record;
use stage::Stage;
use table::{Line, STORIES, Story};

/// Runs a story.
async fn tell(story: &Story, seed: u64, lasts: u64) -> Record {
    let stage = Stage::open(story.scenario, seed).await;
    let record = tell_on(&stage, story, seed, lasts).await;
    assert!(!record.missed, "{}: a line never came\n{record}", story.scenario);
    record
}

/// Runs a story on a stage that is open already.
async fn tell_on(stage: &Stage, story: &Story, seed: u64, lasts: u64) -> Record {
    let truth = judge::truth(story, seed);
    let of_errors: Vec<&str> = truth.iter().filter(|l| l.0 == "service-errors").map(|l| l.1).collect();
    let mut record = Record::new(story.scenario);
    let mut world = stage.world.clone();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fixes = story.fixes.iter().peekable();
    let mut actions = FuturesUnordered::new();
    let (mut failed, mut end) = (stage.failed(&of_errors), lasts);
    loop {
        tokio::select! {
            biased;
            changed = world.changed() => {
                changed.unwrap();
                record.lines(stage.secs(), &world.borrow_and_update().clusters[0]);
            }
            Some(()) = actions.next(), if !actions.is_empty() => {}
            _ = seconds.tick() => {
                let now = stage.secs();
                let before = std::mem::replace(&mut failed, stage.failed(&of_errors));
                if failed > before {
                    record.last_failed = now;
                }
                let cluster = stage.cluster();
                let due = fixes.next_if(|fix| now >= fix.at as f64 && line(&cluster, fix.of).is_some());
                if let Some(fix) = due {
                    let cause = line(&cluster, fix.of).unwrap();
                    let (act, targets) = fix.with.act(&cluster, cause);
                    record.fix(now, fix.of, &act, &targets);
                    end = now as u64 + lasts;
                    actions.push(stage.act(act, targets));
                }
                record.missed = fixes.peek().is_some() && now >= 600.0;
                if record.missed || fixes.peek().is_none() && now >= end as f64 {
                    record.incidents = stage.cluster().derived.incidents.to_vec();
                    record.opening = Stage::opening();
                    return record;
                }
            }
        }
    }
}

/// The line about this, if there is one and nothing was done about it yet.
fn line(cluster: &Cluster, of: Line) -> Option<&Cause> {
    let mut causes = cluster.derived.causes.iter().map(AsRef::as_ref);
    causes.find(|cause| judge::is(cause.rule(), cause.object(), of) && cause.progress.remedy.is_none())
}

/// A story waits for nothing outside of this thread: its clock moves on when all of its tasks wait.
fn live(story: &Story, seed: u64, lasts: u64) -> Record {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(tell(story, seed, lasts))
}

/// Waits until the alerts of the simulated cluster's Alertmanager have all of these names and objects.
async fn alerts(wanted: &[(&str, &str)]) {
    let stage = Stage::with_alerts("incident", 1).await;
    let mut world = stage.world.clone();
    let mut seen = Vec::new();
    while stage.secs() < 600.0 {
        world.changed().await.unwrap();
        let cluster = stage.cluster();
        let told = |row: &AlertRow| {
            let objects: Vec<String> = row.objects.iter().map(ToString::to_string).collect();
            (row.alert.name().to_owned(), objects)
        };
        seen = cluster.derived.alerts.iter().map(|row| told(row)).collect();
        let has = |(name, object): &(&str, &str)| {
            seen.iter().any(|(own, objects)| own == name && objects.first().is_some_and(|o| o == object))
        };
        if wanted.iter().all(has) {
            let causes = &cluster.derived.causes;
            let joined = |cause: &Cause| cause.lines().iter().any(|line| line.starts_with("alert "));
            let about = |cause: &Cause, name: &str| cause.object().is_some_and(|o| o.to_string() == name);
            let twice = |cause: &Cause| {
                cause.rule() == "alert-firing" && wanted.iter().any(|(_, name)| about(cause, name))
            };
            assert!(causes.iter().any(|cause| joined(cause)), "no finding has an alert as evidence");
            assert!(!causes.iter().any(|cause| twice(cause)), "an alert is told twice: {causes:#?}");
            return;
        }
    }
    panic!("{wanted:?}: {seen:#?}");
}

#[test]
fn the_alerts_of_the_incident_name_their_objects_and_are_evidence_of_its_findings() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(alerts(&[("HighErrorRatio", "shop/svc/checkout")]));
}

fn play(story: &Story, seed: u64, lasts: u64) -> Record {
    let record = live(story, seed, lasts);
    judge::judge(story, seed, &record);
    record
}

fn story(scenario: &str) -> &'static Story {
    STORIES.iter().find(|story| story.scenario == scenario).unwrap()
}

fn is_whole() -> bool {
    std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_some_and(|whole| whole == "1")
}

fn file(scenario: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/stories/{scenario}.txt"))
}

/// Runs a story and compares it with its file.
fn check(scenario: &str) {
    let story = story(scenario);
    let record = play(story, 1, story.lasts);
    let writes = std::env::var_os("PILOTHOUSE_WRITE_STORIES").is_some() && !story.is_drawn;
    if writes {
        std::fs::write(file(scenario), record.to_string()).unwrap();
    }
    let told = std::fs::read_to_string(file(scenario)).unwrap();
    if story.is_drawn {
        compare_what_is_drawn(&record, &told);
    } else {
        record.compare(&told);
    }
    if is_whole() {
        for seed in 2..=6 {
            play(story, seed, story.lasts);
        }
    }
}

/// The failing requests are drawn at random, so no two runs are the same. The server is silent for 12 s; NOW reports
/// this then, while the next attempts fail by chance, and at no other time.
fn compare_what_is_drawn(record: &Record, file: &str) {
    record.has(file);
    let mut others = record.shown(0.0, 90.0).chain(record.shown(150.0, f64::INFINITY));
    assert!(others.all(|(_, line)| line.severity < Severity::Critical), "{record}");
}

macro_rules! stories {
    ($($name:ident $scenario:literal)*) => {
        $(#[test]
        fn $name() {
            check($scenario);
        })*

        #[test]
        fn every_scenario_has_its_story() {
            let mut there: Vec<&str> = pilothouse_sim::scenario::names().into_iter().map(|(name, _)| name).collect();
            let mut told = vec![$($scenario),*];
            there.sort_unstable();
            told.sort_unstable();
            assert_eq!(there, told);
        }
    };
}

stories! {
    incident "incident"
    node_down "node-down"
    zone_outage "zone-outage"
    bad_backend "bad-backend"
    traffic_skew "traffic-skew"
    bad_canary "bad-canary"
    hot_hpa "hot-hpa"
    error_storm "error-storm"
    pdb_stuck "pdb-stuck"
    api_flaky "api-flaky"
    calm "calm"
}

/// A node goes down, its line is acted on, and the incident closes by itself. Its times are those of the lines.
#[test]
fn node_down_is_an_incident_until_it_has_recovered() {
    let record = live(story("node-down"), 1, 220);
    judge::the_incident(&record);
    let incident = record.incidents.first().expect("an incident");
    assert!(incident.recovered.is_some() && incident.closed.is_some(), "{incident:?}");
    assert_eq!(incident.actions.len(), 1, "{incident:?}");
    let acted = record.fixes().next().unwrap().0;
    let after = |at: Stamp| (at.0 - record.opening.0) as f64 / 1000.0;
    let (acknowledged, diagnosed) = (&incident.acknowledged, &incident.diagnosed);
    assert!((after(acknowledged.as_ref().unwrap().0) - acted).abs() < 1.5, "{incident:?}");
    assert!((after(diagnosed.as_ref().unwrap().0) - acted).abs() < 1.5, "{incident:?}");
}

/// What is shown of a cluster, apart from measured numbers, which a recording has less often.
fn shown(cluster: &Cluster) -> Vec<String> {
    let derived = &cluster.derived;
    let nodes = derived.nodes.iter().map(|n| format!("{} {:?} {:?}", n.node.name, n.state, n.totals));
    let workloads = derived.workloads.iter().map(|w| format!("{} {:?}", w.workload.name, w.totals));
    let services = derived.services.iter().map(|s| format!("{} {}/{}", s.service.name, s.ready, s.total));
    let causes = derived.causes.iter().map(|c| format!("{:?} {} {:?}", c.severity, c.rule(), c.object()));
    let mut all: Vec<String> = nodes.chain(workloads).chain(services).chain(causes).collect();
    all.push(format!("{:?}", derived.counts));
    // a console publishes up to 20 times a second, and a replay with each event
    let secs = |at: Stamp| (at.0 + 500) / 1_000;
    let times = derived.incidents.iter();
    all.extend(times.map(|i| format!("{} {} {:?}", i.id, secs(i.detected), i.closed.map(secs))));
    all.sort();
    all
}

#[test]
fn a_recording_replays_to_the_same_state_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("incident.jsonl.gz");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let cluster = runtime.block_on(async {
        let stage = Stage::recorded("incident", 1, Some(&path)).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        stage.cluster()
    });
    // the hub is dropped with its tasks, and its recording is complete then
    drop(runtime);
    let world = replay::world(Recording::open(&path).unwrap()).unwrap();
    assert_eq!(shown(&world.clusters[0]), shown(&cluster));
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes in ten minutes");
    let mut text = String::new();
    let mut from = flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap());
    from.read_to_string(&mut text).unwrap();
    for secret in ["Bearer", "eyJ", "client-key", "PRIVATE KEY"] {
        assert!(!text.contains(secret), "{secret}");
    }
    let report = incident::markdown(&incident::report(&world, &world.clusters[0]));
    assert!(report.contains("## Incident 1: open") && report.contains("| detected |"), "{report}");
}

#[test]
fn an_hour_of_calm() {
    if is_whole() {
        play(story("calm"), 1, 3_600);
    }
}

/// NOW also stays correct if nobody fixes the problems.
#[test]
fn a_quarter_of_an_hour_in_which_nobody_does_anything() {
    if is_whole() {
        for story in &STORIES {
            let record = live(&Story { fixes: &[], ..*story }, 1, 900);
            judge::only_the_truth(&judge::whole_truth(story), &record);
        }
    }
}
