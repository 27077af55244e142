//! A server as the teacher of a student on another machine.

use training_wheels::Pair;
use training_wheels::decode::{Decoder, HelpRule, Verification};
use training_wheels::remote::{RemoteConfig, RemoteError, RemoteTeacher, TextLogProbs, TokenExchange};
use training_wheels::text::{Example, HelpBudget, Seed};
use wheels_serve::Served;

use crate::support::{Running, config, embedded, llama, llama_of};

#[test]
fn a_student_with_this_server_as_its_teacher_writes_the_texts_of_the_pair() {
    let pair = Pair::new(llama_of(6).with_help_token("teacher").unwrap(), llama()).unwrap();
    let server = Running::start(Served::model(llama()).unwrap(), config());
    let config =
        RemoteConfig::new(server.url("/v1"), wheels_serve::ServerConfig::default().model_name).with_top_log_probs(20);
    let remote = RemoteTeacher::connect(config, &pair.student.tokenizer).unwrap();
    let features = remote.features();
    assert_eq!((features.tokens, features.text_log_probs), (TokenExchange::Ids, TextLogProbs::Echo));
    let policy = pair.policy().with_help_rule(HelpRule::Every(2));
    for budget in [HelpBudget::percent(20), HelpBudget::percent(100), HelpBudget::tokens(3)] {
        let prompts = pair.prompts(&["one and two", "three", "four and one and two"], budget).unwrap();
        for verification in [Verification::default(), Verification::LOSSLESS] {
            let local = pair.decoder_with(policy).with_verification(verification);
            let found = pair.decoder_of(policy, &remote).with_verification(verification);
            let [local, found] = [local, found].map(|decoder| decoder.decode(&prompts, Seed(3)).unwrap().trajectories);
            assert_eq!(found, local, "{budget}, {verification:?}");
        }
    }
    let sources = ["one", "two and four"].map(|source| Example::new(source, ""));
    let teacher = &pair.teacher;
    let texts = remote.write_texts(&teacher.template, &teacher.generation, &sources, Seed(0)).unwrap();
    let expected = teacher.write_texts(&sources, Seed(0)).unwrap();
    assert_eq!(texts.len(), expected.len());
    for (found, expected) in texts.iter().zip(expected.iter()) {
        // The server leaves out a character of which a text that was cut has only a part.
        assert_eq!(
            (&found.source, found.target.as_str()),
            (&expected.source, expected.target.trim_end_matches('\u{fffd}'))
        );
    }
}

#[test]
fn an_encoder_decoder_behind_this_server_is_no_teacher() {
    let pair = embedded();
    let server = Running::start(Served::model(pair.teacher).unwrap(), config());
    let config = RemoteConfig::new(server.url("/v1"), wheels_serve::ServerConfig::default().model_name);
    let error = RemoteTeacher::connect(config, &pair.student.tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::Unsupported { .. }), "{error}");
}
