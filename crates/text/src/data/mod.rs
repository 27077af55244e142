//! Data sets: the examples in them, and the formats and fields of their files.
//!
//! A file passes four stages, each of which holds one example at a time. [`input`] unpacks its bytes, [`format`] says
//! what they are, [`records`] splits them into objects with named fields, and [`layout`] makes an example of each.

mod conversation;
mod dataset;
mod format;
mod input;
mod json_list;
mod layout;
mod line_problem;
mod options;
mod records;
mod stream;
mod table;

pub use dataset::{Dataset, Example};
pub use line_problem::LineProblem;
pub use options::DatasetOptions;
pub use stream::{ExampleStream, ReadProgress, SkippedLines};
