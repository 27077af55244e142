//! What a student says where its teacher reads along.

use burn::tensor::Tensor;
use wheels_lm::LanguageModel;
use wheels_text::{HelpBudget, Seed};

use super::Practice;
use crate::mixture::Author;
use crate::objective::{all_action, laws::Laws};
use crate::replay::{Lesson, LessonRow};
use crate::{DistillError, Learner, Prices, Scored};

/// The least reward that a distance counts, nats: that of the objectives.
const REWARD_FLOOR: f64 = -10.0;

/// What a student says at one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// z, its log-odds of asking, nats.
    pub log_odds: f64,
    /// D, its distance to the teacher, nats.
    pub distance: f64,
}

impl<T: LanguageModel + Sync> Practice<'_, T> {
    /// What a student says while it writes some pairs by itself under one budget, as deployed but without a ledger.
    ///
    /// # Errors
    /// As for taking lessons.
    pub fn survey<M: Learner>(
        &self,
        model: &M,
        pairs: &[u32],
        budget: HelpBudget,
        wording: usize,
    ) -> Result<Vec<Reading>, DistillError> {
        let mut rows = Vec::with_capacity(pairs.len());
        for index in pairs.iter().map(|&index| index as usize) {
            let target = self.pairs[index].target.clone();
            rows.push(LessonRow {
                prompt: self.make_prompt(index, budget, wording)?,
                helped: vec![],
                share: budget.share(target.len()),
                target,
                deployed: true,
                ended: true,
            });
        }
        self.rewrite(model, Author::Greedy, rows.iter_mut().collect(), Seed(0))?;
        Ok(self.readings(model, &self.with_law(Lesson { rows, teacher: None })))
    }

    /// What a student says at each token of a lesson.
    pub(super) fn readings<M: Learner>(&self, model: &M, lesson: &Lesson) -> Vec<Reading> {
        let free = Prices::from_distances(&self.config.constraint, vec![]);
        let laws = Laws::new(&Scored::new(model, &self.batch(lesson, &free)));
        let (_, distances) = all_action::words(&laws, REWARD_FLOOR);
        let help = laws.help.as_ref().expect("practice has a help token");
        let read = |values: &Tensor<2>| values.clone().into_data().iter::<f64>().collect::<Vec<_>>();
        let (distances, log_odds) = (read(&distances), read(&help.log_odds));
        let time = lesson.rows.iter().map(|row| row.target.len()).max().unwrap_or(0);
        let positions =
            lesson.rows.iter().enumerate().flat_map(|(row, text)| row * time..row * time + text.target.len());
        positions.map(|at| Reading { log_odds: log_odds[at], distance: distances[at] }).collect()
    }
}
