//! How often a request is repeated.

use std::thread;
use std::time::Duration;

use crate::HubError;

/// The first and the longest time before a request is repeated.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// The repetitions that are left, with longer and longer times between them.
pub(crate) struct Patience {
    left: u32,
    wait: Duration,
}

impl Patience {
    pub(crate) fn new(retries: u32) -> Self {
        Self { left: retries, wait: FIRST_WAIT }
    }

    /// Waits before the file is requested again, if the error may be temporary.
    ///
    /// # Errors
    /// The error, if it is not temporary or no repetition is left.
    pub(crate) fn wait(&mut self, error: HubError, file: &str) -> Result<(), HubError> {
        if !error.is_temporary() || self.left == 0 {
            return Err(error);
        }
        log::warn!("cannot fetch {file} ({}): trying again in {} ms", error.cause(), self.wait.as_millis());
        thread::sleep(self.wait);
        self.left -= 1;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }
}
