//! Finding the price of help for each budget.
//!
//! The first prices are quantiles of the student's divergences from its teacher. While the student trains, dual ascent
//! raises the price of a budget if texts use more help than it allows, and lowers the price if they use less. For a
//! student that is not trained further, a search finds the prices, and its price head is fitted to them.

pub(crate) mod ascent;
mod fit;
mod search;

pub use ascent::ConstraintConfig;
pub(crate) use ascent::{Usage, ascend, check_levels, quantile_prices};
pub use fit::PriceFitConfig;
pub(crate) use search::search;
