//! The Porter stemmer for English.

/// The rules of step 1a, for plurals.
const PLURALS: &[(&str, &str)] = &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];

/// The rules of step 2, which need m > 0 before the suffix.
const DOUBLE_SUFFIXES: &[(&str, &str)] = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

/// The rules of step 3, which need m > 0 before the suffix.
const SUFFIXES: &[(&str, &str)] =
    &[("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

/// The rules of step 4, which need m > 1 before the suffix. A suffix comes before any shorter suffix that ends it.
const ENDINGS: &[(&str, &str)] = &[
    ("al", ""),
    ("ance", ""),
    ("ence", ""),
    ("er", ""),
    ("ic", ""),
    ("able", ""),
    ("ible", ""),
    ("ant", ""),
    ("ement", ""),
    ("ment", ""),
    ("ent", ""),
    ("ion", ""),
    ("ou", ""),
    ("ism", ""),
    ("ate", ""),
    ("iti", ""),
    ("ous", ""),
    ("ive", ""),
    ("ize", ""),
];

/// The stem of an English word in lower case (Porter, "An algorithm for suffix stripping", Program 14, 1980).
///
/// Suffixes are removed in five steps. A rule applies only if enough of the word is left before its suffix. The paper
/// measures this by m: a word has the form `[C](VC)^m[V]`, in which C is a run of consonants and V a run of vowels. The
/// stem need not be a word.
///
/// The stems equal those of `PorterStemmer` in [nltk](https://www.nltk.org/api/nltk.stem.porter.html) in its default
/// mode. They differ from those of the paper in these points:
///
/// - A dozen irregular words have their stems in a table, and words of one or two letters do not change.
/// - `ies` and `ied` become `ie` in words of four letters (`dies`, `tied`). `ied` becomes `i` in longer words.
/// - A word of one vowel and one consonant counts as short, like a word that ends in consonant, vowel, consonant (the
///   paper's `*o`). So `use` keeps its `e`.
/// - `y` becomes `i` after a consonant that is not the first letter (in the paper: after a stem with a vowel). So `spy`
///   and `spies` have the same stem, and `enjoy` does not change.
/// - Step 2 has `bli` instead of `abli`, has the further suffixes `fulli` and `logi`, and continues after it has
///   replaced `alli`.
pub(super) fn porter_stem(word: &str) -> String {
    if let Some(stem) = irregular(word) {
        return stem.to_owned();
    }
    let mut word = word.to_owned();
    if length(&word) > 2 {
        remove_plural(&mut word);
        remove_ed_and_ing(&mut word);
        replace_y(&mut word);
        simplify_double_suffix(&mut word);
        replace(&mut word, SUFFIXES, |stem| measure(stem) > 0);
        remove_ending(&mut word);
        remove_e(&mut word);
        shorten_double_l(&mut word);
    }
    word
}

/// The stem of an irregular word.
fn irregular(word: &str) -> Option<&'static str> {
    Some(match word {
        "sky" | "skies" => "sky",
        "dying" => "die",
        "lying" => "lie",
        "tying" => "tie",
        "news" => "news",
        "inning" | "innings" => "inning",
        "outing" | "outings" => "outing",
        "canning" | "cannings" => "canning",
        "howe" => "howe",
        "proceed" => "proceed",
        "exceed" => "exceed",
        "succeed" => "succeed",
        _ => return None,
    })
}

/// Step 1a.
fn remove_plural(word: &mut String) {
    if length(word) == 4 && word.ends_with("ies") {
        word.pop();
    } else {
        replace(word, PLURALS, |_| true);
    }
}

/// Step 1b.
fn remove_ed_and_ing(word: &mut String) {
    if word.ends_with("ied") {
        let kept = if length(word) == 4 { "ie" } else { "i" };
        replace(word, &[("ied", kept)], |_| true);
    } else if word.ends_with("eed") {
        replace(word, &[("eed", "ee")], |stem| measure(stem) > 0);
    } else if replace(word, &[("ed", ""), ("ing", "")], has_vowel) {
        repair_end(word);
    }
}

/// The second half of step 1b: repairs the end of a word from which `ed` or `ing` was removed.
fn repair_end(word: &mut String) {
    if ["at", "bl", "iz"].iter().any(|end| word.ends_with(end)) {
        word.push('e');
    } else if ends_in_double_consonant(word) {
        if !word.ends_with(['l', 's', 'z']) {
            word.pop();
        }
    } else if measure(word) == 1 && is_short(word) {
        word.push('e');
    }
}

/// Step 1c.
fn replace_y(word: &mut String) {
    replace(word, &[("y", "i")], |stem| length(stem) > 1 && consonants(stem).ends_with(&[true]));
}

/// Step 2.
fn simplify_double_suffix(word: &mut String) {
    // "ationalli" becomes "ational", which is another suffix of this step.
    replace(word, &[("alli", "al")], |stem| measure(stem) > 0);
    if word.ends_with("logi") {
        // The l belongs to the stem here, so "geology" is treated like "archaeology".
        replace(word, &[("ogi", "og")], |stem| measure(stem) > 0);
    } else {
        replace(word, DOUBLE_SUFFIXES, |stem| measure(stem) > 0);
    }
}

/// Step 4.
fn remove_ending(word: &mut String) {
    let is_ion = word.ends_with("ion");
    replace(word, ENDINGS, |stem| measure(stem) > 1 && (!is_ion || stem.ends_with(['s', 't'])));
}

/// Step 5a.
fn remove_e(word: &mut String) {
    replace(word, &[("e", "")], |stem| measure(stem) > 1 || (measure(stem) == 1 && !is_short(stem)));
}

/// Step 5b.
fn shorten_double_l(word: &mut String) {
    // The first l belongs to the stem.
    replace(word, &[("ll", "l")], |stem| measure(&format!("{stem}l")) > 1);
}

/// Applies the first rule (suffix, replacement) whose suffix matches, if `condition` is true of the stem before it.
///
/// Returns whether the word changed. If the condition is false, no further rule is tried.
fn replace(word: &mut String, rules: &[(&str, &str)], condition: impl Fn(&str) -> bool) -> bool {
    let Some((suffix, replacement)) = rules.iter().find(|(suffix, _)| word.ends_with(suffix)) else {
        return false;
    };
    let stem = word.len() - suffix.len();
    let holds = condition(&word[..stem]);
    if holds {
        word.replace_range(stem.., replacement);
    }
    holds
}

/// The number of characters in a word.
fn length(word: &str) -> usize {
    word.chars().count()
}

/// Whether each character is a consonant. Vowels are a, e, i, o, u, and y after a consonant.
fn consonants(word: &str) -> Vec<bool> {
    let mut consonants: Vec<bool> = Vec::with_capacity(word.len());
    for c in word.chars() {
        consonants.push(match c {
            'a' | 'e' | 'i' | 'o' | 'u' => false,
            'y' => consonants.last() != Some(&true),
            _ => true,
        });
    }
    consonants
}

/// The paper's m: the number of times that a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| *pair == [false, true]).count()
}

/// The paper's `*v*`: whether the stem has a vowel.
fn has_vowel(stem: &str) -> bool {
    consonants(stem).contains(&false)
}

/// The paper's `*d`: whether the stem ends in two equal consonants.
fn ends_in_double_consonant(stem: &str) -> bool {
    let ending: Vec<char> = stem.chars().rev().take(2).collect();
    matches!(ending[..], [last, before] if last == before) && consonants(stem).ends_with(&[true])
}

/// The paper's `*o`: whether the stem ends in consonant, vowel, consonant, and the last is not w, x or y. A stem of one
/// vowel and one consonant is short as well.
fn is_short(stem: &str) -> bool {
    let consonants = consonants(stem);
    let ends_in_cvc = consonants.ends_with(&[true, false, true]) && !stem.ends_with(['w', 'x', 'y']);
    ends_in_cvc || consonants == [false, true]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_match_nltk_on_the_golden_words() {
        let json = crate::metric::golden("stems.json");
        let stems: std::collections::BTreeMap<String, String> = serde_json::from_str(&json).expect("words and stems");
        assert!(stems.len() >= 2000, "only {} stems", stems.len());
        for (word, stem) in stems {
            assert_eq!(porter_stem(&word), stem, "{word}");
        }
    }

    #[test]
    fn inflected_words_lose_their_endings() {
        let words = ["relational", "hopping", "hoping", "flies", "dies", "enjoyment"];
        assert_eq!(words.map(porter_stem), ["relat", "hop", "hope", "fli", "die", "enjoy"]);
    }

    #[test]
    fn the_measure_m_matches_the_examples_of_the_paper() {
        for (m, words) in [
            (0, ["tr", "ee", "tree", "y", "by"].as_slice()),
            (1, &["trouble", "oats", "trees", "ivy"]),
            (2, &["troubles", "private", "oaten", "orrery"]),
        ] {
            assert!(words.iter().all(|word| measure(word) == m), "{words:?}");
        }
    }

    #[test]
    fn y_is_a_vowel_only_after_a_consonant() {
        assert_eq!(consonants("syzygy"), [true, false, true, false, true, false]);
        assert_eq!(consonants("toy"), [true, false, true]);
        assert_eq!(consonants("yyyy"), [true, false, true, false]);
    }

    #[test]
    fn the_long_examples_of_the_paper_lose_all_suffixes() {
        assert_eq!(porter_stem("generalizations"), "gener");
        assert_eq!(porter_stem("oscillators"), "oscil");
    }

    #[test]
    fn only_the_first_matching_suffix_is_tried() {
        // m is 1 before "ement", so it stays. m is 2 before "ent", but that rule is not tried.
        assert_eq!(porter_stem("element"), "element");
    }
}
