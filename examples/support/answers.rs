//! What `translate` and `summarize` share: their flags, the models that write, and what is printed.

use std::error::Error;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};

use serde::Serialize;
use training_wheels::decode::DecodeStats;
use training_wheels::prelude::*;
use wheels_embedded::EmbeddedPair;

use crate::batching::BatchingFlags;
use crate::model::ModelFlags;
use crate::program;

/// The budget if none is given.
const BUDGET: HelpBudget = HelpBudget::Percent(20);

/// The models that write, their budget, and the form of the output.
#[derive(clap::Args)]
pub(crate) struct AnswerFlags {
    /// The most that the teacher may write in each text: "20%" or "20" of the tokens, rounded up, or "3 tokens". It is
    /// enforced. If absent: 20%.
    ///
    /// The prompt states the budget, and a student that has spent it gets no help. So the help used can be less than in the
    /// tables of `evaluate`, whose decoder `calibrated` does not enforce budgets.
    #[arg(long, allow_hyphen_values = true)]
    budget: Option<HelpBudget>,
    /// The folder of your own student, instead of the embedded one. Without --teacher, it writes alone.
    #[arg(long)]
    student: Option<PathBuf>,
    /// The folder of your own teacher, instead of the embedded one. Without --student, it writes alone.
    #[arg(long)]
    teacher: Option<PathBuf>,
    #[command(flatten)]
    models: ModelFlags,
    #[command(flatten)]
    batching: BatchingFlags,
    /// Print JSON: one object for each text (`source`, `text`, ...), and then one with the statistics.
    #[arg(long)]
    json: bool,
}

/// Who writes.
#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Pair,
    Student,
    Teacher,
}

impl AnswerFlags {
    /// Whether the embedded models write.
    pub(crate) fn is_embedded(&self) -> bool {
        self.student.is_none() && self.teacher.is_none()
    }

    /// Writes the answers to texts, and prints them.
    pub(crate) fn answer(&self, texts: &[String], embedded: &EmbeddedPair) -> Result<(), Box<dyn Error>> {
        let (writer, pair) = self.open(embedded)?;
        let budget = match (writer, self.budget) {
            (Writer::Pair, budget) => budget.unwrap_or(BUDGET),
            (_, None) => HelpBudget::percent(0),
            (_, Some(_)) => return Err("--budget needs --student and --teacher: a model alone gets no help".into()),
        };
        let decoder = match writer {
            Writer::Pair => pair.decoder(),
            Writer::Student => pair.student_alone(),
            Writer::Teacher => pair.teacher_alone(),
        };
        let decoder = self.batching.set(decoder);
        let decoded = decoder.decode(&pair.prompts(texts, budget)?, Seed(7))?;
        let answers = pair.answers(&decoded)?;
        if self.json {
            print_json(texts, &answers, &decoded.stats)
        } else {
            print_texts(writer, texts, &answers);
            print_stats(writer, budget, &decoded.stats);
            Ok(())
        }
    }

    /// The models that write. A model alone is a pair with itself.
    fn open(&self, embedded: &EmbeddedPair) -> Result<(Writer, Pair), Box<dyn Error>> {
        let (device, dtype) = self.models.open()?;
        let options = (&device, dtype);
        let alone = |folder: &Path| -> Result<Pair, Box<dyn Error>> {
            let model = TextModel::open(program::trained_model_folder(folder)?, options)?;
            Ok(Pair::new(model.clone(), model)?)
        };
        let pair = match (&self.student, &self.teacher) {
            (Some(student), None) => return Ok((Writer::Student, alone(student)?)),
            (None, Some(teacher)) => return Ok((Writer::Teacher, alone(teacher)?)),
            (Some(student), Some(teacher)) => {
                Pair::open(program::trained_model_folder(student)?, program::trained_model_folder(teacher)?, options)?
            }
            (None, None) => Pair::from_files(embedded.student, embedded.teacher, options)?,
        };
        pair.check_asks()?;
        Ok((Writer::Pair, pair))
    }
}

/// Prints each text with its answer, in which the parts of the teacher are marked if a pair wrote it.
fn print_texts(writer: Writer, texts: &[String], answers: &[Answer]) {
    let (open, close) = if stdout().is_terminal() { ("\x1b[1;32m", "\x1b[0m") } else { ("[", "]") };
    match writer {
        Writer::Pair => {
            println!("The teacher wrote the parts {open}like this{close}, and the student wrote the rest.\n")
        }
        Writer::Student => println!("The student wrote everything, without a teacher.\n"),
        Writer::Teacher => println!("The teacher wrote everything, without a student.\n"),
    }
    for (text, answer) in texts.iter().zip(answers) {
        let cut = if answer.truncated { " (cut at the length limit)" } else { "" };
        let written = if writer == Writer::Pair { answer.marked(open, close) } else { answer.text.clone() };
        println!("{text}\n  {written}{cut}");
    }
}

/// Prints the statistics of all texts together.
fn print_stats(writer: Writer, budget: HelpBudget, stats: &DecodeStats) {
    if writer != Writer::Pair {
        let seconds = stats.elapsed.as_secs_f64();
        println!("\ntime     {} tokens in {seconds:.2} s, {:.0} tokens/s", stats.tokens, stats.tokens_per_second());
        return;
    }
    let of_what = match budget {
        HelpBudget::Percent(_) => " of the tokens in each text, rounded up",
        HelpBudget::Tokens(_) => " in each text",
    };
    println!("\nbudget   {budget}{of_what}; enforced: the student gets no help while it is spent\n{stats}");
}

/// An answer with the text that it answers.
#[derive(Serialize)]
struct AnswerLine<'a> {
    source: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

/// Prints each answer as a line of JSON, and then the statistics as one more.
fn print_json(texts: &[String], answers: &[Answer], stats: &DecodeStats) -> Result<(), Box<dyn Error>> {
    for (source, answer) in texts.iter().zip(answers) {
        println!("{}", serde_json::to_string(&AnswerLine { source, answer })?);
    }
    println!("{}", serde_json::to_string(stats)?);
    Ok(())
}
