//! Statistics on scores: bootstrap intervals, paired comparisons of systems, and correlation.

mod bootstrap;
mod correlation;

pub use bootstrap::{Comparison, Interval, bootstrap, paired_bootstrap};
pub use correlation::{pearson, spearman};
