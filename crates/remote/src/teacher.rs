//! A teacher behind a server, as an expert.

use std::fmt;
use std::sync::OnceLock;

use wheels_decode::{
    AcceptanceRule, DecodeError, Expert, ExpertSession, RequestInfo, Sampler, Verification, Vocabulary,
};
use wheels_text::{Message, Prompt, Tokenizer};

use crate::client::Client;
use crate::probe::probe;
use crate::session::RemoteSession;
use crate::token_names::TokenNames;
use crate::{RemoteApi, RemoteConfig, RemoteError, ServerFeatures, Spending, TextLogProbs, TokenExchange};

/// A teacher behind an OpenAI-compatible server. It is an [`Expert`], and it writes texts and log-probs for training.
///
/// A call sends the expert's prompt and the text so far, and brings up to [`RemoteConfig::span`] tokens. The texts of a
/// batch are sent at the same time, up to [`RemoteConfig::concurrency`] of them. An answer costs 1;
/// [`spending`](Self::spending) has the price of all calls.
///
/// # Failures
/// If a call fails in all its attempts, or an answer cannot be used, the student finishes that text alone:
/// [`Trajectory::failures`](wheels_decode::Trajectory) says why, and the log says it once. After an error of the server or
/// of the network, no calls are made for [`RemoteConfig::cool_down_seconds`]; after a refused key or an unknown model, none
/// at all.
///
/// # Verification
/// If the server gives log-probs of texts that are sent ([`ServerFeatures::text_log_probs`]), and tokens are exchanged as
/// ids, the teacher verifies tokens by regret or surprise. The regret is measured against the most likely of the
/// [`RemoteConfig::top_log_probs`] tokens that the student may write. Speculative sampling needs whole distributions, which
/// no server gives, and is refused.
pub struct RemoteTeacher {
    pub(crate) client: Client,
    pub(crate) config: RemoteConfig,
    pub(crate) features: ServerFeatures,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) sampler: Sampler,
    pub(crate) prompts: Option<Box<MakePrompt>>,
    names: OnceLock<TokenNames>,
}

/// Makes what the server reads from a prompt.
type MakePrompt = dyn Fn(&Prompt) -> RemotePrompt + Send + Sync;

/// A prompt as a server reads it, if texts are exchanged and not token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemotePrompt {
    /// A text. A chat server gets it as the user's message.
    Text(String),
    /// The messages of a conversation, for chat servers only.
    Messages(Vec<Message>),
}

impl RemoteTeacher {
    /// Connects to a server. `tokenizer` is the student's.
    ///
    /// Unless [`RemoteConfig::features`] are set, a few small requests find out what the server can do. So a
    /// wrong address, key or model is an error here and not in the middle of a text.
    ///
    /// # Errors
    /// A [`RemoteError`] if the configuration is invalid or the server does not answer these requests.
    pub fn connect(config: RemoteConfig, tokenizer: &Tokenizer) -> Result<Self, RemoteError> {
        let client = Client::new(&config)?;
        let names = OnceLock::new();
        let features = match config.features {
            Some(features) => features,
            None => probe(&client, &config, tokenizer, &names)?,
        };
        log::info!("{}: {} with {features:?}", client.server(), config.model);
        let supported = match features.api {
            RemoteApi::Completions => true,
            RemoteApi::Chat(_) => features.tokens == TokenExchange::Text,
        };
        if !supported {
            let value = format!("{features:?}");
            return Err(RemoteError::Setting { setting: "features", value, supported: "text with a chat API" });
        }
        Ok(Self {
            client,
            config,
            features,
            tokenizer: tokenizer.clone(),
            sampler: Sampler::Greedy,
            prompts: None,
            names,
        })
    }

    /// The same teacher with answers chosen by `sampler`, at the server. It then cannot verify.
    #[must_use]
    pub fn with_sampler(self, sampler: Sampler) -> Self {
        Self { sampler, ..self }
    }

    /// The same teacher with other prompts, if texts are exchanged. Without this, a prompt is the text of its token ids
    /// without special tokens, which fits texts but not conversations.
    #[must_use]
    pub fn with_prompts(self, make: impl Fn(&Prompt) -> RemotePrompt + Send + Sync + 'static) -> Self {
        Self { prompts: Some(Box::new(make)), ..self }
    }

    /// What the server can do.
    pub fn features(&self) -> ServerFeatures {
        self.features
    }

    /// Whether conversations arrive as such. If texts are exchanged, a server reads the text of one as one message, unless
    /// [`with_prompts`](Self::with_prompts) makes its prompts.
    pub fn reads_conversations(&self) -> bool {
        self.features.tokens == TokenExchange::Ids || self.prompts.is_some()
    }

    /// What all calls so far have used.
    pub fn spending(&self) -> Spending {
        self.client.meter.spent()
    }

    pub(crate) fn names(&self) -> &TokenNames {
        self.names.get_or_init(|| TokenNames::new(&self.tokenizer))
    }

    /// Why this verification is not possible.
    fn cannot_verify(&self, verification: &Verification) -> Option<&'static str> {
        let ServerFeatures { tokens, text_log_probs, .. } = self.features;
        if verification.rule == AcceptanceRule::Sampling {
            Some("speculative sampling needs whole distributions, which a server does not give; verify by regret")
        } else if text_log_probs == TextLogProbs::None {
            Some(
                "its server gives no right log-probs of texts that are sent to it; use one with `echo` and `logprobs`, such \
                 as vLLM, or `with_verification(Verification::default())`",
            )
        } else if tokens == TokenExchange::Text {
            Some(
                "texts are exchanged with it and not token ids; use a server that takes token ids, or \
                 `with_verification(Verification::default())`",
            )
        } else if self.sampler != Sampler::Greedy {
            Some("it answers with samples, and a server draws none in the middle of a text; use `Sampler::Greedy`")
        } else {
            None
        }
    }
}

impl fmt::Debug for RemoteTeacher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("RemoteTeacher");
        shown.field("client", &self.client).field("model", &self.config.model).field("features", &self.features);
        shown.finish_non_exhaustive()
    }
}

impl Expert for RemoteTeacher {
    fn open_session<'a>(
        &'a self,
        requests: Vec<RequestInfo<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        Ok(Box::new(RemoteSession::new(self, vocabulary, &requests)))
    }

    fn check_verification(&self, verification: &Verification) -> Result<(), DecodeError> {
        match self.cannot_verify(verification) {
            None => Ok(()),
            Some(reason) => Err(DecodeError::CannotVerify {
                expert: format!("the remote teacher {} at {}", self.config.model, self.client.server()),
                reason: reason.to_owned(),
            }),
        }
    }
}
