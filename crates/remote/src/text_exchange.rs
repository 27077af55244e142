//! Answers as text: where they are cut, and the student's tokens for them.

use unicode_segmentation::UnicodeSegmentation;
use wheels_text::{TextError, Tokenizer};

/// The part of an answer that can be used. `is_whole` says that the text ends after the answer, so that nothing is cut.
///
/// An answer that stopped at its length limit can end within a word or a character. Its last word is left out if there are
/// words before it. Otherwise the last character is left out if more of it may follow, and parts of one are always left out.
pub(crate) fn usable(answer: &str, is_whole: bool) -> &str {
    let answer = answer.trim_end_matches(char::REPLACEMENT_CHARACTER);
    if is_whole {
        return answer;
    }
    match answer.split_word_bound_indices().next_back() {
        // White space before a word belongs to the word in most vocabularies.
        Some((last, _)) if !answer[..last].trim().is_empty() => answer[..last].trim_end(),
        _ => match answer.grapheme_indices(true).next_back() {
            Some((last, grapheme)) if grapheme.chars().count() > 1 && !answer[..last].trim().is_empty() => {
                &answer[..last]
            }
            _ => answer,
        },
    }
}

/// The text of some tokens. None if it ends within a character.
pub(crate) fn text_of(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Option<String>, TextError> {
    let text = tokenizer.decode(ids)?;
    Ok((!text.ends_with(char::REPLACEMENT_CHARACTER)).then_some(text))
}

/// The student's tokens for `answer` after `text`, which spell exactly this. None if there are none: the vocabulary may lack
/// a character, or join the two texts in a token.
pub(crate) fn continuation(
    tokenizer: &Tokenizer,
    text: &[u32],
    written: &str,
    answer: &str,
) -> Result<Option<Vec<u32>>, TextError> {
    let whole = format!("{written}{answer}");
    let together = tokenizer.encode(&whole)?;
    if let Some(ids) = together.strip_prefix(text)
        && tokenizer.decode(&together)? == whole
    {
        return Ok(Some(ids.to_vec()));
    }
    let apart = tokenizer.encode(answer)?;
    let joined = [text, &apart].concat();
    Ok((tokenizer.decode(&joined)? == whole).then_some(apart))
}

/// The first tokens of an answer, at most `most`, that do not end within a character.
pub(crate) fn whole_characters(tokenizer: &Tokenizer, ids: &[u32], most: usize) -> Result<usize, TextError> {
    for length in (1..=ids.len().min(most)).rev() {
        if text_of(tokenizer, &ids[..length])?.is_some() {
            return Ok(length);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wheels_text::TokenizerConfig;

    use super::*;

    #[test]
    fn an_answer_is_cut_after_a_word_and_never_within_a_character() {
        for (answer, cut) in [
            (" of the edi", " of the"),
            (" experi", " experi"),
            ("ence", "ence"),
            (" citt\u{fffd}", " citt"),
            ("\u{fffd}\u{fffd}", ""),
            (" e\u{301}", " e\u{301}"),
            ("ab\u{1f468}\u{200d}", "ab"),
            ("", ""),
        ] {
            assert_eq!(usable(answer, false), cut, "{answer:?}");
        }
        assert_eq!(usable(" of the end.", true), " of the end.");
        assert_eq!(usable(" half \u{fffd}", true), " half ");
    }

    fn tokenizer() -> Tokenizer {
        let lines = ["the editor of the text".to_owned()];
        Tokenizer::train(TokenizerConfig::default().with_vocab_size(290), lines).unwrap()
    }

    #[test]
    fn the_tokens_of_an_answer_spell_it_after_the_text() {
        let tokenizer = tokenizer();
        for (written, answer) in [("the ed", "itor"), ("the", " editor"), ("", "the"), ("x", "é")] {
            let text = tokenizer.encode(written).unwrap();
            let ids = continuation(&tokenizer, &text, written, answer).unwrap().unwrap();
            let whole = tokenizer.decode(&[text, ids].concat()).unwrap();
            assert_eq!(whole, format!("{written}{answer}"));
        }
    }

    #[test]
    fn tokens_are_left_out_until_the_last_character_is_whole() {
        let tokenizer = tokenizer();
        let euro = tokenizer.encode("€").unwrap();
        assert_eq!(euro.len(), 3);
        let ids = [tokenizer.encode("the").unwrap(), euro].concat();
        let the = ids.len() - 3;
        assert_eq!(whole_characters(&tokenizer, &ids, ids.len() - 1).unwrap(), the);
        assert_eq!(whole_characters(&tokenizer, &ids, ids.len()).unwrap(), ids.len());
        assert_eq!(whole_characters(&tokenizer, &ids[the..], 2).unwrap(), 0);
    }
}
