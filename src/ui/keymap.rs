//! From keys to commands: the table's defaults with the person's own keys over them. A key of the person's own replaces a
//! default, also one of a later version; only two keys of their own can contradict each other.

use std::collections::{BTreeMap, HashMap};

use super::command::{self, COMMANDS, Cmd, Context, Risk};
use super::key::{Code, Key};

/// Which command a key gives, by place.
#[derive(Clone, Debug, Default)]
pub struct Keymap {
    map: HashMap<(Context, Key), Cmd>,
    keys: HashMap<Cmd, Vec<Key>>,
    replaced: Vec<Replaced>,
}

/// A default key that is a key of another command now, because the person chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub key: Key,
    /// The place in which the default does not work. There can be more of them.
    pub place: Context,
    /// The command whose default it is.
    pub command: Cmd,
    /// The command that has the key.
    pub by: Cmd,
}

impl std::fmt::Display for Replaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.place.title();
        write!(f, "{} now runs `{}`, not `{}` ({place})", self.key, id(self.by), id(self.command))
    }
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
        // the person's own first, because they replace defaults
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
            built.bind_defaults(command, &keys, &chosen);
        }
        built.hidden(&chosen, &mut faults);
        (built, faults)
    }

    /// Returns the default keys that the person's own keys replace.
    pub fn replaced(&self) -> &[Replaced] {
        &self.replaced
    }

    fn replace(&mut self, replaced: Replaced) {
        let is_same =
            |r: &Replaced| (r.key, r.command, r.by) == (replaced.key, replaced.command, replaced.by);
        if !self.replaced.iter().any(is_same) {
            self.replaced.push(replaced);
        }
    }

    fn bind_defaults(
        &mut self,
        command: &command::Command,
        keys: &[Key],
        chosen: &HashMap<(Context, Key), Cmd>,
    ) {
        for key in keys {
            let mut bound = false;
            for context in command.contexts {
                // where the table has a key twice, the narrower place wins on purpose
                let around = context.around().iter().filter_map(|around| chosen.get(&(*around, *key)));
                let wider = around.copied().find(|by| !is_default(*by, *key));
                let by = self.map.get(&(*context, *key)).copied().or(wider);
                if let Some(by) = by.filter(|by| *by != command.cmd) {
                    self.replace(Replaced { key: *key, place: *context, command: command.cmd, by });
                } else {
                    self.map.insert((*context, *key), command.cmd);
                    bound = true;
                }
            }
            if bound {
                self.keys.entry(command.cmd).or_default().push(*key);
            }
        }
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

    /// Finds the person's own keys that take away, in a narrower place, a key that works around it: a default is
    /// replaced there, and another one of their own contradicts it. The table's keys do so on purpose.
    fn hidden(&mut self, chosen: &HashMap<(Context, Key), Cmd>, faults: &mut Vec<Fault>) {
        let mut own: Vec<_> = chosen.iter().filter(|((_, key), cmd)| !is_default(**cmd, *key)).collect();
        own.sort_unstable();
        for ((context, key), cmd) in own {
            for around in context.around() {
                let place = (*around, *key);
                let Some(other) = self.map.get(&place).copied().filter(|other| other != cmd) else {
                    continue;
                };
                if chosen.contains_key(&place) {
                    let what = format!("{key} hides `{}` in {}", id(other), context.title());
                    fault(faults, id(*cmd), what, id(other));
                } else {
                    self.replace(Replaced { key: *key, place: *context, command: other, by: *cmd });
                }
            }
        }
    }

    /// The command for a key, the narrowest place first.
    pub fn lookup(&self, places: &[Context], key: Key) -> Option<Cmd> {
        places.iter().find_map(|context| self.map.get(&(*context, key)).copied())
    }

    /// Returns the first key that runs the command in these places, the narrowest first. A key that another command has taken in one
    /// of them does not count. If the command has no key there, returns that of the command that stands in for it.
    pub fn key_in(&self, places: &[Context], cmd: Cmd) -> Option<Key> {
        let own = |cmd| self.keys_in(places, cmd).next();
        own(cmd).or_else(|| command::stands_in(cmd).and_then(own))
    }

    /// The keys that run a command in these places.
    pub fn keys_in(&self, places: &[Context], cmd: Cmd) -> impl Iterator<Item = Key> {
        self.keys(cmd).iter().copied().filter(move |key| self.lookup(places, *key) == Some(cmd))
    }

    /// All keys of a command, wherever they work.
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
        if let Some(only) = kept(key).filter(|only| *only != command.cmd) {
            let what = format!("{key} is always the key of `{}`", id(only));
            return Err(fault(what, "choose another key"));
        }
        Ok(key)
    };
    texts.iter().map(parse).collect()
}

/// The command of a key that no other command can have: it works before everything else, also while text is typed.
fn kept(key: Key) -> Option<Cmd> {
    let interrupt = Key { code: Code::Char('c'), ctrl: true, alt: false };
    (key == interrupt).then_some(Cmd::Interrupt)
}

/// True for keys that may start a change: nobody presses them to look at something.
fn may_change(key: Key) -> bool {
    match key.code {
        Code::Char(c) => key.ctrl || key.alt || c.is_uppercase(),
        Code::F(_) => true,
        _ => key.ctrl || key.alt,
    }
}

/// Whether the table gives the command this key.
fn is_default(cmd: Cmd, key: Key) -> bool {
    command::of(cmd).is_some_and(|c| c.keys.iter().any(|text| Key::parse(text) == Some(key)))
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
        let (map, problems) = Keymap::new(&BTreeMap::new());
        assert_eq!((problems, map.replaced()), (Vec::new(), &[][..]));
    }

    fn own(keys: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        keys.iter().map(|(command, key)| ((*command).to_owned(), vec![(*key).to_owned()])).collect()
    }

    fn texts(of: &[impl ToString]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn own_keys_replace_defaults_and_only_two_of_them_contradict_each_other() {
        let mut keys = own(&[("zoom", "1")]);
        keys.insert("no-such".to_owned(), Vec::new());
        let (map, problems) = Keymap::new(&keys);
        assert_eq!(map.lookup(&[Context::Everywhere], Key::char('1')), Some(Cmd::Zoom));
        assert_eq!(map.lookup(&[Context::Everywhere], Key::char('z')), None);
        let missing = "ui.keys.no-such: there is no such command (`pilothouse keys` lists the commands)";
        assert_eq!(texts(&problems), [missing]);
        assert_eq!(texts(map.replaced()), ["1 now runs `zoom`, not `focus-nodes` (everywhere)"]);
        let (_, problems) = Keymap::new(&own(&[("zoom", "f9"), ("focus-nodes", "f9")]));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].to_string().contains("F9 is bound to both `"), "{problems:?}");
    }

    #[test]
    fn a_key_that_a_later_version_gives_to_a_narrower_place_stays_the_persons() {
        // the defaults of several clusters, and keys that a person had given to other commands
        for (keys, place, key, cmd, replaced) in [
            (
                own(&[("zoom", "t")]),
                Context::Now,
                "t",
                Cmd::Zoom,
                "t now runs `zoom`, not `all-clusters` (NOW)",
            ),
            (
                own(&[("zoom", "ctrl-t")]),
                Context::Clusters,
                "ctrl-t",
                Cmd::Zoom,
                "^t now runs `zoom`, not `clusters` (everywhere)",
            ),
            (
                own(&[("zoom", "ctrl-x")]),
                Context::Clusters,
                "ctrl-x",
                Cmd::Zoom,
                "^x now runs `zoom`, not `close-cluster` (Clusters)",
            ),
        ] {
            let (map, problems) = Keymap::new(&keys);
            assert_eq!(problems, [], "{keys:?}");
            let places: Vec<Context> = [place].into_iter().chain(place.around().iter().copied()).collect();
            assert_eq!(map.lookup(&places, Key::parse(key).unwrap()), Some(cmd), "{keys:?}");
            assert!(texts(map.replaced()).contains(&replaced.to_owned()), "{:?}", texts(map.replaced()));
        }
        // who writes the default down changes nothing
        let (map, problems) = Keymap::new(&own(&[("namespaces", "n"), ("next-match", "n")]));
        assert_eq!((problems, map.replaced()), (Vec::new(), &[][..]));
        assert_eq!(map.lookup(&[Context::Log, Context::Everywhere], Key::char('n')), Some(Cmd::NextMatch));
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
            ("evict", &["ctrl-c"], "K", "^c is always the key of `interrupt`"),
            ("zoom", &["w", "ctrl-c"], "z", "^c is always the key of `interrupt`"),
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
    fn the_default_of_suspend_can_be_the_key_of_another_command() {
        let (map, problems) = Keymap::new(&own(&[("suspend", "ctrl-y"), ("zoom", "ctrl-z")]));
        assert_eq!((problems, map.replaced()), (Vec::new(), &[][..]));
        assert_eq!(map.lookup(&[Context::Everywhere], Key::parse("ctrl-z").unwrap()), Some(Cmd::Zoom));
    }

    #[test]
    fn the_key_that_always_works_can_be_written_down() {
        let (map, problems) = Keymap::new(&own(&[("suspend", "ctrl-z"), ("interrupt", "ctrl-c")]));
        assert_eq!((problems, map.replaced()), (Vec::new(), &[][..]));
        // and another key can do the same
        let (map, problems) = Keymap::new(&own(&[("suspend", "ctrl-y")]));
        assert_eq!(problems, []);
        assert_eq!(map.lookup(&[Context::Everywhere], Key::parse("ctrl-y").unwrap()), Some(Cmd::Suspend));
    }

    #[test]
    fn a_key_is_shown_for_a_command_only_where_it_runs_it() {
        let evict = Cmd::Change(command::ChangeCmd::Evict);
        let list = Cmd::Open(crate::ui::list::ListId::Clusters);
        let (map, problems) = Keymap::new(&own(&[("evict", "ctrl-t")]));
        assert_eq!(problems, []);
        let (pods, nodes) = ([Context::Pods, Context::Everywhere], [Context::Nodes, Context::Everywhere]);
        let t = Key::parse("ctrl-t");
        assert_eq!([&pods, &nodes].map(|places| map.key_in(places, list)), [None, t]);
        assert_eq!([&pods, &nodes].map(|places| map.key_in(places, evict)), [t, None]);
        // another key of the command stays
        let both = BTreeMap::from([
            ("evict".to_owned(), vec!["ctrl-t".to_owned()]),
            ("clusters".to_owned(), vec!["ctrl-g".to_owned(), "f9".to_owned()]),
        ]);
        let (map, _) = Keymap::new(&both);
        assert_eq!(map.key_in(&pods, list), Key::parse("ctrl-g"));
        let (map, _) = Keymap::new(&own(&[("up", "ctrl-u"), ("evict", "ctrl-u")]));
        assert_eq!(map.key_in(&nodes, Cmd::Up), Key::parse("ctrl-u"));
    }

    #[test]
    fn a_key_that_hides_another_is_told_once() {
        let own = BTreeMap::from([
            ("zoom".to_owned(), vec!["w".to_owned()]),
            ("weight".to_owned(), vec!["G".to_owned()]),
        ]);
        let (map, problems) = Keymap::new(&own);
        assert_eq!(problems, [], "a default is replaced");
        let told = texts(map.replaced());
        assert_eq!(told.iter().filter(|one| one.contains("not `bottom`")).count(), 1, "{told:?}");
        let (in_traffic, by) = ([Context::Traffic, Context::Lists], Cmd::Change(command::ChangeCmd::Weight));
        assert_eq!(map.lookup(&in_traffic, Key::char('G')), Some(by));
        let own = BTreeMap::from([
            ("bottom".to_owned(), vec!["Z".to_owned()]),
            ("weight".to_owned(), vec!["Z".to_owned()]),
        ]);
        let problems = texts(&Keymap::new(&own).1);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("ui.keys.weight: Z hides `bottom` in "), "{problems:?}");
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
