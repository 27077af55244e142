//! Pauses after failures, so that a dead server costs its time once and not for every token.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wheels_decode::FailureReason;

use crate::RemoteError;

/// Whether a server may be called.
#[derive(Debug)]
pub(crate) struct Outage {
    cool_down: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pause: Option<Pause>,
    last_success: Option<Instant>,
    /// Whether the last call failed or its answer could not be used, and the log says so.
    is_failing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    /// None if it does not end.
    until: Option<Instant>,
    reason: FailureReason,
}

impl Outage {
    pub(crate) fn new(cool_down: Duration) -> Self {
        Self { cool_down, state: Mutex::default() }
    }

    /// Why the server may not be called now.
    pub(crate) fn reason(&self) -> Option<FailureReason> {
        let pause = self.lock().pause?;
        pause.until.is_none_or(|until| Instant::now() < until).then_some(pause.reason)
    }

    /// Records the end of a call. A server that answers is not paused, even if its answer cannot be used.
    pub(crate) fn record(&self, started: Instant, error: Option<&RemoteError>) {
        let mut state = self.lock();
        let Some(error) = error else {
            state.last_success = Some(Instant::now());
            state.pause = None;
            return;
        };
        let others_succeed = state.last_success.is_some_and(|success| success > started);
        if error.is_lasting() {
            state.pause = Some(Pause { until: None, reason: error.reason() });
        } else if error.may_pass() && !others_succeed {
            let until = Some(Instant::now() + error.retry_after().unwrap_or(self.cool_down));
            state.pause = Some(Pause { until, reason: error.reason() });
        }
    }

    /// Logs what came of a call. The first failure after a success is a warning, and others are not: a text has many tokens.
    pub(crate) fn report(&self, server: &str, error: Option<&RemoteError>) {
        let was_failing = mem::replace(&mut self.lock().is_failing, error.is_some());
        let Some(error) = error else {
            if was_failing {
                log::info!("{server} answers again");
            }
            return;
        };
        let level = if was_failing { log::Level::Debug } else { log::Level::Warn };
        let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
        log::log!(level, "the remote teacher failed, and texts that ask are finished without it: {error}{cause}");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(retry_after: Option<Duration>) -> RemoteError {
        RemoteError::RateLimited { server: "s".into(), status: 429, retry_after }
    }

    #[test]
    fn a_server_that_failed_is_not_called_for_a_while() {
        let outage = Outage::new(Duration::from_millis(20));
        outage.record(Instant::now(), Some(&error(None)));
        assert_eq!(outage.reason(), Some(FailureReason::RateLimited));
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(outage.reason(), None);
        outage.record(Instant::now(), Some(&error(Some(Duration::from_secs(9)))));
        assert!(outage.reason().is_some());
        outage.record(Instant::now(), None);
        assert_eq!(outage.reason(), None);
    }

    #[test]
    fn one_slow_call_among_others_that_succeed_is_no_outage() {
        let outage = Outage::new(Duration::from_secs(9));
        let started = Instant::now();
        outage.record(started, None);
        let slow = RemoteError::TimedOut { server: "s".into(), seconds: 1.0 };
        outage.record(started, Some(&slow));
        assert_eq!(outage.reason(), None);
    }

    #[test]
    fn a_refused_key_is_refused_for_good() {
        let outage = Outage::new(Duration::ZERO);
        let refused = RemoteError::NoAccess { server: "s".into(), status: 401, variable: None };
        outage.record(Instant::now(), Some(&refused));
        assert_eq!(outage.reason(), Some(FailureReason::Refused));
    }
}
