//! Earlier inputs, which Up and Down recall.

/// Maximum number of inputs that are kept.
const MOST: usize = 50;

/// The earlier inputs, the newest last, and which of them is shown.
#[derive(Clone, Debug, Default)]
pub struct History {
    lines: Vec<String>,
    /// The index of the shown input; None: the user's own text.
    at: Option<usize>,
    /// The text that was typed before the first Up.
    draft: String,
}

impl History {
    /// Adds an input that was used.
    pub fn remember(&mut self, line: &str) {
        self.rest();
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.lines.retain(|held| held != line);
        self.lines.push(line.to_owned());
        if self.lines.len() > MOST {
            self.lines.remove(0);
        }
    }

    /// The prompt was closed.
    pub fn rest(&mut self) {
        self.at = None;
        self.draft.clear();
    }

    /// The input before or after the shown one; after the newest one comes the user's own text. None: there is none.
    pub fn recall(&mut self, typed: &str, older: bool) -> Option<String> {
        let next = match (self.at, older) {
            (None, true) => self.lines.len().checked_sub(1)?,
            (Some(at), true) => at.checked_sub(1)?,
            (None, false) => return None,
            (Some(at), false) => at + 1,
        };
        if self.at.is_none() {
            typed.clone_into(&mut self.draft);
        }
        let line = self.lines.get(next).cloned();
        self.at = line.is_some().then_some(next);
        Some(line.unwrap_or_else(|| std::mem::take(&mut self.draft)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_back_and_forth() {
        let mut history = History::default();
        assert_eq!(history.recall("x", true), None);
        for line in ["one", "two", "one", "  ", "three"] {
            history.remember(line);
        }
        for (older, line) in [
            (true, Some("three")),
            (true, Some("one")),
            (true, Some("two")),
            (true, None),
            (false, Some("one")),
            (false, Some("three")),
            (false, Some("draft")),
            (false, None),
        ] {
            assert_eq!(history.recall("draft", older).as_deref(), line, "{older}");
        }
        for n in 0..200 {
            history.remember(&n.to_string());
        }
        assert_eq!(history.lines.len(), MOST);
    }
}
