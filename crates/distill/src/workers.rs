//! Threads that compute side by side.

use crate::DistillError;

/// So many threads, each with one core of its own.
///
/// Most operations of the CPU backend use one core, and two halves of a step side by side use two. What a worker
/// computes does not depend on how many there are, and results keep their order.
#[derive(Debug)]
pub struct Workers {
    pools: Vec<rayon::ThreadPool>,
}

impl Workers {
    /// `count` workers, at least one.
    ///
    /// # Errors
    /// [`DistillError::Workers`] where the system gives no more threads.
    pub fn new(count: usize) -> Result<Self, DistillError> {
        let workers = count.max(1);
        let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pools = (0..workers).map(pool).collect::<Result<_, _>>();
        Ok(Self { pools: pools.map_err(|source| DistillError::Workers { workers, source })? })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pools.len()
    }

    /// Cuts `items` into one share for each worker, and gives the results in the order of the shares.
    pub fn share<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
        let share = items.len().div_ceil(self.pools.len()).max(1);
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = items
                .chunks(share)
                .zip(&self.pools)
                .map(|(items, pool)| scope.spawn(move || pool.install(|| work(items))))
                .collect();
            let result = |thread: std::thread::ScopedJoinHandle<'_, R>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(result).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let workers = Workers::new(3).expect("three threads");
        let sums = workers.share(&[1, 2, 3, 4, 5, 6, 7], |items| items.to_vec());
        assert_eq!(sums.concat(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(sums.len(), 3);
        assert!(workers.share(&[], |items: &[u8]| items.len()).is_empty());
    }
}
