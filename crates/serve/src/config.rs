//! The settings of a server.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use training_wheels::decode::BudgetUnit;
use training_wheels::text::HelpBudget;

use crate::{ApiKey, ServeError};

/// The settings of a server. All of them have defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The address to listen on. Port 0 takes a free one. Default: 127.0.0.1:8000, which only this machine reaches.
    pub listen: SocketAddr,
    /// The name of the model in requests and answers. Default: "wheels".
    pub model_name: String,
    /// The budget of a request that states none. Default: 20%.
    pub default_budget: HelpBudget,
    /// The largest budget of a request. Default: 100%.
    pub max_budget: HelpBudget,
    /// The number of texts that are decoded together. Default: 32.
    pub batch_size: usize,
    /// The number of texts that wait for the teacher until it is called for all of them. Default: 1, no waiting.
    pub help_batch: usize,
    /// The number of texts that can wait for a free row. Requests past it get the status 429. Default: 128.
    pub queue: usize,
    /// The largest number of tokens of a prompt. Default: 2048.
    pub max_prompt_tokens: usize,
    /// The largest number of tokens of an answer. Default: 1024.
    pub max_new_tokens: usize,
    /// The seed of requests that have none. The same requests in the same order then get the same texts. Default: none,
    /// a seed that nobody knows.
    pub seed: Option<u64>,
    /// The largest size of a request, bytes. Default: 1 MiB.
    pub max_body_bytes: usize,
    /// The longest time from the arrival of a request to the end of its answer, seconds. Default: 120.
    pub request_timeout_s: u64,
    /// The longest time that running texts get to end when the server stops, seconds. Default: 30.
    pub shutdown_grace_s: u64,
    /// The key that clients must send. It is never written into a file. Default: none.
    #[serde(skip)]
    pub api_key: Option<ApiKey>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8000).into(),
            model_name: "wheels".into(),
            default_budget: HelpBudget::percent(20),
            max_budget: HelpBudget::percent(100),
            batch_size: 32,
            help_batch: 1,
            queue: 128,
            max_prompt_tokens: 2048,
            max_new_tokens: 1024,
            seed: None,
            max_body_bytes: 1 << 20,
            request_timeout_s: 120,
            shutdown_grace_s: 30,
            api_key: None,
        }
    }
}

impl ServerConfig {
    /// Checks the settings. `counted` is what budgets count, or None if each call of the teacher brings one token.
    ///
    /// # Errors
    /// [`ServeError::Setting`] if a number is 0 that must not be, or if the default budget is above the ceiling.
    pub(crate) fn check(&self, counted: Option<BudgetUnit>) -> Result<(), ServeError> {
        for (setting, value) in [
            ("batch_size", self.batch_size),
            ("help_batch", self.help_batch),
            ("queue", self.queue),
            ("max_prompt_tokens", self.max_prompt_tokens),
            ("max_new_tokens", self.max_new_tokens),
            ("max_body_bytes", self.max_body_bytes),
            ("request_timeout_s", self.request_timeout_s as usize),
        ] {
            if value == 0 {
                return Err(ServeError::Setting { setting, problem: "it is 0; it must be 1 or more".into() });
            }
        }
        crate::budget::check(self.default_budget, self.max_budget, self.max_new_tokens, counted)
            .map_err(|problem| ServeError::Setting { setting: "max_budget", problem })
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    pub(crate) fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_config_opens_and_has_no_key() {
        let config = ServerConfig { api_key: Some(ApiKey::new("secret")), ..ServerConfig::default() };
        let json = serde_json::to_string(&config).expect("JSON");
        assert!(!json.contains("key"), "{json}");
        let read: ServerConfig = serde_json::from_str(&json).expect("the same fields");
        assert_eq!(read.default_budget, config.default_budget);
        assert!(serde_json::from_str::<ServerConfig>(r#"{"listne": "127.0.0.1:1"}"#).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(ServerConfig::default().check(None).is_ok());
        for wrong in [
            ServerConfig { queue: 0, ..ServerConfig::default() },
            ServerConfig { max_budget: HelpBudget::percent(10), ..ServerConfig::default() },
        ] {
            assert!(matches!(wrong.check(None), Err(ServeError::Setting { .. })));
        }
    }
}
