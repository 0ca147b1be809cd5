//! `--demo` as a new user sees it: the panes, and an incident that is solved with the keyboard alone.
//!
//! With PILOTHOUSE_DRAW=FOLDER the panes are also drawn into that folder, as `screenshots/draw` does, and the incident is
//! recorded as `incident.cast`.

mod asked;
mod now;
mod readme;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use self::walk::{Moment, NARROW, OPENING, WIDE, Walk, walk};
use crate::cast::Cast;
use crate::picture::draw;
use crate::seat::{PATIENCE, READING, Seat, Start};

/// A terminal with a scenario.
fn demo(scenario: &str, size: (u16, u16)) -> Seat {
    Start { args: &["--demo", scenario, "--seed", "1"], size, ..Start::without_kubeconfig() }.sit()
}

/// The incident, from the moment when all of it is on the screen.
fn incident(size: (u16, u16)) -> Seat {
    let mut seat = demo("incident", size);
    let all = ["Unknown", "after rollout v1.8.1→v1.8.2", "B roll back", "payment intent", "at max"];
    seat.wait_for("the whole incident", OPENING.as_secs(), |seat| {
        all.iter().all(|part| seat.text().contains(part))
    });
    seat
}

fn keep(seat: &mut Seat, name: &str) {
    if let Some(folder) = std::env::var_os("PILOTHOUSE_DRAW") {
        // a picture of a complete screen, not of one that is being painted
        seat.quiet(Duration::from_millis(200), Duration::from_secs(5));
        draw(seat, &PathBuf::from(folder), name);
    }
}

/// Adds the screen to a cast.
fn film(cast: &mut Cast, seat: &mut Seat, secs: f64) {
    if std::env::var_os("PILOTHOUSE_DRAW").is_some() {
        seat.quiet(Duration::from_millis(200), Duration::from_secs(5));
    }
    cast.frame(seat, secs);
}

/// The end of a name that a rehearsal asks for.
pub fn asked(seat: &Seat) -> String {
    let text = seat.text();
    let words = text.split("To confirm, type ").nth(1).expect("it says what to type");
    words.split(' ').next().unwrap().to_owned()
}

impl Seat {
    /// Esc alone: followed by another key at once, it would be that key with Alt.
    fn escapes(&mut self) {
        self.types("\x1b");
        self.quiet(Duration::from_millis(100), Duration::from_millis(500));
    }

    /// Types the answer to a rehearsal. It counts only from a moment after the plan was shown.
    pub fn confirms(&mut self, text: &str) {
        for _ in 0..20 {
            self.bytes_within(READING);
            self.types(text);
            self.wait_for("the answer is taken or too early", PATIENCE, |seat| {
                seat.text().contains(&format!("> {text}")) || seat.text().contains("too early")
            });
            if self.text().contains(&format!("> {text}")) {
                self.types("\r");
                return;
            }
        }
        panic!("always too early:\n{}", self.text());
    }
}

#[test]
fn the_panes_of_the_incident() {
    let mut seat = incident((120, 36));
    keep(&mut seat, "overview");
    seat.types("1z");
    seat.wait_for("the nodes alone", PATIENCE, |seat| !seat.text().contains("2 Traffic"));
    seat.sees(&["VERSION"]);
    keep(&mut seat, "nodes");
    seat.press("z", &["2 Traffic"]);
    seat.press("2/", &["Enter keeps"]);
    seat.press("shop/checkout\r", &["/shop/checkout"]);
    seat.press("\r", &["Backends of shop/checkout", "v1.8.2", "EXP"]);
    keep(&mut seat, "traffic");
    seat.escapes();
    seat.escapes();
    seat.press("3\r", &["Error group", "only v1.8.2", "currency EUR"]);
    keep(&mut seat, "errors");
    seat.escapes();
    seat.press("4\r", &["How the number of replicas is computed", "limited to 9 by maxReplicas"]);
    keep(&mut seat, "autoscalers");
}

#[test]
fn alerts_the_timeline_and_plots_of_the_incident() {
    let mut seat = incident((120, 36));
    seat.press("6", &["Alerts", "HighErrorRatio", "firing"]);
    keep(&mut seat, "alerts");
    seat.escapes();
    seat.press("7", &["Timeline", "INCIDENT 1 open", "rollout checkout v1.8.1→v1.8.2"]);
    keep(&mut seat, "timeline");
    // the panes follow the clock, and Esc returns to now
    seat.press("<", &["│ AT "]);
    seat.escapes();
    seat.wait_for("now", PATIENCE, |seat| !seat.text().contains("│ AT "));
    seat.escapes();
    seat.press("2/", &["Enter keeps"]);
    seat.press("shop/checkout\r", &["/shop/checkout"]);
    seat.press("m", &["Plots of shop/svc/checkout", "Requests", "Errors", "last"]);
    keep(&mut seat, "plots");
}

#[test]
fn the_zoomed_panes_of_the_incident_are_filled() {
    let mut seat = incident((200, 50));
    for (keys, then) in [
        ("1z", "Describe node/"),
        ("2", "Describe shop/svc/checkout"),
        ("3", "Lines: the newest"),
        ("4", "Describe shop/hpa/cart"),
        ("\t", "Evidence"),
    ] {
        seat.press(keys, &[then]);
        // a frame arrives in pieces
        seat.wait_for(&format!("{then}: at most 70 % blank"), PATIENCE, |seat| {
            let text = seat.text();
            let written: usize = text.lines().map(|l| l.chars().filter(|c| *c != ' ').count()).sum();
            (200 * 50 - written) * 100 / (200 * 50) <= 70
        });
    }
}

#[test]
fn the_incident_is_resolved_from_the_keyboard() {
    // at the same time on a small screen, with other names; both wait most of their time
    let beside = std::thread::spawn(|| walk(2, NARROW).holds());
    let mut walk = Walk::begin(1, WIDE);
    let mut cast = Cast::new("Pilothouse: an incident, from the first look to the recovery");
    walk.seat.wait_for("the incident", OPENING.as_secs(), |seat| seat.text().contains("B roll back"));
    film(&mut cast, &mut walk.seat, 5.0);
    walk.walks_on(|seat, moment| match moment {
        Moment::Rehearsal(title) => {
            if title.starts_with("rollback") {
                keep(seat, "rehearsal");
            }
            film(&mut cast, seat, 4.0);
        }
        Moment::Recovering => {
            keep(seat, "recovering");
            film(&mut cast, seat, 4.0);
        }
    });
    walk.holds();

    // the machine that needs a repair is left
    let seat = &mut walk.seat;
    seat.escapes();
    seat.sees(&["out of service"]);
    keep(seat, "resolved");
    film(&mut cast, seat, 4.0);
    let text = seat.text();
    assert!(text.contains("nodes 11/12"), "{text}");
    seat.press("7", &["Timeline", "without usual events"]);
    film(&mut cast, seat, 4.0);
    // everything, findings, changes
    seat.press("ttt", &["t: changes", "rollout checkout v1.8.2→v1.8.1", "taint node.kubernetes.io"]);
    keep(seat, "changes");
    film(&mut cast, seat, 6.0);
    cast.finish(std::env::var_os("PILOTHOUSE_DRAW").map(PathBuf::from).as_deref(), "incident");
    beside.join().expect("the walk on a small screen, see above");
}
