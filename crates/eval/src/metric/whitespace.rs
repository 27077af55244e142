//! Whitespace as in Python's `str.split` and `str.rstrip`, on which the reference implementations rely.

/// Whether Python's `str.isspace` is true: for Unicode's White_Space and the four information separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of a text, which whitespace separates.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_separators_split_words_and_zero_width_spaces_do_not() {
        let text = " a\u{1c}b\u{1f}\u{a0}c\u{2028}\u{85}d\u{200b}e\t";
        assert_eq!(words(text).collect::<Vec<_>>(), ["a", "b", "c", "d\u{200b}e"]);
    }
}
