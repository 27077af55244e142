//! A conversation within the context of the models, and what of the budgets was spent.

use std::error::Error;

use serde::Serialize;
use training_wheels::decode::{BudgetedDecoder, DecodeStats, Decoded, NewText};
use training_wheels::prelude::*;
use training_wheels::text::{Example, Message, Role, TextError};

use crate::flags::{Writer, Writers};
use crate::run::interrupt;
use crate::screen::{self, LiveText, Output, console};

/// A conversation, and what of the budgets was spent in it.
pub(crate) struct Conversation {
    writers: Writers,
    turns: Vec<Message>,
    seed: Seed,
    answers: usize,
    /// The work of all answers.
    stats: DecodeStats,
}

/// An answer, for programs.
#[derive(Serialize)]
struct AnswerLine<'a> {
    source: &'a str,
    budget: HelpBudget,
    /// What was spent of the budget: the tokens that the teacher wrote, and its calls that accepted the end of a text.
    spent: usize,
    /// The tokens that the teacher may still have written in this answer.
    left: usize,
    /// The earlier messages that no longer fit into the context.
    forgotten: usize,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Conversation {
    /// An empty conversation of at most `context` tokens.
    ///
    /// # Errors
    /// If the context has no room for an answer.
    pub(crate) fn new(
        mut writers: Writers,
        system: Option<&str>,
        context: usize,
        seed: Seed,
    ) -> Result<Self, Box<dyn Error>> {
        if writers.use_chat_template(system)? {
            let Pair { student, teacher, .. } = &mut writers.pair;
            let context = teacher.text_limit(student.text_limit(context));
            let answer = if student.model.model.is_encoder_decoder() { 0 } else { student.generation.max_new_tokens };
            let prompt = context.checked_sub(answer).filter(|prompt| *prompt > 0).ok_or_else(|| {
                format!(
                    "a context of {context} tokens has no room for a message and an answer of {answer} tokens: \
                     raise --context, or lower --max-new-tokens"
                )
            })?;
            student.template.max_tokens = prompt;
        }
        Ok(Self { writers, turns: vec![], seed, answers: 0, stats: DecodeStats::default() })
    }

    pub(crate) fn writer(&self) -> Writer {
        self.writers.writer
    }

    pub(crate) fn budget(&self) -> HelpBudget {
        self.writers.budget
    }

    /// Whether earlier messages are part of a prompt.
    pub(crate) fn has_turns(&self) -> bool {
        self.writers.pair.student.template.chat.is_some()
    }

    /// Forgets all messages.
    pub(crate) fn reset(&mut self) {
        self.turns.clear();
    }

    /// Sets the budget of the next answers.
    ///
    /// # Errors
    /// If it is invalid, or a model writes alone.
    pub(crate) fn set_budget(&mut self, text: &str) -> Result<(), Box<dyn Error>> {
        let budget = text.parse()?;
        if self.writer() != Writer::Pair {
            return Err("a model alone gets no help: start with --student and --teacher".into());
        }
        self.writers.budget = budget;
        console::say(format_args!("The teacher may write {budget} of each answer from now on."));
        Ok(())
    }

    /// What was spent in all answers.
    pub(crate) fn spent_in_all(&self) -> String {
        let Self { answers, stats, .. } = self;
        let DecodeStats { tokens, help_given: spent, .. } = stats;
        let rate = 100.0 * stats.help_rate();
        let plural = if *answers == 1 { "" } else { "s" };
        format!(
            "budget {} of each answer; in {answers} answer{plural}, {spent} of {tokens} tokens were spent ({rate:.1}%)",
            self.budget()
        )
    }

    /// Answers a message, and prints the answer while it is written.
    ///
    /// # Errors
    /// If the message is too long, or decoding fails. The conversation is then as before.
    pub(crate) fn answer(&mut self, text: &str, output: Output) -> Result<(), Box<dyn Error>> {
        let (prompt, forgotten) = self.prompt(text)?;
        let Pair { student, .. } = &self.writers.pair;
        let decoder = self.writers.decoder();
        let seed = self.seed.nth(self.answers as u64);
        let mut stopped = false;
        let decoded = if output.is_terminal() {
            let mut live = LiveText::new(output, &student.tokenizer, self.writer() == Writer::Pair);
            interrupt::begin_answer();
            let decoded = decode_until_stopped(&decoder, NewText::new(&prompt, seed.nth(0)), &mut live);
            stopped = interrupt::end_answer();
            live.finish()?;
            decoded?
        } else {
            decoder.decode(std::slice::from_ref(&prompt), seed)?
        };
        let answer = self.writers.pair.answers(&decoded)?.remove(0);
        let budget = self.budget();
        let spent = decoded.stats.help_given as usize;
        let left = budget.most(answer.tokens).saturating_sub(spent);
        if !output.is_terminal() {
            output.line(&answer.text)?;
        }
        output.json(&AnswerLine { source: text, budget, spent, left, forgotten, answer: &answer })?;

        self.answers += 1;
        self.stats += decoded.stats;
        self.turns.drain(..forgotten);
        if output.is_terminal() {
            console::say(format_args!("{}", screen::note(&self.status(&answer, [spent, left], forgotten, stopped))));
        }
        // A model that has said nothing has taken no turn.
        if self.has_turns() && !(stopped && answer.text.is_empty()) {
            self.turns.push(Message::new(Role::User, text));
            self.turns.push(Message::new(Role::Assistant, answer.text));
        }
        Ok(())
    }

    /// What was spent and what is left, in one line.
    fn status(&self, answer: &Answer, [spent, left]: [usize; 2], forgotten: usize, stopped: bool) -> String {
        let mut status = match self.writer() {
            Writer::Pair => {
                let DecodeStats { tokens: all, help_given: all_spent, .. } = self.stats;
                format!(
                    "[spent {spent} of {} tokens, {left} left of {}; in the chat {all_spent} of {all}",
                    answer.tokens,
                    self.budget()
                )
            }
            _ => format!("[{} tokens", answer.tokens),
        };
        for failure in &answer.failures {
            status += &format!("; finished without the teacher: {}", failure.reason);
        }
        if stopped {
            status += "; stopped";
        } else if answer.truncated {
            status += "; cut at the length limit";
        }
        if forgotten > 0 {
            status += &format!("; the oldest {forgotten} messages no longer fit into the context");
        }
        status + "]"
    }

    /// The prompt for a message, and the number of oldest messages that do not fit into it.
    fn prompt(&self, text: &str) -> Result<(Prompt, usize), Box<dyn Error>> {
        let Pair { student, .. } = &self.writers.pair;
        let mut forgotten = 0;
        loop {
            let example = Example::new(text, "").with_turns(self.turns[forgotten..].to_vec());
            match student.template.prompt_of(&student.tokenizer, &example, self.budget()) {
                Err(TextError::TooLong { .. }) if forgotten < self.turns.len() => forgotten += 2,
                prompt => return Ok((prompt?, forgotten)),
            }
        }
    }
}

/// Decodes a text until it ends, or until Ctrl-C, after which it is like one that was cut.
fn decode_until_stopped(
    decoder: &BudgetedDecoder<'_>,
    text: NewText<'_>,
    live: &mut LiveText<'_>,
) -> Result<Decoded, Box<dyn Error>> {
    let vocabulary = decoder.vocabulary()?;
    let mut session = decoder.session(&vocabulary)?;
    let index = session.add(&[text])?.start;
    while !session.is_idle() && !interrupt::stops() {
        if let Some((_, trajectory)) = session.round(live)?.pop() {
            return Ok(Decoded { trajectories: vec![trajectory], stats: session.stats() });
        }
    }
    let trajectories = session.cancel(index).into_iter().collect();
    Ok(Decoded { trajectories, stats: session.stats() })
}
