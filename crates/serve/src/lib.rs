//! A server for a small language model that asks a larger one for help within a budget.
//!
//! It speaks the API of OpenAI (`/v1/completions`, `/v1/chat/completions`, `/v1/models`), so that its clients work. A
//! request can state a budget: `"budget": "20%"`, or `"8 tokens"`. The answer counts the tokens of the student and of
//! the teacher apart. Texts with different budgets are decoded together; new ones begin as soon as a row is free. A page
//! at `/` shows the tokens as they come.
//!
//! [`Server::bind`] takes a [`Served`] model and a [`ServerConfig`]. The README of the crate documents the API.
//!
//! It serves one model, or one pair, on one machine. It does not encrypt: put a reverse proxy with TLS in front of it
//! before it listens to a network.
//!
//! ```
//! use training_wheels::prelude::*;
//! use wheels_serve::{Served, Server, ServerConfig};
//!
//! # use wheels_embedded::TRANSLATION;
//! let device = device::open(&"cpu".parse()?)?.device;
//! let pair = training_wheels::Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &device)?;
//! let config = ServerConfig { listen: ([127, 0, 0, 1], 0).into(), ..ServerConfig::default() };
//! let server = Server::bind(Served::pair(pair), config)?;
//! println!("http://{}", server.address());
//! # let stop = async {};
//! server.run_until(stop)?; // or `server.run()`, which stops at Ctrl-C
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod api;
mod api_key;
mod budget;
mod config;
mod engine;
mod error;
mod metrics;
mod prompter;
mod served;
mod server;

pub use api_key::ApiKey;
pub use config::ServerConfig;
pub use error::ServeError;
pub use served::Served;
pub use server::Server;
