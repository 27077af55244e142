//! The layers that model families share.

mod activation;
mod attention;
mod bias;
mod dropout;
mod feed;
mod linear;
mod norm;
mod packing;
mod rotary;
mod sinusoids;

pub use activation::Activation;
pub(crate) use attention::{Attention, attend, causal_mask, length_mask, padding_mask};
pub(crate) use bias::RelativeBias;
pub(crate) use dropout::Dropout;
pub(crate) use feed::Feed;
pub use feed::FeedForward;
pub(crate) use linear::{Embedding, Linear, first_rows, forward_all, grow, product};
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use packing::Packing;
pub(crate) use rotary::{Rotary, rotate};
pub(crate) use sinusoids::Sinusoids;

/// Added to an attention score to mask its position. After the softmax, its weight is 0 in every float format.
pub(crate) const MASKED: f32 = -3.0e4;
