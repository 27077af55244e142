//! Tests of the settings that decide which rows are read and answered together. No text depends on them.
#![allow(clippy::unwrap_used)]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;
use support::*;
use wheels_decode::{
    BudgetedDecoder, DecodeError, DecodeStats, Expert, ExpertSession, Experts, HelpRequest, HelpResponse, HelpRule,
    ModelUse, Policy, Readout, RequestInfo, Sampler, Teacher, Trajectory, Verification, Vocabulary,
};
use wheels_lm::testing::Endless;
use wheels_lm::{Context, Hidden, LanguageModel, ModelSpec, ModelState, Positions, TabularLm, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed};

const LIMIT: usize = 12;

/// Which rows are read and answered together.
#[derive(Clone, Copy, Debug)]
struct Batching {
    batch_size: usize,
    help_batch: usize,
    refill: Option<usize>,
}

const ALONE: Batching = Batching { batch_size: 1, help_batch: 1, refill: None };

fn batched(decoder: BudgetedDecoder<'_>, batching: Batching) -> BudgetedDecoder<'_> {
    let decoder = decoder.with_batch_size(batching.batch_size).with_help_batch(batching.help_batch);
    match batching.refill {
        Some(rows) => decoder.with_refill(rows),
        None => decoder,
    }
}

/// The texts, and what the observer was told about each, and the work.
fn decode(decoder: &BudgetedDecoder<'_>, prompts: &[Prompt]) -> (Vec<Trajectory>, Vec<Vec<Told>>, DecodeStats) {
    let mut listener = Listener(vec![vec![]; prompts.len()]);
    let decoded = decoder.decode_with(prompts, Seed(3), &mut listener).unwrap();
    (decoded.trajectories, listener.0, decoded.stats)
}

fn any_batching() -> impl Strategy<Value = Batching> {
    let help_batch = prop_oneof![Just(1_usize), Just(4), Just(100)];
    let refill = prop::option::of(1_usize..6);
    (2_usize..=8, help_batch, refill).prop_map(|(batch_size, help_batch, refill)| Batching {
        batch_size,
        help_batch,
        refill,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_row_has_the_text_and_the_events_of_that_row_alone(
        tables in 0_u64..1000,
        batching in any_batching(),
        rule in any_rule(),
        verification in any_verification(),
        sampler in prop_oneof![
            Just(Sampler::Greedy),
            Just(Sampler::plain()),
            Just(Sampler::Sample { temperature: 1.3, top_k: Some(4), top_p: Some(0.9) }),
        ],
        // With a tolerance, the first expert declines sometimes.
        tolerance in prop::option::of(0.0_f64..2.0),
        // The second expert declines always, or answers with several tokens.
        second in prop_oneof![Just(vec![]), Just(vec![2, 3])],
        readout in prop_oneof![Just(Readout::Host), Just(Readout::Device)],
        budgets in prop::collection::vec(any_budget(), 2..20),
    ) {
        let (student, teacher) = (table(2, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let decode = |batching| {
            let mut first = Teacher::new(&teacher).with_sampler(sampler);
            if let Some(nats) = tolerance {
                first = first.with_tolerance(nats);
            }
            let second = Patient(fixed_answer(second.clone()));
            let experts = Experts::new().with(HELP, first).with(HELP + 1, second);
            let policy = Policy::new(&student, sampler).with_help_rule(rule);
            let decoder = BudgetedDecoder::new(policy, experts)
                .with_max_new_tokens(LIMIT)
                .with_verification(verification)
                .with_readout(readout);
            let (texts, told, stats) = decode(&batched(decoder, batching), &prompts);
            let work = (stats.help_asked, stats.help_given, stats.rolled_back, stats.student.calls, stats.teacher.calls);
            (texts, told, work)
        };
        let (alone, together) = (decode(ALONE), decode(batching));
        prop_assert_eq!(&together.0, &alone.0);
        prop_assert_eq!(&together.1, &alone.1);
        prop_assert_eq!(together.2, alone.2, "each row makes the same calls");
    }
}

/// A pass of a model or a call of an expert, with its number of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Student(usize),
    Expert(usize),
}

type Log = Rc<RefCell<Vec<Event>>>;

/// A table that writes down its passes. Its state takes no new rows if `takes_rows` is false.
struct Watched {
    model: TabularLm,
    log: Log,
    takes_rows: bool,
}

#[derive(Debug)]
struct Closed;

impl ModelState for Closed {
    fn select_rows(&mut self, _: &[usize]) {}

    fn truncate(&mut self, _: usize, _: usize) {}
}

impl LanguageModel for Watched {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }

    fn device(&self) -> Device {
        LanguageModel::device(&self.model)
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        let mut context = self.model.prefill(prompts, capacity);
        if !self.takes_rows {
            context.insert(Closed);
        }
        context
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        self.log.borrow_mut().push(Event::Student(rows.len()));
        self.model.hidden(tokens, rows, positions, context)
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        self.model.head(hidden)
    }
}

/// An expert that writes down its calls, and answers with token 3.
struct Logged(Log);

impl Expert for Logged {
    fn open_session<'a>(
        &'a self,
        _: Vec<RequestInfo<'a>>,
        _: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl ExpertSession for Logged {
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        self.0.borrow_mut().push(Event::Expert(requests.len()));
        Ok(vec![HelpResponse { tokens: vec![3], ..HelpResponse::default() }; requests.len()])
    }

    fn select_rows(&mut self, _: &[usize]) {}
}

#[test]
fn an_expert_is_not_called_for_fewer_rows_while_others_can_go_on() {
    let log = Log::default();
    // Its texts end at the limit, and not at the same time, because some wait longer than others.
    let student = Endless::new(Watched { model: table(2, 5), log: log.clone(), takes_rows: true });
    let (mut calls, mut small) = (0, 0);
    for help_batch in [2, 3, 5, 100] {
        for verify_end in [false, true] {
            let policy = Policy::greedy(&student).with_help_rule(HelpRule::Random(0.3));
            let experts = Experts::new().with(HELP, Logged(log.clone())).with(HELP + 1, Logged(log.clone()));
            let decoder = BudgetedDecoder::new(policy, experts);
            let decoder = decoder.with_max_new_tokens(LIMIT).with_help_batch(help_batch).with_batch_size(9);
            let decoder = decoder.with_verification(Verification { verify_end, ..Verification::LOSSLESS });
            log.borrow_mut().clear();
            decode(&decoder, &prompts(9, FULL));
            let log = log.borrow();
            // The calls between two passes of the student, and the rows of the later pass.
            let (mut together, mut passes) = (vec![], vec![]);
            for event in log.iter() {
                match *event {
                    Event::Expert(rows) => together.push(rows),
                    Event::Student(rows) => passes.push((std::mem::take(&mut together), rows)),
                }
            }
            for (together, next) in passes {
                calls += together.len();
                if together.iter().any(|&rows| rows < help_batch) {
                    small += 1;
                    // No other row could go on, so the next pass has none but these rows.
                    assert!(next <= together.iter().sum(), "{together:?}, then {next}");
                }
            }
        }
    }
    assert!(calls > 40 && small > 5 && calls > small + 20, "{calls} calls, {small} of them for few rows");
}

#[test]
fn larger_help_batches_make_fewer_calls() {
    let [student, teacher] = [table(1, 5), table(0, 6)].map(Endless::new);
    let calls = [1, 4, 16].map(|help_batch| {
        let experts = Experts::new().with(HELP, Teacher::new(&teacher));
        let policy = Policy::greedy(&student).with_help_rule(HelpRule::Random(0.2));
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(40).with_help_batch(help_batch);
        decode(&decoder, &prompts(32, FULL)).2.teacher.forwards
    });
    assert!(calls[0] > calls[1] && calls[1] > calls[2], "{calls:?}");
}

/// The texts and the work of a student with a teacher, with and without refills.
fn with_and_without_refills(student: &dyn LanguageModel, experts: impl Fn() -> Experts<'static>) -> [DecodeStats; 2] {
    let prompts = prompts(40, FULL);
    let [(texts, _, drained), (refilled_texts, _, refilled)] = [None, Some(2)].map(|refill| {
        let policy = Policy::new(student, Sampler::plain()).with_help_rule(HelpRule::Random(0.2));
        let decoder = BudgetedDecoder::new(policy, experts()).with_max_new_tokens(LIMIT);
        decode(&batched(decoder, Batching { batch_size: 8, help_batch: 1, refill }), &prompts)
    });
    assert_eq!(refilled_texts, texts);
    [drained, refilled]
}

#[test]
fn refills_keep_the_batch_full() {
    let student = Watched { model: table(1, 5), log: Log::default(), takes_rows: true };
    let [drained, refilled] =
        with_and_without_refills(&student, || Experts::new().with(HELP, Patient(fixed_answer(vec![3]))));
    assert_eq!(drained.student.prefills, 5, "40 texts in batches of 8");
    assert!(refilled.student.prefills > 5);
    assert_eq!(refilled.student.prompt_tokens, drained.student.prompt_tokens);
    assert_eq!(refilled.student.calls, drained.student.calls);
    assert!(4 * refilled.student.forwards < 3 * drained.student.forwards, "{refilled} and {drained}");
}

#[test]
fn without_room_for_new_rows_a_batch_is_finished_first() {
    let patient = || Experts::new().with(HELP, Patient(fixed_answer(vec![3])));
    let closed = Watched { model: table(1, 5), log: Log::default(), takes_rows: false };
    let [drained, refilled] = with_and_without_refills(&closed, patient);
    assert_eq!(refilled.student, drained.student, "the student's state takes no rows");

    let open = Watched { model: table(1, 5), log: Log::default(), takes_rows: true };
    let [drained, refilled] = with_and_without_refills(&open, || Experts::new().with(HELP, fixed_answer(vec![3])));
    assert_eq!(refilled.student, drained.student, "the session of the expert takes no rows");
}

#[test]
fn a_teacher_reads_the_prompts_of_new_texts_only_if_one_of_them_asks() {
    let (student, teacher) = (constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]), table(0, 6));
    let used = |late: HelpBudget| -> ModelUse {
        // The longest prompts come first.
        let prompts: Vec<Prompt> = [9, 8, 7, 6, 5, 4]
            .iter()
            .enumerate()
            .map(|(row, &length)| {
                prompt(&vec![2; length], if row < 2 { HelpBudget::tokens(row as u32 + 1) } else { late })
            })
            .collect();
        let experts = Experts::new().with(HELP, Teacher::new(&teacher));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
        let decoder = decoder.with_max_new_tokens(5).with_batch_size(3).with_refill(1);
        decode(&decoder, &prompts).2.teacher
    };
    assert_eq!((used(HelpBudget::tokens(0)).prefills, used(HelpBudget::tokens(0)).prompt_tokens), (1, 9 + 8 + 7));
    assert_eq!(used(HelpBudget::tokens(1)).prompt_tokens, 9 + 8 + 7 + 6 + 5 + 4);
}

#[test]
#[should_panic(expected = "a call for 0 rows")]
fn a_help_batch_of_0_panics() {
    let model = table(0, 1);
    let _ = BudgetedDecoder::new(Policy::greedy(&model), Experts::new()).with_help_batch(0);
}

#[test]
#[should_panic(expected = "0 free rows")]
fn a_refill_of_0_panics() {
    let model = table(0, 1);
    let _ = BudgetedDecoder::new(Policy::greedy(&model), Experts::new()).with_refill(0);
}
