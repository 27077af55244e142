//! The progress bar of work between the steps of a run.

use std::time::Duration;

use indicatif::ProgressBar;
use training_wheels::distill::WorkProgress;

use super::console;

/// A bar for one kind of work after the other.
#[derive(Default)]
pub(crate) struct WorkBar(Option<ProgressBar>);

impl WorkBar {
    /// Shows the progress. The bar vanishes with the end of the work.
    pub(crate) fn show(&mut self, progress: WorkProgress) {
        let WorkProgress { work, done, total } = progress;
        if done == total {
            self.0.take().into_iter().for_each(|bar| bar.finish_and_clear());
            return;
        }
        let bar = self.0.get_or_insert_with(|| {
            let bar = console::bar(Some(total as u64), "{msg} {bar:30} {pos}/{len} {elapsed}<{eta}").with_message(work);
            // A part can take minutes.
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        bar.set_position(done as u64);
    }
}
