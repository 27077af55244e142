//! A student with a desk and a budget.

use std::cmp::Reverse;
use std::time::Instant;

use wheels_text::{Prompt, PromptFormat, Seed};

use crate::batch::Batch;
use crate::policy::check_prompt;
use crate::{
    Case, DecodeError, DecodeStats, Decoded, Decoder, Enforcement, HelpDesk, Hindsight, Observer, Policy, Step,
    Trajectory,
};

/// A decoder that writes by a policy, and lets a desk answer where the policy asks and the budget has room.
///
/// At every step the student reads its text, and its rule decides whether to ask. If it asks and the ledger of its
/// text is open, the expert's token is appended, and the student reads it like its own; if the ledger is closed, the
/// student's own word is. With an empty desk this is plain decoding; with a teacher as the policy's model it is the
/// teacher alone.
pub struct BudgetedDecoder<'a> {
    pub(crate) policy: Policy<'a>,
    pub(crate) desk: HelpDesk<'a>,
    max_tokens: usize,
    /// Tokens for each token of an expert's prompt, and more beside them.
    max_ratio: Option<(f64, usize)>,
    pub(crate) batch_size: usize,
    pub(crate) enforcement: Enforcement,
    hindsight: Hindsight,
    no_repeat_ngram_size: usize,
}

impl<'a> BudgetedDecoder<'a> {
    /// A decoder of up to 256 tokens for each text and 32 texts at a time, which enforces budgets.
    pub fn new(policy: Policy<'a>, desk: HelpDesk<'a>) -> Self {
        let (enforcement, hindsight) = (Enforcement::On, Hindsight::default());
        Self {
            policy,
            desk,
            max_tokens: 256,
            max_ratio: None,
            batch_size: 32,
            enforcement,
            hindsight,
            no_repeat_ngram_size: 0,
        }
    }

    /// Ends each text after so many steps at the latest, the end-of-text mark counted.
    #[must_use]
    pub fn max_tokens(self, max_tokens: usize) -> Self {
        Self { max_tokens, ..self }
    }

    /// Ends each text, too, after `factor` times the tokens of its expert's prompt and `extra` more: a text that goes round
    /// in circles costs no more than that.
    #[must_use]
    pub fn max_ratio(self, factor: f64, extra: usize) -> Self {
        Self { max_ratio: Some((factor, extra)), ..self }
    }

    /// Ends each text where a model's format says, and after twice the tokens of its expert's prompt and 16 more; lets come
    /// again what the format lets.
    #[must_use]
    pub fn with_format(self, format: &PromptFormat) -> Self {
        self.max_tokens(format.max_new_tokens).max_ratio(2.0, 16).no_repeat_ngram_size(format.no_repeat_ngram_size)
    }

    /// The most tokens of a text.
    pub(crate) fn limit(&self, prompt: &Prompt) -> usize {
        let by_prompt = |(factor, extra): (f64, usize)| (factor * prompt.expert.len() as f64) as usize + extra;
        self.max_ratio.map_or(self.max_tokens, |ratio| by_prompt(ratio).min(self.max_tokens))
    }

    /// Writes so many texts at a time, those with prompts of like length together.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        assert!(batch_size > 0, "a batch of 0 texts never ends");
        Self { batch_size, ..self }
    }

    /// Lets neither the student nor a [`Teacher`](crate::Teacher) write a sequence of so many tokens twice in a text: a small
    /// model that goes round in circles is brought out of them. Both read their laws without the words that would, so that
    /// what is lossless stays so. 0, the default, lets all come again. Hugging Face's option of this name.
    #[must_use]
    pub fn no_repeat_ngram_size(self, size: usize) -> Self {
        Self { no_repeat_ngram_size: size, ..self }
    }

    /// Enforces budgets or not.
    #[must_use]
    pub fn enforcement(self, enforcement: Enforcement) -> Self {
        Self { enforcement, ..self }
    }

    /// Lets experts look back over what the student wrote since the last call; see [`Hindsight`].
    #[must_use]
    pub fn hindsight(self, hindsight: Hindsight) -> Self {
        Self { hindsight, ..self }
    }

    /// Decodes while an observer looks on, for example a closure that prints tokens as they come.
    ///
    /// # Errors
    /// As for [`Decoder::decode`].
    pub fn decode_with(
        &self,
        prompts: &[Prompt],
        seed: Seed,
        observer: &mut dyn Observer,
    ) -> Result<Decoded, DecodeError> {
        self.run(&self.policy, self.hindsight, prompts, seed, observer)
    }

    pub(crate) fn run(
        &self,
        policy: &Policy<'_>,
        hindsight: Hindsight,
        prompts: &[Prompt],
        seed: Seed,
        observer: &mut dyn Observer,
    ) -> Result<Decoded, DecodeError> {
        let started = Instant::now();
        let vocabulary = self.desk.vocabulary(policy.model.spec()).no_repeat_ngram_size(self.no_repeat_ngram_size);
        policy.check(&vocabulary)?;
        hindsight.check()?;
        for (row, prompt) in prompts.iter().enumerate() {
            check_prompt(row, policy.side.of(prompt), vocabulary.size())?;
        }

        let mut cases: Vec<Case<'_>> = prompts
            .iter()
            .enumerate()
            .map(|(row, prompt)| Case { prompt_index: row, prompt, seed: seed.nth(row as u64) })
            .collect();
        cases.sort_by_key(|case| Reverse(policy.side.of(case.prompt).len()));

        let mut written: Vec<(usize, Trajectory)> = Vec::with_capacity(prompts.len());
        let mut stats = DecodeStats::default();
        for cases in cases.chunks(self.batch_size) {
            let (texts, cost) = Batch::open(self, policy, hindsight, &vocabulary, cases)?.write(observer)?;
            written.extend(texts);
            stats += cost;
        }
        written.sort_by_key(|text| text.0);
        stats.elapsed = started.elapsed();
        log::debug!(
            "{} texts: {} tokens in {:.2?}, help asked {}, given {}, redrafted {}",
            prompts.len(),
            stats.tokens,
            stats.elapsed,
            stats.help_asked,
            stats.help_given,
            stats.redrafted
        );
        Ok(Decoded { trajectories: written.into_iter().map(|text| text.1).collect(), stats })
    }
}

impl Decoder for BudgetedDecoder<'_> {
    fn decode(&self, prompts: &[Prompt], seed: Seed) -> Result<Decoded, DecodeError> {
        self.decode_with(prompts, seed, &mut |_: usize, _: &Step| {})
    }
}
