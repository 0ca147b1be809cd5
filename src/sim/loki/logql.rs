//! The simulated part of LogQL: selectors with line filters, and their counts and rates. Anything else gets an error
//! message, never an empty answer.

use chrono::TimeDelta;

use crate::alerts::Matcher;
use crate::prom::tsdb::Labels;

/// A filter on the text of lines.
#[derive(Debug, Clone)]
struct Filter {
    /// The text, or a regular expression.
    text: String,
    regex: Option<regex::Regex>,
    wanted: bool,
}

/// Selects lines.
#[derive(Debug, Clone)]
pub struct Selector {
    matchers: Vec<Matcher>,
    filters: Vec<Filter>,
}

/// A metric computed from lines.
#[derive(Debug, Clone)]
pub struct Metric {
    pub selector: Selector,
    pub range: TimeDelta,
    /// Per second.
    pub rate: bool,
    /// The labels to sum by; `None` keeps all streams apart.
    pub by: Option<Vec<String>>,
}

/// A query.
#[derive(Debug, Clone)]
pub enum Query {
    Lines(Selector),
    Metric(Metric),
}

impl Selector {
    /// Whether the selector matches a stream.
    pub fn means(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// Whether a line passes all filters.
    pub fn passes(&self, line: &str) -> bool {
        self.filters.iter().all(|filter| {
            let found = match &filter.regex {
                Some(regex) => regex.is_match(line),
                None => line.contains(&filter.text),
            };
            found == filter.wanted
        })
    }
}

/// The unparsed rest.
struct Text<'a> {
    all: &'a str,
    rest: &'a str,
}

impl<'a> Text<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, String> {
        let column = self.all.len() - self.rest.len() + 1;
        let found = match self.rest.chars().next() {
            None => "$end".to_owned(),
            Some(c) if c.is_alphabetic() => "IDENTIFIER".to_owned(),
            Some(c) => c.to_string(),
        };
        Err(format!(
            "parse error at line 1, col {column}: syntax error: unexpected {found}, expecting {expected}"
        ))
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { self.wrong(token) }
    }

    fn word(&mut self) -> &'a str {
        self.skip();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or(("", self.rest));
        self.rest = rest;
        word
    }

    /// A text in double quotes or in backquotes.
    fn quoted(&mut self) -> Result<String, String> {
        self.skip();
        let mut chars = self.rest.char_indices();
        let Some((_, quote @ ('"' | '`'))) = chars.next() else { return self.wrong("STRING") };
        let mut out = String::new();
        let mut escaped = false;
        for (at, c) in chars {
            if escaped {
                out.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
                escaped = false;
            } else if c == '\\' && quote == '"' {
                escaped = true;
            } else if c == quote {
                self.rest = self.rest.get(at + c.len_utf8()..).unwrap_or_default();
                return Ok(out);
            } else {
                out.push(c);
            }
        }
        Err("parse error at line 1, col 1: literal not terminated".to_owned())
    }

    fn selector(&mut self) -> Result<Selector, String> {
        self.need("{")?;
        let mut matchers = Vec::new();
        while !self.take("}") {
            if !matchers.is_empty() {
                self.need(",")?;
            }
            let name = self.word().to_owned();
            if name.is_empty() {
                return self.wrong("IDENTIFIER or }");
            }
            let operators =
                [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
            let Some((_, is_regex, is_equal)) = operators.into_iter().find(|(op, ..)| self.take(op)) else {
                return self.wrong("= or != or =~ or !~");
            };
            let matcher = Matcher { name, value: self.quoted()?, is_regex, is_equal };
            if let Some(wrong) = matcher.check() {
                return Err(format!("parse error : {wrong}"));
            }
            matchers.push(matcher);
        }
        // A selector that also matches streams without the label would read everything.
        let narrows = |matcher: &Matcher| !matcher.matches(&Labels::new());
        if !matchers.iter().any(narrows) {
            return Err("parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will".to_owned());
        }
        let mut filters = Vec::new();
        let operators = [("|=", false, true), ("|~", true, true), ("!=", false, false), ("!~", true, false)];
        while let Some((_, regex, wanted)) = operators.into_iter().find(|(op, ..)| self.take(op)) {
            let text = self.quoted()?;
            let regex = if regex {
                Some(
                    regex::Regex::new(&text)
                        .map_err(|error| format!("parse error : error parsing regexp: {error}"))?,
                )
            } else {
                None
            };
            filters.push(Filter { text, regex, wanted });
        }
        if self.take("|") {
            let stage = self.word();
            return Err(format!("the pipeline stage `{stage}` is not simulated"));
        }
        Ok(Selector { matchers, filters })
    }

    fn labels(&mut self) -> Result<Vec<String>, String> {
        self.need("(")?;
        let mut out = Vec::new();
        while !self.take(")") {
            if !out.is_empty() {
                self.need(",")?;
            }
            let word = self.word();
            if word.is_empty() {
                return self.wrong("IDENTIFIER or )");
            }
            out.push(word.to_owned());
        }
        Ok(out)
    }

    fn metric(&mut self) -> Result<Metric, String> {
        let function = self.word();
        match function {
            "sum" => {
                let before = if self.take("by") { Some(self.labels()?) } else { None };
                self.need("(")?;
                let inner = self.metric()?;
                self.need(")")?;
                let by = match before {
                    Some(by) => by,
                    None if self.take("by") => self.labels()?,
                    None => Vec::new(),
                };
                Ok(Metric { by: Some(by), ..inner })
            }
            "count_over_time" | "rate" => {
                self.need("(")?;
                let selector = self.selector()?;
                self.need("[")?;
                let Some(end) = self.rest.find(']') else { return self.wrong("RANGE") };
                let (text, rest) = self.rest.split_at_checked(end).unwrap_or(("", ""));
                let range =
                    crate::world::span::parse(text.trim()).and_then(|span| TimeDelta::from_std(span).ok());
                let Some(range) = range.filter(|range| *range > TimeDelta::zero()) else {
                    return Err(format!(
                        "parse error at line 1, col 1: not a valid duration string: \"{text}\""
                    ));
                };
                self.rest = rest;
                self.need("]")?;
                self.need(")")?;
                Ok(Metric { selector, range, rate: function == "rate", by: None })
            }
            "" => self.wrong("{ or IDENTIFIER"),
            other => Err(format!("the function `{other}` is not simulated")),
        }
    }
}

/// Parses a query. The error is the message of Loki's 400.
pub fn parse(query: &str) -> Result<Query, String> {
    let mut text = Text { all: query, rest: query };
    text.skip();
    let query = if text.rest.starts_with('{') {
        Query::Lines(text.selector()?)
    } else {
        Query::Metric(text.metric()?)
    };
    text.skip();
    if text.rest.is_empty() { Ok(query) } else { text.wrong("$end") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let labels: Labels = [("app", "cart"), ("namespace", "shop")].into_iter().collect();
        let lines = |text: &str| match parse(text).unwrap() {
            Query::Lines(selector) => selector,
            Query::Metric(_) => panic!("{text}"),
        };
        let one = lines(r#"{app="cart", namespace=~"sh.*"} |= "error" != `deb"ug` |~ "5[0-9]{2}" !~ "x$""#);
        assert!(one.means(&labels));
        assert!(one.passes("an error 503") && !one.passes("an error 503 x") && !one.passes("503"));
        assert!(!lines(r#"{app!="cart",namespace="shop"}"#).means(&labels));
        let Query::Metric(metric) = parse(r#"sum by (app) (rate({app="cart"} |= "x" [5m]))"#).unwrap() else {
            panic!()
        };
        assert_eq!(
            (metric.rate, metric.range, metric.by),
            (true, TimeDelta::minutes(5), Some(vec!["app".into()]))
        );
        for (bad, words) in [
            ("{app=}", "unexpected }, expecting STRING"),
            ("", "unexpected $end"),
            (r#"{app=~".*"}"#, "empty-compatible"),
            (r#"{app="a"} | json"#, "`json` is not simulated"),
            (r#"{app="a"} x"#, "unexpected IDENTIFIER"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }
}
