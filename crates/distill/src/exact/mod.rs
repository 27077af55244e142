//! The optimum of a small table, exactly: what objectives and trainers are tested against.
//!
//! Backward dynamic programming over every state and every position gives the value, the policy and the odds of asking
//! of the entropy-regularised problem that distillation with help poses; a forward pass gives expected lengths and
//! help. Everything is `f64` on the host.
//!
//! With `r(a) = log p_T(a | s)` for a word and `-price` for help, each step charged `k = alpha log(1 + exp(-price /
//! alpha))` where the problem is [normalised](Problem::normalised), the values are (our derivation, after Nachum et
//! al. 2017, arXiv 1702.08892, section 3)
//!
//! ```text
//! Q(s, a)    = r(a) - k + V(s a)                     a word of the student's
//! Q(s, help) = -price - k + E_y[V(s y)]              y answered by the teacher
//! V(s)       = alpha log( sum_a exp(Q(s, a) / alpha) + exp(Q(s, help) / alpha) )
//! ```
//!
//! Where the student's words are [fixed](Words::Fixed) to a law `p_S`, the sum over words becomes the one term
//! `exp(E_S[Q(s, a) - alpha log p_S(a)] / alpha)`. With alpha 1 and D the reverse KL from student to teacher, the
//! log-odds of asking are then `D(s) - price + E_y[V(s y)] - E_S[V(s a)]`.

mod table;

pub use table::Table;

/// What a student may write by itself.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// Any law over words, as a student without limits.
    Free,
    /// This law and no other: only when to ask is chosen.
    Fixed(&'a Table),
}

/// What a teacher answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A draw from its law.
    Sampled,
    /// Its likeliest word.
    Greedy,
}

/// An entropy-regularised problem over a table.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The teacher.
    pub teacher: &'a Table,
    /// What the student may write.
    pub words: Words<'a>,
    /// What help costs, nats.
    pub price: f64,
    /// Whether each step is charged `alpha log(1 + exp(-price / alpha))`, so that the reference measure sums to 1.
    pub normalised: bool,
    /// What the teacher answers.
    pub answer: Answer,
    /// The temperature of the entropy term.
    pub alpha: f64,
    /// Texts end at this many tokens at the latest; what is cut there has value 0.
    pub horizon: usize,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The student wrote this word.
    Word(usize),
    /// The student asked, and the teacher answered with this word.
    Help(usize),
}

/// The optimum of a [`Problem`].
#[derive(Clone, Debug)]
pub struct Solution<'a> {
    problem: Problem<'a>,
    /// By position, then state; the last position is the horizon.
    values: Vec<Vec<f64>>,
    /// The log-probabilities of the words and, last, of help; by position, then state.
    policy: Vec<Vec<Vec<f64>>>,
}

impl<'a> Problem<'a> {
    /// An unlimited student, greedy answers, normalised steps and temperature 1.
    pub fn new(teacher: &'a Table, price: f64, horizon: usize) -> Self {
        Self { teacher, words: Words::Free, price, normalised: true, answer: Answer::Greedy, alpha: 1.0, horizon }
    }

    /// What each step is charged.
    pub fn step_charge(&self) -> f64 {
        if self.normalised { self.alpha * (-self.price / self.alpha).exp().ln_1p() } else { 0.0 }
    }

    /// The reward of a step, its charge included.
    pub fn reward(&self, state: usize, choice: Choice) -> f64 {
        let reward = match choice {
            Choice::Word(word) => self.teacher.row(state)[word],
            Choice::Help(_) => -self.price,
        };
        reward - self.step_charge()
    }

    /// Solves by backward induction.
    pub fn solve(self) -> Solution<'a> {
        let Self { teacher, alpha, .. } = self;
        let mut values = vec![vec![0.0; teacher.states()]];
        let mut policy = Vec::new();
        for _ in 0..self.horizon {
            let later = values.last().expect("the horizon is there");
            let mut value = Vec::with_capacity(teacher.states());
            let mut laws = Vec::with_capacity(teacher.states());
            for state in 0..teacher.states() {
                let after = |word: usize| match word as u32 == teacher.eos {
                    true => 0.0,
                    false => later[teacher.next(state, word)],
                };
                let (words, law) = self.words_value(state, after);
                let answered = match self.answer {
                    Answer::Greedy => after(teacher.best(state)),
                    Answer::Sampled => (0..teacher.vocab).map(|y| teacher.row(state)[y].exp() * after(y)).sum(),
                };
                let help = self.reward(state, Choice::Help(0)) + answered;
                let total = alpha * log_sum_exp([words / alpha, help / alpha].into_iter());
                let own = (words - total) / alpha;
                value.push(total);
                laws.push(law.into_iter().map(|word| own + word).chain([(help - total) / alpha]).collect());
            }
            values.push(value);
            policy.push(laws);
        }
        values.reverse();
        policy.reverse();
        Solution { problem: self, values, policy }
    }

    /// The value of writing a word in `state`, and the log-law over words that reaches it.
    fn words_value(&self, state: usize, after: impl Fn(usize) -> f64) -> (f64, Vec<f64>) {
        let worth = |word| self.reward(state, Choice::Word(word)) + after(word);
        let words = 0..self.teacher.vocab;
        match self.words {
            Words::Free => {
                let value = self.alpha * log_sum_exp(words.clone().map(|word| worth(word) / self.alpha));
                (value, words.map(|word| (worth(word) - value) / self.alpha).collect())
            }
            Words::Fixed(student) => {
                let law = student.row(state);
                let value = words.map(|word| law[word].exp() * (worth(word) - self.alpha * law[word])).sum();
                (value, law.to_vec())
            }
        }
    }

    /// The price at which an optimal student is helped at the given rate, from a text's `start`, by bisection.
    ///
    /// The rate falls with the price. A rate that no price between 0 and 20 nats gives is met as nearly as they can.
    pub fn price_for(self, rate: f64, start: usize) -> f64 {
        let (mut low, mut high) = (0.0, 20.0);
        for _ in 0..60 {
            let price = f64::midpoint(low, high);
            let at = Problem { price, ..self }.solve().expected(start);
            if at.helped / at.length > rate { low = price } else { high = price }
        }
        f64::midpoint(low, high)
    }
}

/// What a policy does on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Steps of a text, the end mark counted.
    pub length: f64,
    /// Steps whose word the teacher chose.
    pub helped: f64,
}

impl Solution<'_> {
    /// The value at a position.
    pub fn value(&self, position: usize, state: usize) -> f64 {
        self.values[position][state]
    }

    /// The log-probabilities of the words and, last, of help.
    pub fn log_policy(&self, position: usize, state: usize) -> &[f64] {
        &self.policy[position][state]
    }

    /// The log-odds of asking, nats.
    pub fn help_log_odds(&self, position: usize, state: usize) -> f64 {
        let help = *self.policy[position][state].last().expect("help is the last action");
        help - (-help.exp()).ln_1p()
    }

    /// `-V(s_0) + V(s_d) + sum_i [reward_i - alpha log pi_i]` of a path of `d` choices from a position and a state:
    /// zero at the optimum for every path, if words are free and answers are greedy (or all values are equal).
    pub fn residual(&self, position: usize, state: usize, path: &[Choice]) -> f64 {
        let Problem { teacher, alpha, .. } = self.problem;
        let mut residual = -self.value(position, state);
        let mut at = state;
        let mut ended = false;
        for (step, &choice) in path.iter().enumerate() {
            let (word, action) = match choice {
                Choice::Word(word) => (word, word),
                Choice::Help(word) => (word, teacher.vocab),
            };
            let log_prob = self.policy[position + step][at][action];
            residual += self.problem.reward(at, choice) - alpha * log_prob;
            at = teacher.next(at, word);
            ended = word as u32 == teacher.eos;
        }
        residual + if ended { 0.0 } else { self.value(position + path.len(), at) }
    }

    /// What the optimal policy does on average from `start`.
    pub fn expected(&self, start: usize) -> Expected {
        let Problem { teacher, answer, .. } = self.problem;
        let mut reached = vec![0.0; teacher.states()];
        reached[start] = 1.0;
        let mut expected = Expected { length: 0.0, helped: 0.0 };
        for laws in &self.policy {
            let mut next = vec![0.0; teacher.states()];
            for (state, &mass) in reached.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
                let (help, words) = laws[state].split_last().expect("help is the last action");
                let help = help.exp();
                expected.length += mass;
                expected.helped += mass * help;
                for (word, own) in words.iter().enumerate().filter(|(word, _)| *word as u32 != teacher.eos) {
                    let answered = match answer {
                        Answer::Sampled => teacher.row(state)[word].exp(),
                        Answer::Greedy => f64::from(u8::from(word == teacher.best(state))),
                    };
                    next[teacher.next(state, word)] += mass * (own.exp() + help * answered);
                }
            }
            reached = next;
        }
        expected
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY { max } else { max + values.map(|value| (value - max).exp()).sum::<f64>().ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three words, of which 0 ends a text, by the last token; numbers without pattern.
    fn teacher() -> Table {
        Table::from_logits(3, 0, &[-1.0, 1.2, 0.3, -0.4, 0.1, 1.5, -0.8, 0.9, -0.2])
    }

    fn student() -> Table {
        Table::from_logits(3, 0, &[-0.3, 0.2, 0.9, -1.4, 0.8, 0.6, 0.1, -0.5, 0.4])
    }

    /// Every path of at most `left` choices that does not go on past an end mark.
    fn paths(solution: &Solution<'_>, state: usize, left: usize) -> Vec<Vec<Choice>> {
        let Problem { teacher, answer, .. } = solution.problem;
        if left == 0 {
            return vec![vec![]];
        }
        let answers = match answer {
            Answer::Greedy => vec![teacher.best(state)],
            Answer::Sampled => (0..teacher.vocab()).collect(),
        };
        let choices = (0..teacher.vocab()).map(Choice::Word).chain(answers.into_iter().map(Choice::Help));
        let mut all = vec![vec![]];
        for choice in choices {
            let (Choice::Word(word) | Choice::Help(word)) = choice;
            let tails = match word as u32 == teacher.eos {
                true => vec![vec![]],
                false => paths(solution, teacher.next(state, word), left - 1),
            };
            all.extend(tails.into_iter().map(|tail| [vec![choice], tail].concat()));
        }
        all
    }

    fn assert_consistent(problem: Problem<'_>) {
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
    fn the_optimum_is_consistent_on_every_path_of_every_length() {
        let teacher = teacher();
        for price in [0.0, 0.7, 3.0] {
            for normalised in [true, false] {
                for alpha in [1.0, 0.5] {
                    assert_consistent(Problem { normalised, alpha, ..Problem::new(&teacher, price, 5) });
                }
            }
            // Sampled answers: every value is 0, so an answer's luck moves nothing.
            assert_consistent(Problem { answer: Answer::Sampled, ..Problem::new(&teacher, price, 5) });
        }
    }

    #[test]
    fn a_student_that_can_be_its_teacher_has_value_zero() {
        let teacher = teacher();
        let solution = Problem { answer: Answer::Sampled, ..Problem::new(&teacher, 1.1, 6) }.solve();
        for position in 0..6 {
            for state in 0..3 {
                assert!(solution.value(position, state).abs() < 1e-12);
                assert!((solution.help_log_odds(position, state) + 1.1).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn without_the_charge_texts_grow_as_the_mass_of_a_step_predicts() {
        // Whatever the state, the teacher ends a text with probability q, and its likeliest word never does.
        let q: f64 = 0.3;
        let row = [q.ln(), (0.4 * (1.0 - q)).ln(), (0.6 * (1.0 - q)).ln()];
        let teacher = Table::from_logits(3, 0, &row.repeat(3));
        for price in [1.5_f64, 2.5, 4.0] {
            let problem = Problem::new(&teacher, price, 1500);
            let length = |problem: Problem<'_>| problem.solve().expected(1).length;
            let help = (-price).exp();
            // Charged, every word keeps its share of 1 + exp(-price); uncharged, help adds to the mass that goes on.
            assert!((length(problem) - (1.0 + help) / q).abs() < 1e-9);
            let grown = length(Problem { normalised: false, ..problem });
            assert!((grown - 1.0 / (q - help)).abs() < 1e-6, "price {price}: {grown}");
            let sampled = Problem { answer: Answer::Sampled, ..problem };
            assert!((length(sampled) - 1.0 / q).abs() < 1e-9);
        }
    }

    #[test]
    fn the_odds_of_asking_are_distance_minus_price_plus_what_follows() {
        let (teacher, student) = (teacher(), student());
        for (answer, alpha) in [(Answer::Greedy, 1.0), (Answer::Sampled, 1.0), (Answer::Sampled, 0.7)] {
            let words = Words::Fixed(&student);
            // With another temperature the entropy term weighs the student's own law otherwise.
            let problem = Problem { words, answer, alpha, ..Problem::new(&teacher, 0.6, 7) };
            let solution = problem.solve();
            for position in 0..7 {
                for state in 0..3 {
                    let after = |word: usize| if word == 0 { 0.0 } else { solution.value(position + 1, word) };
                    let mean = |law: &[f64]| (0..3).map(|word| law[word].exp() * after(word)).sum::<f64>();
                    let (own, other) = (student.row(state), teacher.row(state));
                    let distance: f64 = (0..3).map(|w| own[w].exp() * (alpha * own[w] - other[w])).sum();
                    let answered = match answer {
                        Answer::Greedy => after(teacher.best(state)),
                        Answer::Sampled => mean(other),
                    };
                    let expected = (distance - 0.6 + answered - mean(own)) / alpha;
                    assert!((solution.help_log_odds(position, state) - expected).abs() < 1e-10);
                    if alpha == 1.0 {
                        assert!((distance - teacher.divergence_of(&student, state)).abs() < 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn the_policy_is_a_law_and_dearer_help_is_used_less() {
        let (teacher, student) = (teacher(), student());
        let problem = Problem { words: Words::Fixed(&student), ..Problem::new(&teacher, 0.5, 8) };
        let solution = problem.solve();
        let total: f64 = solution.log_policy(3, 1).iter().map(|log| log.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        let rate = |price| {
            let expected = Problem { price, ..problem }.solve().expected(2);
            expected.helped / expected.length
        };
        assert!(rate(0.1) > rate(0.5) && rate(0.5) > rate(2.0));
        let price = problem.price_for(0.2, 2);
        assert!((rate(price) - 0.2).abs() < 1e-9);
    }
}
