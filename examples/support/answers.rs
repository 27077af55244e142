//! What `translate` and `summarize` print.

use std::error::Error;
use std::io::{IsTerminal, stdout};

use training_wheels::Answer;
use training_wheels::decode::DecodeStats;
use training_wheels::text::HelpBudget;

/// Prints each text with its answer, in which the parts of the teacher are marked, and then the statistics.
pub(crate) fn print_marked(texts: &[String], answers: &[Answer], budget: HelpBudget, stats: &DecodeStats) {
    let (open, close) = if stdout().is_terminal() { ("\x1b[1;32m", "\x1b[0m") } else { ("[", "]") };
    println!("The teacher wrote the parts {open}like this{close}, and the student wrote the rest.\n");
    for (text, answer) in texts.iter().zip(answers) {
        let cut = if answer.truncated { " (cut at the length limit)" } else { "" };
        println!("{text}\n  {}{cut}", answer.marked(open, close));
    }
    println!("\nbudget   {budget}\n{stats}");
}

/// Prints each answer as a line of JSON, and then the statistics as one more.
pub(crate) fn print_json(answers: &[Answer], stats: &DecodeStats) -> Result<(), Box<dyn Error>> {
    for answer in answers {
        println!("{}", serde_json::to_string(answer)?);
    }
    println!("{}", serde_json::to_string(stats)?);
    Ok(())
}
