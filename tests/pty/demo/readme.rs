//! The solution of the incident in the README.

/// A numbered line of the README: the line of NOW that it is about, and what to type there.
#[derive(Clone, Debug)]
pub struct Step {
    /// Parts of the line of NOW, in their order.
    parts: Vec<&'static str>,
    pub key: char,
    /// The text for the prompt that the key opens, if it opens one.
    pub value: Option<&'static str>,
}

impl Step {
    /// Whether it is about a line with these words: the line starts with the first part, and the other parts follow.
    pub fn means(&self, words: &str) -> bool {
        let [first, others @ ..] = self.parts.as_slice() else { return false };
        let mut rest = words.strip_prefix(first);
        for part in others {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
        }
        rest.is_some()
    }

    pub fn told(&self) -> String {
        format!("`{}`, `{}`", self.parts.join(" … "), self.key)
    }
}

/// The steps, in the README's order.
pub fn steps() -> Vec<Step> {
    const README: &str = include_str!("../../../README.md");
    let section = README.split("\n## ").find(|s| s.starts_with("Try it on a simulated incident")).unwrap();
    let numbered = |line: &&str| line.split_once(". `").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    let steps = section.lines().filter(numbered).map(|line| {
        let code: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let [line, key, others @ ..] = code.as_slice() else { panic!("no line and key: {line}") };
        // a number in another step's text is not for its prompt
        let value =
            others.first().copied().filter(|v| v.starts_with(|c: char| c.is_ascii_digit()) && v.len() > 1);
        Step { parts: line.split('…').map(str::trim).collect(), key: key.chars().next().unwrap(), value }
    });
    let steps: Vec<Step> = steps.collect();
    assert!(!steps.is_empty(), "the README tells no way out");
    steps
}

#[test]
fn a_step_means_the_lines_that_begin_as_it_says() {
    let step = Step { parts: vec!["shop/a", "errors"], key: 'B', value: None };
    for (words, meant) in [
        ("shop/a 7.0% errors at 92 rps", true),
        ("shop/a slow", false),
        ("node n Unknown; shop/a 7.0% errors", false),
    ] {
        assert_eq!(step.means(words), meant, "{words}");
    }
}
