//! Translates English into Italian with a small student that asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --budget "3 tokens" "A fast and lightweight web browser."
//!     cargo run --release --example translate -- --sweep
//!
//! What the teacher wrote is green on a terminal, and in [brackets] elsewhere.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Parser;
use training_wheels::decode::{DecodeStats, Enforcement, Hindsight, Source, Trajectory};
use training_wheels::eval::{Evaluation, Row};
use training_wheels::prelude::*;
use training_wheels::text::Dataset;
use training_wheels::{decode::Side, embedded};

/// Translates English into Italian: a small student writes, and asks its teacher where it is unsure.
#[derive(Parser)]
struct Flags {
    /// Texts to translate; a few of the embedded sample where there are none.
    texts: Vec<String>,
    /// A file with one text on each line; "-" is the standard input.
    #[arg(long, conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// How much the teacher may write: "20%" of the tokens of each text, or "3 tokens".
    #[arg(long, default_value = "20%")]
    budget: HelpBudget,
    /// Lets the teacher look back when it is called, and answer where the student's word was so many nats less likely to
    /// it than its own; "inf" is never.
    #[arg(long, value_name = "NATS", default_value_t = f64::INFINITY)]
    hindsight: f64,
    /// Calls the teacher once more at the end of a text, to look back over what it has not read.
    #[arg(long, requires = "hindsight")]
    closing_call: bool,
    /// Device: "auto", "cpu", "cuda:0", "vulkan", "metal", "wgpu", "wgpu:cpu", ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Texts at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    batch: usize,
    /// Seed; it matters where something is drawn.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// One JSON object a line in place of text and tables.
    #[arg(long)]
    json: bool,
    /// Measures quality against help for budgets from 0 to 100%.
    #[arg(long)]
    sweep: bool,
    /// Gives help wherever the student asks: what it uses is what it learned.
    #[arg(long)]
    no_ledger: bool,
    /// JSON lines with `source` and `target` for the sweep, in place of the embedded sample.
    #[arg(long, requires = "sweep")]
    data: Option<PathBuf>,
    /// A student's folder, in place of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// A teacher's folder, in place of the embedded one.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
}

/// A student, a teacher and the token by which one calls the other.
struct Pair {
    student: Bundle,
    teacher: Bundle,
    help: u32,
}

fn main() -> ExitCode {
    // wgpu calls each driver that it passes over an error; RUST_LOG=error shows them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,wgpu_hal=off")).init();
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", training_wheels::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let accelerator = device::open(&flags.device)?;
    let (student, teacher) = match (&flags.student, &flags.teacher) {
        (Some(student), Some(teacher)) => {
            (Bundle::from_dir(student, &accelerator.device)?, Bundle::from_dir(teacher, &accelerator.device)?)
        }
        _ => (
            Bundle::from_files(&embedded::STUDENT, &accelerator.device)?,
            Bundle::from_files(&embedded::TEACHER, &accelerator.device)?,
        ),
    };
    student.check_teacher(&teacher)?;
    let pair = Pair { help: student.tokenizer.help_token("teacher")?, student, teacher };
    if !flags.json {
        eprintln!("on {}", accelerator.adapter);
    }
    if flags.sweep { sweep(flags, &pair) } else { translate(flags, &pair) }
}

impl Pair {
    fn decoder(&self, flags: &Flags, budget: HelpBudget, prompts: &[Prompt]) -> BudgetedDecoder<'_> {
        let policy = Policy::greedy(&self.student.model).asking(self.student.asking(budget, prompts));
        // A budget of nothing calls nobody, ledger or not.
        let desk = match budget.allows(0, 0) {
            true => HelpDesk::new().with(self.help, Teacher::new(&self.teacher.model)),
            false => HelpDesk::new().closed(self.help),
        };
        let enforcement = if flags.no_ledger { Enforcement::Off } else { Enforcement::On };
        let hindsight = Hindsight { tolerance_nats: flags.hindsight, closing_call: flags.closing_call };
        let decoder = BudgetedDecoder::new(policy, desk).batch_size(flags.batch);
        decoder.enforcement(enforcement).hindsight(hindsight)
    }

    fn alone<'a>(&'a self, flags: &Flags, bundle: &'a Bundle, side: Side) -> BudgetedDecoder<'a> {
        let policy = Policy::greedy(&bundle.model).asking(Asking::Never).reading(side);
        BudgetedDecoder::new(policy, HelpDesk::new().closed(self.help)).batch_size(flags.batch)
    }
}

fn translate(flags: &Flags, pair: &Pair) -> Result<(), Box<dyn Error>> {
    let (tokenizer, format) = (&pair.student.tokenizer, &pair.student.format);
    let texts = texts(flags)?;
    let prompt = |(index, text): (usize, &String)| {
        format.prompt(tokenizer, text, flags.budget).map_err(|error| format!("text {}: {error}", index + 1))
    };
    let prompts = texts.iter().enumerate().map(prompt).collect::<Result<Vec<_>, _>>()?;
    let decoded = pair.decoder(flags, flags.budget, &prompts).decode(&prompts, Seed(flags.seed))?;
    let mut out = anstream::stdout().lock();
    for (text, trajectory) in texts.iter().zip(&decoded.trajectories) {
        if flags.json {
            let line = serde_json::json!({
                "source": text,
                "target": tokenizer.decode(&trajectory.tokens())?,
                "tokens": trajectory.steps.len(),
                "helped": trajectory.helped(),
                "steps": trajectory.steps,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{text}\n  {}", marked(tokenizer, trajectory)?)?;
        }
    }
    if flags.json {
        writeln!(out, "{}", serde_json::to_string(&decoded.stats)?)?;
    } else {
        writeln!(out, "\n{}", table(&decoded.stats, flags.budget))?;
    }
    Ok(())
}

/// The texts of the arguments, the file or the standard input; lines without text are passed over.
fn texts(flags: &Flags) -> Result<Vec<String>, Box<dyn Error>> {
    let Some(path) = &flags.file else {
        if !flags.texts.is_empty() {
            return Ok(flags.texts.clone());
        }
        let sample = Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "the embedded sample")?;
        return Ok(sample.iter().step_by(50).map(|example| example.source.clone()).collect());
    };
    let reader: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(path).map_err(|error| format!("{}: {error}", path.display()))?)),
    };
    let mut texts = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| format!("{}, line {}: {error}", path.display(), index + 1))?;
        if !line.trim().is_empty() {
            texts.push(line);
        }
    }
    if texts.is_empty() { Err(format!("{} holds no text", path.display()).into()) } else { Ok(texts) }
}

/// The text, with what the teacher wrote in green or in brackets.
fn marked(tokenizer: &Tokenizer, trajectory: &Trajectory) -> Result<String, training_wheels::text::TextError> {
    let (open, close) = if std::io::stdout().is_terminal() {
        let style = Style::new().fg_color(Some(AnsiColor::Green.into())).bold();
        (style.render().to_string(), style.render_reset().to_string())
    } else {
        ("[".into(), "]".into())
    };
    let mut stream = tokenizer.stream();
    let mut marked = String::new();
    for step in &trajectory.steps {
        let piece = stream.push(step.token)?.unwrap_or_default();
        let word = piece.trim_start();
        marked += &piece[..piece.len() - word.len()];
        if step.source == Source::Student || word.is_empty() {
            marked += word;
        } else {
            marked += &format!("{open}{word}{close}");
        }
    }
    Ok(marked + &stream.finish()?.unwrap_or_default())
}

fn table(stats: &DecodeStats, budget: HelpBudget) -> String {
    let percent = |rate: f64| format!("{:.1}%", 100.0 * rate);
    let model = |name: &str, used: training_wheels::decode::ModelUse| {
        format!(
            "{name:<8} {:>9} forwards {:>9} tokens processed {:>7} prompt tokens",
            used.forwards, used.tokens_processed, used.prompt_tokens
        )
    };
    format!(
        "help     budget {budget}, asked {} and used {} of {} tokens\n{}\n{}\ntime     {:.2} s, {:.0} tokens/s",
        percent(stats.asked_rate()),
        percent(stats.help_rate()),
        stats.tokens,
        model("student", stats.student),
        model("teacher", stats.teacher),
        stats.elapsed.as_secs_f64(),
        stats.tokens_per_second(),
    )
}

fn sweep(flags: &Flags, pair: &Pair) -> Result<(), Box<dyn Error>> {
    let data = match &flags.data {
        Some(path) => Dataset::from_jsonl(path)?,
        None => Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "the embedded sample")?,
    };
    let evaluation = Evaluation::new(&data, &pair.student.tokenizer, &pair.student.format);
    let seed = Seed(flags.seed);
    let print = |row: &Row| -> Result<(), Box<dyn Error>> {
        let mut out = anstream::stdout().lock();
        if flags.json {
            writeln!(out, "{}", serde_json::to_string(row)?)?
        } else {
            writeln!(out, "{}", line(row))?
        }
        Ok(())
    };
    if !flags.json {
        println!("{} texts\n{HEADER}", data.len());
    }
    let prompts = evaluation.prompts(HelpBudget::percent(0))?;
    let teacher = evaluation.run_teacher(&pair.alone(flags, &pair.teacher, Side::Expert), &prompts, seed)?;
    let student = evaluation.run(&pair.alone(flags, &pair.student, Side::Student), &prompts, seed)?;
    print(&evaluation.row("student", 0.0, &student, &teacher))?;
    for percent in [0, 5, 10, 20, 30, 50, 100] {
        let budget = HelpBudget::percent(percent);
        let prompts = evaluation.prompts(budget)?;
        let outcome = evaluation.run(&pair.decoder(flags, budget, &prompts), &prompts, seed)?;
        print(&evaluation.row("budgeted", f64::from(percent) / 100.0, &outcome, &teacher))?;
    }
    print(&evaluation.row("teacher", 1.0, &teacher, &teacher))
}

const HEADER: &str = "decoder   budget   BLEU   chrF  BLEU(teacher)   help  calls/token  teacher tokens/token  seconds";

fn line(row: &Row) -> String {
    format!(
        "{:<9} {:>5.0}% {:>6.1} {:>6.1} {:>14.1} {:>5.1}% {:>12.3} {:>21.3} {:>8.2}",
        row.decoder,
        100.0 * row.budget,
        row.bleu,
        row.chrf,
        row.bleu_teacher,
        100.0 * row.help_rate,
        row.teacher_calls_per_token,
        row.teacher_tokens_processed_per_token,
        row.seconds
    )
}
