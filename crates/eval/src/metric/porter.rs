//! The Porter stemmer.

/// Step 1a, on plurals.
const PLURALS: &[(&str, &str)] = &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];

/// Step 2, where m > 0 before the suffix.
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

/// Step 3, where m > 0 before the suffix.
const SUFFIXES: &[(&str, &str)] =
    &[("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

/// Step 4, where m > 1 before the suffix; a suffix comes before those that it ends with.
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

/// The stem of an English word in lower case, after Porter, "An algorithm for suffix stripping" (Program 14, 1980).
///
/// Suffixes fall off in five steps. A rule applies where enough is left before its suffix, as counted by m: a word is
/// `[C](VC)^m[V]`, with C and V for runs of consonants and of vowels. The stem need not be a word.
///
/// The stems equal those of [nltk](https://www.nltk.org/api/nltk.stem.porter.html)'s `PorterStemmer` in its default mode,
/// which changes the paper's algorithm in the following:
///
/// - A dozen irregular words have their stems in a table, and words of one or two letters stay.
/// - `ies` and `ied` become `ie` in words of four letters, and `ied` becomes `i` in all others: `dies`, `tied`.
/// - A vowel and a consonant alone count as short, as what ends in consonant, vowel, consonant does (the paper's `*o`), so
///   that `use` keeps its `e`.
/// - `y` becomes `i` after any consonant but one that begins the word (the paper: after any stem with a vowel), so `spy`
///   and `spies` share a stem, and `enjoy` stays.
/// - Step 2 takes `bli` for `abli`, adds `fulli` and `logi`, and goes on with what `alli` leaves.
///
/// ```
/// use wheels_eval::metric::porter_stem;
///
/// let words = ["relational", "hopping", "hoping", "flies", "dies", "enjoyment"];
/// assert_eq!(words.map(porter_stem), ["relat", "hop", "hope", "fli", "die", "enjoy"]);
/// ```
pub fn porter_stem(word: &str) -> String {
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
        mend(word);
    }
}

/// The second half of step 1b: gives a word whose `ed` or `ing` is gone its end back.
fn mend(word: &mut String) {
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
    // What is left of "ationalli" and the like has a suffix of this step again.
    replace(word, &[("alli", "al")], |stem| measure(stem) > 0);
    if word.ends_with("logi") {
        // The l counts with the stem, so that "geology" is treated as "archaeology" is.
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
    // The first l counts with the stem.
    replace(word, &[("ll", "l")], |stem| measure(&format!("{stem}l")) > 1);
}

/// Applies the first rule (suffix, replacement) whose suffix the word has, if `condition` holds of what is before it;
/// whether it did.
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

/// The characters of a word.
fn length(word: &str) -> usize {
    word.chars().count()
}

/// Whether each character is a consonant: all but a, e, i, o, u, and y after a consonant.
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

/// The paper's m: how often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| *pair == [false, true]).count()
}

/// The paper's `*v*`.
fn has_vowel(stem: &str) -> bool {
    consonants(stem).contains(&false)
}

/// The paper's `*d`.
fn ends_in_double_consonant(stem: &str) -> bool {
    let ending: Vec<char> = stem.chars().rev().take(2).collect();
    matches!(ending[..], [last, before] if last == before) && consonants(stem).ends_with(&[true])
}

/// The paper's `*o`: consonant, vowel, consonant at the end, the last not w, x or y. Also a vowel and a consonant alone.
fn is_short(stem: &str) -> bool {
    let consonants = consonants(stem);
    let ends_in_cvc = consonants.ends_with(&[true, false, true]) && !stem.ends_with(['w', 'x', 'y']);
    ends_in_cvc || consonants == [false, true]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_of_the_paper() {
        for (m, words) in [
            (0, ["tr", "ee", "tree", "y", "by"].as_slice()),
            (1, &["trouble", "oats", "trees", "ivy"]),
            (2, &["troubles", "private", "oaten", "orrery"]),
        ] {
            assert!(words.iter().all(|word| measure(word) == m), "{words:?}");
        }
    }

    #[test]
    fn y_is_a_vowel_after_a_consonant_only() {
        assert_eq!(consonants("syzygy"), [true, false, true, false, true, false]);
        assert_eq!(consonants("toy"), [true, false, true]);
        assert_eq!(consonants("yyyy"), [true, false, true, false]);
    }

    #[test]
    fn the_generalizations_of_the_paper_lose_all_their_suffixes() {
        assert_eq!(porter_stem("generalizations"), "gener");
        assert_eq!(porter_stem("oscillators"), "oscil");
    }

    #[test]
    fn the_first_suffix_that_a_word_has_decides_alone() {
        // m is 1 before "ement", which must not fall; it is 2 before "ent", which is never asked.
        assert_eq!(porter_stem("element"), "element");
    }
}
