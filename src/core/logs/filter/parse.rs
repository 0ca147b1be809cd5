//! Parses filters, and says what is wrong with them.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::glob::Glob;
use super::value::Value;
use super::{FieldTest, Key, Mode, Op, Pattern, Term, Test, Words};
use crate::domain::log::Level;

/// The maximum size of a compiled regular expression, in bytes.
const PATTERN_CAP: usize = 1 << 20;

/// A filter that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is wrong, in characters from the start of the text.
    pub at: usize,
    pub wrong: Wrong,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    OpenQuote,
    OpenPattern,
    BadPattern(String),
    /// A term with a key that does not exist.
    UnknownKey(String),
    UnknownLevel(String),
    /// Several levels with an operator that takes only one.
    SeveralLevels,
    BadAge(String),
    /// A key without a value.
    NoValue(String),
    /// A name compared by an operator that only works for levels and fields.
    NoOrder(String),
    /// Text directly after a closing quote.
    AfterQuote,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenQuote => write!(f, "a quote is open: add \""),
            Self::OpenPattern => {
                write!(
                    f,
                    "the regular expression has no closing /; to search for a text that begins with /, quote it"
                )
            }
            Self::BadPattern(why) => write!(f, "not a regular expression: {why}"),
            Self::UnknownKey(key) => {
                write!(
                    f,
                    "there is no key `{key}`: the keys are level, since, pod, container, ns, node and field.NAME; to search for a text, quote it"
                )
            }
            Self::UnknownLevel(level) => {
                write!(f, "`{level}` is not a level: use trace, debug, info, warn, error or fatal")
            }
            Self::SeveralLevels => {
                write!(f, "this compares with one level: use level:warn|error for several")
            }
            Self::BadAge(age) => write!(f, "`{age}` is not an age: use 30s, 15m, 2h or 1d"),
            Self::NoValue(key) => write!(f, "`{key}` needs a value"),
            Self::NoOrder(key) => {
                write!(f, "{key} cannot be compared with < or >: use {key}:NAME or -{key}:NAME")
            }
            Self::AfterQuote => write!(f, "a space is missing after the quote"),
        }
    }
}

impl fmt::Display for Problem {
    /// The column is counted from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.at + 1, self.wrong)
    }
}

/// Reads a text from left to right.
struct Reader<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    /// Whether a line has a field of this name. None: the lines are not known.
    fields: Option<&'a dyn Fn(&str) -> bool>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let skips = self.rest().starts_with(prefix);
        if skips {
            self.at += prefix.len();
        }
        skips
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn problem(&self, at: usize, wrong: Wrong) -> Problem {
        let before = self.text.get(..at).unwrap_or(self.text);
        Problem { at: before.chars().count(), wrong }
    }

    /// Whether a term with another key than those of the language is meant as one, not as a text. A comparison always
    /// is. With `:`, a text is an address (`http://`), a path (`std::io`), a time (`12:30`), a place (`web-1:8080`,
    /// `main.go:12`), or has nothing after it.
    fn is_keyed(&self, key: &str, sign: &str) -> bool {
        let letters = key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        match sign {
            _ if key.is_empty() || !letters => false,
            "=" => self.fields.is_some_and(|has| has(key)),
            ":" => {
                let is_value = |c: char| !c.is_whitespace() && !matches!(c, '/' | ':' | '\\');
                let value = self.rest().split(char::is_whitespace).next().unwrap_or_default();
                let is_number = value.bytes().all(|b| b.is_ascii_digit() || b == b':');
                self.fields.is_some_and(|has| !is_number || has(key))
                    && key.starts_with(|c: char| c.is_alphabetic() || c == '_')
                    && self.peek().is_some_and(is_value)
            }
            _ => true,
        }
    }

    fn ends_term(&self) -> bool {
        self.peek().is_none_or(char::is_whitespace)
    }

    /// Reads a text in quotes, in which `\` precedes a quote and itself.
    fn quoted(&mut self) -> Result<String, Problem> {
        let from = self.at;
        self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err(self.problem(from, Wrong::OpenQuote)),
                Some('"') => break,
                Some('\\') if matches!(self.peek(), Some('"' | '\\')) => out.extend(self.next()),
                Some(c) => out.push(c),
            }
        }
        if self.ends_term() { Ok(out) } else { Err(self.problem(self.at, Wrong::AfterQuote)) }
    }

    /// Reads `/regex/` or `/regex/i`. It ends with the first slash before a space, which `\` can precede.
    fn pattern(&mut self) -> Result<Pattern, Problem> {
        let from = self.at;
        self.next();
        let mut source = String::new();
        loop {
            match self.next() {
                None => return Err(self.problem(from, Wrong::OpenPattern)),
                Some('\\') => match self.next() {
                    Some('/') => source.push('/'),
                    Some(c) => source.extend(['\\', c]),
                    None => return Err(self.problem(from, Wrong::OpenPattern)),
                },
                Some('/') => {
                    let end = self.at;
                    let any_case = self.skip("i");
                    if self.ends_term() {
                        return pattern(&source, any_case).map_err(|wrong| self.problem(from, wrong));
                    }
                    self.at = end;
                    source.push('/');
                }
                Some(c) => source.push(c),
            }
        }
    }
}

/// Compiles a regular expression.
pub(super) fn pattern(source: &str, any_case: bool) -> Result<Pattern, Wrong> {
    let compile =
        |any_case| RegexBuilder::new(source).case_insensitive(any_case).size_limit(PATTERN_CAP).build();
    let regex: Regex = compile(any_case).map_err(|error| {
        // the last line has the reason; the others repeat the expression
        let words = error.to_string();
        let reason = words.lines().last().unwrap_or_default().trim();
        Wrong::BadPattern(reason.trim_start_matches("error: ").to_owned())
    })?;
    Ok(Pattern { source: source.to_owned(), any_case, regex })
}

/// Parses a level, also by its other common names.
pub(super) fn level(word: &str) -> Option<Level> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" | "warning" => Level::Warn,
        "error" | "err" => Level::Error,
        "fatal" | "critical" | "crit" | "panic" => Level::Fatal,
        _ => return None,
    })
}

/// Parses an age: `30s`, `15m`, `2h`, `1d`.
pub(super) fn age(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(unit)
}

/// The operators, each before its own beginning.
const OPS: [(&str, Op); 7] = [
    ("!=", Op::Unequal),
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    (">", Op::More),
    ("<", Op::Less),
    ("=", Op::Equal),
    (":", Op::Equal),
];

pub(super) fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '[' | ']')
}

/// Returns the path of a key that names a field.
pub(super) fn path_of(key: &str) -> Option<&str> {
    let path = key.strip_prefix("field.").or_else(|| key.strip_prefix('.'))?;
    (!path.is_empty() && !path.starts_with('.')).then_some(path)
}

fn key_of(word: &str) -> Option<Key> {
    Some(match word {
        "ns" | "namespace" => Key::Namespace,
        "pod" => Key::Pod,
        "container" => Key::Container,
        "node" => Key::Node,
        _ => return None,
    })
}

/// Parses all terms.
pub(super) fn terms(text: &str, fields: Option<&dyn Fn(&str) -> bool>) -> Result<Vec<Term>, Problem> {
    let mut reader = Reader { text, at: 0, fields };
    let mut found = Vec::new();
    loop {
        reader.take_while(char::is_whitespace);
        if reader.peek().is_none() {
            return Ok(found);
        }
        found.extend(term(&mut reader)?);
    }
}

fn term(reader: &mut Reader<'_>) -> Result<Option<Term>, Problem> {
    let from = reader.at;
    let mode = match reader.next() {
        Some('-' | '!') => Mode::Exclude,
        Some('~') => Mode::Highlight,
        _ => {
            reader.at = from;
            Mode::Include
        }
    };
    if reader.ends_term() {
        // a sign alone is a text
        let sign = reader.text.get(from..reader.at).unwrap_or_default().to_owned();
        return words(reader, from, vec![sign]).map(|test| Some(Term { mode: Mode::Include, test }));
    }
    let test = match reader.peek() {
        Some('"') => {
            let text = reader.quoted()?;
            if text.is_empty() {
                return Ok(None);
            }
            words(reader, from, vec![text])?
        }
        Some('/') => Test::Pattern(reader.pattern()?),
        _ => {
            if let Some(test) = keyed(reader)? {
                test
            } else {
                let at = reader.at;
                let word = reader.take_while(|c| !c.is_whitespace());
                let parts: Vec<String> =
                    word.split('|').filter(|part| !part.is_empty()).map(str::to_owned).collect();
                let parts = if parts.is_empty() { vec![word.to_owned()] } else { parts };
                words(reader, at, parts)?
            }
        }
    };
    Ok(Some(Term { mode, test }))
}

fn words(reader: &Reader<'_>, at: usize, texts: Vec<String>) -> Result<Test, Problem> {
    // only a text that is too long for a regular expression is refused
    let found = Words::new(texts);
    found.map(Test::Words).map_err(|error| reader.problem(at, Wrong::BadPattern(error.to_string())))
}

/// Parses a term with a key. Returns `None`, and reads nothing, if the term is a word.
fn keyed(reader: &mut Reader<'_>) -> Result<Option<Test>, Problem> {
    let from = reader.at;
    let key = reader.take_while(is_key_char);
    let op = OPS.iter().find(|(sign, _)| reader.skip(sign));
    let Some((sign, op)) = op else {
        let path = key.strip_prefix("field.").and_then(|_| path_of(key));
        if let (Some(path), true) = (path, reader.ends_term()) {
            return Ok(Some(Test::Field(FieldTest::new(path, None))));
        }
        reader.at = from;
        return Ok(None);
    };
    let (name, mut path) = (key_of(key), path_of(key));
    if name.is_none() && path.is_none() && !matches!(key, "level" | "since") {
        if !reader.is_keyed(key, sign) {
            reader.at = from;
            return Ok(None);
        }
        if !reader.fields.is_some_and(|has| has(key)) {
            return Err(reader.problem(from, Wrong::UnknownKey(key.to_owned())));
        }
        path = Some(key);
    }
    let at = reader.at;
    let value = match reader.peek() {
        Some('"') => reader.quoted()?,
        _ => reader.take_while(|c| !c.is_whitespace()).to_owned(),
    };
    if value.is_empty() {
        return Err(reader.problem(from, Wrong::NoValue(format!("{key}{sign}"))));
    }
    if let Some(path) = path {
        let compare = Some((*op, Value::new(&value)));
        return Ok(Some(Test::Field(FieldTest::new(path, compare))));
    }
    let test = match name {
        Some(name) if *op == Op::Equal => Test::Name(name, Glob::new(value)),
        Some(_) => return Err(reader.problem(from, Wrong::NoOrder(key.to_owned()))),
        None if key == "since" => match age(&value) {
            Some(secs) if *op == Op::Equal => Test::Since(secs),
            _ => return Err(reader.problem(at, Wrong::BadAge(value))),
        },
        None => {
            let parsed: Result<Vec<Level>, &str> =
                value.split('|').map(|word| level(word).ok_or(word)).collect();
            let levels = parsed.map_err(|word| reader.problem(at, Wrong::UnknownLevel(word.to_owned())))?;
            if levels.len() > 1 && !op.is_equality() {
                return Err(reader.problem(at, Wrong::SeveralLevels));
            }
            Test::Level(*op, levels)
        }
    };
    Ok(Some(test))
}

#[cfg(test)]
mod tests {
    use super::super::Filter;

    #[test]
    fn a_problem_names_its_place_and_what_to_do() {
        for (text, at, words) in [
            ("level>=warm", 7, "`warm` is not a level: use trace, debug"),
            ("pod:a \"open", 6, "a quote is open"),
            ("/open", 0, "no closing /; to search for a text that begins with /, quote it"),
            ("é /a(/", 2, "not a regular expression: unclosed group"),
            ("status>=500", 0, "no key `status`: the keys are level, since, pod"),
            ("since:15", 6, "use 30s, 15m"),
            ("pod:", 0, "`pod:` needs a value"),
            ("pod>=a", 0, "pod cannot be compared with < or >: use pod:NAME or -pod:NAME"),
            ("level>=warn|error", 7, "level:warn|error"),
            ("\"a\"b", 3, "a space is missing"),
            ("-pod:", 1, "needs a value"),
        ] {
            let problem = Filter::parse(text).unwrap_err();
            assert_eq!(problem.at, at, "{text}: {problem}");
            assert!(problem.to_string().contains(words), "{text}: {problem}");
        }
    }

    #[test]
    fn another_key_is_a_field_of_the_lines_or_a_problem() {
        let parse = |text: &str| Filter::parse_among(text, &|field| field == "status");
        for (text, written) in [
            ("status:503", "field.status:503"),
            ("-status>=500", "-field.status>=500"),
            ("status=503", "field.status:503"),
            ("user=42", "\"user=42\""),
            ("http://shop", "\"http://shop\""),
            ("12:30", "\"12:30\""),
            ("std::io", "\"std::io\""),
            ("localhost:8080", "\"localhost:8080\""),
            ("-client.go:12", "-\"client.go:12\""),
            ("client.go:12:7", "\"client.go:12:7\""),
            ("failed:", "\"failed:\""),
            ("\"foo:bar\"", "\"foo:bar\""),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), written, "{text}");
        }
        for text in ["foo:bar", "timeout -foo:bar", "foo>1"] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.at, text.find("foo").unwrap(), "{text}");
            let words = problem.to_string();
            assert!(words.contains("`foo`") && words.ends_with("to search for a text, quote it"), "{words}");
        }
        assert!(Filter::parse("foo:bar").is_ok(), "without lines it is a text");
    }

    #[test]
    fn paths_and_quotes() {
        for (text, written) in [
            (r#"field.msg="a b""#, r#"field.msg:"a b""#),
            ("/api/v1/", "/api\\/v1/"),
            (r#""/api""#, r#""/api""#),
            ("  a   b ", "a b"),
            (r#""a\"b""#, r#""a\"b""#),
            ("\"\"", ""),
            ("level=WARNING", "level:warn"),
            ("since:120s", "since:2m"),
            (".a.b>1", "field.a.b>1"),
        ] {
            assert_eq!(Filter::parse(text).unwrap().to_string(), written, "{text}");
        }
    }
}
