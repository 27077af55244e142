//! Work shared with rayon's threads, for callers that cannot wait for a thread to wake up.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

/// Cuts `0..count` into at most `threads` ranges, and returns what `part` makes of each, in order.
///
/// The calling thread takes the first range, and then every other one that no thread has begun. Waking a thread of rayon's
/// pool can take longer than the work itself; then the caller has done it meanwhile.
pub(crate) fn in_parallel<T: Send + 'static>(
    count: usize,
    threads: usize,
    part: Arc<impl Fn(Range<usize>) -> T + Send + Sync + 'static>,
) -> Vec<T> {
    // Whole tiles of eight, so that only the last range has a rest.
    let size = count.div_ceil(threads).next_multiple_of(8).max(8);
    let ranges = (0..count).step_by(size).map(|start| start..count.min(start + size));
    let mut others = Vec::with_capacity(threads);
    for range in ranges.clone().skip(1) {
        let begun = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = sync_channel(1);
        let job = (Arc::clone(&begun), Arc::clone(&part), range.clone());
        rayon::spawn(move || {
            let (begun, part, range) = job;
            if !begun.swap(true, Ordering::AcqRel) {
                // If the caller has panicked meanwhile, nobody receives the result.
                let _ = sender.send(part(range));
            }
        });
        others.push((begun, receiver, range));
    }
    let mut results: Vec<T> = ranges.take(1).map(|range| part(range)).collect();
    for (begun, receiver, range) in others {
        results.push(match begun.swap(true, Ordering::AcqRel) {
            false => part(range),
            true => receiver.recv().expect("a part that has begun does not panic"),
        });
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_one_part_and_parts_are_in_order() {
        for (count, threads) in [(0, 3), (1, 2), (8, 2), (17, 2), (100, 7)] {
            let parts = in_parallel(count, threads, Arc::new(|range: Range<usize>| range.collect::<Vec<_>>()));
            assert!(parts.len() <= threads, "{count} by {threads}");
            assert_eq!(parts.concat(), (0..count).collect::<Vec<_>>());
        }
    }
}
