//! Standard error, which messages and progress bars share.

use std::io::{self, Write, stderr};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar};

use super::flag_names::with_flags;

/// All progress bars.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Draws a bar below the messages.
#[allow(dead_code)]
pub(crate) fn draw(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Prints something while no bar is drawn.
#[allow(dead_code)]
pub(crate) fn print<R>(print: impl FnOnce() -> R) -> R {
    BARS.suspend(print)
}

/// Removes all bars.
pub(crate) fn clear() {
    // Without bars, an error changes nothing.
    let _ = BARS.clear();
}

/// Where the log goes. It has flags of the program in place of the library's options.
pub(crate) struct Log(pub(crate) clap::Command);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = with_flags(&String::from_utf8_lossy(bytes), &self.0);
        BARS.suspend(|| stderr().write_all(text.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}
