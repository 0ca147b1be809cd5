//! The common part of the headless commands: the confirmation, and the output.

use std::io::{BufRead, IsTerminal, Write};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{Confirm, Plan};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::plan::{is_protected, takes_many_nodes};

use crate::action::runner::Consent;
use crate::cli::ActionFlags;

/// Returns true if the text has each of these addresses. It may have more of them: the plan asks only for those of the
/// clusters that its remaining steps change, and the user has read of all that moved.
pub fn names_all(text: &str, addresses: &str) -> bool {
    addresses.split(' ').all(|address| text.split_whitespace().any(|named| named == address))
}

/// Confirms a plan by flags, or by asking at a terminal. Returns an error that says what to do if it is not
/// confirmed.
pub fn confirm(plan: &Plan, flags: &ActionFlags, guards: &GuardSettings) -> Result<Consent, String> {
    let context = plan.intent.context.as_str();
    let protected = is_protected(plan, guards);
    let moved = plan.confirm == Confirm::Server;
    match &flags.confirm {
        Some(named) if moved && !names_all(named, &plan.answer) => {
            return Err(format!(
                "--confirm {named} is not the address of the API server, which is {}",
                plan.answer
            ));
        }
        Some(named) if !moved && named != context => {
            return Err(format!("--confirm {named} is not this context, which is {context}"));
        }
        None if moved && flags.yes => {
            return Err(format!("the address of the API server has changed: add --confirm {}", plan.answer));
        }
        _ => {}
    }
    if flags.yes {
        if protected && flags.confirm.is_none() {
            return Err(format!("this is protected: add --confirm {context}"));
        }
        if takes_many_nodes(plan) && flags.confirm.is_none() {
            return Err(format!("these are many nodes at once: add --confirm {context}"));
        }
        return Ok(Consent::Flags);
    }
    if !std::io::stdin().is_terminal() {
        return Err("there is no terminal to ask at: add --yes".into());
    }
    ask(plan)
}

fn ask(plan: &Plan) -> Result<Consent, String> {
    let mut err = std::io::stderr().lock();
    let question = match plan.confirm {
        Confirm::Yes => "go on? type y: ".to_owned(),
        _ => format!("to go on, type {}: ", plan.answer),
    };
    if write!(err, "{question}").and_then(|()| err.flush()).is_err() {
        return Err("the question could not be shown".into());
    }
    // input that was typed before the question is not an answer to it
    if rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush).is_err() {
        return Err("the terminal cannot be emptied of what was typed before: use --yes".into());
    }
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(_) if line.trim() == plan.answer => Ok(Consent::Typed(plan.answer.clone())),
        Ok(_) => Err("not confirmed: nothing was changed".into()),
        Err(e) => Err(format!("no answer: {e}")),
    }
}

/// Prints data to standard output. A reader that closes the pipe early (`| head -1`) is not an error.
pub fn print(text: &str) -> std::io::Result<()> {
    still_read(text).map(|_| ())
}

/// Prints like `print`. Returns `false` if the reader has closed the pipe.
pub fn still_read(text: &str) -> std::io::Result<bool> {
    match write_out(text) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e),
    }
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Prints what is said about one cluster. If several clusters are read at the same time, it names the cluster.
#[derive(Clone, Debug, Default)]
pub struct Voice(Option<Name>);

impl Voice {
    /// The voice for one of several clusters.
    pub fn of(context: &str) -> Self {
        Self(Some(context.into()))
    }

    /// The context, if several clusters are read.
    pub fn context(&self) -> Option<&Name> {
        self.0.as_ref()
    }

    /// Prints a message for the user to standard error.
    pub fn tell(&self, text: &str) {
        match &self.0 {
            Some(context) => tell(&format!("pilothouse: {context}: {text}")),
            None => tell(&format!("pilothouse: {text}")),
        }
    }

    /// Returns a text that stands alone. Among the texts of several clusters, it has a heading and ends with a blank line.
    pub fn headed(&self, text: &str) -> String {
        match &self.0 {
            Some(context) => format!("=== {context}\n{text}\n\n"),
            None => text.to_owned(),
        }
    }
}

/// Prints a message for the user to standard error.
pub fn tell(text: &str) {
    // a closed standard error is no reason to stop
    let _unheard = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::ClusterId;
    use pilothouse_core::domain::plan::{Act, DrainOptions, Intent};
    use pilothouse_core::domain::time::Stamp;

    use super::*;
    use crate::cli::Output;

    #[test]
    fn a_moved_action_is_confirmed_by_each_address_that_it_asks_for() {
        let intent =
            Intent { cluster: ClusterId(0), context: "test".into(), act: Act::Cordon, targets: Vec::new() };
        let plan = Plan { confirm: Confirm::Server, answer: "b:1 c:2".into(), ..Plan::new(intent, Stamp(0)) };
        let said = |named: &str| {
            let flags = ActionFlags {
                output: Output::Text,
                dry_run: None,
                yes: true,
                confirm: Some(named.to_owned()),
                journal_in_memory: None,
            };
            confirm(&plan, &flags, &GuardSettings::default())
        };
        assert_eq!((said("b:1 c:2"), said("c:2 b:1 d:3")), (Ok(Consent::Flags), Ok(Consent::Flags)));
        assert!(said("b:1").is_err() && said("test").is_err() && said("b:1c:2").is_err());
    }

    #[test]
    fn yes_alone_takes_no_zone() {
        let said = |act, asks, named: Option<&str>| {
            let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets: Vec::new() };
            let plan = Plan { confirm: asks, ..Plan::new(intent, Stamp(0)) };
            let flags = ActionFlags {
                output: Output::Text,
                dry_run: None,
                yes: true,
                confirm: named.map(str::to_owned),
                journal_in_memory: None,
            };
            confirm(&plan, &flags, &GuardSettings::default())
        };
        let drain = || Act::Drain(DrainOptions::default());
        for act in [drain(), Act::Cordon] {
            let alone = said(act.clone(), Confirm::Context, None);
            assert!(matches!(alone, Err(why) if why.contains("--confirm test")));
            assert_eq!(said(act.clone(), Confirm::Context, Some("test")), Ok(Consent::Flags));
            assert!(said(act.clone(), Confirm::Context, Some("other")).is_err());
            assert_eq!(said(act, Confirm::Count, None), Ok(Consent::Flags));
        }
        assert_eq!(said(Act::OutOfService, Confirm::Context, None), Ok(Consent::Flags), "one object");
    }
}
