//! The font of all figures.

use plotters::style::{FontStyle, register_font};

/// Makes "sans-serif" the font that comes with the project, so that no machine needs one of its own.
pub(crate) fn register() -> Result<(), &'static str> {
    const FONT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/fonts/DejaVuSans-latin.ttf"));
    register_font("sans-serif", FontStyle::Normal, FONT).map_err(|_| "the font of the figures is damaged")
}
