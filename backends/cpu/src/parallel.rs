//! Helper threads for work of a few microseconds, which is less than the time to wake a thread.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a helper looks for more work before it sleeps. The pauses between the layers of a model are shorter.
const PATIENCE: Duration = Duration::from_micros(300);
/// Work that takes less time is not shared, nanoseconds.
const WORTH_SHARING: f64 = 15_000.0;
/// Work that takes less time does not wake a sleeping helper, nanoseconds.
const WORTH_WAKING: f64 = 100_000.0;

type Job = Box<dyn FnOnce() + Send>;

/// What a helper shares with its callers.
#[derive(Default)]
struct Shared {
    job: Mutex<Option<Job>>,
    has_job: AtomicBool,
    sleeps: AtomicBool,
}

struct Helper {
    shared: Arc<Shared>,
    thread: Thread,
}

/// One helper for each of rayon's threads but one, the caller.
static HELPERS: LazyLock<Vec<Helper>> = LazyLock::new(|| {
    let mut helpers = Vec::new();
    for _ in 1..rayon::current_num_threads() {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        // Without a helper the callers do all work themselves.
        if let Ok(handle) = thread::Builder::new().name("wheels-cpu".into()).spawn(move || help(&own)) {
            helpers.push(Helper { shared, thread: handle.thread().clone() });
        }
    }
    helpers
});

fn help(shared: &Shared) {
    let mut idle_since = Instant::now();
    loop {
        if shared.has_job.swap(false, Ordering::AcqRel) {
            let job = shared.job.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                job();
            }
            idle_since = Instant::now();
        } else if idle_since.elapsed() < PATIENCE {
            thread::yield_now();
        } else {
            shared.sleeps.store(true, Ordering::SeqCst);
            if !shared.has_job.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.sleeps.store(false, Ordering::SeqCst);
            idle_since = Instant::now();
        }
    }
}

impl Helper {
    /// Gives a job to the helper. A job that it has not taken yet is lost.
    fn give(&self, job: Job) {
        *self.shared.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
        self.shared.has_job.store(true, Ordering::SeqCst);
        if self.shared.sleeps.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

/// Cuts `0..count` into ranges, one for each thread that can help, and returns what `part` makes of each, in order. `nanos`
/// is about the time of the whole work by one thread, nanoseconds. All ranges but the last are multiples of `unit`.
///
/// A caller in a rayon pool of one thread gets no help.
///
/// The calling thread takes the first range, and then every other one that no helper has begun, so that it never waits for
/// a helper to wake up.
pub(crate) fn in_parallel<T: Send + 'static>(
    count: usize,
    unit: usize,
    nanos: f64,
    part: impl Fn(Range<usize>) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let can_help = |helper: &&Helper| nanos >= WORTH_WAKING || !helper.shared.sleeps.load(Ordering::Relaxed);
    // A caller in a rayon pool of one thread has one core; other callers use the others.
    let helpers: Vec<&Helper> = match nanos >= WORTH_SHARING && rayon::current_num_threads() > 1 {
        true => HELPERS.iter().filter(can_help).collect(),
        false => vec![],
    };
    let size = count.div_ceil(helpers.len() + 1).next_multiple_of(unit);
    if helpers.is_empty() || size >= count {
        return vec![part(0..count)];
    }
    let part = Arc::new(part);
    let mut others = Vec::with_capacity(helpers.len());
    for (start, helper) in (size..count).step_by(size).zip(helpers) {
        let range = start..count.min(start + size);
        let begun = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = sync_channel(1);
        let (job_begun, job_part, job_range) = (Arc::clone(&begun), Arc::clone(&part), range.clone());
        helper.give(Box::new(move || {
            if !job_begun.swap(true, Ordering::AcqRel) {
                // If the caller has panicked meanwhile, nobody receives the result.
                let _ = sender.send(job_part(job_range));
            }
        }));
        others.push((begun, receiver, range));
    }
    let mut results = vec![part(0..size)];
    for (begun, receiver, range) in others {
        let found = if begun.swap(true, Ordering::AcqRel) { wait(&receiver) } else { None };
        // A helper that panicked sends nothing; then the caller panics in the same way.
        results.push(found.unwrap_or_else(|| part(range)));
    }
    results
}

/// The result of a helper, which is about to be ready. Waiting awake is faster than to sleep and be woken. None if the helper
/// panicked.
fn wait<T>(receiver: &Receiver<T>) -> Option<T> {
    loop {
        match receiver.try_recv() {
            Ok(result) => return Some(result),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => thread::yield_now(),
        }
    }
}

/// The numbers of all parts, one part after the other.
pub(crate) fn joined(mut parts: Vec<Vec<f32>>) -> Vec<f32> {
    if parts.len() == 1 { parts.remove(0) } else { parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_one_part_and_parts_are_in_order() {
        for (count, unit) in [(0, 3), (1, 2), (8, 8), (17, 8), (100, 7)] {
            for nanos in [0.0, WORTH_SHARING, WORTH_WAKING] {
                let parts = in_parallel(count, unit, nanos, |range| range.collect::<Vec<_>>());
                assert_eq!(parts.concat(), (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn several_callers_get_their_own_results() {
        thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for round in 0..200 {
                        let sum = move |range: Range<usize>| range.map(|i| i * caller + round).sum::<usize>();
                        let parts = in_parallel(64, 8, WORTH_WAKING, sum);
                        assert_eq!(parts.iter().sum::<usize>(), sum(0..64));
                    }
                });
            }
        });
    }
}
