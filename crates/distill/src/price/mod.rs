//! Finding the prices at which budgets are kept.
//!
//! Every budget has a price of help. The first prices are quantiles of the student's divergences from its teacher. While
//! the student trains, dual ascent raises the price of a budget that its texts exceed, and lowers the others. For a
//! student that does not train any further, a [`search`](search()) by bisection finds the prices.

mod ascent;
mod search;

pub(crate) use ascent::check_levels;
pub use ascent::{ConstraintConfig, Usage, ascend, quantile_prices};
pub use search::search;
