//! The thread that owns the models: it decodes all texts of all requests, and sends each client its own.

mod job;
mod log_probs;
mod queue;
#[cfg(test)]
mod tests;
mod transcript;
mod writer;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use training_wheels::decode::{BudgetedDecoder, DecodeError, Distribution, NewText, Observer, Step};
use training_wheels::device::DriverPanic;
use wheels_decode::DecodeSession;

pub(crate) use job::{Author, End, Event, Failure, Job, JobOptions, Piece, ScoredToken, Usage};
pub(crate) use queue::{Phase, Queue, Refused};

use crate::metrics::{Ending, Metrics};
use crate::{Served, ServerConfig};
use writer::Writer;

/// The texts that are being decoded, by their indices in the session.
type Writers<'m> = BTreeMap<usize, Writer<'m>>;

/// Decodes what comes through a queue.
pub(crate) struct Engine {
    served: Served,
    config: ServerConfig,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// # Errors
    /// If the models and their settings do not fit together.
    pub(crate) fn new(
        served: Served,
        config: ServerConfig,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DecodeError> {
        let decoder = served.decoder(&config);
        decoder.session(&decoder.vocabulary()?)?;
        drop(decoder);
        Ok(Self { served, config, queue, metrics })
    }

    /// Decodes until the queue is closed and all texts are written, or until it is cut.
    ///
    /// If a model fails or panics, the texts that are being decoded fail, and a new session begins.
    pub(crate) fn run(&self) {
        let decoder = self.served.decoder(&self.config);
        loop {
            let mut writers = Writers::new();
            let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(&decoder, &mut writers)));
            let reason = match decoded {
                Ok(Ok(())) => return,
                Ok(Err(error)) => training_wheels::report(&error),
                Err(panic) => format!("panic: {}", DriverPanic::new(panic.as_ref()).message),
            };
            log::error!("decoding failed, and {} texts with it: {reason}", writers.len());
            self.metrics.restarts.inc();
            for (_, writer) in writers {
                writer.fail(Failure::Model(reason.clone()));
                self.metrics.ended(Ending::Failed);
            }
            self.metrics.running.set(0);
        }
    }

    /// Decodes in one session.
    fn decode<'s>(&'s self, decoder: &BudgetedDecoder<'_>, writers: &mut Writers<'s>) -> Result<(), DecodeError> {
        let vocabulary = decoder.vocabulary()?;
        let mut session = decoder.session(&vocabulary)?;
        loop {
            self.leave(&mut session, writers);
            self.metrics.running.set(writers.len() as i64);
            let arrived = match session.is_idle() {
                true => self.queue.wait(session.room()),
                false => Some(self.queue.take(session.room())),
            };
            let Some(arrived) = arrived else { return Ok(()) };
            self.begin(arrived, &mut session, writers);
            self.metrics.running.set(writers.len() as i64);
            for (index, trajectory) in session.round(&mut Listener(writers))? {
                if let Some(writer) = writers.remove(&index) {
                    self.metrics.ended(writer.end(&trajectory));
                }
            }
        }
    }

    /// Ends texts whose clients have left, whose time is over, or that reached a stop text.
    fn leave(&self, session: &mut DecodeSession<'_>, writers: &mut Writers<'_>) {
        let now = Instant::now();
        let cut = self.queue.phase() == Phase::Cut;
        for (index, writer) in writers.extract_if(.., |_, writer| cut || writer.is_over(now)) {
            let trajectory = session.cancel(index);
            let failures = trajectory.map_or(0, |trajectory| trajectory.failures.len());
            self.metrics.ended(if cut { writer.fail(Failure::Stopping) } else { writer.leave(failures) });
        }
    }

    /// Begins texts. One that the session refuses fails alone.
    fn begin<'s>(&'s self, arrived: Vec<Job>, session: &mut DecodeSession<'_>, writers: &mut Writers<'s>) {
        let mut ready = Vec::with_capacity(arrived.len());
        for job in arrived {
            match Writer::new(job, &self.served, &self.metrics) {
                Ok(writer) => ready.push(writer),
                Err(ending) => self.metrics.ended(ending),
            }
        }
        if ready.is_empty() {
            return;
        }
        let texts: Vec<NewText<'_>> = ready.iter().map(Writer::text).collect();
        match session.add(&texts) {
            Ok(indices) => writers.extend(indices.zip(ready)),
            Err(_) => {
                for writer in ready {
                    match session.add(&[writer.text()]) {
                        Ok(indices) => writers.extend(indices.zip([writer])),
                        Err(error) => {
                            let reason = training_wheels::report(&error);
                            log::error!("a text cannot begin: {reason}");
                            self.metrics.ended(writer.fail(Failure::Model(reason)));
                        }
                    }
                }
            }
        }
    }
}

/// Gives each step to its text.
struct Listener<'l, 'm>(&'l mut Writers<'m>);

impl Observer for Listener<'_, '_> {
    fn distribution(&mut self, row: usize, distribution: &Distribution<'_>) {
        if let Some(writer) = self.0.get_mut(&row) {
            writer.see(distribution);
        }
    }

    fn rolled_back(&mut self, row: usize, length: usize) {
        if let Some(writer) = self.0.get_mut(&row) {
            writer.roll_back(length);
        }
    }

    fn step(&mut self, row: usize, step: &Step) {
        if let Some(writer) = self.0.get_mut(&row) {
            writer.push(step);
        }
    }
}
