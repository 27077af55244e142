//! Several pieces of work at the same time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::RemoteError;

/// Does `work` on all items, at most `limit` at the same time, and returns the results in the order of the items.
pub(crate) fn concurrently<T: Sync, R: Send>(items: &[T], limit: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = items.len().min(limit);
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => done.push((index, work(item))),
                None => return done,
            }
        }
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|result| result.0);
    results.into_iter().map(|result| result.1).collect()
}

/// Does `work` that can fail on items, as [`concurrently`] does, but begins none after an error: the results would be lost.
///
/// # Errors
/// The first error in the order of the items. While a server is not called after a failure, later errors only say so, and
/// one that says more comes first.
pub(crate) fn try_concurrently<T: Sync, R: Send>(
    items: &[T],
    limit: usize,
    work: impl Fn(&T) -> Result<R, RemoteError> + Sync,
) -> Result<Vec<R>, RemoteError> {
    let failed = AtomicBool::new(false);
    let results = concurrently(items, limit, |item| {
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        let result = work(item);
        failed.fetch_or(result.is_err(), Ordering::Relaxed);
        Some(result)
    });
    let (mut values, mut outage) = (Vec::with_capacity(items.len()), None);
    for result in results.into_iter().flatten() {
        match result {
            Ok(value) => values.push(value),
            Err(error @ RemoteError::Outage { .. }) => outage = outage.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    outage.map_or(Ok(values), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use wheels_decode::FailureReason;

    use super::*;

    #[test]
    fn after_an_error_no_more_work_begins() {
        let items: Vec<usize> = (0..100).collect();
        for limit in [1, 3] {
            let begun = AtomicUsize::new(0);
            let result = try_concurrently(&items, limit, |&item| {
                begun.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
                match item {
                    4 => Err(RemoteError::SpendingCap { cap: "4 calls".into() }),
                    _ => Ok(item),
                }
            });
            assert!(matches!(result, Err(RemoteError::SpendingCap { .. })), "{result:?}");
            let begun = begun.into_inner();
            assert!(begun < items.len() && (limit > 1 || begun == 5), "{begun} with {limit} at a time");
        }
        let all = try_concurrently(&items, 3, |&item| Ok(item));
        assert!(matches!(&all, Ok(all) if *all == items), "{all:?}");
    }

    #[test]
    fn the_error_that_caused_a_pause_comes_before_those_that_only_report_it() {
        let together = Barrier::new(3);
        let result = try_concurrently(&[0, 1, 2], 3, |&item| -> Result<(), RemoteError> {
            together.wait();
            Err(match item {
                0 => RemoteError::Outage { server: "s".into(), reason: FailureReason::TimedOut },
                1 => RemoteError::TimedOut { server: "s".into(), seconds: 1.0 },
                _ => RemoteError::SpendingCap { cap: "4 calls".into() },
            })
        });
        assert!(matches!(result, Err(RemoteError::TimedOut { .. })), "{result:?}");
    }

    #[test]
    fn results_are_in_order_and_no_more_than_the_limit_run_together() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..20).collect();
        let results = concurrently(&items, 3, |item| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(2));
            running.fetch_sub(1, Ordering::SeqCst);
            item * 2
        });
        assert_eq!(results, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!((2..=3).contains(&most.into_inner()));
    }
}
