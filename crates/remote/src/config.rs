//! Where a remote teacher is, and how it is called.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::{RemoteError, ServerFeatures};

/// Configuration of a [`RemoteTeacher`](crate::RemoteTeacher).
///
/// It has no secret: a key stays in the environment, and the configuration only names its variable. It can be saved.
#[derive(Config, Debug, PartialEq)]
pub struct RemoteConfig {
    /// The address up to the version of the API, such as `http://localhost:8000/v1`.
    pub base_url: String,
    /// The name of the model at the server.
    pub model: String,
    /// The environment variable with the API key, such as `OPENAI_API_KEY`. None if the server needs no key.
    #[config(default = "None")]
    pub api_key_env: Option<String>,
    /// Whether the key may be sent without encryption (`http://`) to another machine, which anyone on the way can read.
    #[config(default = false)]
    pub allow_key_over_http: bool,
    /// The largest number of tokens that one call brings. With
    /// [`BudgetUnit::Calls`](wheels_decode::BudgetUnit::Calls), a budget counts such calls.
    #[config(default = 1)]
    pub span: usize,
    /// The number of most likely tokens that are requested for each position. They show which token is the best one that
    /// the student may write. Servers have limits: OpenAI's is 5, and vLLM's 20.
    #[config(default = 5)]
    pub top_log_probs: usize,
    /// The largest number of requests at the same time.
    #[config(default = 8)]
    pub concurrency: usize,
    /// The longest time for a connection, seconds.
    #[config(default = 5.0)]
    pub connect_timeout_seconds: f64,
    /// The longest time for a whole call, seconds: all attempts, the waiting between them, and reading the answer.
    #[config(default = 60.0)]
    pub timeout_seconds: f64,
    /// How many times a call is repeated after an error that may pass.
    #[config(default = 3)]
    pub retries: u32,
    /// The time before the first repetition, seconds. It doubles each time, and a random part of up to a half is left
    /// out, so that many clients do not come back together. A server's `Retry-After` replaces it.
    #[config(default = 0.5)]
    pub backoff_seconds: f64,
    /// How long no call is made after one that failed in all its attempts, seconds. Texts that ask in this time are
    /// finished without the teacher at once.
    #[config(default = 30.0)]
    pub cool_down_seconds: f64,
    /// The largest answer that is read, bytes.
    #[config(default = 16_777_216)]
    pub max_reply_bytes: u64,
    /// The cap on what all calls together may use.
    #[config(default = "SpendingCap::new()")]
    pub cap: SpendingCap,
    /// The prices of tokens, for [`SpendingCap::money`].
    #[config(default = "None")]
    pub prices: Option<TokenPrices>,
    /// What the server can do. None to find out with a few small requests.
    #[config(default = "None")]
    pub features: Option<ServerFeatures>,
}

/// The most that all calls of a [`RemoteTeacher`](crate::RemoteTeacher) together may use. A call for which the rest might
/// not be enough is not made.
#[derive(Config, Debug, PartialEq, Copy)]
pub struct SpendingCap {
    /// The number of calls. Repetitions count.
    #[config(default = "None")]
    pub calls: Option<u64>,
    /// The number of tokens, of prompts and answers together.
    #[config(default = "None")]
    pub tokens: Option<u64>,
    /// The money, in the currency of [`TokenPrices`].
    #[config(default = "None")]
    pub money: Option<f64>,
}

/// What a server charges for a million tokens, in any currency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPrices {
    /// A million tokens of prompts.
    pub prompt: f64,
    /// A million tokens of answers.
    pub completion: f64,
}

impl TokenPrices {
    /// The price of some tokens.
    pub fn of(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (self.prompt * prompt_tokens as f64 + self.completion * completion_tokens as f64) / 1e6
    }
}

impl RemoteConfig {
    /// # Errors
    /// [`RemoteError::Setting`] with the first setting that is out of its range.
    pub(crate) fn check(&self) -> Result<(), RemoteError> {
        let wrong = |setting, value: String, supported| Err(RemoteError::Setting { setting, value, supported });
        for (setting, count) in [
            ("span", self.span as u64),
            ("concurrency", self.concurrency as u64),
            ("top_log_probs", self.top_log_probs as u64),
            ("max_reply_bytes", self.max_reply_bytes),
        ] {
            if count == 0 {
                return wrong(setting, count.to_string(), "1 or more");
            }
        }
        for (setting, seconds) in
            [("connect_timeout_seconds", self.connect_timeout_seconds), ("timeout_seconds", self.timeout_seconds)]
        {
            if !(0.001..=86_400.0).contains(&seconds) {
                return wrong(setting, seconds.to_string(), "from 0.001 to 86400");
            }
        }
        for (setting, seconds) in
            [("backoff_seconds", self.backoff_seconds), ("cool_down_seconds", self.cool_down_seconds)]
        {
            if !(0.0..=86_400.0).contains(&seconds) {
                return wrong(setting, seconds.to_string(), "from 0 to 86400");
            }
        }
        let money = self.cap.money;
        if money.is_some_and(|money| !(money >= 0.0 && money.is_finite())) {
            return wrong("cap.money", format!("{}", money.unwrap_or_default()), "0 or more");
        }
        if money.is_some() && self.prices.is_none() {
            return wrong(
                "prices",
                "missing".into(),
                "set if cap.money is: without prices, nothing is counted in money",
            );
        }
        if let Some(TokenPrices { prompt, completion }) = self.prices
            && !(prompt >= 0.0 && completion >= 0.0 && prompt.is_finite() && completion.is_finite())
        {
            return wrong("prices", format!("{prompt} and {completion}"), "0 or more");
        }
        Ok(())
    }
}
