//! Whitespace as Python's `str.split` and `str.rstrip` see it.

/// Whether Python's `str.isspace` holds: Unicode's White_Space, and the four information separators besides.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of a text, without the whitespace around and between them.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_separators_split_words_and_zero_width_space_does_not() {
        let text = " a\u{1c}b\u{1f}\u{a0}c\u{2028}\u{85}d\u{200b}e\t";
        assert_eq!(words(text).collect::<Vec<_>>(), ["a", "b", "c", "d\u{200b}e"]);
    }
}
