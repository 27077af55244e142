//! The font of all figures.

use plotters::style::{FontStyle, register_font};

/// Registers the project's font as "sans-serif", so that figures need no font of the machine.
pub(crate) fn register() -> Result<(), &'static str> {
    const FONT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fonts/DejaVuSans-latin.ttf"));
    register_font("sans-serif", FontStyle::Normal, FONT).map_err(|_| "the font of the figures is damaged")
}
