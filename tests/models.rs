//! The embedded models, and model folders of earlier versions.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use training_wheels::ModelFile;
use training_wheels::decode::{Enforcement, Trajectory};
use training_wheels::device::{self, PlatformName};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

fn cpu() -> burn::tensor::Device {
    device::open(&DeviceSpec::best(PlatformName::Cpu)).unwrap().device
}

/// Whether a text contains an n-gram of six tokens twice.
fn repeats_itself(text: &Trajectory) -> bool {
    let tokens = text.tokens();
    let ngrams: Vec<&[u32]> = tokens.windows(6).collect();
    (1..ngrams.len()).any(|at| ngrams[..at].contains(&ngrams[at]))
}

#[test]
fn no_embedded_translation_has_six_tokens_twice() {
    let pair = support::pair(&TRANSLATION, &cpu());
    let sample = support::sample(&TRANSLATION).take(60);
    let evaluation = Evaluation::new(&sample, &pair.student.tokenizer, &pair.student.template);
    let prompts = evaluation.prompts(HelpBudget::percent(10)).unwrap();
    let repeats = |decoder: BudgetedDecoder<'_>| {
        let decoded = decoder.decode(&prompts, Seed(7)).unwrap();
        decoded.trajectories.iter().filter(|text| repeats_itself(text)).count()
    };
    assert_eq!(repeats(pair.decoder()), 0);
    assert!(repeats(pair.decoder().with_no_repeat_ngram_size(0)) > 0, "some texts do without the option");
}

/// The prompt.json and the asking.json that earlier versions wrote for the embedded student.
const OLD_PROMPT: &str = r#"{
    "prefix": "", "budget": "before", "wording": 0, "max_tokens": 256, "max_new_tokens": 256, "no_repeat_ngram_size": 6
}"#;

fn old_calibration() -> String {
    let (_, calibration) = TRANSLATION.student.iter().find(|(name, _)| *name == "calibration.json").unwrap();
    let json = std::str::from_utf8(calibration).unwrap();
    assert!(json.contains("\"confidence\""));
    json.replace("\"confidence\"", "\"measure\"")
}

/// Two students have the same settings, and the same heads: they decide alike in every place.
fn assert_same_student(found: &TextModel, expected: &TextModel, teacher: &TextModel) {
    assert_eq!(found.template, expected.template);
    assert_eq!(found.generation, expected.generation);
    assert_eq!(found.calibration, expected.calibration);
    assert!(found.calibration.is_some());
    assert_eq!(found.prices, expected.prices);
    assert!(found.prices.is_some() && found.model.has_heads());
    let decode = |student: &TextModel| {
        let pair = Pair::new(student.clone(), teacher.clone()).unwrap();
        let prompts = pair.prompts(&["a text editor", "a fast web browser"], HelpBudget::percent(20)).unwrap();
        let decoder = pair.decoder().with_enforcement(Enforcement::Off);
        (decoder.decode(&prompts, Seed(7)).unwrap().trajectories, pair.forecast(&prompts).unwrap())
    };
    assert_eq!(decode(found), decode(expected));
}

#[test]
fn model_folders_of_earlier_versions_still_open() {
    let pair = support::pair(&TRANSLATION, &cpu());
    let new_files = ["calibration.json", "generation_config.json", "student_config.json", "prompt.json"];
    let calibration = old_calibration();

    let folder = tempfile::tempdir().unwrap();
    support::unpack(TRANSLATION.student, &new_files, folder.path());
    fs::write(folder.path().join("asking.json"), &calibration).unwrap();
    fs::write(folder.path().join("prompt.json"), OLD_PROMPT).unwrap();
    let opened = TextModel::open(folder.path(), &cpu()).unwrap();
    assert_same_student(&opened, &pair.student, &pair.teacher);

    let mut files: Vec<ModelFile<'_>> =
        TRANSLATION.student.iter().copied().filter(|(name, _)| !new_files.contains(name)).collect();
    files.extend([("asking.json", calibration.as_bytes()), ("prompt.json", OLD_PROMPT.as_bytes())]);
    let opened = TextModel::from_files("an old student", &files, &cpu()).unwrap();
    assert_same_student(&opened, &pair.student, &pair.teacher);

    // Saved again, it is a folder of this version.
    let saved = tempfile::tempdir().unwrap();
    opened.save(saved.path(), training_wheels::lm::FloatFormat::F32).unwrap();
    for file in new_files {
        assert!(saved.path().join(file).exists(), "{file} is written");
    }
    assert!(!saved.path().join("asking.json").exists());
    assert_same_student(&TextModel::open(saved.path(), &cpu()).unwrap(), &pair.student, &pair.teacher);
}
