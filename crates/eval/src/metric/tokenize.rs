//! The `13a` word tokenizer of BLEU.

use std::sync::LazyLock;

use regex::Regex;

use super::whitespace::{is_space, words};

/// Substitutions, in order, on a text with one space on either side.
static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let rule = |pattern| Regex::new(pattern).expect("the pattern is a constant that compiles");
    [
        // ASCII punctuation stands alone, except apostrophe, comma, hyphen and full stop.
        (rule(r"[ -&(-+:-@\[-`{-~/]"), " ${0} "),
        // Full stop and comma stand alone, unless a digit is before them ...
        (rule(r"([^0-9])([.,])"), "${1} ${2} "),
        // ... and one after.
        (rule(r"([.,])([^0-9])"), " ${1} ${2}"),
        // A hyphen stands alone after a digit.
        (rule(r"([0-9])(-)"), "${1} ${2} "),
    ]
});

/// Splits a text into words and punctuation as the WMT script mteval-v13a does, and sacrebleu after it under the name `13a`.
///
/// Only the digits and the punctuation of ASCII matter to its rules; everything else, such as `«` or an ideographic full
/// stop, stays with its word.
///
/// ```
/// let tokens = wheels_eval::metric::tokenize_13a("Costa 1,50 (circa), l'uno.");
/// assert_eq!(tokens, ["Costa", "1,50", "(", "circa", ")", ",", "l'uno", "."]);
/// ```
pub fn tokenize_13a(text: &str) -> Vec<String> {
    let text = text
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let spaced =
        RULES.iter().fold(format!(" {text} "), |text, (rule, with)| rule.replace_all(&text, *with).into_owned());
    words(&spaced).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ascii_punctuation_mark_but_four_stands_alone_between_letters() {
        for mark in (' '..='~').filter(char::is_ascii_punctuation) {
            let tokens = tokenize_13a(&format!("a{mark}b"));
            let expected = if "'-".contains(mark) { 1 } else { 3 };
            assert_eq!(tokens.len(), expected, "{mark}");
        }
    }

    #[test]
    fn a_decimal_mark_stays_between_ascii_digits_only() {
        assert_eq!(tokenize_13a("1.5 ٣.٤ 1-2"), ["1.5", "٣", ".", "٤", "1", "-", "2"]);
    }
}
