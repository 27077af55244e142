//! The server as its clients see it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod clients;
mod completions;
mod limits;
mod remote_teacher;
mod support;
