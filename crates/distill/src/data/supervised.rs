//! Supervised batches: pairs of similar length, in an order that depends on a seed.

use std::borrow::Cow;

use burn::module::Module;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wheels_lm::TokenBatch;
use wheels_student::Student;
use wheels_text::Seed;

use super::{BatchSource, TokenPair, TokenPairs, TrainingBatch};
use crate::objective::Requirements;
use crate::{BatchShape, DistillError, Workers};

/// The position of a run in its data: the index of the epoch, and of the next batch in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) batch: usize,
}

/// A position, and the settings that decide which batches follow it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bookmark {
    position: Position,
    pairs: usize,
    /// A hash of the lengths of all pairs, so that other data are noticed. None in files of earlier versions.
    #[serde(default)]
    lengths: Option<u64>,
    batch_tokens: usize,
    #[serde(default)]
    noise: f64,
    seed: Seed,
}

impl Bookmark {
    /// The settings in words.
    fn settings(&self) -> [String; 4] {
        let Self { pairs, batch_tokens, noise, seed: Seed(seed), .. } = self;
        [
            format!("{pairs} pairs"),
            format!("batches of {batch_tokens} tokens"),
            format!("noise {noise}"),
            format!("seed {seed}"),
        ]
    }

    /// What differs between this run, which is saved, and another one.
    fn difference(&self, here: &Self) -> String {
        let (mut saved, mut asked) = (Vec::new(), Vec::new());
        for (there, here) in self.settings().into_iter().zip(here.settings()) {
            if there != here {
                saved.push(there);
                asked.push(here);
            }
        }
        format!("it has {}, and this run has {}", saved.join(", "), asked.join(", "))
    }
}

/// An endless stream of supervised micro-batches. Every epoch has every pair once, in a new order.
///
/// An epoch is made in four steps. Pairs are shuffled, then sorted by length within large windows so that batches have
/// little padding. They are packed up to a number of tokens, and the batches are shuffled.
#[derive(Clone)]
pub struct SupervisedBatches<'a> {
    pairs: &'a dyn TokenPairs,
    lengths: u64,
    batch_tokens: usize,
    pad: u32,
    noise: f64,
    seed: Seed,
    position: Position,
    epoch: Vec<Vec<u32>>,
}

/// A function that returns the source or the target of a pair.
type PairSide = fn(&TokenPair) -> &[u32];

/// The number of pairs that are sorted by length together.
const WINDOW: usize = 8192;

impl<'a> SupervisedBatches<'a> {
    /// Batches of at most `batch_tokens` source and target tokens, padding included.
    ///
    /// # Errors
    /// [`DistillError::NoData`] if there are no pairs, and [`DistillError::LongPair`] if one pair does not fit a batch.
    pub fn new(pairs: &'a dyn TokenPairs, batch_tokens: usize, pad: u32, seed: Seed) -> Result<Self, DistillError> {
        if pairs.count() == 0 {
            return Err(DistillError::NoData);
        }
        // Seeds are mixed well enough to serve as a hash.
        let mut hash = Seed(0);
        for index in 0..pairs.count() {
            let (source, target) = pairs.lengths(index);
            if source + target > batch_tokens {
                return Err(DistillError::LongPair { index, tokens: source + target, limit: batch_tokens });
            }
            hash = hash.nth(source as u64).nth(target as u64);
        }
        let (position, lengths) = (Position::default(), hash.0);
        let mut batches = Self { pairs, lengths, batch_tokens, pad, noise: 0.0, seed, position, epoch: vec![] };
        batches.seek(position);
        Ok(batches)
    }

    /// The same batches with unigram noise (Xie et al. 2017, arXiv 1703.02573). Each token that the model reads, in the
    /// source and in the decoder's input, is replaced with probability `noise` by a random token of the data. Targets
    /// and end-of-text tokens do not change.
    ///
    /// The noise makes the last tokens of a text less reliable, so that the model relies more on the source. Its own
    /// mistakes then do less harm.
    ///
    /// # Panics
    /// If `noise` is not a probability.
    #[must_use]
    pub fn with_noise(self, noise: f64) -> Self {
        assert!((0.0..=1.0).contains(&noise), "a noise of {noise} is not a probability");
        Self { noise, ..self }
    }

    pub(crate) fn seek(&mut self, position: Position) {
        self.epoch = self.plan(position.epoch);
        self.position = position;
    }

    /// The sizes of the batches in the current epoch.
    pub fn shapes(&self) -> Vec<BatchShape> {
        let shape = |batch: &Vec<u32>| {
            let lengths = batch.iter().map(|&index| self.pairs.lengths(index as usize));
            let (source, target) = lengths.fold((0, 0), |(s, t), (source, target)| (s.max(source), t.max(target)));
            BatchShape { rows: batch.len(), source, target }
        };
        self.epoch.iter().map(shape).collect()
    }

    /// The number of batches in the current epoch.
    pub fn batches_in_epoch(&self) -> usize {
        self.epoch.len()
    }

    /// The batches of an epoch, each as the indices of its pairs.
    fn plan(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut rng = self.seed.stream("batches").nth(epoch).rng();
        let mut order: Vec<u32> = (0..self.pairs.count() as u32).collect();
        order.shuffle(&mut rng);
        let mut batches = Vec::new();
        for window in order.chunks_mut(WINDOW) {
            batches.extend(pack(self.pairs, window, self.batch_tokens));
        }
        batches.shuffle(&mut rng);
        batches
    }
}

/// Sorts some pairs by length, so that batches have little padding, and packs them into batches of at most `batch_tokens`
/// source and target tokens, padding included. A longer pair is a batch of its own.
pub(crate) fn pack(pairs: &dyn TokenPairs, indices: &mut [u32], batch_tokens: usize) -> Vec<Vec<u32>> {
    let lengths = |index: u32| {
        let (source, target) = pairs.lengths(index as usize);
        (target, source)
    };
    indices.sort_by_key(|&index| lengths(index));
    let mut batches = Vec::new();
    let (mut batch, mut width): (Vec<u32>, _) = (Vec::new(), (0, 0));
    for &index in indices.iter() {
        let (target, source) = lengths(index);
        let grown = (width.0.max(target), width.1.max(source));
        if !batch.is_empty() && (batch.len() + 1) * (grown.0 + grown.1) > batch_tokens {
            batches.push(std::mem::take(&mut batch));
            width = (target, source);
        } else {
            width = grown;
        }
        batch.push(index);
    }
    batches.push(batch);
    batches
}

impl SupervisedBatches<'_> {
    fn bookmark(&self) -> Bookmark {
        let Self { position, lengths, batch_tokens, noise, seed, .. } = *self;
        Bookmark { position, pairs: self.pairs.count(), lengths: Some(lengths), batch_tokens, noise, seed }
    }

    /// The indices of the pairs in the next batch.
    pub(crate) fn next_indices(&mut self) -> Vec<u32> {
        if self.position.batch == self.epoch.len() {
            self.seek(Position { epoch: self.position.epoch + 1, batch: 0 });
        }
        self.position.batch += 1;
        self.epoch[self.position.batch - 1].clone()
    }

    pub(crate) fn position_name(&self) -> String {
        format!("epoch {}, batch {}", self.position.epoch, self.position.batch)
    }

    pub(crate) fn saved_state(&self) -> serde_json::Value {
        serde_json::to_value(self.bookmark()).expect("numbers are JSON")
    }

    /// Restores a [`saved_state`](Self::saved_state).
    ///
    /// # Errors
    /// [`DistillError::SourceState`] if the number of pairs or a setting differs.
    pub(crate) fn restore_state(&mut self, state: serde_json::Value) -> Result<(), DistillError> {
        let saved: Bookmark = serde_json::from_value(state).map_err(|error| DistillError::SourceState {
            reason: format!("its data are those of another kind of training ({error})"),
        })?;
        let here = Bookmark { position: saved.position, ..self.bookmark() };
        if saved.lengths.is_some_and(|lengths| lengths != self.lengths) && saved.pairs == here.pairs {
            let reason = "its pairs have other lengths than those of this run".into();
            return Err(DistillError::SourceState { reason });
        }
        if saved != (Bookmark { lengths: saved.lengths, ..here }) {
            return Err(DistillError::SourceState { reason: saved.difference(&here) });
        }
        self.seek(saved.position);
        Ok(())
    }

    /// The texts of one side with noise. The last token of each text does not change.
    fn noisy(&self, texts: &[&[u32]], side: PairSide, rng: &mut impl Rng) -> Result<TokenBatch, DistillError> {
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            let mut row = text.to_vec();
            let before_last = row.len().saturating_sub(1);
            for token in &mut row[..before_last] {
                if rng.random::<f64>() < self.noise {
                    let other = self.pairs.pair(rng.random_range(0..self.pairs.count()))?;
                    let other = side(&other);
                    *token = other[rng.random_range(0..other.len().saturating_sub(1).max(1))];
                }
            }
            rows.push(row);
        }
        Ok(TokenBatch::new(&rows, self.pad))
    }

    /// The next batch.
    fn next_batch(&mut self) -> Result<TrainingBatch, DistillError> {
        let mut pairs: Vec<Cow<'_, TokenPair>> = Vec::new();
        for index in self.next_indices() {
            pairs.push(self.pairs.pair(index as usize)?);
        }
        let sources: Vec<&[u32]> = pairs.iter().map(|pair| pair.source.as_slice()).collect();
        let targets: Vec<&[u32]> = pairs.iter().map(|pair| pair.target.as_slice()).collect();
        let (prompts, decoder_inputs) = if self.noise > 0.0 {
            let Position { epoch, batch } = self.position;
            let mut rng = self.seed.stream("noise").nth(epoch).nth(batch as u64).rng();
            let prompts = self.noisy(&sources, |pair| &pair.source, &mut rng)?;
            (prompts, Some(self.noisy(&targets, |pair| &pair.target, &mut rng)?))
        } else {
            (TokenBatch::new(&sources, self.pad), None)
        };
        Ok(TrainingBatch { prompts, targets: TokenBatch::new(&targets, self.pad), decoder_inputs, teacher: None })
    }
}

impl<M: Module> BatchSource<M> for SupervisedBatches<'_> {
    fn provides(&self) -> Requirements {
        Requirements::default()
    }

    fn next_batches(&mut self, _: &Student<M>, count: usize, _: &Workers) -> Result<Vec<TrainingBatch>, DistillError> {
        (0..count).map(|_| self.next_batch()).collect()
    }

    fn position(&self) -> String {
        self.position_name()
    }

    fn state(&self) -> serde_json::Value {
        self.saved_state()
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), DistillError> {
        self.restore_state(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Vec<TokenPair> {
        (0..50).map(|i| TokenPair { source: vec![5; 1 + i % 7], target: vec![i as u32; 1 + i % 11] }).collect()
    }

    fn take(batches: &mut SupervisedBatches<'_>, count: usize) -> Vec<TrainingBatch> {
        (0..count).map(|_| batches.next_batch().expect("pairs in memory")).collect()
    }

    #[test]
    fn an_epoch_holds_every_pair_once_within_the_token_limit() {
        let pairs = pairs();
        let mut batches = SupervisedBatches::new(&pairs, 40, 0, Seed(1)).expect("the pairs fit");
        let mut seen = Vec::new();
        for batch in take(&mut batches.clone(), batches.batches_in_epoch()) {
            assert!(batch.targets.rows() * (batch.targets.width() + batch.prompts.width()) <= 40);
            seen.extend((0..batch.targets.rows()).map(|row| batch.targets.row(row)[0]));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
        let count = batches.batches_in_epoch();
        let first = take(&mut batches, count);
        let next = batches.next_batch().expect("pairs in memory");
        assert_ne!(first[0].targets, next.targets, "the next epoch has another order");
    }

    #[test]
    fn a_restored_position_continues_the_same_stream() {
        let pairs = pairs();
        let mut whole = SupervisedBatches::new(&pairs, 40, 0, Seed(1)).expect("the pairs fit");
        take(&mut whole, 30);
        let mut resumed = SupervisedBatches::new(&pairs, 40, 0, Seed(1)).expect("the pairs fit");
        resumed.seek(whole.position);
        let mut other = SupervisedBatches::new(&pairs, 39, 0, Seed(1)).expect("the pairs fit");
        let refused = other.restore_state(whole.saved_state()).expect_err("other batches").to_string();
        assert!(refused.contains("of 40 tokens") && refused.contains("of 39 tokens"), "{refused}");
        let targets = |batches| take(batches, 40).into_iter().map(|batch| batch.targets).collect::<Vec<_>>();
        assert_eq!(targets(&mut whole), targets(&mut resumed));
    }

    #[test]
    fn noise_changes_what_the_model_reads_and_not_its_targets() {
        let pairs: Vec<TokenPair> =
            (0..50).map(|i| TokenPair { source: vec![i; 9], target: vec![100 + i; 9] }).collect();
        let batches = SupervisedBatches::new(&pairs, 90, 0, Seed(1)).expect("the pairs fit");
        let plain = take(&mut batches.clone(), 40);
        let noisy = || take(&mut batches.clone().with_noise(0.25), 40).into_iter();
        let (mut changed, mut tokens) = ([0, 0], 0);
        for (plain, noisy) in plain.iter().zip(noisy()) {
            assert_eq!(plain.targets, noisy.targets);
            let read = noisy.decoder_inputs.expect("noise");
            for row in 0..read.rows() {
                for (side, clean, noisy) in
                    [(0, plain.prompts.row(row), noisy.prompts.row(row)), (1, plain.targets.row(row), read.row(row))]
                {
                    assert_eq!(clean.last(), noisy.last());
                    changed[side] += clean.iter().zip(noisy).filter(|(before, after)| before != after).count();
                    assert!(noisy.iter().all(|&id| (id >= 100) == (side == 1)), "noise comes from the same side");
                }
                tokens += 8;
            }
        }
        // One in fifty random tokens equals the token that it replaces. Five standard deviations are about 85.
        let expected = 0.25 * 0.98 * tokens as f64;
        assert!(changed.iter().all(|&count| (count as f64 - expected).abs() < 85.0), "{changed:?} of {tokens}");
        let read = |batch: TrainingBatch| (batch.prompts, batch.decoder_inputs);
        assert!(noisy().map(read).eq(noisy().map(read)), "the same noise again");
    }

    #[test]
    fn missing_and_too_long_pairs_are_rejected() {
        assert!(matches!(SupervisedBatches::new(&vec![], 40, 0, Seed(1)), Err(DistillError::NoData)));
        assert!(matches!(
            SupervisedBatches::new(&pairs(), 10, 0, Seed(1)),
            Err(DistillError::LongPair { index: 5, tokens: 12, limit: 10 })
        ));
    }
}
