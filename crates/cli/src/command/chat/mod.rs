//! `wheels chat`: a conversation with a student and its teacher.

mod conversation;
mod input;

use training_wheels::prelude::*;

use super::Outcome;
use crate::command_line::App;
use crate::exit;
use crate::flags::{PairFlags, Writer};
use crate::screen::{self, console};

use conversation::Conversation;
use input::Input;

const EXAMPLES: &str = "\
Examples:
  wheels chat --student distilled --teacher teacher --budget 10%
  wheels chat --teacher HuggingFaceTB/SmolLM2-135M-Instruct --system \"Answer in one sentence.\"
  wheels chat --student Qwen/Qwen2.5-0.5B-Instruct --teacher Qwen/Qwen2.5-1.5B-Instruct --ask-below 0.5
  printf 'Hello.\\nAnd in French?\\n' | wheels chat --teacher teacher --json";

/// What can be typed beside messages.
const COMMANDS: &str = "\
/budget 10%   the most that the teacher may write in each answer; without a number: the budget, and what was spent
/reset        forget the conversation
/quit         end (or Ctrl-D)
Ctrl-C        stop the answer, which stays in the conversation as far as it is written; without an answer: end";

/// Talks with a student that asks its teacher within the budget.
///
/// What the teacher wrote is in colour, and after each answer a line shows what of the budget was spent and what is left. The
/// messages before are part of each prompt, as the model's chat template writes them; the oldest are forgotten when the
/// context is full. A model without a chat template answers each message by itself. In a pipe, each line is a message.
#[derive(clap::Args)]
#[command(after_help = format!("In a chat:\n{COMMANDS}\n\n{EXAMPLES}"))]
pub(crate) struct Flags {
    /// The text of the system turn. If absent: that of prompt.json, or what the chat template writes by itself.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The largest number of tokens of a conversation with its next answer, at most those of the models.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    context: usize,
    #[command(flatten)]
    models: PairFlags,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let writers = flags.models.open()?;
    let seed = Seed(flags.models.generation.seed);
    let mut chat = Conversation::new(writers, flags.system.as_deref(), flags.context, seed)?;
    let mut input = Input::new()?;
    if input.is_terminal() {
        greet(&chat);
    }
    while let Some(line) = input.next_line()? {
        let text = line.trim();
        let result = match text.split_once(char::is_whitespace).unwrap_or((text, "")) {
            ("", _) => Ok(()),
            ("/quit" | "/exit", _) => break,
            ("/help", _) => {
                console::say(format_args!("{COMMANDS}"));
                Ok(())
            }
            ("/reset", _) => {
                chat.reset();
                console::say(format_args!("The conversation is forgotten."));
                Ok(())
            }
            ("/budget", "") => {
                console::say(format_args!("{}", chat.spent_in_all()));
                Ok(())
            }
            ("/budget", budget) => chat.set_budget(budget),
            (command, _) if command.starts_with('/') => {
                Err(format!("{command} is no command of a chat: /help lists them").into())
            }
            _ => chat.answer(text, app.output),
        };
        match result {
            Ok(()) => {}
            Err(error) if exit::is_closed_output(error.as_ref()) => return Err(error),
            // At a terminal, the next line can be better.
            Err(error) if input.is_terminal() => {
                console::say(format_args!("error: {}", training_wheels::report(error.as_ref())));
            }
            Err(error) => {
                return Err(format!("line {}: {}", input.lines_read(), training_wheels::report(error.as_ref())).into());
            }
        }
    }
    Ok(())
}

fn greet(chat: &Conversation) {
    let (open, close) = screen::teacher_marks();
    match chat.writer() {
        Writer::Pair => console::say(format_args!(
            "The teacher writes the parts {open}like this{close}, at most {} of each answer. /help lists commands.",
            chat.budget()
        )),
        Writer::Student => console::say(format_args!("The student writes alone. /help lists commands.")),
        Writer::Teacher => console::say(format_args!("The teacher writes alone. /help lists commands.")),
    }
    if !chat.has_turns() {
        console::say(format_args!("This model has no chat template: it answers each message by itself."));
    }
}
