//! The errors of this crate.

use std::io;
use std::time::Duration;

use wheels_decode::FailureReason;

/// An error of this crate.
///
/// Each message says what was wrong, with the value, and what to try. No message has a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A setting is out of its range.
    #[error("`RemoteConfig::{setting}` is {value}; it must be {supported}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The supported values.
        supported: &'static str,
    },
    /// The address of the server is invalid.
    #[error("{url:?} is not the address of a server: {reason}; give one such as http://localhost:8000/v1")]
    Url {
        /// The address, without a password.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The variable with the key is not set.
    #[error("the environment variable {variable} has no key; set it, or leave `RemoteConfig::api_key_env` out")]
    MissingKey {
        /// The variable.
        variable: String,
    },
    /// A key has characters that cannot be sent.
    #[error("the key in {variable} is invalid: it has spaces or characters other than ASCII; set it again")]
    InvalidKey {
        /// The variable.
        variable: String,
    },
    /// A key would be sent without encryption.
    #[error(
        "the key in {variable} would go to {server} without encryption: give an https address, or set \
         `RemoteConfig::allow_key_over_http` on a network that you trust"
    )]
    KeyOverHttp {
        /// The address of the server.
        server: String,
        /// The variable with the key.
        variable: String,
    },
    /// A key would be in the log.
    #[error("the key would be in the log: the level `trace` of `ureq_proto` shows every byte; set RUST_LOG to less")]
    KeyInLog,
    /// A server cannot be reached, or the connection broke.
    #[error("cannot reach {server}; check that it runs, and the address")]
    Unreachable {
        /// The address of the server.
        server: String,
        /// The system's error.
        #[source]
        source: io::Error,
        /// Whether the request may have arrived.
        sent: bool,
    },
    /// A server did not answer in time.
    #[error("{server} did not answer within {seconds:.1} s; raise `RemoteConfig::timeout_seconds`, or lower `span`")]
    TimedOut {
        /// The address of the server.
        server: String,
        /// How long the call took, seconds.
        seconds: f64,
    },
    /// A server limits the rate of requests.
    #[error(
        "{server} limits the rate of requests (status {status}{}); lower `RemoteConfig::concurrency`, or raise `retries`",
        retry_after.map_or(String::new(), |after| format!(", again in {} s", after.as_secs()))
    )]
    RateLimited {
        /// The address of the server.
        server: String,
        /// The status, 429 or 503.
        status: u16,
        /// The time that the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// A server reported an error of its own.
    #[error("{server} answered with status {status}{}; try again later, or look into its log", note(message))]
    Server {
        /// The address of the server.
        server: String,
        /// The status.
        status: u16,
        /// The server's message, or nothing.
        message: String,
    },
    /// A server did not accept the key, or wants one.
    #[error(
        "{server} refuses access (status {status}): {}",
        match variable {
            Some(variable) => format!("check the key in {variable}"),
            None => "name the variable with a key in `RemoteConfig::api_key_env`".to_owned(),
        }
    )]
    NoAccess {
        /// The address of the server.
        server: String,
        /// The status, 401 or 403.
        status: u16,
        /// The variable with the key that was sent.
        variable: Option<String>,
    },
    /// A server has no such model or path.
    #[error(
        "{server} has no {path} for the model {model:?}{}; check `RemoteConfig::model` and `base_url`",
        note(message)
    )]
    NotFound {
        /// The address of the server.
        server: String,
        /// The path.
        path: String,
        /// The model.
        model: String,
        /// The server's message, or nothing.
        message: String,
    },
    /// The server does not list the model.
    #[error("{server} has no model {model:?}; it has {}", list(available))]
    NoModel {
        /// The address of the server.
        server: String,
        /// The model.
        model: String,
        /// The models that it has.
        available: Vec<String>,
    },
    /// A server refused a request.
    #[error("{server} refused the request (status {status}){}", note(message))]
    Rejected {
        /// The address of the server.
        server: String,
        /// The status.
        status: u16,
        /// The server's message, or nothing.
        message: String,
    },
    /// A server redirects. Redirects are not followed, because a text and a key go only to the server that was named.
    #[error("{server} redirects to {target}; if you trust it, give its address as `RemoteConfig::base_url`")]
    Redirect {
        /// The address of the server.
        server: String,
        /// The address of the other server.
        target: String,
    },
    /// An answer cannot be used.
    #[error("{server} gave an answer that cannot be used: {reason}")]
    Reply {
        /// The address of the server.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cap leaves no room for another call.
    #[error("the cap of {cap} leaves no room for another call; raise `RemoteConfig::cap` if you want more")]
    SpendingCap {
        /// The cap that was reached.
        cap: String,
    },
    /// No call is made for a while, because the server has failed.
    #[error("{server} is not called, because a call has failed before: {reason}")]
    Outage {
        /// The address of the server.
        server: String,
        /// What went wrong then.
        reason: FailureReason,
    },
    /// The server's tokenizer is not the student's.
    #[error(
        "token {id} is {ours:?} here and {theirs:?} at {server}: the tokenizers differ. Use `TokenExchange::Text` in \
         `RemoteConfig::features`"
    )]
    Tokenizer {
        /// The address of the server.
        server: String,
        /// The id.
        id: u32,
        /// The student's token.
        ours: String,
        /// The server's token.
        theirs: String,
    },
    /// The server lacks what is needed.
    #[error("{server} {missing}; {remedy}")]
    Unsupported {
        /// The address of the server.
        server: String,
        /// What it lacks.
        missing: &'static str,
        /// What to try.
        remedy: &'static str,
    },
    /// A text cannot become a prompt.
    #[error("text {index}")]
    Prompt {
        /// The index of the text, counted from 1.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: wheels_text::TextError,
    },
    /// A text cannot be tokenised or decoded.
    #[error(transparent)]
    Text(#[from] wheels_text::TextError),
}

impl RemoteError {
    /// What a trajectory says about this error.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Unreachable { .. } => FailureReason::Unreachable,
            Self::TimedOut { .. } => FailureReason::TimedOut,
            Self::RateLimited { .. } => FailureReason::RateLimited,
            Self::Server { .. } => FailureReason::ServerError,
            Self::SpendingCap { .. } => FailureReason::SpendingCap,
            Self::Outage { reason, .. } => *reason,
            Self::Reply { .. } | Self::Tokenizer { .. } | Self::Text(_) => FailureReason::InvalidReply,
            _ => FailureReason::Refused,
        }
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::RateLimited { .. } | Self::Server { .. }
        )
    }

    /// Whether every other request would fail in the same way.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::NoAccess { .. } | Self::NotFound { .. } | Self::Redirect { .. })
    }

    /// Whether the server may have worked on the request, and charge for it.
    pub(crate) fn may_cost(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => *sent,
            Self::TimedOut { .. } | Self::Reply { .. } => true,
            _ => false,
        }
    }

    /// The time that the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The server's message in parentheses.
fn note(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

/// The first few models of a list.
fn list(models: &[String]) -> String {
    match models {
        [] => "none".to_owned(),
        _ if models.len() > 5 => format!("{}, and {} more", models[..5].join(", "), models.len() - 5),
        _ => models.join(", "),
    }
}
