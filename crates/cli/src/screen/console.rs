//! Standard error, which messages, the log and progress bars share.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::sync::LazyLock;

use clap::Command;
use env_logger::{Builder, Env, Target, WriteStyle};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::flags::with_flags;

/// All progress bars.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A new bar below the messages. It is not drawn if standard error is not a terminal.
pub(crate) fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates of bars are valid");
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    BARS.add(bar.with_style(style))
}

/// Prints something while no bar is drawn.
pub(crate) fn print<R>(print: impl FnOnce() -> R) -> R {
    BARS.suspend(print)
}

/// Prints a message for the user.
pub(crate) fn say(message: Arguments<'_>) {
    // Without a standard error, there is nobody to tell.
    let _ = BARS.suspend(|| stderr().write_fmt(format_args!("{message}\n")));
}

/// Removes all bars.
pub(crate) fn clear() {
    // Without bars, an error changes nothing.
    let _ = BARS.clear();
}

/// Ends the colour of a text that is not finished.
pub(crate) fn reset_colours() {
    if stdout().is_terminal() {
        // Without a terminal, there is no colour.
        let _ = stdout().write_all(b"\x1b[0m");
    }
}

/// Starts the log on standard error, which has flags of the command in place of the library's options.
pub(crate) fn start_log(command: &Command) {
    // wgpu logs an error for each driver that it skips. RUST_LOG=error shows them. Without the colons, the first name would be
    // that of all crates of the workspace.
    let runs = "warn,wheels::=info,training_wheels=info,wheels_text=info,wheels_distill=info,wgpu_hal=off";
    let filter = if matches!(command.get_name(), "generate" | "chat" | "serve") { "warn,wgpu_hal=off" } else { runs };
    let has_colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Builder::from_env(Env::default().default_filter_or(filter))
        .format_timestamp(None)
        .target(Target::Pipe(Box::new(Log(command.clone()))))
        .write_style(if has_colours { WriteStyle::Always } else { WriteStyle::Never })
        .init();
}

/// Where the log goes.
struct Log(Command);

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
