//! From pairs of token ids to batches of like lengths, in an order that a seed decides.

use std::fmt;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wheels_lm::TokenBatch;
use wheels_text::Seed;

use crate::{DistillError, Guidance, Lessons, Workers};

/// A source and its target, as token ids; each ends with the end of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What the model reads.
    pub source: Vec<u32>,
    /// What it is to write.
    pub target: Vec<u32>,
}

/// One micro-batch.
#[derive(Clone, Debug)]
pub struct TrainingBatch {
    /// What the encoder reads, `[batch, source]`.
    pub prompts: TokenBatch,
    /// What the decoder is to write, `[batch, time]`.
    pub targets: TokenBatch,
    /// What the decoder reads behind the start of each row, but for the last token, where that is not the targets.
    pub read: Option<TokenBatch>,
    /// What the teacher says of it; none in supervised training.
    pub guidance: Option<Guidance>,
}

/// Where a run stands in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) batch: usize,
}

/// A position, and what makes it mean the same batches again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bookmark {
    position: Position,
    pairs: usize,
    batch_tokens: usize,
    #[serde(default)]
    noise: f64,
    seed: Seed,
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, batch_tokens, noise, seed: Seed(seed), .. } = self;
        write!(f, "{pairs} pairs in batches of {batch_tokens} tokens, noise {noise}, seed {seed}")
    }
}

/// An endless stream of micro-batches: every epoch holds every pair once, in another order.
///
/// Pairs are shuffled, sorted by length within large windows so that a batch holds few pads, packed up to a number of
/// tokens, and the batches are shuffled again.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    pairs: &'a [Pair],
    batch_tokens: usize,
    pad: u32,
    noise: f64,
    seed: Seed,
    position: Position,
    epoch: Vec<Vec<u32>>,
}

/// One side of a pair.
type Side = fn(&Pair) -> &[u32];

/// Pairs in a window that is sorted by length.
const WINDOW: usize = 8192;

impl<'a> Batches<'a> {
    /// # Errors
    /// [`DistillError::NoData`] without pairs, [`DistillError::LongPair`] where one pair does not fit a batch.
    pub fn new(pairs: &'a [Pair], batch_tokens: usize, pad: u32, seed: Seed) -> Result<Self, DistillError> {
        if pairs.is_empty() {
            return Err(DistillError::NoData);
        }
        let tokens = |pair: &Pair| pair.source.len() + pair.target.len();
        if let Some(index) = pairs.iter().position(|pair| tokens(pair) > batch_tokens) {
            return Err(DistillError::LongPair { index, tokens: tokens(&pairs[index]), limit: batch_tokens });
        }
        let position = Position::default();
        let mut batches = Self { pairs, batch_tokens, pad, noise: 0.0, seed, position, epoch: vec![] };
        batches.seek(position);
        Ok(batches)
    }

    /// The same batches with unigram noise (Xie et al. 2017, arXiv 1703.02573): each token that the model reads, on both
    /// sides, is with probability `noise` another, drawn from the data; what it is to write stays. End marks stay, too.
    ///
    /// A model that cannot trust what stands before leans on its source, and does less harm to itself when it has written
    /// something wrong.
    ///
    /// # Panics
    /// If `noise` is no probability.
    #[must_use]
    pub fn with_noise(self, noise: f64) -> Self {
        assert!((0.0..=1.0).contains(&noise), "noise of {noise} is no probability");
        Self { noise, ..self }
    }

    pub(crate) fn seek(&mut self, position: Position) {
        self.epoch = self.plan(position.epoch);
        self.position = position;
    }

    /// The number of batches in the current epoch.
    pub fn batches_in_epoch(&self) -> usize {
        self.epoch.len()
    }

    /// The batches of an epoch, as indices of pairs.
    fn plan(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut rng = self.seed.stream("batches").nth(epoch).rng();
        let mut order: Vec<u32> = (0..self.pairs.len() as u32).collect();
        order.shuffle(&mut rng);
        let lengths = |index: u32| {
            let pair = &self.pairs[index as usize];
            (pair.target.len(), pair.source.len())
        };
        let mut batches = Vec::new();
        for window in order.chunks_mut(WINDOW) {
            window.sort_by_key(|&index| lengths(index));
            let (mut batch, mut width): (Vec<u32>, _) = (Vec::new(), (0, 0));
            for &index in window.iter() {
                let (target, source) = lengths(index);
                let grown = (width.0.max(target), width.1.max(source));
                if (batch.len() + 1) * (grown.0 + grown.1) > self.batch_tokens {
                    batches.push(std::mem::take(&mut batch));
                    width = (target, source);
                } else {
                    width = grown;
                }
                batch.push(index);
            }
            batches.push(batch);
        }
        batches.shuffle(&mut rng);
        batches
    }
}

impl Batches<'_> {
    fn bookmark(&self) -> Bookmark {
        let Self { position, batch_tokens, noise, seed, .. } = *self;
        Bookmark { position, pairs: self.pairs.len(), batch_tokens, noise, seed }
    }

    /// The pairs of the next batch, by index.
    pub(crate) fn next_indices(&mut self) -> Vec<u32> {
        if self.position.batch == self.epoch.len() {
            self.seek(Position { epoch: self.position.epoch + 1, batch: 0 });
        }
        self.position.batch += 1;
        self.epoch[self.position.batch - 1].clone()
    }

    /// A text of the data with noise; its last token stays.
    fn noisy(&self, text: &[u32], of: Side, rng: &mut impl Rng) -> Vec<u32> {
        let mut noisy = text.to_vec();
        let words = text.len().saturating_sub(1);
        for token in &mut noisy[..words] {
            if rng.random::<f64>() < self.noise {
                let other = of(&self.pairs[rng.random_range(0..self.pairs.len())]);
                *token = other[rng.random_range(0..other.len().saturating_sub(1).max(1))];
            }
        }
        noisy
    }
}

impl Iterator for Batches<'_> {
    type Item = TrainingBatch;

    fn next(&mut self) -> Option<TrainingBatch> {
        let pairs: Vec<&Pair> = self.next_indices().into_iter().map(|index| &self.pairs[index as usize]).collect();
        let plain = |of: Side| TokenBatch::new(&pairs.iter().map(|pair| of(pair)).collect::<Vec<_>>(), self.pad);
        let (sources, targets): (Side, Side) = (|pair| &pair.source, |pair| &pair.target);
        let (prompts, read) = if self.noise > 0.0 {
            let Position { epoch, batch } = self.position;
            let mut rng = self.seed.stream("noise").nth(epoch).nth(batch as u64).rng();
            let mut noisy = |of: Side| {
                let rows: Vec<_> = pairs.iter().map(|pair| self.noisy(of(pair), of, &mut rng)).collect();
                TokenBatch::new(&rows, self.pad)
            };
            (noisy(sources), Some(noisy(targets)))
        } else {
            (plain(sources), None)
        };
        Some(TrainingBatch { prompts, targets: plain(targets), read, guidance: None })
    }
}

/// Supervised lessons: whatever the model.
impl<M> Lessons<M> for Batches<'_> {
    fn next_batches(&mut self, _: &M, count: usize, _: &Workers) -> Result<Vec<TrainingBatch>, DistillError> {
        Ok(self.by_ref().take(count).collect())
    }

    fn place(&self) -> String {
        format!("epoch {}, batch {}", self.position.epoch, self.position.batch)
    }

    fn state(&self) -> serde_json::Value {
        serde_json::to_value(self.bookmark()).expect("numbers are JSON")
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), String> {
        let saved: Bookmark = serde_json::from_value(state).map_err(|error| error.to_string())?;
        let here = Bookmark { position: saved.position, ..self.bookmark() };
        if saved != here {
            return Err(format!("its data were {saved}, these are {here}"));
        }
        self.seek(saved.position);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Vec<Pair> {
        (0..50).map(|i| Pair { source: vec![5; 1 + i % 7], target: vec![i as u32; 1 + i % 11] }).collect()
    }

    #[test]
    fn an_epoch_holds_every_pair_once_within_the_limit() {
        let pairs = pairs();
        let mut batches = Batches::new(&pairs, 40, 0, Seed(1)).expect("the pairs fit");
        let mut seen = Vec::new();
        for batch in batches.clone().take(batches.batches_in_epoch()) {
            assert!(batch.targets.rows() * (batch.targets.width() + batch.prompts.width()) <= 40);
            seen.extend((0..batch.targets.rows()).map(|row| batch.targets.row(row)[0]));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
        let count = batches.batches_in_epoch();
        let first: Vec<_> = batches.by_ref().take(count).collect();
        let next = batches.next().expect("endless");
        assert_ne!(first[0].targets, next.targets, "the next epoch has another order");
    }

    #[test]
    fn a_sought_position_continues_the_same_stream() {
        let pairs = pairs();
        let mut whole = Batches::new(&pairs, 40, 0, Seed(1)).expect("the pairs fit");
        whole.by_ref().take(30).for_each(drop);
        let mut resumed = Batches::new(&pairs, 40, 0, Seed(1)).expect("the pairs fit");
        resumed.seek(whole.position);
        let other = Batches::new(&pairs, 39, 0, Seed(1)).expect("the pairs fit");
        let refused = Lessons::<()>::restore(&mut { other }, Lessons::<()>::state(&whole)).expect_err("other batches");
        assert!(refused.contains("of 40 tokens") && refused.contains("of 39 tokens"), "{refused}");
        let targets = |batches: Batches<'_>| batches.take(40).map(|batch| batch.targets).collect::<Vec<_>>();
        assert_eq!(targets(whole), targets(resumed));
    }

    #[test]
    fn noise_changes_what_is_read_and_not_what_is_written() {
        let pairs: Vec<Pair> = (0..50).map(|i| Pair { source: vec![i; 9], target: vec![100 + i; 9] }).collect();
        let plain: Vec<_> = Batches::new(&pairs, 90, 0, Seed(1)).expect("the pairs fit").take(40).collect();
        let noisy = || Batches::new(&pairs, 90, 0, Seed(1)).expect("the pairs fit").with_noise(0.25).take(40);
        let (mut changed, mut tokens) = ([0, 0], 0);
        for (plain, noisy) in plain.iter().zip(noisy()) {
            assert_eq!(plain.targets, noisy.targets);
            let read = noisy.read.expect("noise");
            for row in 0..read.rows() {
                for (side, clean, noisy) in
                    [(0, plain.prompts.row(row), noisy.prompts.row(row)), (1, plain.targets.row(row), read.row(row))]
                {
                    assert_eq!(clean.last(), noisy.last());
                    changed[side] += clean.iter().zip(noisy).filter(|(clean, noisy)| clean != noisy).count();
                    assert!(noisy.iter().all(|&id| (id >= 100) == (side == 1)), "noise comes from the same side");
                }
                tokens += 8;
            }
        }
        // One in fifty draws is the token itself; five standard deviations of a count are about 85.
        let expected = 0.25 * 0.98 * tokens as f64;
        assert!(changed.iter().all(|&count| (count as f64 - expected).abs() < 85.0), "{changed:?} of {tokens}");
        let read = |batch: TrainingBatch| (batch.prompts, batch.read);
        assert!(noisy().map(read).eq(noisy().map(read)), "the same noise again");
    }

    #[test]
    fn bad_data_is_refused() {
        assert!(matches!(Batches::new(&[], 40, 0, Seed(1)), Err(DistillError::NoData)));
        assert!(matches!(
            Batches::new(&pairs(), 10, 0, Seed(1)),
            Err(DistillError::LongPair { index: 5, tokens: 12, limit: 10 })
        ));
    }
}
