//! The filter language of log lines, as in `level>=warn pod:api-* -"health check" /timeout after \d+/`.
//!
//! A line passes if it meets all terms. A term is one of
//!
//! - a word, or a text in quotes: the line contains it. A text without capital letters matches in any case. `a|b`
//!   matches either;
//! - `/regex/`, or `/regex/i` for any case;
//! - `pod:`, `container:`, `ns:` or `node:` with a name, in which `*` and `?` are wildcards and `|` separates names;
//! - `level` with a comparison (`level>=warn`), or with levels (`level:warn|error`);
//! - `since:15m`: the line is not older;
//! - `field.PATH` with a comparison (`field.status>=500`), or alone: the line has the field. `.PATH` is short for it.
//!
//! Where the lines are known, another key is the name of a field: `status>=500`. A text with a colon is put in quotes.
//!
//! `-` or `!` before a term inverts it. `~` before it only highlights the matches and hides nothing.

mod complete;
mod glob;
mod parse;
mod print;
mod value;

use std::cmp::Ordering;
use std::ops::Range;

use memchr::memmem;
use regex::Regex;

pub use self::complete::{Candidate, Completion, Known, complete};
use self::glob::Glob;
pub use self::parse::{Problem, Wrong};
use self::value::Value;
use super::fields;
use crate::domain::log::Level;
use crate::domain::time::Stamp;

/// The parts of a line that a filter reads. An empty name is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    pub at: Option<Stamp>,
    pub level: Level,
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    pub node: &'a str,
    pub text: &'a str,
}

/// A parsed filter. The default passes every line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
    /// The terms that decide, the cheapest first, as indexes.
    order: Vec<usize>,
}

/// What a term does with the lines that meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Include,
    Exclude,
    Highlight,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    mode: Mode,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// With several levels, only `=` and `!=` are possible.
    Level(Op, Vec<Level>),
    /// The maximum age in seconds.
    Since(u64),
    Name(Key, Glob),
    Words(Words),
    Pattern(Pattern),
    Field(FieldTest),
}

/// The names of a line's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Namespace,
    Pod,
    Container,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Unequal,
    More,
    AtLeast,
    Less,
    AtMost,
}

impl Op {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::More => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::Unequal)
    }
}

/// A text that a line contains. Several texts are alternatives.
#[derive(Clone, Debug)]
struct Words {
    texts: Vec<String>,
    search: Search,
}

#[derive(Clone, Debug)]
enum Search {
    Exact(Box<memmem::Finder<'static>>),
    Regex(Regex),
}

impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Words {
    fn new(texts: Vec<String>) -> Result<Self, regex::Error> {
        let search = match texts.as_slice() {
            [one] if one.chars().any(char::is_uppercase) => {
                Search::Exact(Box::new(memmem::Finder::new(one).into_owned()))
            }
            several => {
                let parts: Vec<String> = several.iter().map(|text| smart(text)).collect();
                Search::Regex(Regex::new(&parts.join("|"))?)
            }
        };
        Ok(Self { texts, search })
    }

    fn is_in(&self, text: &str) -> bool {
        match &self.search {
            Search::Exact(finder) => finder.find(text.as_bytes()).is_some(),
            Search::Regex(regex) => regex.is_match(text),
        }
    }

    fn places(&self, text: &str, out: &mut Vec<Range<usize>>) {
        match &self.search {
            Search::Exact(finder) => {
                let length = finder.needle().len();
                out.extend(finder.find_iter(text.as_bytes()).map(|at| at..at + length));
            }
            Search::Regex(regex) => out.extend(regex.find_iter(text).map(|found| found.range())),
        }
    }
}

/// Returns a regular expression for the text, in any case if it has no capital letters.
fn smart(text: &str) -> String {
    let escaped = regex::escape(text);
    if text.chars().any(char::is_uppercase) { escaped } else { format!("(?i:{escaped})") }
}

#[derive(Clone, Debug)]
struct Pattern {
    source: String,
    any_case: bool,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.any_case) == (&other.source, other.any_case)
    }
}

/// A test of a field. Without a comparison, the line only has to have the field.
#[derive(Clone, Debug, PartialEq)]
struct FieldTest {
    path: fields::Path,
    compare: Option<(Op, Value)>,
}

impl FieldTest {
    fn new(path: &str, compare: Option<(Op, Value)>) -> Self {
        Self { path: fields::Path::new(path), compare }
    }

    fn holds(&self, text: &str) -> bool {
        let Some(found) = self.path.get(text) else {
            // a line without the field differs from every value
            return matches!(self.compare, Some((Op::Unequal, _)));
        };
        match &self.compare {
            None => true,
            Some((op, value)) => value.compares(*op, &found),
        }
    }
}

impl Test {
    /// The relative cost. Cheap tests are made first.
    fn cost(&self) -> u8 {
        match self {
            Self::Level(..) | Self::Since(_) => 0,
            Self::Name(..) => 1,
            Self::Words(_) => 2,
            Self::Pattern(_) => 3,
            Self::Field(_) => 4,
        }
    }

    fn holds(&self, line: &Subject<'_>, now: Stamp) -> bool {
        match self {
            Self::Level(Op::Equal, levels) => levels.contains(&line.level),
            Self::Level(Op::Unequal, levels) => !levels.contains(&line.level),
            Self::Level(op, levels) => levels.iter().all(|level| op.holds(line.level.cmp(level))),
            // the age of a line without a time is unknown
            Self::Since(secs) => line.at.is_none_or(|at| now.since(at) <= secs.saturating_mul(1000)),
            Self::Name(key, glob) => {
                let name = match key {
                    Key::Namespace => line.namespace,
                    Key::Pod => line.pod,
                    Key::Container => line.container,
                    Key::Node => line.node,
                };
                glob.matches(name) || (*key == Key::Pod && glob.matches_owner_of(name))
            }
            Self::Words(words) => words.is_in(line.text),
            Self::Pattern(pattern) => pattern.regex.is_match(line.text),
            Self::Field(field) => field.holds(line.text),
        }
    }
}

impl Filter {
    /// Parses a filter. The problem says where the text is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        parse::terms(text, None).map(Self::of)
    }

    /// Parses a filter for lines that are known, which `has_field` answers for: `NAME:VALUE` is a condition on a field
    /// that a line has, and otherwise a problem.
    pub fn parse_among(text: &str, has_field: &dyn Fn(&str) -> bool) -> Result<Self, Problem> {
        parse::terms(text, Some(has_field)).map(Self::of)
    }

    fn of(terms: Vec<Term>) -> Self {
        let decides = |i: &usize| terms.get(*i).is_some_and(|term| term.mode != Mode::Highlight);
        let mut order: Vec<usize> = (0..terms.len()).filter(decides).collect();
        order.sort_by_key(|i| terms.get(*i).map(|term| term.test.cost()));
        Self { terms, order }
    }

    /// Whether it has no terms.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether it can hide lines.
    pub fn hides(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whether a line passes. `now` is for the age of the line.
    pub fn passes(&self, line: &Subject<'_>, now: Stamp) -> bool {
        self.order.iter().filter_map(|i| self.terms.get(*i)).all(|term| {
            let wanted = term.mode == Mode::Include;
            term.test.holds(line, now) == wanted
        })
    }

    /// Returns the parts of a line's text that the filter names, sorted, as ranges of bytes that do not overlap.
    pub fn marks(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for term in self.terms.iter().filter(|term| term.mode != Mode::Exclude) {
            match &term.test {
                Test::Words(words) => words.places(text, &mut found),
                Test::Pattern(pattern) => found.extend(pattern.regex.find_iter(text).map(|m| m.range())),
                Test::Level(..) | Test::Since(_) | Test::Name(..) | Test::Field(_) => {}
            }
        }
        found.retain(|range| !range.is_empty());
        found.sort_by_key(|range| (range.start, range.end));
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in found {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }

    /// Returns the same filter that only passes lines of this container, or of every container.
    #[must_use]
    pub fn with_container(&self, container: Option<&str>) -> Self {
        let is_container = |term: &Term| matches!(term.test, Test::Name(Key::Container, _));
        let mut terms: Vec<Term> = self.terms.iter().filter(|term| !is_container(term)).cloned().collect();
        if let Some(name) = container {
            let test = Test::Name(Key::Container, Glob::new(name));
            terms.push(Term { mode: Mode::Include, test });
        }
        Self::of(terms)
    }

    /// Returns the same filter with one more condition: lines of this level or a higher one.
    #[must_use]
    pub fn at_least(&self, level: Level) -> Self {
        let mut terms = self.terms.clone();
        terms.push(Term { mode: Mode::Include, test: Test::Level(Op::AtLeast, vec![level]) });
        Self::of(terms)
    }

    /// Returns the same filter with one more condition: lines that match a regular expression.
    pub fn matching(&self, pattern: &str) -> Result<Self, Problem> {
        let mut terms = self.terms.clone();
        let pattern = parse::pattern(pattern, false).map_err(|wrong| Problem { at: 0, wrong })?;
        terms.push(Term { mode: Mode::Include, test: Test::Pattern(pattern) });
        Ok(Self::of(terms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Stamp = Stamp(10_000_000);

    fn line(text: &str) -> Subject<'_> {
        Subject {
            at: Some(Stamp(NOW.0 - 60_000)),
            level: Level::Warn,
            namespace: "shop",
            pod: "api-7c9f-1",
            container: "app",
            node: "node-3",
            text,
        }
    }

    fn passes(filter: &str, text: &str) -> bool {
        Filter::parse(filter).unwrap_or_else(|e| panic!("{filter}: {e}")).passes(&line(text), NOW)
    }

    #[test]
    fn terms_are_conditions_on_a_line() {
        let text = r#"level=warn msg="Timeout after 30s" status=503 path=/api/v1 took=350ms"#;
        for (filter, wanted) in [
            ("", true),
            ("timeout", true),
            ("TIMEOUT", false),
            ("Timeout", true),
            ("nothing|timeout", true),
            ("nothing|other", false),
            (r#""timeout after""#, true),
            (r#"-"health check""#, true),
            ("-timeout", false),
            ("!timeout", false),
            ("~nothing", true),
            (r"/after \d+s/", true),
            (r"/AFTER \d+s/", false),
            (r"/AFTER \d+s/i", true),
            ("level>=warn", true),
            ("level>warn", false),
            ("level<=info", false),
            ("level!=warn", false),
            ("level:warn|error", true),
            ("level:warning", true),
            ("-level:warn|error", false),
            ("pod:api", true),
            ("pod:ap", false),
            ("pod:api-*", true),
            ("pod:web|api", true),
            ("container:app", true),
            ("container:ap", false),
            ("container:ap?", true),
            ("ns:shop", true),
            ("namespace:pay", false),
            ("node:node-*", true),
            ("-node:node-3", false),
            ("since:15m", true),
            ("since:30s", false),
            ("field.status>=500", true),
            (".status>=500", true),
            ("field.status<500", false),
            ("field.status=503", true),
            ("field.status=503.0", true),
            ("field.status:5*", true),
            ("field.path:/api/*", true),
            ("field.missing", false),
            ("-field.missing", true),
            ("field.missing!=1", true),
            ("field.took>300ms", true),
            ("field.took>1s", false),
            ("field.took>1", false),
            ("field.status", true),
            ("level>=warn pod:api-* timeout -debug .status>=500", true),
            ("level>=warn pod:api-* timeout -after", false),
        ] {
            assert_eq!(passes(filter, text), wanted, "{filter}");
        }
    }

    #[test]
    fn a_line_without_a_time_has_no_age() {
        let filter = Filter::parse("since:1s").unwrap();
        assert!(filter.passes(&Subject { at: None, ..line("x") }, NOW));
    }

    #[test]
    fn what_looks_like_a_term_but_is_none_is_text() {
        for (filter, text) in [
            ("http://shop", "GET http://shop/cart"),
            ("user=42", "login user=42 done"),
            ("12:30", "at 12:30:01"),
            ("-", "a - b"),
            ("...", "more ..."),
            (".js", "main.js"),
            ("<nil>", "err: <nil>"),
        ] {
            assert!(passes(filter, text), "{filter}");
            assert!(!passes(filter, "something else"), "{filter}");
        }
    }

    #[test]
    fn marks_are_where_the_filter_found_its_text() {
        let filter = Filter::parse(r"time ~meo /\d+/ -other level:warn").unwrap();
        assert_eq!(filter.marks("Timeout other 30"), [0..5, 14..16]);
        assert!(Filter::default().marks("x").is_empty());
        assert!(!Filter::parse("~x").unwrap().hides() && Filter::parse("x").unwrap().hides());
    }

    #[test]
    fn a_container_is_chosen_and_let_go() {
        let filter = Filter::parse("level>=warn container:a timeout").unwrap();
        let chosen = filter.with_container(Some("proxy"));
        assert_eq!(chosen.to_string(), "level>=warn timeout container:proxy");
        assert_eq!(chosen.with_container(None).to_string(), "level>=warn timeout");
        assert_eq!(Filter::default().at_least(Level::Error).to_string(), "level>=error");
        assert_eq!(Filter::default().matching("a/b").unwrap().to_string(), r"/a\/b/");
        assert!(Filter::default().matching("a(").is_err());
    }

    #[test]
    fn alternatives_that_begin_with_a_sign_are_written_apart() {
        for written in ["|-|A", "|pod:a|b", "|/a|b", "a|-b"] {
            let filter = Filter::parse(written).unwrap();
            assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()), "{filter}");
            assert!(
                matches!(&filter.terms[0].test, Test::Words(words) if words.texts.len() == 2),
                "{filter:?}"
            );
        }
    }

    fn term() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Zé.:=<>!|*/\\-]{1,8}",
            "\"[a-z |*:\\-]{1,8}\"",
            "/[a-z. ]{1,6}/i?",
            "(-|!|~)?(pod|container|ns|node):[a-z*?|-]{1,6}",
            "(-|!|~)?level(:|=|!=|>|>=|<|<=)(trace|debug|info|warn|error|fatal)",
            "(-|!|~)?since:[1-9][0-9]{0,3}(s|m|h|d)",
            "(-|!|~)?(field)?\\.[a-z.]{1,5}[a-z](:|=|!=|>|>=|<|<=)[a-z0-9*.]{1,5}",
        ]
    }

    proptest! {
        #[test]
        fn a_filter_is_written_as_it_is_read(terms in proptest::collection::vec(term(), 0..5)) {
            if let Ok(filter) = Filter::parse(&terms.join(" ")) {
                let written = filter.to_string();
                let again = Filter::parse(&written);
                prop_assert_eq!(again.as_ref(), Ok(&filter), "{}", written);
            }
        }

        #[test]
        fn any_text_is_a_filter_or_a_problem(text in any::<String>(), line in any::<String>()) {
            match Filter::parse(&text) {
                Ok(filter) => {
                    let subject = Subject { text: &line, ..Subject::default() };
                    filter.passes(&subject, NOW);
                    for mark in filter.marks(&line) {
                        prop_assert!(line.get(mark).is_some());
                    }
                    prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
                }
                Err(problem) => prop_assert!(problem.at <= text.chars().count() && !problem.to_string().is_empty()),
            }
        }

        #[test]
        fn completion_stays_inside_the_text(text in any::<String>(), cursor in 0usize..40) {
            let found = complete(&text, cursor, &Known::default());
            prop_assert!(text.get(found.from..found.to).is_some());
        }
    }
}
