//! The next-token distribution of one row of logits.

use crate::Vocabulary;
use crate::device_rows::DeviceRow;

/// The next-token distribution of one row of logits, and the log-odds of asking for help.
///
/// Help tokens are not part of the distribution. Values that need exponentials are computed on demand, because greedy
/// decoding needs none of them.
#[derive(Clone, Copy, Debug)]
pub struct Distribution<'a> {
    facts: Facts,
    row: Row<'a>,
}

/// Where the logits of a distribution are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    /// The logits, minus infinity at the tokens that cannot be written.
    Host(&'a [f32]),
    Device(&'a DeviceRow),
}

/// What every decision needs to know about a row of logits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The most likely token.
    pub(crate) best: u32,
    /// Its logit.
    pub(crate) max: f32,
    /// The log-sum-exp of the help logits.
    pub(crate) help: f64,
    /// The index of the expert with the highest help logit.
    pub(crate) expert: usize,
}

impl Facts {
    /// Reads a row, and closes tokens in it: see [`Distribution::read`].
    pub(crate) fn read(logits: &mut [f32], vocabulary: &Vocabulary, text: &[u32]) -> Option<Self> {
        if logits.iter().fold(false, |nan, logit| nan | logit.is_nan()) {
            return None;
        }
        if let Some(forced) = vocabulary.forced(text) {
            let logit = logits[forced as usize];
            logits.fill(f32::NEG_INFINITY);
            logits[forced as usize] = logit;
        }
        let help_logits = vocabulary.expert_tokens().iter().map(|&token| column(logits, token));
        let (expert, _) = largest(help_logits.clone());
        let help = log_sum_exp(help_logits);
        for token in vocabulary.help_tokens().chain(vocabulary.repeated(text)) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let (best, max) = largest_in(logits);
        (max.is_finite() && help < f64::INFINITY).then_some(Self { best: best as u32, max, help, expert })
    }
}

impl<'a> Distribution<'a> {
    /// Reads the logits of the token that follows `text`. In place, it sets the logits of help tokens, of tokens that
    /// would repeat an n-gram, and of all but a forced first token, to minus infinity.
    ///
    /// Returns `None` if some logit is NaN, if a help logit is plus infinity, or if the largest logit of the other tokens
    /// is infinite.
    pub fn read(logits: &'a mut [f32], vocabulary: &Vocabulary, text: &[u32]) -> Option<Self> {
        Facts::read(logits, vocabulary, text).map(|facts| Self::on_host(facts, logits))
    }

    pub(crate) fn on_host(facts: Facts, logits: &'a [f32]) -> Self {
        Self { facts, row: Row::Host(logits) }
    }

    pub(crate) fn on_device(facts: Facts, row: &'a DeviceRow) -> Self {
        Self { facts, row: Row::Device(row) }
    }

    /// The most likely token. Ties go to the lowest id.
    pub fn best(&self) -> u32 {
        self.facts.best
    }

    /// The index of the expert with the highest help logit. Ties go to the first one. It is 0 if the student has no
    /// help logits.
    pub fn expert(&self) -> usize {
        self.facts.expert
    }

    /// The logits, minus infinity at the tokens that cannot be written. If decisions are made on a device
    /// ([`Readout::Device`](crate::Readout)), the first call copies the row to the host.
    ///
    /// # Panics
    /// If the device cannot be read.
    pub fn logits(&self) -> &'a [f32] {
        match self.row {
            Row::Host(logits) => logits,
            Row::Device(row) => row.logits(),
        }
    }

    /// The log-odds of asking, nats: `log [pi(tau | s) / (1 - pi(tau | s))]`, with tau the help token of any expert. If
    /// there are several experts, their probabilities add up.
    ///
    /// Minus infinity if the student has no help logits.
    pub fn help_log_odds(&self) -> f64 {
        let help = self.facts.help;
        if help == f64::NEG_INFINITY { help } else { help - self.log_total() }
    }

    /// The log-probability of a token, nats.
    pub fn log_prob(&self, token: u32) -> f64 {
        f64::from(self.logit(token)) - self.log_total()
    }

    /// The regret of a token, nats: the log-probability of the most likely token minus that of this token.
    pub fn regret(&self, token: u32) -> f64 {
        f64::from(self.max()) - f64::from(self.logit(token))
    }

    /// The probability of the most likely token.
    pub fn max_prob(&self) -> f64 {
        self.mass().recip()
    }

    /// The probability of the most likely token minus that of the second most likely one.
    pub fn margin(&self) -> f64 {
        let second = match self.row {
            Row::Host(logits) => {
                let best = self.facts.best as usize;
                largest(logits[..best].iter().chain(&logits[best + 1..]).copied()).1
            }
            Row::Device(row) => row.second(),
        };
        (1.0 - f64::from((second - self.max()).exp())) / self.mass()
    }

    /// The entropy, nats.
    pub fn entropy(&self) -> f64 {
        let logits = match self.row {
            Row::Host(logits) => logits,
            Row::Device(row) => return row.entropy(),
        };
        let (mut mass, mut moment) = (0.0, 0.0);
        for &logit in logits {
            let below = logit - self.max();
            let weight = f64::from(exp(below));
            if weight > 0.0 {
                mass += weight;
                moment += weight * f64::from(below);
            }
        }
        mass.ln() - moment / mass
    }

    /// The logit of the most likely token.
    pub(crate) fn max(&self) -> f32 {
        self.facts.max
    }

    /// The number of columns, help tokens included.
    pub(crate) fn tokens(&self) -> usize {
        match self.row {
            Row::Host(logits) => logits.len(),
            Row::Device(row) => row.tokens(),
        }
    }

    pub(crate) fn row(&self) -> Row<'a> {
        self.row
    }

    fn logit(&self, token: u32) -> f32 {
        match self.row {
            Row::Host(logits) => logits[token as usize],
            Row::Device(row) => row.logit(token),
        }
    }

    /// The sum of exp(logit - max).
    fn mass(&self) -> f64 {
        match self.row {
            Row::Host(logits) => sum_of_weights(logits, self.max()),
            Row::Device(row) => row.mass(),
        }
    }

    fn log_total(&self) -> f64 {
        f64::from(self.max()) + self.mass().ln()
    }
}

/// The logit of a token; minus infinity if the row has no such column.
fn column(logits: &[f32], token: u32) -> f32 {
    logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)
}

/// The first index of the largest value, and the value; index 0 and minus infinity if there are no values.
pub(crate) fn largest(values: impl Iterator<Item = f32>) -> (usize, f32) {
    values.enumerate().fold((0, f32::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
}

/// As [`largest`], for a whole row: the largest of each lane, which takes vector instructions, and then its first index.
fn largest_in(row: &[f32]) -> (usize, f32) {
    let (blocks, rest) = row.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane = if value > lane { *value } else { *lane };
        }
    }
    let (_, max) = largest(lanes.into_iter().chain(rest.iter().copied()));
    (row.iter().position(|value| *value == max).unwrap_or(0), max)
}

/// The sum of exp(logit - max) of a row, with loops that take vector instructions.
fn sum_of_weights(row: &[f32], max: f32) -> f64 {
    let mut buffer = [0.0; 256];
    let mut total = 0.0;
    for block in row.chunks(buffer.len()) {
        let weights = &mut buffer[..block.len()];
        for (weight, logit) in weights.iter_mut().zip(block) {
            *weight = exp(logit - max);
        }
        let (eights, rest) = weights.as_chunks::<8>();
        let mut lanes = [0.0; 8];
        for eight in eights {
            for (lane, weight) in lanes.iter_mut().zip(eight) {
                *lane += weight;
            }
        }
        total += f64::from(lanes.iter().chain(rest).sum::<f32>());
    }
    total
}

/// exp(x) for x <= 0, and 0 below -87. The relative error is below 3e-7.
///
/// `f32::exp` calls the C library once for each value, and its last bit depends on the library. This takes vector
/// instructions, and has the same bits on every machine. `wheels-cpu` has such a function too, but builds for a GPU may lack it.
fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the lowest bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts. The products of the first one with small integers are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let clamped = if x < -87.0 { -87.0 } else { x };
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let exponent = rounded - ROUND;
    let rest = clamped - exponent * LN_2[0] - exponent * LN_2[1];
    // The Taylor series; |rest| is at most 0.35.
    let series = 1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest * (1.0 / 720.0)));
    let series = 1.0 + rest * (1.0 + rest * (0.5 + rest * series));
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { series * power }
}

pub(crate) fn log_sum_exp(values: impl Iterator<Item = f32> + Clone) -> f64 {
    let (_, max) = largest(values.clone());
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    f64::from(max) + values.map(|value| f64::from((value - max).exp())).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use wheels_lm::ModelSpec;

    use super::*;

    #[test]
    fn the_first_of_equal_values_is_the_largest_of_a_row() {
        for size in [0, 1, 15, 16, 40] {
            let mut row: Vec<f32> = (0..size).map(|i| ((i * 7) % 5) as f32).collect();
            assert_eq!(largest_in(&row), largest(row.iter().copied()), "{size} values");
            row.fill(f32::NEG_INFINITY);
            assert_eq!(largest_in(&row), (0, f32::NEG_INFINITY), "{size} values");
        }
    }

    #[test]
    fn exponentials_are_as_exact_as_single_precision() {
        assert_eq!([0.0, -0.0, -88.0, f32::NEG_INFINITY].map(exp), [1.0, 1.0, 0.0, 0.0]);
        for step in 0..87_000 {
            let x = -0.001 * step as f32;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is wrong by {error:e}");
        }
    }

    fn vocabulary(size: usize, expert_tokens: &[u32], closed: &[u32]) -> Vocabulary {
        let spec = ModelSpec { vocab_size: size, d_model: size, pad: 0, eos: vec![1], max_positions: None };
        Vocabulary::new(&spec, expert_tokens.to_vec(), closed.to_vec())
    }

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6, "{left} is not {right}");
    }

    #[test]
    fn measures_equal_those_of_the_softmax() {
        let probs: [f64; 3] = [0.5, 0.125, 0.375];
        let mut logits = probs.map(|p| (p.ln() + 3.0) as f32);
        let distribution = Distribution::read(&mut logits, &vocabulary(3, &[], &[]), &[]).expect("finite logits");
        assert_eq!(distribution.best(), 0);
        close(distribution.max_prob(), 0.5);
        close(distribution.margin(), 0.125);
        close(distribution.entropy(), -probs.iter().map(|p| p * p.ln()).sum::<f64>());
        close(distribution.log_prob(2), 0.375_f64.ln());
        assert_eq!(distribution.help_log_odds(), f64::NEG_INFINITY);
    }

    #[test]
    fn help_tokens_are_not_part_of_the_distribution() {
        // Token 1 has an expert, and token 3 has none. Both have larger logits than every other token.
        let vocabulary = vocabulary(4, &[1], &[3]);
        let mut logits = [0.0, 5.0, 0.0, 9.0];
        let distribution = Distribution::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        assert_eq!(distribution.best(), 0);
        close(distribution.max_prob(), 0.5);
        close(distribution.margin(), 0.0);
        close(distribution.entropy(), 2.0_f64.ln());
        close(distribution.help_log_odds(), 5.0 - 2.0_f64.ln());
    }

    #[test]
    fn log_odds_cover_all_experts_and_the_most_likely_one_is_asked() {
        let mut logits = [0.0, 1.0, 2.0];
        let distribution = Distribution::read(&mut logits, &vocabulary(3, &[1, 2], &[]), &[]).expect("finite logits");
        assert_eq!(distribution.expert(), 1);
        close(distribution.help_log_odds(), (1.0_f64.exp() + 2.0_f64.exp()).ln());
    }

    #[test]
    fn without_help_logits_the_first_expert_is_asked() {
        let mut logits = [0.0, 1.0];
        let distribution = Distribution::read(&mut logits, &vocabulary(2, &[2, 3], &[]), &[]).expect("finite logits");
        assert_eq!((distribution.expert(), distribution.best()), (0, 1));
        assert_eq!(distribution.help_log_odds(), f64::NEG_INFINITY);
    }

    #[test]
    fn nan_and_infinite_logits_are_rejected() {
        let vocabulary = vocabulary(3, &[2], &[]);
        for bad in [[0.0, f32::NAN, 0.0], [0.0, 0.0, f32::NAN], [0.0, f32::INFINITY, 0.0]] {
            assert!(Distribution::read(&mut bad.clone(), &vocabulary, &[]).is_none(), "{bad:?}");
        }
        let mut nothing = [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0];
        assert!(Distribution::read(&mut nothing, &vocabulary, &[]).is_none());
        assert!(Distribution::read(&mut [0.0, 0.0, f32::INFINITY], &vocabulary, &[]).is_none(), "a help logit");
    }

    #[test]
    fn a_forced_first_token_is_the_only_one_and_leaves_no_wish_for_help() {
        let vocabulary = vocabulary(4, &[3], &[]).with_forced_bos(Some(2));
        let distribution = Distribution::read(&mut [5.0, 1.0, -4.0, 9.0], &vocabulary, &[])
            .map(|first| (first.best(), first.help_log_odds(), first.log_prob(2)));
        assert_eq!(distribution, Some((2, f64::NEG_INFINITY, 0.0)));
        let mut logits = [5.0, 1.0, -4.0, 2.0];
        let later = Distribution::read(&mut logits, &vocabulary, &[2]).expect("finite logits");
        assert_eq!(later.best(), 0);
    }

    #[test]
    fn ties_go_to_the_lowest_id() {
        let mut logits = [1.0, 2.0, 2.0];
        assert_eq!(Distribution::read(&mut logits, &vocabulary(3, &[], &[]), &[]).expect("finite logits").best(), 1);
    }
}
