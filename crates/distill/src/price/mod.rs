//! Finding the prices at which budgets are kept.
//!
//! Every budget has a price of help. The first prices are quantiles of the student's divergences from its teacher. While
//! the student trains, dual ascent raises the price of a budget that its texts exceed, and lowers the others. For a
//! student that does not train any further, a [`search`] by bisection finds the prices.

pub(crate) mod ascent;
mod search;

pub use ascent::ConstraintConfig;
pub(crate) use ascent::{Usage, ascend, check_levels, quantile_prices};
pub(crate) use search::search;
