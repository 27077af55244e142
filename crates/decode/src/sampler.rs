//! Choosing one token from a next-token distribution.

use burn::tensor::Tensor;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wheels_text::GenerationConfig;

use crate::device_rows::{ByteCount, MAX_TOP_K, draw};
use crate::distribution::Row;
use crate::{DecodeError, Distribution};

/// How a token is chosen from a next-token distribution.
///
/// Random numbers are drawn on the host, one uniform number for each sampled token, so that they do not depend on the
/// device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// The most likely token. Ties go to the lowest id.
    #[default]
    Greedy,
    /// A sample from `softmax(logits / temperature)` after the filters: first `top_k`, then `top_p`.
    Sample {
        /// The logits are divided by this. A value below 1 makes likely tokens more likely, and a value above 1 makes
        /// them less likely.
        temperature: f64,
        /// Keep only this number of most likely tokens. Ties go to the lowest ids.
        #[serde(default)]
        top_k: Option<usize>,
        /// Keep only the smallest set of most likely tokens whose probabilities add up to at least this (Holtzman et
        /// al. 2020, arXiv 1904.09751).
        #[serde(default)]
        top_p: Option<f64>,
    },
}

/// A token and its log-probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledToken {
    /// The token.
    pub token: u32,
    /// Its log-probability under the sampler, nats; 0 for a greedy choice.
    pub log_prob: f64,
}

/// The tokens that a sampler can draw, with their probabilities, which add up to 1.
#[derive(Clone, Debug)]
pub struct Candidates(Place);

#[derive(Clone, Debug)]
enum Place {
    Host(Vec<(u32, f64)>),
    /// The probability of every token, `[1, vocab]`, on a device.
    Device(Box<Tensor<2>>, ByteCount),
}

impl Candidates {
    /// The probability of a token. 0 if there is no such token.
    ///
    /// # Panics
    /// If the probabilities are on a device that cannot be read.
    pub fn prob(&self, token: u32) -> f64 {
        match &self.0 {
            Place::Host(tokens) => tokens.iter().find(|(id, _)| *id == token).map_or(0.0, |candidate| candidate.1),
            Place::Device(probs, _) if token as usize >= probs.dims()[1] => 0.0,
            Place::Device(probs, bytes) => {
                let prob = bytes.read(probs.clone().narrow(1, token as usize, 1));
                prob.expect("a device that was read before").iter::<f64>().sum()
            }
        }
    }

    /// The tokens with their probabilities, on the host.
    fn on_host(&self) -> Vec<(u32, f64)> {
        match &self.0 {
            Place::Host(tokens) => tokens.clone(),
            Place::Device(probs, bytes) => {
                let probs = bytes.read(*probs.clone()).expect("a device that was read before");
                (0..).zip(probs.iter::<f64>()).filter(|token| token.1 > 0.0).collect()
            }
        }
    }

    /// Speculative sampling (Leviathan et al. 2023, arXiv 2211.17192, algorithm 1): returns `None` to accept a token
    /// that was drawn from `draft`, or the token that replaces it. The token that results is distributed like these
    /// candidates.
    pub(crate) fn replacement(&self, token: u32, draft: &Self, rng: &mut impl Rng) -> Option<u32> {
        if rng.random::<f64>() * draft.prob(token) < self.prob(token) {
            return None;
        }
        let uniform = rng.random();
        if let Some(token) = self.replacement_on_device(draft, uniform) {
            return Some(token);
        }
        let (own, draft) = (self.on_host(), Self(Place::Host(draft.on_host())));
        let excess = |&(id, p): &(u32, f64)| (id, (p - draft.prob(id)).max(0.0));
        let rest: Vec<(u32, f64)> = own.iter().map(excess).filter(|candidate| candidate.1 > 0.0).collect();
        // Equal distributions have no excess, but rounding can still reject a token. Its replacement is then drawn from
        // all candidates.
        let rest = if rest.is_empty() { &own } else { &rest };
        Some(draw_from(rest, uniform).token)
    }

    /// A token from the excess over `draft`, if both are on one device and rounding leaves an excess.
    fn replacement_on_device(&self, draft: &Self, uniform: f64) -> Option<u32> {
        let (Place::Device(own, bytes), Place::Device(draft, _)) = (&self.0, &draft.0) else { return None };
        if own.device() != draft.device() {
            return None;
        }
        // A teacher may have fewer tokens than its student.
        let shared = own.dims()[1].min(draft.dims()[1]);
        let shared_part = |probs: &Tensor<2>| probs.clone().narrow(1, 0, shared);
        let excess = (shared_part(own) - shared_part(draft)).clamp_min(0.0);
        draw(excess, &[uniform], bytes)[0].map(|drawn| drawn.token)
    }
}

impl From<&GenerationConfig> for Sampler {
    /// The sampler that a generation config asks for: greedy, unless `do_sample` is true.
    fn from(config: &GenerationConfig) -> Self {
        match config.do_sample {
            false => Self::Greedy,
            true => Self::Sample { temperature: config.temperature, top_k: config.top_k, top_p: config.top_p },
        }
    }
}

impl Sampler {
    /// Samples from the model's own distribution, without temperature or filters.
    pub fn plain() -> Self {
        Self::Sample { temperature: 1.0, top_k: None, top_p: None }
    }

    /// The tokens that can be drawn, with their probabilities.
    pub fn candidates(&self, distribution: &Distribution<'_>) -> Candidates {
        if let (&Self::Sample { temperature, top_k: None, top_p: None }, Row::Device(row)) = (self, distribution.row())
            && let Some(probs) = row.probs(temperature)
        {
            return Candidates(Place::Device(Box::new(probs), row.bytes().clone()));
        }
        let weights = match *self {
            Self::Greedy => vec![(distribution.best(), 1.0)],
            Self::Sample { temperature, top_k, top_p } => filtered_weights(distribution, temperature, top_k, top_p),
        };
        let total = total(&weights);
        Candidates(Place::Host(weights.into_iter().map(|(id, weight)| (id, weight / total)).collect()))
    }

    /// Chooses a token. A sample takes one uniform number from `rng`, and a greedy choice takes none.
    pub fn choose(&self, distribution: &Distribution<'_>, rng: &mut impl Rng) -> SampledToken {
        self.choose_at(distribution, self.uniform(rng))
    }

    /// The random number that a choice takes; 0 if it takes none.
    pub(crate) fn uniform(&self, rng: &mut impl Rng) -> f64 {
        match self {
            Self::Greedy => 0.0,
            Self::Sample { .. } => rng.random(),
        }
    }

    /// The choice for a uniform number.
    pub(crate) fn choose_at(&self, distribution: &Distribution<'_>, uniform: f64) -> SampledToken {
        match (*self, distribution.row()) {
            (Self::Greedy, _) => SampledToken { token: distribution.best(), log_prob: 0.0 },
            (Self::Sample { temperature, top_k: None, top_p: None }, Row::Device(row)) => {
                row.draw(uniform, temperature)
            }
            (Self::Sample { temperature, top_k, top_p }, _) => {
                draw_from(&filtered_weights(distribution, temperature, top_k, top_p), uniform)
            }
        }
    }

    /// # Errors
    /// [`DecodeError::Sampler`] if a setting is out of range.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let Self::Sample { temperature, top_k, top_p } = *self else { return Ok(()) };
        let wrong = |setting, value, supported| Err(DecodeError::Sampler { setting, value, supported });
        if !(temperature > 0.0 && temperature.is_finite()) {
            return wrong("temperature", temperature, "above 0 (for the most likely token, decode greedily)");
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

/// The tokens that the filters keep, with their unnormalised weights: in the order of their ids without filters, and in
/// falling order of their weights with filters.
fn filtered_weights(
    distribution: &Distribution<'_>,
    temperature: f64,
    top_k: Option<usize>,
    top_p: Option<f64>,
) -> Vec<(u32, f64)> {
    let mut weights = match (distribution.row(), top_k) {
        (Row::Device(row), Some(k)) if k <= MAX_TOP_K && k < distribution.tokens() => {
            weigh(row.top(k).into_iter(), distribution.max(), temperature)
        }
        _ => weights(distribution, temperature),
    };
    if top_k.is_none() && top_p.is_none() {
        return weights;
    }
    let falling = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if let Some(k) = top_k.filter(|&k| k < weights.len()) {
        weights.select_nth_unstable_by(k, falling);
        weights.truncate(k);
    }
    weights.sort_unstable_by(falling);
    if let Some(p) = top_p {
        let enough = p * total(&weights);
        let (mut reached, mut kept) = (0.0, 0);
        while kept < weights.len() && reached < enough {
            reached += weights[kept].1;
            kept += 1;
        }
        weights.truncate(kept.max(1));
    }
    weights
}

/// The unnormalised probabilities of all tokens that can be written, in the order of their ids.
pub(crate) fn weights(distribution: &Distribution<'_>, temperature: f64) -> Vec<(u32, f64)> {
    weigh((0..).zip(distribution.logits().iter().copied()), distribution.max(), temperature)
}

fn weigh(logits: impl Iterator<Item = (u32, f32)>, max: f32, temperature: f64) -> Vec<(u32, f64)> {
    let weight = |logit: f32| ((f64::from(logit) - f64::from(max)) / temperature).exp();
    logits.map(|(id, logit)| (id, weight(logit))).filter(|token| token.1 > 0.0).collect()
}

pub(crate) fn draw_from(weights: &[(u32, f64)], uniform: f64) -> SampledToken {
    let total = total(weights);
    let mut left = uniform * total;
    let mut chosen = weights[0];
    for &token in weights {
        chosen = token;
        left -= token.1;
        if left < 0.0 {
            break;
        }
    }
    SampledToken { token: chosen.0, log_prob: (chosen.1 / total).ln() }
}

fn total(weights: &[(u32, f64)]) -> f64 {
    weights.iter().map(|token| token.1).sum()
}

#[cfg(test)]
mod tests {
    use wheels_lm::ModelSpec;
    use wheels_text::Seed;

    use super::*;
    use crate::Vocabulary;

    const LOGITS: [f32; 7] = [0.3, -1.0, 2.0, 0.3, 1.5, 9.0, -40.0];
    /// Token 5 is a help token.
    const HELP: u32 = 5;

    fn vocabulary() -> Vocabulary {
        let spec =
            ModelSpec { vocab_size: LOGITS.len(), d_model: LOGITS.len(), pad: 0, eos: vec![1], max_positions: None };
        Vocabulary::new(&spec, vec![HELP], vec![])
    }

    /// The distribution of a sampler by its definition, over all tokens.
    fn filtered(temperature: f64, top_k: usize, top_p: f64) -> [f64; LOGITS.len()] {
        let mut distribution = LOGITS.map(|logit| (f64::from(logit) / temperature).exp());
        distribution[HELP as usize] = 0.0;
        let mut order: Vec<usize> = (0..distribution.len()).collect();
        order.sort_by(|&a, &b| distribution[b].total_cmp(&distribution[a]));
        for &id in &order[top_k.min(distribution.len())..] {
            distribution[id] = 0.0;
        }
        let sum: f64 = distribution.iter().sum();
        let mut before = 0.0;
        for &id in &order {
            let weight = distribution[id] / sum;
            distribution[id] = if before < top_p { weight } else { 0.0 };
            before += weight;
        }
        let sum: f64 = distribution.iter().sum();
        distribution.map(|weight| weight / sum)
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
            let distribution = filtered(temperature, top_k.unwrap_or(usize::MAX), top_p.unwrap_or(f64::INFINITY));
            let mut logits = LOGITS;
            let read = Distribution::read(&mut logits, &vocabulary(), &[]).expect("finite logits");
            let mut counts = [0.0; LOGITS.len()];
            for _ in 0..DRAWS {
                let token = sampler.choose(&read, &mut rng);
                counts[token.token as usize] += 1.0;
                assert!(
                    (token.log_prob - distribution[token.token as usize].ln()).abs() < 1e-9,
                    "{sampler:?} {token:?}"
                );
            }
            // Pearson's chi-squared over the tokens that are expected at least once. 20.5 is its 0.999 quantile for 5
            // degrees of freedom, the most that occur here.
            let chi_squared: f64 = distribution
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
    fn a_filter_that_leaves_one_token_is_greedy() {
        let mut logits = LOGITS;
        let distribution = Distribution::read(&mut logits, &vocabulary(), &[]).expect("finite logits");
        let mut rng = Seed(3).rng();
        let greedy = Sampler::Greedy.choose(&distribution, &mut rng);
        assert_eq!(greedy, SampledToken { token: 2, log_prob: 0.0 });
        for (top_k, top_p) in [(Some(1), None), (None, Some(1e-9))] {
            let sampler = Sampler::Sample { temperature: 1.0, top_k, top_p };
            assert_eq!(sampler.choose(&distribution, &mut rng), greedy);
        }
    }

    #[test]
    fn of_equal_tokens_the_filter_keeps_the_lowest_ids() {
        let mut logits = [1.0_f32; 6];
        let spec = ModelSpec { vocab_size: 6, d_model: 6, pad: 0, eos: vec![1], max_positions: None };
        let vocabulary = Vocabulary::new(&spec, vec![], vec![]);
        let distribution = Distribution::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        let ids: Vec<u32> = filtered_weights(&distribution, 1.0, Some(3), None).iter().map(|token| token.0).collect();
        assert_eq!(ids, [0, 1, 2]);
    }

    #[test]
    fn invalid_sampler_settings_are_rejected() {
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
