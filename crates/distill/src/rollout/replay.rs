//! The replay buffer: rollouts that are used more than once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Rollout;

/// The latest rollouts, up to a size in bytes.
#[derive(Clone, Debug)]
pub(crate) struct ReplayBuffer {
    rollouts: VecDeque<Arc<Rollout>>,
    max_bytes: usize,
}

impl ReplayBuffer {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { rollouts: VecDeque::new(), max_bytes }
    }

    /// Adds a rollout, and drops the oldest ones while they exceed the size. The newest one always stays.
    pub(crate) fn push(&mut self, rollout: Arc<Rollout>) {
        self.rollouts.push_back(rollout);
        while self.rollouts.len() > 1 && self.bytes() > self.max_bytes {
            self.rollouts.pop_front();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rollouts.len()
    }

    pub(crate) fn get(&self, index: usize) -> &Arc<Rollout> {
        &self.rollouts[index]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Rollout>> {
        self.rollouts.iter()
    }

    fn bytes(&self) -> usize {
        self.rollouts.iter().map(|rollout| rollout.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use wheels_text::{HelpBudget, Prompt};

    use super::super::RolloutRow;
    use super::*;

    fn rollout(id: u32) -> Rollout {
        let row = RolloutRow {
            prompt: Prompt { student: vec![id; 10], expert: vec![id; 5], budget: HelpBudget::percent(20) },
            tokens: vec![id; 10],
            helped: vec![false; 10],
            budget: 0.2,
            price: 0.0,
            deployed: true,
            ended: true,
        };
        Rollout::new(vec![row], vec![id])
    }

    #[test]
    fn the_oldest_rollouts_are_dropped_first() {
        let mut buffer = ReplayBuffer::new(250);
        for id in 0..4 {
            buffer.push(rollout(id).into());
        }
        assert_eq!((buffer.len(), buffer.bytes()), (2, 200));
        assert_eq!(**buffer.get(0), rollout(2));
        let mut small = ReplayBuffer::new(1);
        small.push(rollout(7).into());
        assert_eq!(small.len(), 1, "the newest always stays");
    }

    #[test]
    fn rollouts_round_trip_through_json() {
        let json = serde_json::to_string(&rollout(3)).expect("ids are JSON");
        assert_eq!(serde_json::from_str::<Rollout>(&json).expect("JSON is ids"), rollout(3));
    }
}
