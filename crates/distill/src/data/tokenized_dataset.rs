//! Data sets as token ids, and the prompts of their pairs.

use std::borrow::Cow;
use std::path::Path;

use wheels_text::{
    BudgetPlacement, Dataset, Example, ExampleStream, HelpBudget, Prompt, PromptTemplate, TextError, Tokenizer,
};

use super::store::{DiskStore, Store};
use super::{PromptSource, TokenPair, TokenPairs};
use crate::DistillError;

/// A tokenised data set: the pairs that fit a length limit, and their prompts.
#[derive(Debug)]
pub struct TokenizedDataset<'a> {
    store: Store<'a>,
    /// The numbers of source and target tokens of each pair, without the start token of targets.
    lengths: Vec<[u32; 2]>,
    target_start: Option<u32>,
    tokenizer: &'a Tokenizer,
    template: PromptTemplate,
    dropped: usize,
}

impl<'a> TokenizedDataset<'a> {
    /// Tokenises a data set. It drops pairs whose prompt (without a budget) or target has more than `max_tokens`
    /// tokens, and pairs whose prompt with a budget would not fit the template. A log line has their number.
    ///
    /// # Errors
    /// [`DistillError::NoData`] if the data set is empty, [`DistillError::NoPairs`] if every pair is dropped, and
    /// [`DistillError::Prompt`] if a text is empty or cannot be tokenised.
    pub fn new(
        dataset: &'a Dataset,
        tokenizer: &'a Tokenizer,
        template: &PromptTemplate,
        max_tokens: usize,
    ) -> Result<Self, DistillError> {
        let mut filter = Filter::new(tokenizer, template, max_tokens)?;
        let mut records = Vec::new();
        for example in dataset {
            if let Some(pair) = filter.pair(example)? {
                records.push((example, pair));
            }
        }
        filter.finish(Store::Memory(records))
    }

    /// Tokenises a file of any size, as [`new`](Self::new) does. Texts and ids are kept in a temporary file in `folder`,
    /// and 16 bytes per pair in memory. The pairs and their order are the same as in memory.
    ///
    /// # Errors
    /// As [`new`](Self::new), [`DistillError::Data`] if the stream fails, and [`DistillError::Io`] if the temporary file
    /// cannot be written.
    pub fn on_disk(
        stream: ExampleStream,
        tokenizer: &'a Tokenizer,
        template: &PromptTemplate,
        max_tokens: usize,
        folder: &Path,
    ) -> Result<Self, DistillError> {
        let mut filter = Filter::new(tokenizer, template, max_tokens)?;
        let mut store = DiskStore::create(folder)?;
        for example in stream {
            let example = example?;
            if let Some(pair) = filter.pair(&example)? {
                store.push(&example, &pair)?;
            }
        }
        filter.finish(Store::Disk(store.finish()?))
    }

    /// The same data, whose targets begin with a token, such as the language of a translation.
    #[must_use]
    pub fn with_target_start(self, token: Option<u32>) -> Self {
        Self { target_start: token, ..self }
    }

    /// One of the examples that were kept, which have the order of the data.
    ///
    /// # Errors
    /// If it cannot be read.
    ///
    /// # Panics
    /// If there is no example with this index.
    pub fn example(&self, index: usize) -> Result<Cow<'_, Example>, DistillError> {
        Ok(self.store.record(index)?.0)
    }

    /// The examples that were kept, in memory.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn kept(&self) -> Result<Dataset, DistillError> {
        (0..self.count()).map(|index| Ok(self.example(index)?.into_owned())).collect()
    }

    /// The number of pairs that were dropped because of their length.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

impl TokenPairs for TokenizedDataset<'_> {
    fn count(&self) -> usize {
        self.lengths.len()
    }

    fn lengths(&self, index: usize) -> (usize, usize) {
        let [source, target] = self.lengths[index].map(|length| length as usize);
        (source, target + usize::from(self.target_start.is_some()))
    }

    fn pair(&self, index: usize) -> Result<Cow<'_, TokenPair>, DistillError> {
        let mut pair = self.store.record(index)?.1;
        if let Some(token) = self.target_start {
            pair.to_mut().target.insert(0, token);
        }
        Ok(pair)
    }
}

impl PromptSource for TokenizedDataset<'_> {
    fn prompt(&self, index: usize, budget: HelpBudget, wording: usize) -> Result<Prompt, DistillError> {
        let template = self.template.clone().with_wording(wording);
        let example = self.example(index)?;
        let prompt = template.prompt_of(self.tokenizer, &example, budget);
        prompt.map_err(|source| DistillError::Prompt { index, source })
    }
}

/// Tokenises examples one after the other, and drops those that are too long.
struct Filter<'a> {
    tokenizer: &'a Tokenizer,
    template: PromptTemplate,
    /// The template without a limit and without a budget.
    plain: PromptTemplate,
    max_source_tokens: usize,
    max_target_tokens: usize,
    lengths: Vec<[u32; 2]>,
    total: usize,
    longest: usize,
}

impl<'a> Filter<'a> {
    fn new(tokenizer: &'a Tokenizer, template: &PromptTemplate, max_tokens: usize) -> Result<Self, DistillError> {
        let unlimited = template.clone().with_max_tokens(usize::MAX);
        let budget_tokens =
            max_budget_tokens(tokenizer, &unlimited).map_err(|source| DistillError::Prompt { index: 0, source })?;
        // The template rejects longer prompts. Without this limit here, such a prompt would stop a run in the middle.
        let max_source_tokens = max_tokens.min(template.max_tokens.saturating_sub(budget_tokens));
        let plain = unlimited.with_budget(BudgetPlacement::None);
        let template = template.clone();
        let (max_target_tokens, lengths, total, longest) = (max_tokens, Vec::new(), 0, 0);
        Ok(Self { tokenizer, template, plain, max_source_tokens, max_target_tokens, lengths, total, longest })
    }

    /// The token ids of the next example. None if it is too long.
    fn pair(&mut self, example: &Example) -> Result<Option<TokenPair>, DistillError> {
        let index = self.total;
        let failed = |source| DistillError::Prompt { index, source };
        let source = self.plain.prompt_of(self.tokenizer, example, HelpBudget::percent(0)).map_err(failed)?.expert;
        let target = self.tokenizer.encode_with_end(&example.target).map_err(failed)?;
        self.total += 1;
        if self.total.is_multiple_of(250_000) {
            log::info!("tokenised {} pairs", self.total);
        }
        self.longest = self.longest.max(source.len()).max(target.len());
        if source.len() > self.max_source_tokens || target.len() > self.max_target_tokens {
            return Ok(None);
        }
        self.lengths.push([source.len() as u32, target.len() as u32]);
        Ok(Some(TokenPair { source, target }))
    }

    fn finish(self, store: Store<'a>) -> Result<TokenizedDataset<'a>, DistillError> {
        let Self { tokenizer, template, max_source_tokens: max_tokens, lengths, total, longest, .. } = self;
        let kept = lengths.len();
        let dropped = total - kept;
        if total == 0 {
            return Err(DistillError::NoData);
        }
        if kept == 0 {
            return Err(DistillError::NoPairs { dropped, max_tokens, longest });
        }
        if dropped > 0 {
            log::warn!(
                "kept {kept} of {total} pairs; the rest has more than {max_tokens} tokens (longest {longest}); raise \
                 `DistillationConfig::max_tokens` to keep them"
            );
        }
        Ok(TokenizedDataset { store, lengths, target_start: None, tokenizer, template, dropped })
    }
}

/// The largest number of tokens that a budget takes in the prompts of a template. It assumes a budget of at most three
/// digits and one token per digit.
fn max_budget_tokens(tokenizer: &Tokenizer, template: &PromptTemplate) -> Result<usize, TextError> {
    let mut largest = 0;
    for wording in 0..HelpBudget::WORDINGS {
        for budget in [HelpBudget::percent(100), HelpBudget::tokens(100)] {
            let prompt = template.clone().with_wording(wording).prompt(tokenizer, "any text", budget)?;
            largest = largest.max(prompt.student.len() - prompt.expert.len());
        }
    }
    Ok(largest)
}
