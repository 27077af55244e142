//! Threads that compute in parallel.

use crate::DistillError;

/// Threads that compute parts of a training step in parallel, each on one core.
///
/// Most operations of the CPU backend use only one core. The result of an item does not depend on the number of
/// workers, and results keep the order of the items.
#[derive(Debug)]
pub struct Workers {
    pools: Vec<rayon::ThreadPool>,
}

impl Workers {
    /// Starts `count` workers, but at least one.
    ///
    /// # Errors
    /// [`DistillError::Workers`] if the system has no more threads.
    pub fn new(count: usize) -> Result<Self, DistillError> {
        let workers = count.max(1);
        let mut pools = Vec::with_capacity(workers);
        for _ in 0..workers {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            pools.push(pool.map_err(|source| DistillError::Workers { workers, source })?);
        }
        Ok(Self { pools })
    }

    /// The number of workers.
    pub fn count(&self) -> usize {
        self.pools.len()
    }

    /// Splits `items` into one chunk for each worker, calls `work` on all chunks in parallel, and returns the results
    /// in the order of the chunks. There are fewer chunks if there are fewer items than workers.
    ///
    /// # Panics
    /// If `work` panics.
    pub fn map_chunks<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
        let size = items.len().div_ceil(self.pools.len()).max(1);
        let work = &work;
        std::thread::scope(|scope| {
            let mut threads = Vec::with_capacity(self.pools.len());
            for (chunk, pool) in items.chunks(size).zip(&self.pools) {
                threads.push(scope.spawn(move || pool.install(|| work(chunk))));
            }
            let mut results = Vec::with_capacity(threads.len());
            for thread in threads {
                results.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let workers = Workers::new(3).expect("three threads");
        let chunks = workers.map_chunks(&[1, 2, 3, 4, 5, 6, 7], |items| items.to_vec());
        assert_eq!(chunks.concat(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(chunks.len(), 3);
        assert!(workers.map_chunks(&[], |items: &[u8]| items.len()).is_empty());
    }
}
