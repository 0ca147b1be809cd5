//! The help of each command, which shows only those of the global options that matter to it; and the suggestion for a
//! mistyped command.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};
use pilothouse_core::domain::near::nearest;

use super::Cli;
use super::settings::{FLAGS, Use};

/// What a command works on. This decides which global options its help shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// A cluster that it only reads.
    Cluster,
    /// A cluster that it changes.
    Change,
    /// A simulated cluster of its own.
    Simulated,
    /// Only the config and the journal.
    Files,
    /// Neither a cluster nor a file.
    Itself,
}

/// What each command works on; a command that is not listed here changes a cluster.
const ABOUT: [(&str, About); 13] = [
    ("snapshot", About::Cluster),
    ("why", About::Cluster),
    ("doctor", About::Cluster),
    ("logs", About::Cluster),
    ("sim", About::Simulated),
    ("config", About::Files),
    ("journal", About::Files),
    ("report", About::Itself),
    ("themes", About::Files),
    ("keys", About::Itself),
    ("completions", About::Itself),
    ("man", About::Itself),
    ("help", About::Itself),
];

/// Options that matter only to the screen.
const OF_THE_SCREEN: [&str; 2] = ["ascii", "color"];
/// Options that make or choose a simulated cluster.
const SIMULATED: [&str; 2] = ["seed", "scale"];

/// Whether the help of a command shows this global option.
fn shows(about: About, option: &str) -> bool {
    let flag = FLAGS.iter().find(|flag| flag.id == option).map(|flag| flag.for_);
    let of_the_screen = OF_THE_SCREEN.contains(&option) || flag == Some(Use::Screen);
    let simulated = SIMULATED.contains(&option);
    match about {
        About::Cluster => !of_the_screen,
        About::Change => !of_the_screen && !simulated && option != "demo" && flag != Some(Use::Looking),
        About::Simulated => simulated,
        About::Files => option == "config" || flag.is_some(),
        About::Itself => false,
    }
}

/// The grammar, with the global options hidden from the help of the commands that they do not matter to.
pub fn grammar() -> Command {
    let mut grammar = Cli::command();
    // copies the global options into each command
    grammar.build();
    let global: Vec<String> = grammar
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| arg.get_id().to_string())
        .collect();
    grammar.mut_subcommands(|command| {
        let about = ABOUT.iter().find(|(name, _)| *name == command.get_name());
        hide(command, &global, about.map_or(About::Change, |(_, about)| *about))
    })
}

fn hide(command: Command, global: &[String], about: About) -> Command {
    let hidden = |option: &str| global.iter().any(|id| id == option) && !shows(about, option);
    let command = command.mut_args(|arg| if hidden(arg.get_id().as_str()) { arg.hide(true) } else { arg });
    if command.has_subcommands() {
        command.mut_subcommands(|inner| hide(inner, global, about))
    } else {
        command
    }
}

/// Parses the command line of this process.
pub fn parse() -> Result<Cli, clap::Error> {
    parse_from(std::env::args_os())
}

fn parse_from<I, T>(line: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let mut grammar = grammar();
    let matches = grammar.try_get_matches_from_mut(line).map_err(|e| meant(e, &grammar))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.settings.note(&grammar, &matches);
    if let (Some(super::Command::Logs(flags)), Some(given)) =
        (&cli.command, matches.subcommand_matches("logs"))
        && flags.reads_input()
    {
        super::logs::check_input(&mut grammar, given)?;
    }
    Ok(cli)
}

/// Adds the nearest command to the error if clap suggests none.
fn meant(mut error: clap::Error, grammar: &Command) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand && error.get(ContextKind::SuggestedSubcommand).is_none() {
        let typed = match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(typed)) => typed.clone(),
            _ => return error,
        };
        if let Some(near) = nearest(&typed, grammar.get_subcommands().map(Command::get_name)) {
            let near = ContextValue::Strings(vec![near.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, near);
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(line: &[&str]) -> String {
        let line = [&["pilothouse"], line, &["--help"]].concat();
        parse_from(line).unwrap_err().to_string()
    }

    #[test]
    #[cfg(feature = "demo")]
    fn help_shows_the_options_that_matter_to_the_command() {
        for (line, shown, not_shown) in [
            (&["keys"][..], &["--markdown"][..], &["--kubeconfig", "--prometheus", "--token", "--demo"][..]),
            (&["man"], &[], &["--kubeconfig", "--theme", "--as"]),
            (&["journal", "list"], &["--output", "--config"], &["--kubeconfig", "--token", "--scale"]),
            (&["config", "print"], &["--config", "--prometheus"], &["--kubeconfig", "--as-group"]),
            (&["sim"], &["--seed", "--scale", "--port"], &["--kubeconfig <", "--prometheus", "--token"]),
            (
                &["why"],
                &["--kubeconfig", "--token", "--demo", "--fail-on", "--log-file"],
                &["--theme", "--ascii"],
            ),
            (&["scale"], &["--replicas", "--context", "--token"], &["--scale", "--seed", "--ascii"]),
            (&["drain"], &["--kubeconfig", "--force"], &["--scale", "--demo", "--log-file"]),
            (&[], &["--kubeconfig", "--theme", "--demo", "--scale"], &[]),
        ] {
            let text = help(line);
            for option in shown {
                assert!(text.contains(option), "{line:?} lacks {option}:\n{text}");
            }
            for option in not_shown {
                assert!(!text.contains(option), "{line:?} has {option}:\n{text}");
            }
        }
    }

    #[test]
    #[cfg(feature = "demo")]
    fn a_hidden_option_still_works() {
        let cli = parse_from(["pilothouse", "keys", "--kubeconfig", "k"]).unwrap();
        assert_eq!(cli.global.kubeconfig.as_deref(), Some(std::path::Path::new("k")));
        let cli = parse_from(["pilothouse", "cordon", "n", "--demo", "--scale", "3"]).unwrap();
        assert_eq!(cli.global.demo.scale, 3);
    }

    #[test]
    fn standard_input_takes_no_option_that_needs_a_cluster() {
        for (line, refused) in [
            (&["logs", "-", "-n", "shop"][..], Some("--namespace needs a cluster")),
            (&["-n", "shop", "logs", "-"], Some("--namespace needs a cluster")),
            (&["logs", "-", "-A"], Some("--all-namespaces needs")),
            (&["logs", "-", "-c", "app"], Some("--filter container:NAME")),
            (
                &["logs", "-", "--node", "n", "-p", "-l", "a=b"],
                Some("--selector, --node, --previous need a cluster"),
            ),
            (&["logs", "-", "--context", "x"], Some("--context needs")),
            (&["logs", "-", "--wait", "5s"], Some("--wait needs")),
            (&["logs", "-", "--token", "x"], Some("--token needs")),
            (&["logs", "-", "--log-file", "x"], Some("--log-file needs")),
            (
                &["logs", "-", "--since", "5m", "--tail", "3", "-o", "json", "--grep", "x", "--timestamps"],
                None,
            ),
            (&["logs", "api", "-c", "app", "-A"], None),
        ] {
            let parsed = parse_from([&["pilothouse"], line].concat());
            match (refused, parsed) {
                (None, parsed) => assert!(parsed.is_ok(), "{line:?}"),
                (Some(words), Err(error)) => {
                    assert!(error.to_string().contains(words), "{line:?}: {error}");
                    assert_eq!(error.exit_code(), 2);
                }
                (Some(_), Ok(_)) => panic!("{line:?}"),
            }
        }
        #[cfg(feature = "demo")]
        for option in ["--demo", "--seed=3"] {
            assert!(parse_from(["pilothouse", "logs", "-", option]).is_err(), "{option}");
        }
    }

    #[test]
    fn every_option_and_argument_has_a_text() {
        fn check(command: &Command, path: &str) {
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path}: {} has no text", arg.get_id());
            }
            for inner in command.get_subcommands() {
                check(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        check(&grammar(), "pilothouse");
    }

    #[test]
    #[cfg(feature = "demo")]
    fn a_mistyped_command_or_value_gets_a_hint() {
        for (line, words) in [
            (&["wyh"][..], "'why'"),
            (&["snapshto"], "'snapshot'"),
            (&["rolback", "x"], "'rollback'"),
            (&["scale", "deploy/x", "--replicas", "x"], "not a whole number"),
            (&["scale", "deploy/x", "--replicas", "99999999999"], "out of range"),
            (&["drain", "n", "--nodes-at-once", "0"], "at least 1"),
            (&["--demo", "--scale", "201"], "from 1 to 200"),
            (&["why", "--fail-on", "critcal"], "'critical'"),
            (&["logs", "api", "--since", "5x"], "use 30s, 15m, 2h or 1d"),
            (&["logs", "api", "--since", "0s"], "longer than 0"),
            (&["why", "--wait", "0s"], "longer than 0"),
            (&["why", "--wait", "ten"], "use 30s, 15m, 2h or 1d"),
        ] {
            let error = parse_from([&["pilothouse"], line].concat()).unwrap_err().to_string();
            assert!(error.contains(words), "{line:?}: {error}");
        }
    }
}
