//! What calls have used, and the cap on it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wire::TokenUsage;
use crate::{RemoteConfig, RemoteError, SpendingCap, TokenPrices};

/// What the calls of a remote teacher have used so far.
///
/// The numbers of tokens are those that the server reports. If it reports none, or if an answer was lost on its way, the
/// most that the call can have used is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spending {
    /// The number of calls that a server may have worked on, repetitions included.
    pub calls: u64,
    /// The number of tokens of prompts.
    pub prompt_tokens: u64,
    /// The number of tokens of answers.
    pub completion_tokens: u64,
    /// The price of these tokens, in the currency of the prices. 0 without prices.
    pub money: f64,
}

impl fmt::Display for Spending {
    /// One line of text. Money is left out if there is none, as without prices.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, prompt_tokens, completion_tokens, money } = self;
        let plural = if *calls == 1 { "" } else { "s" };
        write!(f, "{calls} call{plural}, {prompt_tokens} prompt tokens, {completion_tokens} tokens of answers")?;
        if *money > 0.0 {
            write!(f, ", which cost {money:.4}")?;
        }
        Ok(())
    }
}

/// Counts what calls use, with what is set aside for those that have not ended.
#[derive(Debug)]
pub(crate) struct Meter {
    cap: SpendingCap,
    prices: Option<TokenPrices>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spent: Spending,
    set_aside: Spending,
}

impl Spending {
    fn of(usage: TokenUsage, prices: Option<TokenPrices>) -> Self {
        let TokenUsage { prompt_tokens, completion_tokens } = usage;
        let money = prices.map_or(0.0, |prices| prices.of(prompt_tokens, completion_tokens));
        Self { calls: 1, prompt_tokens, completion_tokens, money }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.money += other.money;
    }

    fn remove(&mut self, other: Self) {
        self.calls -= other.calls;
        self.prompt_tokens -= other.prompt_tokens;
        self.completion_tokens -= other.completion_tokens;
        // Sums of other numbers can leave a tiny rest below 0.
        self.money = (self.money - other.money).max(0.0);
    }
}

impl Meter {
    pub(crate) fn new(config: &RemoteConfig) -> Self {
        Self { cap: config.cap, prices: config.prices, state: Mutex::default() }
    }

    /// What has been used.
    pub(crate) fn spent(&self) -> Spending {
        self.lock().spent
    }

    /// Sets aside the most that a call can use.
    ///
    /// # Errors
    /// [`RemoteError::SpendingCap`] if the cap has no room for it.
    pub(crate) fn set_aside(&self, size: TokenUsage) -> Result<(), RemoteError> {
        let mut state = self.lock();
        let call = Spending::of(size, self.prices);
        let mut all = state.spent;
        all.add(state.set_aside);
        all.add(call);
        let reached = |cap: String| Err(RemoteError::SpendingCap { cap });
        let SpendingCap { calls, tokens, money } = self.cap;
        match (calls, tokens, money) {
            (Some(calls), _, _) if all.calls > calls => return reached(format!("{calls} calls")),
            (_, Some(tokens), _) if all.prompt_tokens + all.completion_tokens > tokens => {
                return reached(format!("{tokens} tokens"));
            }
            (_, _, Some(money)) if all.money > money => return reached(format!("{money} in money")),
            _ => {}
        }
        state.set_aside.add(call);
        Ok(())
    }

    /// Ends a call for which `size` was set aside, and counts what it has used. None if the server did no work.
    pub(crate) fn settle(&self, size: TokenUsage, used: Option<TokenUsage>) {
        let mut state = self.lock();
        state.set_aside.remove(Spending::of(size, self.prices));
        if let Some(used) = used {
            state.spent.add(Spending::of(used, self.prices));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn meter(cap: SpendingCap) -> Meter {
        let prices = Some(TokenPrices { prompt: 1e6, completion: 2e6 });
        Meter::new(&RemoteConfig::new("http://h".into(), "m".into()).with_cap(cap).with_prices(prices))
    }

    const SIZE: TokenUsage = TokenUsage { prompt_tokens: 5, completion_tokens: 2 };

    #[test]
    fn calls_that_have_not_ended_count_against_the_cap() {
        for cap in [
            SpendingCap::new().with_calls(Some(2)),
            SpendingCap::new().with_tokens(Some(20)),
            SpendingCap::new().with_money(Some(18.5)),
        ] {
            let meter = meter(cap);
            meter.set_aside(SIZE).unwrap();
            meter.set_aside(SIZE).unwrap();
            assert!(matches!(meter.set_aside(SIZE), Err(RemoteError::SpendingCap { .. })), "{cap:?}");
            meter.settle(SIZE, None);
            meter.set_aside(SIZE).unwrap();
            assert_eq!(meter.spent(), Spending::default());
        }
    }

    #[test]
    fn a_call_counts_what_it_has_used_and_no_longer_what_was_set_aside() {
        let meter = meter(SpendingCap::new());
        meter.set_aside(SIZE).unwrap();
        meter.settle(SIZE, Some(TokenUsage { prompt_tokens: 4, completion_tokens: 1 }));
        meter.set_aside(SIZE).unwrap();
        meter.settle(SIZE, Some(SIZE));
        let spent = Spending { calls: 2, prompt_tokens: 9, completion_tokens: 3, money: 15.0 };
        assert_eq!(meter.spent(), spent);
    }
}
