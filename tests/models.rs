//! The embedded models, as their formats say that they write.
#![allow(clippy::unwrap_used)]

use training_wheels::device::{self, DeviceSpec, PlatformName};
use training_wheels::eval::Evaluation;
use training_wheels::{embedded, prelude::*};

#[test]
fn no_embedded_translation_has_six_tokens_twice() {
    let device = device::open(&DeviceSpec::best(PlatformName::Cpu)).unwrap().device;
    let models = Models::embedded(&embedded::TRANSLATION, &device).unwrap();
    let (student, sample) = (&models.student, embedded::TRANSLATION.sample().take(60));
    let budget = HelpBudget::percent(10);
    let prompts = Evaluation::new(&sample, &student.tokenizer, &student.format).prompts(budget).unwrap();
    let repeats = |decoder: BudgetedDecoder<'_>| -> usize {
        let texts = decoder.decode(&prompts, Seed(7)).unwrap().trajectories;
        let again = |tokens: Vec<u32>| {
            let ngrams: Vec<&[u32]> = tokens.windows(6).collect();
            (1..ngrams.len()).any(|at| ngrams[..at].contains(&ngrams[at]))
        };
        texts.iter().filter(|text| again(text.tokens())).count()
    };
    let decoder = || models.asking(student.asking(budget, &prompts));
    assert_eq!(repeats(decoder()), 0);
    assert!(repeats(decoder().no_repeat_ngram_size(0)) > 0, "without the option some do");
}
