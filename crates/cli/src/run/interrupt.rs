//! Ctrl-C in a long run: a training stops after its step with a checkpoint, and each run says how to go on.

use std::path::Path;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::exit::INTERRUPTED;
use crate::run::RUN_FILE;
use crate::screen::console;

const CALIBRATION_WAITS: &str =
    "stopped; the trained student is saved, and the same command goes on with the calibration";

/// Whether the run is asked to stop after its step.
static STOP: AtomicBool = AtomicBool::new(false);

/// The [`Phase`] of the run.
static PHASE: AtomicU8 = AtomicU8::new(Phase::Start as u8);

/// What a run is doing. A program has some of these phases.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// It reads its models and its data.
    Start,
    Training,
    /// Its model is saved.
    Calibration,
    /// Each output is saved when its texts are decoded.
    Evaluation,
    /// What is written goes into a file, part by part.
    Writing,
    /// A server hears the signal too, and lets running texts end.
    Serving,
    /// An answer of a chat is written.
    Answering,
}

/// Handles Ctrl-C from here on.
pub(crate) fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        let in_phase = |phase: Phase| PHASE.load(Ordering::SeqCst) == phase as u8;
        if in_phase(Phase::Training) && !STOP.swap(true, Ordering::SeqCst) {
            console::say(format_args!(
                "stopping after this step; Ctrl-C again stops at once and loses the steps since the last checkpoint"
            ));
            return;
        }
        if in_phase(Phase::Serving) && !STOP.swap(true, Ordering::SeqCst) {
            console::say(format_args!("stopping when the running texts end; Ctrl-C again stops at once"));
            return;
        }
        if in_phase(Phase::Answering) && !STOP.swap(true, Ordering::SeqCst) {
            // Mostly the answer stops at once. A call of a teacher behind a server is waited for.
            return;
        }
        console::clear();
        console::reset_colours();
        if in_phase(Phase::Training) {
            console::say(format_args!("stopped; the same command goes on from the last checkpoint, if there is one"));
        } else if in_phase(Phase::Calibration) {
            console::say(format_args!("{CALIBRATION_WAITS}"));
        } else if in_phase(Phase::Evaluation) {
            console::say(format_args!("stopped; the same command goes on with the outputs that are decoded"));
        } else if in_phase(Phase::Writing) {
            console::say(format_args!("stopped; the same command goes on after what is written"));
        }
        leave();
    })
}

/// Notes what the run does from now on. A run that was asked to stop after its last step ends here.
pub(crate) fn enter(phase: Phase) {
    let before = PHASE.swap(phase as u8, Ordering::SeqCst);
    if before != phase as u8 && stops() {
        console::say(format_args!("{CALIBRATION_WAITS}"));
        leave();
    }
}

/// Whether the run is asked to stop after its step, or an answer after its token.
pub(crate) fn stops() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Notes that an answer is being written, which Ctrl-C stops.
pub(crate) fn begin_answer() {
    STOP.store(false, Ordering::SeqCst);
    PHASE.store(Phase::Answering as u8, Ordering::SeqCst);
}

/// Notes that the answer has ended, and returns whether it was stopped. From here on, Ctrl-C ends the program again.
pub(crate) fn end_answer() -> bool {
    PHASE.store(Phase::Start as u8, Ordering::SeqCst);
    STOP.swap(false, Ordering::SeqCst)
}

/// Ends the program at Ctrl-C.
pub(crate) fn stop() -> ! {
    console::clear();
    leave()
}

/// Ends the program after a run that was stopped.
pub(crate) fn end(folder: &Path, step: usize, steps: usize) -> ! {
    let file = folder.join(RUN_FILE);
    console::say(format_args!("stopped after step {step} of {steps}; the command in {} goes on", file.display()));
    leave()
}

/// Threads that still compute on an NVIDIA GPU panic when the program exits, because the driver is gone before them. Nobody
/// needs to read that.
fn leave() -> ! {
    log::set_max_level(log::LevelFilter::Off);
    std::panic::set_hook(Box::new(|_| ()));
    exit(INTERRUPTED)
}
