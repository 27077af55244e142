//! The tokens that a student can write.

use wheels_lm::ModelSpec;

/// The tokens that a student can write: every id below [`size`](Self::size) that is not a help token.
///
/// Help tokens are columns of the student's logits, but no text contains them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    size: usize,
    eos: Vec<u32>,
    /// The help token of each expert.
    expert_tokens: Vec<u32>,
    /// Help tokens without an expert.
    closed_tokens: Vec<u32>,
    no_repeat_ngram_size: usize,
    forced_bos: Option<u32>,
    forced_eos: Option<u32>,
}

impl Vocabulary {
    pub(crate) fn new(spec: &ModelSpec, expert_tokens: Vec<u32>, closed_tokens: Vec<u32>) -> Self {
        Self {
            size: spec.vocab_size,
            eos: spec.eos.clone(),
            expert_tokens,
            closed_tokens,
            no_repeat_ngram_size: 0,
            forced_bos: None,
            forced_eos: None,
        }
    }

    /// The same vocabulary, in which a text may not repeat an n-gram of this size; 0 disables the check.
    pub(crate) fn with_no_repeat_ngram_size(self, size: usize) -> Self {
        Self { no_repeat_ngram_size: size, ..self }
    }

    /// The same vocabulary, in which every text begins with this token.
    pub(crate) fn with_forced_bos(self, forced_bos: Option<u32>) -> Self {
        Self { forced_bos, ..self }
    }

    /// The same vocabulary, in which this token is the last one of a text that reaches its length limit.
    pub(crate) fn with_forced_eos(self, forced_eos: Option<u32>) -> Self {
        Self { forced_eos, ..self }
    }

    /// The last token of a text that reaches its length limit, if it is forced.
    pub(crate) fn forced_eos(&self) -> Option<u32> {
        self.forced_eos
    }

    /// The token that `text` must go on with, if there is one: a `forced_bos_token_id`.
    pub fn forced(&self, text: &[u32]) -> Option<u32> {
        self.forced_bos.filter(|_| text.is_empty())
    }

    /// The number of columns of the student's logits, help tokens included.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The tokens that end a text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Whether a token ends a text.
    pub fn ends(&self, token: u32) -> bool {
        self.eos.contains(&token)
    }

    /// The help tokens of the experts, in the order of the experts.
    pub(crate) fn expert_tokens(&self) -> &[u32] {
        &self.expert_tokens
    }

    /// Whether the student can write `token`.
    pub fn contains(&self, token: u32) -> bool {
        (token as usize) < self.size && !self.help_tokens().any(|help| help == token)
    }

    /// Whether `token` can follow `text`: the student can write it, no other token is forced, and it repeats no n-gram
    /// that may not be repeated. An answer should have no other tokens.
    pub fn allows(&self, text: &[u32], token: u32) -> bool {
        let forced = self.forced(text).is_none_or(|forced| forced == token);
        forced && self.contains(token) && !self.repeated(text).any(|repeated| repeated == token)
    }

    /// The highest token that the student can write, if there is one.
    pub fn last_token(&self) -> Option<u32> {
        (0..self.size as u32).rev().find(|&token| self.contains(token))
    }

    /// All help tokens, with and without an expert.
    pub(crate) fn help_tokens(&self) -> impl Iterator<Item = u32> {
        self.expert_tokens.iter().chain(&self.closed_tokens).copied()
    }

    /// The tokens that would repeat an n-gram of `text` if they followed it.
    pub(crate) fn repeated<'t>(&self, text: &'t [u32]) -> impl Iterator<Item = u32> + 't {
        let size = self.no_repeat_ngram_size;
        let start = size.checked_sub(1).and_then(|before| text.len().checked_sub(before));
        let end = start.map(|start| &text[start..]);
        let again = end.into_iter().flat_map(move |end| text.windows(size).filter(move |ngram| ngram.starts_with(end)));
        again.filter_map(|ngram| ngram.last().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tokens_cannot_be_written() {
        let spec = ModelSpec { vocab_size: 4, d_model: 4, pad: 0, eos: vec![1], max_positions: None };
        let vocabulary = Vocabulary::new(&spec, vec![1], vec![3]);
        assert!([0, 2].iter().all(|&token| vocabulary.contains(token)));
        assert!([1, 3, 4].iter().all(|&token| !vocabulary.contains(token)));
        assert_eq!(vocabulary.last_token(), Some(2));
    }

    #[test]
    fn tokens_that_would_repeat_an_ngram_are_found() {
        let spec = ModelSpec { vocab_size: 9, d_model: 9, pad: 0, eos: vec![1], max_positions: None };
        let repeated = |size, text: &[u32]| {
            let vocabulary = Vocabulary::new(&spec, vec![], vec![]).with_no_repeat_ngram_size(size);
            vocabulary.repeated(text).collect::<Vec<u32>>()
        };
        assert_eq!(repeated(2, &[4, 5, 6, 4]), [5]);
        assert_eq!(repeated(1, &[4, 5]), [4, 5]);
        assert!(repeated(3, &[4, 5, 6, 4]).is_empty());
        assert!(repeated(0, &[4, 4, 4]).is_empty());
        let vocabulary = Vocabulary::new(&spec, vec![8], vec![]).with_no_repeat_ngram_size(2);
        let allowed = |text: &[u32]| (0..9).filter(|&token| vocabulary.allows(text, token)).count();
        assert_eq!([allowed(&[4, 5, 6]), allowed(&[4, 5, 6, 4])], [8, 7]);
        let vocabulary = vocabulary.with_forced_bos(Some(3));
        assert!(vocabulary.allows(&[], 3) && !vocabulary.allows(&[], 4) && vocabulary.allows(&[3], 4));
    }
}
