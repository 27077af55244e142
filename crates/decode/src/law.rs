//! One row of logits, read as a decision.

use wheels_lm::ModelSpec;

/// What a student can write: every id below `size` that is not a help token.
///
/// Help tokens are columns of the student's logits, but never words: no text contains them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    size: usize,
    eos: u32,
    /// The help tokens of the experts at the desk, in its order.
    staffed: Vec<u32>,
    /// Help tokens without an expert.
    closed: Vec<u32>,
    /// Of so many tokens no sequence comes twice in a text; 0 lets all come again.
    no_repeat_ngram_size: usize,
}

impl Vocabulary {
    pub(crate) fn new(spec: &ModelSpec, staffed: Vec<u32>, closed: Vec<u32>) -> Self {
        Self { size: spec.vocab_size, eos: spec.eos, staffed, closed, no_repeat_ngram_size: 0 }
    }

    /// The same words, none of which may end a sequence of so many tokens that a text has already; 0 lets all come again.
    pub(crate) fn no_repeat_ngram_size(self, size: usize) -> Self {
        Self { no_repeat_ngram_size: size, ..self }
    }

    /// The number of columns of the student's logits, help tokens included.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The word that ends a text.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The help tokens that an expert answers to, in the order of the desk.
    pub fn staffed(&self) -> &[u32] {
        &self.staffed
    }

    /// Whether the student can write `token`.
    pub fn contains(&self, token: u32) -> bool {
        (token as usize) < self.size && !self.help_tokens().any(|help| help == token)
    }

    /// The word with the highest id, if there are words at all.
    pub fn last_word(&self) -> Option<u32> {
        (0..self.size as u32).rev().find(|&token| self.contains(token))
    }

    fn help_tokens(&self) -> impl Iterator<Item = u32> {
        self.staffed.iter().chain(&self.closed).copied()
    }

    /// The words that would end a sequence which `text` has already.
    fn repeats<'t>(&self, text: &'t [u32]) -> impl Iterator<Item = u32> + 't {
        let size = self.no_repeat_ngram_size;
        let end = size.checked_sub(1).and_then(|before| text.len().checked_sub(before)).map(|from| &text[from..]);
        let again = end.into_iter().flat_map(move |end| text.windows(size).filter(move |ngram| ngram.starts_with(end)));
        again.filter_map(|ngram| ngram.last().copied())
    }
}

/// What a row of logits says about the next token: a distribution over words, and beside it the wish for help.
///
/// Help columns are no part of the distribution over words. Whatever needs exponentials computes them when it is
/// called: a greedy choice needs none.
#[derive(Clone, Copy, Debug)]
pub struct Law<'a> {
    /// The logits, minus infinity in the help columns.
    words: &'a [f32],
    best: u32,
    help: f64,
    expert: usize,
}

impl<'a> Law<'a> {
    /// Reads the row of logits after `text`, and closes in place its help columns and the words that may not come again.
    ///
    /// Returns `None` if some logit is NaN, or the largest of the words' is infinite.
    pub fn read(logits: &'a mut [f32], vocabulary: &Vocabulary, text: &[u32]) -> Option<Self> {
        if logits.iter().fold(false, |nan, logit| nan | logit.is_nan()) {
            return None;
        }
        let staffed = vocabulary.staffed.iter().map(|&token| column(logits, token));
        let (expert, _) = strongest(staffed.clone());
        let help = log_sum_exp(staffed);
        for token in vocabulary.help_tokens().chain(vocabulary.repeats(text)) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let (best, max) = strongest(logits.iter().copied());
        max.is_finite().then_some(Self { words: logits, best: best as u32, help, expert })
    }

    /// The likeliest word; of equals, the one with the lowest id.
    pub fn best(&self) -> u32 {
        self.best
    }

    /// The likeliest of the experts by its help column; of equals, and where there are no columns, the first.
    pub fn expert(&self) -> usize {
        self.expert
    }

    /// The words' logits; minus infinity in the help columns.
    pub fn words(&self) -> &[f32] {
        self.words
    }

    /// The log-odds of asking, in nats: with tau any staffed help column, log pi(tau | s) / (1 - pi(tau | s)).
    ///
    /// Minus infinity where the student has no such column.
    pub fn help_log_odds(&self) -> f64 {
        if self.help == f64::NEG_INFINITY { self.help } else { self.help - self.log_total() }
    }

    /// The log-probability of a word among words, in nats.
    pub fn log_prob(&self, word: u32) -> f64 {
        f64::from(self.words[word as usize]) - self.log_total()
    }

    /// How much less likely a word is than the likeliest, in nats: the difference of their log-probabilities.
    pub fn regret(&self, word: u32) -> f64 {
        f64::from(self.max()) - f64::from(self.words[word as usize])
    }

    /// The probability of the likeliest word.
    pub fn max_prob(&self) -> f64 {
        self.mass().recip()
    }

    /// The probability of the likeliest word minus that of the second.
    pub fn margin(&self) -> f64 {
        let best = self.best as usize;
        let (_, second) = strongest(self.words[..best].iter().chain(&self.words[best + 1..]).copied());
        (1.0 - f64::from((second - self.max()).exp())) / self.mass()
    }

    /// The entropy of the distribution over words, in nats.
    pub fn entropy(&self) -> f64 {
        let (mut mass, mut moment) = (0.0, 0.0);
        for &logit in self.words {
            let below = logit - self.max();
            let weight = f64::from(below.exp());
            if weight > 0.0 {
                mass += weight;
                moment += weight * f64::from(below);
            }
        }
        mass.ln() - moment / mass
    }

    /// The logit of the likeliest word.
    pub(crate) fn max(&self) -> f32 {
        self.words[self.best as usize]
    }

    /// The sum of exp(logit - max) over words.
    fn mass(&self) -> f64 {
        self.words.iter().map(|&logit| f64::from((logit - self.max()).exp())).sum()
    }

    fn log_total(&self) -> f64 {
        f64::from(self.max()) + self.mass().ln()
    }
}

/// A column of a row, minus infinity where the row lacks it.
fn column(logits: &[f32], token: u32) -> f32 {
    logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)
}

/// The first place of the largest value, and the value; place 0 and minus infinity for none.
fn strongest(values: impl Iterator<Item = f32>) -> (usize, f32) {
    values.enumerate().fold((0, f32::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
}

fn log_sum_exp(values: impl Iterator<Item = f32> + Clone) -> f64 {
    let (_, max) = strongest(values.clone());
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    f64::from(max) + values.map(|value| f64::from((value - max).exp())).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(size: usize, staffed: &[u32], closed: &[u32]) -> Vocabulary {
        Vocabulary::new(&ModelSpec { vocab_size: size, pad: 0, eos: 1 }, staffed.to_vec(), closed.to_vec())
    }

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6, "{left} is not {right}");
    }

    #[test]
    fn measures_are_those_of_the_softmax() {
        let probs: [f64; 3] = [0.5, 0.125, 0.375];
        let mut logits = probs.map(|p| (p.ln() + 3.0) as f32);
        let law = Law::read(&mut logits, &vocabulary(3, &[], &[]), &[]).expect("finite logits");
        assert_eq!(law.best(), 0);
        close(law.max_prob(), 0.5);
        close(law.margin(), 0.125);
        close(law.entropy(), -probs.iter().map(|p| p * p.ln()).sum::<f64>());
        close(law.log_prob(2), 0.375_f64.ln());
        assert_eq!(law.help_log_odds(), f64::NEG_INFINITY);
    }

    #[test]
    fn help_columns_are_no_words() {
        // Column 1 has an expert, column 3 has none; both stand above every word.
        let vocabulary = vocabulary(4, &[1], &[3]);
        let mut logits = [0.0, 5.0, 0.0, 9.0];
        let law = Law::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        assert_eq!(law.best(), 0);
        close(law.max_prob(), 0.5);
        close(law.margin(), 0.0);
        close(law.entropy(), 2.0_f64.ln());
        close(law.help_log_odds(), 5.0 - 2.0_f64.ln());
        assert!([0, 2].iter().all(|&token| vocabulary.contains(token)));
        assert!([1, 3, 4].iter().all(|&token| !vocabulary.contains(token)));
        assert_eq!(vocabulary.last_word(), Some(2));
    }

    #[test]
    fn the_likeliest_expert_is_asked_by_the_odds_of_all() {
        let mut logits = [0.0, 1.0, 2.0];
        let law = Law::read(&mut logits, &vocabulary(3, &[1, 2], &[]), &[]).expect("finite logits");
        assert_eq!(law.expert(), 1);
        close(law.help_log_odds(), (1.0_f64.exp() + 2.0_f64.exp()).ln());
    }

    #[test]
    fn a_student_without_help_columns_has_the_first_expert() {
        let mut logits = [0.0, 1.0];
        let law = Law::read(&mut logits, &vocabulary(2, &[2, 3], &[]), &[]).expect("finite logits");
        assert_eq!((law.expert(), law.best()), (0, 1));
        assert_eq!(law.help_log_odds(), f64::NEG_INFINITY);
    }

    #[test]
    fn what_is_no_distribution_is_no_law() {
        let vocabulary = vocabulary(3, &[2], &[]);
        for bad in [[0.0, f32::NAN, 0.0], [0.0, 0.0, f32::NAN], [0.0, f32::INFINITY, 0.0]] {
            assert!(Law::read(&mut bad.clone(), &vocabulary, &[]).is_none(), "{bad:?}");
        }
        let mut nothing = [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0];
        assert!(Law::read(&mut nothing, &vocabulary, &[]).is_none());
    }

    #[test]
    fn ties_go_to_the_lowest_id() {
        let mut logits = [1.0, 2.0, 2.0];
        assert_eq!(Law::read(&mut logits, &vocabulary(3, &[], &[]), &[]).expect("finite logits").best(), 1);
    }
}
