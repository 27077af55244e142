//! What several of the tests need.

use std::path::{Path, PathBuf};

/// An example's program, which `cargo test` builds beside the test's own.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests are built in target/PROFILE/deps");
    folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
