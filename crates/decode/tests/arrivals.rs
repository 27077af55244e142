//! Tests of texts that arrive while others are decoded, and of texts that are cancelled.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::*;
use wheels_decode::{
    BudgetedDecoder, DecodeError, DecodeStats, End, Experts, HelpRule, NewText, Policy, Readout, Sampler, Step,
    Teacher, Trajectory,
};
use wheels_text::{HelpBudget, Prompt, Seed};

const LIMIT: usize = 12;

/// A text, when it arrives and when it is cancelled.
#[derive(Clone, Debug)]
struct Visit {
    budget: HelpBudget,
    sampler: Option<Sampler>,
    limit: Option<usize>,
    /// The number of rounds between the arrival of the text before and this one.
    pause: usize,
    /// The number of rounds after which it is cancelled.
    patience: Option<usize>,
}

impl Visit {
    fn text<'p>(&self, prompt: &'p Prompt, seed: Seed) -> NewText<'p> {
        NewText { prompt, seed, sampler: self.sampler, max_new_tokens: self.limit }
    }
}

fn any_sampler() -> impl Strategy<Value = Sampler> {
    prop_oneof![
        Just(Sampler::Greedy),
        Just(Sampler::plain()),
        Just(Sampler::Sample { temperature: 1.3, top_k: Some(4), top_p: Some(0.9) }),
    ]
}

fn any_visit() -> impl Strategy<Value = Visit> {
    let sampler = prop::option::of(any_sampler());
    let limit = prop::option::of(0..=LIMIT);
    let patience = prop_oneof![Just(None), (0_usize..6).prop_map(Some)];
    (any_budget(), sampler, limit, 0_usize..4, patience).prop_map(|(budget, sampler, limit, pause, patience)| Visit {
        budget,
        sampler,
        limit,
        pause,
        patience,
    })
}

/// What became of each text, what an observer was told about each, and the work.
type Outcome = (Vec<Option<Trajectory>>, Vec<Vec<Told>>, DecodeStats);

/// Decodes texts that come and go. Each begins at its time, or as soon as there is room after it.
fn decode(decoder: &BudgetedDecoder<'_>, prompts: &[Prompt], visits: &[Visit]) -> Outcome {
    let vocabulary = decoder.vocabulary().unwrap();
    let mut session = decoder.session(&vocabulary).unwrap();
    let mut listener = Listener(vec![vec![]; visits.len()]);
    let mut finished = vec![None; visits.len()];
    let (mut next, mut arrival, mut leaving) = (0, 0, BTreeMap::new());
    for round in 0.. {
        while next < visits.len() && round >= arrival + visits[next].pause && session.room() > 0 {
            let text = visits[next].text(&prompts[next], Seed(next as u64).nth(0));
            assert_eq!(session.add(&[text]).unwrap(), next..next + 1);
            leaving.extend(visits[next].patience.map(|patience| (next, round + patience)));
            (next, arrival) = (next + 1, round);
        }
        for (&index, _) in leaving.iter().filter(|leaving| *leaving.1 == round) {
            session.cancel(index);
        }
        if session.is_idle() && next == visits.len() {
            break;
        }
        for (index, text) in session.round(&mut listener).unwrap() {
            assert!(finished[index].replace(text).is_none(), "text {index} ended twice");
        }
    }
    (finished, listener.0, session.stats())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_text_is_that_of_its_prompt_alone_whatever_arrives_or_leaves(
        tables in 0_u64..1000,
        batch_size in 1_usize..6,
        help_batch in prop_oneof![Just(1_usize), Just(3), Just(100)],
        refill in prop::option::of(1_usize..4),
        rule in any_rule(),
        verification in any_verification(),
        sampler in any_sampler(),
        // The second expert declines always, or answers with several tokens.
        second in prop_oneof![Just(vec![]), Just(vec![2, 3])],
        readout in prop_oneof![Just(Readout::Host), Just(Readout::Device)],
        visits in prop::collection::vec(any_visit(), 1..16),
    ) {
        let (student, teacher) = (table(2, tables), table(0, 2000 + tables));
        let budgets: Vec<HelpBudget> = visits.iter().map(|visit| visit.budget).collect();
        let prompts = prompts_with(&budgets);
        let decoder = |sampler, limit| {
            let experts = Experts::new().with(HELP, Teacher::new(&teacher));
            let experts = experts.with(HELP + 1, Patient(fixed_answer(second.clone())));
            BudgetedDecoder::new(Policy::new(&student, sampler).with_help_rule(rule), experts)
                .with_max_new_tokens(limit)
                .with_verification(verification)
                .with_readout(readout)
        };
        let together = decoder(sampler, LIMIT).with_batch_size(batch_size).with_help_batch(help_batch);
        let together = match refill {
            Some(rows) => together.with_refill(rows),
            None => together,
        };
        let (texts, told, stats) = decode(&together, &prompts, &visits);
        let mut tokens = 0;
        for (index, visit) in visits.iter().enumerate() {
            let alone = decoder(visit.sampler.unwrap_or(sampler), visit.limit.unwrap_or(LIMIT));
            let mut listener = Listener(vec![vec![]]);
            let decoded = alone.decode_with(&prompts[index..=index], Seed(index as u64), &mut listener).unwrap();
            match &texts[index] {
                Some(text) => {
                    prop_assert_eq!(text, &decoded.trajectories[0]);
                    prop_assert_eq!(&told[index], &listener.0[0]);
                    tokens += text.steps.len() as u64;
                }
                None => {
                    prop_assert!(visit.patience.is_some(), "text {} was not cancelled and did not end", index);
                    prop_assert!(listener.0[0].starts_with(&told[index]));
                }
            }
        }
        prop_assert!(stats.tokens >= tokens);
    }
}

fn endless(limit: usize) -> (wheels_lm::TabularLm, NewText<'static>, usize) {
    static PROMPT: std::sync::LazyLock<Prompt> = std::sync::LazyLock::new(|| prompt(&[2, EOS], FULL));
    (constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]), NewText::new(&PROMPT, Seed(0)), limit)
}

#[test]
fn a_cancelled_text_frees_its_row_and_gets_no_more_steps() {
    let (model, text, limit) = endless(100);
    let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new()).with_max_new_tokens(limit);
    let decoder = decoder.with_batch_size(2);
    let vocabulary = decoder.vocabulary().unwrap();
    let mut session = decoder.session(&vocabulary).unwrap();
    let mut steps = vec![0; 3];
    let mut observer = |index: usize, _: &Step| steps[index] += 1;
    session.add(&[text, text]).unwrap();
    assert_eq!(session.room(), 0);
    assert!(session.round(&mut observer).unwrap().is_empty());
    let cancelled = session.cancel(0).unwrap();
    assert_eq!((cancelled.steps.len(), cancelled.end, session.stats().tokens), (1, End::Length, 1));
    assert_eq!(session.cancel(0), None);
    assert_eq!(session.room(), 1);
    session.add(&[text]).unwrap();
    assert!(session.round(&mut observer).unwrap().is_empty());
    assert_eq!(session.stats().tokens, 1, "the work of a cancelled text counts");
    assert_eq!(steps, [1, 2, 1]);
}

#[test]
fn texts_that_do_not_fit_leave_the_others_as_they_were() {
    let (model, text, limit) = endless(3);
    let teacher = table(0, 1);
    let experts = Experts::new().with(HELP, Teacher::new(&teacher)).with(HELP + 1, Teacher::new(&teacher));
    let policy = Policy::greedy(&model).with_help_rule(HelpRule::Random(0.5));
    let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(limit).with_batch_size(3);
    let vocabulary = decoder.vocabulary().unwrap();
    let mut session = decoder.session(&vocabulary).unwrap();
    session.add(&[text]).unwrap();
    let mut nobody = |_: usize, _: &Step| {};
    session.round(&mut nobody).unwrap();

    let empty = prompt(&[], FULL);
    let foreign = Prompt { student: vec![2], expert: vec![99], budget: FULL };
    let cold = text.with_sampler(Sampler::Sample { temperature: 0.0, top_k: None, top_p: None });
    assert!(matches!(session.add(&[text, text, text]), Err(DecodeError::NoRoom { texts: 3, room: 2 })));
    let empty = session.add(&[text, NewText::new(&empty, Seed(0))]);
    assert!(matches!(empty, Err(DecodeError::EmptyPrompt { row: 2 })));
    let foreign = session.add(&[text, NewText::new(&foreign, Seed(0))]);
    assert!(matches!(foreign, Err(DecodeError::PromptToken { row: 2, token: 99, .. })));
    assert!(matches!(session.add(&[cold]), Err(DecodeError::Sampler { setting: "temperature", .. })));

    assert_eq!(session.add(&[text, text]).unwrap(), 1..3);
    let mut finished = 0;
    while !session.is_idle() {
        finished += session.round(&mut nobody).unwrap().len();
    }
    assert_eq!(finished, 3);
}

#[test]
fn an_expert_that_takes_no_new_texts_has_no_session() {
    let model = table(1, 1);
    let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new().with(HELP, fixed_answer(vec![3])));
    let vocabulary = decoder.vocabulary().unwrap();
    assert!(matches!(decoder.session(&vocabulary).err(), Some(DecodeError::FixedTexts)));
}
