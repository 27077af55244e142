//! `wheels generate`: texts in, texts out.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use serde::Serialize;
use training_wheels::decode::{BudgetUnit, DecodeStats};
use training_wheels::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::Outcome;
use crate::command_line::App;
use crate::flags::{BatchingFlags, PairFlags, Writer, Writers};
use crate::screen::{self, LiveText, Output, console};

const EXAMPLES: &str = "\
Examples:
  wheels generate \"a text editor\"
  wheels generate --task summary < descriptions.txt > summaries.txt
  wheels generate --most-calls 3 \"a library for reading and writing image files\"
  wheels generate --student distilled --teacher teacher --budget 10% --file texts.txt --json
  wheels generate --student distilled --teacher http://localhost:8000/v1 --teacher-model large --file texts.txt
  wheels generate --teacher HuggingFaceTB/SmolLM2-135M-Instruct --chat \"Name three colours.\"";

/// The number of texts that are answered together. Their answers are printed before the next texts are answered.
const TOGETHER: usize = 256;

/// Answers texts: the student writes, and asks the teacher within the budget.
///
/// Each text is one line, and its answer is printed on standard output. At a terminal, texts in the arguments are answered
/// while you watch, and what the teacher wrote is in colour. Without models, the sample models translate from English into
/// Italian, or summarise package descriptions (--task summary).
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The texts to read. If absent: those of --file, or the lines of piped standard input.
    texts: Vec<String>,
    /// Read a text from each line of this file; "-" is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    file: Vec<PathBuf>,
    /// Answer each sentence of a text by itself: small models translate sentences better than paragraphs.
    #[arg(long)]
    sentences: bool,
    /// Make prompts with the chat template of the model: each text is the user's turn of a conversation.
    #[arg(long)]
    chat: bool,
    /// The text of the system turn. If absent: that of prompt.json, or what the chat template writes by itself.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// Give each text the largest calibrated budget for which at most this many calls of the teacher are predicted.
    #[arg(long, value_name = "CALLS", conflicts_with = "budget")]
    most_calls: Option<u32>,
    #[command(flatten)]
    models: PairFlags,
    #[command(flatten)]
    batching: BatchingFlags,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let mut texts = read(flags)?;
    if texts.is_empty() {
        let Some(task) = flags.models.sample() else {
            return Err("no text given: write texts after the flags, or pipe lines into the program".into());
        };
        let (words, _) = task.short();
        console::say(format_args!(
            "No text given. These are texts of {} to {} words from the test sample, which suit small models.",
            words.start(),
            words.end()
        ));
        texts = task.short_texts()?;
    }
    if flags.sentences {
        texts = texts.iter().flat_map(|text| text.split_sentence_bounds()).map(|text| text.trim().to_owned()).collect();
    }
    let mut writers = flags.models.open()?;
    if flags.chat && !writers.use_chat_template(flags.system.as_deref())? {
        return Err("--chat needs a model with a chat template: `wheels inspect` shows whether it has one".into());
    }
    let job = Job { flags, writers: &writers, output: app.output };
    // A text that cannot become a prompt is an error before anything is written.
    let prompts = prompts(flags, &writers, &texts)?;
    let stats = if app.output.is_terminal() && flags.file.is_empty() && texts.len() <= TOGETHER {
        job.live(&texts, &prompts)?
    } else {
        job.batches(&texts, &prompts)?
    };
    app.output.json(&stats)?;
    if !app.output.is_json() {
        tell(flags, &writers, &stats);
    }
    Ok(())
}

/// The prompts, each with its budget.
fn prompts(flags: &Flags, writers: &Writers, texts: &[String]) -> Result<Vec<Prompt>, Box<dyn Error>> {
    let Some(calls) = flags.most_calls else { return Ok(writers.pair.prompts(texts, writers.budget)?) };
    if writers.writer != Writer::Pair {
        return Err("--most-calls needs --student and --teacher: a model alone gets no help".into());
    }
    let mut prompts = Vec::with_capacity(texts.len());
    for text in texts {
        prompts.push(writers.pair.prompt(text, writers.pair.budget_for_calls(text, calls)?)?);
    }
    Ok(prompts)
}

/// The texts of the command. Empty if there is none.
fn read(flags: &Flags) -> Result<Vec<String>, Box<dyn Error>> {
    let mut texts = flags.texts.clone();
    for path in &flags.file {
        if path == Path::new("-") {
            texts.extend(lines("standard input", stdin().lock())?);
        } else {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| format!("cannot read --file {name}: {error}"))?;
            texts.extend(lines(&name, BufReader::new(file))?);
        }
    }
    if flags.texts.is_empty() && flags.file.is_empty() && !stdin().is_terminal() {
        texts = lines("standard input", stdin().lock())?;
    }
    Ok(texts)
}

/// The lines that are not blank.
fn lines(name: &str, reader: impl BufRead) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| format!("{name}, line {}: {error}", index + 1))?;
        if !line.trim().is_empty() {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Texts to be answered.
struct Job<'a> {
    flags: &'a Flags,
    writers: &'a Writers,
    output: Output,
}

/// An answer with the text that it answers.
#[derive(Serialize)]
struct AnswerLine<'a> {
    source: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Job<'_> {
    /// Answers one text after the other at a terminal.
    fn live(&self, texts: &[String], prompts: &[Prompt]) -> Result<DecodeStats, Box<dyn Error>> {
        let pair = &self.writers.pair;
        let decoder = self.writers.decoder();
        if self.writers.writer == Writer::Pair {
            let (open, close) = screen::teacher_marks();
            self.output.line(format_args!("The teacher wrote the parts {open}like this{close}.\n"))?;
        }
        let calibration = pair.student.calibration.as_ref();
        let has_forecast = self.writers.writer == Writer::Pair
            && calibration.is_some_and(|calibration| !calibration.forecasts().is_empty());
        let mut stats = DecodeStats::default();
        for (row, (text, prompt)) in texts.iter().zip(prompts).enumerate() {
            if texts.len() > 1 {
                self.output.line(screen::note(text))?;
            }
            if let Some([calls]) = pair.forecast(std::slice::from_ref(prompt)).filter(|_| has_forecast).as_deref() {
                let note = format!("(budget {}: about {calls:.0} calls of the teacher)", prompt.budget);
                self.output.line(screen::note(&note))?;
            }
            let mut live = LiveText::new(self.output, &pair.student.tokenizer, self.writers.writer == Writer::Pair);
            let decoded = decoder.decode_with(std::slice::from_ref(prompt), self.seed().nth(row as u64), &mut live)?;
            live.finish()?;
            if decoded.trajectories[0].is_truncated() {
                self.output.line(screen::note("(cut at the length limit)"))?;
            }
            for failure in &decoded.trajectories[0].failures {
                self.output.line(screen::note(&format!("(finished without the teacher: {})", failure.reason)))?;
            }
            stats += decoded.stats;
        }
        Ok(stats)
    }

    /// Answers many texts together.
    fn batches(&self, texts: &[String], prompts: &[Prompt]) -> Result<DecodeStats, Box<dyn Error>> {
        let pair = &self.writers.pair;
        let decoder = self.flags.batching.set(self.writers.decoder());
        let bar = console::bar(Some(texts.len() as u64), "{bar:30} {pos}/{len} texts, {per_sec}, {eta} left");
        let (mut stats, mut cut, mut failed) = (DecodeStats::default(), 0, 0);
        for (index, (texts, prompts)) in texts.chunks(TOGETHER).zip(prompts.chunks(TOGETHER)).enumerate() {
            let seed = if index == 0 { self.seed() } else { self.seed().nth((index * TOGETHER) as u64) };
            let decoded = decoder.decode(prompts, seed)?;
            for (source, answer) in texts.iter().zip(&pair.answers(&decoded)?) {
                self.output.json(&AnswerLine { source, answer })?;
                self.output.line(&answer.text)?;
                cut += usize::from(answer.truncated);
                failed += usize::from(!answer.failures.is_empty());
            }
            bar.inc(texts.len() as u64);
            stats += decoded.stats;
        }
        bar.finish_and_clear();
        if cut > 0 {
            log::warn!("{cut} of {} texts were cut at the length limit (--max-new-tokens)", texts.len());
        }
        if failed > 0 {
            log::warn!("{failed} of {} texts were finished without the teacher, whose calls failed", texts.len());
        }
        Ok(stats)
    }

    fn seed(&self) -> Seed {
        Seed(self.flags.models.generation.seed)
    }
}

/// Tells the statistics of all texts together.
fn tell(flags: &Flags, writers: &Writers, stats: &DecodeStats) {
    let alone = match writers.writer {
        Writer::Pair => None,
        Writer::Student => Some("The student wrote everything, without a teacher."),
        Writer::Teacher => Some("The teacher wrote everything, without a student."),
    };
    if let Some(alone) = alone {
        let (tokens, seconds, rate) = (stats.tokens, stats.elapsed.as_secs_f64(), stats.tokens_per_second());
        console::say(format_args!("\n{alone}\ntime     {tokens} tokens in {seconds:.2} s, {rate:.0} tokens/s"));
        return;
    }
    let budget = match (flags.most_calls, writers.budget) {
        (Some(calls), _) => format!("for about {calls} calls in each text at most"),
        (None, percent @ HelpBudget::Percent(_)) if writers.unit == BudgetUnit::Calls => {
            format!("as many calls as {percent} of the tokens in each text, rounded up")
        }
        (None, percent @ HelpBudget::Percent(_)) => format!("{percent} of the tokens in each text, rounded up"),
        (None, HelpBudget::Tokens(number)) if writers.unit == BudgetUnit::Calls => {
            format!("{number} calls in each text")
        }
        (None, tokens @ HelpBudget::Tokens(_)) => format!("{tokens} in each text"),
    };
    console::say(format_args!("\nbudget   {budget}; enforced: the student gets no help while it is spent\n{stats}"));
    if let Some(remote) = &writers.remote {
        console::say(format_args!("server   {}", remote.spending()));
    }
}
