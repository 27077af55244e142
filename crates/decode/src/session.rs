//! Decoding texts that arrive while others are decoded.

use std::ops::Range;

use wheels_text::{Prompt, Seed};

use crate::batch::Batch;
use crate::settings::Text;
use crate::{BudgetedDecoder, DecodeError, DecodeStats, Observer, Sampler, Trajectory, Vocabulary};

/// A batch in which texts can arrive while others are decoded, and leave before they end: what a server needs.
///
/// [`add`](Self::add) begins texts, [`round`](Self::round) extends all of them, and [`cancel`](Self::cancel) ends one
/// early. [`BudgetedDecoder::session`](crate::BudgetedDecoder::session) makes a session. Each text is that of its prompt
/// decoded alone (up to rounding in the models), whatever arrives or leaves.
///
/// ```
/// use burn::tensor::Device;
/// use wheels_decode::{BudgetedDecoder, Experts, NewText, Policy, Step};
/// use wheels_lm::TabularLm;
/// use wheels_text::{HelpBudget, Prompt, Seed};
///
/// // Token 2 follows token 1, then token 3, and then token 1, which ends the text.
/// let table = vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 9.0, 0.0, 0.0];
/// let model = TabularLm::from_logits(4, 1, table, &Device::flex());
/// let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new());
/// let vocabulary = decoder.vocabulary()?;
/// let mut session = decoder.session(&vocabulary)?;
///
/// let prompt = Prompt { student: vec![1], expert: vec![1], budget: HelpBudget::percent(0) };
/// session.add(&[NewText::new(&prompt, Seed(1))])?;
/// let mut texts = vec![Vec::new(); 2];
/// let mut observer = |text: usize, step: &Step| texts[text].push(step.token);
/// session.round(&mut observer)?;
/// session.add(&[NewText::new(&prompt, Seed(2)).with_max_new_tokens(2)])?;
/// while !session.is_idle() {
///     session.round(&mut observer)?;
/// }
/// assert_eq!(texts, [vec![2, 3, 1], vec![2, 3]]);
/// # Ok::<(), wheels_decode::DecodeError>(())
/// ```
pub struct DecodeSession<'a> {
    decoder: &'a BudgetedDecoder<'a>,
    vocabulary: &'a Vocabulary,
    batch: Batch<'a>,
    /// The number of texts that have begun.
    begun: usize,
}

/// A text that is to be written, with the settings that it does not share with others: for a [`DecodeSession`] or
/// [`BudgetedDecoder::decode_texts`](crate::BudgetedDecoder::decode_texts).
#[derive(Clone, Copy, Debug)]
pub struct NewText<'p> {
    /// The prompt, with its budget.
    pub prompt: &'p Prompt,
    /// The seed of this text.
    pub seed: Seed,
    /// How the policy chooses its own tokens. None for the sampler of the policy.
    pub sampler: Option<Sampler>,
    /// The largest number of tokens; the end-of-text token counts. None for the limit of the decoder.
    pub max_new_tokens: Option<usize>,
}

impl<'p> NewText<'p> {
    /// A text with the settings of the decoder.
    pub fn new(prompt: &'p Prompt, seed: Seed) -> Self {
        Self { prompt, seed, sampler: None, max_new_tokens: None }
    }

    /// The same text, in which the policy chooses its own tokens by `sampler`. Experts have their own.
    #[must_use]
    pub fn with_sampler(self, sampler: Sampler) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// The same text with a limit of its own.
    #[must_use]
    pub fn with_max_new_tokens(self, max_new_tokens: usize) -> Self {
        Self { max_new_tokens: Some(max_new_tokens), ..self }
    }
}

impl<'a> DecodeSession<'a> {
    pub(crate) fn new(decoder: &'a BudgetedDecoder<'a>, vocabulary: &'a Vocabulary, batch: Batch<'a>) -> Self {
        Self { decoder, vocabulary, batch, begun: 0 }
    }

    /// Whether there is nothing to do: no text is being decoded, and [`round`](Self::round) has returned all finished ones.
    pub fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.batch.has_no_results()
    }

    /// The number of texts that can begin now: 0 if fewer rows are free than
    /// [`BudgetedDecoder::with_refill`](crate::BudgetedDecoder::with_refill) says, or if texts that are being decoded
    /// must end first, because a model's state takes no new rows.
    pub fn room(&self) -> usize {
        let settings = &self.decoder.settings;
        let active = self.batch.active();
        let free = settings.batch_size - active;
        let enough = settings.refill.unwrap_or(1).min(settings.batch_size);
        if active == 0 || free >= enough && self.batch.can_append() { free } else { 0 }
    }

    /// Begins texts: the student reads their prompts together. Returns the indices by which the observer and errors name
    /// them. They are counted from 0, and no index is used twice.
    ///
    /// # Errors
    /// [`DecodeError::NoRoom`] if there are more texts than [`room`](Self::room). If a prompt, a sampler, a help rule
    /// or a verification is invalid, or an expert cannot verify tokens. No text has begun then, and the others go on as
    /// before.
    pub fn add(&mut self, texts: &[NewText<'_>]) -> Result<Range<usize>, DecodeError> {
        let room = self.room();
        if texts.len() > room {
            return Err(DecodeError::NoRoom { texts: texts.len(), room });
        }
        let BudgetedDecoder { policy, settings, .. } = self.decoder;
        let begun = (self.begun..).zip(texts).map(|(index, text)| Text::new(index, text, policy, settings));
        let checked: Vec<Text<'_>> = begun.collect();
        self.decoder.check(self.vocabulary, &checked)?;
        self.batch.clear();
        self.batch.append(&checked)?;
        let first = self.begun;
        self.begun += texts.len();
        Ok(first..self.begun)
    }

    /// Ends a text where it is, so that its row is free, and returns what was written. It is then not among the results of
    /// [`round`](Self::round). None if it is not being decoded.
    pub fn cancel(&mut self, index: usize) -> Option<Trajectory> {
        self.batch.cancel(index)
    }

    /// Adds a token, or an answer of an expert, to each text that does not wait for others to ask. Returns the texts that
    /// are finished, each with its index.
    ///
    /// # Errors
    /// As [`Decoder::decode`](crate::Decoder::decode). The texts that were being decoded are then lost: drop the session.
    pub fn round(&mut self, observer: &mut dyn Observer) -> Result<Vec<(usize, Trajectory)>, DecodeError> {
        self.batch.clear();
        self.batch.round(observer)?;
        self.batch.clear();
        Ok(self.batch.take_finished())
    }

    /// The work of all texts, cancelled ones included. The time is not measured.
    pub fn stats(&self) -> DecodeStats {
        self.batch.stats()
    }
}
