//! `--demo` as somebody sees it who has just installed the program: the panes, and an incident that is resolved from
//! the keyboard alone.
//!
//! With PILOTHOUSE_DRAW=FOLDER the panes are drawn into that folder as well: `screenshots/draw` does so.

use std::path::PathBuf;
use std::time::Duration;

use crate::picture::draw;
use crate::seat::{PATIENCE, READING, Seat, Start};

/// Long enough for what a simulated cluster needs in its own time: a rollout, and a rate window that goes by.
const MINUTES: u64 = 180;

/// A seat before a scenario.
fn demo(scenario: &str, size: (u16, u16)) -> Seat {
    Start { args: &["--demo", scenario, "--seed", "1"], size, ..Start::without_kubeconfig() }.sit()
}

fn keep(seat: &mut Seat, name: &str) {
    if let Some(folder) = std::env::var_os("PILOTHOUSE_DRAW") {
        // a picture of a whole screen, not of one that is being painted
        seat.quiet(Duration::from_millis(200), Duration::from_secs(5));
        draw(seat, &PathBuf::from(folder), name);
    }
}

/// NOW's lines.
fn now(seat: &Seat) -> Vec<String> {
    let text = seat.text();
    let inside = text.lines().skip_while(|line| !line.contains(" NOW ")).skip(1);
    inside.take_while(|line| !line.contains(" changed ")).map(str::to_owned).collect()
}

/// The end of a name that a rehearsal asks for.
pub fn asked(seat: &Seat) -> String {
    let text = seat.text();
    let words = text.split("To confirm, type ").nth(1).expect("it says what to type");
    words.split(' ').next().unwrap().to_owned()
}

impl Seat {
    /// Selects the line of NOW with this text, by a filter; NOW has the focus.
    fn selects(&mut self, cause: &str) {
        self.escapes();
        self.wait_for(&format!("NOW with {cause}"), MINUTES, |seat| {
            now(seat).iter().any(|line| line.contains(cause))
        });
        self.press("/", &["Enter keeps"]);
        self.press(&format!("{cause}\r"), &[&format!("/{}", cause.trim())]);
    }

    /// Esc alone: with a key right behind it, it would be that key with Alt.
    fn escapes(&mut self) {
        self.types("\x1b");
        self.quiet(Duration::from_millis(100), Duration::from_millis(500));
    }

    /// Types what a rehearsal asks for. It counts only from a moment after the plan was on the screen.
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

    /// The job line says that the action has ended well.
    fn is_done(&mut self, action: &str) {
        self.wait_for(&format!("{action} is done"), MINUTES, |seat| {
            seat.text().lines().any(|line| line.contains(action) && line.contains("done"))
        });
    }
}

#[test]
fn the_panes_of_the_incident() {
    let mut seat = demo("incident", (120, 36));
    seat.sees(&["Unknown", "after rollout v1.8.1→v1.8.2", "B roll back", "payment intent", "at max"]);
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
fn the_zoomed_panes_of_the_incident_are_filled() {
    let mut seat = demo("incident", (200, 50));
    seat.sees(&["Unknown", "after rollout v1.8.1→v1.8.2", "B roll back", "payment intent", "at max"]);
    for (keys, then) in [
        ("1z", "Describe node/"),
        ("2", "Describe shop/svc/checkout"),
        ("3", "Lines: the newest"),
        ("4", "Describe shop/hpa/cart"),
        ("\t", "Evidence"),
    ] {
        seat.press(keys, &[then]);
        let text = seat.text();
        let written: usize = text.lines().map(|l| l.chars().filter(|c| *c != ' ').count()).sum();
        let blank = (200 * 50 - written) * 100 / (200 * 50);
        assert!(blank <= 70, "{then}: {blank} % are blank:\n{text}");
    }
}

#[test]
fn the_incident_is_resolved_from_the_keyboard() {
    let mut seat = demo("incident", (120, 36));
    seat.sees(&["after rollout v1.8.1→v1.8.2", "B roll back"]);
    // the focus is on NOW, where the causes are

    // a release that fails: rolled back
    seat.selects("shop/checkout");
    seat.press("B", &["Rehearsal: rollback shop/deploy/checkout", "To confirm, type"]);
    keep(&mut seat, "rehearsal");
    let end = asked(&seat);
    seat.confirms(&end);
    seat.is_done("rollback shop/deploy/checkout");
    seat.wait_for("NOW says that it recovers", PATIENCE, |seat| {
        now(seat).iter().any(|line| line.contains("recovering: errors"))
    });
    keep(&mut seat, "recovering");

    // a dead machine: said to be off, so that its pods are made anew elsewhere
    seat.selects("node ");
    seat.press("O", &["Rehearsal: out-of-service", "only if the machine is surely off"]);
    seat.confirms("demo");
    seat.is_done("out-of-service node/");

    // an autoscaler at its limit: raised
    seat.selects("shop/cart");
    seat.press("S", &["bounds of shop/hpa/cart"]);
    seat.press("4-20\r", &["Rehearsal: bounds shop/hpa/cart", "y do it"]);
    seat.says_yes("Rehearsal: bounds");
    seat.is_done("bounds shop/hpa/cart");

    // a pod that goes bad a minute after the opening: out of rotation
    seat.selects("shop/catalog");
    seat.press("X", &["Rehearsal: out-of-rotation", "To confirm, type"]);
    let end = asked(&seat);
    seat.confirms(&end);
    seat.is_done("out-of-rotation");

    // what is left is the machine to be repaired
    seat.escapes();
    seat.wait_for("nothing but the machine that is out of service", MINUTES, |seat| {
        let lines = now(seat);
        let bad = lines.iter().filter(|line| line.contains('✖') || line.contains('!')).count();
        bad == 0 && lines.iter().any(|line| line.contains("out of service"))
    });
    keep(&mut seat, "resolved");
    let text = seat.text();
    assert!(text.contains("nodes 11/12"), "{text}");
    seat.press(
        "9",
        &["Changed in the last 6 hours", "rollout checkout v1.8.2→v1.8.1", "taint node.kubernetes.io"],
    );
    keep(&mut seat, "changes");
}
