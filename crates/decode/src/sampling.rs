//! From a distribution over words to one word.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Law};

/// How a word is chosen.
///
/// Chance enters on the host, one uniform number for each draw, so that one seed means one text on every device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// The likeliest word; of equals, the one with the lowest id.
    #[default]
    Greedy,
    /// A draw from softmax(logits / temperature), after the filters, which apply in the order in which they stand.
    Sample {
        /// The logits are divided by this: below 1 is bolder towards the likely, above 1 more even.
        temperature: f64,
        /// Only the so many likeliest words; of equals, those with the lowest ids.
        #[serde(default)]
        top_k: Option<usize>,
        /// Only the fewest likeliest words whose probability together reaches this (Holtzman et al. 2020, arXiv
        /// 1904.09751).
        #[serde(default)]
        top_p: Option<f64>,
    },
}

/// A word, and how likely the sampler was to choose it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word {
    /// The word's id.
    pub token: u32,
    /// Its log-probability under the sampler, in nats: 0 for a greedy choice, which could not have been another.
    pub log_prob: f64,
}

/// The law from which a sampler draws: words and their probabilities, which add up to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct WordLaw(Vec<(u32, f64)>);

impl WordLaw {
    /// The probability of a word.
    pub fn prob(&self, word: u32) -> f64 {
        self.0.iter().find(|(id, _)| *id == word).map_or(0.0, |word| word.1)
    }

    /// Judges a word that was drawn from the law `draft` (Leviathan et al. 2023, arXiv 2211.17192, algorithm 1): `None`
    /// where it stands, or a word in its place. Over draws and judgements the outcome follows this law.
    pub fn judge(&self, word: u32, draft: &Self, rng: &mut impl Rng) -> Option<u32> {
        if rng.random::<f64>() * draft.prob(word) < self.prob(word) {
            return None;
        }
        let excess = |&(id, p): &(u32, f64)| (id, (p - draft.prob(id)).max(0.0));
        let rest: Vec<(u32, f64)> = self.0.iter().map(excess).filter(|word| word.1 > 0.0).collect();
        // Two equal laws have no rest, and a word that falls to rounding is replaced by a draw.
        let rest = if rest.is_empty() { &self.0 } else { &rest };
        Some(draw(rest, rng.random()).token)
    }
}

impl Sampler {
    /// The law from which words are drawn.
    pub fn law(&self, law: &Law<'_>) -> WordLaw {
        let words = match *self {
            Self::Greedy => vec![(law.best(), 1.0)],
            Self::Sample { temperature, top_k, top_p } => candidates(law, temperature, top_k, top_p),
        };
        let total = total(&words);
        WordLaw(words.into_iter().map(|(id, weight)| (id, weight / total)).collect())
    }

    /// Draws from the model's own distribution.
    pub fn plain() -> Self {
        Self::Sample { temperature: 1.0, top_k: None, top_p: None }
    }

    /// Chooses a word. Takes one uniform number from `rng` for a draw and none for a greedy choice.
    pub fn choose(&self, law: &Law<'_>, rng: &mut impl Rng) -> Word {
        match *self {
            Self::Greedy => Word { token: law.best(), log_prob: 0.0 },
            Self::Sample { temperature, top_k, top_p } => {
                draw(&candidates(law, temperature, top_k, top_p), rng.random())
            }
        }
    }

    /// # Errors
    /// [`DecodeError::Sampler`] where the settings make no distribution.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let Self::Sample { temperature, top_k, top_p } = *self else { return Ok(()) };
        let wrong = |setting, value, supported| Err(DecodeError::Sampler { setting, value, supported });
        if !(temperature > 0.0 && temperature.is_finite()) {
            return wrong("temperature", temperature, "above 0 (for the likeliest word, decode greedily)");
        }
        if top_k == Some(0) {
            return wrong("top_k", 0.0, "1 or more");
        }
        match top_p {
            Some(top_p) if !(top_p > 0.0 && top_p <= 1.0) => wrong("top_p", top_p, "above 0 and at most 1"),
            _ => Ok(()),
        }
    }
}

/// The words that the filters leave, with their weights: all in the order of ids, or the likeliest first.
fn candidates(law: &Law<'_>, temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Vec<(u32, f64)> {
    let max = f64::from(law.max());
    let weigh = |logit: f32| ((f64::from(logit) - max) / temperature).exp();
    let mut words: Vec<(u32, f64)> =
        (0..).zip(law.words()).map(|(id, &logit)| (id, weigh(logit))).filter(|word| word.1 > 0.0).collect();
    if top_k.is_none() && top_p.is_none() {
        return words;
    }
    let by_weight = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if let Some(k) = top_k.filter(|&k| k < words.len()) {
        words.select_nth_unstable_by(k, by_weight);
        words.truncate(k);
    }
    words.sort_unstable_by(by_weight);
    if let Some(p) = top_p {
        let enough = p * total(&words);
        let mut reached = 0.0;
        let kept = words.iter().take_while(|word| {
            let wanted = reached < enough;
            reached += word.1;
            wanted
        });
        let kept = kept.count().max(1);
        words.truncate(kept);
    }
    words
}

fn draw(words: &[(u32, f64)], uniform: f64) -> Word {
    let total = total(words);
    let mut left = uniform * total;
    let mut chosen = words[0];
    for &word in words {
        chosen = word;
        left -= word.1;
        if left < 0.0 {
            break;
        }
    }
    Word { token: chosen.0, log_prob: (chosen.1 / total).ln() }
}

fn total(words: &[(u32, f64)]) -> f64 {
    words.iter().map(|word| word.1).sum()
}

#[cfg(test)]
mod tests {
    use wheels_lm::ModelSpec;
    use wheels_text::Seed;

    use super::*;
    use crate::Vocabulary;

    const LOGITS: [f32; 7] = [0.3, -1.0, 2.0, 0.3, 1.5, 9.0, -40.0];
    /// Column 5 is a help token.
    const HELP: u32 = 5;

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(&ModelSpec { vocab_size: LOGITS.len(), pad: 0, eos: 1 }, vec![HELP], vec![])
    }

    /// The law of a sampler by its definition: the words from the likeliest down, while the filters want more.
    fn filtered(temperature: f64, top_k: usize, top_p: f64) -> [f64; LOGITS.len()] {
        let mut law = LOGITS.map(|logit| (f64::from(logit) / temperature).exp());
        law[HELP as usize] = 0.0;
        let mut order: Vec<usize> = (0..law.len()).collect();
        order.sort_by(|&a, &b| law[b].total_cmp(&law[a]));
        for &id in &order[top_k.min(law.len())..] {
            law[id] = 0.0;
        }
        let sum: f64 = law.iter().sum();
        let mut before = 0.0;
        for &id in &order {
            let weight = law[id] / sum;
            law[id] = if before < top_p { weight } else { 0.0 };
            before += weight;
        }
        let sum: f64 = law.iter().sum();
        law.map(|weight| weight / sum)
    }

    #[test]
    fn draws_follow_the_filtered_softmax() {
        const DRAWS: usize = 40_000;
        let mut rng = Seed(11).rng();
        for (temperature, top_k, top_p) in [
            (1.0, None, None),
            (0.7, Some(3), None),
            (1.5, None, Some(0.8)),
            (1.0, Some(4), Some(0.9)),
            (2.0, Some(9), Some(1.0)),
        ] {
            let sampler = Sampler::Sample { temperature, top_k, top_p };
            let law = filtered(temperature, top_k.unwrap_or(usize::MAX), top_p.unwrap_or(f64::INFINITY));
            let mut logits = LOGITS;
            let read = Law::read(&mut logits, &vocabulary(), &[]).expect("finite logits");
            let mut counts = [0.0; LOGITS.len()];
            for _ in 0..DRAWS {
                let word = sampler.choose(&read, &mut rng);
                counts[word.token as usize] += 1.0;
                assert!((word.log_prob - law[word.token as usize].ln()).abs() < 1e-9, "{sampler:?} {word:?}");
            }
            // Pearson's chi-squared over the words that are expected at least once; 20.5 is the 0.999 quantile for 5
            // degrees of freedom, the most there are.
            let chi_squared: f64 = law
                .iter()
                .zip(counts)
                .map(|(p, count)| (p * DRAWS as f64, count))
                .filter(|(expected, _)| *expected >= 1.0)
                .map(|(expected, count)| (count - expected) * (count - expected) / expected)
                .sum();
            assert!(chi_squared < 20.5, "{sampler:?}: {chi_squared}");
        }
    }

    #[test]
    fn a_filter_that_leaves_one_word_is_greedy() {
        let mut logits = LOGITS;
        let law = Law::read(&mut logits, &vocabulary(), &[]).expect("finite logits");
        let mut rng = Seed(3).rng();
        let greedy = Sampler::Greedy.choose(&law, &mut rng);
        assert_eq!(greedy, Word { token: 2, log_prob: 0.0 });
        for (top_k, top_p) in [(Some(1), None), (None, Some(1e-9))] {
            let sampler = Sampler::Sample { temperature: 1.0, top_k, top_p };
            assert_eq!(sampler.choose(&law, &mut rng), greedy);
        }
    }

    #[test]
    fn of_equal_words_the_filter_keeps_the_lowest_ids() {
        let mut logits = [1.0_f32; 6];
        let vocabulary = Vocabulary::new(&ModelSpec { vocab_size: 6, pad: 0, eos: 1 }, vec![], vec![]);
        let law = Law::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        let ids: Vec<u32> = candidates(&law, 1.0, Some(3), None).iter().map(|word| word.0).collect();
        assert_eq!(ids, [0, 1, 2]);
    }

    #[test]
    fn settings_that_make_no_distribution_are_refused() {
        let sample = |temperature, top_k, top_p| Sampler::Sample { temperature, top_k, top_p }.check();
        for bad in [
            sample(0.0, None, None),
            sample(-1.0, None, None),
            sample(f64::NAN, None, None),
            sample(1.0, Some(0), None),
            sample(1.0, None, Some(0.0)),
            sample(1.0, None, Some(1.1)),
        ] {
            assert!(matches!(bad, Err(DecodeError::Sampler { .. })));
        }
        assert!(sample(0.7, Some(1), Some(1.0)).is_ok());
        assert!(Sampler::Greedy.check().is_ok());
    }
}
