//! Layers that families share.

mod attention;
mod bias;
mod feed;
mod packing;

pub use attention::{Attention, causal_mask, padding_mask};
pub use bias::RelativeBias;
pub use feed::{Feed, Gated, Plain};
pub use packing::Packing;

/// Added to an attention score to take its position out: its exponential is zero in every float format.
pub const MASKED: f32 = -3.0e4;
