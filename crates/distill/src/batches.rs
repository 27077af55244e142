//! From pairs of token ids to batches of like lengths, in an order that a seed decides.

use std::fmt;

use rand::seq::SliceRandom;
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
    /// What the decoder is to write, `[batch, time]`; its input is the same behind the start of the row.
    pub targets: TokenBatch,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bookmark {
    position: Position,
    pairs: usize,
    batch_tokens: usize,
    seed: Seed,
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pairs in batches of {} tokens, seed {}", self.pairs, self.batch_tokens, self.seed.0)
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
    seed: Seed,
    position: Position,
    epoch: Vec<Vec<u32>>,
}

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
        let mut batches = Self { pairs, batch_tokens, pad, seed, position: Position::default(), epoch: vec![] };
        batches.seek(Position::default());
        Ok(batches)
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
        let Self { position, batch_tokens, seed, .. } = *self;
        Bookmark { position, pairs: self.pairs.len(), batch_tokens, seed }
    }

    /// The pairs of the next batch, by index.
    pub(crate) fn next_indices(&mut self) -> Vec<u32> {
        if self.position.batch == self.epoch.len() {
            self.seek(Position { epoch: self.position.epoch + 1, batch: 0 });
        }
        self.position.batch += 1;
        self.epoch[self.position.batch - 1].clone()
    }
}

impl Iterator for Batches<'_> {
    type Item = TrainingBatch;

    fn next(&mut self) -> Option<TrainingBatch> {
        let pairs: Vec<&Pair> = self.next_indices().into_iter().map(|index| &self.pairs[index as usize]).collect();
        let rows = |of: fn(&Pair) -> &[u32]| pairs.iter().map(|pair| of(pair)).collect::<Vec<_>>();
        Some(TrainingBatch {
            prompts: TokenBatch::new(&rows(|pair| &pair.source), self.pad),
            targets: TokenBatch::new(&rows(|pair| &pair.target), self.pad),
            guidance: None,
        })
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
    fn bad_data_is_refused() {
        assert!(matches!(Batches::new(&[], 40, 0, Seed(1)), Err(DistillError::NoData)));
        assert!(matches!(
            Batches::new(&pairs(), 10, 0, Seed(1)),
            Err(DistillError::LongPair { index: 5, tokens: 12, limit: 10 })
        ));
    }
}
