//! Decoding with help: a small language model writes, asks a larger one where it is unsure, and keeps to a budget.
//!
//! A [`Policy`] is a student: a model, a [`Sampler`], and a rule for [`Asking`]. A [`HelpDesk`] knows who answers: a
//! [`Teacher`], or any [`Expert`]. A [`BudgetedDecoder`] lets the one write and the other answer, while a
//! [`BudgetLedger`] for each text closes the desk once the budget is spent. What comes out is a [`Trajectory`] for
//! each prompt, which says of every token who chose it, and [`DecodeStats`], which say what it took.
//!
//! One loop carries it all. A text may grow while a model looks away; whoever looks again reads what is new to it in
//! one forward. The student looks at every step and the teacher only when it is asked: they differ in nothing else.
//!
//! This crate sees token ids. It trains nothing, loads nothing, prints nothing, and does not know what the words mean.
//!
//! ```
//! use burn::tensor::Device;
//! use wheels_decode::{Asking, BudgetedDecoder, Decoder, HelpDesk, Measure, Policy, Teacher};
//! use wheels_lm::TabularLm;
//! use wheels_text::{HelpBudget, Prompt, Seed};
//!
//! // Both follow a token by a row of a table, over the words 0 to 3; 1 ends a text and 4 calls the teacher.
//! let device = Device::flex();
//! let unsure = [0.0, 0.0, 0.5, 0.4, 0.0];
//! let student = TabularLm::from_logits(5, 1, unsure.repeat(5), &device);
//! let knows = [[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]];
//! let teacher = TabularLm::from_logits(4, 1, knows.concat(), &device);
//!
//! let rule = Asking::Confidence { measure: Measure::MaxProb, threshold: 0.5 };
//! let desk = HelpDesk::new().with(4, Teacher::new(&teacher));
//! let decoder = BudgetedDecoder::new(Policy::greedy(&student).asking(rule), desk).max_tokens(4);
//!
//! let prompt = |budget| Prompt { student: vec![1], expert: vec![1], budget };
//! let prompts = [prompt(HelpBudget::percent(100)), prompt(HelpBudget::tokens(1))];
//! let decoded = decoder.decode(&prompts, Seed(7))?;
//! assert_eq!(decoded.trajectories[0].tokens(), [3, 2, 0]); // the teacher's text, and its end
//! assert_eq!(decoded.trajectories[1].tokens(), [3, 2, 2, 2]); // the student's, after one token of help
//! assert_eq!((decoded.stats.help_asked, decoded.stats.help_given), (8, 5));
//! # Ok::<(), wheels_decode::DecodeError>(())
//! ```

mod asking;
mod batch;
mod budgeted;
mod calibrate;
mod calibration;
mod decoder;
mod desk;
mod error;
mod expert;
mod hindsight;
mod law;
mod ledger;
mod observer;
mod policy;
mod reader;
mod row;
mod sampling;
mod stats;
mod teacher;
mod trajectory;

pub use asking::{Asking, Measure};
pub use budgeted::BudgetedDecoder;
pub use calibrate::{Bisection, threshold_for_rate};
pub use calibration::{BadCalibration, Calibration, Point};
pub use decoder::{Decoded, Decoder};
pub use desk::HelpDesk;
pub use error::DecodeError;
pub use expert::{Advice, Case, Consultation, Expert, Question, Standard};
pub use hindsight::{Hindsight, Judgement};
pub use law::{Law, Vocabulary};
pub use ledger::{BudgetLedger, Enforcement};
pub use observer::Observer;
pub use policy::{Policy, Side};
pub use sampling::{Sampler, Word, WordLaw};
pub use stats::{DecodeStats, ModelUse};
pub use teacher::Teacher;
pub use trajectory::{Action, End, Source, Step, Trajectory};
