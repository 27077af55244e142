//! The times between repetitions.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest time before a repetition, unless the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The repetitions that are left, with longer and longer times between them.
pub(crate) struct Backoff {
    wait: Duration,
    left: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, retries: u32) -> Self {
        Self { wait: first, left: retries }
    }

    /// The time before the next repetition: the one that the server `asked` for, or else a random time from a half of the
    /// current time to all of it. None if no repetition is left.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let wait = self.wait.min(LONGEST_WAIT);
        self.wait = wait * 2;
        Some(asked.unwrap_or_else(|| wait.mul_f64(1.0 - 0.5 * random())))
    }
}

/// A random number from 0 to 1. It changes no result, so it needs no seed.
fn random() -> f64 {
    // The standard library draws new random keys for each hasher.
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_within_random_halves_and_end() {
        let mut backoff = Backoff::new(Duration::from_secs(1), 3);
        for longest in [1.0, 2.0, 4.0] {
            let wait = backoff.next(None).expect("a repetition").as_secs_f64();
            assert!((longest / 2.0..=longest).contains(&wait), "{wait} s of {longest}");
        }
        assert_eq!(backoff.next(None), None);
    }

    #[test]
    fn the_time_that_a_server_asks_for_comes_first() {
        let mut backoff = Backoff::new(Duration::from_secs(1), 1);
        assert_eq!(backoff.next(Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
    }

    #[test]
    fn random_numbers_differ() {
        let numbers: Vec<f64> = (0..20).map(|_| random()).collect();
        assert!(numbers.windows(2).any(|pair| pair[0] != pair[1]));
        assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
    }
}
