//! What looking back promises, checked where the truth is known: models that are tables.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use support::*;
use wheels_decode::{
    Advice, Asking, BudgetedDecoder, Case, Consultation, DecodeError, DecodeStats, Decoded, Decoder, End, Enforcement,
    Expert, HelpDesk, Hindsight, Judgement, Measure, Observer, Policy, Question, Sampler, Source, Step, Teacher,
    Vocabulary,
};
use wheels_lm::TabularLm;
use wheels_text::{HelpBudget, Prompt, Seed};

const FULL: HelpBudget = HelpBudget::Percent(100);
const LIMIT: usize = 12;
const LOSSLESS: Hindsight = Hindsight::LOSSLESS;

fn any_rule() -> impl Strategy<Value = Asking> {
    prop_oneof![
        Just(Asking::Never),
        Just(Asking::Always),
        Just(Asking::Learned),
        (0_usize..6).prop_map(Asking::Every),
        (0_usize..6).prop_map(Asking::Adaptive),
        (0.0_f64..=1.0).prop_map(Asking::Random),
        (0.2_f64..0.9).prop_map(|threshold| Asking::Confidence { measure: Measure::MaxProb, threshold }),
    ]
}

fn any_hindsight() -> impl Strategy<Value = Hindsight> {
    let judgement = prop_oneof![Just(Judgement::Regret), Just(Judgement::Surprise)];
    let tolerance = prop_oneof![Just(0.0), Just(f64::INFINITY), 0.0_f64..3.0];
    (judgement, tolerance, any::<bool>()).prop_map(|(judgement, tolerance_nats, closing_call)| Hindsight {
        judgement,
        tolerance_nats,
        closing_call,
    })
}

fn any_sampler() -> impl Strategy<Value = Sampler> {
    prop_oneof![Just(Sampler::Greedy), Just(Sampler::plain())]
}

/// Prompts of different lengths, each with its budget.
fn prompts_with(budgets: &[HelpBudget]) -> Vec<Prompt> {
    let prompts = prompts(budgets.len(), FULL).into_iter();
    prompts.zip(budgets).map(|(prompt, &budget)| Prompt { budget, ..prompt }).collect()
}

fn decoder<'a>(student: &'a TabularLm, teacher: &'a TabularLm, rule: Asking, word: Sampler) -> BudgetedDecoder<'a> {
    let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
    BudgetedDecoder::new(Policy::new(student, word).asking(rule), desk).max_tokens(LIMIT)
}

/// The parts of a result that do not depend on time.
fn timeless(decoded: Decoded) -> Decoded {
    Decoded { stats: DecodeStats { elapsed: Default::default(), ..decoded.stats }, ..decoded }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_infinite_tolerance_is_plain_asking(
        tables in 0_u64..1000,
        rule in any_rule(),
        word in any_sampler(),
        budgets in prop::collection::vec(any_budget(), 1..6),
        closing_call in any::<bool>(),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let plain = decoder(&student, &teacher, rule, word);
        let patient = decoder(&student, &teacher, rule, word)
            .hindsight(Hindsight { tolerance_nats: f64::INFINITY, closing_call, ..LOSSLESS });
        let decode = |decoder: BudgetedDecoder<'_>| timeless(decoder.decode(&prompts, Seed(tables)).unwrap());
        prop_assert_eq!(decode(patient), decode(plain));
    }

    #[test]
    fn no_tolerance_and_a_closing_call_give_the_teachers_text(
        tables in 0_u64..1000,
        rule in any_rule(),
        word in any_sampler(),
        count in 1_usize..6,
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts(count, FULL);
        let decoded = decoder(&student, &teacher, rule, word).hindsight(LOSSLESS).decode(&prompts, Seed(tables)).unwrap();
        for (prompt, trajectory) in prompts.iter().zip(&decoded.trajectories) {
            prop_assert_eq!(all_tokens(trajectory), greedy_by_hand(&teacher, &prompt.expert, WORDS, LIMIT));
        }
        // Every token was written by one of the two, and every call gave a token or let a text end.
        prop_assert_eq!(decoded.stats.help_given, decoded.stats.teacher.calls);
    }

    #[test]
    fn every_text_ends_and_no_prefix_holds_more_calls_than_its_budget(
        tables in 0_u64..1000,
        rule in any_rule(),
        word in any_sampler(),
        hindsight in any_hindsight(),
        budget in any_budget(),
        length in 1_usize..7,
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = vec![prompt(&[vec![3; length], vec![EOS]].concat(), budget)];
        let decode = |enforcement| {
            let decoder = decoder(&student, &teacher, rule, word).hindsight(hindsight).enforcement(enforcement);
            decoder.decode(&prompts, Seed(tables)).unwrap()
        };
        let Decoded { trajectories, stats } = decode(Enforcement::On);
        let trajectory = &trajectories[0];
        let mut calls = 0;
        for (position, step) in trajectory.steps.iter().enumerate() {
            calls += usize::from(step.source != Source::Student);
            prop_assert!(calls <= most(budget, position + 1), "{budget} at {position}: {calls}");
        }
        let stood = stats.help_given as usize - calls;
        prop_assert!(stood <= 1, "only a closing call stands without a token");
        prop_assert!(calls + stood <= most(budget, trajectory.steps.len()));
        prop_assert_eq!(stats.help_given, stats.teacher.calls);
        prop_assert_eq!(f64::from(trajectory.cost()), stats.help_given as f64);

        let free = decode(Enforcement::Off);
        let end = free.trajectories[0].end;
        prop_assert!(end == End::Eos || free.stats.tokens == LIMIT as u64);
    }

    #[test]
    fn every_token_is_what_its_source_would_write_there(
        tables in 0_u64..1000,
        rule in any_rule(),
        hindsight in any_hindsight(),
        budgets in prop::collection::vec(any_budget(), 1..6),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let decoder = decoder(&student, &teacher, rule, Sampler::Greedy).hindsight(hindsight);
        for (prompt, text) in prompts.iter().zip(texts(decoder.decode(&prompts, Seed(tables)))) {
            let tokens = all_tokens(&text);
            for (position, step) in text.steps.iter().enumerate() {
                let logits = match step.source {
                    Source::Student => logits_after(&student, &prompt.student, &tokens[..position]),
                    Source::Expert(_) => logits_after(&teacher, &prompt.expert, &tokens[..position]),
                };
                prop_assert_eq!(step.token, likeliest(&logits, WORDS));
            }
        }
    }

    #[test]
    fn no_budget_is_the_student_alone_and_no_call(
        tables in 0_u64..1000,
        rule in any_rule(),
        word in any_sampler(),
        hindsight in any_hindsight(),
        percent in any::<bool>(),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts(4, if percent { HelpBudget::percent(0) } else { HelpBudget::tokens(0) });
        let helped = decoder(&student, &teacher, rule, word).hindsight(hindsight).decode(&prompts, Seed(tables)).unwrap();
        let alone = BudgetedDecoder::new(Policy::new(&student, word), HelpDesk::new().closed(HELP)).max_tokens(LIMIT);
        let alone = texts(alone.decode(&prompts, Seed(tables)));
        prop_assert_eq!(helped.stats.teacher, Default::default());
        prop_assert_eq!((helped.stats.help_given, helped.stats.redrafted), (0, 0));
        for (helped, alone) in helped.trajectories.iter().zip(&alone) {
            prop_assert_eq!(all_tokens(helped), all_tokens(alone));
        }
    }

    #[test]
    fn a_row_of_a_batch_equals_that_row_alone(
        tables in 0_u64..1000,
        rule in any_rule(),
        hindsight in any_hindsight(),
        budgets in prop::collection::vec(any_budget(), 2..9),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let decode = |batch_size| {
            let desk = HelpDesk::new().with(HELP, Teacher::new(&teacher).answering(Sampler::plain()));
            let policy = Policy::new(&student, Sampler::plain()).asking(rule);
            let decoder = BudgetedDecoder::new(policy, desk).max_tokens(LIMIT).hindsight(hindsight);
            let decoded = decoder.batch_size(batch_size).decode(&prompts, Seed(tables)).unwrap();
            (decoded.trajectories, decoded.stats.redrafted, decoded.stats.teacher.tokens_processed)
        };
        let alone = decode(1);
        prop_assert_eq!(&decode(3), &alone);
        prop_assert_eq!(&decode(32), &alone);
    }

    #[test]
    fn observers_who_follow_what_is_taken_back_see_the_text(
        tables in 0_u64..1000,
        rule in any_rule(),
        hindsight in any_hindsight(),
    ) {
        struct Screen(Vec<Vec<Step>>);
        impl Observer for Screen {
            fn taken_back(&mut self, row: usize, length: usize) {
                assert!(length < self.0[row].len());
                self.0[row].truncate(length);
            }
            fn step(&mut self, row: usize, step: &Step) {
                self.0[row].push(*step);
            }
        }
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts(5, FULL);
        let mut screen = Screen(vec![Vec::new(); prompts.len()]);
        let decoder = decoder(&student, &teacher, rule, Sampler::Greedy).hindsight(hindsight);
        let decoded = decoder.decode_with(&prompts, Seed(tables), &mut screen).unwrap();
        let steps: Vec<_> = decoded.trajectories.into_iter().map(|trajectory| trajectory.steps).collect();
        prop_assert_eq!(screen.0, steps);
    }
}

/// A student that writes 2 for ever, and a teacher that would rather write 3 after a 2, by one nat, and 2 after a 3.
fn rivals() -> (TabularLm, TabularLm) {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let mut logits = vec![-9.0; WORDS * WORDS];
    for row in 0..WORDS {
        logits[row * WORDS + 2] = 1.0;
        logits[row * WORDS + 3] = if row == 2 { 2.0 } else { 0.0 };
    }
    (student, TabularLm::from_logits(WORDS, 1, logits, &burn::tensor::Device::flex()))
}

fn written(
    rule: Asking,
    hindsight: Hindsight,
    budget: HelpBudget,
    limit: usize,
) -> (Vec<u32>, Vec<usize>, DecodeStats) {
    let (student, teacher) = rivals();
    let decoder = decoder(&student, &teacher, rule, Sampler::Greedy).hindsight(hindsight).max_tokens(limit);
    let decoded = decoder.decode(&[prompt(&[EOS], budget)], Seed(0)).unwrap();
    let text = &decoded.trajectories[0];
    let helped = (0..limit).filter(|&position| text.steps[position].source != Source::Student).collect();
    (all_tokens(text), helped, decoded.stats)
}

#[test]
fn the_first_regret_past_the_tolerance_is_answered_and_the_rest_redrafted() {
    let open = |tolerance_nats| Hindsight { tolerance_nats, closing_call: false, ..LOSSLESS };
    // The call at position 3 finds a regret of one nat at position 1, where the teacher would have written a 3.
    let (text, helped, stats) = written(Asking::Every(3), open(0.9), FULL, 4);
    assert_eq!((text, helped), (vec![2, 3, 2, 2], vec![1]));
    assert_eq!((stats.help_asked, stats.help_given, stats.redrafted), (1, 1, 2));
    assert_eq!(stats.student.calls, 4 + 2);
    // The same regret stands within a wider tolerance, and the answer is given where it was asked.
    let (text, helped, stats) = written(Asking::Every(3), open(1.1), FULL, 4);
    assert_eq!((text, helped), (vec![2, 2, 2, 3], vec![3]));
    assert_eq!((stats.help_asked, stats.help_given, stats.redrafted), (1, 1, 0));
}

#[test]
fn surprise_counts_what_is_unlikely_though_nothing_is_likelier() {
    let open = |tolerance_nats| Hindsight { judgement: Judgement::Surprise, tolerance_nats, closing_call: false };
    // After the start the teacher finds a 2 likeliest, and yet surprising by ln(1 + 1/e) = 0.31 nats.
    let (text, helped, _) = written(Asking::Every(3), open(0.3), FULL, 4);
    assert_eq!((text, helped), (vec![2, 2, 2, 2], vec![0]));
    // After a 2, another surprises it by 1.31 nats.
    let (text, helped, _) = written(Asking::Every(3), open(0.4), FULL, 4);
    assert_eq!((text, helped), (vec![2, 3, 2, 2], vec![1]));
    let (text, helped, _) = written(Asking::Every(3), open(1.4), FULL, 4);
    assert_eq!((text, helped), (vec![2, 2, 2, 3], vec![3]));
}

#[test]
fn adaptive_drafts_grow_while_they_stand() {
    let model = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decoder = decoder(&model, &model, Asking::Adaptive(1), Sampler::Greedy).hindsight(LOSSLESS).max_tokens(12);
    let decoded = decoder.decode(&[prompt(&[EOS], FULL)], Seed(0)).unwrap();
    let helped = |(position, source)| (source != Source::Student).then_some(position);
    let helped: Vec<usize> = sources(&decoded.trajectories[0]).into_iter().enumerate().filter_map(helped).collect();
    // Drafts of 1, 3 and 5 tokens, each with the teacher's token after it.
    assert_eq!(helped, [1, 5, 11]);
    // The rivals' teacher cuts drafts of 3 and of 2; the draft of 1 stands, and the next would be 3 long again.
    let (text, helped, _) = written(Asking::Adaptive(3), Hindsight { closing_call: false, ..LOSSLESS }, FULL, 8);
    assert_eq!((text, helped), (vec![2, 3, 2, 3, 2, 3, 2, 2], vec![1, 3, 5]));
}

#[test]
fn fixed_drafts_that_the_teacher_would_have_written_are_answered_at_their_end() {
    let model = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decoder = decoder(&model, &model, Asking::Every(2), Sampler::Greedy).hindsight(LOSSLESS).max_tokens(8);
    let decoded = decoder.decode(&[prompt(&[EOS], FULL)], Seed(0)).unwrap();
    let (own, help) = (Source::Student, Source::Expert(0));
    assert_eq!(sources(&decoded.trajectories[0]), [own, own, help, own, own, help, own, own]);
    // Two answers, and a closing call that let the last draft stand: three calls for eight tokens.
    assert_eq!((decoded.stats.help_given, decoded.stats.teacher.calls, decoded.stats.redrafted), (3, 3, 0));
    // The teacher's start token, and each token once but for the last.
    assert_eq!(decoded.stats.teacher.tokens_processed, 8);
    assert_eq!(decoded.trajectories[0].cost(), 3.0);
}

#[test]
fn a_cut_goes_back_no_further_than_the_budget_has_room() {
    // At 20% there is room for a first call anywhere, for a second from position 5 on and for a third from 10 on.
    let (text, helped, _) = written(Asking::Always, LOSSLESS, HelpBudget::percent(20), 11);
    assert_eq!((text, helped), (vec![2, 2, 2, 2, 2, 3, 2, 2, 2, 2, 3], vec![0, 5, 10]));
    // The first call, at 6, cuts back to 1. The second, at 8, regrets position 3 and may answer no earlier than 5.
    let rule = Asking::Every(6);
    let open = Hindsight { tolerance_nats: 0.5, closing_call: false, ..LOSSLESS };
    let (text, helped, stats) = written(rule, open, HelpBudget::percent(20), 11);
    assert_eq!((text, helped), (vec![2, 3, 2, 2, 2, 3, 2, 2, 2, 2, 2], vec![1, 5]));
    assert_eq!(stats.redrafted, 5 + 3);
    // With room for every call nothing holds it back.
    assert_eq!(written(rule, open, FULL, 11).1, [1, 3, 5]);
}

#[test]
fn a_closing_call_checks_an_end_and_a_limit() {
    // The student ends at once; the teacher would write a 2 first, and then end.
    let student = constant(&[0.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
    let mut logits = [0.0, 9.0, 0.0, 0.0, 0.0, 0.0].repeat(WORDS);
    logits[WORDS..2 * WORDS].copy_from_slice(&[0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    let teacher = TabularLm::from_logits(WORDS, 1, logits, &burn::tensor::Device::flex());
    let decode = |hindsight| {
        let decoder = decoder(&student, &teacher, Asking::Never, Sampler::Greedy).hindsight(hindsight);
        decoder.decode(&[prompt(&[EOS], FULL)], Seed(0)).unwrap()
    };
    let checked = decode(LOSSLESS);
    assert_eq!((all_tokens(&checked.trajectories[0]), checked.trajectories[0].end), (vec![2, EOS], End::Eos));
    // One call took the end back, one let it stand.
    assert_eq!((checked.stats.help_asked, checked.stats.help_given, checked.stats.redrafted), (2, 2, 1));
    let unchecked = decode(Hindsight { closing_call: false, ..LOSSLESS });
    assert_eq!(all_tokens(&unchecked.trajectories[0]), [EOS]);
    let (text, helped, _) = written(Asking::Never, LOSSLESS, FULL, 4);
    assert_eq!((text, helped), (vec![2, 3, 2, 3], vec![1, 3]));
}

/// An expert without a model that takes back so many tokens.
#[derive(Clone)]
struct Eraser(usize);

impl Expert for Eraser {
    fn consult<'a>(&'a self, _: Vec<Case<'a>>, _: &'a Vocabulary) -> Result<Box<dyn Consultation + 'a>, DecodeError> {
        Ok(Box::new(self.clone()))
    }
}

impl Consultation for Eraser {
    fn answer(&mut self, questions: &[Question<'_>]) -> Result<Vec<Advice>, DecodeError> {
        Ok(vec![Advice { back: self.0, tokens: vec![4], cost: 1.0 }; questions.len()])
    }

    fn select_rows(&mut self, _: &[usize]) {}
}

#[test]
fn any_expert_may_take_back_what_is_open_and_no_more() {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decode = |back, hindsight| {
        let desk = HelpDesk::new().with(HELP, Eraser(back));
        let decoder =
            BudgetedDecoder::new(Policy::greedy(&student).asking(Asking::Every(3)), desk).hindsight(hindsight);
        decoder.max_tokens(5).decode(&[prompt(&[EOS], FULL)], Seed(0))
    };
    let open = Hindsight { tolerance_nats: 0.0, closing_call: false, ..LOSSLESS };
    assert_eq!(all_tokens(&texts(decode(2, open))[0]), [2, 4, 2, 2, 2]);
    assert_eq!(all_tokens(&texts(decode(0, open))[0]), [2, 2, 2, 4, 2]);
    assert!(matches!(decode(4, open), Err(DecodeError::TakenBack { expert: 0, row: 0, back: 4, open: 3 })));
    // Nothing is open to a plain question.
    assert!(matches!(decode(1, Hindsight::default()), Err(DecodeError::TakenBack { back: 1, open: 0, .. })));
}

#[test]
fn tools_without_hindsight_are_asked_as_ever() {
    let student = table(1, 11);
    let decode = |hindsight| {
        let desk = HelpDesk::new().with(HELP, Tool(vec![2, 3, 4]));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).asking(Asking::Random(0.3)), desk);
        texts(decoder.max_tokens(LIMIT).hindsight(hindsight).decode(&prompts(12, FULL), Seed(3)))
    };
    let open = Hindsight { tolerance_nats: 0.0, closing_call: false, ..LOSSLESS };
    assert_eq!(decode(open), decode(Hindsight::default()));
}

#[test]
fn a_tolerance_that_lets_nothing_stand_is_refused() {
    let (student, teacher) = rivals();
    for tolerance_nats in [-0.1, f64::NAN] {
        let decoder = decoder(&student, &teacher, Asking::Never, Sampler::Greedy);
        let decoder = decoder.hindsight(Hindsight { tolerance_nats, closing_call: false, ..LOSSLESS });
        let error = decoder.decode(&prompts(1, FULL), Seed(0)).unwrap_err();
        assert!(matches!(error, DecodeError::Tolerance { .. }), "{error}");
    }
}

/// The probability of each text of `length` words after a prompt, by its definition.
fn text_law(model: &TabularLm, prompt: &[u32], length: usize) -> HashMap<Vec<u32>, f64> {
    let mut law = HashMap::from([(vec![], 1.0)]);
    for _ in 0..length {
        let longer = law.into_iter().flat_map(|(text, prob): (Vec<u32>, f64)| {
            if text.last() == Some(&EOS) {
                return vec![(text, prob)];
            }
            let logits = &logits_after(model, prompt, &text)[..WORDS];
            let total: f64 = logits.iter().map(|logit| f64::from(logit.exp())).sum();
            let next = |word: usize| {
                let text = text.iter().copied().chain([word as u32]).collect();
                (text, prob * f64::from(logits[word].exp()) / total)
            };
            (0..WORDS).map(next).collect()
        });
        law = longer.collect();
    }
    law
}

#[test]
fn speculative_sampling_draws_the_teachers_texts() {
    const DRAWS: usize = 20_000;
    let (student, teacher) = (table(1, 3), table(0, 4));
    let expected = text_law(&teacher, &[2, EOS], 3);
    for rule in [Asking::Every(1), Asking::Every(2), Asking::Every(5), Asking::Random(0.3)] {
        let desk = HelpDesk::new().with(HELP, Teacher::new(&teacher).answering(Sampler::plain()));
        let policy = Policy::new(&student, Sampler::plain()).asking(rule);
        let decoder = BudgetedDecoder::new(policy, desk)
            .hindsight(Hindsight { judgement: Judgement::Chance, ..LOSSLESS })
            .max_tokens(3)
            .batch_size(500);
        let decoded = decoder.decode(&vec![prompt(&[2, EOS], HelpBudget::Percent(100)); DRAWS], Seed(11)).unwrap();
        let mut counts: HashMap<Vec<u32>, f64> = HashMap::new();
        for text in &decoded.trajectories {
            *counts.entry(all_tokens(text)).or_default() += 1.0;
        }
        assert!(counts.keys().all(|text| expected.contains_key(text)));
        assert!(decoded.stats.redrafted > 1000, "the student's words are often taken back");
        // Texts of which fewer than five are expected count together.
        let (mut squares, mut cells, mut rare) = (0.0_f64, 0, (0.0_f64, 0.0_f64));
        for (text, prob) in &expected {
            let (wanted, found) = (prob * DRAWS as f64, counts.get(text).copied().unwrap_or(0.0));
            if wanted < 5.0 {
                rare = (rare.0 + wanted, rare.1 + found);
            } else {
                squares += (found - wanted).powi(2) / wanted;
                cells += 1;
            }
        }
        if rare.0 >= 5.0 {
            squares += (rare.1 - rare.0).powi(2) / rare.0;
            cells += 1;
        }
        // Mean and deviation of a chi-squared sum; four deviations are passed once in ten thousand times.
        let freedom = f64::from(cells - 1);
        assert!(squares < freedom + 4.0 * (2.0 * freedom).sqrt(), "{rule:?}: {squares} over {freedom}");
    }
}
