//! From keys to commands: the table's defaults with the person's own keys over them.

use std::collections::{BTreeMap, HashMap};

use super::command::{self, COMMANDS, Cmd, Context};
use super::key::Key;

/// Which command a key gives, by place.
#[derive(Clone, Debug, Default)]
pub struct Keymap {
    map: HashMap<(Context, Key), Cmd>,
    keys: HashMap<Cmd, Vec<Key>>,
}

impl Keymap {
    /// The table with `own` keys (command id -> keys) over it, and what is wrong with them. A command whose own keys
    /// are bad keeps its defaults.
    pub fn new(own: &BTreeMap<String, Vec<String>>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        for id in own.keys() {
            if command::by_id(id).is_none() {
                problems
                    .push(format!("ui.keys.{id}: there is no such command; `pilothouse keys` lists them"));
            }
        }
        let mut built = Self::default();
        // the person's own first, so that a clash with a default is settled for them
        let (chosen, rest): (Vec<&command::Command>, Vec<&command::Command>) =
            COMMANDS.iter().partition(|c| own.contains_key(c.id));
        for command in chosen {
            let mut keys = Vec::new();
            for text in own.get(command.id).into_iter().flatten() {
                match Key::parse(text) {
                    Some(key) => keys.push(key),
                    None => problems.push(format!("ui.keys.{}: `{text}` is not a key", command.id)),
                }
            }
            built.bind(command, &keys, &mut problems);
        }
        for command in rest {
            let keys: Vec<Key> = command.keys.iter().filter_map(|k| Key::parse(k)).collect();
            built.bind(command, &keys, &mut problems);
        }
        (built, problems)
    }

    fn bind(&mut self, command: &command::Command, keys: &[Key], problems: &mut Vec<String>) {
        for key in keys {
            let mut bound = false;
            for context in command.contexts {
                match self.map.get(&(*context, *key)) {
                    Some(other) if *other != command.cmd => {
                        let other = command::of(*other).map_or("", |c| c.id);
                        problems.push(format!(
                            "ui.keys: {key} is bound to both `{other}` and `{}` in {}",
                            command.id,
                            context.title()
                        ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_bind_no_key_twice_in_one_place() {
        let (_, problems) = Keymap::new(&BTreeMap::new());
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn own_keys_win_and_clashes_name_both() {
        let own = BTreeMap::from([("zoom".to_owned(), vec!["1".to_owned()]), ("no-such".to_owned(), vec![])]);
        let (map, problems) = Keymap::new(&own);
        assert_eq!(map.lookup(&[Context::Everywhere], Key::char('1')), Some(Cmd::Zoom));
        assert_eq!(map.lookup(&[Context::Everywhere], Key::char('z')), None);
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().any(|p| p.contains("`zoom` and `focus-nodes`")), "{problems:?}");
    }

    #[test]
    fn a_narrow_place_hides_the_wide_one() {
        let (map, _) = Keymap::new(&BTreeMap::new());
        let n = Key::char('n');
        assert_eq!(map.lookup(&[Context::Log, Context::Everywhere], n), Some(Cmd::NextMatch));
        assert_eq!(map.lookup(&[Context::Lists, Context::Everywhere], n), Some(Cmd::Namespaces));
    }
}
