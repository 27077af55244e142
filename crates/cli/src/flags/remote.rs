//! A teacher behind a server.

use std::error::Error;
use std::path::Path;

use training_wheels::TextModel;
use training_wheels::remote::{RemoteConfig, RemoteTeacher, SpendingCap, TokenPrices};

use super::{at_least_1, refuse};

/// How a teacher is called whose --teacher is the address of a server, such as http://localhost:8000/v1.
#[derive(clap::Args)]
#[command(next_help_heading = "Teacher behind a server")]
pub(crate) struct RemoteFlags {
    /// The name of the teacher at the server of --teacher.
    #[arg(long, value_name = "NAME")]
    teacher_model: Option<String>,
    /// The name of the environment variable with the API key of the server, such as OPENAI_API_KEY. If absent: no key is sent.
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// Send the key also without encryption (http://) to another machine, on a network that you trust.
    #[arg(long, requires = "api_key_env")]
    allow_key_over_http: bool,
    /// The largest number of tokens that one call brings. If absent: 1.
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    span: Option<usize>,
    /// The longest time for a call with all its repetitions, seconds. If absent: 60.
    #[arg(long, value_name = "SECONDS")]
    call_timeout: Option<f64>,
    /// Make at most this many calls in all, with the three or so that find out what the server can do. Texts are then finished
    /// without the teacher, and a command that cannot go on without it fails.
    #[arg(long, value_name = "CALLS")]
    cap_calls: Option<u64>,
    /// As --cap-calls, for the tokens that all calls read and write.
    #[arg(long, value_name = "TOKENS")]
    cap_tokens: Option<u64>,
    /// As --cap-calls, for what all calls cost by --prices.
    #[arg(long, value_name = "MONEY", requires = "prices")]
    cap_cost: Option<f64>,
    /// The prices of a million tokens of input and of a million tokens of output, in any currency, such as 0.5,1.5.
    #[arg(long, value_name = "INPUT,OUTPUT", value_parser = prices)]
    prices: Option<TokenPrices>,
}

/// The flags that stand for options of [`RemoteConfig`], which messages name.
pub(super) const FLAGS: [(&str, &str); 9] = [
    ("base_url", "teacher"),
    ("model", "teacher-model"),
    ("api_key_env", "api-key-env"),
    ("allow_key_over_http", "allow-key-over-http"),
    ("span", "span"),
    ("timeout_seconds", "call-timeout"),
    ("cap", "cap-calls, --cap-tokens or --cap-cost"),
    ("cap.money", "cap-cost"),
    ("prices", "prices"),
];

impl RemoteFlags {
    /// Connects to the server that `teacher` names. None if it names none.
    ///
    /// # Errors
    /// If the server cannot be the teacher of this student.
    pub(crate) fn connect(
        &self,
        teacher: Option<&Path>,
        student: &TextModel,
    ) -> Result<Option<RemoteTeacher>, Box<dyn Error>> {
        let (Some(url), Some(model)) = (teacher.and_then(url), &self.teacher_model) else { return Ok(None) };
        let cap = SpendingCap::new().with_calls(self.cap_calls).with_tokens(self.cap_tokens).with_money(self.cap_cost);
        let mut config = RemoteConfig::new(url.into(), model.clone())
            .with_api_key_env(self.api_key_env.clone())
            .with_allow_key_over_http(self.allow_key_over_http)
            .with_prices(self.prices)
            .with_cap(cap);
        config.span = self.span.unwrap_or(config.span);
        config.timeout_seconds = self.call_timeout.unwrap_or(config.timeout_seconds);
        let remote = RemoteTeacher::connect(config, &student.tokenizer)?;
        check_conversations(&remote, student)?;
        Ok(Some(remote))
    }

    /// Checks the flags before any model is opened.
    ///
    /// # Errors
    /// If a flag for a server is given without one, or a server without its model.
    pub(crate) fn check(&self, teacher: Option<&Path>) -> Result<(), Box<dyn Error>> {
        if !self.api_key_env.as_deref().is_none_or(is_variable) {
            // It is not repeated, because it may be the key.
            return Err("--api-key-env needs the name of an environment variable, and not the key itself".into());
        }
        if teacher.and_then(url).is_some() {
            return match self.teacher_model {
                Some(_) => Ok(()),
                None => Err("a teacher behind a server needs --teacher-model, its name there".into()),
            };
        }
        let given = [
            ("--teacher-model", self.teacher_model.is_some()),
            ("--api-key-env", self.api_key_env.is_some()),
            ("--span", self.span.is_some()),
            ("--call-timeout", self.call_timeout.is_some()),
            ("--cap-calls", self.cap_calls.is_some()),
            ("--cap-tokens", self.cap_tokens.is_some()),
            ("--prices", self.prices.is_some()),
        ];
        refuse(&given, "needs the address of a server as --teacher, such as http://localhost:8000/v1")
    }

    /// Whether one call can bring several tokens.
    pub(crate) fn has_span(&self) -> bool {
        self.span.is_some_and(|span| span > 1)
    }
}

/// # Errors
/// If the prompts are conversations, and the server takes texts: it would read the text of a conversation as one message.
pub(crate) fn check_conversations(remote: &RemoteTeacher, student: &TextModel) -> Result<(), Box<dyn Error>> {
    if student.template.chat.is_some() && !remote.reads_conversations() {
        return Err(
            "the server of --teacher takes texts and no token ids, so that it cannot read a conversation as the \
             student does: use a server that takes token ids, such as vLLM or `wheels serve`"
                .into(),
        );
    }
    Ok(())
}

/// The address of a server, if a name is one.
pub(crate) fn url(name: &Path) -> Option<&str> {
    name.to_str().filter(|name| name.starts_with("http://") || name.starts_with("https://"))
}

/// Whether a text can be the name of an environment variable.
fn is_variable(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_allowed) && text.starts_with(|c: char| !c.is_ascii_digit())
}

fn prices(text: &str) -> Result<TokenPrices, String> {
    let parse = |price: &str| price.trim().parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
    let prices = text
        .split_once(',')
        .and_then(|(input, output)| Some(TokenPrices { prompt: parse(input)?, completion: parse(output)? }));
    prices.ok_or_else(|| "write the price of a million tokens of input and of output, such as 0.5,1.5".into())
}
