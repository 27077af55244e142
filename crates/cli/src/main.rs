//! The program `wheels`: it distils language models, and writes with a student and its teacher within a help budget.
//!
//! Standard output has results only: texts, tables, or JSON with `--json`. Messages and progress bars go to standard
//! error. The exit codes are those of [`exit`].

mod command;
mod command_line;
mod exit;
mod flags;
mod run;
mod screen;
mod settings;

use std::process::ExitCode;

use command_line::App;
use mimalloc::MiMalloc;
use run::interrupt;
use screen::console;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let (command_line, invocation) = match settings::parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(error) => return error.print(),
    };
    console::start_log(&invocation.command);
    let app = App { output: screen::Output::new(command_line.global.json), invocation };
    let result = interrupt::install().map_err(Into::into).and_then(|()| command_line.command.run(&app));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if exit::is_closed_output(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            console::clear();
            let message = training_wheels::report(error.as_ref());
            console::say(format_args!("error: {}", flags::with_flags(&message, &app.invocation.command)));
            exit::code_of(error.as_ref())
        }
    }
}
