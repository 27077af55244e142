//! Decoding with experts within a budget.

use std::cmp::Reverse;
use std::time::Instant;

use wheels_text::{GenerationConfig, Prompt, Seed};

use crate::batch::Batch;
use crate::policy::check_prompt;
use crate::settings::{DecodeSettings, Text};
use crate::{
    BudgetUnit, DecodeError, DecodeSession, DecodeStats, Decoded, Decoder, Enforcement, Experts, NewText, Observer,
    Policy, Readout, Step, Trajectory, Verification, Vocabulary,
};

/// A decoder in which a policy writes, and experts answer when it asks and its budget has room.
///
/// At every step the student reads its text, and its help rule decides whether to ask. If it asks and the budget has
/// room, the expert's token is appended, and the student reads that token like one of its own. If the budget has no
/// room, the student's own token is appended. Without experts this is plain decoding. With a teacher as the policy's
/// model it is the teacher alone.
pub struct BudgetedDecoder<'a> {
    pub(crate) policy: Policy<'a>,
    experts: Experts<'a>,
    pub(crate) settings: DecodeSettings,
}

impl<'a> BudgetedDecoder<'a> {
    /// A decoder that writes at most 256 tokens per text and 32 texts at a time, and enforces budgets.
    pub fn new(policy: Policy<'a>, experts: Experts<'a>) -> Self {
        let settings = DecodeSettings {
            generation: GenerationConfig::default(),
            forced_bos: None,
            batch_size: 32,
            help_batch: 1,
            refill: None,
            enforcement: Enforcement::On,
            budget_unit: BudgetUnit::Tokens,
            verification: None,
            readout: Readout::Auto,
        };
        Self { policy, experts, settings }
    }

    /// Sets the limits of a generation config: the length of texts, `no_repeat_ngram_size`, `forced_bos_token_id` and
    /// `forced_eos_token_id`. A text whose last token is forced counts as cut.
    ///
    /// The sampler is not set, because it is part of the policy:
    /// [`Sampler::from`](crate::Sampler#impl-From<%26GenerationConfig>-for-Sampler) makes one from a generation config.
    #[must_use]
    pub fn with_generation(mut self, generation: &GenerationConfig) -> Self {
        self.settings.generation = generation.clone();
        self.with_forced_bos_token_id(generation.forced_bos_token_id())
    }

    /// Begins every text with this token (Hugging Face's `forced_bos_token_id`), such as the language of a translation.
    #[must_use]
    pub fn with_forced_bos_token_id(mut self, token: Option<u32>) -> Self {
        self.settings.forced_bos = token;
        self
    }

    /// Limits each text to this number of tokens. The end-of-text token counts.
    #[must_use]
    pub fn with_max_new_tokens(mut self, max_new_tokens: usize) -> Self {
        self.settings.generation.max_new_tokens = max_new_tokens;
        self
    }

    /// Forbids repeated n-grams of this size (Hugging Face's `no_repeat_ngram_size`); 0 disables the check. The student
    /// and a [`Teacher`](crate::Teacher) mask the same tokens, so that speculative decoding stays lossless.
    #[must_use]
    pub fn with_no_repeat_ngram_size(mut self, size: usize) -> Self {
        self.settings.generation.no_repeat_ngram_size = size;
        self
    }

    /// Decodes this many texts together. Prompts of similar length share a batch.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        assert!(batch_size > 0, "a batch size of 0 writes nothing");
        self.settings.batch_size = batch_size;
        self
    }

    /// Lets texts that want help wait until this many of them want it from the same expert, so that each forward pass of a
    /// teacher serves more rows. The other texts of the batch go on meanwhile. If none of them can, all calls are made at
    /// once. The default of 1 never waits.
    ///
    /// A text that wants its end verified waits too. No text depends on this number (up to rounding in the models). The
    /// student's forward passes have fewer rows instead, so measure before you choose it.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn with_help_batch(mut self, rows: usize) -> Self {
        assert!(rows > 0, "a call for 0 rows answers nobody");
        self.settings.help_batch = rows;
        self
    }

    /// Keeps the batch full (continuous batching): as soon as this many of its rows are free, because their texts are
    /// finished, new texts take all free rows. Without this setting, a batch is finished before the next one begins.
    ///
    /// Small numbers keep more rows busy, and large ones read more prompts together. No text depends on it (up to rounding
    /// in the models). It has no effect if a model's state or an expert cannot take new rows
    /// ([`ModelState::can_append`](wheels_lm::ModelState::can_append),
    /// [`ExpertSession::can_append`](crate::ExpertSession::can_append)).
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn with_refill(mut self, rows: usize) -> Self {
        assert!(rows > 0, "0 free rows have no room for a text");
        self.settings.refill = Some(rows);
        self
    }

    /// Sets whether budgets are enforced.
    #[must_use]
    pub fn with_enforcement(mut self, enforcement: Enforcement) -> Self {
        self.settings.enforcement = enforcement;
        self
    }

    /// Sets what budgets count. They count tokens by default, so that an answer of several tokens spends several.
    #[must_use]
    pub fn with_budget_unit(mut self, unit: BudgetUnit) -> Self {
        self.settings.budget_unit = unit;
        self
    }

    /// Sets where the policy's logits become decisions. A teacher has a setting of its own
    /// ([`Teacher::with_readout`](crate::Teacher::with_readout)).
    #[must_use]
    pub fn with_readout(mut self, readout: Readout) -> Self {
        self.settings.readout = readout;
        self
    }

    /// Lets experts check the tokens that the student wrote since the last call, and roll them back; see
    /// [`Verification`]. It holds for all texts, and replaces what the policy's calibration says. None leaves that.
    #[must_use]
    pub fn with_verification(mut self, verification: impl Into<Option<Verification>>) -> Self {
        self.settings.verification = verification.into();
        self
    }

    /// The vocabulary of the student, with the tokens that the settings force or forbid.
    ///
    /// # Errors
    /// [`DecodeError::ForcedToken`] if a text must begin or end with a token that the student cannot write.
    pub fn vocabulary(&self) -> Result<Vocabulary, DecodeError> {
        let Self { policy, experts, settings } = self;
        let forced_eos = settings.generation.forced_eos_token_id();
        let vocabulary = experts
            .vocabulary(policy.model.spec())
            .with_no_repeat_ngram_size(settings.generation.no_repeat_ngram_size)
            .with_forced_bos(settings.forced_bos)
            .with_forced_eos(forced_eos);
        let mut forced = settings.forced_bos.into_iter().chain(forced_eos);
        match forced.find(|&token| !vocabulary.contains(token)) {
            Some(token) => Err(DecodeError::ForcedToken { token }),
            None => Ok(vocabulary),
        }
    }

    /// A session, in which texts can arrive while others are decoded. `vocabulary` is that of
    /// [`vocabulary`](Self::vocabulary).
    ///
    /// # Errors
    /// [`DecodeError::FixedTexts`] if an expert cannot take texts that arrive later. As [`Decoder::decode`] if the
    /// settings or an expert do not fit the student.
    pub fn session<'s>(&'s self, vocabulary: &'s Vocabulary) -> Result<DecodeSession<'s>, DecodeError> {
        self.check(vocabulary, &[])?;
        let batch = Batch::open(&self.policy, &self.experts, vocabulary, &self.settings, &[])?;
        if !batch.can_append() {
            return Err(DecodeError::FixedTexts);
        }
        Ok(DecodeSession::new(self, vocabulary, batch))
    }

    /// Decodes, and tells an observer of every step. The observer can be a closure that prints tokens as they come.
    ///
    /// # Errors
    /// As for [`Decoder::decode`].
    pub fn decode_with(
        &self,
        prompts: &[Prompt],
        seed: Seed,
        observer: &mut dyn Observer,
    ) -> Result<Decoded, DecodeError> {
        let mut texts = Vec::with_capacity(prompts.len());
        for (row, prompt) in prompts.iter().enumerate() {
            texts.push(NewText::new(prompt, seed.nth(row as u64)));
        }
        self.decode_texts(&texts, observer)
    }

    /// Decodes texts that can have seeds, samplers and limits of their own. [`decode_with`](Self::decode_with) gives each
    /// prompt the settings of the decoder.
    ///
    /// # Errors
    /// As for [`Decoder::decode`].
    pub fn decode_texts(&self, texts: &[NewText<'_>], observer: &mut dyn Observer) -> Result<Decoded, DecodeError> {
        let started = Instant::now();
        let Self { policy, experts, settings } = self;
        let vocabulary = self.vocabulary()?;
        let texts = texts.iter().enumerate().map(|(index, text)| Text::new(index, text, policy, settings));
        let mut texts: Vec<Text<'_>> = texts.collect();
        self.check(&vocabulary, &texts)?;
        texts.sort_by_key(|text| Reverse(policy.prompt_side.of(text.request.prompt).len()));

        let mut written: Vec<(usize, Trajectory)> = Vec::with_capacity(texts.len());
        let mut stats = DecodeStats::default();
        let mut pending = texts.as_slice();
        while !pending.is_empty() {
            let first = pending.split_off(..settings.batch_size.min(pending.len())).unwrap_or_default();
            let batch = Batch::open(policy, experts, &vocabulary, settings, first)?;
            let (texts, cost) = batch.write(&mut pending, observer)?;
            written.extend(texts);
            stats += cost;
        }
        written.sort_by_key(|text| text.0);
        stats.elapsed = started.elapsed();
        log::debug!(
            "{} texts: {} tokens in {:.2?}, help asked {}, given {}, rolled back {}",
            written.len(),
            stats.tokens,
            stats.elapsed,
            stats.help_asked,
            stats.help_given,
            stats.rolled_back
        );
        Ok(Decoded { trajectories: written.into_iter().map(|text| text.1).collect(), stats })
    }

    /// # Errors
    /// If a text, or what holds for it, does not fit the student or an expert.
    pub(crate) fn check(&self, vocabulary: &Vocabulary, texts: &[Text<'_>]) -> Result<(), DecodeError> {
        let Self { policy, experts, .. } = self;
        policy.check(vocabulary, texts)?;
        for Text { request, verification, .. } in texts {
            experts.check_verification(verification)?;
            check_prompt(request.prompt_index, policy.prompt_side.of(request.prompt), vocabulary.size())?;
        }
        Ok(())
    }
}

impl Decoder for BudgetedDecoder<'_> {
    fn decode(&self, prompts: &[Prompt], seed: Seed) -> Result<Decoded, DecodeError> {
        self.decode_with(prompts, seed, &mut |_: usize, _: &Step| {})
    }
}
