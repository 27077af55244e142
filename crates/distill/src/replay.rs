//! Lessons that are used more than once.

use std::collections::VecDeque;
use std::sync::Arc;

use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use wheels_lm::TokenBatch;
use wheels_text::Prompt;

/// A micro-batch of practice as ids on the host: who wrote what, under which budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lesson {
    pub(crate) rows: Vec<LessonRow>,
    /// The teacher's law at every position, in half precision; a checkpoint leaves it out, for it can be had again.
    #[serde(skip)]
    pub(crate) teacher: Option<TensorData>,
}

/// One text of a lesson.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LessonRow {
    pub(crate) prompt: Prompt,
    /// The text, with its end mark if it has one.
    pub(crate) target: Vec<u32>,
    /// Whose each token is.
    pub(crate) helped: Vec<bool>,
    /// The budget as a share of the tokens.
    pub(crate) share: f64,
    pub(crate) deployed: bool,
    pub(crate) ended: bool,
}

impl Lesson {
    /// The lesson without its teacher's law.
    pub(crate) fn without_law(&self) -> Self {
        Self { rows: self.rows.clone(), teacher: None }
    }

    /// Some ids of every row.
    pub(crate) fn ids(&self, pad: u32, of: fn(&LessonRow) -> &Vec<u32>) -> TokenBatch {
        TokenBatch::new(&self.rows.iter().map(of).collect::<Vec<_>>(), pad)
    }

    pub(crate) fn targets(&self, pad: u32) -> TokenBatch {
        self.ids(pad, |row| &row.target)
    }

    fn bytes(&self) -> usize {
        let length = |row: &LessonRow| row.prompt.student.len() + row.prompt.expert.len() + row.target.len();
        let ids: usize = self.rows.iter().map(length).sum();
        4 * ids + self.teacher.as_ref().map_or(0, |law| law.as_bytes().len())
    }
}

/// The latest lessons, bounded in bytes.
#[derive(Clone, Debug)]
pub(crate) struct ReplayBuffer {
    lessons: VecDeque<Arc<Lesson>>,
    max_bytes: usize,
}

impl ReplayBuffer {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { lessons: VecDeque::new(), max_bytes }
    }

    /// Adds a lesson, and forgets the oldest where there is no room; the newest always stays.
    pub(crate) fn push(&mut self, lesson: Arc<Lesson>) {
        self.lessons.push_back(lesson);
        while self.lessons.len() > 1 && self.bytes() > self.max_bytes {
            self.lessons.pop_front();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lessons.len()
    }

    pub(crate) fn get(&self, index: usize) -> &Arc<Lesson> {
        &self.lessons[index]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Lesson>> {
        self.lessons.iter()
    }

    fn bytes(&self) -> usize {
        self.lessons.iter().map(|lesson| lesson.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use wheels_text::HelpBudget;

    use super::*;

    fn lesson(id: u32) -> Lesson {
        let row = LessonRow {
            prompt: Prompt { student: vec![id; 10], expert: vec![id; 5], budget: HelpBudget::percent(20) },
            target: vec![id; 10],
            helped: vec![false; 10],
            share: 0.2,
            deployed: true,
            ended: true,
        };
        Lesson { rows: vec![row], teacher: None }
    }

    #[test]
    fn the_oldest_lessons_go_when_the_room_is_used() {
        let mut buffer = ReplayBuffer::new(250);
        (0..4).for_each(|id| buffer.push(lesson(id).into()));
        assert_eq!((buffer.len(), buffer.bytes()), (2, 200));
        assert_eq!(**buffer.get(0), lesson(2));
        let mut small = ReplayBuffer::new(1);
        small.push(lesson(7).into());
        assert_eq!(small.len(), 1, "the newest always stays");
    }

    #[test]
    fn lessons_are_kept_as_ids() {
        let json = serde_json::to_string(&lesson(3)).expect("ids are JSON");
        assert_eq!(serde_json::from_str::<Lesson>(&json).expect("JSON is ids"), lesson(3));
    }
}
