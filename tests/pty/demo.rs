//! `--demo` as somebody sees it who has just installed the program.
//!
//! With PILOTHOUSE_DRAW=FOLDER the panes are drawn into that folder as well: `screenshots/draw` does so.

use std::path::PathBuf;

use crate::picture::draw;
use crate::seat::{Seat, Start};

/// A seat before a scenario, seed 1.
pub fn demo(scenario: &str, size: (u16, u16)) -> Seat {
    let args = ["--demo", scenario, "--seed", "1"];
    Start { args: &args, size, ..Start::without_kubeconfig() }.sit()
}

fn keep(seat: &Seat, name: &str) {
    if let Some(folder) = std::env::var_os("PILOTHOUSE_DRAW") {
        draw(seat, &PathBuf::from(folder), name);
    }
}

#[test]
fn each_pane_shows_what_is_wrong_in_the_incident() {
    let mut seat = demo("incident", (120, 36));
    seat.sees(&[
        "NotReady",
        "shop/checkout",
        "v1.8.1→v1.8.2",
        "1 Nodes",
        "2 Traffic",
        "3 Errors",
        "4 Autoscalers",
    ]);
    seat.sees(&["payment intent"]);
    keep(&seat, "overview");
}
