//! The word tokenizer `13a` of BLEU.

use std::sync::LazyLock;

use regex::Regex;

use super::whitespace::{is_space, words};

/// The substitutions, in order. They expect a space before and after the text.
static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let rule = |pattern| Regex::new(pattern).expect("the pattern is a constant that compiles");
    [
        // ASCII punctuation is split off, except apostrophe, comma, hyphen and full stop.
        (rule(r"[ -&(-+:-@\[-`{-~/]"), " ${0} "),
        // A full stop or a comma is split off if no digit precedes it ...
        (rule(r"([^0-9])([.,])"), "${1} ${2} "),
        // ... or no digit follows it.
        (rule(r"([.,])([^0-9])"), " ${1} ${2}"),
        // A hyphen is split off after a digit.
        (rule(r"([0-9])(-)"), "${1} ${2} "),
    ]
});

/// Splits a text into words and punctuation, as sacrebleu's tokenizer `13a` and the WMT script mteval-v13a do.
///
/// The rules know only the digits and the punctuation of ASCII. All other marks, such as `«` or an ideographic full
/// stop, stay attached to their word.
pub(super) fn tokenize_13a(text: &str) -> Vec<String> {
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
    fn tokens_match_sacrebleu_on_the_golden_pairs() {
        #[derive(serde::Deserialize)]
        struct Pair {
            hypothesis: String,
            tokens: Vec<String>,
        }
        for line in crate::metric::golden("pairs.jsonl").lines() {
            let pair: Pair = serde_json::from_str(line).expect("a pair on every line");
            assert_eq!(tokenize_13a(&pair.hypothesis), pair.tokens, "{:?}", pair.hypothesis);
        }
    }

    #[test]
    fn a_price_stays_whole_and_punctuation_is_split_off() {
        let tokens = tokenize_13a("Costa 1,50 (circa), l'uno.");
        assert_eq!(tokens, ["Costa", "1,50", "(", "circa", ")", ",", "l'uno", "."]);
    }

    #[test]
    fn ascii_punctuation_between_letters_is_split_off_except_apostrophe_and_hyphen() {
        for mark in (' '..='~').filter(char::is_ascii_punctuation) {
            let tokens = tokenize_13a(&format!("a{mark}b"));
            let expected = if "'-".contains(mark) { 1 } else { 3 };
            assert_eq!(tokens.len(), expected, "{mark}");
        }
    }

    #[test]
    fn a_decimal_mark_stays_only_between_ascii_digits() {
        assert_eq!(tokenize_13a("1.5 ٣.٤ 1-2"), ["1.5", "٣", ".", "٤", "1", "-", "2"]);
    }
}
