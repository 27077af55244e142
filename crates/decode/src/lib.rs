//! Decoding with help within a budget: a small language model, the student, writes a text and asks a larger one, the
//! teacher, for tokens when it is unsure.
//!
//! A [`Policy`] is a model, a [`Sampler`], and a [`HelpRule`] that decides when to ask. [`Experts`] answer: a
//! [`Teacher`], or any other [`Expert`]. A [`BudgetedDecoder`] runs a policy with its experts on a batch of prompts.
//! Each text has a ledger that counts the tokens that experts chose, and that allows help only while the budget has
//! room. The result is one [`Trajectory`] for each prompt, which records who chose each token, and [`DecodeStats`],
//! which count the work.
//!
//! The same loop serves plain decoding, help, and speculative decoding. The student reads its text at every step. The
//! teacher reads only when it is asked, and then catches up on all new tokens in one forward pass. With a
//! [`Verification`], the teacher also checks these tokens. If it does not accept one, the text is rolled back to the
//! position of that token.
//!
//! Many texts are decoded together. Two settings decide which ones, and change no text: texts that want help can wait until
//! enough of them do ([`BudgetedDecoder::with_help_batch`]), and new texts can take the place of finished ones
//! ([`BudgetedDecoder::with_refill`]). In a [`DecodeSession`], texts arrive while others are decoded, and can be cancelled.
//!
//! This crate works on token ids only. It trains nothing, loads nothing and prints nothing.
//!
//! # Example
//!
//! Both models are tables of logits here, from the feature `testing` of `wheels-lm`, so that the texts can be checked
//! by hand:
//!
//! ```
//! use burn::tensor::Device;
//! use wheels_decode::{BudgetedDecoder, Confidence, Decoder, Experts, Policy, Teacher};
//! use wheels_lm::TabularLm;
//! use wheels_text::{HelpBudget, Prompt, Seed};
//!
//! // Row i of a table has the logits of the token after token i. The tokens are 0 to 3. Token 1 ends a text, and
//! // token 4 is the help token.
//! let device = Device::flex();
//! let unsure = [0.0, 0.0, 0.5, 0.4, 0.0];
//! let student = TabularLm::from_logits(5, 1, unsure.repeat(5), &device);
//! let sure = [[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]];
//! let teacher = TabularLm::from_logits(4, 1, sure.concat(), &device);
//!
//! let policy = Policy::greedy(&student).with_help_rule(Confidence::MaxProb.below(0.5));
//! let experts = Experts::new().with(4, Teacher::new(&teacher));
//! let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(4);
//!
//! let prompt = |budget| Prompt { student: vec![1], expert: vec![1], budget };
//! let prompts = [prompt(HelpBudget::percent(100)), prompt(HelpBudget::tokens(1))];
//! let decoded = decoder.decode(&prompts, Seed(7))?;
//! assert_eq!(decoded.trajectories[0].tokens(), [3, 2, 0]); // the teacher's text; the fourth token is the end
//! assert_eq!(decoded.trajectories[1].tokens(), [3, 2, 2, 2]); // one token of help, then the student's text
//! assert_eq!((decoded.stats.help_asked, decoded.stats.help_given), (8, 5));
//! # Ok::<(), wheels_decode::DecodeError>(())
//! ```
//!
//! # Models of your own
//!
//! Any [`LanguageModel`](wheels_lm::LanguageModel) can be the student or the teacher. The model of this example counts:
//! a prompt holds a step and a number to start from. The model keeps the step of each row as its own state in the
//! [`Context`](wheels_lm::Context). In the example it decodes as student and as teacher, and then it scores the text 5
//! 6 7:
//!
//! ```
//! use burn::tensor::{Device, Tensor, activation::log_softmax};
//! use wheels_decode::{BudgetedDecoder, Decoder, Experts, HelpRule, Policy, Teacher};
//! use wheels_lm::{Context, Hidden, LanguageModel, ModelSpec, ModelState, Positions, TokenBatch};
//! use wheels_text::{HelpBudget, Prompt, Seed};
//! #[derive(Debug)] struct Steps(Vec<u32>);
//! impl ModelState for Steps {
//!     fn select_rows(&mut self, rows: &[usize]) { self.0 = rows.iter().map(|&row| self.0[row]).collect(); }
//!     fn truncate(&mut self, _row: usize, _length: usize) {} // a rollback does not change the step
//! }
//! struct CountUp(ModelSpec);
//! impl LanguageModel for CountUp {
//!     fn spec(&self) -> &ModelSpec { &self.0 }
//!     fn device(&self) -> Device { Device::flex() }
//!     fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
//!         let (steps, starts) = (0..prompts.rows()).map(|row| (prompts.row(row)[0], prompts.row(row)[1])).unzip();
//!         let mut context = Context::new(starts, capacity > 0);
//!         context.insert(Steps(steps));
//!         context
//!     }
//!     fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions, context: &mut Context) -> Hidden {
//!         let Steps(steps) = context.state().expect("prefill has stored the steps");
//!         let steps: Vec<u32> = rows.iter().map(|&row| steps[row]).collect();
//!         let next = tokens.tensor(&self.device()) + TokenBatch::column(&steps).tensor(&self.device());
//!         context.extend(rows, tokens);
//!         Hidden::new(positions.select(next.remainder_scalar(9).one_hot::<3>(9).float(), tokens.lengths()))
//!     }
//!     fn head(&self, hidden: &Hidden) -> Tensor<2> { hidden.states() * 9.0 }
//! }
//!
//! let model = CountUp(ModelSpec { vocab_size: 9, d_model: 9, pad: 0, eos: vec![1], max_positions: None });
//! let policy = Policy::greedy(&model).with_help_rule(HelpRule::Always);
//! let decoder = BudgetedDecoder::new(policy, Experts::new().with(9, Teacher::new(&model))).with_max_new_tokens(4);
//! let prompt = Prompt { student: vec![1, 2], expert: vec![3, 2], budget: HelpBudget::tokens(1) };
//! assert_eq!(decoder.decode(&[prompt], Seed(7))?.trajectories[0].tokens(), [5, 6, 7, 8]);
//!
//! let inputs = TokenBatch::new(&[[2, 5, 6]], 0); // the start token, and the text without its last token
//! let output = model.forward(&inputs, &mut model.prefill(&TokenBatch::new(&[[3, 2]], 0), 0));
//! let text = TokenBatch::new(&[[5, 6, 7]], 0).tensor(&model.device()).unsqueeze_dim::<3>(2);
//! let log_probs = log_softmax(output.logits, 2).gather(2, text).into_data(); // nats
//! assert!(log_probs.iter::<f32>().zip([0.0, -9.0, -9.0]).all(|(found, expected)| (found - expected).abs() < 0.01));
//! # Ok::<(), wheels_decode::DecodeError>(())
//! ```

mod batch;
mod budgeted_decoder;
mod calibration;
mod confidence;
mod cursor;
mod decoder;
mod device_rows;
mod distribution;
mod error;
mod expert;
mod experts;
mod help_forecast;
mod help_rule;
mod ledger;
mod observer;
mod policy;
mod readout;
mod sampler;
mod sequence;
mod session;
mod settings;
mod stated_budget;
mod stats;
mod teacher;
mod trajectory;
mod verification;
mod vocabulary;

pub use budgeted_decoder::BudgetedDecoder;
pub use calibration::{Calibration, CalibrationPoint, FoundThreshold, ThresholdSearch};
pub use confidence::Confidence;
pub use decoder::{Decoded, Decoder};
pub use distribution::Distribution;
pub use error::DecodeError;
pub use expert::{Acceptance, Expert, ExpertSession, HelpRequest, HelpResponse, RequestInfo};
pub use experts::Experts;
pub use help_forecast::{ForecastAccuracy, ForecastInput, HelpForecast};
pub use help_rule::HelpRule;
pub use ledger::{BudgetUnit, Enforcement};
pub use observer::Observer;
pub use policy::{Policy, PromptSide};
pub use readout::Readout;
pub use sampler::{Candidates, SampledToken, Sampler};
pub use session::{DecodeSession, NewText};
pub use stated_budget::StatedBudget;
pub use stats::{DecodeStats, ModelUse};
pub use teacher::Teacher;
pub use trajectory::{Action, End, FailureReason, HelpFailure, Source, Step, Trajectory};
pub use verification::{AcceptanceRule, Verification};
pub use vocabulary::Vocabulary;

/// Runs the code of the README as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
