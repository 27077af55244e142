//! The optimum of a problem over a table.

use super::{AnswerRule, TabularAction, TabularProblem};

/// The optimum of a [`TabularProblem`].
#[derive(Clone, Debug)]
pub struct TabularSolution<'a> {
    pub(super) problem: TabularProblem<'a>,
    /// The values by position and state, nats. The last position is the horizon.
    pub(super) values: Vec<Vec<f64>>,
    /// The log-probs of the words and, last, of help; by position and state.
    pub(super) log_policies: Vec<Vec<Vec<f64>>>,
}

/// The expected length of a text and its expected use of help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedUse {
    /// The expected number of tokens, including the end-of-text token.
    pub length: f64,
    /// The expected number of tokens that the teacher chose.
    pub helped: f64,
}

impl TabularSolution<'_> {
    /// The value of a state at a position, nats.
    pub fn value(&self, position: usize, state: usize) -> f64 {
        self.values[position][state]
    }

    /// The optimal log-probs of the words and, last, of help, nats.
    pub fn log_policy(&self, position: usize, state: usize) -> &[f64] {
        &self.log_policies[position][state]
    }

    /// The log-odds of asking, nats.
    pub fn help_log_odds(&self, position: usize, state: usize) -> f64 {
        let help = *self.log_policies[position][state].last().expect("help is the last action");
        help - (-help.exp()).ln_1p()
    }

    /// `-V(s_0) + V(s_d) + sum_i [reward_i - alpha log pi_i]` of a path of `d` actions from a position and a state,
    /// nats.
    ///
    /// At the optimum it is zero on every path, if the words are free, and if the answers are greedy or all values are
    /// equal.
    pub fn residual(&self, position: usize, state: usize, path: &[TabularAction]) -> f64 {
        let TabularProblem { teacher, alpha, .. } = self.problem;
        let mut residual = -self.value(position, state);
        let mut current = state;
        let mut ended = false;
        for (step, &action) in path.iter().enumerate() {
            let (word, column) = match action {
                TabularAction::Word(word) => (word, word),
                TabularAction::Help(word) => (word, teacher.vocab),
            };
            let log_prob = self.log_policies[position + step][current][column];
            residual += self.problem.reward(current, action) - alpha * log_prob;
            current = teacher.next_state(current, word);
            ended = word as u32 == teacher.eos;
        }
        residual + if ended { 0.0 } else { self.value(position + path.len(), current) }
    }

    /// The expected length and help of a text that the optimal policy writes from the state `start`.
    pub fn expected_use(&self, start: usize) -> ExpectedUse {
        let TabularProblem { teacher, answer, .. } = self.problem;
        let mut reached = vec![0.0; teacher.states()];
        reached[start] = 1.0;
        let mut expected = ExpectedUse { length: 0.0, helped: 0.0 };
        for log_policy in &self.log_policies {
            let mut next = vec![0.0; teacher.states()];
            for (state, &mass) in reached.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
                let (help, words) = log_policy[state].split_last().expect("help is the last action");
                let help = help.exp();
                expected.length += mass;
                expected.helped += mass * help;
                for (word, log_prob) in words.iter().enumerate().filter(|(word, _)| *word as u32 != teacher.eos) {
                    let answered = match answer {
                        AnswerRule::Sampled => teacher.log_probs(state)[word].exp(),
                        AnswerRule::Greedy => f64::from(u8::from(word == teacher.most_likely(state))),
                    };
                    next[teacher.next_state(state, word)] += mass * (log_prob.exp() + help * answered);
                }
            }
            reached = next;
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TabularDistribution, WordPolicy};

    /// A teacher of three words, of which 0 ends a text. The last word is the state. The logits have no pattern.
    fn teacher() -> TabularDistribution {
        TabularDistribution::from_logits(3, 0, &[-1.0, 1.2, 0.3, -0.4, 0.1, 1.5, -0.8, 0.9, -0.2])
    }

    fn student() -> TabularDistribution {
        TabularDistribution::from_logits(3, 0, &[-0.3, 0.2, 0.9, -1.4, 0.8, 0.6, 0.1, -0.5, 0.4])
    }

    /// Every path of at most `left` actions that ends with the end-of-text token or contains none.
    fn paths(solution: &TabularSolution<'_>, state: usize, left: usize) -> Vec<Vec<TabularAction>> {
        let TabularProblem { teacher, answer, .. } = solution.problem;
        if left == 0 {
            return vec![vec![]];
        }
        let answers = match answer {
            AnswerRule::Greedy => vec![teacher.most_likely(state)],
            AnswerRule::Sampled => (0..teacher.vocab()).collect(),
        };
        let actions = (0..teacher.vocab()).map(TabularAction::Word).chain(answers.into_iter().map(TabularAction::Help));
        let mut all = vec![vec![]];
        for action in actions {
            let (TabularAction::Word(word) | TabularAction::Help(word)) = action;
            let tails = match word as u32 == teacher.eos {
                true => vec![vec![]],
                false => paths(solution, teacher.next_state(state, word), left - 1),
            };
            all.extend(tails.into_iter().map(|tail| [vec![action], tail].concat()));
        }
        all
    }

    fn assert_consistent(problem: TabularProblem<'_>) {
        let solution = problem.solve();
        let mut count = 0;
        for position in 0..problem.horizon {
            for state in 0..problem.teacher.states() {
                for path in paths(&solution, state, (problem.horizon - position).min(4)) {
                    let residual = solution.residual(position, state, &path);
                    assert!(residual.abs() < 1e-10, "{residual} on {path:?} from {state} at {position}");
                    count += 1;
                }
            }
        }
        assert!(count > 1000, "{count} paths");
    }

    #[test]
    fn the_optimum_has_no_residual_on_any_path_of_any_length() {
        let teacher = teacher();
        for price in [0.0, 0.7, 3.0] {
            for normalised in [true, false] {
                for alpha in [1.0, 0.5] {
                    assert_consistent(TabularProblem { normalised, alpha, ..TabularProblem::new(&teacher, price, 5) });
                }
            }
            // With sampled answers every value is 0, so the sampled word does not matter.
            let sampled = TabularProblem { answer: AnswerRule::Sampled, ..TabularProblem::new(&teacher, price, 5) };
            assert_consistent(sampled);
        }
    }

    #[test]
    fn a_student_that_can_equal_its_teacher_has_value_zero() {
        let teacher = teacher();
        let problem = TabularProblem { answer: AnswerRule::Sampled, ..TabularProblem::new(&teacher, 1.1, 6) };
        let solution = problem.solve();
        for position in 0..6 {
            for state in 0..3 {
                assert!(solution.value(position, state).abs() < 1e-12);
                assert!((solution.help_log_odds(position, state) + 1.1).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn without_the_step_charge_texts_are_longer_by_the_predicted_factor() {
        // In every state, the teacher ends a text with probability q, and its most likely word does not end it.
        let q: f64 = 0.3;
        let row = [q.ln(), (0.4 * (1.0 - q)).ln(), (0.6 * (1.0 - q)).ln()];
        let teacher = TabularDistribution::from_logits(3, 0, &row.repeat(3));
        for price in [1.5_f64, 2.5, 4.0] {
            let problem = TabularProblem::new(&teacher, price, 1500);
            let length = |problem: TabularProblem<'_>| problem.solve().expected_use(1).length;
            let help = (-price).exp();
            // With the charge, every word keeps its share of 1 + exp(-price). Without the charge, help adds to the
            // weight of texts that continue.
            assert!((length(problem) - (1.0 + help) / q).abs() < 1e-9);
            let uncharged = length(TabularProblem { normalised: false, ..problem });
            assert!((uncharged - 1.0 / (q - help)).abs() < 1e-6, "price {price}: {uncharged}");
            let sampled = TabularProblem { answer: AnswerRule::Sampled, ..problem };
            assert!((length(sampled) - 1.0 / q).abs() < 1e-9);
        }
    }

    #[test]
    fn the_log_odds_of_asking_are_divergence_minus_price_plus_the_gain_in_value() {
        let (teacher, student) = (teacher(), student());
        for (answer, alpha) in [(AnswerRule::Greedy, 1.0), (AnswerRule::Sampled, 1.0), (AnswerRule::Sampled, 0.7)] {
            let words = WordPolicy::Fixed(&student);
            let problem = TabularProblem { words, answer, alpha, ..TabularProblem::new(&teacher, 0.6, 7) };
            let solution = problem.solve();
            for position in 0..7 {
                for state in 0..3 {
                    let value_after = |word: usize| if word == 0 { 0.0 } else { solution.value(position + 1, word) };
                    let mean_value =
                        |log_probs: &[f64]| (0..3).map(|word| log_probs[word].exp() * value_after(word)).sum::<f64>();
                    let (own, other) = (student.log_probs(state), teacher.log_probs(state));
                    // The temperature multiplies the entropy of the student's distribution.
                    let divergence: f64 = (0..3).map(|w| own[w].exp() * (alpha * own[w] - other[w])).sum();
                    let answer_value = match answer {
                        AnswerRule::Greedy => value_after(teacher.most_likely(state)),
                        AnswerRule::Sampled => mean_value(other),
                    };
                    let expected = (divergence - 0.6 + answer_value - mean_value(own)) / alpha;
                    assert!((solution.help_log_odds(position, state) - expected).abs() < 1e-10);
                    if alpha == 1.0 {
                        assert!((divergence - teacher.divergence_of(&student, state)).abs() < 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn the_policy_sums_to_one_and_a_higher_price_means_less_help() {
        let (teacher, student) = (teacher(), student());
        let problem = TabularProblem { words: WordPolicy::Fixed(&student), ..TabularProblem::new(&teacher, 0.5, 8) };
        let solution = problem.solve();
        let total: f64 = solution.log_policy(3, 1).iter().map(|log_prob| log_prob.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        let rate = |price| {
            let expected = TabularProblem { price, ..problem }.solve().expected_use(2);
            expected.helped / expected.length
        };
        assert!(rate(0.1) > rate(0.5) && rate(0.5) > rate(2.0));
        let price = problem.price_for(0.2, 2);
        assert!((rate(price) - 0.2).abs() < 1e-9);
    }
}
