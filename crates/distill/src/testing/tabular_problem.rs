//! An entropy-regularised problem over a table, and its solution by dynamic programming.

use super::{TabularDistribution, TabularSolution, log_sum_exp};

/// The words that the student may write without help.
#[derive(Clone, Copy, Debug)]
pub enum WordPolicy<'a> {
    /// The student may choose any distribution over words.
    Free,
    /// The student draws words from this distribution. It chooses only when to ask.
    Fixed(&'a TabularDistribution),
}

/// How the teacher chooses its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerRule {
    /// A sample from the teacher's distribution.
    Sampled,
    /// The teacher's most likely word.
    Greedy,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TabularAction {
    /// The student wrote this word.
    Word(usize),
    /// The student asked, and the teacher answered with this word.
    Help(usize),
}

/// An entropy-regularised problem over a table. The [module](super) has its equations.
#[derive(Clone, Copy, Debug)]
pub struct TabularProblem<'a> {
    /// The teacher.
    pub teacher: &'a TabularDistribution,
    /// The words that the student may write.
    pub words: WordPolicy<'a>,
    /// The price of help, nats.
    pub price: f64,
    /// Whether each step is charged `alpha log(1 + exp(-price / alpha))`. With an alpha of 1, the weights `exp(reward)`
    /// of all actions then sum to 1.
    pub normalised: bool,
    /// How the teacher chooses its answer.
    pub answer: AnswerRule,
    /// The temperature of the entropy term, alpha in the equations.
    pub alpha: f64,
    /// The largest number of tokens in a text. A text that is cut there has the value 0 after it.
    pub horizon: usize,
}

impl<'a> TabularProblem<'a> {
    /// A problem with a free student, greedy answers, normalised steps and a temperature of 1.
    pub fn new(teacher: &'a TabularDistribution, price: f64, horizon: usize) -> Self {
        let (words, answer) = (WordPolicy::Free, AnswerRule::Greedy);
        Self { teacher, words, price, normalised: true, answer, alpha: 1.0, horizon }
    }

    /// The charge of each step, nats.
    pub fn step_charge(&self) -> f64 {
        if self.normalised { self.alpha * (-self.price / self.alpha).exp().ln_1p() } else { 0.0 }
    }

    /// The reward of an action minus the charge of the step, nats.
    pub fn reward(&self, state: usize, action: TabularAction) -> f64 {
        let reward = match action {
            TabularAction::Word(word) => self.teacher.log_probs(state)[word],
            TabularAction::Help(_) => -self.price,
        };
        reward - self.step_charge()
    }

    /// Solves the problem from the last position to the first.
    pub fn solve(self) -> TabularSolution<'a> {
        let Self { teacher, alpha, .. } = self;
        let mut values = vec![vec![0.0; teacher.states()]];
        let mut log_policies = Vec::new();
        for _ in 0..self.horizon {
            let next_values = values.last().expect("the values at the horizon come first");
            let mut position_values = Vec::with_capacity(teacher.states());
            let mut position_policy = Vec::with_capacity(teacher.states());
            for state in 0..teacher.states() {
                let value_after = |word: usize| match word as u32 == teacher.eos {
                    true => 0.0,
                    false => next_values[teacher.next_state(state, word)],
                };
                let (word_value, word_log_probs) = self.word_value(state, value_after);
                let answer_value = match self.answer {
                    AnswerRule::Greedy => value_after(teacher.most_likely(state)),
                    AnswerRule::Sampled => {
                        (0..teacher.vocab).map(|y| teacher.log_probs(state)[y].exp() * value_after(y)).sum()
                    }
                };
                let help_value = self.reward(state, TabularAction::Help(0)) + answer_value;
                let value = alpha * log_sum_exp([word_value / alpha, help_value / alpha].into_iter());
                let log_prob_of_writing = (word_value - value) / alpha;
                let mut log_policy: Vec<f64> =
                    word_log_probs.into_iter().map(|log_prob| log_prob_of_writing + log_prob).collect();
                log_policy.push((help_value - value) / alpha);
                position_values.push(value);
                position_policy.push(log_policy);
            }
            values.push(position_values);
            log_policies.push(position_policy);
        }
        values.reverse();
        log_policies.reverse();
        TabularSolution { problem: self, values, log_policies }
    }

    /// The value of writing a word in `state`, and the log-probs of the words in the policy with this value.
    fn word_value(&self, state: usize, value_after: impl Fn(usize) -> f64) -> (f64, Vec<f64>) {
        let action_value = |word| self.reward(state, TabularAction::Word(word)) + value_after(word);
        let words = 0..self.teacher.vocab;
        match self.words {
            WordPolicy::Free => {
                let value = self.alpha * log_sum_exp(words.clone().map(|word| action_value(word) / self.alpha));
                (value, words.map(|word| (action_value(word) - value) / self.alpha).collect())
            }
            WordPolicy::Fixed(student) => {
                let log_probs = student.log_probs(state);
                let terms =
                    words.map(|word| log_probs[word].exp() * (action_value(word) - self.alpha * log_probs[word]));
                (terms.sum(), log_probs.to_vec())
            }
        }
    }

    /// The price at which the optimal student's help rate (helped tokens per token) is `rate`, nats, by bisection.
    /// Texts start in the state `start`.
    ///
    /// The rate falls as the price rises. The search covers prices from 0 to 20 nats. If none of them gives the rate,
    /// the result is the end of this interval with the nearer rate.
    pub fn price_for(self, rate: f64, start: usize) -> f64 {
        let (mut low, mut high) = (0.0, 20.0);
        for _ in 0..60 {
            let price = f64::midpoint(low, high);
            let usage = Self { price, ..self }.solve().expected_use(start);
            if usage.helped / usage.length > rate { low = price } else { high = price }
        }
        f64::midpoint(low, high)
    }
}
