//! Experts that fail in the middle of a text, and budgets that count calls.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wheels_decode::{
    BudgetUnit, BudgetedDecoder, DecodeError, Decoder, Expert, ExpertSession, Experts, FailureReason, HelpFailure,
    HelpRequest, HelpResponse, HelpRule, Policy, RequestInfo, Source, Verification, Vocabulary,
};
use wheels_text::{HelpBudget, Seed};

/// An expert that answers token 4, and fails for texts that are longer than its number, if their prompt is long.
struct Breaks(usize);

struct BreaksSession(usize, Vec<bool>);

impl Expert for Breaks {
    fn open_session<'a>(
        &'a self,
        requests: Vec<RequestInfo<'a>>,
        _: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        let long = requests.iter().map(|request| request.prompt.expert.len() > 2).collect();
        Ok(Box::new(BreaksSession(self.0, long)))
    }
}

impl ExpertSession for BreaksSession {
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        let answer = |request: &HelpRequest<'_>| match self.1[request.row] && request.text.len() > self.0 {
            true => HelpResponse { tokens: vec![4], ..HelpResponse::failed(FailureReason::TimedOut) },
            false => HelpResponse { tokens: vec![4], cost: 1.0, ..HelpResponse::default() },
        };
        Ok(requests.iter().map(answer).collect())
    }

    fn select_rows(&mut self, rows: &[usize]) {
        self.1 = rows.iter().map(|&row| self.1[row]).collect();
    }
}

#[test]
fn a_text_is_finished_without_an_expert_that_failed_and_other_texts_keep_its_help() {
    let student = constant(&[0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Always);
    let decoder = BudgetedDecoder::new(policy, Experts::new().with(HELP, Breaks(1))).with_max_new_tokens(4);
    let prompts = [prompt(&[2, 2, EOS], FULL), prompt(&[2, EOS], FULL)];
    let decoded = decoder.decode(&prompts, Seed(0)).unwrap();
    let [alone, helped] = &decoded.trajectories[..] else { panic!("two texts") };
    assert_eq!((alone.tokens(), alone.helped(), alone.cost()), (vec![4, 4, 3, 3], 2, 2.0));
    assert_eq!(alone.failures, [HelpFailure { expert: 0, position: 2, reason: FailureReason::TimedOut }]);
    assert_eq!((helped.tokens(), helped.helped()), (vec![4; 4], 4));
    assert!(helped.failures.is_empty());
    assert_eq!(decoded.stats.help_given, 6, "a call that failed is not charged");
    let json = serde_json::to_string(alone).unwrap();
    assert!(json.contains("timed_out"), "{json}");
    assert_eq!(serde_json::from_str::<wheels_decode::Trajectory>(&json).unwrap(), *alone);
    assert!(!serde_json::to_string(helped).unwrap().contains("failures"));
}

#[test]
fn an_expert_that_failed_is_not_asked_to_verify_the_end() {
    let student = constant(&[0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    for (rule, position) in [(HelpRule::Always, 0), (HelpRule::Never, 4)] {
        let policy = Policy::greedy(&student).with_help_rule(rule);
        let verification = Verification { tolerance_nats: 1.0, verify_end: true, ..Verification::default() };
        let decoder = BudgetedDecoder::new(policy, Experts::new().with(HELP, fails())).with_max_new_tokens(4);
        let decoder = decoder.with_verification(verification);
        let decoded = decoder.decode(&[prompt(&[2, EOS], FULL)], Seed(0)).unwrap();
        let text = &decoded.trajectories[0];
        assert_eq!(text.failures.iter().map(|failure| failure.position).collect::<Vec<_>>(), [position]);
        assert_eq!((text.tokens(), decoded.stats.help_given), (vec![3; 4], 0));
    }
}

fn fails() -> impl Expert {
    struct Fails;
    struct Session;
    impl Expert for Fails {
        fn open_session<'a>(
            &'a self,
            _: Vec<RequestInfo<'a>>,
            _: &'a Vocabulary,
        ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
            Ok(Box::new(Session))
        }
    }
    impl ExpertSession for Session {
        fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
            Ok(vec![HelpResponse::failed(FailureReason::Unreachable); requests.len()])
        }
        fn select_rows(&mut self, _: &[usize]) {}
    }
    Fails
}

#[test]
fn a_budget_counts_tokens_or_calls() {
    let student = constant(&[0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Always);
    for (budget, unit, helped, given) in [
        (HelpBudget::tokens(2), BudgetUnit::Tokens, vec![0, 1], 2),
        (HelpBudget::tokens(2), BudgetUnit::Calls, vec![0, 1, 2, 3, 4, 5], 2),
        // At position t, ceil(20% of t + 1) calls are allowed: one until position 4, and two from position 5 on.
        (HelpBudget::percent(20), BudgetUnit::Calls, vec![0, 1, 2, 5, 6, 7], 2),
        (HelpBudget::percent(20), BudgetUnit::Tokens, vec![0, 5], 2),
        (HelpBudget::percent(0), BudgetUnit::Calls, vec![], 0),
    ] {
        let experts = Experts::new().with(HELP, fixed_answer(vec![4, 4, 4]));
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(9).with_budget_unit(unit);
        let decoded = decoder.decode(&[prompt(&[2, EOS], budget)], Seed(0)).unwrap();
        let steps = &decoded.trajectories[0].steps;
        let found: Vec<usize> = (0..steps.len()).filter(|&at| steps[at].source == Source::Expert(0)).collect();
        assert_eq!((found, decoded.stats.help_given), (helped, given), "{budget} {unit:?}");
    }
}

#[test]
fn a_request_says_how_many_tokens_have_room() {
    struct Rooms(std::sync::Mutex<Vec<usize>>);
    struct Session<'a>(&'a Rooms);
    impl Expert for Rooms {
        fn open_session<'a>(
            &'a self,
            _: Vec<RequestInfo<'a>>,
            _: &'a Vocabulary,
        ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
            Ok(Box::new(Session(self)))
        }
    }
    impl ExpertSession for Session<'_> {
        fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
            self.0.0.lock().unwrap().extend(requests.iter().map(|request| request.room));
            Ok(vec![HelpResponse { tokens: vec![4], ..HelpResponse::default() }; requests.len()])
        }
        fn select_rows(&mut self, _: &[usize]) {}
    }
    let student = constant(&[0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Always);
    for (budget, rooms) in
        [(FULL, vec![5, 4, 3, 2, 1]), (HelpBudget::tokens(3), vec![3, 2, 1]), (HelpBudget::percent(50), vec![1, 1, 1])]
    {
        let expert = Rooms(std::sync::Mutex::default());
        let decoder = BudgetedDecoder::new(policy, Experts::new().with(HELP, &expert)).with_max_new_tokens(5);
        decoder.decode(&[prompt(&[2, EOS], budget)], Seed(0)).unwrap();
        assert_eq!(*expert.0.lock().unwrap(), rooms, "{budget}");
    }
}
