//! The same scenario and seed give the same story, in every object and number; another seed gives another one.

use std::fmt::Write as _;

use chrono::TimeDelta;
use pilothouse_sim::clock;
use pilothouse_sim::logs::LogBook;
use pilothouse_sim::resources::Res;
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{self, Built, Options};

const MORNING: &str = "2026-05-06T07:08:09Z";

/// A cluster that has been built and has lived for so many more minutes.
fn lived(scenario: &str, seed: u64, opening: &str, minutes: i64) -> Built {
    let opening = clock::parse(opening);
    let options = Options { seed, opening, factor: 0.0, ..Options::new(Scenario::load(scenario).unwrap()) };
    let mut built = server::build(options).unwrap();
    let end = opening.unwrap() + TimeDelta::minutes(minutes);
    if minutes > 0 {
        built.engine.fast_forward(end);
    }
    built
}

/// All of it that is to be the same, as lines.
fn story(scenario: &str, seed: u64) -> Vec<String> {
    let built = lived(scenario, seed, MORNING, 2);
    let mut out = Vec::new();
    for res in Res::ALL {
        for object in built.store.list(*res, None) {
            let mut line =
                format!("{} {}/{} {}", res.info().plural, object.namespace(), object.name(), object.uid());
            match res {
                Res::Pods => {
                    let status = object.at("/status/containerStatuses");
                    write!(
                        line,
                        " on {} {} {status}",
                        object.text("/spec/nodeName"),
                        object.text("/status/podIP")
                    )
                    .unwrap();
                }
                Res::Events => {
                    let (text, seen) = (object.text("/message"), object.text("/lastTimestamp"));
                    write!(line, " {} times until {seen}: {text}", object.at("/count")).unwrap();
                }
                _ => write!(line, " {}", object.at("/status")).unwrap(),
            }
            out.push(line);
        }
    }
    for pod in built.store.list(Res::Pods, None) {
        for container in built.logs.containers(pod.uid()) {
            let page = built.logs.read(pod.uid(), &container, false, 0, usize::MAX).unwrap();
            for line in page.lines {
                let text = String::from_utf8_lossy(&line.text).into_owned();
                out.push(format!("{}: {} {} {text}", pod.name(), line.seq, line.at));
            }
        }
    }
    let observe = built.observe.as_ref().unwrap();
    out.push(format!("{:?}", observe.truth()));
    for query in ["sum by (service, code) (http_requests_total)", "container_cpu_usage_seconds_total"] {
        let mut points: Vec<String> =
            observe.ask(query).unwrap().iter().map(|one| format!("{one:?}")).collect();
        points.sort();
        out.extend(points);
    }
    out
}

/// The first lines in which two stories differ.
fn differing(a: &[String], b: &[String]) -> Vec<(String, String)> {
    let cut = |text: &String| text.chars().take(400).collect();
    a.iter().zip(b).filter(|(a, b)| a != b).take(6).map(|(a, b)| (cut(a), cut(b))).collect()
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let (first, second) = (story("incident", 5), story("incident", 5));
    assert!(first.len() > 5_000, "only {} lines", first.len());
    assert_eq!(differing(&first, &second), []);
    assert_eq!(first.len(), second.len());
}

/// What somebody meets who starts the demo at an hour and watches it for some minutes.
fn met(opening: &str, minutes: i64) -> Vec<String> {
    let built = lived("incident", 5, opening, minutes);
    let mut out = vec![format!("{:?}", built.observe.as_ref().unwrap().truth())];
    for res in [Res::Pods, Res::Nodes, Res::EndpointSlices, Res::Hpas, Res::Events] {
        for object in built.store.list(res, None) {
            // The name of an event is made from its text, which may name an hour.
            let named = match res {
                Res::Events => object.at("/involvedObject/name").to_string() + object.text("/reason"),
                _ => format!("{} {}", object.name(), object.uid()),
            };
            let status = |field: &str| object.at("/status").get(field).cloned().unwrap_or_default();
            let restarts = object.at("/status/containerStatuses/0/restartCount");
            out.push(format!(
                "{} {}/{named} {} {restarts} {} {} {}",
                res.info().plural,
                object.namespace(),
                object.text("/spec/nodeName"),
                object.at("/count"),
                status("desiredReplicas"),
                status("currentMetrics")
            ));
        }
    }
    // Truth first, then the objects, of which events come in the order of their names.
    out[1..].sort();
    out
}

#[test]
fn the_hour_changes_no_number() {
    for (hour, minutes) in [("2026-09-30T18:59:56.789Z", 0), ("2026-09-30T18:59:56Z", 2)] {
        let (morning, evening) = (met(MORNING, minutes), met(hour, minutes));
        assert!(morning.len() > 300, "only {} lines", morning.len());
        assert_eq!(differing(&morning, &evening), [], "at {hour}");
        assert_eq!(morning.len(), evening.len());
    }
}

#[test]
fn another_seed_tells_another_story() {
    let (first, second) = (story("calm", 5), story("calm", 6));
    let same = first.iter().filter(|line| second.contains(line)).take(200).count();
    assert!(same < 200, "two seeds agree in {same} lines");
    let pods =
        |all: &[String]| all.iter().filter(|line| line.starts_with("pods ")).cloned().collect::<Vec<_>>();
    let (first, second) = (pods(&first), pods(&second));
    assert!(first.iter().all(|pod| !second.contains(pod)), "a pod of one seed is there with the other too");
}
