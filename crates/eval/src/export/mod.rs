//! Export of [`Results`](crate::Results), one format per file.
//!
//! - `json.rs` writes everything, and reads it back. It also opens files of earlier versions.
//! - `csv.rs` writes one line per measurement, for other programs.
//! - `markdown.rs` writes one table with intervals and significance, for people.
//!
//! Every export is a text. The caller decides which file it goes to.

mod csv;
mod json;
mod markdown;
