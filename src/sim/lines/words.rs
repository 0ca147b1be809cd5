//! The messages of applications, with realistically varying ids, addresses and durations.

use super::format::{Entry, Level};
use crate::traffic::Pod;
use crate::traffic::draw::Dice;
use crate::world::Id;

const PATHS: [&str; 6] = [
    "/api/v1/items/{n}",
    "/api/v1/orders/{n}",
    "/cart",
    "/api/v1/users/{n}/profile",
    "/search?q=item{n}",
    "/healthz",
];

fn pick<'a>(dice: &mut Dice, all: &[&'a str]) -> &'a str {
    dice.0.choice(all.iter().copied()).unwrap_or_default()
}

/// Replaces every placeholder by a random value.
fn varied(template: &str, ms: u64, dice: &mut Dice) -> String {
    let mut out = template.to_owned();
    for (mark, value) in [
        ("{id}", format!("{:016x}", dice.0.u64(..))),
        ("{ms}", ms.to_string()),
        ("{ip}", format!("10.{}.{}.{}", dice.0.u8(..), dice.0.u8(..), dice.0.u8(1..))),
        ("{n}", dice.0.u32(100..100_000).to_string()),
    ] {
        out = out.replace(mark, &value);
    }
    out
}

fn entry(level: Level, code: u16, ms: u64, message: String, dice: &mut Dice) -> Entry {
    let path = varied(pick(dice, &PATHS), ms, dice);
    Entry {
        level,
        message,
        trace: None,
        request: Some((path, code, ms)),
        id: format!("{:016x}", dice.0.u64(..)),
        upstream: None,
    }
}

/// The lines of a container that has just started.
pub(super) fn start(pod: &Pod) -> Vec<Entry> {
    let tag = crate::world::tag(&pod.image);
    [
        format!("starting {} {tag}", pod.app),
        format!("configuration loaded from /etc/{}/config.yaml", pod.app),
        "connected to dependencies".to_owned(),
        "listening on 0.0.0.0:8080".to_owned(),
    ]
    .into_iter()
    .map(|message| Entry {
        level: Level::Info,
        message,
        trace: None,
        request: None,
        id: String::new(),
        upstream: None,
    })
    .collect()
}

/// An ordinary request.
pub(super) fn request(pod: &Pod, dice: &mut Dice) -> Entry {
    let ms = (pod.median() * 1000.0 * (pod.behaviour.sigma * dice.normal()).exp()).round().max(1.0) as u64;
    entry(Level::Info, 200, ms, "request completed".to_owned(), dice)
}

/// The request failed because of the application's own fault.
pub(super) fn own(pod: &Pod, message: Option<&str>, dice: &mut Dice) -> Entry {
    let ms = (pod.median() * 1000.0).round().max(1.0) as u64 + dice.0.u64(0..40);
    let text = varied(message.unwrap_or("unhandled exception while handling request {id}"), ms, dice);
    let mut entry = entry(Level::Error, 500, ms, text, dice);
    entry.trace.clone_from(&pod.behaviour.version.trace);
    entry
}

/// More requests arrived than it can accept.
pub(super) fn overload(pod: &Pod, dice: &mut Dice) -> Entry {
    let queue = (pod.behaviour.capacity / 2.0).round();
    let text = format!("request rejected: queue is full ({queue} waiting)");
    entry(Level::Warn, 503, 2, text, dice)
}

fn host(called: Option<Id>) -> String {
    called.map_or_else(|| "upstream".to_owned(), |id| format!("{}.{}.svc", id.name, id.namespace))
}

fn inner(called: Option<Id>, code: u16, ms: u64, text: &str, dice: &mut Dice) -> Entry {
    let host = host(called);
    let mut entry = entry(Level::Error, code, ms, text.replace("{host}", &host), dice);
    entry.upstream = Some(host);
    entry
}

/// A call that got no answer in time.
pub(super) fn timeout(called: Option<Id>, address: &str, dice: &mut Dice) -> Entry {
    let ms = 1000 + dice.0.u64(0..9);
    let text = format!("upstream {{host}} timed out after {ms} ms ({address})");
    inner(called, 502, ms, &text, dice)
}

/// A call to an address where nothing listens.
pub(super) fn refused(called: Option<Id>, address: &str, dice: &mut Dice) -> Entry {
    inner(called, 502, 3, &format!("dial tcp {address}: connect: connection refused ({{host}})"), dice)
}

/// A call to a Service without a backend.
pub(super) fn no_backend(called: Option<Id>, dice: &mut Dice) -> Entry {
    inner(called, 502, 2, "no healthy upstream for {host}", dice)
}

/// A call that was answered with an error.
pub(super) fn answered(called: Option<Id>, dice: &mut Dice) -> Entry {
    let ms = 10 + dice.0.u64(0..60);
    inner(called, 500, ms, "upstream {host} answered 500 Internal Server Error", dice)
}
