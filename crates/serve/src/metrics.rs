//! What is counted, for Prometheus.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::engine::Author;

/// The numbers of a server.
pub(crate) struct Metrics {
    registry: Registry,
    /// Answered requests, by path and status.
    pub(crate) requests: IntCounterVec,
    /// The time from a request to the end of its answer, seconds.
    pub(crate) seconds: Histogram,
    /// Tokens of answers, by author.
    tokens: IntCounterVec,
    pub(crate) calls: IntCounter,
    pub(crate) failures: IntCounter,
    /// Texts that ended, by the reason.
    texts: IntCounterVec,
    pub(crate) running: IntGauge,
    pub(crate) waiting: IntGauge,
    pub(crate) restarts: IntCounter,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Stop,
    Length,
    Cancelled,
    TimedOut,
    Failed,
}

/// The bounds of the histogram of times, seconds.
const BUCKETS: [f64; 11] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0];

impl Metrics {
    /// # Errors
    /// If a name is invalid or used twice.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let by = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let seconds = HistogramOpts::new("wheels_request_seconds", "Time from a request to the end of its answer.");
        let metrics = Self {
            registry: Registry::new(),
            requests: by("wheels_requests_total", "Answered requests.", &["path", "status"])?,
            seconds: Histogram::with_opts(seconds.buckets(BUCKETS.to_vec()))?,
            tokens: by("wheels_tokens_total", "Tokens of answers.", &["author"])?,
            calls: IntCounter::new("wheels_teacher_calls_total", "Answers of the teacher.")?,
            failures: IntCounter::new("wheels_teacher_failures_total", "Calls of the teacher that failed.")?,
            texts: by("wheels_texts_total", "Texts that ended.", &["end"])?,
            running: IntGauge::new("wheels_running_texts", "Texts that are being decoded.")?,
            waiting: IntGauge::new("wheels_waiting_texts", "Texts that wait for a row.")?,
            restarts: IntCounter::new(
                "wheels_restarts_total",
                "Failures of a model, after which decoding began again.",
            )?,
        };
        for author in ["student", "teacher"] {
            metrics.tokens.with_label_values(&[author]);
        }
        let Self { registry, requests, seconds, tokens, calls, failures, texts, running, waiting, restarts } = &metrics;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(tokens.clone()))?;
        registry.register(Box::new(calls.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(texts.clone()))?;
        registry.register(Box::new(running.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(restarts.clone()))?;
        Ok(metrics)
    }

    /// Counts a token of an answer.
    pub(crate) fn wrote(&self, author: Author) {
        let author = match author {
            Author::Student => "student",
            Author::Teacher => "teacher",
        };
        self.tokens.with_label_values(&[author]).inc();
    }

    /// Counts a text that ended.
    pub(crate) fn ended(&self, ending: Ending) {
        let end = match ending {
            Ending::Stop => "stop",
            Ending::Length => "length",
            Ending::Cancelled => "cancelled",
            Ending::TimedOut => "timed_out",
            Ending::Failed => "failed",
        };
        self.texts.with_label_values(&[end]).inc();
    }

    /// All numbers, in the text format of Prometheus.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
