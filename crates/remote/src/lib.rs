//! A teacher behind an OpenAI-compatible HTTP server, such as vLLM, SGLang, llama.cpp or a paid API: it helps a student that
//! runs here, and it writes texts and log-probs for training.
//!
//! [`RemoteTeacher`] is an [`Expert`](wheels_decode::Expert). It sends a text to the server when the student asks, and the
//! answer brings one token or several. With the student's tokenizer at the server, token ids go back and forth, so that the
//! texts are those of a local teacher, and the server's log-probs verify the student's tokens. With another tokenizer, text
//! goes back and forth.
//!
//! A server can be slow, dead or wrong at any time. Then the student finishes its text alone, and the trajectory says why.
//! A [`SpendingCap`] bounds what all calls together use.
//!
//! This crate has no server, and it keeps no key: the API key stays in an environment variable.
//!
//! # Example
//!
//! ```no_run
//! use wheels_decode::{BudgetUnit, BudgetedDecoder, Decoder, Experts, Policy};
//! use wheels_remote::{RemoteConfig, RemoteTeacher, SpendingCap};
//! use wheels_text::{HelpBudget, PromptTemplate, Seed, Tokenizer};
//! # fn student() -> wheels_lm::TabularLm { unimplemented!() }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (student, tokenizer) = (student(), Tokenizer::from_dir("student")?);
//! let config = RemoteConfig::new("http://localhost:8000/v1".into(), "Qwen/Qwen2.5-7B-Instruct".into())
//!     .with_span(4)
//!     .with_cap(SpendingCap::new().with_tokens(Some(1_000_000)));
//! let teacher = RemoteTeacher::connect(config, &tokenizer)?;
//!
//! let experts = Experts::new().with(tokenizer.help_token("teacher")?, &teacher);
//! let decoder = BudgetedDecoder::new(Policy::greedy(&student), experts).with_budget_unit(BudgetUnit::Calls);
//! let prompt = PromptTemplate::default().prompt(&tokenizer, "A fast web browser.", HelpBudget::percent(20))?;
//! let text = &decoder.decode(&[prompt], Seed(7))?.trajectories[0];
//! println!("{} {:?}, {:?}", tokenizer.decode(&text.tokens())?, text.failures, teacher.spending());
//! # Ok(())
//! # }
//! ```

mod api_key;
mod ask;
mod client;
mod concurrently;
mod config;
mod error;
mod features;
mod outage;
mod probe;
mod retry;
mod score;
mod session;
mod spending;
mod teacher;
mod text_exchange;
mod texts;
mod token_names;
mod token_reply;
mod wire;

pub use config::{RemoteConfig, SpendingCap, TokenPrices};
pub use error::RemoteError;
pub use features::{ChatContinuation, RemoteApi, ServerFeatures, TextLogProbs, TokenExchange};
pub use spending::Spending;
pub use teacher::{RemotePrompt, RemoteTeacher};
