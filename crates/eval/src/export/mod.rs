//! Export of [`Results`](crate::Results), one format per file.
//!
//! - `json.rs` writes everything, and reads it back. It also reads JSON of earlier versions.
//! - `csv.rs` writes one line per measurement, for other programs.
//! - `markdown.rs` writes one table with intervals and significance, for people.
//! - `notes.rs` says in words what a table does not show.
//!
//! An export is a string. The caller writes it to a file.

mod csv;
mod json;
mod markdown;
mod notes;
