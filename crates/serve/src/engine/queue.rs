//! The texts that wait for a row.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::job::{Event, Failure, Job};

/// Texts that wait for a row, in the order of their arrival, and no more than a limit.
pub(crate) struct Queue {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    phase: Phase,
}

/// What a queue still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes new texts.
    Open,
    /// It takes no new texts; those that wait are still written.
    Closing,
    /// Nothing is written any more.
    Cut,
}

/// Why texts were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State { jobs: VecDeque::new(), phase: Phase::Open };
        Self { limit, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes all texts of a request, or none.
    pub(crate) fn push(&self, jobs: Vec<Job>) -> Result<(), Refused> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        if state.jobs.len() + jobs.len() > self.limit {
            state.drop_overdue();
        }
        if state.jobs.len() + jobs.len() > self.limit {
            return Err(Refused::Full);
        }
        state.jobs.extend(jobs);
        self.changed.notify_one();
        Ok(())
    }

    /// The next texts, at most `room`, without waiting for any.
    pub(crate) fn take(&self, room: usize) -> Vec<Job> {
        let mut state = self.state();
        state.drop_overdue();
        let count = room.min(state.jobs.len());
        state.jobs.drain(..count).collect()
    }

    /// The next texts, at most `room`, as soon as there are some. None if there will be no more.
    pub(crate) fn wait(&self, room: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        while state.jobs.is_empty() {
            if state.phase != Phase::Open {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        Some(self.take(room))
    }

    /// Goes on to a later phase. In [`Phase::Cut`], all texts that wait fail.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        if phase == Phase::Cut {
            for job in state.jobs.drain(..) {
                job.send(Event::Failed(Failure::Stopping));
            }
        }
        self.changed.notify_all();
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// The number of texts that wait.
    pub(crate) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the state is inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops texts whose client has left, and those that have waited for too long.
    fn drop_overdue(&mut self) {
        let now = Instant::now();
        self.jobs.retain(|job| {
            let overdue = job.deadline <= now;
            if overdue {
                job.send(Event::Failed(Failure::Overloaded));
            }
            !overdue && !job.is_abandoned()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::tests::{LONG, job};

    #[test]
    fn a_request_is_taken_whole_or_not_at_all() {
        let queue = Queue::new(3);
        let (jobs, _events): (Vec<Job>, Vec<_>) = (0..4).map(|_| job(1, LONG)).unzip();
        assert_eq!(queue.push(jobs), Err(Refused::Full));
        assert_eq!(queue.len(), 0);
        let (jobs, _events): (Vec<Job>, Vec<_>) = (0..3).map(|_| job(1, LONG)).unzip();
        assert_eq!(queue.push(jobs), Ok(()));
        assert_eq!(queue.push(vec![job(1, LONG).0]), Err(Refused::Full));
        assert_eq!(queue.take(2).len(), 2);
        assert_eq!(queue.wait(9).map(|jobs| jobs.len()), Some(1));
    }

    #[test]
    fn texts_that_nobody_waits_for_make_room() {
        let queue = Queue::new(2);
        let ((gone, events), (late, mut late_events)) = (job(1, LONG), job(1, Duration::ZERO));
        drop(events);
        queue.push(vec![gone, late]).expect("room");
        let (new, _events) = job(1, LONG);
        assert_eq!(queue.push(vec![new]), Ok(()));
        assert_eq!(queue.len(), 1);
        assert!(matches!(late_events.try_recv(), Ok((0, Event::Failed(Failure::Overloaded)))));
    }

    #[test]
    fn a_closing_queue_is_emptied_and_a_cut_one_fails_what_waits() {
        let queue = Queue::new(2);
        let ((first, _events), (second, mut events)) = (job(1, LONG), job(1, LONG));
        queue.push(vec![first, second]).expect("room");
        queue.enter(Phase::Closing);
        assert_eq!(queue.push(vec![job(1, LONG).0]), Err(Refused::Closed));
        assert_eq!(queue.wait(1).map(|jobs| jobs.len()), Some(1));
        queue.enter(Phase::Cut);
        assert!(queue.wait(1).is_none());
        assert!(matches!(events.try_recv(), Ok((0, Event::Failed(Failure::Stopping)))));
    }
}
