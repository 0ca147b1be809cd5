//! The questions on the screen, and the messages about the answers.

use super::now;
use crate::seat::Seat;

/// How a rehearsal is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// This text, and Enter.
    Text(String),
    /// `y`.
    Yes,
    /// It cannot be confirmed.
    Blocked,
}

/// A rehearsal on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// `rollback shop/deploy/checkout`.
    pub title: String,
    pub ask: Ask,
}

impl Rehearsal {
    /// The name of its object.
    pub fn name(&self) -> &str {
        self.title.rsplit('/').next().unwrap_or_default()
    }

    fn act(&self) -> &str {
        self.title.split(' ').next().unwrap_or_default()
    }
}

/// Whether a rehearsal is open.
pub fn is_open(seat: &Seat) -> bool {
    seat.text().contains("─ Rehearsal: ")
}

/// The rehearsal on the screen, once it asks for a confirmation.
pub fn rehearsal(seat: &Seat) -> Option<Rehearsal> {
    let text = seat.text();
    let title = text.lines().find_map(|line| line.split_once("─ Rehearsal: "))?.1;
    let title = title.split(" in ").next()?.to_owned();
    let ask = if text.contains("✖ blocked") || text.contains("✖ the rehearsal failed") {
        Ask::Blocked
    } else if text.contains("│ y do it") {
        Ask::Yes
    } else {
        // `To confirm, type the context's name: demo and press Enter`
        let words = text.split_once("To confirm, type ")?.1.split_once(" and press Enter")?.0;
        Ask::Text(words.split_whitespace().next_back()?.to_owned())
    };
    Some(Rehearsal { title, ask })
}

/// The prompt with the text that is being typed.
pub fn prompt(seat: &Seat) -> Option<String> {
    let last = now::lines(seat).pop()?;
    last.contains(" to: ").then(|| last.trim().to_owned())
}

/// The line for messages and jobs.
pub fn said(seat: &Seat) -> String {
    now::lines(seat).into_iter().rev().nth(1).unwrap_or_default().trim().to_owned()
}

/// The result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Done,
    /// Nothing was sent, because the plan has changed.
    Refused,
    Failed,
}

/// The message about a confirmed action's result; None while it runs.
pub fn came(seat: &Seat, of: &Rehearsal) -> Option<Came> {
    came_of(&said(seat), of)
}

fn came_of(said: &str, of: &Rehearsal) -> Option<Came> {
    if said.starts_with("nothing was sent") {
        return Some(Came::Refused);
    }
    if said.strip_prefix(of.act()).is_some_and(|rest| rest.starts_with(" done:")) {
        return Some(Came::Done);
    }
    let mut words = said.strip_prefix("JOB ")?.split_whitespace();
    // in a narrow place, the middle of its title is left out
    let ends = |word: &str| word.len() > 3 && of.title.ends_with(word.rsplit('…').next().unwrap_or(word));
    words.find(|word| ends(word))?;
    words.find_map(|word| match word {
        "done" => Some(Came::Done),
        "failed" | "refused" | "cancelled" | "unknown" => Some(Came::Failed),
        _ => None,
    })
}

#[test]
fn what_became_of_it_is_read_from_one_line() {
    let of = Rehearsal { title: "rollback shop/deploy/checkout".into(), ask: Ask::Yes };
    for (said, came) in [
        ("started: rollback shop/deploy/checkout; 8 shows it", None),
        ("JOB rollback shop/deploy/checkout ~ running 0/1 steps · 2 of 8 new · 8 view", None),
        ("JOB rollback s…heckout done 1/1 steps · rolled out: 8 of 8 ready · 8 view", Some(Came::Done)),
        ("JOB rollback shop/deploy/checkout ✖ failed 0/1 steps · 8 view", Some(Came::Failed)),
        ("JOB bounds shop/hpa/cart done 1/1 steps · 8 view", None),
        ("rollback done: rolled out: 8 of 8 ready", Some(Came::Done)),
        ("nothing was sent: its warnings changed after the plan was shown", Some(Came::Refused)),
        ("", None),
    ] {
        assert_eq!(came_of(said, &of), came, "{said}");
    }
}
