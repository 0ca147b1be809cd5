//! Groups masked lines whose differing words are variable as well: a parse tree of fixed depth, as in Drain (He et al.,
//! ICWS 2017), in front of a comparison word by word.
//!
//! A group keeps the fingerprint of its first line, also after it becomes more general. Fingerprints are stable over
//! restarts because almost all varying parts are masked before, whatever the order of the lines. Only a group whose
//! lines differ in plain words, such as the names of users, can get another fingerprint if another of its lines comes
//! first. The alternative, a fingerprint of the generalised template, would change while the group is on the screen.

use super::Lookup;
use super::fingerprint::{self, Masked};
use super::message::subject;
use crate::domain::id::Name;

/// What stands for a word that differs between the lines of a group.
const WILD: &str = "<*>";
/// Number of words that are looked up in the tree before lines are compared.
const DEPTH: usize = 2;
/// Maximum number of different words at a place of the tree. Further words count as variable.
const CHILDREN: usize = 100;
/// Maximum number of groups of a tree node that a line is compared with. The newest ones are used.
const MOST_COMPARED: usize = 64;
/// Maximum number of groups. The half that was used least recently is forgotten when it is reached.
const MOST: usize = 4000;
/// Maximum number of masked lines whose group is remembered.
const MOST_KNOWN: usize = 4 * MOST;

/// The group of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub fingerprint: Name,
    /// The line with its varying parts masked.
    pub template: Name,
}

#[derive(Debug, Default)]
struct Node {
    children: Lookup<Box<str>, usize>,
    held: Vec<usize>,
}

#[derive(Debug)]
struct Held {
    group: Group,
    words: Vec<Box<str>>,
    /// The value of the counter when a line last belonged to the group.
    used: u64,
}

/// All groups that are known.
#[derive(Debug, Default)]
pub struct Templates {
    nodes: Vec<Node>,
    /// The root of the tree for each number of words.
    roots: Lookup<usize, usize>,
    held: Vec<Held>,
    /// The groups of masked lines by their fingerprints.
    known: Lookup<Name, usize>,
    counter: u64,
}

impl Templates {
    /// The group of a masked line that came before, by its fingerprint.
    pub fn known(&mut self, fingerprint: &str) -> Option<Group> {
        let held = self.held.get_mut(*self.known.get(fingerprint)?)?;
        self.counter += 1;
        held.used = self.counter;
        Some(held.group.clone())
    }

    /// The group of a masked line. It becomes more general if the line has other words.
    pub fn group(&mut self, masked: &Masked) -> Group {
        if let Some(group) = self.known(&masked.fingerprint) {
            return group;
        }
        if self.held.len() >= MOST || self.known.len() >= MOST_KNOWN {
            self.forget();
        }
        let words: Vec<&str> = masked.template.split(' ').collect();
        let leaf = self.leaf(&words);
        let candidates = self.nodes.get(leaf).map_or(&[][..], |node| node.held.as_slice());
        let place = candidates
            .iter()
            .rev()
            .take(MOST_COMPARED)
            .filter_map(|at| Some((*at, self.held.get(*at).and_then(|held| alike(&held.words, &words))?)))
            .max_by_key(|(at, alike)| (*alike, std::cmp::Reverse(*at)))
            .map_or_else(|| self.add(leaf, masked, &words), |(at, _)| at);
        self.counter += 1;
        self.known.insert(Name::from(masked.fingerprint.as_str()), place);
        let Some(held) = self.held.get_mut(place) else {
            return Group {
                fingerprint: masked.fingerprint.as_str().into(),
                template: masked.template.as_str().into(),
            };
        };
        held.used = self.counter;
        held.generalise(&words);
        held.group.clone()
    }

    /// The group of a line with this fingerprint, which can be that of the line before it was cut. `own` is the line with
    /// the masks of the config, which can split what has one fingerprint without them.
    pub fn of_line(&mut self, own: Option<&Masked>, fingerprint: &str, text: &str) -> Group {
        if let Some(masked) = own {
            return self.group(masked);
        }
        self.known(fingerprint).unwrap_or_else(|| {
            let template = fingerprint::template(&subject(text));
            self.group(&Masked { fingerprint: fingerprint.to_owned(), template })
        })
    }

    fn add(&mut self, leaf: usize, masked: &Masked, words: &[&str]) -> usize {
        let group = Group {
            fingerprint: masked.fingerprint.as_str().into(),
            template: masked.template.as_str().into(),
        };
        let words = words.iter().map(|word| Box::from(*word)).collect();
        self.held.push(Held { group, words, used: self.counter });
        let place = self.held.len() - 1;
        if let Some(node) = self.nodes.get_mut(leaf) {
            node.held.push(place);
        }
        place
    }

    /// The leaf of the tree for these words: by their number, then by the first of them.
    fn leaf(&mut self, words: &[&str]) -> usize {
        let held = self.roots.get(&words.len()).copied();
        let mut at = held.unwrap_or_else(|| {
            let root = self.node();
            self.roots.insert(words.len(), root);
            root
        });
        for word in words.iter().take(DEPTH) {
            let word = if word.contains('<') { WILD } else { word };
            let Some(node) = self.nodes.get(at) else { break };
            let word =
                if node.children.len() < CHILDREN || node.children.contains_key(word) { word } else { WILD };
            let held = node.children.get(word).copied();
            at = held.unwrap_or_else(|| {
                let child = self.node();
                if let Some(node) = self.nodes.get_mut(at) {
                    node.children.insert(word.into(), child);
                }
                child
            });
        }
        at
    }

    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Forgets the groups that were used least recently, and builds the tree anew.
    fn forget(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.sort_by_key(|held| std::cmp::Reverse(held.used));
        held.truncate(MOST / 2);
        *self = Self { counter: self.counter, ..Self::default() };
        for held in held {
            let words: Vec<&str> = held.words.iter().map(|word| &**word).collect();
            let leaf = self.leaf(&words);
            let place = self.held.len();
            if let Some(node) = self.nodes.get_mut(leaf) {
                node.held.push(place);
            }
            self.known.insert(held.group.fingerprint.clone(), place);
            self.held.push(held);
        }
    }
}

impl Held {
    /// Makes the words that differ wild.
    fn generalise(&mut self, words: &[&str]) {
        let mut changed = false;
        for (held, word) in self.words.iter_mut().zip(words) {
            if **held != **word && &**held != WILD {
                *held = WILD.into();
                changed = true;
            }
        }
        if changed {
            self.group.template = Name::from(self.words.join(" "));
        }
    }
}

// The weights of words, in quarters of an equal word.
const EQUAL: u32 = 4;
/// The same mask at the same place.
const EQUAL_MASK: u32 = 2;
/// A mask against a word.
const ONE_MASKED: u32 = 2;
/// The same key with other values: `user=root` and `user=guest`.
const OTHER_VALUE: u32 = 2;
/// Plain words after a word that announces a name: `user root` and `user guest`.
const OTHER_NAME: u32 = 2;
/// Words with signs or capitals in them, such as paths and classes.
const OTHER_TERM: u32 = 4;
/// Partly masked words whose other parts differ.
const OTHER_PARTS: u32 = 8;
/// The minimum similarity, in percent.
const LEAST: u32 = 65;

/// How similar the words are, in percent, or None if they are not of one group. At least one word must be equal.
fn alike(held: &[Box<str>], words: &[&str]) -> Option<u32> {
    let (mut equal, mut different, mut literal) = (0, 0, false);
    let mut before = "";
    for (a, b) in held.iter().map(|word| &**word).zip(words.iter().copied()) {
        if a == b {
            let masked = is_masked(a);
            literal |= !masked;
            equal += if masked { EQUAL_MASK } else { EQUAL };
        } else if a != WILD {
            match (is_masked(a), is_masked(b)) {
                (true, true) => {}
                (true, false) | (false, true) => different += ONE_MASKED,
                (false, false) if a.contains('<') && unmasked(a).eq(unmasked(b)) => equal += EQUAL,
                (false, false) if key(a) == key(b) && !is_plain(a) => {
                    literal |= !key(a).is_empty();
                    different += OTHER_VALUE;
                }
                (false, false) if a.contains('<') && b.contains('<') => different += OTHER_PARTS,
                (false, false) if is_plain(a) && is_plain(b) => {
                    // another plain word says that something else happened
                    different += announces(before).then_some(OTHER_NAME)?;
                }
                (false, false) => different += OTHER_TERM,
            }
        }
        before = b;
    }
    let similarity = (equal * 100).checked_div(equal + different)?;
    (literal && similarity >= LEAST).then_some(similarity)
}

/// The characters of a word outside its masks.
fn unmasked(word: &str) -> impl Iterator<Item = char> {
    let mut inside = false;
    word.chars().filter(move |c| {
        inside = *c == '<' || inside && *c != '>';
        !inside && *c != '>'
    })
}

/// Nothing but masks and signs.
fn is_masked(word: &str) -> bool {
    !unmasked(word).any(char::is_alphanumeric)
}

/// A word of a language, with punctuation around it.
fn is_plain(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    !bare.is_empty()
        && bare.chars().all(|c| c.is_alphabetic() || c == '\'')
        && !bare.chars().skip(1).any(char::is_uppercase)
}

fn key(word: &str) -> &str {
    word.split(['=', ':', '<', '(', '[', '/']).next().unwrap_or_default()
}

/// `user`, `from`, `name:`: the next word is probably a name.
fn announces(word: &str) -> bool {
    const WORDS: [&str; 21] = [
        "user",
        "for",
        "name",
        "host",
        "client",
        "driver",
        "service",
        "interface",
        "from",
        "by",
        "node",
        "file",
        "pod",
        "topic",
        "table",
        "key",
        "id",
        "of",
        "on",
        "named",
        "path",
    ];
    word.ends_with([':', '=']) || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests;
