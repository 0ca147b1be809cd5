//! What the server answered to access reviews and dry runs. An open dialog is planned again every two seconds; its
//! questions are asked again only when what they depend on has changed, or when an answer is too old.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::{Access, Refusal};

/// An answer is used again for this long.
pub const COUNTS_FOR: Duration = Duration::from_secs(30);

/// A question, with all that its answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// An access review. Empty `context`: of the cluster itself.
    May { cluster: ClusterId, context: Name, access: Access },
    /// A dry run of a step on the object at this version; empty = the version is not known.
    DryRun { cluster: ClusterId, context: Name, step: String, version: String },
}

/// None = yes; otherwise the refusal of the plan.
pub type Answer = Option<Refusal>;

/// The answers of the last rehearsal. Only the server's own yes or no is kept: a question without an answer is asked
/// again the next time.
#[derive(Debug, Default)]
pub struct Answers {
    before: HashMap<Question, (Instant, Answer)>,
    /// Of the rehearsal that is being made.
    now: HashMap<Question, (Instant, Answer)>,
}

impl Answers {
    /// Begins a rehearsal: what the one before did not ask is forgotten.
    pub fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// The answer, if it still counts.
    pub fn recent(&mut self, question: &Question, now: Instant) -> Option<Answer> {
        let (at, answer) = self.before.get(question)?;
        if now.saturating_duration_since(*at) >= COUNTS_FOR {
            return None;
        }
        let answer = answer.clone();
        self.now.insert(question.clone(), (*at, answer.clone()));
        Some(answer)
    }

    /// Keeps an answer that has just come.
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
