//! The API server's answers to access reviews and dry runs. An open dialog is planned again every two seconds. Its
//! questions are asked again only if their inputs have changed or an answer is too old.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::{Access, Refusal};

/// How long an answer is used again.
pub const COUNTS_FOR: Duration = Duration::from_secs(30);

/// A question, with all inputs of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// An access review. An empty `context` stands for the cluster itself.
    May { cluster: ClusterId, context: Name, access: Access },
    /// A dry run of a step on the object at this version. An empty version is unknown.
    DryRun { cluster: ClusterId, context: Name, step: String, version: String },
}

/// `None` if the server agreed, otherwise the refusal for the plan.
pub type Answer = Option<Refusal>;

/// The answers of the last rehearsal. Only a definite answer of the server is kept. A question without an answer is
/// asked again the next time.
#[derive(Debug, Default)]
pub struct Answers {
    before: HashMap<Question, (Instant, Answer)>,
    /// The answers of the current rehearsal.
    now: HashMap<Question, (Instant, Answer)>,
}

impl Answers {
    /// Begins a rehearsal. Answers that the previous rehearsal did not use are forgotten.
    pub fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// Returns the answer if it is recent enough.
    pub fn recent(&mut self, question: &Question, now: Instant) -> Option<Answer> {
        let (at, answer) = self.before.get(question)?;
        if now.saturating_duration_since(*at) >= COUNTS_FOR {
            return None;
        }
        let answer = answer.clone();
        self.now.insert(question.clone(), (*at, answer.clone()));
        Some(answer)
    }

    /// Keeps a new answer.
    pub fn keep(&mut self, question: Question, answer: Answer, now: Instant) {
        self.now.insert(question, (now, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn an_answer_counts_until_it_is_too_old_and_only_for_its_own_question() {
        let dry_run = |version: &str| Question::DryRun {
            cluster: ClusterId(0),
            context: Name::default(),
            step: "scale to 3".into(),
            version: version.into(),
        };
        let no = Refusal::ReadOnly;
        let (mut answers, start) = (Answers::default(), Clock::instant());
        answers.begin();
        assert_eq!(answers.recent(&dry_run("1"), start), None);
        answers.keep(dry_run("1"), Some(no.clone()), start);
        for secs in [2, 29] {
            answers.begin();
            let now = start + Duration::from_secs(secs);
            assert_eq!(answers.recent(&dry_run("1"), now), Some(Some(no.clone())), "after {secs} s");
            assert_eq!(answers.recent(&dry_run("2"), now), None, "the object has another version");
        }
        answers.begin();
        assert_eq!(
            answers.recent(&dry_run("1"), start + COUNTS_FOR),
            None,
            "it is counted from when it came"
        );
        answers.begin();
        assert_eq!(answers.recent(&dry_run("1"), start), None, "what was not asked again is forgotten");
    }
}
