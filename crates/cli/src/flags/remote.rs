//! A teacher behind a server.

use std::error::Error;
use std::path::Path;

use training_wheels::remote::{RemoteConfig, RemoteTeacher, SpendingCap, TokenPrices};
use training_wheels::text::Tokenizer;

use super::at_least_1;

/// How a teacher is called whose --teacher is the address of a server, such as http://localhost:8000/v1.
#[derive(clap::Args)]
#[command(next_help_heading = "Teacher behind a server")]
pub(crate) struct RemoteFlags {
    /// The name of the teacher at the server of --teacher.
    #[arg(long, value_name = "NAME")]
    teacher_model: Option<String>,
    /// The environment variable with the API key of the server. If absent: no key is sent.
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// The largest number of tokens that one call brings. If absent: 1.
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    span: Option<usize>,
    /// The longest time for a call with all its repetitions, seconds. If absent: 60.
    #[arg(long, value_name = "SECONDS")]
    call_timeout: Option<f64>,
    /// The largest number of calls. After it, students finish their texts alone.
    #[arg(long, value_name = "N")]
    max_calls: Option<u64>,
    /// The largest number of tokens that all calls together may read and write.
    #[arg(long, value_name = "N")]
    max_call_tokens: Option<u64>,
    /// The most that all calls together may cost by --prices.
    #[arg(long, value_name = "MONEY", requires = "prices")]
    max_cost: Option<f64>,
    /// The prices of a million tokens of prompts and of a million tokens of answers, in any currency, such as 0.5,1.5.
    #[arg(long, value_name = "PROMPT,ANSWER", value_parser = prices)]
    prices: Option<TokenPrices>,
}

impl RemoteFlags {
    /// Connects to the server that `teacher` names. None if it names none.
    ///
    /// # Errors
    /// If flags for a server are given without one, or if the server cannot be the teacher.
    pub(crate) fn connect(
        &self,
        teacher: Option<&Path>,
        tokenizer: &Tokenizer,
    ) -> Result<Option<RemoteTeacher>, Box<dyn Error>> {
        let Some(url) = teacher.and_then(url) else { return self.check_unused().map(|()| None) };
        let Some(model) = &self.teacher_model else {
            return Err(format!("--teacher {url} needs --teacher-model, the name of the model at that server").into());
        };
        let cap =
            SpendingCap::new().with_calls(self.max_calls).with_tokens(self.max_call_tokens).with_money(self.max_cost);
        let mut config = RemoteConfig::new(url.into(), model.clone())
            .with_api_key_env(self.api_key_env.clone())
            .with_prices(self.prices)
            .with_cap(cap);
        config.span = self.span.unwrap_or(config.span);
        config.timeout_seconds = self.call_timeout.unwrap_or(config.timeout_seconds);
        Ok(Some(RemoteTeacher::connect(config, tokenizer)?))
    }

    /// # Errors
    /// If a flag is given that holds for a server only.
    fn check_unused(&self) -> Result<(), Box<dyn Error>> {
        let Self { teacher_model, api_key_env, span, call_timeout, max_calls, max_call_tokens, prices, .. } = self;
        let given = [
            ("--teacher-model", teacher_model.is_some()),
            ("--api-key-env", api_key_env.is_some()),
            ("--span", span.is_some()),
            ("--call-timeout", call_timeout.is_some()),
            ("--max-calls", max_calls.is_some()),
            ("--max-call-tokens", max_call_tokens.is_some()),
            ("--prices", prices.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                Err(format!("{flag} needs the address of a server as --teacher, such as http://localhost:8000/v1")
                    .into())
            }
            None => Ok(()),
        }
    }
}

/// The address of a server, if a name is one.
pub(crate) fn url(name: &Path) -> Option<&str> {
    name.to_str().filter(|name| name.starts_with("http://") || name.starts_with("https://"))
}

fn prices(text: &str) -> Result<TokenPrices, String> {
    let parse = |price: &str| price.trim().parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
    let prices = text
        .split_once(',')
        .and_then(|(prompt, answer)| Some(TokenPrices { prompt: parse(prompt)?, completion: parse(answer)? }));
    prices.ok_or_else(|| "write the price of a million tokens of prompts and of answers, such as 0.5,1.5".into())
}
