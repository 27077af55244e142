//! Data sets as token ids, and the prompts of their pairs.

use wheels_text::{BudgetPlacement, Dataset, Example, HelpBudget, Prompt, PromptTemplate, TextError, Tokenizer};

use crate::DistillError;

/// The prompt for a source text and its target, as token ids. The target ends with the end-of-text token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// The text that the model reads.
    pub source: Vec<u32>,
    /// The text that the model learns to write.
    pub target: Vec<u32>,
}

/// Training pairs, and a prompt of each pair for any budget.
pub trait PromptSource: Sync {
    /// All pairs.
    fn pairs(&self) -> &[TokenPair];

    /// The prompt of a pair that states a budget in one of the wordings ([`HelpBudget::words`]).
    ///
    /// # Errors
    /// If the prompt does not fit the limits of its template.
    fn prompt(&self, index: usize, budget: HelpBudget, wording: usize) -> Result<Prompt, TextError>;
}

/// A tokenised [`Dataset`]: the pairs that fit a length limit, and their prompts.
#[derive(Debug)]
pub struct TokenizedDataset<'a> {
    examples: Vec<&'a Example>,
    pairs: Vec<TokenPair>,
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
        if dataset.is_empty() {
            return Err(DistillError::NoData);
        }
        let unlimited = template.clone().with_max_tokens(usize::MAX);
        let budget_tokens =
            max_budget_tokens(tokenizer, &unlimited).map_err(|source| DistillError::Prompt { index: 0, source })?;
        // The template rejects longer prompts. Without this limit here, such a prompt would stop a run in the middle.
        let max_source_tokens = max_tokens.min(template.max_tokens.saturating_sub(budget_tokens));
        let plain = unlimited.with_budget(BudgetPlacement::None);
        let (mut examples, mut pairs, mut longest) = (Vec::new(), Vec::new(), 0);
        for (index, example) in dataset.iter().enumerate() {
            let failed = |source| DistillError::Prompt { index, source };
            let source = plain.prompt_of(tokenizer, example, HelpBudget::percent(0)).map_err(failed)?.expert;
            let target = tokenizer.encode_with_end(&example.target).map_err(failed)?;
            longest = longest.max(source.len()).max(target.len());
            if source.len() <= max_source_tokens && target.len() <= max_tokens {
                examples.push(example);
                pairs.push(TokenPair { source, target });
            }
        }
        let dropped = dataset.len() - pairs.len();
        if pairs.is_empty() {
            return Err(DistillError::NoPairs { dropped, max_tokens: max_source_tokens, longest });
        }
        if dropped > 0 {
            let (kept, total) = (pairs.len(), dataset.len());
            log::warn!(
                "kept {kept} of {total} pairs; {dropped} have more than {max_source_tokens} tokens (longest \
                 {longest}); raise max_tokens to keep them"
            );
        }
        Ok(Self { examples, pairs, tokenizer, template: template.clone(), dropped })
    }

    /// The same data, whose targets begin with a token, such as the language of a translation.
    #[must_use]
    pub fn with_target_start(mut self, token: Option<u32>) -> Self {
        for pair in &mut self.pairs {
            pair.target.splice(0..0, token);
        }
        self
    }

    /// The examples that were kept, in order.
    pub fn examples(&self) -> &[&'a Example] {
        &self.examples
    }

    /// The number of pairs that were dropped because of their length.
    pub fn dropped(&self) -> usize {
        self.dropped
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

impl PromptSource for TokenizedDataset<'_> {
    fn pairs(&self) -> &[TokenPair] {
        &self.pairs
    }

    fn prompt(&self, index: usize, budget: HelpBudget, wording: usize) -> Result<Prompt, TextError> {
        let template = self.template.clone().with_wording(wording);
        template.prompt_of(self.tokenizer, self.examples[index], budget)
    }
}
