//! Follows the README's solution of the incident without knowing any name, by reading the screen: the first line of NOW
//! that needs an action, the key at its end, the confirmation of the rehearsal, and so on until NOW is quiet. The
//! result is compared with the README.
//!
//! PILOTHOUSE_TEST_WHOLE=1 runs it for 20 seeds at both sizes, which takes about 15 minutes on two cores, and prints a
//! table (`--nocapture`); PILOTHOUSE_TEST_SEED (1) is the first seed, PILOTHOUSE_TEST_ROUNDS (20) the number of seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::asked::{self, Ask, Came, Rehearsal};
use super::now::{self, Now, Row};
use super::readme::{self, Step};
use crate::seat::{READING, Seat, Start};

/// How often the screen is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The timeout until the first cause is shown, on a machine that opens several demos at once.
pub const OPENING: Duration = Duration::from_secs(180);
/// A whole walk.
const MOST: Duration = Duration::from_secs(600);
/// The timeout of an action; a roll-back takes longest.
const ACTION: Duration = Duration::from_secs(180);
/// The timeout of a reaction to a key, and of a line about a completed fix.
const ANSWER: Duration = Duration::from_secs(10);
/// If nothing needs an action for this long, and all of the README's steps were done, it is over.
const QUIET: Duration = Duration::from_secs(5);
/// How often a confirmed plan may have changed meanwhile.
const REFUSED: usize = 3;

/// What was done about a line, and when after that …
struct Fix {
    key: char,
    about: String,
    /// … the action had ended,
    done: Option<Duration>,
    /// the line said that it recovers or was of no concern any more,
    told: Option<Duration>,
    /// and nothing was said of it but what remains to be done.
    quiet: Option<Duration>,
    at: Instant,
}

/// A moment that is worth a picture.
pub enum Moment {
    /// With its title.
    Rehearsal(String),
    Recovering,
}

/// Somebody at a terminal.
pub struct Walk {
    pub seat: Seat,
    began: Instant,
    steps: Vec<Step>,
    fixes: Vec<Fix>,
    /// What a person would complain about.
    wrong: BTreeSet<String>,
    /// How often nothing was sent, as the plan had changed.
    refused: usize,
    /// What was seen and done, and when.
    log: Vec<String>,
    /// The lines of NOW without their numbers, as they were last seen.
    lines: BTreeMap<String, String>,
    said: String,
    /// Since when nothing calls for anybody.
    calm: Option<Instant>,
}

impl Walk {
    /// Sits down before the incident.
    pub fn begin(seed: u64, size: (u16, u16)) -> Self {
        let seed = seed.to_string();
        let start = Start { args: &["--demo", "--seed", &seed], size, ..Start::without_kubeconfig() };
        Self {
            seat: start.sit(),
            began: Instant::now(),
            steps: readme::steps(),
            fixes: Vec::new(),
            wrong: BTreeSet::new(),
            refused: 0,
            log: Vec::new(),
            lines: BTreeMap::new(),
            said: String::new(),
            calm: None,
        }
    }

    /// Goes on until NOW is quiet; `seen` is called at each rehearsal, and when a line first says that it recovers.
    pub fn walks_on(&mut self, mut seen: impl FnMut(&mut Seat, Moment)) {
        let calls = |row: &Row| row.is_alarm() && row.key.is_some();
        if !self.waits(OPENING, |seat| now::read(seat).is_some_and(|now| now.rows.iter().any(calls))) {
            self.fails("no line of NOW has a key");
        }
        // the first line is read before its key is pressed: lines still come and change places in the first seconds
        let first = |seat: &Seat| now::read(seat).and_then(|now| now.rows.first().map(Row::gist));
        let mut read = None;
        while read.is_none() || read != first(&self.seat) {
            read = first(&self.seat);
            self.seat.bytes_within(Duration::from_secs(2));
        }
        let mut told = false;
        while !self.is_over() {
            if self.began.elapsed() > MOST {
                self.fails("NOW does not become quiet, or a step of the README never comes");
            }
            let Some(now) = self.looks() else { continue };
            if !told && now.rows.iter().any(Row::recovers) {
                told = true;
                seen(&mut self.seat, Moment::Recovering);
            }
            match now.rows.iter().find(|row| calls(row)) {
                Some(row) => self.acts_on(row, &mut seen),
                // what calls for somebody may be further down
                None if now.hidden > 0 => self.seat.types("j"),
                None => {}
            }
        }
        self.compares_what_is_left();
    }

    /// Nothing was there to complain about.
    pub fn holds(&self) {
        assert!(self.wrong.is_empty(), "{}", self.story());
    }

    /// What became of each fix, in a row of a table.
    fn row(&self) -> String {
        let secs = |time: Option<Duration>| time.map_or("–".into(), |t| format!("{:.1}", t.as_secs_f64()));
        let mut row = String::new();
        for step in &self.steps {
            let fix = self.fixes.iter().find(|fix| fix.key == step.key);
            let times = fix.map(|f| [f.done, f.told, f.quiet].map(secs).join(" / ")).unwrap_or_default();
            write!(row, "{times} | ").unwrap();
        }
        let from = self.fixes.first().map_or(self.began, |fix| fix.at);
        let last = self.calm.map_or(0.0, |calm| calm.duration_since(from).as_secs_f64());
        let took = self.began.elapsed().as_secs();
        format!("{row}{last:.0} of {took} | {}", self.refused)
    }

    fn story(&self) -> String {
        let wrong: Vec<&str> = self.wrong.iter().map(String::as_str).collect();
        format!("{}\n{}\n{}", wrong.join("\n"), self.log.join("\n"), self.seat.text())
    }

    fn fails(&self, what: &str) -> ! {
        panic!("{what}\n{}", self.story());
    }

    fn notes(&mut self, what: &str) {
        self.log.push(format!("{:6.1} {what}", self.began.elapsed().as_secs_f64()));
    }

    /// Takes in what comes for a moment, and what NOW says.
    fn looks(&mut self) -> Option<Now> {
        self.seat.bytes_within(LOOK);
        let said = asked::said(&self.seat);
        if said != self.said {
            self.notes(&format!("= {said}"));
            self.said = said;
        }
        let now = now::read(&self.seat)?;
        self.notes_changes(&now);
        for fix in &mut self.fixes {
            let row = now.rows.iter().find(|row| row.about() == fix.about);
            let after = fix.at.elapsed();
            if row.is_some_and(Row::is_alarm) {
                fix.quiet = None;
            } else if row.is_some_and(Row::recovers) {
                fix.told.get_or_insert(after);
                fix.quiet = None;
            } else if now.hidden == 0 {
                fix.told.get_or_insert(after);
                fix.quiet.get_or_insert(after);
            }
            if row.is_some_and(|row| row.words.contains("did not help")) {
                self.wrong.insert(format!("{} {} is said not to have helped", fix.key, fix.about));
            }
        }
        let is_quiet = now.hidden == 0 && !now.rows.iter().any(|row| row.is_alarm() || row.recovers());
        self.calm = if is_quiet { self.calm.or_else(|| Some(Instant::now())) } else { None };
        Some(now)
    }

    fn notes_changes(&mut self, now: &Now) {
        let lines: BTreeMap<String, String> =
            now.rows.iter().map(|row| (row.gist(), row.words.clone())).collect();
        let mut before = std::mem::take(&mut self.lines);
        for (gist, words) in lines.iter().filter(|(gist, _)| !before.contains_key(*gist)) {
            self.notes(&format!("+ {gist}    ({words})"));
        }
        if now.hidden == 0 {
            for gist in before.keys().filter(|gist| !lines.contains_key(*gist)) {
                self.notes(&format!("- {gist}"));
            }
            before.clear();
        }
        before.extend(lines);
        self.lines = before;
    }

    fn waits(&mut self, most: Duration, until: impl Fn(&Seat) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < most {
            if until(&self.seat) {
                return true;
            }
            self.looks();
        }
        until(&self.seat)
    }

    fn is_over(&self) -> bool {
        let made = |step: &Step| self.fixes.iter().any(|fix| fix.key == step.key);
        self.steps.iter().all(made) && self.calm.is_some_and(|since| since.elapsed() >= QUIET)
    }

    /// Only the node that was said to be off is left.
    fn compares_what_is_left(&mut self) {
        let Some(now) = now::read(&self.seat) else { self.fails("NOW is not there at the end") };
        // what the README says of the end
        let is_off = |row: &Row| row.words.contains("out of service");
        let is_out = |row: &Row| row.words.contains("out of rotation");
        if !matches!(now.rows.as_slice(), [node, pod] if is_off(node) && is_out(pod)) {
            let left: Vec<String> = now.rows.iter().map(Row::gist).collect();
            self.wrong.insert(format!("not the dead node and the pod are left, but {left:?}"));
        }
    }

    /// Goes to a line of NOW, presses the key that it shows, and answers what is asked.
    fn acts_on(&mut self, row: &Row, seen: &mut impl FnMut(&mut Seat, Moment)) {
        let Some((key, does)) = row.key.clone() else { return };
        if !self.goes_to(row) {
            return;
        }
        let step = self.steps.iter().find(|step| step.means(&row.words)).cloned();
        self.seat.types(&key.to_string());
        if !self.waits(ANSWER, |seat| asked::is_open(seat) || asked::prompt(seat).is_some()) {
            self.fails(&format!("{key} does nothing where NOW shows it: {}", row.words));
        }
        if asked::prompt(&self.seat).is_some() {
            let told = step.as_ref().and_then(|step| step.value);
            let value = told.map_or_else(|| enough(&row.words), str::to_owned);
            self.seat.types(&format!("{value}\r"));
        }
        // what is still being read may hold it up for a moment
        let ready = |seat: &Seat| asked::rehearsal(seat).is_some_and(|plan| plan.ask != Ask::Blocked);
        self.waits(ANSWER, ready);
        let Some(plan) = asked::rehearsal(&self.seat) else {
            self.fails(&format!("{key} leads to nothing that can be answered: {}", row.words));
        };
        if !row.words.contains(plan.name()) {
            self.fails(&format!("pressed on `{}`, rehearsed `{}`", row.words, plan.title));
        }
        seen(&mut self.seat, Moment::Rehearsal(plan.title.clone()));
        self.answers(&plan);
        let at = Instant::now();
        self.notes(&format!("> {key} {}", plan.title));
        let again = self.fixes.iter().any(|fix| fix.key == key && fix.about == row.about());
        let about = row.about().to_owned();
        self.fixes.push(Fix { key, about, done: None, told: None, quiet: None, at });
        if !self.waits(ACTION, |seat| asked::came(seat, &plan).is_some()) {
            self.fails(&format!("{} does not come to its end", plan.title));
        }
        match asked::came(&self.seat, &plan) {
            Some(Came::Refused) if self.refused < REFUSED => {
                // the key is still there, and what it would do is another thing by now
                self.refused += 1;
                self.fixes.pop();
                self.waits(ANSWER, |seat| !asked::said(seat).starts_with("nothing was sent"));
                return;
            }
            Some(Came::Done) => {}
            came => self.fails(&format!("{}: {came:?}", plan.title)),
        }
        if let Some(fix) = self.fixes.last_mut() {
            fix.done = Some(at.elapsed());
        }
        match step {
            Some(step) if step.key != key => {
                self.wrong.insert(format!("the README says {}, NOW {key}: {}", step.told(), row.words));
            }
            Some(_) if again => {
                self.wrong.insert(format!("{key} {does} is asked for again: {}", row.words));
            }
            Some(_) => {}
            None => {
                self.wrong.insert(format!("not in the README: {key} {does}: {}", row.words));
            }
        }
        let offers = |r: &Row| r.is_alarm() && r.about() == row.about() && r.key == row.key;
        let is_told = |seat: &Seat| now::read(seat).is_some_and(|now| !now.rows.iter().any(offers));
        if !self.waits(ANSWER, is_told) {
            self.wrong.insert(format!("still offered {ANSWER:?} after it was done: {}", row.gist()));
        }
    }

    /// Answers a rehearsal, as often as it has changed while it was being answered.
    fn answers(&mut self, plan: &Rehearsal) {
        let mut ask = plan.ask.clone();
        for _ in 0..10 {
            match &ask {
                Ask::Text(text) => self.seat.confirms(text),
                Ask::Yes => self.seat.says_yes("Rehearsal:"),
                Ask::Blocked => self.fails(&format!("NOW offers what is refused: {}", plan.title)),
            }
            if self.waits(Duration::from_secs(2), |seat| !asked::is_open(seat)) {
                return;
            }
            self.waits(ANSWER, |seat| asked::rehearsal(seat).is_some());
            let Some(again) = asked::rehearsal(&self.seat) else { return };
            ask = again.ask;
        }
        self.fails(&format!("it changes again and again: {}", plan.title));
    }

    /// Goes to the line; false when it is no longer there.
    fn goes_to(&mut self, row: &Row) -> bool {
        for _ in 0..40 {
            let Some(now) = now::read(&self.seat) else { return false };
            let wanted = now.rows.iter().position(|r| r.about() == row.about() && r.key == row.key);
            let Some(wanted) = wanted else { return false };
            let here = now.rows.iter().position(|r| r.selected);
            match here {
                Some(here) if here == wanted => {
                    // a person looks where the cursor is, and presses the key
                    self.seat.bytes_within(READING);
                    return true;
                }
                Some(here) if here > wanted => self.seat.types("k"),
                _ => self.seat.types("j"),
            }
            self.waits(Duration::from_secs(1), |seat| {
                now::read(seat).is_some_and(|now| now.rows.iter().position(|r| r.selected) != here)
            });
        }
        self.fails(&format!("the cursor does not get there: {}", row.words));
    }
}

/// A maximum that is enough for what the line says is wanted.
fn enough(words: &str) -> String {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok();
    let wants = words.split_once("wants ").and_then(|(_, rest)| number(rest));
    format!("-{}", wants.unwrap_or(10) * 2)
}

pub const NARROW: (u16, u16) = (80, 24);
pub const WIDE: (u16, u16) = (120, 36);
const SEEDS: u64 = 20;
/// Walks at once: they wait most of their time.
const AT_ONCE: usize = 8;

/// A walk from the start to the end.
pub fn walk(seed: u64, size: (u16, u16)) -> Walk {
    let mut walk = Walk::begin(seed, size);
    walk.walks_on(|_, _| {});
    walk
}

#[test]
fn for_every_seed_at_both_sizes() {
    if std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_none() {
        eprintln!("not run: PILOTHOUSE_TEST_WHOLE is not set");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("PILOTHOUSE_TEST_SEED").unwrap_or(1);
    let seeds = first..first + number("PILOTHOUSE_TEST_ROUNDS").unwrap_or(SEEDS);
    let all: Vec<_> = seeds.flat_map(|seed| [NARROW, WIDE].map(|size| (seed, size))).collect();
    let (next, came) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&(seed, size)) = all.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let one = std::thread::spawn(move || {
                        let walk = walk(seed, size);
                        let wrong = (!walk.wrong.is_empty()).then(|| walk.story());
                        (walk.row(), wrong)
                    });
                    let came_of = one.join().unwrap_or_else(|why| {
                        let why = why.downcast::<String>().map_or_else(|_| "?".into(), |why| *why);
                        (format!("✖ {}", why.lines().next().unwrap_or_default()), Some(why))
                    });
                    eprintln!("{seed} {size:?}: {}", came_of.0);
                    came.lock().unwrap().insert((seed, size), came_of);
                }
            });
        }
    });
    let came = came.into_inner().unwrap();
    let heads: Vec<String> = readme::steps().iter().map(Step::told).collect();
    eprintln!("seconds from each answer until done / told / quiet; from the first until all is quiet");
    eprintln!("| seed | size | {} | quiet after | refused |", heads.join(" | "));
    for ((seed, (width, height)), (row, _)) in &came {
        eprintln!("| {seed} | {width}x{height} | {row} |");
    }
    let wrong = came.iter().filter_map(|(of, (_, why))| Some(format!("{of:?}: {}", why.as_ref()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), came.len(), wrong.join("\n"));
}
