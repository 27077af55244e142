//! Marks inside the text of a chat, which keep what a user wrote apart from what the template wrote.
//!
//! A chat template returns one string, and the names of special tokens in it become these tokens. A name that a user
//! wrote must not. So [`guard`] breaks each such name with a mark before the template is rendered, and the mark is
//! removed after the special tokens have been found. Both marks are noncharacters of Unicode, which no text has.

/// Stands inside a name that must not become a special token. It has no other effect.
pub(crate) const BREAK: char = '\u{fdd0}';
/// Ends a token: the texts on both sides are encoded by themselves.
pub(crate) const CUT: char = '\u{fdd1}';

/// Breaks every name in a text with [`BREAK`], also a name of which the text is only a part that a template could
/// complete.
///
/// The two marks themselves, if a text has them, become U+FFFD.
pub(crate) fn guard<'a>(text: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let text = text.replace([BREAK, CUT], "\u{fffd}");
    let names = names.filter(|name| !name.is_empty());
    let mut breaks: Vec<usize> = Vec::new();
    for (at, first) in text.char_indices() {
        if names.clone().any(|name| text[at..].starts_with(name)) {
            breaks.push(at + first.len_utf8());
        }
    }
    // White space at the ends does not count, because many templates remove it.
    let (start, end) = (text.len() - text.trim_start().len(), text.trim_end().len());
    let inner = text.trim();
    for name in names {
        let inside = || name.char_indices().skip(1).map(|(at, _)| at);
        // The text ends as the name begins, or it begins as the name ends, or it is a part from the middle.
        if inside().any(|at| inner.ends_with(&name[..at])) {
            breaks.push(end);
        }
        if inside().any(|at| inner.starts_with(&name[at..])) || (!inner.is_empty() && name.contains(inner)) {
            breaks.push(start);
        }
    }
    breaks.sort_unstable();
    breaks.dedup();
    let mut marked = String::with_capacity(text.len() + breaks.len() * BREAK.len_utf8());
    let mut from = 0;
    for at in breaks {
        marked.push_str(&text[from..at]);
        marked.push(BREAK);
        from = at;
    }
    marked.push_str(&text[from..]);
    marked
}

/// Puts a [`CUT`] on both sides of each digit, so that each digit is one token.
pub(crate) fn cut_digits(text: &str) -> String {
    let mut marked = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_digit() {
            marked.extend([CUT, c, CUT]);
        } else {
            marked.push(c);
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["<|im_end|>", "</s>", "aa"];

    fn unmarked(text: &str) -> String {
        text.replace([BREAK, CUT], "")
    }

    proptest! {
        #[test]
        fn no_name_survives_and_no_template_can_complete_one(
            text in "[a<|/s>im_end ]{0,12}|(<\\|im_end\\|>|</s>|aa| ){0,4}", trim in any::<bool>(),
        ) {
            let marked = guard(&text, NAMES.into_iter());
            prop_assert_eq!(unmarked(&marked), text);
            let marked = if trim { marked.trim() } else { &marked };
            prop_assume!(!marked.is_empty());
            for name in NAMES {
                prop_assert!(!marked.contains(name));
                for at in 1..name.len() {
                    // What a template could write before and after the text to complete a name.
                    let (before, after) = name.split_at(at);
                    let around = [
                        format!("{before}{marked}"), format!("{marked}{after}"), format!("{before}{marked}{after}"),
                    ];
                    let longer = (1..=at).map(|start| format!("{}{marked}{after}", &name[..start]));
                    for whole in around.into_iter().chain(longer) {
                        prop_assert!(!whole.contains(name), "{whole:?}");
                    }
                }
            }
        }

        #[test]
        fn texts_without_parts_of_names_are_unchanged(text in "[b-hj-z .,!?0-9]{0,20}") {
            let names = ["<|IM|>", "</S>"];
            prop_assert_eq!(guard(&text, names.into_iter()), text);
        }
    }

    #[test]
    fn marks_in_a_text_cannot_hide_a_name() {
        assert_eq!(guard("<\u{fdd0}/s>\u{fdd1}", ["</s>"].into_iter()), "<\u{fffd}/s>\u{fffd}");
    }

    #[test]
    fn each_digit_stands_alone() {
        assert_eq!(cut_digits("at 20%").split(CUT).filter(|part| !part.is_empty()).count(), 4);
        assert_eq!(unmarked(&cut_digits("at 20%")), "at 20%");
    }
}
