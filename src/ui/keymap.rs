//! From keys to commands: the table's defaults with the person's own keys over them.

use std::collections::{BTreeMap, HashMap};

use super::command::{self, COMMANDS, Cmd, Context, Risk};
use super::key::{Code, Key};

/// Which command a key gives, by place.
#[derive(Clone, Debug, Default)]
pub struct Keymap {
    map: HashMap<(Context, Key), Cmd>,
    keys: HashMap<Cmd, Vec<Key>>,
}

/// What is wrong with a command's own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The command's id, as in the config.
    pub command: String,
    pub what: String,
    pub hint: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ui.keys.{}: {}", self.command, self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

impl Keymap {
    /// The table with `own` keys (command id -> keys) over it, and what is wrong with them. A command whose own keys
    /// are bad keeps its defaults.
    pub fn new(own: &BTreeMap<String, Vec<String>>) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        for id in own.keys().filter(|id| command::by_id(id).is_none()) {
            let hint = "`pilothouse keys` lists the commands";
            faults.push(Fault { command: id.clone(), what: "there is no such command".into(), hint });
        }
        let mut built = Self::default();
        let mut rest = Vec::new();
        // the person's own first, so that a clash with a default is settled for them
        for command in COMMANDS {
            match own.get(command.id).map(|texts| read(command, texts)) {
                Some(Ok(keys)) => built.bind(command, &keys, &mut faults),
                Some(Err(fault)) => {
                    faults.push(fault);
                    rest.push(command);
                }
                None => rest.push(command),
            }
        }
        let chosen = built.map.clone();
        for command in rest {
            let keys: Vec<Key> = command.keys.iter().filter_map(|k| Key::parse(k)).collect();
            built.bind(command, &keys, &mut faults);
        }
        built.hidden(&chosen, &mut faults);
        (built, faults)
    }

    fn bind(&mut self, command: &command::Command, keys: &[Key], faults: &mut Vec<Fault>) {
        for key in keys {
            let mut bound = false;
            for context in command.contexts {
                match self.map.get(&(*context, *key)) {
                    Some(other) if *other != command.cmd => {
                        let ids = (id(*other), command.id);
                        let what = format!("{key} is bound to both `{}` and `{}`", ids.0, ids.1);
                        fault(faults, ids.0, format!("{what} in {}", context.title()), ids.1);
                    }
                    _ => {
                        self.map.insert((*context, *key), command.cmd);
                        bound = true;
                    }
                }
            }
            if bound {
                self.keys.entry(command.cmd).or_default().push(*key);
            }
        }
    }

    /// Finds the person's own keys that take away, in a narrower place, a key that works around it. The table's keys do
    /// so on purpose.
    fn hidden(&self, chosen: &HashMap<(Context, Key), Cmd>, faults: &mut Vec<Fault>) {
        let mut chosen: Vec<_> = chosen.iter().collect();
        chosen.sort_unstable();
        for ((context, key), cmd) in chosen {
            for around in context.around() {
                if let Some(other) = self.map.get(&(*around, *key)).filter(|other| *other != cmd) {
                    let what = format!("{key} hides `{}` in {}", id(*other), context.title());
                    fault(faults, id(*cmd), what, id(*other));
                }
            }
        }
    }

    /// The command for a key, the narrowest place first.
    pub fn lookup(&self, places: &[Context], key: Key) -> Option<Cmd> {
        places.iter().find_map(|context| self.map.get(&(*context, key)).copied())
    }

    /// The key to show for a command.
    pub fn key(&self, cmd: Cmd) -> Option<Key> {
        self.keys.get(&cmd).and_then(|keys| keys.first()).copied()
    }

    /// All keys of a command, for help.
    pub fn keys(&self, cmd: Cmd) -> &[Key] {
        self.keys.get(&cmd).map_or(&[], Vec::as_slice)
    }
}

/// A command's own keys, or why none of them is taken.
fn read(command: &command::Command, texts: &[String]) -> Result<Vec<Key>, Fault> {
    let fault = |what: String, hint| Fault { command: command.id.to_owned(), what, hint };
    if texts.is_empty() {
        return Err(fault("there is no key in it".into(), "leave the line out for the command's own keys"));
    }
    let parse = |text: &String| {
        let hint = "a key is a character, ctrl-d, alt-x, enter, page-down or f5";
        let key = Key::parse(text).ok_or_else(|| fault(format!("`{text}` is not a key"), hint))?;
        if command.risk == Risk::Rehearsed && !may_change(key) {
            let what = format!("{key} may not start an action that changes the cluster");
            return Err(fault(what, "capital letters, ctrl- and alt- keys and f1 to f12 may"));
        }
        Ok(key)
    };
    texts.iter().map(parse).collect()
}

/// True for keys that may start a change: nobody presses them to look at something.
fn may_change(key: Key) -> bool {
    match key.code {
        Code::Char(c) => key.ctrl || key.alt || c.is_uppercase(),
        Code::F(_) => true,
        _ => key.ctrl || key.alt,
    }
}

fn id(cmd: Cmd) -> &'static str {
    command::of(cmd).map_or("", |c| c.id)
}

/// Adds a fault of two commands, once for all places that they share.
fn fault(faults: &mut Vec<Fault>, command: &str, what: String, other: &str) {
    let named = format!("`{other}`");
    if !faults.iter().any(|f| f.command == command && f.what.contains(&named)) {
        faults.push(Fault { command: command.to_owned(), what, hint: "give one of them another key" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_bind_no_key_twice_in_one_place() {
        let (_, problems) = Keymap::new(&BTreeMap::new());
        assert_eq!(problems, []);
    }

    #[test]
    fn own_keys_win_and_clashes_name_both() {
        let own = BTreeMap::from([("zoom".to_owned(), vec!["1".to_owned()]), ("no-such".to_owned(), vec![])]);
        let (map, problems) = Keymap::new(&own);
        assert_eq!(map.lookup(&[Context::Everywhere], Key::char('1')), Some(Cmd::Zoom));
        assert_eq!(map.lookup(&[Context::Everywhere], Key::char('z')), None);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "ui.keys.no-such: there is no such command (`pilothouse keys` lists the commands)",
                "ui.keys.zoom: 1 is bound to both `zoom` and `focus-nodes` in everywhere (give one of them another key)",
            ]
        );
    }

    #[test]
    fn a_command_whose_own_keys_are_bad_keeps_its_defaults_and_says_so() {
        for (command, keys, default, what) in [
            ("zoom", &["zz"][..], "z", "`zz` is not a key"),
            ("zoom", &["w", "zz"], "z", "`zz` is not a key"),
            ("up", &[], "k", "there is no key in it"),
            ("drain", &["d"], "D", "d may not start an action"),
            ("drain", &["enter"], "D", "Enter may not start an action"),
            ("drain", &["5"], "D", "5 may not start an action"),
        ] {
            let own = BTreeMap::from([(command.to_owned(), keys.iter().map(ToString::to_string).collect())]);
            let (map, problems) = Keymap::new(&own);
            let cmd = command::by_id(command).unwrap().cmd;
            assert!(map.keys(cmd).contains(&Key::parse(default).unwrap()), "{command}");
            assert!(matches!(problems.as_slice(), [p] if p.to_string().contains(what)), "{problems:?}");
        }
        for key in ["Q", "ctrl-d", "alt-d", "f9"] {
            let own = BTreeMap::from([("drain".to_owned(), vec![key.to_owned()])]);
            let may = Keymap::new(&own).1.iter().all(|p| !p.what.contains("may not"));
            assert!(may, "{key}");
        }
    }

    #[test]
    fn a_key_that_hides_another_is_told_once() {
        let own = BTreeMap::from([
            ("zoom".to_owned(), vec!["w".to_owned()]),
            ("weight".to_owned(), vec!["G".to_owned()]),
        ]);
        let (_, problems) = Keymap::new(&own);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("ui.keys.weight: G hides `bottom` in "), "{problems:?}");
    }

    #[test]
    fn a_narrow_place_hides_the_wide_one() {
        let (map, _) = Keymap::new(&BTreeMap::new());
        let n = Key::char('n');
        assert_eq!(map.lookup(&[Context::Log, Context::Everywhere], n), Some(Cmd::NextMatch));
        assert_eq!(
            map.lookup(&[Context::Lists, Context::Everywhere], n),
            Some(Cmd::Open(crate::ui::list::ListId::Namespaces))
        );
    }
}
